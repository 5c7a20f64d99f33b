//! `World`: everything the engine needs from outside, as one trait of semantic operations.
//!
//! Production puts Redis and Graph under it, simulation puts a model. The engine's futures suspend only
//! inside these calls. Each store call is one round trip, however many tasks it is about.

use std::{collections::BTreeMap, future::Future, time::Duration};

use serde_json::Value as Json;

use crate::{lens::Document, state::TaskState};

/// A store that could not answer. It says nothing about what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store did not answer: {message}")]
pub struct StoreError {
    /// Stable code (`redis_unavailable`, `redis_full`, …).
    pub code: &'static str,
    /// What it said.
    pub message: String,
}

/// A task that is ours to work on until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Annika's id of the task.
    pub id: String,
    /// Rises with every claim; the store refuses a commit with an older one.
    pub fence: u64,
}

/// What one call of [`World::claim`] gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The tasks, longest due first.
    pub claims: Vec<Claim>,
    /// How long until the next task is due, where none was left.
    pub next_in: Option<Duration>,
}

/// The document side of a task, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// There is no such key.
    Missing,
    /// The text of the document, and whether the key has a time to live.
    Present {
        /// The exact bytes.
        bytes: Vec<u8>,
        /// The key expires by itself.
        expires: bool,
    },
    /// The key holds something that is no document (a list, a hash …).
    Unreadable {
        /// Stable code.
        code: &'static str,
        /// What is there.
        message: String,
    },
}

/// Everything the store knows about a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Annika's id.
    pub id: String,
    /// The document.
    pub local: Local,
    /// What the engine remembered, default for a new task.
    pub state: TaskState,
    /// Planner's copy as last seen by a list, where it is newer than what was merged.
    pub observed: Option<Json>,
    /// A list showed this ETag, even where the copy itself has expired from the cache.
    pub observed_etag: Option<String>,
    /// Marks so far; a commit that finishes compares it.
    pub hint: u64,
    /// An agent said that it deleted the task.
    pub delete_event: bool,
    /// Sweeps in a row that did not find the document.
    pub missed_sweeps: u32,
    /// Complete lists of its plan in a row that did not show it.
    pub absent_lists: u32,
    /// The rotation found its details at another ETag.
    pub recheck_details: bool,
    /// The task that Planner's id in the document's stamp belongs to, where that is another one.
    pub stamp_owner: Option<String>,
    /// Held tasks of our own application that no document claims (only read while a create is open).
    pub orphans: Vec<Json>,
    /// All open creates (only read while this task has one).
    pub open_creates: Vec<OpenCreate>,
}

/// The document write of a commit: a compare-and-set on exact bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalWrite {
    /// What must be there; `None` = nothing.
    pub expected: Option<Vec<u8>>,
    /// What is there afterwards; `None` = nothing. A time to live stays.
    pub new: Option<Document>,
}

/// Planner's copy for the caches and the maps.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteCopy {
    /// Planner's id.
    pub planner_id: String,
    /// Its plan.
    pub plan: Option<String>,
    /// ETag of the task.
    pub etag: String,
    /// ETag of the details, where known.
    pub details_etag: Option<String>,
    /// The task as Graph sent it, with `details` inside where they were read.
    pub json: Option<Json>,
    /// The plan it was in before, where it is another one: that plan's list is no longer expected to show it.
    pub left: Option<String>,
    /// The pair of ids is new: the maps are written.
    pub newly_mapped: bool,
}

/// A mapping that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped {
    /// Planner's id.
    pub planner_id: String,
    /// The plan it was in, where known.
    pub plan: Option<String>,
}

/// What agents are told of a document that the engine wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// It is new.
    Created,
    /// Values of it changed.
    Updated,
    /// It is gone.
    Deleted,
}

impl Announce {
    /// The word in published messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// Which way values went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From Redis to Planner.
    Up,
    /// From Planner to Redis.
    Down,
}

