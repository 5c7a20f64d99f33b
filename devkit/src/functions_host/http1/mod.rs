//! HTTP/1.1 on the wire, as strict and as lenient as the host's web server and client are: no library
//! shows raw targets, repeats and half-sent bodies the way the emulator needs them.

pub mod client;
pub mod server;

use bytes::{Buf as _, Bytes, BytesMut};
use std::{io, time::Duration};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What goes wrong on a connection.
#[derive(Debug, Error)]
pub enum WireError {
    /// Nobody listens.
    #[error("Connection refused")]
    Refused,
    /// The peer closed before it sent anything.
    #[error("The response ended prematurely. (ResponseEnded)")]
    Closed,
    /// The peer closed in the middle of a message.
    #[error("The response ended prematurely. (ResponseEnded)")]
    Truncated,
    /// A message that cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// A message whose head was read but cannot be used: it is not asked for again.
    #[error("{0}")]
    Unusable(String),
    /// A limit was passed; the status is the web server's answer.
    #[error("the request is too large (status {0})")]
    TooLarge(u16),
    /// The body is larger than the host takes.
    #[error("Request body too large. The max request body size is {0} bytes.")]
    BodyTooLarge(u64),
    /// Everything else, a reset among it.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for WireError {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(why),
        }
    }
}

/// Header lines in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, Vec<u8>)>);

impl Headers {
    /// The values of a name, letter case aside.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The first value of a name, as text.
    pub fn first(&self, name: &str) -> Option<String> {
        self.all(name).next().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Whether a comma-separated header lists a token.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).any(|value| {
            String::from_utf8_lossy(value).split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
        })
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A connection with what was read ahead.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    ahead: BytesMut,
}

/// Most bytes read ahead from a peer that sends while nobody asked.
const AHEAD: usize = 64 * 1024;
/// How long the web server goes on reading a body that nobody wants.
const DRAIN: Duration = Duration::from_secs(5);

impl Connection {
    /// Takes over a stream.
    pub fn new(stream: TcpStream) -> Self {
        // Small messages must not wait for each other; where the option fails they only get slower.
        let _only_slower = stream.set_nodelay(true);
        Self { stream, ahead: BytesMut::new() }
    }

    /// Whether something was read that nobody took yet.
    pub fn has_unread(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.stream.write_all(bytes).await?;
        Ok(())
    }

