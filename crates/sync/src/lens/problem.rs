//! What can be wrong with a task document, with stable codes.

use thiserror::Error;

/// One rule that one field of a document breaks; it becomes a field error of a 422 answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {message}")]
pub struct FieldProblem {
    /// The member as the document spells it, with a position for list items: `checklist_items[2].title`.
    pub field: String,
    /// The rule's stable name: `required`, `type`, `range`, `date`, `enum`, `order`, `id`.
    pub rule: String,
    /// What is expected, for a person. It never repeats the value.
    pub message: String,
}

impl FieldProblem {
    pub(crate) fn new(field: impl Into<String>, rule: &str, message: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.to_owned(), message: message.into() }
    }

    pub(crate) fn wrong_type(field: impl Into<String>, expected: &str) -> Self {
        Self::new(field, "type", format!("must be {expected}"))
    }
}

/// Why a text is no task document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// More than [`super::MAX_BYTES`] bytes.
    #[error("the document has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Bytes that came.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The bytes are not UTF-8.
    #[error("the document is not UTF-8 (at byte {0})")]
    InvalidUtf8(usize),
    /// The text is not JSON.
    #[error("the document is not JSON (line {line}, column {column})")]
    InvalidJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// The JSON is no object.
    #[error("a task document is a JSON object")]
    NotAnObject,
    /// One object has two members of one name, so readers would disagree about its value.
    #[error("the member `{0}` stands twice in one object")]
    DuplicateMember(String),
    /// Objects and lists are nested deeper than the limit.
    #[error("the document is nested deeper than {0} levels")]
    TooDeep(usize),
    /// A member that belongs to a task's fields cannot be read.
    #[error(transparent)]
    Field(#[from] FieldProblem),
}

impl DocumentError {
    /// The stable code for logs, `annika:sync:failed` and problem answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "document_too_large",
            Self::InvalidUtf8(_) => "document_not_utf8",
            Self::InvalidJson { .. } => "document_not_json",
            Self::NotAnObject => "document_not_object",
            Self::DuplicateMember(_) => "document_duplicate_member",
            Self::TooDeep(_) => "document_too_deep",
            Self::Field(_) => "document_invalid_field",
        }
    }
}
