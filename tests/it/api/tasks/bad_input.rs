//! Bad input gets an error that names field and rule, and changes nothing.

use annika_sync::lens::MAX_BYTES;
use redis::AsyncCommands;
use serde_json::json;

use crate::api::TestApp;

async fn size(app: &mut TestApp) -> i64 {
    redis::cmd("DBSIZE").query_async(&mut app.redis).await.unwrap()
}

#[tokio::test]
async fn documents_that_break_rules_are_refused_whole() {
    let mut app = TestApp::start().await;
    insta::assert_snapshot!(app.post("/api/tasks", r#"{"title":" "}"#).await.shown(), @r##"
    422 Unprocessable Entity
    {
      "code": "invalid",
      "detail": "title must not be blank",
      "errors": [
        {
          "field": "title",
          "message": "must not be blank",
          "rule": "required"
        }
      ],
      "instance": "urn:annika:request:00000000-0000-4001-8000-000000000002",
      "status": 422,
      "title": "Unprocessable Entity",
      "type": "urn:annika:problem:invalid"
    }
    "##);
    insta::assert_snapshot!(app.post("/api/tasks", r#"{"title":"T","due_date":"soon","percent_complete":-1}"#).await.shown(), @r##"
    422 Unprocessable Entity
    {
      "code": "invalid",
      "detail": "2 rules are broken; `errors` names them",
      "errors": [
        {
          "field": "percent_complete",
          "message": "must be between 0 and 1, or above 1 and up to 100 for per cent",
          "rule": "range"
        },
        {
          "field": "due_date",
          "message": "must be a date (YYYY-MM-DD) or a date-time (RFC 3339)",
          "rule": "date"
        }
      ],
      "instance": "urn:annika:request:00000000-0000-4005-8000-000000000006",
      "status": 422,
      "title": "Unprocessable Entity",
      "type": "urn:annika:problem:invalid"
    }
    "##);
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("{'title':'T'}", 400),
        (r#"{"title":"T","title":"U"}"#, 400),
        ("[]", 422),
        ("null", 422),
        ("{}", 422),
        (r#"{"title":7}"#, 422),
        (r#"{"title":"T","id":7}"#, 422),
        (r#"{"title":"T","id":null}"#, 422),
        (r#"{"title":"T","assigned_to":7}"#, 422),
        (r#"{"title":"T","start_date":"2026-02-01","due_date":"2026-01-01"}"#, 422),
    ] {
        let posted = app.post("/api/tasks", body).await;
        assert_eq!(posted.status, status, "POST {body}: {}", posted.text);
        let put = app.put("/api/tasks/t", body).await;
        assert_eq!(put.status, status, "PUT {body}: {}", put.text);
        if status == 422 {
            assert!(!posted.json()["errors"][0]["rule"].as_str().unwrap().is_empty(), "{body}");
        }
    }
    assert_eq!(size(&mut app).await, 0, "nothing was changed");
}

#[tokio::test]
async fn hostile_ids_are_refused_in_path_and_document() {
    let mut app = TestApp::start().await;
    for id in ["updates", "sync", "a:b", "a\nb", "a\0b", " a", "a ", "\u{1f}", &"x".repeat(257)] {
        let document = json!({"id": id, "title": "T"}).to_string();
        let posted = app.post("/api/tasks", &document).await;
        assert_eq!(
            (posted.status.as_u16(), &posted.json()["errors"][0]["field"]),
            (422, &json!("id")),
            "{id:?}"
        );
        let encoded = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/api/tasks/{encoded}");
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let answer = app.send(method, &path, &[], r#"{"title":"T"}"#).await;
            assert_eq!(answer.status, 422, "{method} {id:?}");
        }
    }
    assert_eq!(app.get("/api/tasks/%ff%fe").await.status, 422, "no UTF-8");
    let other = app.put("/api/tasks/t", r#"{"id":"other","title":"T"}"#).await;
    assert_eq!((other.status.as_u16(), &other.json()["errors"][0]["rule"]), (422, &json!("match")));
    assert_eq!(size(&mut app).await, 0);
}

#[tokio::test]
async fn ids_that_look_dangerous_and_are_not_work() {
    let app = TestApp::start().await;
    for id in ["a/b", "../x", "%41", "Ünï çödé", "a?b#c", "*", "[x]", "{id}", "'\"\\"] {
        let document = json!({"id": id, "title": "T"}).to_string();
        let created = app.post("/api/tasks", &document).await;
        assert_eq!(created.status, 201, "{id:?}: {}", created.text);
        let location = created.header("location").unwrap().to_owned();
        assert_eq!(app.get(&location).await.json()["id"], id);
        assert_eq!(app.delete(&location).await.status, 204, "{id:?}");
    }
}

#[tokio::test]
async fn a_document_may_have_256_kib_and_not_a_byte_more() {
    let mut app = TestApp::start().await;
    let filled = |size: usize| {
        let frame = r#"{"id":"t","title":"T","x":""}"#.len();
        format!(r#"{{"id":"t","title":"T","x":"{}"}}"#, "x".repeat(size - frame))
    };
    let large = filled(MAX_BYTES + 1);
    for answer in [app.post("/api/tasks", &large).await, app.put("/api/tasks/t", &large).await] {
        assert_eq!((answer.status.as_u16(), answer.code()), (413, json!("document_too_large")));
    }
    assert_eq!(size(&mut app).await, 0);
    assert_eq!(app.post("/api/tasks", &filled(MAX_BYTES)).await.status, 201);
    // A small patch may not make it grow beyond the limit either.
    let grown = app.patch("/api/tasks/t", r#"{"y":"z"}"#).await;
    assert_eq!((grown.status.as_u16(), grown.code()), (413, json!("document_too_large")));
}

#[tokio::test]
async fn a_patch_is_checked_by_its_result() {
    let app = TestApp::start().await;
    app.put("/api/tasks/t", r#"{"title":"T"}"#).await;
    for patch in [r#"{"title":null}"#, r#"{"title":""}"#, r#"{"id":"u"}"#, r#"{"percent_complete":"x"}"#] {
        assert_eq!(app.patch("/api/tasks/t", patch).await.status, 422, "{patch}");
    }
    assert_eq!(app.patch("/api/tasks/t", "[]").await.status, 422);
    assert_eq!(app.patch("/api/tasks/t", "{").await.status, 400);
    assert_eq!(app.get("/api/tasks/t").await.text, r#"{"title":"T","id":"t"}"#);
}

#[tokio::test]
async fn a_taken_id_other_media_types_unknown_addresses_and_methods() {
    let app = TestApp::start().await;
    app.put("/api/tasks/t", r#"{"title":"T"}"#).await;
    insta::assert_snapshot!(app.post("/api/tasks", r#"{"id":"t","title":"U"}"#).await.shown(), @r##"
    409 Conflict
    {
      "code": "task_exists",
      "detail": "the task `t` exists already; PUT replaces it, PATCH changes it",
      "instance": "urn:annika:request:00000000-0000-4003-8000-000000000004",
      "status": 409,
      "title": "Conflict",
      "type": "urn:annika:problem:task_exists"
    }
    "##);
    let form = app.send("POST", "/api/tasks", &[("content-type", "text/plain")], "{}").await;
    assert_eq!((form.status.as_u16(), form.code()), (415, json!("unsupported_media_type")));
    let charset = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(app.send("POST", "/api/tasks", &charset, r#"{"title":"T"}"#).await.status, 201);
    for path in ["/", "/api", "/api/tasks/a/b", "/api/tasks//", "/nowhere", "/planner_poll"] {
        let answer = app.post(path, "{}").await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, json!("route_not_found")), "{path}");
    }
    let method = app.send("POST", "/api/tasks/t", &[], "").await;
    assert_eq!((method.status.as_u16(), method.code()), (405, json!("method_not_allowed")));
    let allowed = method.header("allow").unwrap();
    assert!(["GET", "PUT", "PATCH", "DELETE"].iter().all(|name| allowed.contains(name)), "{allowed}");
}

#[tokio::test]
async fn a_broken_stored_document_is_named_and_can_be_replaced_or_deleted() {
    let mut app = TestApp::start().await;
    let () = app.redis.set("annika:tasks:t", "{broken").await.unwrap();
    insta::assert_snapshot!(app.get("/api/tasks/t").await.shown(), @r##"
    409 Conflict
    {
      "code": "task_unreadable",
      "detail": "what is stored for the task `t` cannot be read (the document is not JSON (line 1, column 2)); replace it with PUT or DELETE it",
      "instance": "urn:annika:request:00000000-0000-4001-8000-000000000002",
      "status": 409,
      "title": "Conflict",
      "type": "urn:annika:problem:task_unreadable"
    }
    "##);
    assert_eq!(app.patch("/api/tasks/t", "{}").await.code(), "task_unreadable");
    assert_eq!(app.put("/api/tasks/t", r#"{"title":"T"}"#).await.status, 200);
    let () = app.redis.set("annika:tasks:t", "{broken").await.unwrap();
    assert_eq!(app.delete("/api/tasks/t").await.status, 204);
    let () = app.redis.del("annika:tasks:t").await.unwrap();
    let () = app.redis.rpush("annika:tasks:t", "x").await.unwrap();
    let wrong = app.get("/api/tasks/t").await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (409, json!("redis_wrong_type")));
}