    /// Reads more; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool, WireError> {
        self.ahead.reserve(16 * 1024);
        Ok(self.stream.read_buf(&mut self.ahead).await? > 0)
    }

    /// Completes when the peer closes or resets, also when it only closes its sending side.
    pub async fn closed(&mut self) {
        while self.ahead.len() < AHEAD {
            if !matches!(self.fill().await, Ok(true)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Whether an idle connection can be used again: open, with nothing unasked in it.
    pub fn is_idle(&self) -> bool {
        let mut byte = [0_u8; 1];
        self.ahead.is_empty()
            && matches!(self.stream.try_read(&mut byte), Err(why) if why.kind() == io::ErrorKind::WouldBlock)
    }

    /// Closes the connection with a reset.
    pub fn reset(self) {
        // If the option cannot be set the peer sees an orderly close instead.
        let _orderly_close = self.stream.set_zero_linger();
    }

    /// A line without its end; `over` is what a longer one than `limit` is. The flag says whether anything was read before.
    async fn line(
        &mut self,
        limit: usize,
        over: impl Fn() -> WireError,
        started: bool,
    ) -> Result<Vec<u8>, WireError> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.ahead[seen..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.ahead.split_to(seen + at + 1);
                line.truncate(line.len() - 1);
                if line.last() == Some(&b'\r') {
                    line.truncate(line.len() - 1);
                }
                if line.len() > limit {
                    return Err(over());
                }
                return Ok(line.to_vec());
            }
            seen = self.ahead.len();
            if seen > limit {
                return Err(over());
            }
            if !self.fill().await? {
                return Err(if self.ahead.is_empty() && !started {
                    WireError::Closed
                } else {
                    WireError::Truncated
                });
            }
        }
    }

    /// Header lines up to the empty one.
    async fn headers(
        &mut self,
        limit: usize,
        most: usize,
        over: impl Fn() -> WireError,
    ) -> Result<Headers, WireError> {
        let mut headers = Headers::default();
        let mut left = limit;
        loop {
            let line = self.line(left, &over, true).await?;
            if line.is_empty() {
                return Ok(headers);
            }
            left = left.checked_sub(line.len() + 2).ok_or_else(&over)?;
            if headers.0.len() == most {
                return Err(over());
            }
            headers.0.push(header_line(&line)?);
        }
    }

    /// The next piece of a body; `None` at its end.
    ///
    /// # Errors
    /// The connection broke, or the framing is wrong.
    pub async fn body_piece(&mut self, framing: &mut Framing) -> Result<Option<Bytes>, WireError> {
        match framing {
            Framing::Empty | Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                if self.ahead.is_empty() && !self.fill().await? {
                    return Err(WireError::Truncated);
                }
                let size = self.ahead.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= size as u64;
                Ok(Some(self.ahead.split_to(size).freeze()))
            }
            Framing::UntilClose => {
                if self.ahead.is_empty() && !self.fill().await? {
                    *framing = Framing::Empty;
                    return Ok(None);
                }
                Ok(Some(self.ahead.split().freeze()))
            }
            Framing::Chunked => {
                let piece = self.chunk().await?;
                if piece.is_none() {
                    *framing = Framing::Empty;
                }
                Ok(piece)
            }
        }
    }

    /// Reads what is left of a body and drops it, for a few seconds; true if the connection can go on.
    pub async fn drain(&mut self, framing: &mut Framing) -> bool {
        let rest = async {
            loop {
                match self.body_piece(framing).await {
                    Ok(Some(_dropped)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        tokio::select! {
            ended = rest => ended,
            () = super::clock::pause(DRAIN) => false,
        }
    }

    /// One whole chunk, or none at the last one; trailers are dropped. Nothing is consumed before it is all there,
    /// so that the future may be given up at any time.
    async fn chunk(&mut self) -> Result<Option<Bytes>, WireError> {
        let bad = || WireError::Invalid("Bad chunk size data.".to_owned());
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let digits = self.ahead[..end].split(|byte| *byte == b';').next().unwrap_or_default();
                let text = std::str::from_utf8(digits).map_err(|_not_text| bad())?.trim();
                if text.is_empty() || text.len() > 8 {
                    return Err(bad());
                }
                let size = usize::from_str_radix(text, 16).map_err(|_not_hexadecimal| bad())?;
                let start = end + 2;
                if size == 0 {
                    let tail = &self.ahead[start..];
                    let after = if tail.starts_with(b"\r\n") {
                        Some(start + 2)
                    } else {
                        tail.windows(4).position(|four| four == b"\r\n\r\n").map(|at| start + at + 4)
                    };
                    if let Some(after) = after {
                        self.ahead.advance(after);
                        return Ok(None);
                    }
                } else if self.ahead.len() >= start + size + 2 {
                    if &self.ahead[start + size..start + size + 2] != b"\r\n" {
                        return Err(bad());
                    }
                    self.ahead.advance(start);
                    let piece = self.ahead.split_to(size).freeze();
                    self.ahead.advance(2);
                    return Ok(Some(piece));
                }
            } else if self.ahead.len() > 1024 {
                return Err(bad());
            }
            if !self.fill().await? {
                return Err(WireError::Truncated);
            }
        }
    }
}

fn header_line(line: &[u8]) -> Result<(String, Vec<u8>), WireError> {
    let invalid = || {
        WireError::Invalid(format!("Received an invalid header line: '{}'.", String::from_utf8_lossy(line)))
    };
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(invalid)?;
    let (name, value) = line.split_at(colon);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(invalid());
    }
    let name = String::from_utf8(name.to_vec()).map_err(|_not_text| invalid())?;
    Ok((name, value[1..].trim_ascii().to_vec()))
}

/// One chunk on the wire.
pub fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut out = format!("{:X}\r\n", piece.len()).into_bytes();
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
    out
}