impl Direction {
    /// The word in published messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What a commit tells the outside; the store turns each into its published form and log entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Both sides agree after values went one way.
    Synced {
        /// Which way.
        direction: Direction,
        /// The operation (`create`, `update`, `import`, `restore`).
        op: &'static str,
        /// Names of the fields that went.
        fields: Vec<&'static str>,
        /// Graph sub-requests it took.
        requests: u32,
        /// Milliseconds from claim to commit.
        ms: i64,
    },
    /// Both sides had changed a field.
    Conflict {
        /// The field.
        field: &'static str,
        /// The value that stands.
        kept: Json,
        /// The value that does not.
        lost: Json,
        /// Which side's value was lost (`agent`, `planner`).
        loser: &'static str,
    },
    /// The task is gone on both sides.
    Deleted {
        /// Where the deletion came from.
        direction: Direction,
    },
    /// A deletion that was overruled by an edit.
    Restored,
    /// The task waits for a person or an agent.
    Failed {
        /// Stable code.
        code: String,
        /// What happened and what to do.
        message: String,
    },
}

/// What happens to the task's place in the due-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Still being worked on; the lease stays.
    Hold,
    /// Finished, unless a mark came since the snapshot with this hint.
    Done {
        /// The snapshot's hint.
        hint: u64,
    },
    /// To be looked at again after this long, or at a mark before that.
    After(Duration),
}

/// One atomic step of one task. The store applies all of it, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Annika's id.
    pub id: String,
    /// The claim's fence.
    pub fence: u64,
    /// The snapshot's hint.
    pub hint: u64,
    /// A create was open when the claim began, or was begun in it.
    pub had_create: bool,
    /// The state from now on; `None` = forget the task.
    pub state: Option<TaskState>,
    /// The document write, where there is one.
    pub write: Option<LocalWrite>,
    /// The document's text from now on; for the indexes.
    pub document: Option<Document>,
    /// Planner's copy, where it moved. Writes the mapping too.
    pub remote: Option<RemoteCopy>,
    /// The mapping that ends here.
    pub unmap: Option<Unmapped>,
    /// The document is there, or its absence is dealt with: missed sweeps and delete events are settled.
    pub clear_missed: bool,
    /// Planner showed the task, or its absence is dealt with: absent lists are settled.
    pub clear_absent: bool,
    /// A create begins here: it must be on a replica before it is sent.
    pub durable: bool,
    /// Values came down: agents are told of the document.
    pub announce: Option<Announce>,
    /// The step holds only while there is no document.
    pub expect_absent: bool,
    /// What is kept of a task that was deleted in Planner, unless something is kept of it already.
    pub tomb: Option<Document>,
    /// What is said to the outside.
    pub events: Vec<Event>,
    /// What becomes of the claim.
    pub next: Next,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// All of it is stored.
    Stored,
    /// Stored, but a mark came meanwhile: the task is due again.
    StoredDueAgain,
    /// Nothing is stored: the document is not what was expected.
    LocalChanged,
    /// Nothing is stored: somebody else has the task.
    LeaseLost,
    /// The store refused this step, or did not answer: the task is left to its lease.
    Failed,
}

/// A request to Graph, one resource each.
#[derive(Clone, Debug, PartialEq)]
pub enum GraphRequest {
    /// `GET /planner/tasks/{id}`
    GetTask {
        /// Planner's id.
        planner_id: String,
    },
    /// `GET /planner/tasks/{id}/details`
    GetDetails {
        /// Planner's id.
        planner_id: String,
    },
    /// `POST /planner/tasks`
    CreateTask {
        /// The task.
        body: Json,
    },
    /// `PATCH /planner/tasks/{id}`
    PatchTask {
        /// Planner's id.
        planner_id: String,
        /// ETag of the copy that was merged.
        etag: String,
        /// Only what changes.
        body: Json,
    },
    /// `PATCH /planner/tasks/{id}/details`
    PatchDetails {
        /// Planner's id.
        planner_id: String,
        /// ETag of the details that were merged.
        etag: String,
        /// Only what changes.
        body: Json,
    },
    /// `DELETE /planner/tasks/{id}`
    DeleteTask {
        /// Planner's id.
        planner_id: String,
        /// ETag of the copy that was merged.
        etag: String,
    },
}

