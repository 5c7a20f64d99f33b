//! An answer of the simulator before it goes on the wire, and Graph's error shapes.

use serde_json::{Value, json};

/// A refusal in Graph's terms. Planner often leaves `code` empty, so the status is what counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code} {message}")]
pub struct GraphError {
    /// The HTTP status.
    pub status: u16,
    /// `error.code`, often empty.
    pub code: String,
    /// `error.message`.
    pub message: String,
}

impl GraphError {
    /// Any refusal.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// 400 as Planner gives it: an empty code.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "", message)
    }

    /// 400 with the code `BadRequest`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 400 for a member that the type does not have.
    pub fn unknown_member(name: &str, type_name: &str) -> Self {
        Self::invalid(format!(
            "The request is invalid:\r\nThe property '{name}' does not exist on type 'microsoft.graph.{type_name}'. \
             Make sure to only use property names that are defined by the type."
        ))
    }

    /// 401 with the code that every token problem has.
    pub fn token(message: &str) -> Self {
        Self::new(401, "InvalidAuthenticationToken", message)
    }

    /// 412: a PATCH or DELETE without `If-Match`.
    pub fn if_match_missing() -> Self {
        Self::new(412, "", "The If-Match header must be specified for this kind of request.")
    }

    /// 412: `If-Match` is malformed, of another resource, or newer than the resource.
    pub fn if_match_invalid() -> Self {
        Self::new(412, "", "The If-Match header contains an invalid value.")
    }

    /// 409: the same property was changed after the version that `If-Match` names.
    pub fn conflict() -> Self {
        Self::new(409, "", "The request has conflicts with the current state of the resource.")
    }

    /// 412: the version that `If-Match` names is too old to be merged, or the call cannot be merged.
    pub fn stale() -> Self {
        Self::new(412, "", "The entity tag is not the current one of the resource.")
    }

    /// 404 as Planner gives it.
    pub fn gone() -> Self {
        Self::new(404, "", "The requested item is not found.")
    }

    /// 403 as Planner gives it for what is missing or out of reach.
    pub fn no_access() -> Self {
        Self::new(403, "", "You do not have the required permissions to access this item.")
    }

    /// 404 as the directory gives it.
    pub fn no_directory_object(id: &str) -> Self {
        Self::new(
            404,
            "Request_ResourceNotFound",
            format!(
                "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
            ),
        )
    }

    /// 400 for a path that Graph does not have.
    pub fn no_segment(segment: &str) -> Self {
        Self::bad_request(format!("Resource not found for the segment '{segment}'."))
    }

    /// 405.
    pub fn wrong_method() -> Self {
        Self::new(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
    }
}

/// A `Retry-After`: it holds once the answer has reached the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Method and path of the item that is to wait; `None` for everything.
    pub item: Option<(String, String)>,
    /// How long, in milliseconds.
    pub ms: u64,
}

/// What one operation answers, by itself or as an item of a batch.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the ones that every answer has.
    pub headers: Vec<(String, String)>,
    /// The body, or `None` for an empty one.
    pub body: Option<Value>,
    /// A body that is sent as it stands (HTML from a gateway, cut JSON); wins over `body`.
    pub raw: Option<(String, String)>,
    /// The entity tag of the resource afterwards, for the journal.
    pub etag: Option<String>,
    /// Whether something was written.
    pub committed: bool,
    /// The id of the entity that was touched, for the journal.
    pub id: Option<String>,
    /// Whether a fault made this answer; such answers are not checked against the schemas.
    pub scripted: bool,
    /// What its `Retry-After` headers ask for, those of a batch's items included.
    pub waits: Vec<Wait>,
    /// A refusal that has headers of its own; it becomes the body.
    pub refusal: Option<Box<GraphError>>,
    /// Over how many milliseconds the body is sent.
    pub slow_ms: u64,
}

impl Answer {
    /// A JSON body with a status.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), ..Self::default() }
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: 204, ..Self::default() }
    }

    /// A refusal with the members that Graph's errors have. `date` has no zone, as on the wire.
    pub fn error(error: &GraphError, date: &str, request_id: &str, client_request_id: &str) -> Self {
        let body = json!({"error": {
            "code": error.code,
            "message": error.message,
            "innerError": {"date": date, "request-id": request_id, "client-request-id": client_request_id},
        }});
        Self::json(error.status, body)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}
