//! Inline route constraints, with .NET's own idea of what a number, a date or a guid looks like.

use regex::{Regex, RegexBuilder};

/// One constraint of a route parameter.
#[derive(Clone, Debug)]
pub(super) enum Constraint {
    Int,
    Long,
    Bool,
    DateTime,
    Decimal,
    Double,
    Guid,
    MinLength(usize),
    MaxLength(usize),
    Length(usize, usize),
    Min(i64),
    Max(i64),
    Range(i64, i64),
    Pattern(Regex),
    Required,
    File,
    NonFile,
}

impl Constraint {
    pub(super) fn parse(entry: &str) -> Result<Self, String> {
        let (name, arguments) = match entry.split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')').ok_or("A bracket is missing.")?),
            None => (entry, ""),
        };
        let failed =
            || "An error occurred while trying to create an instance of the route constraint.".to_owned();
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_not_a_number| failed());
        let size = |text: &str| text.trim().parse::<usize>().map_err(|_not_a_number| failed());
        let pattern = |text: &str| {
            let built = RegexBuilder::new(text).case_insensitive(true).build();
            built.map(Self::Pattern).map_err(|_not_a_pattern| failed())
        };
        Ok(match name.to_ascii_lowercase().as_str() {
            "int" => Self::Int,
            "long" => Self::Long,
            "bool" => Self::Bool,
            "datetime" => Self::DateTime,
            "decimal" => Self::Decimal,
            "double" | "float" => Self::Double,
            "guid" => Self::Guid,
            "required" => Self::Required,
            "file" => Self::File,
            "nonfile" => Self::NonFile,
            "alpha" => pattern("^[a-z]*$")?,
            "regex" => pattern(arguments)?,
            "minlength" => Self::MinLength(size(arguments)?),
            "maxlength" => Self::MaxLength(size(arguments)?),
            "min" => Self::Min(number(arguments)?),
            "max" => Self::Max(number(arguments)?),
            "length" => {
                let (least, most) = arguments.split_once(',').unwrap_or((arguments, arguments));
                let (least, most) = (size(least)?, size(most)?);
                if least > most {
                    return Err(failed());
                }
                Self::Length(least, most)
            }
            "range" => {
                let (least, most) = arguments.split_once(',').ok_or_else(failed)?;
                let (least, most) = (number(least)?, number(most)?);
                if least > most {
                    return Err(failed());
                }
                Self::Range(least, most)
            }
            _ => return Err("The constraint resolver could not resolve it.".to_owned()),
        })
    }

    /// Whether a parameter that is not in the path satisfies the constraint.
    pub(super) fn accepts_nothing(&self) -> bool {
        matches!(self, Self::NonFile)
    }

    pub(super) fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Int => integer(value).is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Long => integer(value).is_some(),
            Self::Bool => matches!(trimmed(value).to_ascii_lowercase().as_str(), "true" | "false"),
            Self::DateTime => date_time(value),
            Self::Decimal => decimal(value),
            Self::Double => double(value),
            Self::Guid => guid(value),
            Self::MinLength(least) => length(value) >= *least,
            Self::MaxLength(most) => length(value) <= *most,
            Self::Length(least, most) => (*least..=*most).contains(&length(value)),
            Self::Min(least) => integer(value).is_some_and(|number| number >= *least),
            Self::Max(most) => integer(value).is_some_and(|number| number <= *most),
            Self::Range(least, most) => {
                integer(value).is_some_and(|number| (*least..=*most).contains(&number))
            }
            Self::Pattern(pattern) => pattern.is_match(value),
            Self::Required => !value.is_empty(),
            Self::File => is_file(value),
            Self::NonFile => !is_file(value),
        }
    }
}

/// .NET counts UTF-16 units.
fn length(value: &str) -> usize {
    value.encode_utf16().count()
}

fn is_file(value: &str) -> bool {
    let name = value.rsplit('/').next().unwrap_or(value);
    name.rfind('.').is_some_and(|dot| dot + 1 < name.len())
}

fn trimmed(value: &str) -> &str {
    value.trim_matches(|character: char| matches!(character, '\t'..='\r' | ' '))
}

/// White space around, one leading sign, ASCII digits.
fn integer(value: &str) -> Option<i64> {
    let text = trimmed(value);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Digits with thousands separators anywhere before the point, at least one digit.
fn plain_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().filter(u8::is_ascii_digit).count();
    whole.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        && !whole.starts_with(',')
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && digits(whole) + digits(fraction) > 0
}

fn decimal(value: &str) -> bool {
    let text = trimmed(value);
    let unsigned = match text.strip_prefix(['+', '-']) {
        Some(rest) => rest,
        None => text.strip_suffix(['+', '-']).unwrap_or(text),
    };
    // 29 digits is the most a decimal holds; one more is always too many.
    plain_number(unsigned) && unsigned.split('.').next().unwrap_or("").trim_start_matches('0').len() <= 29
}

fn double(value: &str) -> bool {
    let text = trimmed(value);
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "nan" | "-nan" | "+nan" | "infinity" | "-infinity" | "+infinity" | "∞" | "-∞")
    {
        return true;
    }
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    let (number, exponent) =
        unsigned.split_once('e').map_or((unsigned, None), |(number, rest)| (number, Some(rest)));
    let exponent_fits = exponent.is_none_or(|text| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    plain_number(number) && exponent_fits
}

fn guid(value: &str) -> bool {
    let text = trimmed(value);
    let bare = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .or_else(|| text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')));
    let hyphened = |text: &str| {
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    };
    match bare {
        Some(inner) => hyphened(inner),
        None => hyphened(text) || (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())),
    }
}

/// The usual spellings: a date (`yyyy-MM-dd`, `M/d/yyyy`), a time of day, or both.
fn date_time(value: &str) -> bool {
    let text = trimmed(value);
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (Some(date), Some(time)),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    date.is_none_or(is_date) && time.is_none_or(is_time)
}

fn is_date(text: &str) -> bool {
    let numbers: Option<Vec<i64>> = text.split(['-', '/']).map(|part| part.parse().ok()).collect();
    let Some([first, second, third]) = numbers.as_deref().and_then(|list| <[i64; 3]>::try_from(list).ok())
    else {
        return false;
    };
    let (year, month, day) = if first > 31 { (first, second, third) } else { (third, first, second) };
    (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=super::super::ticks::days_in_month(year, month)).contains(&day)
}

fn is_time(text: &str) -> bool {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let (clock, half) = match upper.strip_suffix("AM").or_else(|| upper.strip_suffix("PM")) {
        Some(rest) => (rest.trim_end().to_owned(), true),
        None => (upper.clone(), false),
    };
    let clock = clock.strip_suffix('Z').unwrap_or(&clock);
    let clock = clock.rfind(['+', '-']).map_or(clock, |at| &clock[..at]);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let parts: Option<Vec<i64>> = clock.split(':').map(|part| part.parse().ok()).collect();
    let most = if half { 12 } else { 23 };
    let in_range = match parts.as_deref() {
        Some([hour]) => half && (0..=most).contains(hour),
        Some([hour, minute]) => (0..=most).contains(hour) && (0..60).contains(minute),
        Some([hour, minute, second]) => {
            (0..=most).contains(hour) && (0..60).contains(minute) && (0..60).contains(second)
        }
        _ => false,
    };
    in_range && fraction.bytes().all(|byte| byte.is_ascii_digit())
}
