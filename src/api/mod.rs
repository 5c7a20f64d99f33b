//! The HTTP API: a table of routes, one file a resource, and what every request passes through.

mod health;
mod openapi;
mod path;
mod problem;
mod request;
mod routes;
mod sync;
mod tasks;

use std::sync::Arc;

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{clock::SharedRng, planner::Planner, store::Store, tasks::Tasks};

pub use openapi::{OpenApiText, operations};

/// What handlers need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The task documents.
    pub tasks: Arc<Tasks>,
    /// The sync with Planner.
    pub planner: Planner,
    /// Redis, for readiness.
    pub store: Store,
    /// Makes request ids.
    pub rng: SharedRng,
}

/// The whole API. Whatever it does not know it answers with a 404 problem, so it can be a fallback service.
///
/// As the Functions host does, it takes literal parts of a path in any letter case and one slash at the end.
pub fn router(state: ApiState) -> Router {
    let (router, document) = routes::table().split_for_parts();
    let patterns = path::Patterns::new(document.paths.paths.keys());
    let routed = router
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(request::LARGEST_BODY))
        .layer(Extension(OpenApiText::new(&document)))
        .with_state(state.clone());
    // The path is made canonical before it is routed, so routing happens inside a fallback.
    Router::new()
        .fallback_service(routed)
        .layer(middleware::from_fn_with_state(Arc::new(patterns), path::make_canonical))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(middleware::from_fn_with_state(state.rng, problem::identify))
}
