//! `/api/tasks` and `/api/tasks/{id}`: task documents over HTTP.

use std::collections::BTreeMap;

use annika_sync::lens::Document;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState,
    request::{Condition, JsonBytes, ReadQuery, RepeatKey, TaskId, has_already, page_size},
};
use crate::{
    error::{Problem, ProblemBody},
    tasks::{Filter, LARGEST_PAGE, Page, Stored, USUAL_PAGE},
};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A task document. Members that are not named here are kept as they are, as is the spelling of every name
/// (`snake_case` or `camelCase`) and number.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "agent-task-1", "title": "Review the launch plan", "status": "in_progress", "percent_complete": 0.5,
    "priority": "high", "plan_id": "xqQg5FS2LkCp935s-FIFm2QAFkHM", "bucket_id": "hsOf2dhOJkqyYYZEtdzDe2QAIUCR",
    "assigned_to": ["fbab97d0-4932-4511-b675-204639209557"], "due_date": "2026-12-01",
    "description": "Numbers first.", "checklist_items": [{"title": "Budget", "checked": true}]
}))]
pub(super) struct Task {
    /// At most 256 bytes, without colons and control characters; made if it is left out.
    #[schema(nullable = false)]
    id: Option<String>,
    title: String,
    status: Option<String>,
    /// A fraction: 1 is done. (`percentComplete` is per cent.)
    percent_complete: Option<f64>,
    /// `urgent`, `high`, `normal`, `low`, or Planner's 0 to 10.
    #[schema(value_type = serde_json::Value)]
    priority: Option<RawText>,
    plan_id: Option<String>,
    bucket_id: Option<String>,
    /// User ids; names are kept, and not synced.
    assigned_to: Option<Vec<String>>,
    /// A day or a moment (RFC 3339).
    start_date: Option<String>,
    /// A day or a moment (RFC 3339).
    due_date: Option<String>,
    description: Option<String>,
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    checklist_items: Option<RawText>,
    /// Anything else.
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    others: BTreeMap<String, RawText>,
}

type RawText = Box<RawValue>;

/// Which tasks, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only tasks of this plan.
    #[param(example = "xqQg5FS2LkCp935s-FIFm2QAFkHM")]
    plan: Option<String>,
    /// Only tasks assigned to this user id (or name).
    #[param(example = "fbab97d0-4932-4511-b675-204639209557")]
    assignee: Option<String>,
    /// Only tasks with this status: `not_started`, `in_progress`, `completed`, or a word of your own.
    #[param(example = "in_progress")]
    status: Option<String>,
    /// Where the page before ended, as its `cursor` said.
    cursor: Option<String>,
    /// Tasks on a page, 1 to 200.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<String>,
}

/// A page of tasks, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskList {
    /// The documents. A page may be short, even empty, and still have a cursor.
    #[schema(value_type = Vec<Task>)]
    tasks: Vec<RawText>,
    /// Tasks whose stored text cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<Unreadable>,
    /// Ask for the next page with it; null after the last one.
    #[schema(required)]
    cursor: Option<String>,
}

/// A task whose stored text cannot be read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Unreadable {
    id: String,
    #[schema(example = "document_not_json")]
    code: &'static str,
}

