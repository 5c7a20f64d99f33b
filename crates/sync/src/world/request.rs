//! Requests to Graph and what became of them; the lists of plans, and what they change.

use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use serde_json::Value as Json;

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
    /// The users of one name: `GET /users` by principal name, mail address or display name.
    FindUsers {
        /// A name as documents write it.
        name: String,
    },
    /// `POST /planner/tasks`
    CreateTask {
        /// The task.
        body: Json,
        /// The body holds what only Graph's beta takes.
        beta: bool,
        /// It must not be sent later than this, ms: whoever sends it looks at the clock last, with nothing to wait for
        /// in between.
        not_after: i64,
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
        !matches!(self, Self::GetTask { .. } | Self::GetDetails { .. } | Self::FindUsers { .. })
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

/// Gives the further pages of a list their turn.
pub trait Turn: Sync {
    /// Waits until one more page may be asked for; `false` = not now, and the list stays incomplete.
    fn next_page(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// When a plan was listed, and when it is next. A successor goes on with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanSchedule {
    /// When its last list was begun, ms; 0 = never.
    pub begun_at: i64,
    /// When a list last showed a change, ms.
    pub changed_at: i64,
    /// When it is listed next, ms.
    pub next_at: i64,
    /// Sub-requests that its last complete list took.
    pub requests: u32,
    /// Lists in a row that were not complete although Graph answered.
    pub failures: u32,
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
