//! The real process: starts, is ready, and ends as the host needs it to.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const DEADLINE: Duration = Duration::from_secs(20);

/// Polls until `found` answers something.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    (!reply.is_empty()).then_some(reply)
}

fn handler(port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annika"));
    command.env_clear().env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string());
    command
}

/// A handler that is ready. Killed if the test fails.
struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn start() -> Self {
        let port = free_port();
        let child = handler(port).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let running = Self { child, port };
        until("ready", || get(port, "/")).contains("200 OK").then_some(()).unwrap();
        running
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Exit code, stdout, stderr.
    fn ended(mut self) -> (Option<i32>, String, String) {
        let status = until("ended", || self.child.try_wait().unwrap());
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (status.code(), out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended; it waits for init.
    !state.is_empty() && !state.rsplit(") ").next().unwrap().starts_with('Z')
}

#[test]
fn signals_drain_and_exit_with_their_number() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let running = Running::start();
        let start = Instant::now();
        running.signal(name);
        let (exit, out, err) = running.ended();
        assert_eq!(exit, Some(code), "{out}");
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(err, "", "the host takes a line on stderr for an error");
        for line in out.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["message"].is_string(), "{line}");
        }
    }
}

/// A client that never finishes its request must not hold the process up.
#[test]
fn a_request_in_flight_holds_the_end_up_for_two_seconds_at_most() {
    let running = Running::start();
    let mut stream = TcpStream::connect(("127.0.0.1", running.port)).unwrap();
    let request = b"POST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stream.write_all(request).unwrap();
    // Read by the handler, which now waits for the rest.
    assert!(until("its answer to another", || get(running.port, "/")).contains("200"));
    let start = Instant::now();
    running.signal("TERM");
    let (exit, out, _) = running.ended();
    assert_eq!(exit, Some(143), "{out}");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(out.contains(r#""complete":false"#), "the request was in flight: {out}");
}

#[test]
fn a_handler_whose_host_was_killed_ends_by_itself_and_not_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let port = free_port();
    let mut host = orphaning_host(port, &log);
    until("ready", || get(port, "/"));
    let pid =
        until("its pid", || fs::read_to_string(folder.path().join("pid")).ok()?.trim().parse::<u32>().ok());
    host.kill().unwrap();
    host.wait().unwrap();
    until("gone", || (!alive(pid)).then_some(()));
    assert!(get(port, "/").is_none());
    let log = fs::read_to_string(&log).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((last["code"].as_str(), last["exit_code"].as_u64()), (Some("parent_gone"), Some(1)), "{log}");
}

/// A shell in the host's place that starts the handler, writes its pid down and waits.
fn orphaning_host(port: u16, log: &Path) -> Child {
    let script = "\"$0\" > \"$1\" 2>&1 & echo $! > \"$(dirname \"$1\")/pid\"; wait";
    Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_annika"))
        .arg(log)
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env_remove("RUST_LOG")
        .spawn()
        .unwrap()
}

#[test]
fn a_taken_port_and_a_wrong_setting_end_with_a_reason_and_not_with_0() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = handler(port).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty());
    assert!(String::from_utf8(output.stdout).unwrap().contains("start_failed"));

    let output = handler(free_port()).env("GRAPH_BASE_URL", "http://graph.example/s3cret").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("GRAPH_BASE_URL must be an https address") && !text.contains("s3cret"), "{text}");
}

#[test]
fn a_respawned_handler_gets_the_same_port_at_once() {
    let running = Running::start();
    let port = running.port;
    // Connections that the handler closes leave the port in TIME_WAIT.
    for _ in 0..5 {
        assert!(get(port, "/").is_some());
    }
    running.signal("KILL");
    running.ended();
    let mut again = handler(port).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ready = until("ready again", || {
        get(port, "/").or_else(|| again.try_wait().unwrap().map(|status| status.to_string()))
    });
    again.kill().unwrap();
    again.wait().unwrap();
    assert!(ready.contains("200 OK"), "{ready}");
}
