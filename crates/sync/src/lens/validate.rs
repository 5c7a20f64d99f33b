//! The rules that the API holds documents to.
use super::{Document, FieldProblem, Fields};
/// wip
pub fn validate(_doc: &Document) -> Result<(), Vec<FieldProblem>> {
    todo!()
}
/// wip
pub fn valid_id(_id: &str) -> Result<(), FieldProblem> {
    todo!()
}
/// Planner answers 400 to a start after the due date.
pub fn dates_in_order(_fields: &Fields) -> Result<(), FieldProblem> {
    todo!()
}
