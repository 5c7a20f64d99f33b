//! Tokens of Microsoft Entra: which credential is configured, and a cache in front of it.
//!
//! [`Credentials::token`] answers from memory until five minutes before the token ends (or half of a short life),
//! lets one caller at a time ask Entra for a scope, and after a failure waits longer and longer before it asks
//! again, so that a wrong secret never becomes a storm on the token endpoint. It never repeats a request by
//! itself: the caller's retry does, and is told how long to wait.

mod error;
mod source;
mod transport;

pub use error::{FailureKind, TokenError, TokenFailure};

use crate::{
    clock::{SharedClock, SharedRng},
    config::EntraSettings,
};
use secrecy::{ExposeSecret, SecretString};
use source::Source;
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// A token is asked for anew this long before it ends.
const EARLY_MS: i64 = 5 * 60 * 1000;
/// The longest wait after a failure that may pass by itself.
const TRANSIENT_WAIT_MAX_MS: i64 = 60 * 1000;
/// The waits after a failure that somebody has to mend in Entra: consent, secret, assignment.
const REFUSED_WAIT_MS: (i64, i64) = (30 * 1000, 5 * 60 * 1000);
/// A token that is rejected within this time of being issued counts as rejected again.
const REJECTED_AGAIN_MS: i64 = 60 * 1000;

/// An access token for one scope.
#[derive(Clone)]
pub struct Token {
    secret: SecretString,
    /// When it ends, in milliseconds since 1970.
    pub expires_at_ms: i64,
}

impl Token {
    /// The token itself, for an `Authorization` header and nothing else.
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at_ms", &self.expires_at_ms).finish_non_exhaustive()
    }
}

/// What a forced refresh brought.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The token to use now.
    pub token: Token,
    /// It differs from the rejected one. Managed identity may answer the same token for about a day: the platform
    /// keeps it.
    pub changed: bool,
}

/// Which kind of credential is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// The Functions platform's managed identity.
    ManagedIdentity,
    /// An app registration's client secret.
    ClientSecret,
}

/// Tokens for every scope, cached.
#[derive(Debug)]
pub struct Credentials {
    source: Option<Source>,
    missing: Vec<&'static str>,
    clock: SharedClock,
    rng: SharedRng,
    scopes: Mutex<HashMap<String, Arc<Mutex<Entry>>>>,
}

/// What is known about one scope. Its lock is held while Entra is asked: one request for all that wait.
#[derive(Debug, Default)]
struct Entry {
    token: Option<Issued>,
    failure: Option<Failed>,
    rejections: u32,
}

#[derive(Debug)]
struct Issued {
    token: Token,
    at_ms: i64,
    fresh_until_ms: i64,
}

#[derive(Debug)]
struct Failed {
    failure: TokenFailure,
    count: u32,
    until_ms: i64,
}

impl Credentials {
    /// The credential that `settings` name, over the shared HTTP client. Having none is no error here: each
    /// request for a token then answers [`TokenError::NotConfigured`].
    pub fn new(settings: &EntraSettings, http: reqwest::Client, clock: SharedClock, rng: SharedRng) -> Self {
        Self {
            source: Source::choose(settings, http, clock.clone()),
            missing: settings.missing.clone(),
            clock,
            rng,
            scopes: Mutex::default(),
        }
    }

    /// Which credential is used, or `None` when none is configured.
    pub fn kind(&self) -> Option<CredentialKind> {
        self.source.as_ref().map(Source::kind)
    }

    /// The variables that have to be set before there is a credential.
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// A token for `scope`, such as `https://graph.microsoft.com/.default`.
    ///
    /// # Errors
    /// [`TokenError`]; while a failure is being waited out, the same failure with the time that is left.
    pub async fn token(&self, scope: &str) -> Result<Token, TokenError> {
        let source = self.configured()?;
        let entry = self.entry(scope).await;
        let mut entry = entry.lock().await;
        let now = self.clock.now_ms();
        if let Some(issued) = entry.token.as_ref().filter(|issued| now < issued.fresh_until_ms) {
            return Ok(issued.token.clone());
        }
        match self.ask(source, scope, &mut entry).await {
            Ok(token) => Ok(token),
            // An old token that has not ended serves better than an error.
            Err(error) => match &entry.token {
                Some(issued) if now < issued.token.expires_at_ms => Ok(issued.token.clone()),
                _ => Err(error),
            },
        }
    }

