//! Lists of tasks: pages in the order of their ids, through one index, checked again on the documents.

use annika_sync::lens::Document;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{TaskError, index, index_entries, read};
use crate::{keys, store::Store};

/// The most tasks on one page.
pub const LARGEST_PAGE: usize = 200;
/// How many tasks a page has if the caller names no number.
pub const USUAL_PAGE: usize = 50;
/// How many slices of an index one page may look at. A page may be short and still not the last one.
const MOST_SLICES: usize = 4;

/// Which tasks a list shows; every part that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Tasks of this plan.
    pub plan: Option<String>,
    /// Tasks assigned to this user id or name.
    pub assignee: Option<String>,
    /// Tasks with this status: Planner's `not_started`, `in_progress`, `completed`, or a word of the agents' own.
    pub status: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The tasks, in the order of their ids.
    pub tasks: Vec<(String, Document)>,
    /// Tasks that should be here and whose stored text cannot be read, with the reason's code.
    pub unreadable: Vec<(String, &'static str)>,
    /// Where the next page begins; `None` after the last one.
    pub cursor: Option<String>,
}

impl Filter {
    /// The index keys that a task must stand in; the first, from which ids are read, is the most selective.
    fn entries(&self) -> Vec<String> {
        let mut entries = Vec::new();
        entries.extend(self.assignee.as_deref().map(index::of_assignee));
        entries.extend(self.plan.as_deref().map(index::of_plan));
        entries.extend(self.status.as_deref().map(index::of_status));
        if entries.is_empty() {
            entries.push(index::all());
        }
        entries
    }
}

/// Documents that are read in one round trip.
const READ_TOGETHER: usize = 20;
/// A page that holds this many bytes ends, however few tasks are in it.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// What a cursor holds: the list it belongs to and the last id that was looked at.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    l: String,
    a: String,
}

pub(super) async fn page(
    store: &Store,
    filter: &Filter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page, TaskError> {
    let entries = filter.entries();
    let list = URL_SAFE_NO_PAD.encode(&Sha256::digest(entries.join("\n").as_bytes())[..6]);
    let mut after = cursor.map(|cursor| decode(cursor, &list)).transpose()?;
    let limit = limit.clamp(1, LARGEST_PAGE);
    let mut page = Page::default();
    let mut bytes = 0;
    for _ in 0..MOST_SLICES {
        let ids = slice(store, &entries[0], after.as_deref(), limit).await?;
        let slice_was_full = ids.len() == limit;
        for ids in ids.chunks(READ_TOGETHER) {
            let documents =
                read::texts(store, &ids.iter().map(|id| keys::task(id)).collect::<Vec<_>>()).await;
            for (id, text) in ids.iter().zip(documents) {
                if page.tasks.len() + page.unreadable.len() == limit || bytes > LARGEST_ANSWER {
                    page.cursor = after.map(|after| encode(list, after));
                    return Ok(page);
                }
                after = Some(id.clone());
                bytes += text.as_ref().map_or(0, |text| text.as_ref().map_or(0, Vec::len));
                page.add(id.clone(), text, &entries)?;
            }
        }
        if !slice_was_full {
            return Ok(page);
        }
    }
    page.cursor = after.map(|after| encode(list, after));
    Ok(page)
}

impl Page {
    /// Adds a task if it (still) belongs here: an index follows plain writes of agents only after a moment.
    fn add(
        &mut self,
        id: String,
        text: Result<Option<Vec<u8>>, crate::store::StoreError>,
        entries: &[String],
    ) -> Result<(), TaskError> {
        let text = match text {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            Err(error) if error.kind == crate::store::StoreErrorKind::WrongType => {
                self.unreadable.push((id, error.kind.code()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        match Document::parse(&text) {
            Ok(document) => {
                let now_in = index_entries(&document);
                if entries.iter().all(|entry| now_in.contains(entry)) {
                    self.tasks.push((id, document));
                }
            }
            Err(error) => self.unreadable.push((id, error.code())),
        }
        Ok(())
    }
}

/// The next ids of an index.
async fn slice(
    store: &Store,
    index: &str,
    after: Option<&str>,
    count: usize,
) -> Result<Vec<String>, TaskError> {
    let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
    let mut cmd = redis::cmd("ZRANGEBYLEX");
    cmd.arg(index).arg(from).arg("+").arg("LIMIT").arg(0).arg(count);
    Ok(store.command(&cmd).await?)
}

fn encode(list: String, after: String) -> String {
    let text = serde_json::json!(Cursor { l: list, a: after }).to_string();
    URL_SAFE_NO_PAD.encode(text)
}

fn decode(cursor: &str, list: &str) -> Result<String, TaskError> {
    let text = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| TaskError::BadCursor)?;
    let cursor: Cursor = serde_json::from_slice(&text).map_err(|_| TaskError::BadCursor)?;
    if cursor.l == list { Ok(cursor.a) } else { Err(TaskError::BadCursor) }
}
