//! Tombs: what is kept of deleted tasks for 30 days, and how one is brought back.

use annika_sync::{
    lens::{self, Document},
    state::TaskState,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::scripts::RESTORE;
use crate::{
    keys,
    store::{Store, StoreError, command, read},
    tasks::{index_entries, pending_entry},
};

/// A deleted task that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tomb {
    /// Annika's id of the task.
    pub id: String,
    /// When it was deleted, Unix ms.
    pub deleted_at_ms: i64,
    /// Its title, where the document has a readable one.
    pub title: Option<String>,
    /// Its Planner task, which is gone too, where it had one.
    pub planner_id: Option<String>,
    /// Where the deletion came from: `up` = Redis, `down` = Planner; where it has reached both sides.
    pub direction: Option<String>,
}

/// Some deleted tasks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tombs {
    /// The tasks.
    pub tombs: Vec<Tomb>,
    /// How many there are in all; one that ran out in this moment may still be among them.
    pub total: u64,
    /// Where the next page begins; `None` = this was the last one.
    pub next: Option<usize>,
}

/// Planner's part of a tomb.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Copy {
    planner_id: Option<String>,
    direction: Option<String>,
}

/// A page of the deleted tasks from `offset` on, newest first. Two round trips.
///
/// # Errors
/// When Redis does not answer.
pub async fn tombs(store: &Store, offset: usize, limit: usize) -> Result<Tombs, StoreError> {
    let mut range = command("ZRANGE", keys::sync_tombs());
    range.arg(offset).arg(offset + limit.max(1) - 1).arg("REV").arg("WITHSCORES");
    let mut replies = store.pipeline(&[range, command("ZCARD", keys::sync_tombs())]).await.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
    let entries: Vec<(String, f64)> = read(next()?)?;
    let total: u64 = read(next()?)?;
    let reads: Vec<_> = entries
        .iter()
        .flat_map(|(id, _)| {
            [command("GET", &keys::sync_tomb(id)), command("GET", &keys::sync_tomb_planner(id))]
        })
        .collect();
    let mut replies = store.pipeline(&reads).await.into_iter();
    let mut text = || -> Result<Option<Vec<u8>>, StoreError> {
        read(replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")))?)
    };
    let mut tombs = Vec::new();
    let shown = entries.len();
    for (id, at) in entries {
        let (document, copy) = (text()?, text()?);
        // The time of a tomb can run out between the two reads.
        let Some(document) = document else { continue };
        let title = serde_json::from_slice::<Json>(&document).ok();
        let title = title.and_then(|json| json.get("title")?.as_str().map(str::to_owned));
        let copy: Copy = copy.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "a time in ms is exact in an f64")]
        let deleted_at_ms = at as i64;
        tombs.push(Tomb { id, deleted_at_ms, title, planner_id: copy.planner_id, direction: copy.direction });
    }
    let next = (shown == limit.max(1)).then_some(offset + shown);
    Ok(Tombs { tombs, total, next })
}

/// What became of a wish to bring a task back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// Its document is back; the engine makes it in Planner again, or calls the deletion off.
    Restored,
    /// There is a document of this id, and nothing was changed.
    AlreadyThere,
    /// Nothing is kept under this id.
    Unknown,
}

/// Brings a deleted task's document back. A second call finds it there and changes nothing.
///
/// # Errors
/// When Redis does not answer: the call may be made again.
pub async fn restore(store: &Store, id: &str) -> Result<Restored, StoreError> {
    if lens::valid_id(id).is_err() {
        return Ok(Restored::Unknown);
    }
    let commands = [
        command("GET", &keys::sync_tomb(id)),
        command("GET", &keys::sync_tomb_planner(id)),
        command("EXISTS", &keys::task(id)),
    ];
    let mut replies = store.pipeline(&commands).await.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
    let (tomb, copy): (Option<Vec<u8>>, Option<Vec<u8>>) = (read(next()?)?, read(next()?)?);
    let there: bool = read(next()?)?;
    let Some(tomb) = tomb else {
        return Ok(if there { Restored::AlreadyThere } else { Restored::Unknown });
    };
    let copy: Copy = copy.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let document = Document::parse(&tomb).ok();
    let stamped = document.as_ref().and_then(Document::sync_stamp).map(|stamp| stamp.planner_id);
    let named = id.strip_prefix("planner-").map(str::to_owned);
    // Without this the id, or a stamp in an agent's copy, would lead back to the Planner task that is gone.
    let dead_id = copy.planner_id.or(stamped).or(named).filter(|id| !id.is_empty());
    let record = TaskState { dead_id, ..TaskState::default() };
    let bare = document.as_ref().map(Document::without_stamp);
    let text = bare.as_ref().map_or_else(|| tomb.clone(), Document::bytes);
    let call = RESTORE
        .call()
        .key(keys::task(id))
        .key(keys::sync_state(id))
        .key(keys::sync_due())
        .key(keys::sync_pending())
        .key(keys::tasks_entries())
        .key(keys::sync_tomb(id))
        .key(keys::sync_tomb_planner(id))
        .key(keys::sync_tombs())
        .arg(id)
        .arg(&tomb)
        .arg(&text)
        .arg(serde_json::to_string(&record).unwrap_or_default())
        .arg(pending_entry(id))
        .arg(bare.as_ref().map(|document| index_entries(document).join("\n")).unwrap_or_default())
        .arg(Json::from(id).to_string())
        .arg(keys::tasks_updates())
        .arg(keys::pubsub_tasks());
    let reply: String = read(store.run(&call).await?)?;
    match reply.as_str() {
        "restored" => {
            tracing::info!(task_id = id, "a deleted task is brought back");
            Ok(Restored::Restored)
        }
        "there" => Ok(Restored::AlreadyThere),
        _ => Ok(Restored::Unknown),
    }
}
