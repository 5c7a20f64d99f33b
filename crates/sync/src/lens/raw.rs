//! JSON objects as raw text: members in their order, each value with the bytes its writer gave it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::DocumentError;

/// The deepest nesting that is accepted; below serde_json's own limit of 128, so that every accepted value can
/// also be read as a tree.
pub(crate) const MAX_DEPTH: usize = 100;

/// One member: the key as it is written (with quotes and escapes), its decoded name, the value.
#[derive(Clone)]
pub(crate) struct Member {
    key: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) value: Box<RawValue>,
}

/// The members of one JSON object, in order.
#[derive(Clone, Default)]
pub(crate) struct Members(pub(crate) Vec<Member>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, Box<RawValue>>()? {
                    let name = serde_json::from_str::<String>(key.get()).map_err(serde::de::Error::custom)?;
                    members.push(Member { key: key.get().into(), name: name.into(), value });
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Members {
    /// The members of an object's text; `None` for any other JSON.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|member| &*member.name == name).map(|member| &*member.value)
    }

    /// Sets a member in its place, or as the last one. True if a byte changed.
    pub(crate) fn set(&mut self, name: &str, value: Box<RawValue>) -> bool {
        match self.0.iter_mut().find(|member| &*member.name == name) {
            Some(member) if member.value.get() == value.get() => false,
            Some(member) => {
                member.value = value;
                true
            }
            None => {
                let key = serde_json::Value::from(name).to_string();
                self.0.push(Member { key: key.into(), name: name.into(), value });
                true
            }
        }
    }

    /// Removes a member. True if it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|member| &*member.name != name);
        self.0.len() != before
    }

    /// The object as text without blanks between its members.
    pub(crate) fn write(&self) -> String {
        let mut text = String::from("{");
        for (index, member) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&member.key);
            text.push(':');
            text.push_str(member.value.get());
        }
        text.push('}');
        text
    }

    /// Feeds every member except one to `sink`, so that blanks between members do not count.
    pub(crate) fn each_part_without(&self, name: &str, mut sink: impl FnMut(&[u8])) {
        for member in self.0.iter().filter(|member| &*member.name != name) {
            sink(member.key.as_bytes());
            sink(b":");
            sink(member.value.get().as_bytes());
            sink(b",");
        }
    }

    /// RFC 7396 on text. True if a byte changed.
    pub(crate) fn merge(&mut self, patch: &Members) -> bool {
        // An index, because a patch may name as many members as the document has.
        let places: BTreeMap<Box<str>, usize> =
            self.0.iter().enumerate().map(|(at, member)| (member.name.clone(), at)).collect();
        let mut slots: Vec<Option<Member>> = std::mem::take(&mut self.0).into_iter().map(Some).collect();
        let mut changed = false;
        for new in &patch.0 {
            let place = places.get(&new.name).copied();
            let old = place.and_then(|at| slots[at].as_ref());
            if new.value.get() == "null" {
                if let Some(at) = place {
                    slots[at] = None;
                    changed = true;
                }
                continue;
            }
            let value = match Members::parse(new.value.get()) {
                None => new.value.clone(),
                Some(inner) => {
                    let target = old.and_then(|old| Members::parse(old.value.get()));
                    let was_object = target.is_some();
                    let mut target = target.unwrap_or_default();
                    if !target.merge(&inner) && was_object {
                        continue;
                    }
                    raw(target.write())
                }
            };
            match place.and_then(|at| slots[at].as_mut()) {
                Some(member) if member.value.get() == value.get() => {}
                Some(member) => {
                    member.value = value;
                    changed = true;
                }
                None => {
                    slots.push(Some(Member { value, ..new.clone() }));
                    changed = true;
                }
            }
        }
        self.0 = slots.into_iter().flatten().collect();
        changed
    }
}

/// A raw value from text that this crate wrote itself.
pub(crate) fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A raw value from a tree.
pub(crate) fn raw_of(value: &serde_json::Value) -> Box<RawValue> {
    raw(value.to_string())
}

/// Checks a text that should be one JSON object: UTF-8, syntax, depth, and no name twice in any object.
pub(crate) fn check(bytes: &[u8]) -> Result<&str, DocumentError> {
    let text = std::str::from_utf8(bytes).map_err(|error| DocumentError::InvalidUtf8(error.valid_up_to()))?;
    serde_json::from_str::<&RawValue>(text).map_err(not_json)?;
    check_nesting(text)?;
    if !text.trim_start().starts_with('{') {
        return Err(DocumentError::NotAnObject);
    }
    Ok(text)
}

pub(crate) fn not_json(error: serde_json::Error) -> DocumentError {
    DocumentError::InvalidJson { line: error.line(), column: error.column() }
}

/// Walks valid JSON once, without recursion.
fn check_nesting(text: &str) -> Result<(), DocumentError> {
    let bytes = text.as_bytes();
    let mut open: Vec<Option<BTreeSet<Cow<str>>>> = Vec::new();
    let mut key_next = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            byte @ (b'{' | b'[') => {
                key_next = byte == b'{';
                open.push(key_next.then(BTreeSet::new));
                if open.len() > MAX_DEPTH {
                    return Err(DocumentError::TooDeep(MAX_DEPTH));
                }
            }
            b'}' | b']' => {
                open.pop();
                key_next = false;
            }
            b',' => key_next = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let start = at;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if key_next && let Some(Some(names)) = open.last_mut() {
                    key_next = false;
                    let quoted = &text[start..=at];
                    let name = if quoted.contains('\\') {
                        Cow::Owned(serde_json::from_str::<String>(quoted).map_err(not_json)?)
                    } else {
                        Cow::Borrowed(&quoted[1..quoted.len() - 1])
                    };
                    if let Some(twice) = names.replace(name) {
                        return Err(DocumentError::DuplicateMember(twice.into_owned()));
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}