    /// A token for `scope` in place of `rejected`, which the service did not accept.
    ///
    /// If another caller already brought a newer one, that is the answer. A token that is rejected again and again
    /// right after it was issued is not asked for at once, but after 1 s, 2 s … 60 s: `changed` is false meanwhile.
    ///
    /// # Errors
    /// As [`Credentials::token`].
    pub async fn refresh(&self, scope: &str, rejected: &Token) -> Result<Refreshed, TokenError> {
        let source = self.configured()?;
        let entry = self.entry(scope).await;
        let mut entry = entry.lock().await;
        let now = self.clock.now_ms();
        if let Some(issued) = &entry.token {
            if issued.token.secret() != rejected.secret() && now < issued.token.expires_at_ms {
                return Ok(Refreshed { token: issued.token.clone(), changed: true });
            }
            let (issued_at, unchanged) = (issued.at_ms, issued.token.clone());
            let soon = now - issued_at < REJECTED_AGAIN_MS;
            let wait = if soon && entry.rejections > 0 {
                doubled(1000, entry.rejections - 1, TRANSIENT_WAIT_MAX_MS)
            } else {
                0
            };
            if now < issued_at + wait {
                return Ok(Refreshed { token: unchanged, changed: false });
            }
            entry.rejections = if soon { entry.rejections.saturating_add(1) } else { 1 };
        }
        let token = self.ask(source, scope, &mut entry).await?;
        let changed = token.secret() != rejected.secret();
        Ok(Refreshed { token, changed })
    }

    fn configured(&self) -> Result<&Source, TokenError> {
        self.source.as_ref().ok_or_else(|| TokenError::NotConfigured { missing: self.missing.clone() })
    }

    async fn entry(&self, scope: &str) -> Arc<Mutex<Entry>> {
        let mut scopes = self.scopes.lock().await;
        Arc::clone(scopes.entry(scope.to_owned()).or_default())
    }

    /// Asks Entra, unless a failure is still being waited out, and keeps what it answers.
    async fn ask(&self, source: &Source, scope: &str, entry: &mut Entry) -> Result<Token, TokenError> {
        let before = self.clock.now_ms();
        if let Some(failed) = entry.failure.as_ref().filter(|failed| before < failed.until_ms) {
            return Err(TokenError::Failed {
                failure: failed.failure.clone(),
                retry_after: milliseconds(failed.until_ms - before),
            });
        }
        match source.fetch(scope).await {
            Ok(token) => {
                let now = self.clock.now_ms();
                let life = token.expires_at_ms - now;
                let fresh_for = if life > 2 * EARLY_MS { life - EARLY_MS } else { life / 2 };
                entry.failure = None;
                entry.token = Some(Issued {
                    token: token.clone(),
                    at_ms: now,
                    fresh_until_ms: now.saturating_add(fresh_for),
                });
                Ok(token)
            }
            Err(failure) => {
                let count = entry.failure.as_ref().map_or(0, |failed| failed.count);
                let (first, most) =
                    if failure.passes_by_itself() { (1000, TRANSIENT_WAIT_MAX_MS) } else { REFUSED_WAIT_MS };
                let backoff = doubled(first, count, most);
                let jitter = i64::try_from(self.rng.next_u64() % 250).unwrap_or(0);
                let asked =
                    failure.retry_after.map_or(0, |wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                let wait = backoff.saturating_add(jitter).max(asked);
                tracing::warn!(
                    code = failure.code(),
                    retry_after_ms = wait,
                    "no token for {scope}: {failure}"
                );
                let until_ms = self.clock.now_ms().saturating_add(wait);
                entry.failure =
                    Some(Failed { failure: failure.clone(), count: count.saturating_add(1), until_ms });
                Err(TokenError::Failed { failure, retry_after: milliseconds(wait) })
            }
        }
    }
}

/// `first` doubled `times` times, at most `most`.
fn doubled(first: i64, times: u32, most: i64) -> i64 {
    first.saturating_mul(1_i64 << times.min(30)).min(most)
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