impl GraphRequest {
    /// Whether it changes anything at Graph.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::GetTask { .. } | Self::GetDetails { .. })
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum GraphOutcome {
    /// Graph answered.
    Answer {
        /// HTTP status.
        status: u16,
        /// The body, where it was JSON.
        body: Option<Json>,
        /// How long Graph asked to wait.
        retry_after: Option<Duration>,
    },
    /// It may or may not have been done.
    Unknown {
        /// What was seen.
        reason: String,
    },
    /// It was surely not done.
    NotSent {
        /// Why.
        reason: String,
    },
}

/// The list of one plan's tasks.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanList {
    /// Every page of it, and when it was begun.
    Complete {
        /// The tasks as Graph sent them.
        tasks: Vec<Json>,
        /// When the first page was asked for, ms.
        begun_at: i64,
    },
    /// Graph refused the list itself.
    Refused {
        /// HTTP status.
        status: u16,
        /// How long Graph asked to wait.
        retry_after: Option<Duration>,
    },
    /// Cut short, repeated or unanswered: no information.
    Incomplete {
        /// What was seen.
        reason: String,
        /// Graph answered, only not with a whole list.
        answered: bool,
        /// How long Graph asked to wait.
        retry_after: Option<Duration>,
    },
}

/// What is remembered of a plan's last complete list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPlan {
    /// Planner id to ETag.
    pub etags: BTreeMap<String, String>,
    /// Planner ids that were known and not listed, with how often in a row.
    pub missing: BTreeMap<String, u32>,
    /// Where the rotation over the details stands.
    pub details_cursor: String,
}

/// What a complete list changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// The plan.
    pub plan: String,
    /// When its list was begun, ms.
    pub begun_at: i64,
    /// Tasks whose ETag is new, or that were not listed before.
    pub changed: Vec<Json>,
    /// Known tasks that the list did not show, with how often in a row.
    pub missing: BTreeMap<String, u32>,
    /// Known tasks that another plan's list shows: they left this plan, and are no longer expected in its list.
    pub moved: Vec<String>,
    /// Tasks that are listed again.
    pub reappeared: Vec<String>,
    /// Tasks of our own application that may belong to an open create: not imported now.
    pub held: Vec<Json>,
    /// Tasks in the list.
    pub total: usize,
}

/// The details of a task as the rotation saw them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenDetails {
    /// Planner's id.
    pub planner_id: String,
    /// Their ETag.
    pub etag: String,
    /// They hold neither text nor checklist.
    pub empty: bool,
}

/// One page of the sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepPage {
    /// Known tasks whose document is not the one that was worked off.
    pub changed: Vec<String>,
    /// Known tasks whose key is gone.
    pub missing: Vec<String>,
    /// Documents looked at.
    pub read: usize,
    /// Where to go on; `None` = that was all.
    pub next: Option<String>,
}

/// One slice of the discovery of keys that nobody announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Ids that are not known.
    pub ids: Vec<String>,
    /// Where to go on; `None` = that was all.
    pub next: Option<String>,
}

/// An open create, for the rule that holds back unexplained tasks of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCreate {
    /// Annika's id.
    pub id: String,
    /// The plan it was sent to.
    pub plan: String,
    /// When, ms.
    pub sent_at: i64,
    /// The title that was sent.
    pub title: String,
}

/// Which plans are synced, and where a task goes that names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plans {
    /// The ids, in the order of the settings.
    pub synced: Vec<String>,
    /// For documents that name no plan.
    pub default: Option<String>,
    /// The plans of some group are not known yet: a plan that is not among these may still be synced.
    pub unread: bool,
    /// What is wrong with the settings or the groups they name; empty = nothing.
    pub problems: Vec<String>,
}

/// What other processes want the engine to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Until when all of our processes leave Graph alone, ms.
    pub paused_until: i64,
    /// Somebody asked for a poll; the store forgets it when it is read.
    pub poll_wanted: bool,
}

/// Results of store calls.
pub type Stored<T> = Result<T, StoreError>;

/// What the engine reports after each round, for health and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Counters since the process began, by name.
    pub counters: BTreeMap<&'static str, u64>,
    /// When the last complete poll of every plan ended, ms.
    pub last_poll: Option<i64>,
    /// When the last whole sweep ended, ms.
    pub last_sweep: Option<i64>,
    /// Graph has not answered since, ms.
    pub graph_down_since: Option<i64>,
    /// Plans that are synced.
    pub plans: usize,
    /// Plans whose list was refused, with the status.
    pub refused_plans: BTreeMap<String, u16>,
    /// Problems with the settings.
    pub problems: Vec<String>,
}

