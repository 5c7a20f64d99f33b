//! `GET /api/openapi.json`: the API's description, made from the handlers themselves.

use axum::{
    Extension,
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;

use crate::error::{FieldError, ProblemBody};

/// What the table of routes starts from.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Annika",
        description = "Tasks for AI agents in Redis, kept the same as Microsoft Planner. Errors are application/problem+json with a stable `code`; every answer carries `x-request-id`. The Functions host asks for its key as `x-functions-key` or `?code=`.",
        license(name = "MIT"),
    ),
    components(schemas(ProblemBody, FieldError))
)]
pub(super) struct Document;

/// The document as it is served.
#[derive(Debug, Clone)]
pub struct OpenApiText(Bytes);

impl OpenApiText {
    pub(super) fn new(document: &utoipa::openapi::OpenApi) -> Self {
        // A document of plain maps and strings always has a JSON form.
        Self(document.to_json().unwrap_or_default().into())
    }
}

/// Method (upper case) and path pattern of every operation, for tests that compare them with other tables.
pub fn operations() -> Vec<(String, String)> {
    let document = super::routes::table().into_openapi();
    let mut operations = Vec::new();
    for (path, item) in &document.paths.paths {
        let methods = [
            ("GET", item.get.is_some()),
            ("PUT", item.put.is_some()),
            ("POST", item.post.is_some()),
            ("PATCH", item.patch.is_some()),
            ("DELETE", item.delete.is_some()),
        ];
        let there = methods.into_iter().filter(|(_, there)| *there);
        operations.extend(there.map(|(method, _)| (method.to_owned(), path.clone())));
    }
    operations
}

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "openapi",
    responses((status = 200, description = "The OpenAPI document.", content_type = "application/json",
        body = Object, example = json!({"openapi": "3.1.0", "info": {"title": "Annika"}}))),
)]
pub(super) async fn read(text: Extension<OpenApiText>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.0.0).into_response()
}
