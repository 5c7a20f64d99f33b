//! Days and instants as documents and Planner write them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// The time of day that Planner's own page gives to a whole day.
const WHOLE_DAY: &str = "T10:00:00Z";

/// Reads a day or an instant into its canonical text: `YYYY-MM-DD`, or RFC 3339 in UTC with `Z`.
/// Offsets are converted, an instant without a zone is UTC, and fractions are cut to 100 ns, which is what
/// Graph's `DateTimeOffset` holds. `None` for everything else.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let digits =
        |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|b| b.iter().all(u8::is_ascii_digit));
    if !(digits(0..4) && digits(5..7) && digits(8..10)) || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let day: Date = text[..10].parse().ok()?;
    if day.year() < 1 {
        return None;
    }
    let Some(separator) = bytes.get(10) else {
        return Some(day.to_string());
    };
    if !matches!(separator, b'T' | b't' | b' ') || text.contains('[') {
        return None;
    }
    let instant = match text.parse::<Timestamp>() {
        Ok(instant) => instant,
        Err(_) if bytes[11..].iter().all(|byte| byte.is_ascii_digit() || b":.,".contains(byte)) => {
            let naive: DateTime = text.parse().ok()?;
            TimeZone::UTC.to_timestamp(naive).ok()?
        }
        Err(_) => return None,
    };
    let nanos = instant.as_nanosecond();
    let instant = Timestamp::from_nanosecond(nanos - nanos.rem_euclid(100)).ok()?;
    let text = instant.to_string();
    (text.starts_with(|first: char| first.is_ascii_digit()) && !text.starts_with("0000")).then_some(text)
}

/// True for `YYYY-MM-DD`.
pub(crate) fn is_day(canonical: &str) -> bool {
    canonical.len() == 10
}

/// The day of a canonical time.
pub(crate) fn day(canonical: &str) -> &str {
    canonical.get(..10).unwrap_or(canonical)
}

/// The time of day that a whole day is sent with, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayTime(String);

impl Default for DayTime {
    fn default() -> Self {
        Self(WHOLE_DAY.to_owned())
    }
}

impl DayTime {
    /// From `HH:MM`; `None` if it is no time of day.
    pub fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.trim().split_once(':')?;
        let number = |text: &str, below: u8| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u8>().ok().filter(|number| digits && *number < below)
        };
        Some(Self(format!("T{:02}:{:02}:00Z", number(hour, 24)?, number(minute, 60)?)))
    }

    /// The instant that is sent for a canonical time.
    pub(crate) fn instant(&self, canonical: &str) -> String {
        if is_day(canonical) { format!("{canonical}{}", self.0) } else { canonical.to_owned() }
    }
}

/// The day, if an instant is what a whole day is sent as.
pub(crate) fn whole_day(canonical: &str) -> Option<&str> {
    canonical.ends_with(WHOLE_DAY).then(|| day(canonical))
}

/// True if `a` lies before `b`; a whole day lies before nothing of the same day.
pub(crate) fn before(a: &str, b: &str) -> bool {
    if is_day(a) || is_day(b) {
        return day(a) < day(b);
    }
    match (a.parse::<Timestamp>(), b.parse::<Timestamp>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => a < b,
    }
}
