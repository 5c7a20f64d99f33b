//! The client itself: access token, single requests, the one repetition after a rejected token.

use super::{
    request::{Answer, Method, NotSent, Outcome, Request, Unknown},
    wire::{Lost, REQUEST_TIMEOUT, exchange},
};
use crate::{
    clock::{SharedClock, SharedRng},
    config::GraphSettings,
    entra::{Credentials, Token},
    retry::{Retriable, RetryPolicy},
};
use reqwest::header;
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use url::Url;

/// A client of Microsoft Graph v1.0. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GraphClient {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    base: Url,
    scope: String,
    credentials: Arc<Credentials>,
    http: reqwest::Client,
    pub(super) clock: SharedClock,
    rng: SharedRng,
    retry: RetryPolicy,
    requests: AtomicU64,
    sub_requests: AtomicU64,
}

/// What was sent since the start, repetitions included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// HTTP requests.
    pub requests: u64,
    /// What Graph counts: each item of a batch is one, and so is each single request.
    pub sub_requests: u64,
}

/// One HTTP request to be.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) if_match: Option<&'a str>,
    pub(super) prefer: Option<&'a str>,
    pub(super) body: Option<&'a Value>,
    /// It does not leave later than this, ms since 1970.
    pub(super) not_after: Option<i64>,
    pub(super) sub_requests: u64,
}

impl Retriable for Lost {
    fn is_retriable(&self) -> bool {
        match self {
            Self::Unknown(Unknown::Unreadable(_)) | Self::NotSent(NotSent::Invalid(_) | NotSent::TooLate) => {
                false
            }
            Self::Unknown(_) | Self::NotSent(NotSent::NoConnection) => true,
            Self::NotSent(NotSent::NoToken(error)) => error.is_retriable(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unknown(Unknown::ServerError { retry_after, .. }) => *retry_after,
            Self::NotSent(NotSent::NoToken(error)) => Retriable::retry_after(error),
            Self::Unknown(_) | Self::NotSent(_) => None,
        }
    }
}

impl From<Result<Answer, Lost>> for Outcome {
    fn from(result: Result<Answer, Lost>) -> Self {
        match result {
            Ok(answer) => Self::Answer(answer),
            Err(Lost::Unknown(reason)) => Self::Unknown(reason),
            Err(Lost::NotSent(reason)) => Self::NotSent(reason),
        }
    }
}

impl GraphClient {
    /// A client for the Graph that `settings` name. `http` must follow no redirects
    /// ([`crate::app::http_client`] builds such a one).
    pub fn new(
        settings: &GraphSettings,
        credentials: Arc<Credentials>,
        http: reqwest::Client,
        clock: SharedClock,
        rng: SharedRng,
    ) -> Self {
        // The scope names the service, also where a development Graph stands in for the public one.
        let public = settings.base_url.scheme() == "https";
        let resource = if public {
            settings.base_url.origin().ascii_serialization()
        } else {
            GraphSettings::DEFAULT_BASE_URL.to_owned()
        };
        Self {
            inner: Arc::new(Inner {
                base: settings.base_url.clone(),
                scope: format!("{resource}/.default"),
                credentials,
                http,
                retry: RetryPolicy::new(clock.clone(), rng.clone()),
                clock,
                rng,
                requests: AtomicU64::new(0),
                sub_requests: AtomicU64::new(0),
            }),
        }
    }

    /// What was sent so far.
    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.inner.requests.load(Ordering::Relaxed),
            sub_requests: self.inner.sub_requests.load(Ordering::Relaxed),
        }
    }

    /// The credentials that this client uses.
    pub fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }

    /// Whether there is a token for Graph, or why there is none; Graph itself is not asked.
    ///
    /// # Errors
    /// [`NotSent::NoToken`].
    pub async fn check_token(&self) -> Result<(), NotSent> {
        self.inner.write_token().await.map(drop)
    }

    /// Sends one request. A GET is repeated as [`RetryPolicy`] says; a write never is, but for a token that was
    /// rejected (401: nothing happened), once.
    pub async fn send(&self, request: Request) -> Outcome {
        let url = match self.inner.url_of(&request) {
            Ok(url) => url,
            Err(reason) => return Outcome::NotSent(reason),
        };
        let call = || Call {
            method: request.method,
            url: url.clone(),
            if_match: request.if_match.as_deref(),
            prefer: request.prefer_representation.then_some("return=representation"),
            body: request.body.as_ref(),
            not_after: request.not_after,
            sub_requests: 1,
        };
        if request.method == Method::Get {
            self.inner.read(call).await.into()
        } else {
            match self.inner.write_token().await {
                Ok(token) => self.inner.call(&token, &call()).await.into(),
                Err(reason) => Outcome::NotSent(reason),
            }
        }
    }
}

