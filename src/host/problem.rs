//! The errors that the edge answers by itself, as `application/problem+json` (RFC 9457).

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An error that the edge answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// No route has this path and method. Triggers give the same answer to outsiders.
    UnknownRoute,
    /// A handler panicked; the reason is in the log.
    Internal,
}

impl Problem {
    fn parts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::UnknownRoute => (
                StatusCode::NOT_FOUND,
                "unknown_route",
                "Not found",
                "No route has this path and method; GET /api/openapi.json lists them.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
                "The request failed for a reason inside the app; its log has the details.",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title, detail) = self.parts();
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
