//! The sweep over Redis: known documents by their digests, unknown ones by SCAN, and what others queued.

use annika_sync::{
    lens,
    plan::ABSENT,
    state::{TaskState, digest},
    world::{Discovered, SweepPage},
};
use futures::{StreamExt, stream};
use redis::Cmd;
use serde_json::Value as Json;

use crate::{
    keys,
    store::{Store, StoreError, StoreErrorKind, command, read},
    tasks,
};

/// Fields of the index in one page.
const PAGE: usize = 500;
/// Documents that are read at a time; while they are compared Redis reads the next ones.
const AT_A_TIME: usize = 125;
/// Keys in one slice of the discovery: others wait for the millisecond that it takes.
const SLICE: usize = 1_000;
/// A key space up to this many keys is scanned whole in every sweep; a larger one a part at a time.
const WHOLE: u64 = 20_000;
/// Slices in a part of a larger key space.
const SLICES: u64 = 5;

/// How many parts it takes until every key of a key space of this size has been looked at.
pub(super) fn parts_to_see(keys: u64) -> u64 {
    if keys <= WHOLE { 1 } else { keys.div_ceil(SLICES * SLICE as u64) }
}
/// Entries of the pending list that are read from each end.
const ENDS: isize = 500;

/// What the index says of a document: its digest, and whether it was seen with a time to live.
fn index_value(digest: &str, expires: bool) -> String {
    if expires { format!("{digest}{EXPIRES}") } else { digest.to_owned() }
}

/// What the index says of a task after a step; `None` = nothing yet.
pub(super) fn known_as(state: &TaskState) -> Option<String> {
    let seen = state.seen.as_deref()?;
    Some(index_value(seen, state.expires && seen != ABSENT))
}

/// Marks a digest in the index: the key had a time to live.
const EXPIRES: &str = "+ttl";

/// Compares one page of the index with the documents.
pub(super) async fn page(store: &Store, cursor: Option<String>) -> Result<SweepPage, StoreError> {
    let mut scan = command("HSCAN", keys::sync_index());
    scan.arg(cursor.as_deref().unwrap_or("0")).arg("COUNT").arg(PAGE);
    let (next, entries): (String, Vec<(String, String)>) = store.command(&scan).await?;
    let mut page = SweepPage { read: entries.len(), ..SweepPage::default() };
    page.next = (next != "0").then_some(next);
    if entries.is_empty() {
        return Ok(page);
    }
    let chunks: Vec<Vec<(String, String)>> = entries.chunks(AT_A_TIME).map(<[_]>::to_vec).collect();
    let mut read = stream::iter(chunks).map(|chunk| compare(store, chunk)).buffered(2);
    let mut unclear = Vec::new();
    while let Some(compared) = read.next().await {
        let compared = compared?;
        page.changed.extend(compared.changed);
        unclear.extend(compared.unclear);
    }
    settle(store, unclear, &mut page).await?;
    Ok(page)
}

/// What a look at some documents showed.
#[derive(Default)]
struct Compared {
    changed: Vec<String>,
    unclear: Vec<(String, String)>,
}

async fn compare(store: &Store, entries: Vec<(String, String)>) -> Result<Compared, StoreError> {
    let reads: Vec<Cmd> = entries
        .iter()
        .map(|(id, _)| keys::task(id))
        .flat_map(|key| [tasks::bounded_get(&key), command("PTTL", &key)])
        .collect();
    let mut replies = store.pipeline(&reads).await.into_iter();
    let mut compared = Compared::default();
    for (id, known) in entries {
        let missing = || Err(StoreError::other("a reply is missing"));
        let text = replies.next().unwrap_or_else(missing);
        let expires = read::<i64>(replies.next().unwrap_or_else(missing)?)? >= 0;
        match text {
            Err(error) if error.kind == StoreErrorKind::WrongType => compared.unclear.push((id, known)),
            text => match read::<Vec<u8>>(text?)? {
                text if text.is_empty() => compared.unclear.push((id, known)),
                text if index_value(&digest(&text), expires) == known => {}
                _ => compared.changed.push(id),
            },
        }
    }
    Ok(compared)
}

