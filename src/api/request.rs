//! Extractors that answer with problems: body, path, query and conditions of a request.

use annika_sync::lens;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::{error::Problem, tasks::Precondition};

/// The largest body, in bytes: one document.
pub(super) const LARGEST_BODY: usize = lens::MAX_BYTES;
const LONGEST_REPEAT_KEY: usize = 255;

/// A JSON body, unread: documents keep their bytes.
pub(super) struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if let Some(kind) = request.headers().get(header::CONTENT_TYPE) {
            let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            let known = ["application/json", "application/merge-patch+json"];
            if !known.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
                let detail =
                    "the body must be application/json (for PATCH also application/merge-patch+json)";
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_media_type",
                    detail,
                ));
            }
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("a body may have at most {LARGEST_BODY} bytes");
                Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", detail))
            }
            Err(_) => Err(Problem::bad_request("body_cut_short", "the body ended before it was complete")),
        }
    }
}

/// A JSON body, read into `T`.
pub(super) struct ReadJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ReadJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = JsonBytes::from_request(request, state).await?.0;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_data() => {
                Err(Problem::invalid_field("body", "type", &format!("is not what is expected: {error}")))
            }
            Err(_) => Err(Problem::bad_request("body_not_json", "the body must be a JSON object")),
        }
    }
}

/// The id in the path, decoded.
pub(super) struct TaskId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for TaskId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(Problem::invalid_field("id", "id", "must be UTF-8, percent-encoded")),
        }
    }
}

/// The query, read into `T`.
pub(super) struct ReadQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ReadQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(_) => Err(Problem::bad_request(
                "bad_query",
                "the query cannot be read: each parameter may come once",
            )),
        }
    }
}

/// The number of entries on a page, 1 to `most`; `usual` where the caller names none.
pub(super) fn page_size(limit: Option<String>, usual: usize, most: usize) -> Result<usize, Problem> {
    limit.filter(|limit| !limit.is_empty()).map_or(Ok(usual), |limit| {
        let number = limit.parse().ok().filter(|number| (1..=most).contains(number));
        let message = format!("must be a whole number from 1 to {most}");
        number.ok_or_else(|| Problem::invalid_field("limit", "range", &message))
    })
}

/// `If-Match` and `If-None-Match` of a write.
pub(super) struct Condition(pub Precondition);

impl<S: Send + Sync> FromRequestParts<S> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let if_match = etags(&parts.headers, &header::IF_MATCH)?;
        let if_none_match = etags(&parts.headers, &header::IF_NONE_MATCH)?;
        match (if_match, if_none_match) {
            (None, None) => Ok(Self(Precondition::None)),
            (Some(tags), None) if tags == ["*"] => Ok(Self(Precondition::Exists)),
            // A weak ETag never equals a strong one (RFC 9110 §13.1.1); it just does not match.
            (Some(tags), None) => Ok(Self(Precondition::Matches(tags))),
            (None, Some(tags)) if tags == ["*"] => Ok(Self(Precondition::Absent)),
            _ => Err(bad_header("a write takes If-Match, or If-None-Match: *")),
        }
    }
}

/// The ETags that the caller has already: `If-None-Match` of a read, compared weakly (RFC 9110 §13.1.2).
pub(super) fn has_already(headers: &HeaderMap, etag: &str) -> Result<bool, Problem> {
    let tags = etags(headers, &header::IF_NONE_MATCH)?.unwrap_or_default();
    Ok(tags.iter().any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag))
}

/// The ETags of a header, with their quotes; `None` if it is not there.
fn etags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Vec<String>>, Problem> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| bad_header("an ETag must be ASCII"))?;
        tags.extend(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned));
    }
    let well_formed = |tag: &String| {
        let quoted = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || (quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"'))
    };
    if !tags.iter().all(well_formed) {
        return Err(bad_header("an ETag stands in quotes, as it was sent"));
    }
    Ok((!tags.is_empty()).then_some(tags))
}

/// `Idempotency-Key`, bound to whom it belongs and to the route.
pub(super) struct RepeatKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for RepeatKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(key) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let key = key.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > LONGEST_REPEAT_KEY {
            return Err(bad_header("an Idempotency-Key has 1 to 255 printable ASCII characters"));
        }
        let principal = parts.headers.get("x-ms-client-principal-id").and_then(|id| id.to_str().ok());
        let route = format!("{} {}", parts.method, parts.uri.path());
        Ok(Self(Some(format!("{}\n{route}\n{key}", principal.unwrap_or_default()))))
    }
}

fn bad_header(detail: &str) -> Problem {
    Problem::bad_request("bad_header", detail)
}
