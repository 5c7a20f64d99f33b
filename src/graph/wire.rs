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

/// Sends and reads to the end. 5xx is an [`Unknown`].
pub(super) async fn exchange(request: reqwest::RequestBuilder, clock: &SharedClock) -> Result<Answer, Lost> {
    let response = request.timeout(REQUEST_TIMEOUT).send().await.map_err(|error| lost(&error))?;
    let status = response.status();
    let retry_after = header_text(&response, header::RETRY_AFTER.as_str())
        .and_then(|value| parse_retry_after(&value, clock.now_ms()));
    let etag = header_text(&response, header::ETAG.as_str());
    if status.is_server_error() {
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
