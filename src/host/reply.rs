//! The reply to a trigger: never empty, always `application/json`, or the invocation would hang at the host.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// The reply to a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerReply {
    /// 200, or 500 when the run failed: the host fails an invocation whose reply is not 2xx.
    pub status: StatusCode,
    /// Lines for the invocation's log; the host shows them only on success.
    pub logs: Vec<String>,
}

impl IntoResponse for TriggerReply {
    fn into_response(self) -> Response {
        let body = json!({ "Outputs": {}, "Logs": self.logs, "ReturnValue": null }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        response
    }
}
