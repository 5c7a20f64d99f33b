//! One task as the store knows it, and one step of it: what is read, and what is written all at once.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;

use super::OpenCreate;
use crate::{lens::Document, state::TaskState};

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
    /// How long ago the change was first marked, ms, as the store's clock has it; `None` = not marked.
    pub waited_ms: Option<i64>,
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
    /// What was noted about it from outside.
    pub notes: Notes,
    /// The task that Planner's id in the document's stamp belongs to, where that is another one.
    pub stamp_owner: Option<String>,
    /// Held tasks of our own application in any plan that no document claims (only read while a create is open).
    /// Whether this document may be the older one of the two, from before the store lost its memory.
    pub inheritance: Inheritance,
    /// What is kept of the document from when it was deleted, for a task that Planner shows alive again.
    pub tomb: Option<Vec<u8>>,
    /// Held tasks of our own application that no document claims (only read while a create is open).
    pub orphans: Vec<Json>,
    /// Object ids of users by the names in the document, folded, as far as they were looked up; `None` = the directory
    /// has no such user, or more than one.
    pub users: BTreeMap<String, Option<String>>,
    /// Tasks whose documents are items of this one.
    pub children: Vec<String>,
    /// The task of which this one is, or wants to be, an item.
    pub parent: Option<Parent>,
    /// The directory did not answer for some of them.
    pub users_unanswered: bool,
    /// Plans whose last two complete lists held no such task, with when the older of the two was begun, ms (only
    /// read while a create is open).
    pub clean_since: BTreeMap<String, i64>,
    /// All open creates (only read while this task has one).
    pub open_creates: Vec<OpenCreate>,
}

/// What others note about a task for its next step; a commit drops what it has dealt with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// A person wants a failed task to be tried again.
    pub retry: bool,
    /// Its deletion is held, or confirmed.
    pub guard: Option<GuardNote>,
    /// The task whose document was there before this one was imported, and wants its Planner task back.
    pub heir: Option<String>,
}

/// What a document with the stamp of another document's Planner task may claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inheritance {
    /// Nothing: it is a copy, and a new task.
    #[default]
    None,
    /// The Planner task: the other document was only imported, and its stamps are newer than this one's.
    Open,
    /// The other document was edited since it was imported: a person has to decide.
    Edited,
}

/// A Planner task that should go to another document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bequest {
    /// Planner's id.
    pub planner_id: String,
    /// The task that has it.
    pub owner: String,
    /// The task that should have it.
    pub heir: String,
}

/// What the guard against mass deletions says about one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardNote {
    /// Its deletion waits for a person.
    Held(Direction),
    /// A person has confirmed its deletion.
    Released(Direction),
}

impl GuardNote {
    /// The side that the deletion would happen on.
    pub fn direction(self) -> Direction {
        match self {
            Self::Held(direction) | Self::Released(direction) => direction,
        }
    }
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
    /// The pair of ids is new: the maps are written, unless the Planner task belongs to another document.
    pub newly_mapped: bool,
}

/// A task of which another document is an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// Annika's id.
    pub id: String,
    /// Its document.
    pub local: Local,
    /// What the engine remembers of it, read after the document.
    pub state: TaskState,
}

/// What the directory said about a name.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundUser {
    /// The name, folded.
    pub name: String,
    /// The one user of that name, as Graph sent it.
    pub user: Option<Json>,
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
        /// The operation (`create`, `move`, `update`, `import`, `restore`).
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
    /// Part of the document is in Redis alone: Planner cannot take it.
    LeftOut {
        /// The field.
        field: &'static str,
        /// Stable code.
        code: &'static str,
        /// What was left out.
        values: Vec<String>,
    },
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
    /// The task was made again in another plan: this Planner id, its old one, is nobody's document from now on, and
    /// not to be imported either.
    pub leaving: Option<String>,
    /// That old task is gone: the mapping that kept it from being imported ends.
    pub left: Option<Unmapped>,
    /// The document is there, or its absence is dealt with: missed sweeps and delete events are settled.
    pub clear_missed: bool,
    /// Planner showed the task, or its absence is dealt with: absent lists are settled.
    pub clear_absent: bool,
    /// Notes that are dealt with.
    pub settled: Notes,
    /// A create begins here: it must be on a replica before it is sent.
    pub durable: bool,
    /// Values came down: agents are told of the document.
    pub announce: Option<Announce>,
    /// The step holds only while there is no document.
    pub expect_absent: bool,
    /// What is kept of a task that was deleted in Planner, unless something is kept of it already.
    pub tomb: Option<Document>,
    /// The parent of which this document was an item when the claim began, or is none any more.
    pub left_parent: Option<String>,
    /// Other tasks that become due with it: the documents that are items of this one.
    pub marks: Vec<String>,
    /// What the directory said in this claim.
    pub found_users: Vec<FoundUser>,
    /// Planner's last copy of a task that ends here.
    pub last_copy: Option<Json>,
    /// The task goes on under another id: nothing is kept of this one.
    pub bequeathed: bool,
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
    /// Nothing is stored: the Planner task that the step maps belongs to another document.
    MappedElsewhere,
    /// Nothing is stored: somebody else has the task.
    LeaseLost,
    /// The store refused this step, or did not answer: the task is left to its lease.
    Failed,
}
