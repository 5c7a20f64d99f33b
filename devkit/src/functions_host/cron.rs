//! Timer schedules: NCRONTAB with five or six fields, else a time span, as the timers extension reads them.

use super::{
    span::{format_time_span, parse_time_span},
    ticks::{HOUR, MINUTE, Parts, SECOND, Ticks, days_in_month},
};
use std::fmt::Write as _;
use thiserror::Error;

/// Why a schedule is refused at load.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// The text is neither a cron expression nor a time span.
    #[error(
        "The schedule expression '{expression}' was not recognized as a valid cron expression or timespan string."
    )]
    Unrecognized {
        /// The text, settings resolved.
        expression: String,
        /// The cron parser's reason, which the host does not show.
        cron_reason: String,
    },
    /// A number that does not fit: the cron library fails in another way, so that no time span is tried.
    #[error("{TOO_LARGE}")]
    TooLarge,
}

const TOO_LARGE: &str = "Value was either too large or too small for an Int32.";

impl ScheduleError {
    /// What the cron library says.
    pub fn cron_reason(&self) -> &str {
        match self {
            Self::Unrecognized { cron_reason, .. } => cron_reason,
            Self::TooLarge => TOO_LARGE,
        }
    }
}

/// A timer's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// An NCRONTAB expression.
    Cron(Cron),
    /// A constant interval.
    Constant(Ticks),
}

/// A parsed NCRONTAB expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// Allowed values: seconds, minutes, hours, days, months, days of the week.
    fields: [Vec<bool>; 6],
    /// Whether the text had a field for seconds.
    pub six_fields: bool,
}

struct Field {
    name: &'static str,
    least: i64,
    most: i64,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: &[&str] = &["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const FIELDS: [Field; 6] = [
    Field { name: "Second", least: 0, most: 59, names: &[] },
    Field { name: "Minute", least: 0, most: 59, names: &[] },
    Field { name: "Hour", least: 0, most: 23, names: &[] },
    Field { name: "Day", least: 1, most: 31, names: &[] },
    Field { name: "Month", least: 1, most: 12, names: MONTHS },
    Field { name: "DayOfWeek", least: 0, most: 6, names: WEEKDAYS },
];

impl Schedule {
    /// Reads a schedule: cron first, then a time span.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        match Cron::parse(text) {
            Ok(cron) => Ok(Self::Cron(cron)),
            Err(reason) if reason == TOO_LARGE => Err(ScheduleError::TooLarge),
            Err(reason) => parse_time_span(text).map(Self::Constant).ok_or_else(|| {
                ScheduleError::Unrecognized { expression: text.to_owned(), cron_reason: reason }
            }),
        }
    }

    /// The first run after `from`; `None` where the calendar ends.
    pub fn next_after(&self, from: Ticks) -> Option<Ticks> {
        match self {
            Self::Cron(cron) => Some(cron.next_after(from)),
            Self::Constant(span) => from.plus(*span),
        }
    }

    /// Whether `Schedule.AdjustForDST` is true in the trigger object.
    pub fn adjusts_for_dst(&self) -> bool {
        matches!(self, Self::Cron(_))
    }

    /// Whether a monitor makes sense for a listener made at `now`: the sub-minute rule.
    pub fn allows_monitor(&self, now: Ticks) -> bool {
        match self {
            Self::Constant(span) => span.0 >= MINUTE,
            Self::Cron(cron) => {
                let every = cron.fields[1..].iter().zip(&FIELDS[1..]).all(|(set, field)| is_full(set, field));
                let horizon = Ticks(now.0 + MINUTE);
                let first = cron.next_after(now);
                !(every && first < horizon && cron.next_after(first) < horizon)
            }
        }
    }

    /// The library's own rendering.
    pub fn canonical(&self) -> String {
        match self {
            Self::Cron(cron) => cron.canonical(),
            Self::Constant(span) => format!("Constant: {}", format_time_span(*span)),
        }
    }
}

fn is_full(set: &[bool], field: &Field) -> bool {
    (field.least..=field.most).all(|value| holds(set, value))
}

fn holds(set: &[bool], value: i64) -> bool {
    usize::try_from(value).ok().and_then(|index| set.get(index)).copied().unwrap_or(false)
}

impl Cron {
    fn parse(text: &str) -> Result<Self, String> {
        // Only blanks separate; a tab is part of a field.
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let (six_fields, words) = match words.len() {
            6 => (true, words),
            5 => (false, std::iter::once("0").chain(words).collect()),
            _ => {
                return Err(format!(
                    "'{text}' is an invalid crontab expression. It must contain 6 components of a schedule in the \
                     sequence of seconds, minutes, hours, days, months, and days of week."
                ));
            }
        };
        let mut fields: [Vec<bool>; 6] = Default::default();
        for ((set, word), field) in fields.iter_mut().zip(words).zip(&FIELDS) {
            *set = parse_field(word, field)?;
        }
        Ok(Self { fields, six_fields })
    }