/// An empty text, no key and a value of another type are told apart: only a missing key is missing.
async fn settle(
    store: &Store,
    unclear: Vec<(String, String)>,
    page: &mut SweepPage,
) -> Result<(), StoreError> {
    let wanted: Vec<String> = unclear.iter().map(|(id, _)| keys::task(id)).collect();
    for ((id, known), text) in unclear.into_iter().zip(tasks::texts(store, &wanted).await) {
        match text {
            Ok(None) if known == ABSENT => {}
            Ok(None) => page.missing.push(id),
            Ok(Some(text)) if digest(&text) == known.trim_end_matches(EXPIRES) => {}
            Ok(Some(_)) => page.changed.push(id),
            Err(error) if error.kind == StoreErrorKind::WrongType => {
                if known != "wrong_type" {
                    page.changed.push(id);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Looks for documents that the index does not know. `start` is where the last part of a large key space ended; the
/// second value is where the next one goes on.
pub(super) async fn discover(
    store: &Store,
    cursor: Option<String>,
    start: Option<u64>,
) -> Result<(Discovered, Option<u64>), StoreError> {
    // The engine's cursor is `slice:position`; it only counts the slices of this part.
    let (slice, position) = match cursor.as_deref().and_then(|cursor| cursor.split_once(':')) {
        Some((slice, position)) => (slice.parse().unwrap_or(0), position.parse().unwrap_or(0)),
        None => (0_u64, start.unwrap_or(0)),
    };
    let mut scan = redis::cmd("SCAN");
    scan.arg(position).arg("MATCH").arg(keys::task("*")).arg("COUNT").arg(SLICE);
    let mut replies = store.pipeline(&[scan, redis::cmd("DBSIZE")]).await.into_iter();
    let missing = || Err(StoreError::other("a reply is missing"));
    let (next, found): (u64, Vec<String>) = read(replies.next().unwrap_or_else(missing)?)?;
    let size: u64 = read(replies.next().unwrap_or_else(missing)?)?;
    let prefix = keys::task("");
    let ids: Vec<String> = found
        .iter()
        .filter_map(|key| key.strip_prefix(&prefix))
        .filter(|id| lens::valid_id(id).is_ok())
        .map(str::to_owned)
        .collect();
    let unknown = unknown(store, ids).await?;
    let bounded = size > WHOLE && slice + 1 >= SLICES;
    let (again, resume) = match next {
        0 => (None, None),
        next if bounded => (None, Some(next)),
        next => (Some(format!("{}:{next}", slice + 1)), None),
    };
    Ok((Discovered { ids: unknown, next: again, rest: resume.is_some() }, resume))
}

async fn unknown(store: &Store, ids: Vec<String>) -> Result<Vec<String>, StoreError> {
    if ids.is_empty() {
        return Ok(ids);
    }
    let mut get = command("HMGET", keys::sync_index());
    get.arg(&ids);
    let digests: Vec<Option<String>> = store.command(&get).await?;
    Ok(ids.into_iter().zip(digests).filter(|(_, digest)| digest.is_none()).map(|(id, _)| id).collect())
}

/// An entry of the pending list that is not our own mirror.
pub(super) struct Entry {
    /// Its exact text.
    pub text: Vec<u8>,
    /// The task it names; an entry that names none is only taken out.
    pub task_id: Option<String>,
    /// It says that the task was deleted.
    pub deleted: bool,
}

/// What others pushed, from both ends of the list: our own mirror may fill the middle.
pub(super) async fn foreign_entries(store: &Store) -> Result<Vec<Entry>, StoreError> {
    let range = |from: isize, to: isize| {
        let mut cmd = command("LRANGE", keys::sync_pending());
        cmd.arg(from).arg(to);
        cmd
    };
    let mut entries = Vec::new();
    for reply in store.pipeline(&[range(0, ENDS - 1), range(-ENDS, -1)]).await {
        let texts: Vec<Vec<u8>> = read(reply?)?;
        entries.extend(texts.into_iter().filter_map(foreign));
    }
    Ok(entries)
}

fn foreign(text: Vec<u8>) -> Option<Entry> {
    let operation: Option<Json> = serde_json::from_slice(&text).ok();
    let member = |names: &[&str]| {
        let operation = operation.as_ref()?;
        names.iter().find_map(|name| operation.get(name)?.as_str()).map(str::to_owned)
    };
    if member(&["source"]).as_deref() == Some("annika") {
        return None;
    }
    let task_id = member(&["task_id", "annika_id", "taskId", "id"]).filter(|id| lens::valid_id(id).is_ok());
    if task_id.is_none() {
        tracing::warn!(
            code = "pending_entry_malformed",
            "an entry of the pending list names no task and is dropped"
        );
    }
    let kind = member(&["type", "operation", "action", "op", "operation_type"]).unwrap_or_default();
    Some(Entry { text, task_id, deleted: kind == "delete" || kind == "deleted" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_key_space_takes_more_parts() {
        assert_eq!(
            [0, WHOLE, WHOLE + 1, 100_000, 100_001, 1_000_000].map(parts_to_see),
            [1, 1, 5, 20, 21, 200]
        );
    }

    #[test]
    fn only_foreign_entries_are_taken() {
        assert!(foreign(tasks::pending_entry("a").into_bytes()).is_none());
        let entry =
            foreign(br#"{"type":"delete","operation":"x","annika_id":"a"}"#.to_vec()).expect("foreign");
        assert_eq!((entry.task_id.as_deref(), entry.deleted), (Some("a"), true));
        let entry = foreign(b"not json".to_vec()).expect("foreign");
        assert_eq!(entry.task_id, None);
        let entry = foreign(br#"{"task_id":"a:b"}"#.to_vec()).expect("foreign");
        assert_eq!(entry.task_id, None, "an id that is no task id");
    }
}
