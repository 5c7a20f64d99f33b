//! `GET /api/sync/status` and `/api/sync/metrics`: how the sync is doing, for people and for Prometheus.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    api::ApiState,
    error::{Problem, ProblemBody},
    planner::Overview,
};

/// The overview as JSON: reasons are objects, as in readiness.
pub fn shown(overview: &Overview) -> Value {
    let mut value = serde_json::to_value(overview).unwrap_or_default();
    let reasons = overview.reasons.iter().map(|(code, detail)| json!({"code": code, "detail": detail}));
    value["reasons"] = reasons.collect();
    value
}

/// How is the sync doing?
///
/// Health, backlog, plans, pace and lag, read from Redis: the answer is the same from every process. `silent` means
/// that no engine has published its health for five minutes.
#[utoipa::path(get, path = "/api/sync/status", tag = "sync", operation_id = "sync_status",
    responses(
        (status = 200, description = "What is known", body = Object, example = json!({
            "status": "degraded",
            "reasons": [{"code": "tasks_failed", "detail": "1 tasks cannot be synced: see annika:sync:failed"}],
            "published_at": "2026-11-25T10:15:30.123Z", "lease_held_since": "2026-11-25T08:00:00Z",
            "last_successful_sync": "2026-11-25T10:15:02.4Z", "last_sweep": "2026-11-25T10:15:21Z", "sweep_ms": 18,
            "backlog": {"due": 0, "waiting": 1, "age_s": 0.0, "pending": 1, "failed": 1, "known_tasks": 118,
                "open_creates": 0, "orphans_held": 0, "conflicts_kept": 4, "discovery_bound_seconds": 31},
            "plans": [{"plan_id": "xqQg5FS2LkCp935s-FIFm2QAFkHM", "last_list": "2026-11-25T10:15:00Z", "tasks": 118,
                "complete_ratio": 1.0, "refused": null, "suspended": null, "full": null, "schedule": {}}],
            "throttle": {"pause_until": "1764064800000"}, "throttle_ratio": 0.0,
            "upload_lag": {"count": 40, "sum_ms": 9200, "p50_ms": 250, "p99_ms": 1000, "buckets": [[100, 2], [250, 31]]},
            "download_lag": {"count": 12, "sum_ms": 1900, "p50_ms": 250, "p99_ms": 250, "buckets": [[100, 3], [250, 12]]},
            "graph_requests_per_synced_change": 1.02,
            "guard": {"planner": {"held": 0, "since_ms": null, "recent": 2}, "redis": {"held": 0, "since_ms": null, "recent": 0}},
            "rebuild": null,
            "counters": {"uploads": 40, "downloads": 12, "polls": 240, "sweeps": 240, "conflicts": 4, "losers_logged": 4}
        })),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn read(State(state): State<ApiState>) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&state.planner.overview().await?)))
}

/// Metrics for Prometheus.
///
/// Counters are those of the process that runs the engine; they begin anew when another one takes over.
#[utoipa::path(get, path = "/api/sync/metrics", tag = "sync", operation_id = "sync_metrics",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "text/plain; version=0.0.4",
            example = json!("# HELP annika_sync_backlog_due Tasks that may be worked on now.\n# TYPE annika_sync_backlog_due gauge\nannika_sync_backlog_due 0\n")),
        (status = 503, description = "Redis does not answer", body = ProblemBody<'_>, content_type = "application/problem+json"),
    ))]
pub(crate) async fn metrics(State(state): State<ApiState>) -> Result<Response, Problem> {
    let text = state.planner.overview().await?.metrics(state.clock.now_ms());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
