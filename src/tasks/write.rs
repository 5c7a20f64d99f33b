//! The write path: the script that stores or deletes one document and tells everybody, and its replies.

use annika_sync::lens::Document;
use redis::{FromRedisValue, Value};

use super::index_entries;
use crate::{
    keys,
    store::{Script, ScriptCall, Store, StoreError},
};

/// The write script; its header says what it takes and answers.
pub static WRITE: Script = Script::new(
    "tasks/write",
    6,
    concat!(include_str!("lua/mark.lua"), include_str!("lua/index.lua"), include_str!("lua/write.lua")),
);

/// What must be true of the stored document for a write to happen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expectation<'a> {
    Any,
    Absent,
    Exact(&'a [u8]),
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    Created,
    Updated,
    Deleted,
    /// The expectation did not hold; this is what stands there.
    Conflict(Option<Vec<u8>>),
    /// There was nothing to delete; whether it had been deleted before.
    Absent {
        deleted_before: bool,
    },
    /// The call was made before; this was its answer.
    Replay(Vec<u8>),
}

/// The answer to keep for a repeated call, and where.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub hash: String,
    pub text: Vec<u8>,
}

pub(super) async fn put(
    store: &Store,
    id: &str,
    document: &Document,
    expectation: Expectation<'_>,
    answer: Option<&Answer>,
) -> Result<Written, StoreError> {
    let wanted = index_entries(document).join("\n");
    run(store, "put", id, expectation, &document.bytes(), &wanted, answer).await
}

/// Puts a document in the place of exactly these bytes, with a mark and the messages of an agent's write. Says whether
/// they were there.
pub(crate) async fn replace_exactly(
    store: &Store,
    id: &str,
    expected: &[u8],
    document: &Document,
) -> Result<bool, StoreError> {
    let written = put(store, id, document, Expectation::Exact(expected), None).await?;
    Ok(matches!(written, Written::Updated))
}

/// Deletes; `last_text` goes into the messages and must be JSON.
pub(super) async fn delete(
    store: &Store,
    id: &str,
    expectation: Expectation<'_>,
    last_text: &[u8],
) -> Result<Written, StoreError> {
    run(store, "delete", id, expectation, last_text, "", None).await
}

async fn run(
    store: &Store,
    operation: &str,
    id: &str,
    expectation: Expectation<'_>,
    text: &[u8],
    wanted: &str,
    answer: Option<&Answer>,
) -> Result<Written, StoreError> {
    let (expected, bytes): (&str, &[u8]) = match expectation {
        Expectation::Any => ("any", b""),
        Expectation::Absent => ("absent", b""),
        Expectation::Exact(bytes) => ("exact", bytes),
    };
    let seconds = |family: &keys::Family| family.ttl_s().unwrap_or_default().into();
    let json_id = serde_json::Value::from(id).to_string();
    let call: ScriptCall = WRITE
        .call()
        .key(keys::task(id))
        .key(keys::sync_state(id))
        .key(keys::sync_due())
        .key(keys::sync_pending())
        .key(keys::tasks_entries())
        .key(keys::sync_tomb(id))
        .key(answer.map(|answer| keys::idempotency(&answer.hash)).unwrap_or_default())
        .key(keys::sync_tombs())
        .arg(operation)
        .arg(expected)
        .arg(bytes)
        .arg(text)
        .arg(id)
        .arg(&json_id)
        .arg(pending_entry(id))
        .num(0)
        .arg(wanted)
        .arg(keys::tasks_updates())
        .arg(keys::pubsub_tasks())
        .num(seconds(&keys::SYNC_TOMB))
        .arg(answer.map(|answer| answer.text.as_slice()).unwrap_or_default())
        .num(seconds(&keys::IDEMPOTENCY));
    written(store.run(&call).await?)
}

/// The entry that stands for a waiting task in the pending list; always the same text, so that it can be removed.
pub fn pending_entry(id: &str) -> String {
    format!(r#"{{"op":"sync","task_id":{},"source":"annika"}}"#, serde_json::Value::from(id))
}

fn written(reply: Value) -> Result<Written, StoreError> {
    let odd = || StoreError::other("the write script answered in an unknown form");
    let Value::Array(parts) = reply else { return Err(odd()) };
    let [Value::BulkString(status), detail] = <[Value; 2]>::try_from(parts).map_err(|_| odd())? else {
        return Err(odd());
    };
    let bytes = |value| Option::<Vec<u8>>::from_redis_value(value).map_err(|_| odd());
    match status.as_slice() {
        b"ok" => match bytes(detail)?.as_deref() {
            Some(b"created") => Ok(Written::Created),
            Some(b"updated") => Ok(Written::Updated),
            Some(b"deleted") => Ok(Written::Deleted),
            _ => Err(odd()),
        },
        b"conflict" => Ok(Written::Conflict(bytes(detail)?)),
        b"absent" => Ok(Written::Absent { deleted_before: detail == Value::Int(1) }),
        b"replay" => Ok(Written::Replay(bytes(detail)?.ok_or_else(odd)?)),
        _ => Err(odd()),
    }
}
