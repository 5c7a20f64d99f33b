//! `GET /api/openapi.json`: the API's description, made from the handlers themselves.

use axum::{
    Extension,
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, SecurityScheme},
};

use crate::error::{FieldError, ProblemBody};

/// What the table of routes starts from.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Annika",
        description = "Tasks for AI agents in Redis, kept the same as Microsoft Planner. Errors are application/problem+json with a stable `code`; every answer carries `x-request-id`. The Functions host asks for its key as `x-functions-key` or `?code=`.",
        license(name = "MIT"),
    ),
    components(schemas(ProblemBody, FieldError)),
    modifiers(&Keys),
    security(("function_key" = []), ("function_code" = []))
)]
pub(super) struct Document;

/// How a caller shows the key that the Functions host asks for. An operation without keys says so itself; a test
/// compares that with the `authLevel` of the function that the host picks for it.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let header =
            ApiKeyValue::with_description("x-functions-key", "A key of the function or of the host.");
        components.add_security_scheme("function_key", SecurityScheme::ApiKey(ApiKey::Header(header)));
        let query = ApiKeyValue::with_description("code", "The same key, in the address.");
        components.add_security_scheme("function_code", SecurityScheme::ApiKey(ApiKey::Query(query)));
    }
}

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
