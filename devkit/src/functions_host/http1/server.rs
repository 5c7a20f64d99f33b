//! The host's side towards clients: reading requests with the web server's limits, writing responses.

use super::{Connection, Framing, Headers, WireError};

/// Longest request line, in bytes.
const REQUEST_LINE: usize = 8192;
/// Most bytes of request headers.
const HEADERS: usize = 32 * 1024;
/// Most request header lines.
const HEADER_LINES: usize = 100;

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method as sent.
    pub method: String,
    /// The target as sent.
    pub target: Vec<u8>,
    /// Whether it is HTTP/1.0.
    pub old: bool,
    /// The header lines.
    pub headers: Headers,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection is to be kept.
    pub keep_alive: bool,
}

/// Why a request gets no further than the web server.
#[derive(Debug)]
pub enum Unread {
    /// The connection ended between two requests.
    Gone,
    /// The web server answers with this status and closes.
    Refused(u16),
}

impl From<WireError> for Unread {
    fn from(why: WireError) -> Self {
        match why {
            WireError::TooLarge(status) => Self::Refused(status),
            WireError::Invalid(_) => Self::Refused(400),
            _ => Self::Gone,
        }
    }
}

impl RequestHead {
    /// The Host header; empty where there is none.
    pub fn host(&self) -> String {
        self.headers.first("host").unwrap_or_default()
    }

    /// Whether the client waits for `100 Continue` before it sends its body.
    pub fn expects_continue(&self) -> bool {
        self.headers.lists("expect", "100-continue")
    }
}

impl Connection {
    /// Reads the head of the next request.
    ///
    /// # Errors
    /// The connection ended, or the web server refuses what came.
    pub async fn read_request_head(&mut self) -> Result<RequestHead, Unread> {
        let line = self.line(REQUEST_LINE, || WireError::TooLarge(414), false).await?;
        let (method, target, version) = request_line(&line).ok_or(Unread::Refused(400))?;
        let old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            other if is_version(other) => return Err(Unread::Refused(505)),
            _ => return Err(Unread::Refused(400)),
        };
        let headers = self.headers(HEADERS, HEADER_LINES, || WireError::TooLarge(431)).await?;
        let is_text = |value: &[u8]| std::str::from_utf8(value).is_ok() && !value.contains(&0);
        if !headers.0.iter().all(|(_, value)| is_text(value)) {
            return Err(Unread::Refused(400));
        }
        let hosts: Vec<&[u8]> = headers.all("host").collect();
        let host_is_fine = match hosts.as_slice() {
            [] => old,
            [host] => {
                host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]~%!$&'()*+,;=".contains(byte))
            }
            _ => false,
        };
        if !host_is_fine {
            return Err(Unread::Refused(400));
        }
        let (framing, both) = framing(&headers, old)?;
        let keep_alive = if old {
            headers.lists("connection", "keep-alive")
        } else {
            !headers.lists("connection", "close")
        };
        Ok(RequestHead { method, target, old, headers, framing, keep_alive: keep_alive && !both })
    }
}

/// Method, target and version of a request line. More blanks before the version are taken, others are not.
fn request_line(line: &[u8]) -> Option<(String, Vec<u8>, &[u8])> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if method.is_empty() || !method.iter().all(is_token) || target.is_empty() {
        return None;
    }
    Some((String::from_utf8(method.to_vec()).ok()?, target.to_vec(), version.trim_ascii_start()))
}

fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// How the body ends; the flag says that Content-Length and chunked came together.
fn framing(headers: &Headers, old: bool) -> Result<(Framing, bool), Unread> {
    let lengths: Vec<&[u8]> = headers.all("content-length").collect();
    let codings: Vec<String> = headers
        .all("transfer-encoding")
        .map(|value| String::from_utf8_lossy(value).trim().to_ascii_lowercase())
        .collect();
    if let Some(last) = codings.last() {
        let chunked = last.rsplit(',').next().is_some_and(|coding| coding.trim() == "chunked");
        if !chunked || old {
            return Err(Unread::Refused(400));
        }
        return Ok((Framing::Chunked, !lengths.is_empty()));
    }
    match lengths.as_slice() {
        [] => Ok((Framing::Empty, false)),
        [one] => {
            let text = std::str::from_utf8(one).unwrap_or("");
            let digits = text.strip_prefix('+').unwrap_or(text);
            let length = digits.parse::<u64>().map_err(|_not_a_number| Unread::Refused(400))?;
            Ok((if length == 0 { Framing::Empty } else { Framing::Length(length) }, false))
        }
        _ => Err(Unread::Refused(400)),
    }
}

/// The usual reason phrase of a status; empty where there is none.
pub fn reason(status: u16) -> &'static str {
    match http::StatusCode::from_u16(status) {
        Ok(code) => code.canonical_reason().unwrap_or(""),
        Err(_) => "",
    }
}

/// The head of a response as bytes; Date and Server are added where the handler set none.
pub fn response_head(status: u16, phrase: &str, headers: &[(String, Vec<u8>)], date: &str) -> Vec<u8> {
    let phrase = if phrase.is_empty() { reason(status) } else { phrase };
    let mut out = format!("HTTP/1.1 {status} {phrase}\r\n").into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    for (name, value) in headers {
        line(name, value);
    }
    let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if !has("date") {
        line("Date", date.as_bytes());
    }
    if !has("server") {
        line("Server", b"Kestrel");
    }
    out.extend_from_slice(b"\r\n");
    out
}
