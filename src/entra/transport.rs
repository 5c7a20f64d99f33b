//! The SDK's HTTP transport over the shared client: a credential leaves only for the address it is meant for.

use super::error::TokenFailure;
use crate::{clock::SharedClock, retry::parse_retry_after};
use azure_core::{
    error::{Error, ErrorKind},
    http::{AsyncRawResponse, HttpClient, Request, Url, headers::HeaderName},
};
use std::time::Duration;

/// Where token requests may go.
#[derive(Debug)]
pub(super) enum Destination {
    /// The authority that the SDK knows; https only.
    Authority,
    /// Every request goes to this origin in place of the authority's.
    InPlaceOf(Url),
    /// This origin and no other.
    Only(Url),
}

/// Sends the SDK's requests with the shared client.
#[derive(Debug)]
pub(super) struct GuardedTransport {
    http: reqwest::Client,
    destination: Destination,
    timeout: Duration,
    clock: SharedClock,
}

impl GuardedTransport {
    pub(super) fn new(
        http: reqwest::Client,
        destination: Destination,
        timeout: Duration,
        clock: SharedClock,
    ) -> Self {
        Self { http, destination, timeout, clock }
    }

    /// The request as it goes out; its address may have changed.
    fn directed(&self, request: &Request) -> azure_core::Result<Request> {
        let mut request = request.clone();
        let refused = |url: &Url| {
            let place = url.host_str().unwrap_or_default().to_owned();
            Error::with_message(ErrorKind::Credential, format!("a token request to {place} was not sent"))
        };
        match &self.destination {
            Destination::Authority if request.url().scheme() == "https" => {}
            Destination::Only(url) if url.origin() == request.url().origin() => {}
            Destination::Authority | Destination::Only(_) => return Err(refused(request.url())),
            Destination::InPlaceOf(base) => {
                let mut url = base.clone();
                url.set_path(request.url().path());
                url.set_query(request.url().query());
                *request.url_mut() = url;
            }
        }
        Ok(request)
    }
}

#[async_trait::async_trait]
impl HttpClient for GuardedTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let request = self.directed(request)?;
        // The body of a token answer is a few kilobytes: read within the same deadline.
        let whole = async {
            let answer = self.http.execute_request(&request).await?;
            let status = answer.status();
            let headers = answer.headers().clone();
            let body = answer.into_body().collect().await?;
            if status.is_success() {
                return Ok(AsyncRawResponse::from_bytes(status, headers, body));
            }
            // Classified here, where status, headers and body are still at hand, whatever the body is.
            let wait = headers.get_optional_str(&HeaderName::from_static("retry-after"));
            let wait = wait.and_then(|wait| parse_retry_after(wait, self.clock.now_ms()));
            let failure = TokenFailure::answered(u16::from(status), aadsts(&body), wait);
            Err(Error::new(ErrorKind::Credential, failure))
        };
        match tokio::time::timeout(self.timeout, whole).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                Err(Error::with_message(ErrorKind::Io, "the token endpoint did not answer in time"))
            }
        }
    }
}

/// Entra's own number in the body of an error: in `error_codes`, else in the description.
fn aadsts(body: &[u8]) -> Option<u32> {
    if let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) {
        let code =
            answer.get("error_codes").and_then(|codes| codes.get(0)).and_then(serde_json::Value::as_u64);
        if let Some(code) = code.and_then(|code| u32::try_from(code).ok()) {
            return Some(code);
        }
    }
    let text = String::from_utf8_lossy(body);
    let digits: String = text.split_once("AADSTS")?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
