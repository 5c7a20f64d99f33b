//! The one error at the edge: an `application/problem+json` answer (RFC 9457) with a stable `code`.
//!
//! Domains return their own errors; handlers turn them into a [`Problem`] by `?`. A named constructor a case
//! keeps status, code and advice in one place. A problem of 500 and above is logged once, by the edge.

use annika_sync::lens::{DocumentError, FieldProblem};
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    erasure::ErasureError,
    planner::InspectError,
    store::{StoreError, StoreErrorKind},
    tasks::TaskError,
};

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// What programs decide by; it never changes its meaning.
    pub code: &'static str,
    /// What happened and what to do, for a person.
    pub detail: String,
    /// With 422: every rule that was broken.
    pub errors: Vec<FieldError>,
    /// Seconds after which the same call may succeed; sent as `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// What lies behind it, for the log; clients never see it.
    pub cause: Option<String>,
}

/// An error as a client sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:annika:problem:task_not_found", "title": "Not Found", "status": 404,
    "detail": "there is no task `agent-task-1`", "code": "task_not_found",
    "instance": "urn:annika:request:0b7f0c1e-8d1f-4d5e-9a64-3f1c5a2b7d90"
}))]
pub struct ProblemBody<'a> {
    /// `urn:annika:problem:` and the code.
    r#type: String,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened and what to do, for a person.
    detail: &'a str,
    /// What programs decide by; it never changes its meaning.
    code: &'a str,
    /// The request, by its id, as it stands in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required, nullable = false)]
    instance: Option<String>,
    /// With 422: every rule that was broken.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The member, query parameter or header.
    #[schema(example = "checklist_items[2].title")]
    pub field: String,
    /// The rule's stable name.
    #[schema(example = "required")]
    pub rule: String,
    /// What is expected.
    #[schema(example = "must not be blank")]
    pub message: String,
}

impl From<FieldProblem> for FieldError {
    fn from(problem: FieldProblem) -> Self {
        Self { field: problem.field, rule: problem.rule, message: problem.message }
    }
}

impl Problem {
    /// A problem with this status and code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after_s: None, cause: None }
    }

    /// The body, with the id of the request where it is known.
    pub fn body(&self, request_id: Option<&str>) -> Vec<u8> {
        let body = ProblemBody {
            r#type: format!("urn:annika:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            instance: request_id.map(|id| format!("urn:annika:request:{id}")),
            errors: &self.errors,
        };
        // Strings and numbers always have a JSON form.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404: nothing answers at this address.
    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "route_not_found",
            "nothing answers at this address; see /api/openapi.json",
        )
    }

    /// 405: the address exists, this method does not.
    pub fn method_not_allowed() -> Self {
        let detail = "this address does not take this method; the Allow header names those it takes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// 422: what was sent breaks rules.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{} {}", only.field, only.message),
            many => format!("{} rules are broken; `errors` names them", many.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }

    /// 422 with one broken rule.
    pub fn invalid_field(field: &str, rule: &str, message: &str) -> Self {
        Self::invalid(vec![FieldError {
            field: field.to_owned(),
            rule: rule.to_owned(),
            message: message.to_owned(),
        }])
    }

    /// 500: a fault of ours; the log knows more.
    pub fn internal() -> Self {
        let detail = "a fault in Annika; the log line with this request id says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
    }

    /// Adds the time after which a repetition makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = error.kind.code();
        let unavailable = |seconds| {
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                format!(
                    "{}; {}",
                    error.kind,
                    if error.kind == StoreErrorKind::Timeout {
                        "a write may have happened: read before you repeat it"
                    } else {
                        "try again later"
                    }
                ),
            )
            .retry_after(seconds)
        };
        let cause = Some(error.to_string());
        let problem = match error.kind {
            StoreErrorKind::Unavailable | StoreErrorKind::Timeout | StoreErrorKind::Loading => unavailable(2),
            StoreErrorKind::ReadOnly => unavailable(5),
            StoreErrorKind::Full | StoreErrorKind::NoPermission => unavailable(30),
            StoreErrorKind::WrongType => {
                let detail = "what is stored there is neither text nor RedisJSON; remove that key in Redis";
                Self::new(StatusCode::CONFLICT, code, detail)
            }
            StoreErrorKind::Other => Self { code, ..Self::internal() },
        };
        Self { cause, ..problem }
    }
}

impl From<DocumentError> for Problem {
    fn from(error: DocumentError) -> Self {
        let code = error.code();
        match error {
            DocumentError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, error.to_string())
            }
            DocumentError::Field(problem) => Self::invalid(vec![problem.into()]),
            DocumentError::NotAnObject => {
                Self { code, ..Self::invalid_field("", "type", "must be a JSON object") }
            }
            _ => Self::bad_request(code, error.to_string()),
        }
    }
}

impl From<TaskError> for Problem {
    fn from(error: TaskError) -> Self {
        let detail = error.to_string();
        match error {
            TaskError::Store(error) => error.into(),
            TaskError::Document(error) => error.into(),
            TaskError::Invalid(problems) => {
                Self::invalid(problems.into_iter().map(FieldError::from).collect())
            }
            TaskError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "task_not_found", detail),
            TaskError::Exists(_) => Self::new(StatusCode::CONFLICT, "task_exists", detail),
            TaskError::PreconditionFailed => {
                Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
            }
            TaskError::Contended => Self::new(StatusCode::CONFLICT, "task_contended", detail).retry_after(1),
            TaskError::Unreadable { .. } => Self::new(StatusCode::CONFLICT, "task_unreadable", detail),
            TaskError::IdempotencyKeyReused => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
            }
            TaskError::BadCursor => Self::bad_request("bad_cursor", detail),
        }
    }
}

impl From<InspectError> for Problem {
    fn from(error: InspectError) -> Self {
        let detail = error.to_string();
        match error {
            InspectError::Store(error) => error.into(),
            InspectError::BadCursor => Self::bad_request("bad_cursor", detail),
            InspectError::BadId(problem) => Self::invalid(vec![problem.into()]),
            InspectError::UnknownTask(_) => Self::new(StatusCode::NOT_FOUND, "task_not_found", detail),
            InspectError::Unreadable(_) => Self::new(StatusCode::CONFLICT, "state_unreadable", detail),
        }
    }
}

impl From<ErasureError> for Problem {
    fn from(error: ErasureError) -> Self {
        match error {
            ErasureError::Store(error) => error.into(),
            ErasureError::Full => Self::new(StatusCode::CONFLICT, "erased_list_full", error.to_string()),
            ErasureError::BadName => Self::invalid_field("person", "name", &error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    /// The answer; the problem rides along in its extensions, so that the edge can add the request id and log it.
    fn into_response(self) -> Response {
        let mut response = (self.status, Body::from(self.body(None))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}
