//! What the sync wrote down, page by page: failed tasks, conflicts, the log.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        ApiState,
        request::{ReadQuery, page_size},
    },
    error::{Problem, ProblemBody},
    planner::{Record, Records},
};

const USUAL_PAGE: usize = 50;
const LARGEST_PAGE: usize = 200;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Where the page before ended, as its `cursor` said.
    cursor: Option<String>,
    /// Entries on a page, 1 to 200.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<String>,
}

impl PageQuery {
    fn read(self) -> Result<(Option<String>, usize), Problem> {
        let limit = page_size(self.limit, USUAL_PAGE, LARGEST_PAGE)?;
        Ok((self.cursor.filter(|cursor| !cursor.is_empty()), limit))
    }
}

/// A page of entries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordPage {
    /// The entries as they were written.
    #[schema(value_type = Vec<Object>)]
    entries: Vec<Record>,
    /// Ask for the next page with it; null after the last one.
    #[schema(required)]
    cursor: Option<String>,
}

impl From<Records> for RecordPage {
    fn from(page: Records) -> Self {
        Self { entries: page.entries, cursor: page.cursor }
    }
}

/// Which tasks cannot be synced?
///
/// One entry a task, in the order in which they failed, with a stable code and what to do. An entry leaves the list
/// by itself when its document changes or its time comes.
#[utoipa::path(get, path = "/api/sync/failed", tag = "sync", operation_id = "sync_failed", params(PageQuery),
    responses(
        (status = 200, description = "A page", body = RecordPage, example = json!({"entries": [{
            "op": "create", "task_id": "agent-task-1", "planner_id": null, "code": "plan_not_synced",
            "error": "the document's plan is not one of the synced plans (PLANNER_PLANS)", "attempts": 3,
            "first_at": "2026-11-25T10:15:30Z", "retry_at": "2026-11-25T10:17:00Z"}], "cursor": null})),
        (status = 400, description = "The cursor belongs to another list", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn failed(
    State(state): State<ApiState>,
    query: ReadQuery<PageQuery>,
) -> Result<Json<RecordPage>, Problem> {
    let (cursor, limit) = query.0.read()?;
    Ok(Json(state.planner.failed(cursor.as_deref(), limit).await?.into()))
}

/// Which values lost against another?
///
/// Newest first; `kept` stands on both sides, `lost` only here.
#[utoipa::path(get, path = "/api/sync/conflicts", tag = "sync", operation_id = "sync_conflicts", params(PageQuery),
    responses(
        (status = 200, description = "A page", body = RecordPage, example = json!({"entries": [{
            "task_id": "agent-task-1", "planner_id": "01gzSlKkIUSUl6DF_EilrmQAKDhh", "field": "title",
            "kept": "Review the plan", "lost": "Review plan", "loser": "agent", "at": "2026-11-25T10:15:30.123Z"}],
            "cursor": "1764064530123-0"})),
        (status = 400, description = "The cursor belongs to another list", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn conflicts(
    State(state): State<ApiState>,
    query: ReadQuery<PageQuery>,
) -> Result<Json<RecordPage>, Problem> {
    let (cursor, limit) = query.0.read()?;
    Ok(Json(state.planner.conflicts(cursor.as_deref(), limit).await?.into()))
}

/// What did the sync do?
///
/// Newest first, at most the last 1,000 operations.
#[utoipa::path(get, path = "/api/sync/log", tag = "sync", operation_id = "sync_log", params(PageQuery),
    responses(
        (status = 200, description = "A page", body = RecordPage, example = json!({"entries": [{
            "op": "update", "direction": "up", "fields": ["title"], "requests": 1, "ms": 96, "outcome": "success",
            "id": "agent-task-1", "planner_id": "01gzSlKkIUSUl6DF_EilrmQAKDhh", "at": "2026-11-25T10:15:30.123Z"}],
            "cursor": null})),
        (status = 400, description = "The cursor belongs to another list", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn log(
    State(state): State<ApiState>,
    query: ReadQuery<PageQuery>,
) -> Result<Json<RecordPage>, Problem> {
    let (cursor, limit) = query.0.read()?;
    Ok(Json(state.planner.log(cursor.as_deref(), limit).await?.into()))
}

/// Which tasks were deleted and can be brought back?
///
/// Newest first; `POST /api/sync/restore/{id}` brings one back. `direction` says where the deletion came from, once
/// it has reached both sides: `up` = an agent, `down` = a person in Planner.
#[utoipa::path(get, path = "/api/sync/tombs", tag = "sync", operation_id = "sync_tombs", params(PageQuery),
    responses(
        (status = 200, description = "A page", body = RecordPage, example = json!({"entries": [{
            "id": "agent-task-1", "deleted_at": "2026-11-25T10:15:30.123Z", "title": "Review the plan",
            "planner_id": "01gzSlKkIUSUl6DF_EilrmQAKDhh", "direction": "down"}], "cursor": null})),
        (status = 400, description = "The cursor belongs to another list", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn tombs(
    State(state): State<ApiState>,
    query: ReadQuery<PageQuery>,
) -> Result<Json<RecordPage>, Problem> {
    let (cursor, limit) = query.0.read()?;
    Ok(Json(state.planner.deleted(cursor.as_deref(), limit).await?.into()))
}
