//! The HTTP API: a table of routes, one file a resource, and what every request passes through.

mod afterwards;
mod body;
mod erasure;
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

use crate::{
    clock::{SharedClock, SharedRng},
    erasure::Erasure,
    planner::Planner,
    store::Store,
    tasks::Tasks,
};

pub use openapi::{OpenApiText, operations};
pub use sync::status::shown as sync_status;

/// What handlers need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The task documents.
    pub tasks: Arc<Tasks>,
    /// The sync with Planner.
    pub planner: Planner,
    /// Erases people.
    pub erasure: Erasure,
    /// Redis, for readiness.
    pub store: Store,
    /// Ages in metrics count from it.
    pub clock: SharedClock,
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
    let planner = state.planner.clone();
    around(routed, patterns, state.rng)
        .layer(middleware::from_fn_with_state(planner, afterwards::look_after_sync))
}

/// What surrounds the routes: the path is made canonical before it is routed, so routing happens inside a fallback.
fn around(routed: Router, patterns: path::Patterns, rng: SharedRng) -> Router {
    Router::new()
        .fallback_service(routed)
        .layer(middleware::from_fn_with_state(Arc::new(patterns), path::make_canonical))
        .layer(middleware::from_fn(body::read_whole))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(middleware::from_fn_with_state(rng, problem::identify))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::Request, routing::get};
    use tower::ServiceExt;

    use super::*;
    use crate::clock::SystemRng;

    #[tokio::test]
    async fn a_panic_is_a_500_problem_that_does_not_repeat_what_was_said() {
        async fn fail() -> &'static str {
            panic!("a secret")
        }
        let pattern = "/fail".to_owned();
        let patterns = path::Patterns::new([&pattern].into_iter());
        let router = around(Router::new().route("/fail", get(fail)), patterns, SystemRng::shared());
        for _ in 0..2 {
            let request = Request::builder().uri("/FAIL/").body(Body::empty()).expect("a request");
            let response = router.clone().oneshot(request).await.expect("an answer");
            assert_eq!(response.status(), 500);
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert!(response.headers().contains_key("x-request-id"));
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(text.contains(r#""code":"internal_error""#) && !text.contains("secret"), "{text}");
        }
    }
}
