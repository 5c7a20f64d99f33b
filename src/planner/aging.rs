//! Completed tasks leave Redis some days after they were completed or last changed, where a setting says so. Planner
//! keeps them: a document that was taken out here is no evidence of a deletion, and comes back when a person changes
//! the task.
//!
//! Each sweep looks at one page of the completed tasks, so a change of the setting reaches all of them within hours.

use std::sync::{Mutex, PoisonError};

use annika_sync::{
    lens::{self, Document, Field, Value},
    plan::ABSENT,
    state::{TaskState, digest},
};
use redis::Cmd;
use serde::Deserialize;

use super::scripts::AGE;
use crate::{
    keys,
    store::{Store, StoreError, command, read},
    tasks,
};

/// Completed tasks that one sweep looks at.
const PAGE: usize = 200;

/// Which completed tasks leave Redis, and how far the last sweep looked.
#[derive(Debug)]
pub(super) struct Aging {
    /// How long a completed task stays, ms.
    after_ms: i64,
    /// The last id that was looked at.
    cursor: Mutex<String>,
}

/// What is known of one completed task.
struct Candidate {
    id: String,
    bytes: Vec<u8>,
    digest: String,
    /// Since when it has been as it is, ms.
    since: i64,
    /// That is not stored yet.
    is_new: bool,
}

impl Aging {
    /// Completed tasks stay this long, ms.
    pub(super) fn new(after_ms: i64) -> Self {
        Self { after_ms, cursor: Mutex::new(String::new()) }
    }

    /// Looks at the next page of completed tasks and takes out those whose time has come; says how many.
    pub(super) async fn pass(&self, store: &Store, now: i64) -> Result<u64, StoreError> {
        let after = self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut slice = command("ZRANGEBYLEX", &tasks::completed_index());
        let from = if after.is_empty() { "-".to_owned() } else { format!("({after}") };
        slice.arg(from).arg("+").arg("LIMIT").arg(0).arg(PAGE);
        let ids: Vec<String> = store.command(&slice).await?;
        let next = if ids.len() == PAGE { ids.last().cloned().unwrap_or_default() } else { String::new() };
        let mut aged = 0;
        let mut notes = command("HSET", keys::sync_aging());
        let mut noted = false;
        for candidate in candidates(store, ids, now).await? {
            if now - candidate.since >= self.after_ms {
                aged += u64::from(take_out(store, &candidate).await?);
            } else if candidate.is_new {
                notes.arg(&candidate.id).arg(format!("{}:{}", candidate.since, candidate.digest));
                noted = true;
            }
        }
        if noted {
            store.command::<i64>(&notes).await?;
        }
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(aged)
    }
}

/// Those that are completed and at rest on both sides.
async fn candidates(store: &Store, ids: Vec<String>, now: i64) -> Result<Vec<Candidate>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = command("HMGET", keys::sync_index());
    known.arg(&ids);
    let mut since = command("HMGET", keys::sync_aging());
    since.arg(&ids);
    let mut commands: Vec<Cmd> = vec![known, since];
    for id in &ids {
        let mut record = command("HGET", &keys::sync_state(id));
        record.arg("record");
        commands.push(record);
    }
    let mut replies = store.pipeline(&commands).await.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
    let known: Vec<Option<String>> = read(next()?)?;
    let since: Vec<Option<String>> = read(next()?)?;
    let records: Vec<Option<Vec<u8>>> = ids.iter().map(|_| read(next()?)).collect::<Result<_, _>>()?;
    let documents = tasks::texts(store, &ids.iter().map(|id| keys::task(id)).collect::<Vec<_>>()).await;
    let mut candidates = Vec::new();
    for ((((id, document), known), since), record) in
        ids.into_iter().zip(documents).zip(known).zip(since).zip(records)
    {
        // A document of another type is the sweep's business; one that a read failed for is looked at next time.
        let Ok(Some(bytes)) = document else { continue };
        let digest = digest(&bytes);
        if known.as_deref() != Some(digest.as_str()) || !record.is_some_and(|record| is_at_rest(&record)) {
            continue;
        }
        let Ok(document) = Document::parse(&bytes) else { continue };
        if !is_completed(&document) {
            continue;
        }
        let stored = since.as_deref().and_then(|text| text.split_once(':'));
        let (since, is_new) = match stored {
            Some((at, of)) if of == digest => (at.parse().unwrap_or(now), false),
            Some(_) => (now, true),
            None => (completed_at(&document).unwrap_or(now).min(now), true),
        };
        candidates.push(Candidate { id, bytes, digest, since, is_new });
    }
    Ok(candidates)
}

/// Both sides say that it is completed, and nothing is under way or wrong.
fn is_at_rest(record: &[u8]) -> bool {
    let Ok(state) = serde_json::from_slice::<TaskState>(record) else { return false };
    let done = |value: Option<&Value>| value == Some(&Value::Number(100));
    state.planner_id.is_some()
        && state.failure.is_none()
        && state.create.is_none()
        && state.intents.is_empty()
        && done(state.base.get(&Field::Percent))
        && state.remote.as_ref().is_some_and(|remote| done(remote.fields.get(&Field::Percent)))
}

fn is_completed(document: &Document) -> bool {
    let projected = lens::project(document, None);
    projected.is_ok_and(|projected| projected.fields.get(&Field::Percent) == Some(&Value::Number(100)))
}

/// When the task was completed, as its document says.
fn completed_at(document: &Document) -> Option<i64> {
    let text = String::deserialize(document.get("completed_at")?).ok()?;
    text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

async fn take_out(store: &Store, candidate: &Candidate) -> Result<bool, StoreError> {
    let id = candidate.id.as_str();
    let call = AGE
        .call()
        .key(keys::task(id))
        .key(keys::sync_state(id))
        .key(keys::sync_due())
        .key(keys::sync_index())
        .key(keys::tasks_entries())
        .key(keys::sync_aging())
        .arg(id)
        .arg(&candidate.bytes)
        .arg(&candidate.digest)
        .arg(ABSENT);
    let reply: String = read(store.run(&call).await?)?;
    let aged = reply == "aged";
    if aged {
        tracing::info!(task_id = id, code = "task_aged_out", "a completed task left Redis; Planner keeps it");
    }
    Ok(aged)
}
