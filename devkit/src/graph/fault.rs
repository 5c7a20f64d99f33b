//! Scripted bad weather: which calls meet it, and what happens to them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::random::SimRng;

/// Where a fault looks for calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// HTTP requests and items of batches, whichever fits first.
    #[default]
    Any,
    /// HTTP requests only.
    Request,
    /// Items of batches only.
    Item,
}

/// Which calls a fault is for. Everything that is named has to fit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    /// The HTTP method.
    pub method: Option<String>,
    /// A regular expression found in the path with the version (`/v1\.0/planner/tasks/.*`). Without it a
    /// fault is for Graph only; with it also for the token endpoints.
    pub path: Option<String>,
    /// Requests, items, or both.
    pub level: Level,
    /// The first of the fitting calls that meets the fault, from 1.
    pub nth: Option<u64>,
    /// How many calls meet it; 1 if not given, 0 for all.
    pub count: Option<u64>,
    /// The probability with which a fitting call meets it.
    pub probability: Option<f64>,
    /// Whether people's calls meet it too; normally only applications' do.
    pub people_too: bool,
}

/// The `Retry-After` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// An HTTP date this many seconds ahead.
    Date(u64),
    /// Seconds with a fraction, given in milliseconds.
    Millis(u64),
}

impl RetryAfter {
    /// How long it asks to wait, in milliseconds; a date is a whole second, so it may be up to one more.
    pub fn ms(self) -> u64 {
        match self {
            Self::Seconds(seconds) | Self::Date(seconds) => seconds.saturating_mul(1000),
            Self::Millis(ms) => ms,
        }
    }
}

/// The form of a scripted body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// Graph's error object.
    #[default]
    Json,
    /// A gateway's page.
    Html,
    /// Nothing.
    Empty,
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the call has any effect.
    #[default]
    Before,
    /// After its write has taken effect.
    After,
}

/// What happens to a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Effect {
    /// Another status instead of the answer.
    Status {
        /// The HTTP status.
        status: u16,
        /// `error.code`; a usual one for the status if not given.
        #[serde(default)]
        code: Option<String>,
        /// `error.message`.
        #[serde(default)]
        message: Option<String>,
        /// The `Retry-After` header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        /// The body's form.
        #[serde(default)]
        body: BodyForm,
        /// Before or after the write.
        #[serde(default)]
        when: When,
    },
    /// 429 for this call and every other until the time is over. Switches say what a call that comes early does to
    /// it, how the answer asks to wait, and its code.
    Throttle {
        /// How long, in seconds.
        seconds: u64,
    },
    /// The call reads what was there this long ago: an older version, a list without what is new and with what was
    /// deleted, nothing where there was nothing.
    Stale {
        /// How long ago, in milliseconds.
        ms: u64,
    },
    /// The answer's body comes in pieces over this time.
    Slow {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The connection closes without an answer: a lost request (before) or a lost reply (after).
    Drop {
        /// Before or after the write.
        #[serde(default)]
        when: When,
    },
    /// The connection is reset (RST) without an answer.
    Reset {
        /// Before or after the write.
        #[serde(default)]
        when: When,
    },
    /// No answer at all until the client leaves.
    Hang {
        /// Before or after the write.
        #[serde(default)]
        when: When,
    },
    /// The call is held this long before it takes effect, even if the client has left by then.
    Late {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// A person's edit slips in just before the call, or between it and the client's next: a PATCH of a task or of
    /// its details, or its deletion without either.
    Edit {
        /// Who edits; the example's Alex Wilber if not said.
        #[serde(default)]
        user: Option<String>,
        /// The task.
        task: String,
        /// What is changed.
        #[serde(default)]
        body: Option<Value>,
        /// What is changed in the details.
        #[serde(default)]
        details: Option<Value>,
        /// Before or after the call.
        #[serde(default)]
        when: When,
    },
    /// The answer's JSON ends in the middle.
    Cut {},
    /// Members of the answer are changed or taken away, by JSON pointer. It is checked as any other answer.
    Tamper {
        /// New values.
        #[serde(default)]
        set: std::collections::BTreeMap<String, Value>,
        /// Members that go.
        #[serde(default)]
        remove: Vec<String>,
        /// Whether the whole body goes.
        #[serde(default)]
        empty: bool,
    },
}

impl Effect {
    /// A status with everything else as usual.
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            code: None,
            message: None,
            retry_after: None,
            body: BodyForm::Json,
            when: When::Before,
        }
    }

    /// A status with `Retry-After` in seconds.
    pub fn status_retry(status: u16, seconds: u64) -> Self {
        Self::Status {
            status,
            code: None,
            message: None,
            retry_after: Some(RetryAfter::Seconds(seconds)),
            body: BodyForm::Json,
            when: When::Before,
        }
    }

    /// The connection closes after the write took effect.
    pub fn lost_reply() -> Self {
        Self::Drop { when: When::After }
    }

    /// Its name in the journal.
    pub fn name(&self) -> String {
        match self {
            Self::Status { status, when, .. } => format!("status {status} {when:?}").to_lowercase(),
            Self::Throttle { .. } => "throttle".into(),
            Self::Drop { when } => format!("drop {when:?}").to_lowercase(),
            Self::Reset { when } => format!("reset {when:?}").to_lowercase(),
            Self::Hang { when } => format!("hang {when:?}").to_lowercase(),
            Self::Late { .. } => "late".into(),
            Self::Stale { .. } => "stale".into(),
            Self::Slow { .. } => "slow".into(),
            Self::Edit { .. } => "edit".into(),
            Self::Cut {} => "cut".into(),
            Self::Tamper { .. } => "tamper".into(),
        }
    }

    /// Whether it strikes after the write.
    pub fn after(&self) -> bool {
        match self {
            Self::Status { when, .. }
            | Self::Drop { when }
            | Self::Reset { when }
            | Self::Hang { when }
            | Self::Edit { when, .. } => *when == When::After,
            Self::Cut {} | Self::Tamper { .. } | Self::Slow { .. } => true,
            Self::Throttle { .. } | Self::Late { .. } | Self::Stale { .. } => false,
        }
    }
}

