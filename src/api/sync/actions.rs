//! What operators ask of the sync: try again, bring back, confirm deletions, build its memory anew.

use annika_sync::world::Direction;
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{
        ApiState,
        request::{ReadJson, TaskId},
    },
    error::{Problem, ProblemBody},
    planner::{Restored, Retry},
};

/// The most tasks in one call.
const MOST_TASKS: usize = 1_000;

/// Which failed tasks are tried again: `all`, or `task_ids`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"task_ids": ["agent-task-1"]}))]
pub(crate) struct RetryBody {
    /// Every task in the failed list.
    all: bool,
    /// These, at most 1,000.
    task_ids: Vec<String>,
}

/// How many tasks a call was about.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"tasks": 1}))]
pub(crate) struct Tasks {
    /// How many.
    tasks: u64,
}

/// Try failed tasks again.
///
/// They are worked on as if their documents had changed; what is still wrong puts them back into the list.
#[utoipa::path(post, path = "/api/sync/failed/retry", tag = "sync", operation_id = "sync_failed_retry",
    request_body = RetryBody,
    responses(
        (status = 202, description = "They will be tried", body = Tasks),
        (status = 400, description = "No JSON", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 422, description = "Neither `all` nor `task_ids`, or both", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer or is full", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn retry(
    State(state): State<ApiState>,
    body: ReadJson<RetryBody>,
) -> Result<(StatusCode, Json<Tasks>), Problem> {
    let RetryBody { all, task_ids } = body.0;
    if all != task_ids.is_empty() {
        return Err(Problem::invalid_field("task_ids", "one_of", "give `task_ids`, or `all: true`"));
    }
    if task_ids.len() > MOST_TASKS {
        return Err(Problem::invalid_field("task_ids", "length", "must have at most 1,000 ids"));
    }
    let which = if all { Retry::All } else { Retry::Tasks(&task_ids) };
    let tasks = state.planner.retry_failed(which).await?;
    Ok((StatusCode::ACCEPTED, Json(Tasks { tasks })))
}

/// What is done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// What has become of it.
    status: &'static str,
}

/// Build the sync's memory anew.
///
/// For a Redis that lost keys. Documents claim their Planner tasks again, and until two complete rounds of lists are
/// read nothing is deleted on either side. Nothing is lost by it; it takes some minutes of reading. `GET
/// /api/sync/status` shows how far it has come.
#[utoipa::path(post, path = "/api/sync/rebuild", tag = "sync", operation_id = "sync_rebuild",
    responses(
        (status = 202, description = "It begins within seconds where an engine runs", body = Done, example = json!({"status": "accepted"})),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn rebuild(State(state): State<ApiState>) -> Result<(StatusCode, Json<Done>), Problem> {
    state.planner.rebuild().await?;
    Ok((StatusCode::ACCEPTED, Json(Done { status: "accepted" })))
}

/// Bring a deleted task back.
///
/// Its document is written as it was, and the task is made in Planner again. A second call changes nothing.
#[utoipa::path(post, path = "/api/sync/restore/{id}", tag = "sync", operation_id = "sync_restore",
    params(("id" = String, Path, example = "agent-task-1")),
    responses(
        (status = 200, description = "`restored`, or `already_there`", body = Done, example = json!({"status": "restored"})),
        (status = 404, description = "Nothing is kept under this id", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer or is full", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn restore(State(state): State<ApiState>, id: TaskId) -> Result<Json<Done>, Problem> {
    match state.planner.restore(&id.0).await? {
        Restored::Restored => Ok(Json(Done { status: "restored" })),
        Restored::AlreadyThere => Ok(Json(Done { status: "already_there" })),
        Restored::Unknown => {
            let detail = "nothing is kept of such a task: it was never deleted, or more than 30 days ago";
            Err(Problem::new(StatusCode::NOT_FOUND, "tomb_not_found", detail))
        }
    }
}

/// Whose deletions are confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// Deletions in Planner, of tasks whose documents vanished.
    Planner,
    /// Deletions of documents, of tasks that vanished from Planner.
    Redis,
}

/// Which held deletions are confirmed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"side": "planner"}))]
pub(crate) struct ReleaseBody {
    /// On which side tasks are to be deleted.
    side: Side,
}

/// Confirm the deletions that the guard holds.
///
/// Exactly those that are held at this moment; later ones are counted anew. They cannot be taken back by a call like
/// this one, but each deleted task can be restored for 30 days.
#[utoipa::path(post, path = "/api/sync/guard/release", tag = "sync", operation_id = "sync_guard_release",
    request_body = ReleaseBody,
    responses(
        (status = 202, description = "They will be deleted", body = Tasks),
        (status = 400, description = "No JSON", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 422, description = "No such side", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn release(
    State(state): State<ApiState>,
    body: ReadJson<ReleaseBody>,
) -> Result<(StatusCode, Json<Tasks>), Problem> {
    let direction = match body.0.side {
        Side::Planner => Direction::Up,
        Side::Redis => Direction::Down,
    };
    let tasks = state.planner.release(direction).await?;
    Ok((StatusCode::ACCEPTED, Json(Tasks { tasks })))
}
