//! `GET /api/sync/explain/{id}`: what the sync knows of one task, and what it would do now and why.

use axum::{Json, extract::State};

use crate::{
    api::{ApiState, request::TaskId},
    error::{Problem, ProblemBody},
    planner::Explained,
};

/// What would the sync do about this task, and why?
///
/// The three versions of each field (agreed, document, Planner), writes of unknown outcome, the failure that stands,
/// and the engine's own decision on them. Nothing is carried out and Graph is not asked.
#[utoipa::path(get, path = "/api/sync/explain/{id}", tag = "sync", operation_id = "sync_explain",
    params(("id" = String, Path, example = "agent-task-1")),
    responses(
        (status = 200, description = "The task explained", body = Object, example = json!({
            "task_id": "agent-task-1", "planner_id": "01gzSlKkIUSUl6DF_EilrmQAKDhh", "document": "present",
            "expires": false, "stamp": "newest",
            "fields": [{"field": "title", "base": "Review plan", "local": "Review the plan", "remote": "Review plan",
                "changed": "local"}],
            "intents": [], "create": null, "failure": null,
            "absence": {"delete_message": false, "missed_sweeps": 0, "absent_lists": 0, "not_found_answers": 0},
            "views_age_s": [61], "waiting_ms": 80,
            "next": {"action": "update", "send": ["title"], "write": [],
                "why": ["The document has newer values than Planner: title."], "held_by": null},
            "schedule": {"due_at": "2026-11-25T10:15:30.2Z", "leased_until": null, "marks": 3, "restorable": false}
        })),
        (status = 404, description = "Nobody knows such a task", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 409, description = "What is remembered of it cannot be read", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 422, description = "No task can have this id", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn read(State(state): State<ApiState>, id: TaskId) -> Result<Json<Explained>, Problem> {
    Ok(Json(state.planner.explain(&id.0).await?))
}