/// A fault: which calls, and what happens to them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// Which calls.
    #[serde(rename = "match", default)]
    pub matching: Match,
    /// What happens.
    #[serde(alias = "fault")]
    pub effect: Effect,
}

impl Fault {
    /// A fault for the next call to a path.
    pub fn on(path: &str, effect: Effect) -> Self {
        Self { matching: Match { path: Some(path.to_owned()), ..Match::default() }, effect }
    }

    /// The same for calls of one method.
    pub fn method(mut self, method: &str) -> Self {
        self.matching.method = Some(method.to_owned());
        self
    }

    /// The same for so many calls; 0 for all.
    pub fn times(mut self, count: u64) -> Self {
        self.matching.count = Some(count);
        self
    }
}

/// A fault that is set, with what it has met so far.
#[derive(Debug, Clone, Serialize)]
pub struct Armed {
    /// Its number.
    pub id: u64,
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many calls fitted.
    pub seen: u64,
    /// How many met it.
    pub struck: u64,
    #[serde(skip)]
    path: Option<regex::Regex>,
}

/// The faults that are set.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Vec<Armed>,
    next: u64,
}

/// A call as faults see it.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The method.
    pub method: &'a str,
    /// The path with the version.
    pub path: &'a str,
    /// Whether it is an item of a batch.
    pub item: bool,
    /// Whether a person makes it.
    pub person: bool,
    /// Whether it goes to Graph, not to a token endpoint.
    pub graph: bool,
}

impl Faults {
    /// Sets a fault and returns its number. The path's expression may be wrong.
    pub fn arm(&mut self, fault: Fault) -> Result<u64, regex::Error> {
        let path = fault.matching.path.as_deref().map(regex::Regex::new).transpose()?;
        self.next += 1;
        self.armed.push(Armed { id: self.next, fault, seen: 0, struck: 0, path });
        Ok(self.next)
    }

    /// Takes all faults away.
    pub fn clear(&mut self) {
        self.armed.clear();
    }

    /// The faults that are set.
    pub fn list(&self) -> &[Armed] {
        &self.armed
    }

    /// The effect that this call meets: that of the first fault that fits.
    pub fn strike(&mut self, sight: Sight<'_>, rng: &mut SimRng) -> Option<Effect> {
        for armed in &mut self.armed {
            let wanted = &armed.fault.matching;
            let level = match wanted.level {
                Level::Any => true,
                Level::Request => !sight.item,
                Level::Item => sight.item,
            };
            let path = match &armed.path {
                Some(path) => path.is_match(sight.path),
                None => sight.graph,
            };
            let method =
                wanted.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case(sight.method));
            if !level || !path || !method || (sight.person && !wanted.people_too) {
                continue;
            }
            let count = wanted.count.unwrap_or(1);
            if count != 0 && armed.struck >= count {
                continue;
            }
            armed.seen += 1;
            if armed.seen < wanted.nth.unwrap_or(1) {
                continue;
            }
            if wanted.probability.is_some_and(|probability| !rng.chance(probability)) {
                continue;
            }
            armed.struck += 1;
            return Some(armed.fault.effect.clone());
        }
        None
    }
}

/// The code that Graph usually gives with a status.
pub fn usual_code(status: u16) -> (&'static str, &'static str) {
    match status {
        401 => ("InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."),
        403 => ("", "You do not have the required permissions to access this item."),
        404 => ("", "The requested item is not found."),
        409 => ("", "The request has conflicts with the current state of the resource."),
        412 => ("", "The If-Match header contains an invalid value."),
        429 => ("TooManyRequests", "Too many requests."),
        500 => ("InternalServerError", "Error processing response from backend service."),
        502 => ("BadGateway", "Bad gateway."),
        503 => ("ServiceUnavailable", "The service is temporarily unavailable. Try again later."),
        504 => ("GatewayTimeout", "The backend did not answer in time."),
        507 => ("InsufficientStorage", "The storage quota is exceeded."),
        _ => ("UnknownError", ""),
    }
}
