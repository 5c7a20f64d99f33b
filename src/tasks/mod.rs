//! Tasks as agents see them: JSON documents in Redis, written by one script that also tells the sync and everybody else.
//!
//! A document's text stays what its writer sent. Documents are merged here, never in a script; a script only
//! compares the exact bytes that were read. The sync engine adds `_sync` to a document at any moment, so a
//! comparison that fails for that reason alone is made again.

mod error;
mod index;
mod list;
mod read;
mod write;

use annika_sync::lens::{self, Document, FieldProblem};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{clock::SharedRng, keys, store::Store};

pub use error::TaskError;
pub(crate) use index::completed_index;
pub use index::index_entries;
pub use list::{Filter, LARGEST_PAGE, Page, USUAL_PAGE};
pub use read::Mapping;
pub(crate) use read::{bounded_get, texts};
pub(crate) use write::replace_exactly;
use write::{Answer, Expectation, Written};
pub use write::{WRITE, pending_entry};

/// How often a change is merged again before the caller is told that others write too.
const MOST_ATTEMPTS: usize = 8;

/// What a caller demands of the stored document (RFC 9110 §13). ETags are compared with their quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// `If-Match: *`: there is one.
    Exists,
    /// `If-Match`: it has one of these ETags.
    Matches(Vec<String>),
    /// `If-None-Match: *`: there is none.
    Absent,
}

impl Precondition {
    fn check(&self, current: &Document) -> Result<(), TaskError> {
        let holds = match self {
            Self::None | Self::Exists => true,
            Self::Matches(etags) => etags.contains(&current.etag()),
            Self::Absent => false,
        };
        if holds { Ok(()) } else { Err(TaskError::PreconditionFailed) }
    }
}

/// A document as it stands after a write.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// The document.
    pub document: Document,
    /// Whether it was not there before.
    pub created: bool,
    /// Whether this is the answer to an earlier, identical call.
    pub replayed: bool,
}

/// The task documents.
#[derive(Debug)]
pub struct Tasks {
    store: Store,
    rng: SharedRng,
}

/// What is kept under an idempotency key.
#[derive(Debug, Serialize, Deserialize)]
struct EarlierCall {
    request: String,
    task_id: String,
    task: Box<RawValue>,
}

impl Tasks {
    /// The tasks in this store; `rng` makes the ids of documents that come without one.
    pub fn new(store: Store, rng: SharedRng) -> Self {
        Self { store, rng }
    }

    /// Reads a task.
    ///
    /// # Errors
    /// [`TaskError::Invalid`] for an impossible id, [`TaskError::NotFound`], [`TaskError::Unreadable`], [`TaskError::Store`].
    pub async fn get(&self, id: &str) -> Result<Document, TaskError> {
        lens::valid_id(id)?;
        parse_stored(id, &self.text(id).await?)
    }

