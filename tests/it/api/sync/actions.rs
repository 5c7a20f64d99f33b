//! What operators ask: try again, bring back, confirm deletions, build the memory anew.

use annika::keys;
use redis::AsyncCommands;
use serde_json::json;

use crate::api::TestApp;

#[tokio::test]
async fn failed_tasks_are_tried_again_by_name_or_all() {
    let mut app = TestApp::start().await;
    for id in ["a", "b", "c"] {
        let entry = json!({"task_id": id, "code": "title_missing"}).to_string();
        let () = app.redis.rpush(keys::sync_failed(), &entry).await.unwrap();
        let () = app.redis.hset(keys::sync_state(id), "failed", &entry).await.unwrap();
    }
    let answer = app.post("/api/sync/failed/retry", r#"{"task_ids":["b","nobody"]}"#).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"tasks": 1})));
    let due: Vec<String> = app.redis.zrange(keys::sync_due(), 0, -1).await.unwrap();
    assert_eq!(due, ["b"]);
    assert_eq!(app.post("/api/sync/failed/retry", r#"{"all":true}"#).await.json(), json!({"tasks": 3}));
    let due: Vec<String> = app.redis.zrange(keys::sync_due(), 0, -1).await.unwrap();
    assert_eq!(due.len(), 3);

    for (body, status, code) in [
        ("", 400, "body_not_json"),
        ("{", 400, "body_not_json"),
        ("{}", 422, "invalid"),
        (r#"{"all":true,"task_ids":["a"]}"#, 422, "invalid"),
        (r#"{"everything":true}"#, 422, "invalid"),
        (r#"{"task_ids":"a"}"#, 422, "invalid"),
    ] {
        let answer = app.post("/api/sync/failed/retry", body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code.into()), "{body}");
    }
    let many = json!({"task_ids": vec!["x"; 1_001]}).to_string();
    assert_eq!(app.post("/api/sync/failed/retry", &many).await.status, 422);
}

#[tokio::test]
async fn a_deleted_task_is_listed_and_comes_back() {
    let app = TestApp::start().await;
    let text = r#"{"id":"t","title":"Review","mine":[1.0]}"#;
    assert_eq!(app.put("/api/tasks/t", text).await.status, 201);
    assert_eq!(app.delete("/api/tasks/t").await.status, 204);
    let page = app.get("/api/sync/tombs").await.json();
    assert_eq!((&page["entries"][0]["id"], &page["entries"][0]["title"]), (&json!("t"), &json!("Review")));
    assert!(page["entries"][0]["deleted_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(app.get("/api/sync/explain/t").await.json()["schedule"]["restorable"], true);

    assert_eq!(app.send("POST", "/api/sync/restore/t", &[], "").await.json(), json!({"status": "restored"}));
    assert_eq!(app.get("/api/tasks/t").await.text, text);
    assert_eq!(
        app.send("POST", "/api/sync/restore/t", &[], "").await.json(),
        json!({"status": "already_there"})
    );
    let unknown = app.send("POST", "/api/sync/restore/nobody", &[], "").await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "tomb_not_found".into()));
    assert_eq!(app.get("/api/sync/tombs").await.json(), json!({"entries": [], "cursor": null}));
    assert_eq!(app.get("/api/sync/tombs?cursor=x").await.code(), "bad_cursor");
}

#[tokio::test]
async fn held_deletions_are_shown_and_confirmed_on_one_side_only() {
    let mut app = TestApp::start().await;
    let () = app.redis.zadd(keys::sync_guard_held("up"), "a", 1_764_064_800_000_i64).await.unwrap();
    let () = app.redis.zadd(keys::sync_guard_held("down"), "b", 1_764_064_800_000_i64).await.unwrap();
    let guard = app.get("/api/sync/status").await.json()["guard"].clone();
    assert_eq!(guard["planner"], json!({"held": 1, "since_ms": 1_764_064_800_000_i64, "recent": 0}));
    let metrics = app.get("/api/sync/metrics").await.text;
    assert!(metrics.contains("annika_sync_deletions_held_redis 1\n"), "{metrics}");

    for body in [r#"{"side":"both"}"#, "{}", r#"{"side":"redis","all":true}"#] {
        assert_eq!(app.post("/api/sync/guard/release", body).await.status, 422, "{body}");
    }
    let answer = app.post("/api/sync/guard/release", r#"{"side":"redis"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"tasks": 1})));
    let due: Vec<String> = app.redis.zrange(keys::sync_due(), 0, -1).await.unwrap();
    assert_eq!(due, ["b"]);
    let guard = app.get("/api/sync/status").await.json()["guard"].clone();
    assert_eq!((&guard["planner"]["held"], &guard["redis"]["held"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_rebuild_takes_the_epoch_away() {
    let mut app = TestApp::start().await;
    let () = app.redis.set(keys::sync_epoch(), "an epoch").await.unwrap();
    let answer = app.send("POST", "/api/sync/rebuild", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"status": "accepted"})));
    assert!(!app.redis.exists::<_, bool>(keys::sync_epoch()).await.unwrap());
}
