//! `/api/tasks` and `/api/tasks/{id}`.

mod bad_input;
mod conditions;
mod list;

use redis::AsyncCommands;
use serde_json::json;

use super::TestApp;

#[tokio::test]
async fn a_task_is_created_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let text = r#"{"id":"Task-1","title":"Review","n":1.0,"unknown":{"a":[]}}"#;
    let created = app.post("/api/tasks", text).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.text, text, "the document is not rewritten");
    assert_eq!(created.header("location"), Some("/api/tasks/Task%2D1"));
    let etag = created.header("etag").unwrap().to_owned();

    let read = app.get("/api/tasks/Task-1").await;
    assert_eq!((read.status.as_u16(), read.text.as_str()), (200, text));
    assert_eq!(read.header("etag"), Some(etag.as_str()));
    assert_eq!(app.get("/api/tasks/Task%2D1").await.text, text, "the Location works");

    let patched = app.patch("/api/tasks/Task-1", r#"{"percent_complete":0.5,"unknown":null}"#).await;
    assert_eq!(patched.text, r#"{"id":"Task-1","title":"Review","n":1.0,"percent_complete":0.5}"#);
    assert_ne!(patched.header("etag"), Some(etag.as_str()));

    let replaced = app.put("/api/tasks/Task-1", r#"{"title":"Other"}"#).await;
    assert_eq!(
        (replaced.status.as_u16(), replaced.text.as_str()),
        (200, r#"{"title":"Other","id":"Task-1"}"#)
    );
    let put = app.put("/api/tasks/Task-2", r#"{"title":"Two"}"#).await;
    assert_eq!((put.status.as_u16(), put.header("location")), (201, Some("/api/tasks/Task%2D2")));

    assert_eq!(app.delete("/api/tasks/Task-1").await.status, 204);
    assert_eq!(app.delete("/api/tasks/Task-1").await.status, 204, "again is harmless");
    insta::assert_snapshot!(app.get("/api/tasks/Task-1").await.shown(), @r##"
    404 Not Found
    {
      "code": "task_not_found",
      "detail": "there is no task `Task-1`",
      "instance": "urn:annika:request:00000000-0000-4011-8000-000000000012",
      "status": 404,
      "title": "Not Found",
      "type": "urn:annika:problem:task_not_found"
    }
    "##);
    insta::assert_snapshot!(app.delete("/api/tasks/never").await.shown(), @r##"
    404 Not Found
    {
      "code": "task_not_found",
      "detail": "there is no task `never`",
      "instance": "urn:annika:request:00000000-0000-4013-8000-000000000014",
      "status": 404,
      "title": "Not Found",
      "type": "urn:annika:problem:task_not_found"
    }
    "##);
    insta::assert_snapshot!(app.patch("/api/tasks/never", "{}").await.shown(), @r##"
    404 Not Found
    {
      "code": "task_not_found",
      "detail": "there is no task `never`",
      "instance": "urn:annika:request:00000000-0000-4015-8000-000000000016",
      "status": 404,
      "title": "Not Found",
      "type": "urn:annika:problem:task_not_found"
    }
    "##);
}

#[tokio::test]
async fn a_task_without_an_id_gets_one() {
    let app = TestApp::start().await;
    let created = app.post("/api/tasks", r#"{ "title": "No id" }"#).await;
    let id = created.json()["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("agent-task-"), "{id}");
    assert_eq!(app.get(&format!("/api/tasks/{id}")).await.text, created.text);
}

#[tokio::test]
async fn what_an_agent_wrote_by_set_is_served_as_it_is() {
    let mut app = TestApp::start().await;
    let text = "{\n  \"id\": \"raw\",\n  \"title\": \"Raw\",\n  \"big\": 123456789012345678901\n}";
    let () = app.redis.set("annika:tasks:raw", text).await.unwrap();
    assert_eq!(app.get("/api/tasks/raw").await.text, text);
}

#[tokio::test]
async fn an_idempotency_key_makes_a_repeated_post_harmless() {
    let mut app = TestApp::start().await;
    let post = async |key: &str, principal: &str, body: &str| {
        let headers = [("idempotency-key", key), ("x-ms-client-principal-id", principal)];
        app.send("POST", "/api/tasks", &headers, body.to_owned()).await
    };
    let first = post("k1", "anna", r#"{"title":"Once"}"#).await;
    let second = post("k1", "anna", r#"{"title":"Once"}"#).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert_eq!(first.text, second.text);
    assert_eq!(
        (first.header("etag"), first.header("location")),
        (second.header("etag"), second.header("location"))
    );
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    let other_body = post("k1", "anna", r#"{"title":"Twice"}"#).await;
    assert_eq!((other_body.status.as_u16(), other_body.code()), (422, json!("idempotency_key_reused")));
    let other_caller = post("k1", "bob", r#"{"title":"Once"}"#).await;
    assert_ne!(other_caller.text, first.text, "a key belongs to its caller");
    assert_eq!(post("", "anna", "{}").await.code(), "bad_header");
    assert_eq!(post(&"k".repeat(256), "anna", "{}").await.code(), "bad_header");
    let keys: Vec<String> = app.redis.keys("annika:private:idempotency:*").await.unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let ttl: i64 = app.redis.ttl(&key).await.unwrap();
        assert!((86_000..=86_400).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn letter_case_and_a_slash_at_the_end_do_not_matter_but_ids_keep_theirs() {
    let app = TestApp::start().await;
    assert_eq!(app.post("/API/Tasks/", r#"{"id":"MixedCase","title":"T"}"#).await.status, 201);
    assert_eq!(app.get("/Api/TASKS/MixedCase/").await.status, 200);
    assert_eq!(app.get("/api/tasks/mixedcase").await.status, 404);
    assert_eq!(app.get("/API/openapi.JSON").await.status, 200);
}

#[tokio::test]
async fn request_ids_are_taken_made_and_returned() {
    let app = TestApp::start().await;
    let sent = app.send("GET", "/api/tasks/none", &[("x-request-id", "my-id.1")], "").await;
    assert_eq!(sent.header("x-request-id"), Some("my-id.1"));
    assert_eq!(sent.json()["instance"], "urn:annika:request:my-id.1");
    for hostile in ["a b", "a\"b", &"x".repeat(129)] {
        let answer = app.send("GET", "/api/tasks/none", &[("x-request-id", hostile)], "").await;
        assert_ne!(answer.header("x-request-id"), Some(hostile), "only harmless ids are taken over");
    }
}
