//! Bad weather: Redis down, silent, full, and back again without a restart.

use annika_devkit::redis_server::RedisOptions;
use serde_json::json;

use super::TestApp;
use crate::store::eventually;

#[tokio::test]
async fn redis_down_is_503_with_retry_after_and_heals_by_itself() {
    let app = TestApp::start_with(RedisOptions { appendonly: true, ..Default::default() }).await;
    app.put("/api/tasks/t", r#"{"title":"T"}"#).await;
    app.server.kill9();
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let answer = app.send(method, "/api/tasks/t", &[], r#"{"title":"U"}"#).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, json!("redis_unavailable")), "{method}");
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
    assert_eq!(app.get("/api/tasks").await.status, 503);
    assert_eq!(app.get("/api/openapi.json").await.status, 200, "what needs no Redis goes on");
    app.server.restart().await.unwrap();
    eventually("recovery", || async { app.get("/api/tasks/t").await.status == 200 }).await;
    assert_eq!(app.patch("/api/tasks/t", r#"{"title":"V"}"#).await.status, 200);
}

#[tokio::test]
async fn a_silent_redis_is_503_in_time() {
    let app = TestApp::start().await;
    app.put("/api/tasks/t", r#"{"title":"T"}"#).await;
    app.server.pause().unwrap();
    let answer = app.get("/api/tasks/t").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, json!("redis_timeout")));
    app.server.resume().unwrap();
    eventually("recovery", || async { app.get("/api/tasks/t").await.status == 200 }).await;
}

#[tokio::test]
async fn a_full_redis_refuses_writes_by_name_and_serves_reads_and_deletes() {
    let mut app = TestApp::start().await;
    app.put("/api/tasks/t", r#"{"title":"T"}"#).await;
    let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).query_async(&mut app.redis).await.unwrap();
    let full = app.post("/api/tasks", r#"{"title":"U"}"#).await;
    assert!(full.header("retry-after").is_some());
    assert_eq!((full.status.as_u16(), full.code()), (503, json!("redis_full")));
    assert_eq!(app.get("/api/tasks/t").await.status, 200);
    assert_eq!(app.get("/api/tasks").await.json()["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(app.delete("/api/tasks/t").await.status, 204);
}
