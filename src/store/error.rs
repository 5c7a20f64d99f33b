//! Why Redis did not do what it was asked. An error is never an absence: it means that nothing is known.

use std::fmt;

/// What kind of failure it was; callers decide by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// No connection, or it broke: a write may or may not have happened.
    Unavailable,
    /// No answer in time: a write may or may not have happened.
    Timeout,
    /// The server is reading its data from disk.
    Loading,
    /// The server takes no writes now (a replica, or its disk fails).
    ReadOnly,
    /// The server is out of memory; reads and deletes still work.
    Full,
    /// Wrong or missing credentials, or a command that this user may not run.
    NoPermission,
    /// A key holds another type than it should.
    WrongType,
    /// Anything else, such as an error in a script.
    Other,
}

impl StoreErrorKind {
    /// The stable code that users see.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "redis_unavailable",
            Self::Timeout => "redis_timeout",
            Self::Loading => "redis_loading",
            Self::ReadOnly => "redis_read_only",
            Self::Full => "redis_full",
            Self::NoPermission => "redis_no_permission",
            Self::WrongType => "redis_wrong_type",
            Self::Other => "redis_error",
        }
    }

    /// Whether the same call may succeed a little later without anybody's doing.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout | Self::Loading | Self::ReadOnly | Self::Full)
    }
}

/// A failure of Redis, with its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind}: {message}", Doing(.doing))]
pub struct StoreError {
    /// What kind of failure it was.
    pub kind: StoreErrorKind,
    /// What Redis or the connection said.
    pub message: String,
    /// The script that was running, if one was.
    pub doing: Option<&'static str>,
}

struct Doing<'a>(&'a Option<&'static str>);

impl fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(script) => write!(f, "script {script}: "),
            None => Ok(()),
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "Redis is not reachable",
            Self::Timeout => "Redis did not answer in time",
            Self::Loading => "Redis is loading its data",
            Self::ReadOnly => "Redis takes no writes",
            Self::Full => "Redis is out of memory",
            Self::NoPermission => "Redis refused the credentials or the command",
            Self::WrongType => "a key in Redis holds another type",
            Self::Other => "Redis answered with an error",
        })
    }
}

impl StoreError {
    /// An error of ours about a reply, such as one of an unexpected shape.
    pub fn other(message: impl Into<String>) -> Self {
        Self { kind: StoreErrorKind::Other, message: message.into(), doing: None }
    }

    pub(super) fn in_script(mut self, script: &'static str) -> Self {
        self.doing = Some(script);
        self
    }
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        // The words for a reply of another type than expected hold the reply itself: people's text, in a log.
        let message = match error.kind() {
            redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType => {
                "the reply is of another type than expected".to_owned()
            }
            _ => error.to_string(),
        };
        Self { kind: kind(&error), message, doing: None }
    }
}

fn kind(error: &redis::RedisError) -> StoreErrorKind {
    use redis::ErrorKind;
    if error.is_timeout() {
        return StoreErrorKind::Timeout;
    }
    match error.kind() {
        ErrorKind::Io => return StoreErrorKind::Unavailable,
        ErrorKind::AuthenticationFailed => return StoreErrorKind::NoPermission,
        _ => {}
    }
    let code = error.code().unwrap_or_default();
    if let Some(kind) = of_code(code) {
        return kind;
    }
    let text = error.to_string();
    if text.contains("max number of clients") {
        return StoreErrorKind::Unavailable;
    }
    // A script's own command is refused with a plain `ERR`, by Redis 7 and by Valkey in other words.
    if text.contains("The user executing the script can't") || text.contains("ACL failure in script") {
        return StoreErrorKind::NoPermission;
    }
    // Redis 6 wraps the error of a command inside a script, and says where once or twice:
    // `ERR Error running script (...): @user_script:1: @user_script: 1: -OOM ...`, `...: @user_script:1: WRONGTYPE ...`.
    let Some((_, inner)) = text.rsplit_once("@user_script:") else { return StoreErrorKind::Other };
    let code = inner.split_whitespace().map(|word| word.trim_start_matches('-')).take(2).find_map(of_code);
    code.unwrap_or(StoreErrorKind::Other)
}

fn of_code(code: &str) -> Option<StoreErrorKind> {
    Some(match code {
        "LOADING" => StoreErrorKind::Loading,
        "READONLY" | "MISCONF" | "NOREPLICAS" => StoreErrorKind::ReadOnly,
        "OOM" => StoreErrorKind::Full,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => StoreErrorKind::NoPermission,
        "WRONGTYPE" => StoreErrorKind::WrongType,
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNKILLABLE" => StoreErrorKind::Unavailable,
        "BUSY" => StoreErrorKind::Timeout,
        _ => return None,
    })
}
