//! The host's side towards the handler: connections kept for reuse, and reading responses.

use super::{Connection, Framing, Headers, WireError};
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;

/// Most bytes of response headers (.NET's limit).
const HEADERS: usize = 64 * 1024;

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The reason phrase; empty where there is none.
    pub reason: String,
    /// Whether it is HTTP/1.0.
    pub old: bool,
    /// The header lines.
    pub headers: Headers,
}

impl ResponseHead {
    /// How the body of an answer to `method` ends.
    ///
    /// # Errors
    /// Content-Length lines that contradict each other or are no numbers.
    pub fn framing(&self, method: &str) -> Result<Framing, WireError> {
        let lengths: Vec<String> = self
            .headers
            .all("content-length")
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        let chunked = self.headers.lists("transfer-encoding", "chunked");
        let length = match lengths.as_slice() {
            [] => None,
            [one] => one.parse::<u64>().ok(),
            _ => None,
        };
        if !lengths.is_empty() && length.is_none() && !chunked {
            let shown = lengths.join(",");
            return Err(WireError::Unusable(format!(
                "Invalid Content-Length: \"{shown}\". Value must be a positive integral number."
            )));
        }
        Ok(if method == "HEAD" || matches!(self.status, 204 | 304) {
            Framing::Empty
        } else if chunked {
            Framing::Chunked
        } else {
            length.map_or(Framing::UntilClose, Framing::Length)
        })
    }

    /// Whether the connection may be used for another request once the body is read.
    pub fn keeps_alive(&self, framing: Framing) -> bool {
        let until_close = framing == Framing::UntilClose;
        !until_close && !self.old && !self.headers.lists("connection", "close")
    }
}

impl Connection {
    /// Reads the head of the final response; informational ones are swallowed.
    ///
    /// # Errors
    /// The connection ended, or what came is no response.
    pub async fn read_response_head(&mut self) -> Result<ResponseHead, WireError> {
        let over = || {
            WireError::Invalid(format!(
                "The HTTP response headers length exceeded the set limit of {HEADERS} bytes."
            ))
        };
        loop {
            let line = self.line(HEADERS, over, false).await?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let invalid = |what: &str, text: &str| {
                WireError::Invalid(format!("Received an invalid status {what}: '{text}'."))
            };
            let old = line.starts_with("HTTP/1.0 ");
            if !old && !line.starts_with("HTTP/1.1 ") {
                return Err(invalid("line", &line));
            }
            let rest = &line[9..];
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
            let status = code.parse::<u16>().ok().filter(|_| digits).ok_or_else(|| invalid("code", code))?;
            let headers = self.headers(HEADERS, usize::MAX, over).await?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            return Ok(ResponseHead { status, reason: reason.to_owned(), old, headers });
        }
    }
}

/// A new connection to the handler.
///
/// # Errors
/// Nobody listens.
pub async fn connect(port: u16) -> Result<Connection, WireError> {
    Ok(Connection::new(TcpStream::connect(("127.0.0.1", port)).await?))
}

/// Connections to the handler that are open and idle.
#[derive(Debug)]
pub struct Pool {
    port: u16,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// A pool for the handler on `port`.
    pub fn new(port: u16) -> Self {
        Self { port, idle: Mutex::default() }
    }

    /// The handler's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An idle connection, or a new one.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn take(&self) -> Result<Connection, WireError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(connection) if connection.is_idle() => return Ok(connection),
                Some(_stale) => {}
                None => return connect(self.port).await,
            }
        }
    }

    /// Gives a connection back after its response was read to the end.
    pub fn give(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < 64 {
            idle.push(connection);
        }
    }
}
