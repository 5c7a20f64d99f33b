//! The JSON envelope around a trigger's data, read tolerantly.
//!
//! `{"Data":{"<binding>":…},"Metadata":{…}}`. The host encodes whatever is no object twice: a text arrives as
//! `"\"hello\""`, a number as `"1"`. Members may be missing. Binding names are case-sensitive, the two outer names
//! are not relied on to be (host source `ScriptInvocationContextExtensions`).

use serde_json::{Map, Value};

/// What the host sends with a trigger.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Envelope {
    /// Binding name → value, decoded.
    pub data: Map<String, Value>,
    /// What the host adds, decoded. It may mix in the caller's own data: nothing here proves anything.
    pub metadata: Map<String, Value>,
}

/// The body of a trigger is no envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

impl Envelope {
    /// Reads the body of a trigger. An empty body is an empty envelope.
    ///
    /// # Errors
    /// [`EnvelopeError`] for a body that is something else than a JSON object, or a JSON text of one.
    pub fn decode(body: &[u8]) -> Result<Self, EnvelopeError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match unwrap(serde_json::from_slice(body)?) {
            Value::Object(mut envelope) => Ok(Self {
                data: section(&mut envelope, "Data"),
                metadata: section(&mut envelope, "Metadata"),
            }),
            Value::Null => Ok(Self::default()),
            _ => Err(EnvelopeError::NotAnObject),
        }
    }
}

/// The members of one section, each unwrapped. A section that is missing or no object is empty.
fn section(envelope: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    let key = envelope.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    let value = key.and_then(|key| envelope.remove(&key)).map(unwrap);
    match value {
        Some(Value::Object(members)) => {
            members.into_iter().map(|(name, value)| (name, unwrap(value))).collect()
        }
        _ => Map::new(),
    }
}

/// Takes off up to two layers of JSON text. A text that is no JSON stays what it is.
pub(super) fn unwrap(value: Value) -> Value {
    let once = unwrap_once(value);
    if matches!(once, Value::String(_)) { unwrap_once(once) } else { once }
}

fn unwrap_once(value: Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data(body: &str) -> Value {
        Value::Object(Envelope::decode(body.as_bytes()).unwrap().data)
    }

    #[test]
    fn double_encoding_is_taken_off() {
        assert_eq!(data(r#"{"Data":{"q":"\"hello\""}}"#), json!({"q": "hello"}));
        assert_eq!(data(r#"{"Data":{"q":"\"{\\\"a\\\":1}\""}}"#), json!({"q": {"a": 1}}));
        assert_eq!(data(r#"{"Data":{"q":"1","r":"[1]"}}"#), json!({"q": 1, "r": [1]}));
        assert_eq!(data(r#"{"Data":{"q":"not json"}}"#), json!({"q": "not json"}));
        assert_eq!(data(r#"{"Data":"{\"q\":{}}"}"#), json!({"q": {}}));
        assert_eq!(data(r#""{\"Data\":{\"q\":1}}""#), json!({"q": 1}));
    }

    #[test]
    fn missing_members_are_empty_and_unknown_ones_ignored() {
        for body in ["", " \r\n", "null", "{}", r#"{"Data":null}"#, r#"{"Data":[1],"More":true}"#] {
            assert_eq!(Envelope::decode(body.as_bytes()).unwrap(), Envelope::default(), "{body}");
        }
    }

    #[test]
    fn binding_names_keep_their_case_and_outer_names_do_not_matter() {
        assert_eq!(data(r#"{"data":{"myTimer":{},"MYTIMER":"1"}}"#), json!({"myTimer": {}, "MYTIMER": 1}));
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        for body in ["{", "[1]", "7", "\"text\"", "\u{0}"] {
            assert!(Envelope::decode(body.as_bytes()).is_err(), "{body}");
        }
    }
}
