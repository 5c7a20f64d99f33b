//! What every request passes through: its id, and the problem answers for what no handler answered.

use std::any::Any;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{clock::SharedRng, error::Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn no_route() -> Problem {
    Problem::no_route()
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}

/// The answer for a handler that panicked; what it said may hold data, so it is not repeated.
pub(super) fn panicked(_payload: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}

/// Takes or makes the request's id, returns it, puts it into problem answers, and logs those that are our fault.
pub(super) async fn identify(State(rng): State<SharedRng>, request: Request, next: Next) -> Response {
    let sent = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = sent.filter(|id| is_request_id(id)).map_or_else(|| rng.uuid(), str::to_owned);
    let method = request.method().clone();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        if problem.status.is_server_error() {
            tracing::error!(
                request_id = %id, method = %method, status = problem.status.as_u16(), code = problem.code,
                cause = problem.cause.as_deref().unwrap_or_default(), "request failed: {}", problem.detail
            );
        }
        // The answer without the id was shorter.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(problem.body(Some(&id)));
        response.extensions_mut().insert(problem);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Ids go into logs and answers, so only harmless characters are taken over.
fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