    /// Stores a new task. Without an `id` in the document it gets one.
    ///
    /// `repeat_key` names the call: a second one with the same key and the same bytes changes nothing and gets
    /// the first one's answer, for a day.
    ///
    /// # Errors
    /// [`TaskError`]; `Exists` if the id is taken.
    pub async fn create(&self, bytes: &[u8], repeat_key: Option<&str>) -> Result<Stored, TaskError> {
        let mut document = Document::parse(bytes)?;
        if document.get("id").is_none() {
            document.set("id", &format!("agent-task-{}", self.rng.uuid()).into());
        }
        let id = own_id(&document)?;
        check(&document, &id)?;
        // Only a call that may be repeated needs to be known again.
        let request = repeat_key.map(|_| URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))).unwrap_or_default();
        let answer = repeat_key.map(|key| answer(key, &request, &id, &document)).transpose()?;
        match write::put(&self.store, &id, &document, Expectation::Absent, answer.as_ref()).await? {
            Written::Created => Ok(Stored { id, document, created: true, replayed: false }),
            Written::Conflict(_) => Err(TaskError::Exists(id)),
            Written::Replay(earlier) => replay(&earlier, &request),
            Written::Updated | Written::Deleted | Written::Absent { .. } => Err(unexpected()),
        }
    }

    /// Stores a task as it was sent, whether it was there before or not.
    ///
    /// A caller that names the ETag has seen the current values, so the sync's stamp is carried over if it was
    /// left out.
    ///
    /// # Errors
    /// [`TaskError`]; `PreconditionFailed` if the condition does not hold.
    pub async fn replace(
        &self,
        id: &str,
        bytes: &[u8],
        precondition: &Precondition,
    ) -> Result<Stored, TaskError> {
        lens::valid_id(id)?;
        let mut document = Document::parse(bytes)?;
        if document.get("id").is_none() {
            document.set("id", &id.into());
        }
        check(&document, id)?;
        let stored = |document, created| Stored { id: id.to_owned(), document, created, replayed: false };
        let unconditional = match precondition {
            Precondition::None => Some(Expectation::Any),
            Precondition::Absent => Some(Expectation::Absent),
            Precondition::Exists | Precondition::Matches(_) => None,
        };
        if let Some(expectation) = unconditional {
            return match write::put(&self.store, id, &document, expectation, None).await? {
                Written::Created => Ok(stored(document, true)),
                Written::Updated => Ok(stored(document, false)),
                Written::Conflict(_) => Err(TaskError::PreconditionFailed),
                Written::Deleted | Written::Absent { .. } | Written::Replay(_) => Err(unexpected()),
            };
        }
        let merge = |current: &Document| {
            precondition.check(current)?;
            Ok(match (document.sync_stamp(), current.sync_stamp()) {
                (None, Some(stamp)) => document.with_stamp(&stamp),
                _ => document.clone(),
            })
        };
        match self.change(id, merge).await {
            Ok(document) => Ok(stored(document, false)),
            Err(TaskError::NotFound(_)) => Err(TaskError::PreconditionFailed),
            Err(error) => Err(error),
        }
    }

    /// Changes members of a task by a JSON merge patch (RFC 7396). `_sync` in the patch is ignored.
    ///
    /// # Errors
    /// [`TaskError`]; the rules are checked on the result.
    pub async fn patch(
        &self,
        id: &str,
        patch: &[u8],
        precondition: &Precondition,
    ) -> Result<Document, TaskError> {
        lens::valid_id(id)?;
        let patch = Document::parse(patch)?.without_stamp().bytes();
        self.change(id, |current| {
            precondition.check(current)?;
            let mut merged = current.merge_patch(&patch)?;
            if merged.get("id").is_none() {
                merged.set("id", &id.into());
            }
            check(&merged, id)?;
            Ok(merged)
        })
        .await
    }

    /// Deletes a task; its last text is kept for 30 days. Deleting it again changes nothing and is no error.
    ///
    /// # Errors
    /// [`TaskError::NotFound`] if there never was one within those 30 days.
    pub async fn delete(&self, id: &str, precondition: &Precondition) -> Result<(), TaskError> {
        lens::valid_id(id)?;
        let mut current = read::text(&self.store, keys::task(id)).await?;
        for _ in 0..MOST_ATTEMPTS {
            // What cannot be read can still be deleted; the messages then carry no document.
            let document = current.as_deref().map(Document::parse);
            if let (Some(document), true) = (&document, *precondition != Precondition::None) {
                precondition.check(document.as_ref().map_err(|error| unreadable(id, error))?)?;
            }
            let last_text = match (&document, &current) {
                (Some(Ok(_)), Some(text)) => text.as_slice(),
                _ => b"null",
            };
            let expectation = current.as_deref().map_or(Expectation::Absent, Expectation::Exact);
            match write::delete(&self.store, id, expectation, last_text).await? {
                Written::Deleted | Written::Absent { deleted_before: true } => return Ok(()),
                Written::Absent { deleted_before: false } => return Err(TaskError::NotFound(id.to_owned())),
                Written::Conflict(now) => current = now,
                Written::Created | Written::Updated | Written::Replay(_) => return Err(unexpected()),
            }
        }
        Err(TaskError::Contended)
    }

    /// One page of a list; `limit` is kept within 1 and [`LARGEST_PAGE`].
    ///
    /// # Errors
    /// [`TaskError::BadCursor`], [`TaskError::Store`].
    pub async fn list(&self, filter: &Filter, cursor: Option<&str>, limit: usize) -> Result<Page, TaskError> {
        list::page(&self.store, filter, cursor, limit).await
    }

    /// Which Planner task a task is, if it is one.
    ///
    /// # Errors
    /// [`TaskError::Store`]; also for a mapping that cannot be read.
    pub async fn mapping(&self, id: &str) -> Result<Option<Mapping>, TaskError> {
        lens::valid_id(id)?;
        Ok(read::mapping(&self.store, id).await?)
    }

    async fn text(&self, id: &str) -> Result<Vec<u8>, TaskError> {
        let text = read::text(&self.store, keys::task(id)).await?;
        text.ok_or_else(|| TaskError::NotFound(id.to_owned()))
    }

    /// Reads, merges and stores if nothing moved in between; else again, on what stands there now.
    async fn change(
        &self,
        id: &str,
        merge: impl Fn(&Document) -> Result<Document, TaskError>,
    ) -> Result<Document, TaskError> {
        let mut text = self.text(id).await?;
        for _ in 0..MOST_ATTEMPTS {
            let merged = merge(&parse_stored(id, &text)?)?;
            if merged.bytes() == text {
                return Ok(merged);
            }
            match write::put(&self.store, id, &merged, Expectation::Exact(&text), None).await? {
                Written::Updated => return Ok(merged),
                Written::Conflict(Some(now)) => text = now,
                Written::Conflict(None) => return Err(TaskError::NotFound(id.to_owned())),
                _ => return Err(unexpected()),
            }
        }
        Err(TaskError::Contended)
    }
}

