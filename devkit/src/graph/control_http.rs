//! The control over HTTP, under `/__sim/`, and the page where a person looks at a plan and edits it.

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    SimError,
    control::{Control, NewTask, Settings},
    fault::Fault,
    seed::Seed,
    switches::SWITCHES,
};

/// The routes below `/__sim`.
pub(super) fn router(control: Control) -> Router {
    Router::new()
        .route("/__sim", get(page))
        .route("/__sim/", get(page))
        .route("/__sim/state", get(async |State(control): State<Control>| Json(control.snapshot())))
        .route("/__sim/seed", post(load))
        .route("/__sim/users", post(add_user))
        .route("/__sim/groups", post(add_group))
        .route("/__sim/plans", post(add_plan))
        .route("/__sim/buckets", post(add_bucket))
        .route("/__sim/tasks", get(tasks).post(add_task))
        .route("/__sim/tasks/{id}", get(task))
        .route("/__sim/tasks/{id}/details", get(details))
        .route("/__sim/person/tasks", post(person_create))
        .route("/__sim/person/tasks/{id}", axum::routing::patch(person_patch).delete(person_delete))
        .route("/__sim/person/tasks/{id}/details", axum::routing::patch(person_patch_details))
        .route("/__sim/person/token", post(person_token))
        .route(
            "/__sim/app/token",
            post(async |State(control): State<Control>| Json(json!({"access_token": control.app_token()}))),
        )
        .route("/__sim/tokens/expire", post(expire_tokens))
        .route("/__sim/tokens/refuse", post(refuse_tokens))
        .route("/__sim/faults", get(faults).post(add_fault).delete(clear_faults))
        .route(
            "/__sim/settings",
            get(async |State(control): State<Control>| Json(control.settings())).put(set).patch(set),
        )
        .route("/__sim/switches", get(switches).put(set_switches).patch(set_switches))
        .route("/__sim/person/plans/{id}/details", axum::routing::patch(person_patch_plan_details))
        .route(
            "/__sim/person/buckets/{id}",
            axum::routing::patch(person_patch_bucket).delete(person_delete_bucket),
        )
        .route("/__sim/person/tasks/{id}/move", post(person_move))
        .route("/__sim/deltas/expire", post(expire_deltas))
        .route("/__sim/clock", post(advance))
        .route("/__sim/journal", get(journal))
        .route("/__sim/counts", get(async |State(control): State<Control>| Json(control.counts())))
        .route("/__sim/violations", get(violations))
        .route(
            "/__sim/breaches",
            get(async |State(control): State<Control>| Json(json!({"value": control.breaches()}))),
        )
        .route("/__sim/reset", post(reset))
        .with_state(control)
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

impl IntoResponse for SimError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::Path(_) | Self::Switch(_) => StatusCode::BAD_REQUEST,
            Self::Refused(error) => StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Listen { .. } | Self::Schema(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

type Answered = Result<Json<Value>, SimError>;

async fn load(State(control): State<Control>, Json(seed): Json<Seed>) -> Answered {
    control.load(&seed)?;
    Ok(Json(json!({})))
}

async fn add_user(State(control): State<Control>, Json(user): Json<Map<String, Value>>) -> Json<Value> {
    Json(json!({"id": control.add_user(user)}))
}

async fn add_group(State(control): State<Control>, Json(group): Json<Map<String, Value>>) -> Json<Value> {
    Json(json!({"id": control.add_group(group)}))
}

#[derive(Deserialize)]
struct NewPlan {
    owner: String,
    title: String,
}

async fn add_plan(State(control): State<Control>, Json(plan): Json<NewPlan>) -> Json<Value> {
    Json(json!({"id": control.add_plan(&plan.owner, &plan.title)}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewBucket {
    plan_id: String,
    name: String,
}

async fn add_bucket(State(control): State<Control>, Json(bucket): Json<NewBucket>) -> Answered {
    Ok(Json(json!({"id": control.add_bucket(&bucket.plan_id, &bucket.name)?})))
}

async fn add_task(State(control): State<Control>, Json(members): Json<Map<String, Value>>) -> Answered {
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let task = NewTask { plan: text("planId"), title: text("title"), members };
    Ok(Json(json!({"id": control.add_task(task)?})))
}

#[derive(Deserialize)]
struct OfPlan {
    plan: String,
}

async fn tasks(State(control): State<Control>, Query(of): Query<OfPlan>) -> Json<Value> {
    Json(json!({"value": control.tasks(&of.plan)}))
}

fn found(value: Option<Value>, id: String) -> Answered {
    value.map(Json).ok_or(SimError::Unknown { what: "task", id })
}

async fn task(State(control): State<Control>, Path(id): Path<String>) -> Answered {
    found(control.task(&id), id)
}

async fn details(State(control): State<Control>, Path(id): Path<String>) -> Answered {
    found(control.details(&id), id)
}

/// Who edits; the example's Alex Wilber if not said.
#[derive(Deserialize)]
struct Who {
    user: Option<String>,
}

impl Who {
    fn id(&self) -> &str {
        self.user.as_deref().unwrap_or(super::seed::PERSON)
    }
}

async fn person_create(
    State(control): State<Control>,
    Query(who): Query<Who>,
    Json(body): Json<Value>,
) -> Answered {
    Ok(Json(control.person_create(who.id(), body)?))
}

async fn person_patch(
    State(control): State<Control>,
    Path(id): Path<String>,
    Query(who): Query<Who>,
    Json(body): Json<Value>,
) -> Answered {
    Ok(Json(control.person_patch(who.id(), &id, body)?))
}

async fn person_patch_details(
    State(control): State<Control>,
    Path(id): Path<String>,
    Query(who): Query<Who>,
    Json(body): Json<Value>,
) -> Answered {
    Ok(Json(control.person_patch_details(who.id(), &id, body)?))
}

async fn person_delete(
    State(control): State<Control>,
    Path(id): Path<String>,
    Query(who): Query<Who>,
) -> Answered {
    control.person_delete(who.id(), &id)?;
    Ok(Json(json!({})))
}

async fn person_patch_plan_details(
    State(control): State<Control>,
    Path(id): Path<String>,
    Query(who): Query<Who>,
    Json(body): Json<Value>,
) -> Answered {
    Ok(Json(control.person_patch_plan_details(who.id(), &id, body)?))
}

async fn person_patch_bucket(
    State(control): State<Control>,
    Path(id): Path<String>,
    Query(who): Query<Who>,
    Json(body): Json<Value>,
) -> Answered {
    Ok(Json(control.person_patch_bucket(who.id(), &id, body)?))
}

async fn person_delete_bucket(
    State(control): State<Control>,
    Path(id): Path<String>,
    Query(who): Query<Who>,
) -> Answered {
    control.person_delete_bucket(who.id(), &id)?;
    Ok(Json(json!({})))
}

async fn person_move(
    State(control): State<Control>,
    Path(id): Path<String>,
    Query(who): Query<Who>,
    Json(to): Json<OfPlan>,
) -> Answered {
    Ok(Json(json!({"id": control.person_move(who.id(), &id, &to.plan)?})))
}

async fn switches(State(control): State<Control>) -> Json<Value> {
    Json(json!({"table": SWITCHES, "now": control.settings().switches}))
}

async fn set_switches(
    State(control): State<Control>,
    Json(values): Json<std::collections::BTreeMap<String, String>>,
) -> Answered {
    for (name, value) in values {
        control.switch(&name, &value)?;
    }
    Ok(switches(State(control)).await)
}

async fn expire_deltas(State(control): State<Control>) -> Json<Value> {
    control.expire_delta_tokens();
    Json(json!({}))
}

async fn person_token(State(control): State<Control>, Query(who): Query<Who>) -> Answered {
    Ok(Json(json!({"access_token": control.person_token(who.id())?})))
}

async fn expire_tokens(State(control): State<Control>) -> Json<Value> {
    control.expire_tokens();
    Json(json!({}))
}

#[derive(Deserialize)]
struct Refuse {
    code: u32,
    count: u64,
}

async fn refuse_tokens(State(control): State<Control>, Json(refuse): Json<Refuse>) -> Json<Value> {
    control.refuse_tokens(refuse.code, refuse.count);
    Json(json!({}))
}

async fn faults(State(control): State<Control>) -> Json<Value> {
    Json(json!({"value": control.faults()}))
}

async fn add_fault(State(control): State<Control>, Json(fault): Json<Fault>) -> Answered {
    Ok(Json(json!({"id": control.fault(fault)?})))
}

async fn clear_faults(State(control): State<Control>) -> Json<Value> {
    control.clear_faults();
    Json(json!({}))
}

async fn set(State(control): State<Control>, Json(settings): Json<Settings>) -> Json<Settings> {
    control.set(settings);
    Json(control.settings())
}

#[derive(Deserialize)]
struct Advance {
    advance_ms: u64,
}

async fn advance(State(control): State<Control>, Json(by): Json<Advance>) -> Json<Value> {
    control.advance(std::time::Duration::from_millis(by.advance_ms));
    Json(json!({"now_ms": control.now_ms()}))
}

#[derive(Deserialize)]
struct Since {
    since: Option<u64>,
}

async fn journal(State(control): State<Control>, Query(since): Query<Since>) -> Json<Value> {
    Json(json!({"now_ms": control.now_ms(), "value": control.journal_since(since.since.unwrap_or(0))}))
}

async fn violations(State(control): State<Control>) -> Json<Value> {
    Json(json!({"checked": control.checked(), "value": control.violations()}))
}

async fn reset(State(control): State<Control>) -> Answered {
    control.reset()?;
    Ok(Json(json!({})))
}
