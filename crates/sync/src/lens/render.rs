//! From canonical fields back into a document.
use super::{Document, Fields};
/// wip
pub fn render(_doc: &Document, _target: &Fields) -> Document {
    todo!()
}
