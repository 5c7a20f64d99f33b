//! `POST /api/sync/erase-person`: everything about one person leaves Redis.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ApiState, request::ReadJson};
use crate::{
    erasure::{Report, Request},
    error::{Problem, ProblemBody},
};

/// Who is erased.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"person": "alexw@contoso.com"}))]
pub(super) struct ErasePerson {
    /// Object id, user principal name or mail address.
    person: String,
    /// Unassign them in Planner too; without it nothing changes there.
    #[serde(default)]
    in_planner: bool,
    /// Where an earlier call stopped, as its `cursor` said.
    #[serde(default)]
    cursor: Option<u64>,
}

/// Erase a person.
///
/// Takes them out of documents, what the sync agreed on, caches, lists and logs, and removes their tokens. One call
/// walks over the keys for 20 seconds at most: while `complete` is false, call again with its `cursor`. A call that is
/// repeated changes nothing. Titles and descriptions that mention them are Planner's too: they are named, not changed.
#[utoipa::path(post, path = "/api/sync/erase-person", tag = "sync", operation_id = "sync_erase_person",
    request_body = ErasePerson,
    responses(
        (status = 200, description = "What was erased", body = Object, example = json!({
            "erased": {(crate::keys::TASK.pattern): 3, (crate::keys::SYNC_STATE.pattern): 3, (crate::keys::GRAPH_USER.pattern): 1},
            "mentioned_in": ["agent-task-1"], "busy": [], "identifiers": 4, "found_in_directory": true,
            "complete": true, "cursor": null})),
        (status = 400, description = "No JSON", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 409, description = "100,000 people were erased before", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 422, description = "That is nobody's name", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer or is full", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(super) async fn erase(
    State(state): State<ApiState>,
    body: ReadJson<ErasePerson>,
) -> Result<Json<Report>, Problem> {
    let ErasePerson { person, in_planner, cursor } = body.0;
    Ok(Json(state.erasure.erase(&Request { person, in_planner, cursor }).await?))
}
