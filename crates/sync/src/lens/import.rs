//! A new document for a task that was made in Planner.
use super::Document;
/// wip
pub fn import(_annika_id: &str, _task: &serde_json::Value, _details: Option<&serde_json::Value>) -> Document {
    todo!()
}
