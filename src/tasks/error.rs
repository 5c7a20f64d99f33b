//! Why a task could not be read or written.

use annika_sync::lens::{DocumentError, FieldProblem};

use crate::store::StoreError;

/// Why a task could not be read or written. Nothing was changed unless the variant says that it is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// Redis failed; after a lost connection or a time-out a write may or may not have happened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was sent is no document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// What was sent breaks rules; each is named.
    #[error("the document breaks {} of the rules for tasks", .0.len())]
    Invalid(Vec<FieldProblem>),
    /// There is no such task.
    #[error("there is no task `{0}`")]
    NotFound(String),
    /// A task with this id exists already.
    #[error("the task `{0}` exists already; PUT replaces it, PATCH changes it")]
    Exists(String),
    /// The document is not in the state that the caller named.
    #[error("the task was changed since it was read, or does not match the condition; read it again")]
    PreconditionFailed,
    /// Others kept writing the same document.
    #[error("others are writing this task at the same moment; try again")]
    Contended,
    /// What stands in Redis under this task is no document.
    #[error("what is stored for the task `{id}` cannot be read ({error}); replace it with PUT or DELETE it")]
    Unreadable {
        /// The task.
        id: String,
        /// What is wrong with the stored text.
        error: DocumentError,
    },
    /// The idempotency key came before with another request.
    #[error("this Idempotency-Key was used before for another request; use a new one")]
    IdempotencyKeyReused,
    /// The cursor is none of ours, or belongs to another list.
    #[error("the cursor does not belong to this list; start without one")]
    BadCursor,
}

impl From<FieldProblem> for TaskError {
    fn from(problem: FieldProblem) -> Self {
        Self::Invalid(vec![problem])
    }
}
