//! Reading documents and mappings: plain strings, and RedisJSON values where the server has them.

use annika_sync::lens;
use redis::{Cmd, FromRedisValue, Value};
use serde::Deserialize;

use crate::{
    keys,
    store::{Store, StoreError, StoreErrorKind, command},
};

/// The text under each key, in order; `None` only where the key is missing. One round trip, one more if some
/// are missing or empty, one or two more if some are RedisJSON values. Of a value that is too large to be a document, one byte too many is read.
pub(crate) async fn texts(store: &Store, wanted: &[String]) -> Vec<Result<Option<Vec<u8>>, StoreError>> {
    let reads: Vec<Cmd> = wanted.iter().map(|key| bounded_get(key)).collect();
    let mut texts: Vec<_> = store.pipeline(&reads).await.into_iter().map(|reply| bytes(reply?)).collect();
    // An empty text may be no key at all.
    let empty: Vec<usize> = (0..texts.len()).filter(|&index| is_empty(&texts[index])).collect();
    let exist: Vec<Cmd> = empty.iter().map(|&index| command("EXISTS", &wanted[index])).collect();
    for (index, reply) in empty.into_iter().zip(store.pipeline(&exist).await) {
        texts[index] = reply.and_then(number).map(|there| (there > 0).then(Vec::new));
    }
    let others: Vec<usize> = (0..texts.len()).filter(|&index| is_wrong_type(&texts[index])).collect();
    if !others.is_empty() {
        let types: Vec<Cmd> = others.iter().map(|&index| command("TYPE", &wanted[index])).collect();
        let types = store.pipeline(&types).await;
        let json: Vec<usize> = others
            .iter()
            .zip(types)
            .filter(|(_, kind)| is_redis_json(kind))
            .map(|(&index, _)| index)
            .collect();
        let gets: Vec<Cmd> = json.iter().map(|&index| command("JSON.GET", &wanted[index])).collect();
        for (index, reply) in json.into_iter().zip(store.pipeline(&gets).await) {
            texts[index] = reply.and_then(bytes);
        }
    }
    texts
}

/// The text under one key.
pub(super) async fn text(store: &Store, key: String) -> Result<Option<Vec<u8>>, StoreError> {
    if let Ok(text) = store.command::<Vec<u8>>(&bounded_get(&key)).await
        && !text.is_empty()
    {
        return Ok(Some(text));
    }
    // Missing, empty, RedisJSON or an error: the longer way tells which.
    let none = || Err(StoreError::other("no reply"));
    texts(store, &[key]).await.pop().unwrap_or_else(none)
}

/// Reads a value up to one byte beyond the largest document; an empty text also stands for no key.
pub(crate) fn bounded_get(key: &str) -> Cmd {
    let mut cmd = command("GETRANGE", key);
    cmd.arg(0).arg(lens::MAX_STORED_BYTES);
    cmd
}

fn bytes(reply: Value) -> Result<Option<Vec<u8>>, StoreError> {
    Option::<Vec<u8>>::from_redis_value(reply)
        .map_err(|error| StoreError::from(redis::RedisError::from(error)))
}

fn number(reply: Value) -> Result<i64, StoreError> {
    i64::from_redis_value(reply).map_err(|error| StoreError::from(redis::RedisError::from(error)))
}

fn is_empty(text: &Result<Option<Vec<u8>>, StoreError>) -> bool {
    matches!(text, Ok(Some(text)) if text.is_empty())
}

fn is_wrong_type(text: &Result<Option<Vec<u8>>, StoreError>) -> bool {
    matches!(text, Err(error) if error.kind == StoreErrorKind::WrongType)
}

fn is_redis_json(kind: &Result<Value, StoreError>) -> bool {
    match kind {
        Ok(Value::SimpleString(kind)) => kind == "ReJSON-RL",
        Ok(Value::BulkString(kind)) => kind == b"ReJSON-RL",
        _ => false,
    }
}

/// Which Planner task a task is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Mapping {
    /// The Planner task.
    #[serde(alias = "plannerId", alias = "planner")]
    pub planner_id: String,
    /// Its plan, where the mapping names one.
    #[serde(default, alias = "planId")]
    pub plan_id: Option<String>,
    /// When it was made, as it stands there.
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Mapping {
    /// Reads every form that was ever written: our object, a JSON string, the bare Planner id.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Ok(mapping) = serde_json::from_slice::<Self>(text) {
            return Some(mapping);
        }
        let bare = match serde_json::from_slice::<String>(text) {
            Ok(quoted) => quoted,
            Err(_) => String::from_utf8(text.to_vec()).ok()?,
        };
        let is_id =
            !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        is_id.then_some(Self { planner_id: bare, plan_id: None, created_at: None })
    }
}

/// The mapping of a task, under either of its names.
pub(super) async fn mapping(store: &Store, id: &str) -> Result<Option<Mapping>, StoreError> {
    for text in texts(store, &[keys::planner_id_map(id), keys::task_mapping(id)]).await {
        if let Some(text) = text? {
            let unreadable = || StoreError::other("the mapping of a task cannot be read");
            return Mapping::parse(&text).map(Some).ok_or_else(unreadable);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_mapping_is_read() {
        let ours =
            br#"{"annika_id":"a","planner_id":"P-1","plan_id":"L","created_at":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(Mapping::parse(ours).unwrap().plan_id.as_deref(), Some("L"));
        for text in [r#"{"plannerId":"P-1"}"#, r#"{"planner":"P-1","version":1}"#, r#""P-1""#, "P-1"] {
            assert_eq!(
                Mapping::parse(text.as_bytes()).map(|m| m.planner_id).as_deref(),
                Some("P-1"),
                "{text}"
            );
        }
        for text in ["", "{}", "[1]", "not an id"] {
            assert_eq!(Mapping::parse(text.as_bytes()), None, "{text}");
        }
    }
}
