"""A handler for tests: raw sockets, behaviour by environment and path, so that nothing is smoothed over."""
import json, os, socket, struct, sys, threading, time

PORT = int(os.environ["FUNCTIONS_CUSTOMHANDLER_PORT"])
START = os.environ.get("HANDLER_START", "")


def log(line):
    with open(os.environ["HANDLER_LOG"], "a") as out:
        out.write(json.dumps(line) + "\n")


log({"started": os.getpid()})
if START.startswith("exit"):
    sys.stderr.write("first line\nlast words\n")
    sys.exit(int(START[4:]))
if START == "late":
    time.sleep(0.3)
if START == "never":
    time.sleep(3600)
print("handler started", flush=True)


def head_and_body(connection, buffer):
    while b"\r\n\r\n" not in buffer:
        more = connection.recv(65536)
        if not more:
            return None, None, b""
        buffer += more
    head, _, buffer = buffer.partition(b"\r\n\r\n")
    lower = head.lower()
    body = b""
    if b"transfer-encoding: chunked" in lower:
        while not (buffer.startswith(b"0\r\n\r\n") or b"\r\n0\r\n\r\n" in buffer):
            more = connection.recv(65536)
            if not more:
                return None, None, b""
            buffer += more
        rest = buffer
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if length == 0:
                break
            body += rest[:length]
            rest = rest[length + 2:]
        buffer = b""
    else:
        length = 0
        for line in lower.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(buffer) < length:
            more = connection.recv(65536)
            if not more:
                return None, None, b""
            buffer += more
        body, buffer = buffer[:length], buffer[length:]
    return head, body, buffer


def answer(connection, status, kind, body, extra=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    connection.sendall(head.encode() + body)


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = b""
    while True:
        head, body, buffer = head_and_body(connection, buffer)
        if head is None:
            return
        line = head.split(b"\r\n")[0].decode("latin-1")
        method, target, _ = line.split(" ")
        log({"pid": os.getpid(), "line": line, "head": head.decode("latin-1"), "body": body.decode("latin-1")})
        path = target.split("?")[0]
        if path.startswith("/api/exit/"):
            os._exit(int(path.rsplit("/", 1)[1]))
        elif path.startswith("/api/close"):
            connection.close()
            return
        elif path.startswith("/api/reset"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return
        elif path == "/api/stream":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"9\r\ndata: 1\n\n\r\n")
            # The second event waits until the first has been asked for again: GET /api/go.
            GO.wait(20)
            connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        elif path == "/api/go":
            GO.set()
            answer(connection, "200 OK", "text/plain", b"gone")
        elif path == "/api/slow":
            time.sleep(30)
            answer(connection, "200 OK", "text/plain", b"late")
        elif path == "/api/env":
            names = [name for name in os.environ if name.startswith("FUNCTIONS_") or name.startswith("TEST_")]
            found = {name: os.environ[name] for name in names}
            found["cwd"], found["argv"] = os.getcwd(), sys.argv[1:]
            answer(connection, "200 OK", "application/json", json.dumps(found).encode())
        elif path == "/api/warn":
            sys.stderr.write("a warning\n")
            sys.stderr.write("something broke\n")
            sys.stderr.flush()
            answer(connection, "200 OK", "text/plain", b"said")
        elif path == "/mute":
            answer(connection, "200 OK", "application/json", b"")
        elif path == "/slow_tick":
            time.sleep(30)
            answer(connection, "200 OK", "application/json", b"{}")
        elif path == "/flaky" and b'"RetryCount":2' not in body:
            answer(connection, "500 Internal Server Error", "application/json", b"{}")
        elif path in ("/tick", "/flaky"):
            answer(connection, "200 OK", "application/json", b'{"Outputs":{},"Logs":["ticked"],"ReturnValue":null}')
        else:
            answer(connection, "200 OK", "text/plain", body or path.encode(), "X-Seen: 1\r\n")


GO = threading.Event()
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", PORT))
listener.listen(128)
while True:
    peer, _ = listener.accept()
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
