//! `GET /api/openapi.json`.

use annika::api;

use super::TestApp;

#[tokio::test]
async fn the_document_is_served_and_every_operation_stands_in_it() {
    let app = TestApp::start().await;
    let answer = app.get("/api/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path) in api::operations() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["operationId"].is_string(), "{method} {path}");
        assert!(operation["description"].is_string() || operation["summary"].is_string(), "{method} {path}");
    }
    insta::assert_snapshot!("openapi", serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn the_table_of_routes_is_this() {
    let mut operations: Vec<String> =
        api::operations().into_iter().map(|(method, path)| format!("{path} {method}")).collect();
    operations.sort();
    insta::assert_snapshot!(operations.join("\n"), @r##"
    /api/health/live GET
    /api/health/ready GET
    /api/openapi.json GET
    /api/sync/conflicts GET
    /api/sync/erase-person POST
    /api/sync/explain/{id} GET
    /api/sync/failed GET
    /api/sync/failed/retry POST
    /api/sync/guard/release POST
    /api/sync/log GET
    /api/sync/metrics GET
    /api/sync/poll POST
    /api/sync/rebuild POST
    /api/sync/restore/{id} POST
    /api/sync/status GET
    /api/sync/tombs GET
    /api/tasks GET
    /api/tasks POST
    /api/tasks/{id} DELETE
    /api/tasks/{id} GET
    /api/tasks/{id} PATCH
    /api/tasks/{id} PUT
    "##);
}
