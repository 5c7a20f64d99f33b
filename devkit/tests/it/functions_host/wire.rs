//! Raw HTTP for tests: a handler that shows and answers bytes, and a client that sends and shows them.

use annika_devkit::functions_host::{FunctionsHost, HostOptions};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// What the raw handler does with a request.
#[derive(Clone)]
pub enum Reply {
    Bytes(Vec<u8>),
    BytesThenClose(Vec<u8>),
    Close,
    Reset,
}

/// A handler that keeps every request as it came.
pub struct RawHandler {
    pub port: u16,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for RawHandler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawHandler {
    /// A handler that asks `reply` for each request, with the number of requests before it.
    pub async fn start(reply: impl Fn(&[u8], usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, connections) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::<AtomicUsize>::default());
        let (kept, counted, reply) = (requests.clone(), connections.clone(), Arc::new(reply));
        let task = tokio::spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                clients.spawn(serve(stream, kept.clone(), reply.clone()));
            }
        });
        Self { port, requests, connections, task }
    }

    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: TcpStream,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
    reply: Arc<impl Fn(&[u8], usize) -> Reply + Send + Sync + 'static>,
) {
    let mut ahead = Vec::new();
    loop {
        let (messages, complete) = read_until(&mut stream, &mut ahead, 1, None).await;
        let Some(message) = messages.into_iter().next() else { return };
        let before = {
            let mut kept = kept.lock().unwrap();
            kept.push(message.raw.clone());
            kept.len() - 1
        };
        if !complete {
            return;
        }
        match reply(&message.raw, before) {
            Reply::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::BytesThenClose(bytes) => {
                let _client_gone = stream.write_all(&bytes).await;
                return;
            }
            Reply::Close => return,
            Reply::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

/// A request or response, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub raw: Vec<u8>,
    pub start: String,
    /// Names in lower case, sorted.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The first message in `bytes`, how long it is, and whether it is all there. `at_end` says that nothing follows.
pub fn parse(bytes: &[u8], head_only: bool, at_end: bool) -> Option<(Message, usize, bool)> {
    let head_end = find(bytes, b"\r\n\r\n")?;
    let head: String = bytes[..head_end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap().to_owned();
    let mut headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').map_or((line, ""), |(name, value)| (name, value.trim())))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    headers.sort();
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let rest = &bytes[head_end + 4..];
    let is_response = start.starts_with("HTTP/");
    let bodiless = head_only || matches!(start.split(' ').nth(1), Some("204" | "304")) && is_response;
    let (body, used, complete) = if bodiless {
        (Vec::new(), 0, true)
    } else if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        dechunk(rest)
    } else if let Some(length) = value("content-length") {
        let length: usize = length.parse().unwrap();
        let used = length.min(rest.len());
        (rest[..used].to_vec(), used, used == length)
    } else if is_response && !start.contains(" 100 ") {
        (rest.to_vec(), rest.len(), at_end)
    } else {
        (Vec::new(), 0, true)
    };
    let length = head_end + 4 + used;
    Some((Message { raw: bytes[..length].to_vec(), start, headers, body }, length, complete))
}

fn dechunk(bytes: &[u8]) -> (Vec<u8>, usize, bool) {
    let mut body = Vec::new();
    let mut at = 0;
    while let Some(end) = find(&bytes[at..], b"\r\n") {
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let Ok(size) = usize::from_str_radix(line.split(';').next().unwrap(), 16) else { break };
        let start = at + end + 2;
        if size == 0 {
            let complete = bytes.len() >= start + 2;
            return (body, (start + 2).min(bytes.len()), complete);
        }
        let stop = (start + size).min(bytes.len());
        body.extend_from_slice(&bytes[start..stop]);
        if bytes.len() < start + size + 2 {
            break;
        }
        at = start + size + 2;
    }
    (body, bytes.len(), false)
}

/// Reads until `count` messages are complete, or the end; the flag says whether all of them are.
pub async fn read_until(
    stream: &mut TcpStream,
    ahead: &mut Vec<u8>,
    count: usize,
    method: Option<&str>,
) -> (Vec<Message>, bool) {
    let mut messages = Vec::new();
    let mut at_end = false;
    loop {
        while messages.len() < count {
            match parse(ahead, method == Some("HEAD"), at_end) {
                Some((message, length, complete)) if complete || at_end => {
                    messages.push(message);
                    ahead.drain(..length);
                    if !complete {
                        return (messages, false);
                    }
                }
                _ => break,
            }
        }
        if messages.len() == count || at_end {
            return (messages.clone(), messages.len() == count);
        }
        let mut piece = vec![0_u8; 65536];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => at_end = true,
            Ok(read) => ahead.extend_from_slice(&piece[..read]),
        }
    }
}

/// A client's connection to the emulator.
pub struct RawClient {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl RawClient {
    pub async fn connect(host: &FunctionsHost) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", host.port())).await.unwrap(), ahead: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The emulator may have answered and closed already.
        let _closed = self.stream.write_all(bytes).await;
    }

    /// Closes the sending side only.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub async fn read(&mut self, count: usize, method: &str) -> (Vec<Message>, bool) {
        read_until(&mut self.stream, &mut self.ahead, count, Some(method)).await
    }

    /// Reads up to and with the given bytes; what came before is kept out.
    pub async fn read_to(&mut self, wanted: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.ahead, wanted) {
                return self.ahead.drain(..at + wanted.len()).collect();
            }
            let mut piece = vec![0_u8; 4096];
            let read = self.stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "the connection ended before {:?}", String::from_utf8_lossy(wanted));
            self.ahead.extend_from_slice(&piece[..read]);
        }
    }

    /// Whether the emulator closes the connection by itself.
    pub async fn is_closed(&mut self) -> bool {
        let mut piece = [0_u8; 16];
        let read = tokio::time::timeout(Duration::from_millis(1000), self.stream.read(&mut piece)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }
}

/// One request on a connection of its own.
pub async fn ask(host: &FunctionsHost, request: &str) -> Message {
    let mut client = RawClient::connect(host).await;
    client.send(request.as_bytes()).await;
    let method = request.split(' ').next().unwrap();
    client.read(1, method).await.0.into_iter().next().unwrap_or_default()
}

/// Polls until `found` gives something, up to a deadline.
pub async fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..4000 {
        if let Some(found) = found() {
            return found;
        }
        ticks.tick().await;
    }
    panic!("{what}: not within 20 s");
}

/// Options for a handler that is already there.
pub fn attached(options: HostOptions, port: u16) -> HostOptions {
    HostOptions { attach: Some(port), ..options }
}