fn unexpected() -> TaskError {
    TaskError::Store(crate::store::StoreError::other(
        "the write script gave an answer that does not fit the call",
    ))
}

fn unreadable(id: &str, error: &lens::DocumentError) -> TaskError {
    TaskError::Unreadable { id: id.to_owned(), error: error.clone() }
}

fn parse_stored(id: &str, text: &[u8]) -> Result<Document, TaskError> {
    Document::parse(text).map_err(|error| unreadable(id, &error))
}

/// The document's own id.
fn own_id(document: &Document) -> Result<String, TaskError> {
    let text = document.get("id").map(RawValue::get).unwrap_or_default();
    let id = serde_json::from_str::<String>(text).map_err(|_| id_problem("type", "must be a string"))?;
    Ok(id)
}

fn check(document: &Document, id: &str) -> Result<(), TaskError> {
    let own = own_id(document)?;
    if own != id {
        return Err(id_problem("match", "must be the id in the address"));
    }
    lens::valid_id(&own)?;
    lens::validate(document).map_err(TaskError::Invalid)
}

fn id_problem(rule: &str, message: &str) -> TaskError {
    let problem = FieldProblem { field: "id".to_owned(), rule: rule.to_owned(), message: message.to_owned() };
    TaskError::Invalid(vec![problem])
}

fn answer(key: &str, request: &str, id: &str, document: &Document) -> Result<Answer, TaskError> {
    let task = serde_json::from_slice::<Box<RawValue>>(&document.bytes()).map_err(|_| unexpected())?;
    let earlier = EarlierCall { request: request.to_owned(), task_id: id.to_owned(), task };
    let text = serde_json::to_vec(&earlier).map_err(|_| unexpected())?;
    Ok(Answer { hash: URL_SAFE_NO_PAD.encode(Sha256::digest(key.as_bytes())), text })
}

fn replay(earlier: &[u8], request: &str) -> Result<Stored, TaskError> {
    let earlier: EarlierCall = serde_json::from_slice(earlier).map_err(|_| unexpected())?;
    if earlier.request != request {
        return Err(TaskError::IdempotencyKeyReused);
    }
    let document = Document::parse(earlier.task.get().as_bytes())?;
    Ok(Stored { id: earlier.task_id, document, created: true, replayed: true })
}
