//! The one table of routes. A handler's path and method stand in its `#[utoipa::path]`.

use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiState, erasure, health, openapi, sync, tasks};

/// Every route of the API, with its part of the OpenAPI document.
pub(super) fn table() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(tasks::list, tasks::create))
        .routes(routes!(tasks::read, tasks::replace, tasks::patch, tasks::delete))
        .routes(routes!(sync::poll_now))
        .routes(routes!(sync::status::read))
        .routes(routes!(sync::status::metrics))
        .routes(routes!(sync::records::failed))
        .routes(routes!(sync::records::conflicts))
        .routes(routes!(sync::records::log))
        .routes(routes!(sync::records::tombs))
        .routes(routes!(sync::explain::read))
        .routes(routes!(sync::actions::retry))
        .routes(routes!(sync::actions::rebuild))
        .routes(routes!(sync::actions::restore))
        .routes(routes!(sync::actions::release))
        .routes(routes!(erasure::erase))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::read))
}
