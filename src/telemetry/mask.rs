//! Takes keys and tokens out of a text that is about to be logged.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Query parameters whose values are secrets: function keys, Graph's and Entra's, storage signatures.
const SECRET_PARAMETERS: [&str; 10] = [
    "code",
    "client_secret",
    "client_assertion",
    "access_token",
    "refresh_token",
    "sig",
    "clientstate",
    "validationtoken",
    "password",
    "key",
];

/// Headers whose values are secrets: a function's key, the managed identity's secret.
const SECRET_HEADERS: [&str; 2] = ["x-functions-key", "x-identity-header"];

const MASK: &str = "***";

/// `text` with the value of each secret query parameter, of each header that carries a key, of each `Bearer` and of each password in an address
/// (`scheme://user:password@`) replaced by `***`.
///
/// A parameter's name may be percent-encoded, as a caller may spell it; `?code=` is how Functions takes its keys.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some((start, end)) = next_secret(text, at) {
        masked.push_str(&text[copied..start]);
        masked.push_str(MASK);
        copied = end;
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[copied..]);
    Cow::Owned(masked)
}

/// The range of the next secret value at or after `from`.
fn next_secret(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        let found = match bytes[at] {
            b'?' | b'&' => parameter(text, at + 1),
            b'B' | b'b' => bearer(text, at),
            b'X' | b'x' => header(text, at),
            b':' => password(text, at),
            _ => None,
        };
        if let Some((start, end)) = found.filter(|(start, end)| start < end) {
            return Some((start, end));
        }
        at += 1;
    }
    None
}

fn parameter(text: &str, name_start: usize) -> Option<(usize, usize)> {
    let rest = &text[name_start..];
    let equals = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-' && c != '%')?;
    if rest.as_bytes()[equals] != b'=' {
        return None;
    }
    let name = percent_decode_str(&rest[..equals]).decode_utf8_lossy().to_ascii_lowercase();
    if !SECRET_PARAMETERS.contains(&name.as_str()) {
        return None;
    }
    let start = name_start + equals + 1;
    Some((start, value_end(text, start)))
}

fn bearer(text: &str, at: usize) -> Option<(usize, usize)> {
    let word = text.get(at..at + 7)?;
    if !word.eq_ignore_ascii_case("bearer ") {
        return None;
    }
    let end = value_end(text, at + 7);
    // A token is long; prose such as "Bearer token" is left alone.
    (end - at > 7 + 15).then_some((at + 7, end))
}

/// The value after the name of a header that carries a key, as `name: value` or as JSON, also quoted again.
fn header(text: &str, at: usize) -> Option<(usize, usize)> {
    let named =
        |name: &&&str| text.get(at..at + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
    let after = at + SECRET_HEADERS.iter().find(named)?.len();
    let gap = text[after..].find(|c: char| !matches!(c, '"' | '\\' | ':' | '=' | ' ' | '['))?;
    (gap > 0).then(|| (after + gap, value_end(text, after + gap)))
}

fn password(text: &str, at: usize) -> Option<(usize, usize)> {
    let after = text[at..].strip_prefix("://")?;
    let authority = &after[..after.find(['/', '?', '#', ' ', '"', '\\']).unwrap_or(after.len())];
    let host = authority.rfind('@')?;
    let colon = authority[..host].find(':')?;
    let base = at + 3;
    Some((base + colon + 1, base + host))
}

fn value_end(text: &str, start: usize) -> usize {
    let stop =
        |c: char| c.is_whitespace() || matches!(c, '&' | '"' | '\'' | '\\' | '#' | '<' | '>' | ')' | ',');
    text[start..].find(stop).map_or(text.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (text, expected) in [
            ("GET /api/tasks?code=abc==&x=1", "GET /api/tasks?code=***&x=1"),
            ("/api?x=1&CODE=abc done", "/api?x=1&CODE=*** done"),
            ("/api?c%6Fde=abc", "/api?c%6Fde=***"),
            (r#"{"url":"/a?code=k1&code=k2"}"#, r#"{"url":"/a?code=***&code=***"}"#),
            ("authorization: Bearer eyJ0eXAiOiJKV1QifQ.x.y end", "authorization: Bearer *** end"),
            ("X-Functions-Key: abc== x", "X-Functions-Key: *** x"),
            (
                r#"{"headers":"{\"x-functions-key\":[\"abc\"]}"}"#,
                r#"{"headers":"{\"x-functions-key\":[\"***\"]}"}"#,
            ),
            ("redis://:p@ss@cache:6379/0", "redis://:***@cache:6379/0"),
            ("rediss://user:pw@cache", "rediss://user:***@cache"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let plain = "status_code=404 code=unknown_route ?page=2 a Bearer token http://127.0.0.1:7071/x é";
        assert_eq!(mask(plain), plain);
    }
}
