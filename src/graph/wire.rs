//! One HTTP exchange with Graph: bounded, timed, and told apart by whether the request may have happened.

use super::request::{Answer, NotSent, Unknown};
use crate::{clock::SharedClock, retry::parse_retry_after};
use bytes::BytesMut;
use reqwest::{Response, StatusCode, header};
use serde_json::Value;
use std::time::Duration;

/// A request, its answer's body included, takes at most this long.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read. Graph's own limit for a page of tasks is far below.
pub(super) const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Why an exchange brought no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lost {
    Unknown(Unknown),
    NotSent(NotSent),
}

impl From<NotSent> for Lost {
    fn from(reason: NotSent) -> Self {
        Self::NotSent(reason)
    }
}

/// Sends and reads to the end. 5xx and 408 are an [`Unknown`].
///
/// `timeout` is for the whole exchange, the answer's body included.
pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    timeout: Duration,
    clock: &SharedClock,
) -> Result<Answer, Lost> {
    let response = request.timeout(timeout).send().await.map_err(|error| lost(&error))?;
    let status = response.status();
    let retry_after = header_text(&response, header::RETRY_AFTER.as_str())
        .and_then(|value| parse_retry_after(&value, clock.now_ms()));
    let etag = header_text(&response, header::ETAG.as_str());
    if is_doubtful(status.as_u16()) {
        return Err(Lost::Unknown(Unknown::ServerError { status: status.as_u16(), retry_after }));
    }
    if status.is_redirection() {
        return Err(Lost::Unknown(Unknown::Unreadable("it is a redirect, and those are never followed")));
    }
    let body = read_json(response).await;
    let body = match body {
        Ok(body) => body,
        // A refusal stays a refusal when its text is cut or no JSON.
        Err(_) if status.is_client_error() => None,
        Err(reason) => return Err(Lost::Unknown(reason)),
    };
    Ok(answer(status, retry_after, etag, body))
}

fn answer(
    status: StatusCode,
    retry_after: Option<Duration>,
    header: Option<String>,
    body: Option<Value>,
) -> Answer {
    Answer { status: status.as_u16(), retry_after, etag: etag_of(body.as_ref()).or(header), body }
}

/// Whether an answer leaves open if the request happened: 5xx, and 408 of a gateway that waited in vain.
pub(super) fn is_doubtful(status: u16) -> bool {
    status >= 500 || status == 408
}

/// The ETag that an object carries in itself.
pub(super) fn etag_of(body: Option<&Value>) -> Option<String> {
    body?.get("@odata.etag")?.as_str().map(str::to_owned)
}

fn header_text(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// An empty body is `None`.
async fn read_json(mut response: Response) -> Result<Option<Value>, Unknown> {
    let mut bytes = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= MAX_ANSWER_BYTES => {
                bytes.extend_from_slice(&chunk)
            }
            Ok(Some(_)) => return Err(Unknown::Unreadable("it is too large")),
            Ok(None) => break,
            Err(error) if error.is_timeout() => return Err(Unknown::TimedOut),
            Err(_) => return Err(Unknown::Interrupted),
        }
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|_| Unknown::Unreadable("it is not JSON"))
}

/// A failed connection is certain; everything after it is not.
fn lost(error: &reqwest::Error) -> Lost {
    if error.is_connect() {
        Lost::NotSent(NotSent::NoConnection)
    } else if error.is_builder() {
        Lost::NotSent(NotSent::Invalid("its address or a header is not valid"))
    } else if error.is_timeout() {
        Lost::Unknown(Unknown::TimedOut)
    } else {
        Lost::Unknown(Unknown::Interrupted)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a client of the test's own")]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Sends to a server that reads the request, writes `answer` and then says no more.
    async fn against(answer: &'static [u8]) -> Result<Answer, Lost> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 16];
            connection.read_exact(&mut request).await.unwrap();
            connection.write_all(answer).await.unwrap();
            connection
        });
        let request = reqwest::Client::new().post(format!("http://{address}/"));
        let outcome = exchange(request, Duration::from_millis(100), &SystemClock::shared()).await;
        drop(server.await.unwrap());
        outcome
    }

    #[tokio::test]
    async fn silence_is_in_doubt_before_and_within_the_answer() {
        let cut = b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{";
        for answer in [&b""[..], cut] {
            assert_eq!(against(answer).await, Err(Lost::Unknown(Unknown::TimedOut)));
        }
    }

    #[tokio::test]
    async fn a_refusal_needs_no_body_and_408_is_in_doubt() {
        let refused = against(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 99\r\n\r\n{").await;
        assert_eq!(refused, Ok(Answer { status: 412, retry_after: None, etag: None, body: None }));
        let doubt = Unknown::ServerError { status: 408, retry_after: None };
        let gateway = against(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(gateway, Err(Lost::Unknown(doubt)));
    }

    /// Bytes of `{"id":"t1"}` as gzip writes them.
    #[tokio::test]
    async fn a_compressed_answer_is_read() {
        let answer = against(GZIPPED).await.unwrap();
        assert_eq!(answer.body, Some(serde_json::json!({"id": "t1"})));
    }

    const GZIPPED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 31\r\n\r\n\
        \x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x4c\x51\xb2\x52\x2a\x31\x54\xaa\x05\x00\xdf\xad\x7d\x57\x0b\x00\x00\x00";
}
