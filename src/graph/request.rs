//! What is asked of Graph, and what may come of it.

use crate::entra::TokenError;
use serde_json::Value;
use std::time::Duration;

/// The verbs that Graph's Planner uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates.
    Post,
    /// Changes.
    Patch,
    /// Deletes.
    Delete,
}

impl Method {
    /// The verb as it stands in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One request, alone or as an item of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// Path below `/v1.0` or `/beta`, with a leading slash, percent-encoded, with its query if it has one.
    pub path: String,
    /// The ETag that the change is based on. Never `*`: Planner's details refuse it.
    pub if_match: Option<String>,
    /// Asks a PATCH to answer the changed object instead of 204.
    pub prefer_representation: bool,
    /// The JSON body.
    pub body: Option<Value>,
    /// What only Graph's beta has.
    pub beta: bool,
    /// It does not leave this process later than this, ms since 1970.
    pub not_after: Option<i64>,
}

impl Request {
    /// A request with nothing but a verb and a path.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            if_match: None,
            prefer_representation: false,
            body: None,
            beta: false,
            not_after: None,
        }
    }

    /// Reads `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path)
    }

    /// With a JSON body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Asking Graph's beta.
    #[must_use]
    pub fn beta(mut self) -> Self {
        self.beta = true;
        self
    }

    /// Sent by then (ms since 1970) or not at all.
    #[must_use]
    pub fn not_after(mut self, ms: i64) -> Self {
        self.not_after = Some(ms);
        self
    }

    /// Only if the object still is what `etag` names.
    #[must_use]
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Asking for the changed object.
    #[must_use]
    pub fn returning_representation(mut self) -> Self {
        self.prefer_representation = true;
        self
    }
}

/// What Graph answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status: 2xx or 4xx.
    pub status: u16,
    /// The wait that `Retry-After` asks for.
    pub retry_after: Option<Duration>,
    /// The ETag, from the body's `@odata.etag`, else from the `ETag` header.
    pub etag: Option<String>,
    /// The JSON body. An error body that is not JSON is dropped: the status says enough.
    pub body: Option<Value>,
}

impl Answer {
    /// 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Graph's own error code, if the body holds one that is not empty.
    pub fn error_code(&self) -> Option<&str> {
        let code = self.body.as_ref()?.get("error")?.get("code")?.as_str()?;
        (!code.is_empty()).then_some(code)
    }

    /// Graph's own error message.
    pub fn error_message(&self) -> Option<&str> {
        self.body.as_ref()?.get("error")?.get("message")?.as_str()
    }
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Graph answered 2xx (done) or 4xx but 408 (not done).
    Answer(Answer),
    /// It may or may not have happened.
    Unknown(Unknown),
    /// It did not leave this process, so it did not happen.
    NotSent(NotSent),
}

impl Outcome {
    /// The wait that the other side asked for, whatever the outcome.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(answer) => answer.retry_after,
            Self::Unknown(Unknown::ServerError { retry_after, .. }) => *retry_after,
            Self::NotSent(NotSent::NoToken(TokenError::Failed { retry_after, .. })) => Some(*retry_after),
            Self::Unknown(_) | Self::NotSent(_) => None,
        }
    }
}

/// Why it is not known whether a request happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No answer within the time-out.
    #[error("Graph did not answer in time")]
    TimedOut,
    /// The connection ended before the whole answer was there.
    #[error("the connection to Graph ended before the answer was complete")]
    Interrupted,
    /// Graph answered 5xx or 408, for the request or for its item in a batch.
    #[error("Graph answered {status}")]
    ServerError {
        /// HTTP status.
        status: u16,
        /// The wait that `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// The answer has no item for this request of a batch.
    #[error("Graph's batch answer leaves this request out")]
    MissingFromBatch,
    /// A success that cannot be read: not JSON where JSON is due, not a batch answer, a redirect, too large.
    #[error("Graph's answer cannot be read: {0}")]
    Unreadable(&'static str),
}

impl Unknown {
    /// A stable code for logs and the sync log.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TimedOut => "graph_timeout",
            Self::Interrupted => "graph_interrupted",
            Self::ServerError { .. } => "graph_server_error",
            Self::MissingFromBatch => "graph_batch_item_missing",
            Self::Unreadable(_) => "graph_unreadable",
        }
    }
}

/// Why a request did not leave this process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There is no access token.
    #[error("no access token: {0}")]
    NoToken(#[from] TokenError),
    /// No connection could be made.
    #[error("Graph could not be reached")]
    NoConnection,
    /// The request itself is not one that may be sent.
    #[error("the request was not sent: {0}")]
    Invalid(&'static str),
    /// It was to be sent by a certain time.
    #[error("the time by which it was to be sent had passed")]
    TooLate,
}

impl NotSent {
    /// A stable code for logs and the sync log.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoToken(error) => error.code(),
            Self::NoConnection => "graph_unreachable",
            Self::Invalid(_) => "graph_request_invalid",
            Self::TooLate => "graph_request_late",
        }
    }
}
