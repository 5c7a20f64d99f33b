//! The head of a request as the handler gets it, and the head of its response as the client gets it.

use super::{Failure, Proxied};
use crate::functions_host::{
    envelope::HOST_VERSION,
    http1::{
        Framing, WireError,
        client::ResponseHead,
        server::{reason, response_head},
    },
    routes::{proxied_path, proxied_query},
};

impl Proxied<'_> {
    /// Whether the request carries headers that describe a body, though there is none.
    pub(super) fn has_content(&self) -> bool {
        self.head.headers.0.iter().any(|(name, _)| is_content_header(name))
    }

    /// The head as the handler gets it.
    pub(super) fn request_head(&self, port: u16) -> Result<Vec<u8>, Failure> {
        let method = known_method(&self.head.method);
        let host = self.head.host();
        let path = proxied_path(&self.target.path);
        let mut lines: Vec<(String, Vec<u8>)> =
            vec![("Host".to_owned(), format!("127.0.0.1:{port}").into_bytes())];
        let mut content: Vec<(String, Vec<u8>)> = Vec::new();
        if host.is_empty() && self.head.headers.all("host").next().is_some() {
            lines.push(("Host".to_owned(), Vec::new()));
        }
        for (name, value) in &self.head.headers.0 {
            if is_dropped(name) {
                continue;
            }
            if !value.is_ascii() {
                return Err(Failure::Again(WireError::Invalid(
                    "Request headers must contain only ASCII characters.".to_owned(),
                )));
            }
            let list = if is_content_header(name) { &mut content } else { &mut lines };
            match list.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, known)) => {
                    known.extend_from_slice(if name.eq_ignore_ascii_case("cookie") { b"; " } else { b", " });
                    known.extend_from_slice(value);
                }
                None => list.push((name.clone(), value.clone())),
            }
        }
        if self.head.framing == Framing::Chunked
            && let Some(length) = self.head.headers.first("content-length")
        {
            lines.push(("X-Content-Length".to_owned(), length.into_bytes()));
        }
        let mut add = |name: &str, value: &str| lines.push((name.to_owned(), value.as_bytes().to_vec()));
        add("X-Azure-Functions-HostVersion", HOST_VERSION);
        add("X-Azure-Functions-InvocationId", self.id);
        add("x-ms-invocation-id", self.id);
        add("X-Forwarded-For", self.peer);
        if !host.is_empty() {
            add("X-Forwarded-Host", &host);
        }
        add("X-Forwarded-Proto", "http");
        match self.head.framing {
            Framing::Chunked => add("Transfer-Encoding", "chunked"),
            Framing::Length(length) => add("Content-Length", &length.to_string()),
            Framing::Empty | Framing::UntilClose => {
                let without_body =
                    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE" | "CONNECT");
                if !without_body || self.has_content() {
                    add("Content-Length", "0");
                }
            }
        }
        lines.append(&mut content);
        let mut out =
            format!("{method} {path}{} HTTP/1.1\r\n", proxied_query(&self.target.query)).into_bytes();
        for (name, value) in &lines {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        Ok(out)
    }

    pub(super) fn head_for_client(
        &self,
        response: &ResponseHead,
        framing: Framing,
        chunked: bool,
        keep: bool,
    ) -> Vec<u8> {
        let length_is_sent =
            !chunked && !matches!(framing, Framing::Chunked | Framing::UntilClose) && response.status != 204;
        let mut headers: Vec<(String, Vec<u8>)> = response
            .headers
            .0
            .iter()
            .filter(|(name, _)| !is_hop_by_hop(name))
            .filter(|(name, _)| length_is_sent || !name.eq_ignore_ascii_case("content-length"))
            .cloned()
            .collect();
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.as_bytes().to_vec()));
        if chunked {
            add("Transfer-Encoding", "chunked");
        }
        if !keep {
            add("Connection", "close");
        } else if self.head.old {
            add("Connection", "keep-alive");
        }
        let phrase = if response.reason.is_empty() { reason(response.status) } else { &response.reason };
        response_head(response.status, phrase, &headers, self.date)
    }
}

/// Why the host cannot hand a response on.
pub(super) fn unusable(response: &ResponseHead) -> Option<String> {
    if response.status == 101 {
        return Some("Cannot upgrade a non-upgradable request.".to_owned());
    }
    let bad = response
        .headers
        .0
        .iter()
        .flat_map(|(_, value)| value)
        .find(|byte| !byte.is_ascii() || (**byte < b' ' && **byte != b'\t'));
    bad.map(|byte| format!("Invalid non-ASCII or control character in header: 0x{byte:04X}"))
}

/// .NET writes the methods that it knows in capitals, others as they are.
fn known_method(method: &str) -> String {
    let upper = method.to_ascii_uppercase();
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"];
    if known.contains(&upper.as_str()) { upper } else { method.to_owned() }
}

fn is_hop_by_hop(name: &str) -> bool {
    let names = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
        "proxy-features",
        "proxy-instruction",
        "security-scheme",
        "alt-svc",
        "close",
        "te",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "upgrade-insecure-requests",
    ];
    names.contains(&name.to_ascii_lowercase().as_str())
}

/// Request headers that do not reach the handler as the client sent them.
fn is_dropped(name: &str) -> bool {
    let names = [
        "host",
        "content-length",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-azure-functions-hostversion",
        "x-azure-functions-invocationid",
        "x-ms-invocation-id",
    ];
    is_hop_by_hop(name) || names.contains(&name.to_ascii_lowercase().as_str())
}

fn is_content_header(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let content = [
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
    ];
    content.contains(&lower.as_str()) || matches!(lower.as_str(), "allow" | "expires" | "last-modified")
}