    fn next_after(&self, from: Ticks) -> Ticks {
        let step = if self.six_fields { SECOND } else { MINUTE };
        let start = from.0 - from.0.rem_euclid(step) + step;
        let [seconds, minutes, hours, days, months, weekdays] = &self.fields;
        let mut now = Ticks(start).parts();
        let within =
            |field: &[bool], least: i64, most: i64| (least..=most).find(|value| holds(field, *value));
        while now.year <= 9999 {
            // Field by field from the widest; what does not fit moves on to the start of the next period.
            // An hour of 24 or a minute of 60 may stand here for a moment: no value is left, so the wider field moves.
            if !holds(months, now.month) {
                now = next_month(now);
                continue;
            }
            let midnight = Parts { hour: 0, minute: 0, second: 0, fraction: 0, ..now };
            let Some(day) = Ticks::from_parts(midnight) else { break };
            if !holds(days, now.day) || !holds(weekdays, day.weekday()) {
                now = next_day(now);
                continue;
            }
            let Some(hour) = within(hours, now.hour, 23) else {
                now = next_day(now);
                continue;
            };
            if hour > now.hour {
                now = Parts { hour, minute: 0, second: 0, ..now };
            }
            let Some(minute) = within(minutes, now.minute, 59) else {
                now = Parts { hour: now.hour + 1, minute: 0, second: 0, ..now };
                continue;
            };
            if minute > now.minute {
                now = Parts { minute, second: 0, ..now };
            }
            let Some(second) = within(seconds, now.second, 59) else {
                now = Parts { minute: now.minute + 1, second: 0, ..now };
                continue;
            };
            return Ticks(day.0 + now.hour * HOUR + now.minute * MINUTE + second * SECOND);
        }
        Ticks::MAX
    }

    fn canonical(&self) -> String {
        let from = usize::from(!self.six_fields);
        let shown: Vec<String> =
            self.fields.iter().zip(&FIELDS).skip(from).map(|(set, field)| show(set, field)).collect();
        shown.join(" ")
    }
}

fn next_day(now: Parts) -> Parts {
    if now.day < days_in_month(now.year, now.month) {
        Parts { day: now.day + 1, hour: 0, minute: 0, second: 0, ..now }
    } else {
        next_month(now)
    }
}

fn next_month(now: Parts) -> Parts {
    let (year, month) = if now.month == 12 { (now.year + 1, 1) } else { (now.year, now.month + 1) };
    Parts { year, month, day: 1, hour: 0, minute: 0, second: 0, fraction: 0 }
}

/// Runs of values as `a-b`, single ones alone.
fn show(set: &[bool], field: &Field) -> String {
    if is_full(set, field) {
        return "*".to_owned();
    }
    let mut text = String::new();
    let mut value = field.least;
    while value <= field.most {
        if !holds(set, value) {
            value += 1;
            continue;
        }
        let start = value;
        while value < field.most && holds(set, value + 1) {
            value += 1;
        }
        if !text.is_empty() {
            text.push(',');
        }
        let _infallible =
            if start == value { write!(text, "{start}") } else { write!(text, "{start}-{value}") };
        value += 1;
    }
    text
}

fn parse_field(word: &str, field: &Field) -> Result<Vec<bool>, String> {
    let invalid = || format!("'{word}' is not a valid [{}] crontab field expression.", field.name);
    let mut set = vec![false; usize::try_from(field.most + 1).unwrap_or_default()];
    let entries: Vec<&str> = word.split(',').collect();
    if entries[0].is_empty() {
        return Err(invalid());
    }
    for entry in entries {
        if entry.is_empty() {
            return Err("A crontab field value cannot be empty.".to_owned());
        }
        let (range, step) = match entry.split_once('/') {
            Some((range, step)) => (range, Some(integer(step).ok_or_else(invalid)?)),
            None => (entry, None),
        };
        let value = |text: &str| field_value(text, field).unwrap_or_else(|| Err(invalid()));
        let (least, most) = match range.split_once('-') {
            _ if range == "*" => (field.least, field.most),
            Some((from, to)) => {
                let (from, to) = (value(from)?, value(to)?);
                (from.min(to), from.max(to))
            }
            None => {
                let from = value(range)?;
                (from, if step.is_some() { field.most } else { from })
            }
        };
        check_bounds(least, field)?;
        check_bounds(most, field)?;
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1).max(1);
        for value in (least..=most).step_by(step) {
            if let Some(slot) = usize::try_from(value).ok().and_then(|index| set.get_mut(index)) {
                *slot = true;
            }
        }
    }
    Ok(set)
}

/// A number or the first name that begins so; `None` for neither.
fn field_value(text: &str, field: &Field) -> Option<Result<i64, String>> {
    let first = text.chars().next()?;
    if first.is_ascii_digit() {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let parsed = text.parse::<i32>().map(i64::from);
        return Some(parsed.map_err(|_too_large| TOO_LARGE.to_owned()));
    }
    let lower = text.to_ascii_lowercase();
    let position = field.names.iter().position(|name| name.to_ascii_lowercase().starts_with(&lower))?;
    Some(Ok(i64::try_from(position).unwrap_or_default() + field.least))
}

fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse::<i32>().ok().map(i64::from)
}

fn check_bounds(value: i64, field: &Field) -> Result<(), String> {
    let (least, most) = (field.least, field.most);
    let side = if value > most {
        "higher than the maximum"
    } else if value < least {
        "lower than the minimum"
    } else {
        return Ok(());
    };
    Err(format!(
        "{value} is {side} allowable value for the [{}] field. Value must be between {least} and {most} (all inclusive).",
        field.name
    ))
}
