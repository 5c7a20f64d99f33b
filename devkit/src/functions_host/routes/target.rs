//! A request target as the host's web server reads it, and as the proxy writes it again.

use std::fmt::Write as _;

/// A request target, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path: decoded once but for `%2F`, without dot segments.
    pub path: String,
    /// The query as it came, question mark included; empty without one.
    pub query: String,
    /// The authority of an absolute target.
    pub authority: Option<String>,
}

/// The web server answers by itself; no function is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status it answers with.
    pub status: u16,
}

const BAD: Refused = Refused { status: 400 };

/// Reads a request target. `host` is the Host header where there is one; `accept_hash` is .NET 10's way
/// with a raw `#` (400 on .NET 8, on which the host runs).
///
/// # Errors
/// The status that the web server answers with: 400, or 405 for `GET *`.
pub fn read_target(
    method: &str,
    raw: &[u8],
    host: Option<&str>,
    accept_hash: bool,
) -> Result<Target, Refused> {
    let clean =
        |byte: &u8| byte.is_ascii() && *byte > b' ' && *byte != 0x7f && (accept_hash || *byte != b'#');
    if raw.is_empty() || !raw.iter().all(clean) {
        return Err(BAD);
    }
    let text = std::str::from_utf8(raw).map_err(|_not_ascii| BAD)?;
    if method.eq_ignore_ascii_case("CONNECT") {
        return Err(BAD);
    }
    if text == "*" {
        if method != "OPTIONS" {
            return Err(Refused { status: 405 });
        }
        return Ok(Target { path: String::new(), query: String::new(), authority: None });
    }
    let (origin, authority) =
        if text.starts_with('/') { (text.to_owned(), None) } else { absolute(text, host)? };
    let (path, query) = match origin.find('?') {
        Some(at) => origin.split_at(at),
        None => (origin.as_str(), ""),
    };
    let query = query.replace('#', "%23");
    let path = remove_dot_segments(&decode_path(path)?);
    Ok(Target { path, query, authority })
}

fn absolute(text: &str, host: Option<&str>) -> Result<(String, Option<String>), Refused> {
    let lower = text.to_ascii_lowercase();
    let scheme = if lower.starts_with("http://") {
        "http://"
    } else if lower.starts_with("https://") {
        "https://"
    } else {
        return Err(BAD);
    };
    let rest = &text[scheme.len()..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let default_port = if scheme == "http://" { ":80" } else { ":443" };
    let plain = |name: &str| name.strip_suffix(default_port).unwrap_or(name).to_ascii_lowercase();
    if host.is_some_and(|host| !host.is_empty() && plain(host) != plain(authority)) {
        return Err(BAD);
    }
    let origin = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
    Ok((origin, Some(authority.to_owned())))
}

/// Decodes percent escapes once. `%2F` stays as typed, and so does what is not UTF-8; `%00` is refused.
fn decode_path(path: &str) -> Result<String, Refused> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while at < bytes.len() {
        let Some(first) = escape_at(bytes, at) else {
            out.push(char::from(bytes[at]));
            at += 1;
            continue;
        };
        if first == 0 {
            return Err(BAD);
        }
        if first == b'/' {
            out.push_str(&path[at..at + 3]);
            at += 3;
            continue;
        }
        let length = match first {
            0x00..=0x7f => 1,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        let sequence: Option<Vec<u8>> = (0..length).map(|index| escape_at(bytes, at + 3 * index)).collect();
        let decoded =
            sequence.filter(|bytes| !bytes.is_empty()).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(decoded) = decoded {
            out.push_str(&decoded);
            at += 3 * length;
        } else {
            out.push_str(&path[at..at + 3]);
            at += 3;
        }
    }
    Ok(out)
}

fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    if bytes.get(at) != Some(&b'%') {
        return None;
    }
    let digit = |index: usize| bytes.get(index).and_then(|byte| char::from(*byte).to_digit(16));
    u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()
}

fn remove_dot_segments(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.iter().enumerate() {
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    out.pop();
                }
                if index == last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    format!("/{}", out.join("/"))
}

/// The path that the proxy writes for a decoded path: everything but the characters that a path may hold
/// bare is escaped, the percent sign too, so that `%2F` arrives as `%252F`.
pub fn proxied_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"!$&'()*+,-./:;=@_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// The query that the proxy writes: escapes of unreserved characters are undone, what a query may not hold is
/// escaped, the rest stays as it came.
pub fn proxied_query(query: &str) -> String {
    let bytes = query.as_bytes();
    let mut out = String::with_capacity(query.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match escape_at(bytes, at) {
            Some(escaped) if escaped.is_ascii_alphanumeric() || b"-._~".contains(&escaped) => {
                out.push(char::from(escaped));
                at += 3;
            }
            Some(_) => {
                out.push_str(&query[at..at + 3]);
                at += 3;
            }
            None => {
                if byte.is_ascii_alphanumeric() || b"!#$&'()*+,-./:;=?@[]_~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    let _infallible = write!(out, "%{byte:02X}");
                }
                at += 1;
            }
        }
    }
    out
}
