//! The sync as an operator sees it: an overview, metrics, what failed and what was lost, and one task explained.
//!
//! Everything here is read from Redis, so it is the same from every process; nothing here changes anything.

mod metrics;
mod overview;
mod rebuild;
mod records;
mod task;

pub use overview::{Backlog, Guard, Overview, PlanView};
pub use rebuild::{RebuildPhase, RebuildState};
pub use records::{Record, Records};
pub use task::{Explained, Schedule};

use crate::store::StoreError;

/// Why a question cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cursor is none of ours.
    #[error("the cursor is not one that this list has given")]
    BadCursor,
    /// No task can have this id.
    #[error("{} {}", .0.field, .0.message)]
    BadId(annika_sync::lens::FieldProblem),
    /// Neither a document nor any state has this id.
    #[error("neither a document nor the sync knows a task `{0}`")]
    UnknownTask(String),
    /// What is remembered of the task cannot be read.
    #[error("what the sync remembers of `{0}` cannot be read; the log line state_unreadable says why")]
    Unreadable(String),
}
