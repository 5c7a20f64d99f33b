//! `GET /api/tasks`.

use redis::AsyncCommands;
use serde_json::json;

use crate::api::TestApp;

#[tokio::test]
async fn pages_filters_and_unreadable_documents() {
    let mut app = TestApp::start().await;
    for (id, plan) in [("a", "P"), ("b", "Q"), ("c", "P")] {
        app.post("/api/tasks", &format!(r#"{{"id":"{id}","title":"T","plan_id":"{plan}"}}"#)).await;
    }
    let () = app.redis.set("annika:tasks:c", "{broken").await.unwrap();
    let first = app.get("/api/tasks?limit=1&code=the-hosts-own-key").await.json();
    assert_eq!(first["tasks"], json!([{"id": "a", "title": "T", "plan_id": "P"}]));
    let cursor = first["cursor"].as_str().unwrap();
    let second = app.get(&format!("/api/tasks?limit=1&cursor={cursor}")).await.json();
    assert_eq!(second["tasks"][0]["id"], "b");
    insta::assert_snapshot!(app.get("/api/tasks?plan=P").await.shown(), @r##"
    200 OK
    {
      "cursor": null,
      "tasks": [
        {
          "id": "a",
          "plan_id": "P",
          "title": "T"
        }
      ],
      "unreadable": [
        {
          "code": "document_not_json",
          "id": "c"
        }
      ]
    }
    "##);
    insta::assert_snapshot!(app.get("/api/tasks?plan=none&assignee=&status=").await.shown(), @r##"
    200 OK
    {
      "cursor": null,
      "tasks": []
    }
    "##);
    let foreign = app.get(&format!("/api/tasks?plan=P&cursor={cursor}")).await;
    assert_eq!((foreign.status.as_u16(), foreign.code()), (400, json!("bad_cursor")));
}

#[tokio::test]
async fn a_bad_limit_names_the_field_and_the_rule() {
    let app = TestApp::start().await;
    for limit in ["0", "201", "-1", "x", "1.5"] {
        let answer = app.get(&format!("/api/tasks?limit={limit}")).await;
        assert_eq!(answer.status, 422, "{limit}");
        assert_eq!(answer.json()["errors"][0]["field"], "limit");
    }
    assert_eq!(app.get("/api/tasks?plan=a&plan=b").await.code(), "bad_query");
    assert_eq!(app.get("/api/tasks?limit=").await.status, 200);
}