/// Everything from outside.
pub trait World: Send + Sync {
    /// Milliseconds since 1970. Compared only with what this process read before, and with Graph's creation times.
    fn now_ms(&self) -> i64;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
    /// Completes when this process heard of a mark since the last call.
    fn marked(&self) -> impl Future<Output = ()> + Send;

    /// Takes or renews the engine's lease. `false` = another process has it.
    fn hold_lease(&self, length: Duration) -> impl Future<Output = Stored<bool>> + Send;
    /// Gives the engine's lease back.
    fn release_lease(&self) -> impl Future<Output = Stored<()>> + Send;

    /// Makes tasks due after `delay`.
    fn mark(&self, ids: &[String], delay: Duration) -> impl Future<Output = Stored<()>> + Send;
    /// Counts one sweep that did not find these documents, and makes them due.
    fn mark_missing(&self, ids: &[String]) -> impl Future<Output = Stored<()>> + Send;
    /// Turns what others pushed to `annika:sync:pending` into marks; says how many.
    fn ingest_pending(&self) -> impl Future<Output = Stored<usize>> + Send;
    /// Takes up to `limit` due tasks for `lease`.
    fn claim(&self, limit: usize, lease: Duration) -> impl Future<Output = Stored<Claimed>> + Send;
    /// Reads tasks, in any order. One that cannot be read is left out, and to its lease.
    fn load(&self, ids: &[String]) -> impl Future<Output = Stored<Vec<Snapshot>>> + Send;
    /// Stores steps; each is atomic, they are independent.
    fn commit(&self, commits: Vec<Commit>) -> impl Future<Output = Stored<Vec<CommitResult>>> + Send;

    /// Compares one page of known tasks with their documents.
    fn sweep_page(&self, cursor: Option<String>) -> impl Future<Output = Stored<SweepPage>> + Send;
    /// Looks for documents that are not known.
    fn discover(&self, cursor: Option<String>) -> impl Future<Output = Stored<Discovered>> + Send;

    /// Which plans are synced now. With `ask`, Graph is asked for the plans of groups where that is due.
    fn plans(&self, ask: bool) -> impl Future<Output = Stored<Plans>> + Send;
    /// Lists the tasks of plans; first pages share a batch. Also says how many sub-requests it took.
    fn list(&self, plans: &[String]) -> impl Future<Output = (Vec<PlanList>, u32)> + Send;
    /// What is remembered of a plan.
    fn known(&self, plan: &str) -> impl Future<Output = Stored<KnownPlan>> + Send;
    /// Creates that were begun and whose outcome is not stored.
    fn open_creates(&self) -> impl Future<Output = Stored<Vec<OpenCreate>>> + Send;
    /// Stores what a complete list showed and marks what changed; a commit's newer ETag wins.
    fn observe(&self, observation: Observation) -> impl Future<Output = Stored<()>> + Send;
    /// Marks the tasks whose stored details ETag is another one, or that have none stored and details with content.
    fn recheck_details(&self, seen: &[SeenDetails]) -> impl Future<Output = Stored<()>> + Send;

    /// Remembers how far the rotation over a plan's details came.
    fn rotated(&self, plan: &str, cursor: &str) -> impl Future<Output = Stored<()>> + Send;

    /// Sends up to 20 requests in one HTTP request. The outcomes are in the order of the requests.
    fn graph(&self, requests: Vec<GraphRequest>) -> impl Future<Output = Vec<GraphOutcome>> + Send;
    /// Id of our own application at Entra, where it is known.
    fn application_id(&self) -> Option<String>;
    /// What other processes want this one to know.
    fn signals(&self) -> impl Future<Output = Stored<Signals>> + Send;
    /// Makes all of our processes leave Graph alone until then, ms.
    fn pause_until(&self, until: i64) -> impl Future<Output = Stored<()>> + Send;

    /// Publishes health.
    fn report(&self, report: &Report) -> impl Future<Output = Stored<()>> + Send;
}
