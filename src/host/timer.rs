//! A run of a timer, as the host describes it.

use super::envelope::Envelope;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

/// One run of a timer.
#[derive(Debug, Clone)]
pub struct TimerInvocation {
    /// The function's name.
    pub function: String,
    /// The host's id of this invocation; a repetition has a new one. Empty when the host sent none.
    pub invocation_id: String,
    /// The run is late: an occurrence was missed.
    pub is_past_due: bool,
    /// When the timer fired last and fires next; `None` when the host keeps no status.
    pub schedule_status: Option<ScheduleStatus>,
    /// The text given to `POST /admin/functions/{name}`.
    pub input: Option<String>,
    /// Which repetition this is, when the function has a retry policy.
    pub retry: Option<RetryContext>,
    /// Ends this run: the host closed its connection, or the process drains.
    pub cancel: CancellationToken,
}

/// When a timer fired last and fires next. The host's zero date counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScheduleStatus {
    /// The last occurrence.
    pub last: Option<Timestamp>,
    /// The next occurrence, counted from the start of this run; stale in a late run.
    pub next: Option<Timestamp>,
    /// When the host wrote this down.
    pub last_updated: Option<Timestamp>,
}

/// Which repetition of a failed invocation this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryContext {
    /// 0 for the first attempt.
    pub count: i64,
    /// The most repetitions; -1 is without end.
    pub max_count: i64,
}

impl TimerInvocation {
    /// Reads a timer's envelope. Every field may be missing.
    pub fn read(function: &str, invocation_id: &str, envelope: &Envelope, cancel: CancellationToken) -> Self {
        // The binding's name is the folder's choice: the timer is the value that looks like one, else the first.
        let looks_like =
            |value: &&Value| value.get("ScheduleStatus").is_some() || value.get("IsPastDue").is_some();
        let binding =
            envelope.data.iter().find(|(_, value)| looks_like(value)).or_else(|| envelope.data.iter().next());
        let timer = binding.and_then(|(_, value)| value.as_object());
        let status = timer.and_then(|timer| timer.get("ScheduleStatus")).and_then(Value::as_object);
        let retry = envelope.metadata.get("RetryContext").and_then(Value::as_object);
        Self {
            function: function.to_owned(),
            invocation_id: invocation_id.to_owned(),
            is_past_due: timer.and_then(|timer| timer.get("IsPastDue")).is_some_and(is_true),
            schedule_status: status.map(|status| ScheduleStatus {
                last: moment(status, "Last"),
                next: moment(status, "Next"),
                last_updated: moment(status, "LastUpdated"),
            }),
            input: binding.and_then(|(name, _)| envelope.metadata.get(name)).and_then(text),
            retry: retry.map(|retry| RetryContext {
                count: retry.get("RetryCount").and_then(Value::as_i64).unwrap_or(0),
                max_count: retry.get("MaxRetryCount").and_then(Value::as_i64).unwrap_or(0),
            }),
            cancel,
        }
    }
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

fn moment(status: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    let moment: Timestamp = status.get(name)?.as_str()?.parse().ok()?;
    // .NET's zero date, 0001-01-01, and whatever lies near it in another zone.
    (moment.as_second() > 0).then_some(moment)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
