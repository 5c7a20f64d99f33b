//! `/api/sync/…`: what operators see of the sync, and what they ask of it.

pub(super) mod actions;
pub(super) mod explain;
pub(super) mod records;
pub(crate) mod status;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use crate::error::{Problem, ProblemBody};

/// A poll was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "accepted", "engine": "this process"}))]
pub(super) struct Accepted {
    /// Always `accepted`.
    status: &'static str,
    /// Where the engine runs that will do it: `this process`, or `elsewhere`.
    engine: &'static str,
}

/// Poll Planner now.
///
/// Asks for a list of every synced plan at once, and answers without waiting for it.
#[utoipa::path(post, path = "/api/sync/poll", tag = "sync", operation_id = "planner_poll_now",
    responses(
        (status = 202, description = "It will be done", body = Accepted),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(super) async fn poll_now(State(state): State<ApiState>) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let here = state.planner.poll_now().await?;
    let engine = if here { "this process" } else { "elsewhere" };
    Ok((StatusCode::ACCEPTED, Json(Accepted { status: "accepted", engine })))
}
