//! Dates as .NET counts them: 100 ns ticks since 0001-01-01, from there to the end of 9999.

use std::{fmt, time::Duration};

/// A date and time in UTC, or a span of time, in ticks of 100 ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub i64);

/// A date split into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// 1 to 9999.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// Ticks within the second, 0 to 9,999,999.
    pub fraction: i64,
}

/// Ticks in one second.
pub const SECOND: i64 = 10_000_000;
/// Ticks in one minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Ticks in one hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Ticks in one day.
pub const DAY: i64 = 24 * HOUR;
const UNIX_EPOCH_DAYS: i64 = 719_162;

impl Ticks {
    /// 0001-01-01T00:00:00, which the timers extension uses for "never".
    pub const ZERO: Self = Self(0);
    /// 9999-12-31T23:59:59.9999999, the last date there is.
    pub const MAX: Self = Self(3_155_378_975_999_999_999);

    /// The date of a Unix time in nanoseconds.
    pub fn from_unix_nanoseconds(nanoseconds: i128) -> Self {
        let ticks = nanoseconds.div_euclid(100) + i128::from(UNIX_EPOCH_DAYS * DAY);
        Self(i64::try_from(ticks).unwrap_or(i64::MAX))
    }

    /// The date of the given parts; `None` where there is no such date.
    pub fn from_parts(parts: Parts) -> Option<Self> {
        let Parts { year, month, day, hour, minute, second, fraction } = parts;
        let in_range = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..SECOND).contains(&fraction);
        in_range.then(|| {
            let days = days_before(year, month) + day - 1;
            Self(days * DAY + hour * HOUR + minute * MINUTE + second * SECOND + fraction)
        })
    }

    /// The parts of this date.
    pub fn parts(self) -> Parts {
        let days = self.0.div_euclid(DAY);
        let within = self.0.rem_euclid(DAY);
        let mut year = 1 + days * 400 / 146_097;
        while days_before(year, 1) > days {
            year -= 1;
        }
        while days_before(year + 1, 1) <= days {
            year += 1;
        }
        let mut month = 12;
        while days_before(year, month) > days {
            month -= 1;
        }
        Parts {
            year,
            month,
            day: days - days_before(year, month) + 1,
            hour: within / HOUR,
            minute: within / MINUTE % 60,
            second: within / SECOND % 60,
            fraction: within % SECOND,
        }
    }

    /// Day of the week, Sunday is 0.
    pub fn weekday(self) -> i64 {
        (self.0.div_euclid(DAY) + 1).rem_euclid(7)
    }

    /// The wait from `now` until this date; zero when it is past.
    pub fn after(self, now: Self) -> Duration {
        let ticks = u64::try_from(self.0 - now.0).unwrap_or(0);
        Duration::from_nanos(ticks.saturating_mul(100))
    }

    /// This date a `span` later; `None` outside the calendar.
    pub fn plus(self, span: Self) -> Option<Self> {
        let sum = self.0.checked_add(span.0)?;
        (0..=Self::MAX.0).contains(&sum).then_some(Self(sum))
    }

    /// `2026-03-15T10:20:30.5`: no trailing zeros, no zone, as Newtonsoft writes dates.
    pub fn iso(self) -> String {
        let p = self.parts();
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            p.year, p.month, p.day, p.hour, p.minute, p.second
        );
        if p.fraction != 0 {
            let digits = format!("{:07}", p.fraction);
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        text
    }

    /// Reads `yyyy-MM-ddTHH:mm[:ss[.fffffff]][Z|+hh:mm|-hh:mm]`; without a zone it is UTC.
    /// The second value says how the zone was written.
    pub fn parse(text: &str) -> Option<(Self, Zone)> {
        let (date, rest) = text.split_once('T')?;
        let mut date = date.split('-').map(digits);
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let (clock, zone) = match rest.find(['Z', '+', '-']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        if fraction.is_empty() || fraction.len() > 7 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let fraction = digits(&format!("{fraction:0<7}"))?;
        let mut clock = clock.split(':').map(digits);
        let (hour, minute) = (clock.next()??, clock.next()??);
        let second = clock.next().unwrap_or(Some(0))?;
        let local = Self::from_parts(Parts { year, month, day, hour, minute, second, fraction })?;
        let (offset, zone) = match zone.as_bytes().first() {
            None => (0, Zone::None),
            Some(b'Z') => (0, Zone::Utc),
            Some(sign) => {
                let (hours, minutes) = zone[1..].split_once(':')?;
                let span = digits(hours)? * HOUR + digits(minutes)? * MINUTE;
                (if *sign == b'-' { -span } else { span }, Zone::Offset)
            }
        };
        // The zero date with an offset of zero stays the zero date; nothing earlier exists.
        Some((Self((local.0 - offset).max(0)), zone))
    }
}

/// How a date's zone was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Not at all.
    None,
    /// `Z`.
    Utc,
    /// `+hh:mm` or `-hh:mm`.
    Offset,
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days in a month of the Gregorian calendar.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_before(year: i64, month: i64) -> i64 {
    let years = year - 1;
    let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    years * 365 + years / 4 - years / 100 + years / 400 + months
}

impl fmt::Display for Ticks {
    /// With the offset `+00:00`, as the stored schedule status has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+00:00", self.iso())
    }
}
