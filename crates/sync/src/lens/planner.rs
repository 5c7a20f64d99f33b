//! Planner's JSON: what a task says, and the bodies of requests.
use super::Fields;
use serde_json::Value as Json;
/// What a `plannerTask` and, where they were read, its `plannerTaskDetails` say.
pub fn fields(_task: &Json, _details: Option<&Json>) -> Fields {
    todo!()
}
/// What Planner holds after these values were sent: whole days as 10:00 UTC, priority words as numbers.
pub fn stored(_fields: &Fields) -> Fields {
    todo!()
}
/// The body of `POST /planner/tasks`.
pub fn create_body(_fields: &Fields) -> Json {
    todo!()
}
/// The bodies of PATCH for the task and its details.
pub fn patch_bodies(_changes: &Fields, _remote: &Fields) -> (Option<Json>, Option<Json>) {
    todo!()
}