impl Inner {
    /// The address that a request is for.
    pub(super) fn url_of(&self, request: &Request) -> Result<Url, NotSent> {
        self.url_below(if request.beta { "/beta" } else { "/v1.0" }, &request.path)
    }

    /// The address of `path` below `/v1.0`.
    pub(super) fn url(&self, path: &str) -> Result<Url, NotSent> {
        self.url_below("/v1.0", path)
    }

    /// The address of `path` below a version of Graph, which must stay there.
    pub(super) fn url_below(&self, version: &str, path: &str) -> Result<Url, NotSent> {
        let invalid = NotSent::Invalid("its path does not lead to /v1.0 or /beta of Graph");
        let full = format!("{version}{path}");
        let url = self.base.join(&full).map_err(|_| invalid.clone())?;
        // A path that parsing changes (dot segments, also when percent-encoded), or with an empty segment where an id
        // belongs, is not the one that was meant.
        let plain = full.split('?').next().unwrap_or_default();
        let whole = path.starts_with('/') && !plain.contains("//") && !plain.ends_with('/');
        let kept = whole && url.path() == plain && url.fragment().is_none();
        if kept && self.is_own(&url) { Ok(url) } else { Err(invalid) }
    }

    /// Whether a token may be sent to `url`: scheme, host and port are those of the configured Graph, and it names
    /// no user.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none()
    }

    /// Reads, with repetitions. An answer that asks to wait (429) is one, and comes back if its wait is too long.
    pub(super) async fn read<'a>(&self, call: impl Fn() -> Call<'a>) -> Result<Answer, Lost> {
        let result = self
            .retry
            .run(async || {
                let token = self.credentials.token(&self.scope).await.map_err(NotSent::from)?;
                match self.call(&token, &call()).await {
                    Ok(answer) if answer.status == 429 => Err(Attempt::Throttled(answer)),
                    Ok(answer) => Ok(answer),
                    Err(lost) => Err(Attempt::Lost(lost)),
                }
            })
            .await;
        match result {
            Ok(answer) | Err(Attempt::Throttled(answer)) => Ok(answer),
            Err(Attempt::Lost(lost)) => Err(lost),
        }
    }

    /// A token before a write: asking for one repeats nothing that Graph would see.
    pub(super) async fn write_token(&self) -> Result<Token, NotSent> {
        Ok(self.retry.run(async || self.credentials.token(&self.scope).await).await?)
    }

    /// One request, and once more with a new token if this one was rejected.
    pub(super) async fn call(&self, token: &Token, call: &Call<'_>) -> Result<Answer, Lost> {
        let answer = self.once(token, call).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        match self.renewed(token).await {
            Some(renewed) => self.once(&renewed, call).await,
            None => Ok(answer),
        }
    }

    /// A token in place of one that Graph rejected. `None` when the platform keeps its token or there is none to be
    /// had: then the rejection is the answer.
    pub(super) async fn renewed(&self, rejected: &Token) -> Option<Token> {
        match self.credentials.refresh(&self.scope, rejected).await {
            Ok(refreshed) => refreshed.changed.then_some(refreshed.token),
            Err(error) => {
                tracing::warn!(
                    code = error.code(),
                    "Graph rejected the token, and there is no new one: {error}"
                );
                None
            }
        }
    }

    async fn once(&self, token: &Token, call: &Call<'_>) -> Result<Answer, Lost> {
        if !self.is_own(&call.url) {
            return Err(NotSent::Invalid("its address is not the configured Graph").into());
        }
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut request = self
            .http
            .request(method, call.url.clone())
            .bearer_auth(token.secret())
            .header(header::ACCEPT, "application/json")
            .header("client-request-id", self.rng.uuid());
        if let Some(etag) = call.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        if let Some(prefer) = call.prefer {
            request = request.header("Prefer", prefer);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        // Nothing may wait between here and the send: what is late must not arrive when nobody expects it any more.
        if call.not_after.is_some_and(|at| self.clock.now_ms() > at) {
            return Err(NotSent::TooLate.into());
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sub_requests.fetch_add(call.sub_requests, Ordering::Relaxed);
        exchange(request, REQUEST_TIMEOUT, &self.clock).await
    }
}

/// One attempt of a read that may be followed by another.
enum Attempt {
    Lost(Lost),
    Throttled(Answer),
}

impl From<NotSent> for Attempt {
    fn from(reason: NotSent) -> Self {
        Self::Lost(reason.into())
    }
}

impl Retriable for Attempt {
    fn is_retriable(&self) -> bool {
        match self {
            Self::Lost(lost) => lost.is_retriable(),
            Self::Throttled(_) => true,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Lost(lost) => lost.retry_after(),
            Self::Throttled(answer) => answer.retry_after,
        }
    }
}