/// Lists tasks, by plan, assignee and status.
#[utoipa::path(
    get, path = "/api/tasks", tag = "tasks", params(ListQuery),
    responses(
        (status = 200, description = "A page.", body = TaskList),
        (status = 400, description = "The cursor belongs to another list.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    query: ReadQuery<ListQuery>,
) -> Result<Json<TaskList>, Problem> {
    let ListQuery { plan, assignee, status, cursor, limit } = query.0;
    let limit = page_size(limit, USUAL_PAGE, LARGEST_PAGE)?;
    let named = |value: Option<String>| value.filter(|value| !value.trim().is_empty());
    let filter = Filter { plan: named(plan), assignee: named(assignee), status: named(status) };
    let page = state.tasks.list(&filter, named(cursor).as_deref(), limit).await?;
    Ok(Json(TaskList::new(page)?))
}

/// Creates a task.
#[utoipa::path(
    post, path = "/api/tasks", tag = "tasks", request_body = Task,
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated call with the same key and body gets the first one's answer, for a day.")),
    responses(
        (status = 201, description = "It is stored, and on its way to Planner.", body = Task, headers(
            ("ETag" = String, description = "For If-Match; the sync's own stamp does not change it."),
            ("Location" = String, description = "Where it is."))),
        (status = 400, description = "No JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A task with this id exists.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 256 kB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Rules are broken; `errors` names fields and rules.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer or is full.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    key: RepeatKey,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let stored = state.tasks.create(&body.0, key.0.as_deref()).await?;
    Ok(answer(&stored))
}

/// Reads a task, exactly as it is stored.
#[utoipa::path(
    get, path = "/api/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, example = "agent-task-1"),
        ("If-None-Match" = Option<String>, Header, description = "304 if the task still has this ETag.")),
    responses(
        (status = 200, description = "The task.", body = Task, headers(("ETag" = String))),
        (status = 304, description = "It has not changed."),
        (status = 404, description = "There is no such task.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "What is stored is no document.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The id is none.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    id: TaskId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let document = state.tasks.get(&id.0).await?;
    let etag = document.etag();
    if has_already(&headers, &etag)? {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(document_answer(StatusCode::OK, &document))
}

/// Creates or replaces a task.
#[utoipa::path(
    put, path = "/api/tasks/{id}", tag = "tasks", request_body = Task,
    params(("id" = String, Path, example = "agent-task-1"),
        ("If-Match" = Option<String>, Header, description = "Only if the task has this ETag (or `*`: exists)."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none.")),
    responses(
        (status = 200, description = "Replaced.", body = Task, headers(("ETag" = String))),
        (status = 201, description = "Created.", body = Task, headers(("ETag" = String))),
        (status = 400, description = "No JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "It was changed since it was read.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 256 kB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Rules are broken.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer or is full.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn replace(
    State(state): State<ApiState>,
    id: TaskId,
    condition: Condition,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let stored = state.tasks.replace(&id.0, &body.0, &condition.0).await?;
    Ok(answer(&stored))
}

/// Changes members of a task: a JSON merge patch (RFC 7396), in which null removes.
#[utoipa::path(
    patch, path = "/api/tasks/{id}", tag = "tasks",
    request_body(content(
        (Object = "application/merge-patch+json", example = json!({"percent_complete": 1, "notes": null})),
        (Object = "application/json", example = json!({"title": "Review the launch plan again"})),
    )),
    params(("id" = String, Path, example = "agent-task-1"),
        ("If-Match" = Option<String>, Header, description = "Only if the task has this ETag.")),
    responses(
        (status = 200, description = "The task as it is now.", body = Task, headers(("ETag" = String))),
        (status = 400, description = "No JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "It was changed since it was read.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The result would break rules.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer or is full.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn patch(
    State(state): State<ApiState>,
    id: TaskId,
    condition: Condition,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let document = state.tasks.patch(&id.0, &body.0, &condition.0).await?;
    Ok(document_answer(StatusCode::OK, &document))
}

/// Deletes a task, here and in Planner. It can be brought back for 30 days; deleting it again changes nothing.
#[utoipa::path(
    delete, path = "/api/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, example = "agent-task-1"),
        ("If-Match" = Option<String>, Header, description = "Only if the task has this ETag.")),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404, description = "There never was one within 30 days.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "It was changed since it was read.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Redis does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    id: TaskId,
    condition: Condition,
) -> Result<StatusCode, Problem> {
    state.tasks.delete(&id.0, &condition.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl TaskList {
    fn new(page: Page) -> Result<Self, Problem> {
        let text = |document: &Document| {
            let text = String::from_utf8(document.bytes()).map_err(|_| Problem::internal())?;
            RawValue::from_string(text).map_err(|_| Problem::internal())
        };
        Ok(Self {
            tasks: page.tasks.iter().map(|(_, document)| text(document)).collect::<Result<_, _>>()?,
            unreadable: page.unreadable.into_iter().map(|(id, code)| Unreadable { id, code }).collect(),
            cursor: page.cursor,
        })
    }
}

fn answer(stored: &Stored) -> Response {
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = document_answer(status, &stored.document);
    if stored.created {
        let location = format!("/api/tasks/{}", utf8_percent_encode(&stored.id, NON_ALPHANUMERIC));
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
    if stored.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn document_answer(status: StatusCode, document: &Document) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, document.etag())];
    (status, headers, document.bytes()).into_response()
}
