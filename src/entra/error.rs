//! Why there is no token, told apart by what has to happen next.

use crate::retry::Retriable;
use std::{fmt, time::Duration};

/// No token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No credential is configured: nothing is synced, agents are served all the same.
    #[error("no credential is configured: set {}, or run with a managed identity", .missing.join(", "))]
    NotConfigured {
        /// The environment variables that are not set.
        missing: Vec<&'static str>,
    },
    /// Entra was asked, now or a moment ago, and gave none.
    #[error("{failure}; asked again in {} s", .retry_after.as_secs_f32().ceil())]
    Failed {
        /// What Entra answered.
        failure: TokenFailure,
        /// How long it is before Entra is asked again.
        retry_after: Duration,
    },
}

impl Retriable for TokenError {
    fn is_retriable(&self) -> bool {
        matches!(self, Self::Failed { failure, .. } if failure.passes_by_itself())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotConfigured { .. } => None,
            Self::Failed { retry_after, .. } => Some(*retry_after),
        }
    }
}

impl TokenError {
    /// A stable code: `credentials_missing`, or the failure's.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured { .. } => "credentials_missing",
            Self::Failed { failure, .. } => failure.code(),
        }
    }
}

/// What went wrong at Entra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFailure {
    /// What has to happen next.
    pub kind: FailureKind,
    /// Entra's own number, as in `AADSTS7000215`, if it told one.
    pub aadsts: Option<u32>,
    /// The HTTP status of the answer; none when there was no answer.
    pub status: Option<u16>,
    /// The wait that the answer asked for.
    pub retry_after: Option<Duration>,
}

/// What has to happen before a token can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The secret is wrong or has ended.
    WrongSecret,
    /// Tenant or app is not known.
    UnknownApp,
    /// Somebody has to consent, assign or lift a policy.
    NotAllowed,
    /// Too many requests, or Entra found a loop.
    Throttled,
    /// No answer, or one that may be better next time.
    Unavailable,
    /// Anything else that Entra refuses.
    Refused,
}

impl TokenFailure {
    /// No answer came, or none that can be read.
    pub(super) fn unavailable() -> Self {
        Self { kind: FailureKind::Unavailable, aadsts: None, status: None, retry_after: None }
    }

    /// Classifies an answer by Entra's number, else by its status.
    ///
    /// Numbers: Microsoft's page *Microsoft Entra authentication and authorization error codes*.
    pub(super) fn answered(status: u16, aadsts: Option<u32>, retry_after: Option<Duration>) -> Self {
        let kind = match (aadsts, status) {
            (Some(7_000_215 | 7_000_222 | 700_027 | 7_000_218), _) => FailureKind::WrongSecret,
            (Some(700_016 | 90_002 | 900_023), _) => FailureKind::UnknownApp,
            (Some(65_001 | 50_105 | 53_003 | 50_076 | 50_079 | 7_000_112), _) => FailureKind::NotAllowed,
            (Some(50_196), _) | (_, 429) => FailureKind::Throttled,
            (Some(90_033 | 90_024 | 50_087), _) | (_, 408 | 500..=599 | 300..=399 | 200..=299) => {
                FailureKind::Unavailable
            }
            _ => FailureKind::Refused,
        };
        Self { kind, aadsts, status: Some(status), retry_after }
    }

    /// Whether the same request may succeed later without anybody mending anything.
    pub fn passes_by_itself(&self) -> bool {
        matches!(self.kind, FailureKind::Throttled | FailureKind::Unavailable)
    }

    /// A stable code for logs and health.
    pub fn code(&self) -> &'static str {
        match self.kind {
            FailureKind::WrongSecret => "entra_wrong_secret",
            FailureKind::UnknownApp => "entra_unknown_app",
            FailureKind::NotAllowed => "entra_not_allowed",
            FailureKind::Throttled => "entra_throttled",
            FailureKind::Unavailable => "entra_unavailable",
            FailureKind::Refused => "entra_refused",
        }
    }
}

impl std::error::Error for TokenFailure {}

impl fmt::Display for TokenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FailureKind::WrongSecret => "Entra refused the client secret: set a valid AZURE_CLIENT_SECRET",
            FailureKind::UnknownApp => "Entra knows no such app: check AZURE_TENANT_ID and AZURE_CLIENT_ID",
            FailureKind::NotAllowed => "Entra does not allow it: grant consent or an assignment to the app",
            FailureKind::Throttled => "Entra asks to slow down",
            FailureKind::Unavailable => "Entra could not be reached or could not answer",
            FailureKind::Refused => "Entra refused the request",
        })?;
        if let Some(number) = self.aadsts {
            write!(f, " (AADSTS{number})")?;
        }
        match self.status {
            Some(status) => write!(f, " (HTTP {status})"),
            None => Ok(()),
        }
    }
}
