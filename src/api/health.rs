//! `/api/health/live` and `/api/health/ready`: is the process there, and can it do its work.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use crate::error::{Problem, ProblemBody};

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "live", "version": "0.1.0"}))]
pub(super) struct Live {
    /// Always `live`.
    status: &'static str,
    /// The product's version.
    version: &'static str,
}

/// Whether agents are served, and what is not all well.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "status": "degraded", "pending": 3, "failed": 0, "known_tasks": 118, "discovery_bound_seconds": 31,
    "engine_published_at": "2026-11-25T10:15:30.123Z",
    "reasons": [{"code": "graph_unreachable", "detail": "Microsoft Graph has not answered since 2026-11-25T10:14:02Z"}]
}))]
pub(super) struct Ready {
    /// `ready`, or `degraded`: agents are served, and `reasons` says what does not work.
    status: &'static str,
    /// Tasks that wait for the sync.
    pending: u64,
    /// Tasks that cannot be synced until somebody changes something.
    failed: u64,
    /// Tasks that the sync knows.
    known_tasks: u64,
    /// Within how many seconds a new document that nobody announced is found; more than 31 only in a Redis of more
    /// than 100,000 keys.
    discovery_bound_seconds: u64,
    /// When the engine last said that it is well.
    engine_published_at: Option<String>,
    /// What is not all well.
    reasons: Vec<Reason>,
}

/// One thing that does not work.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reason {
    /// What programs decide by.
    code: &'static str,
    /// What it is and what to do.
    detail: String,
}

/// Is the process there?
///
/// Looks at nothing else: a Redis that is away must not make the platform restart the process.
#[utoipa::path(get, path = "/api/health/live", tag = "health", operation_id = "health_live",
    security(()),
    responses((status = 200, description = "It is", body = Live)))]
pub(super) async fn live() -> Json<Live> {
    Json(Live { status: "live", version: env!("CARGO_PKG_VERSION") })
}

/// Can agents be served, and does the sync work?
///
/// 503 only without Redis; whatever else is wrong is `degraded`.
#[utoipa::path(get, path = "/api/health/ready", tag = "health", operation_id = "health_ready",
    responses(
        (status = 200, description = "Agents are served", body = Ready),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(super) async fn ready(State(state): State<ApiState>) -> Result<Json<Ready>, Problem> {
    state.store.ping().await?;
    let status = state.planner.status().await?;
    let reasons: Vec<Reason> =
        status.reasons.into_iter().map(|(code, detail)| Reason { code, detail }).collect();
    Ok(Json(Ready {
        status: if reasons.is_empty() { "ready" } else { "degraded" },
        pending: status.depths.pending,
        failed: status.depths.failed,
        known_tasks: status.depths.known,
        discovery_bound_seconds: status.discovery_bound_s,
        engine_published_at: status.published_at,
        reasons,
    }))
}
