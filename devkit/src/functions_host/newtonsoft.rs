//! JSON as the host's library reads and writes it: single quotes, bare names, comments, trailing commas and
//! trailing text are taken; ISO dates become dates; numbers are Int64 or Double.

use super::ticks::{Ticks, Zone};
use std::fmt::Write as _;

/// A value as the reader sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null` or `undefined`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer, as its digits.
    Integer(String),
    /// Any other number.
    Double(f64),
    /// A text; `date` says whether it is one.
    Text(String),
    /// A list.
    Array(Vec<Json>),
    /// Members in order; a name may come twice.
    Object(Vec<(String, Json)>),
}

/// Deepest nesting that the library takes.
const DEPTH: usize = 64;

impl Json {
    /// Reads the first value of a text; `Ok(None)` where there is none at all.
    ///
    /// # Errors
    /// Why the text cannot be read.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader { bytes: text.as_bytes(), text, at: 0, depth: 0 };
        reader.skip()?;
        if reader.at == text.len() {
            return Ok(None);
        }
        reader.value().map(Some)
    }

    /// The date that a text is for the library, with the way its zone was written.
    pub fn date(&self) -> Option<(Ticks, Zone)> {
        match self {
            Self::Text(text) if text.len() >= 19 && text.as_bytes()[10] == b'T' => Ticks::parse(text),
            _ => None,
        }
    }

    /// The JSON text that the library writes for this value.
    pub fn write(&self, indented: bool) -> String {
        let mut out = String::new();
        self.write_to(&mut out, indented.then_some(0));
        out
    }

    fn write_to(&self, out: &mut String, indent: Option<usize>) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(digits) => out.push_str(digits),
            Self::Double(value) => out.push_str(&double(*value, true)),
            Self::Text(text) => match self.date() {
                Some((date, zone)) => {
                    let zone = match zone {
                        Zone::Utc => "Z",
                        Zone::Offset => "+00:00",
                        Zone::None => "",
                    };
                    let _infallible = write!(out, "\"{}{zone}\"", date.iso());
                }
                None => out.push_str(&quote(text)),
            },
            Self::Array(items) => {
                let items = items.iter().map(|item| (None, item));
                write_all(out, ('[', ']'), items, indent);
            }
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| (Some(name.as_str()), value));
                write_all(out, ('{', '}'), members, indent);
            }
        }
    }
}

fn write_all<'a>(
    out: &mut String,
    (open, close): (char, char),
    items: impl Iterator<Item = (Option<&'a str>, &'a Json)>,
    indent: Option<usize>,
) {
    out.push(open);
    let mut any = false;
    for (name, value) in items {
        if any {
            out.push(',');
        }
        any = true;
        new_line(out, indent.map(|depth| depth + 1));
        if let Some(name) = name {
            out.push_str(&quote(name));
            out.push_str(if indent.is_some() { ": " } else { ":" });
        }
        value.write_to(out, indent.map(|depth| depth + 1));
    }
    if any {
        new_line(out, indent);
    }
    out.push(close);
}

fn new_line(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
}

/// A double as .NET writes it; in JSON a whole one keeps a `.0`.
pub fn double(value: f64, json: bool) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let text = format!("{value}");
    if json && value.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
}

/// A JSON text literal.
pub fn quote(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn fail<T>(&self) -> Result<T, String> {
        let at = self.at;
        Err(match self.text[self.floor(at)..].chars().next() {
            Some(character) => {
                format!("Unexpected character encountered while parsing value: {character}. Position {at}.")
            }
            None => format!("Unexpected end of the text. Position {at}."),
        })
    }

    fn floor(&self, mut at: usize) -> usize {
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self) -> Result<(), String> {
        loop {
            while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
                self.at += 1;
            }
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(end) = rest.find("*/") else { return self.fail() };
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        self.skip()?;
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote).map(Json::Text),
            _ => self.bare(),
        }
    }

    fn nested(&mut self, read: impl Fn(&mut Self) -> Result<Json, String>) -> Result<Json, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("The reader's MaxDepth of {DEPTH} has been exceeded."));
        }
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Json, String> {
        let mut members = Vec::new();
        loop {
            self.skip()?;
            let name = match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                Some(quote @ (b'"' | b'\'')) => self.quoted(quote)?,
                _ => self.word()?,
            };
            self.skip()?;
            if self.peek() != Some(b':') {
                return self.fail();
            }
            self.at += 1;
            members.push((name, self.value()?));
            self.separator(b'}')?;
        }
    }

    fn array(&mut self) -> Result<Json, String> {
        let mut items = Vec::new();
        loop {
            self.skip()?;
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Json::Array(items));
            }
            items.push(self.value()?);
            self.separator(b']')?;
        }
    }

    /// A comma, or the closing bracket left for the caller.
    fn separator(&mut self, close: u8) -> Result<(), String> {
        self.skip()?;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(())
            }
            Some(byte) if byte == close => Ok(()),
            _ => self.fail(),
        }
    }

    fn word(&mut self) -> Result<String, String> {
        let start = self.at;
        while self.peek().is_some_and(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'+' | b'-' | b'.')
        }) {
            self.at += 1;
        }
        if start == self.at {
            return self.fail();
        }
        Ok(self.text[start..self.at].to_owned())
    }

    fn bare(&mut self) -> Result<Json, String> {
        let start = self.at;
        let word = self.word()?;
        Ok(match word.as_str() {
            "null" | "undefined" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            "NaN" => Json::Double(f64::NAN),
            "Infinity" => Json::Double(f64::INFINITY),
            "-Infinity" => Json::Double(f64::NEG_INFINITY),
            number => {
                let digits = number.strip_prefix('-').unwrap_or(number);
                if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    Json::Integer(number.to_owned())
                } else if let Ok(value) = number.parse::<f64>().map_err(drop)
                    && number
                        .starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '.')
                {
                    Json::Double(value)
                } else {
                    self.at = start;
                    return self.fail();
                }
            }
        })
    }

    fn quoted(&mut self, quote: u8) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(character) = self.text[self.at..].chars().next() else { return self.fail() };
            self.at += character.len_utf8();
            if character == char::from(quote) {
                return Ok(out);
            }
            if character != '\\' {
                out.push(character);
                continue;
            }
            let Some(escape) = self.text[self.at..].chars().next() else { return self.fail() };
            self.at += escape.len_utf8();
            match escape {
                'b' => out.push('\u{8}'),
                'f' => out.push('\u{c}'),
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                '"' | '\'' | '\\' | '/' => out.push(escape),
                'u' => out.push(self.unicode()?),
                _ => return self.fail(),
            }
        }
    }

    fn unicode(&mut self) -> Result<char, String> {
        let unit = |reader: &mut Self| -> Option<u32> {
            let digits = reader.text.get(reader.at..reader.at + 4)?;
            reader.at += 4;
            u32::from_str_radix(digits, 16).ok()
        };
        let Some(first) = unit(self) else { return self.fail() };
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            let back = self.at;
            self.at += 2;
            if let Some(second) = unit(self).filter(|second| (0xdc00..0xe000).contains(second)) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        // A lone surrogate has no character of its own.
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}
