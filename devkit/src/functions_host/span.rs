//! Time spans as .NET reads and writes them: `[d.]hh:mm[:ss[.fffffff]]`, or a bare number of days.

use super::ticks::{DAY, HOUR, MINUTE, SECOND, Ticks};

/// Reads a time span in .NET's invariant culture. `24:00:00` is 24 days: an hour above 23 makes the first number days.
pub fn parse_time_span(text: &str) -> Option<Ticks> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (days, mut rest): (Option<&str>, Vec<&str>) = match parts.as_slice() {
        [days] => (Some(*days), Vec::new()),
        [first, others @ ..] => match first.split_once('.') {
            Some((days, hours)) => {
                (Some(days), std::iter::once(hours).chain(others.iter().copied()).collect())
            }
            None => (None, parts.clone()),
        },
        [] => return None,
    };
    let mut days = match days {
        Some(days) => Some(number(days)?),
        None => None,
    };
    let mut fraction = 0;
    if rest.len() >= 3
        && let Some((seconds, digits)) = rest.last().and_then(|last| last.split_once('.'))
    {
        if digits.is_empty() || digits.len() > 7 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        fraction = format!("{digits:0<7}").parse().ok()?;
        rest.pop();
        rest.push(seconds);
    }
    let numbers: Vec<i64> = rest.iter().map(|part| number(part)).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match numbers.as_slice() {
        [] => (0, 0, 0),
        [hours, minutes] => (*hours, *minutes, 0),
        [first, second, third] if days.is_none() && *first > 23 && fraction == 0 => {
            days = Some(*first);
            (*second, *third, 0)
        }
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        [first, hours, minutes, seconds] if days.is_none() => {
            days = Some(*first);
            (*hours, *minutes, *seconds)
        }
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let whole = days.unwrap_or(0).checked_mul(DAY)?;
    let total = whole.checked_add(hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction)?;
    Some(Ticks(if negative { -total } else { total }))
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Writes a span as .NET's constant format does: `-d.hh:mm:ss.fffffff`, days and fraction only where there are any.
pub fn format_time_span(span: Ticks) -> String {
    let ticks = span.0.unsigned_abs().cast_signed();
    let mut text = String::from(if span.0 < 0 { "-" } else { "" });
    if ticks >= DAY {
        text.push_str(&format!("{}.", ticks / DAY));
    }
    text.push_str(&format!("{:02}:{:02}:{:02}", ticks / HOUR % 24, ticks / MINUTE % 60, ticks / SECOND % 60));
    if ticks % SECOND != 0 {
        text.push_str(&format!(".{:07}", ticks % SECOND));
    }
    text
}
