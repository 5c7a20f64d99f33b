//! From a task document to its canonical fields.
use super::{Document, DocumentError, Field, Fields, Value};
/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// The canonical values. A missing field is one that the document says nothing about.
    pub fields: Fields,
    /// Values that lost against another spelling of the same field that changed too: field, member, value.
    pub losers: Vec<(Field, String, Value)>,
    /// What cannot be expressed in Planner and stays as it is: names that are no user ids, unknown priority words.
    pub unresolved: Vec<(Field, String)>,
    /// Fields whose members contradict each other. Render the agreed value and store the document even if nothing
    /// else changed, or the stale member looks like an edit the next time.
    pub disagreeing: Vec<Field>,
}
/// wip
pub fn project(_doc: &Document, _base: Option<&Fields>) -> Result<Projection, DocumentError> {
    todo!()
}
