//! ETags: `If-Match`, `If-None-Match`, and the stamp that does not count.

use redis::AsyncCommands;

use crate::api::TestApp;

#[tokio::test]
async fn if_match_protects_every_kind_of_write() {
    let app = TestApp::start().await;
    let etag = app.put("/api/tasks/t", r#"{"title":"A"}"#).await.header("etag").unwrap().to_owned();
    let newer = app.patch("/api/tasks/t", r#"{"title":"B"}"#).await.header("etag").unwrap().to_owned();
    for method in ["PUT", "PATCH", "DELETE"] {
        let body = if method == "DELETE" { "" } else { r#"{"title":"C"}"# };
        let stale = app.send(method, "/api/tasks/t", &[("if-match", &etag)], body).await;
        assert_eq!((stale.status.as_u16(), stale.code()), (412, "precondition_failed".into()), "{method}");
        let weak = app.send(method, "/api/tasks/t", &[("if-match", &format!("W/{newer}"))], body).await;
        assert_eq!(weak.status, 412, "{method}: a weak ETag matches nothing");
        let bare = app.send(method, "/api/tasks/t", &[("if-match", newer.trim_matches('"'))], body).await;
        assert_eq!((bare.status.as_u16(), bare.code()), (400, "bad_header".into()), "{method}");
    }
    assert_eq!(app.get("/api/tasks/t").await.json()["title"], "B", "nothing was changed");
    let several = format!("{etag}, {newer}");
    let patched = app.send("PATCH", "/api/tasks/t", &[("if-match", &several)], r#"{"title":"C"}"#).await;
    assert_eq!(patched.status, 200);
    let any = app.send("PUT", "/api/tasks/t", &[("if-match", "*")], r#"{"title":"D"}"#).await;
    assert_eq!(any.status, 200);
    let etag = any.header("etag").unwrap();
    assert_eq!(app.send("DELETE", "/api/tasks/t", &[("if-match", etag)], "").await.status, 204);
    let gone = app.send("PUT", "/api/tasks/t", &[("if-match", "*")], r#"{"title":"E"}"#).await;
    assert_eq!(gone.status, 412);
}

#[tokio::test]
async fn if_none_match_creates_only_and_saves_reading_again() {
    let app = TestApp::start().await;
    let only_new = [("if-none-match", "*")];
    let created = app.send("PUT", "/api/tasks/t", &only_new, r#"{"title":"A"}"#).await;
    assert_eq!(created.status, 201);
    assert_eq!(app.send("PUT", "/api/tasks/t", &only_new, r#"{"title":"B"}"#).await.status, 412);
    let etag = created.header("etag").unwrap();
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let answer = app.send("GET", "/api/tasks/t", &[("if-none-match", &known)], "").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (304, ""), "{known}");
        assert_eq!(answer.header("etag"), Some(etag));
    }
    assert_eq!(app.send("GET", "/api/tasks/t", &[("if-none-match", "\"x\"")], "").await.status, 200);
    let odd = app.send("PUT", "/api/tasks/t", &[("if-none-match", etag)], r#"{"title":"B"}"#).await;
    assert_eq!(odd.status, 400);
}

#[tokio::test]
async fn the_syncs_stamp_changes_no_etag_and_causes_no_412() {
    let mut app = TestApp::start().await;
    let etag = app.put("/api/tasks/t", r#"{"id":"t","title":"A"}"#).await.header("etag").unwrap().to_owned();
    let stamped = r#"{"id":"t","title":"A","_sync":{"rev":"r","planner_id":"P","etag":"W/\"x\""}}"#;
    let () = app.redis.set("annika:tasks:t", stamped).await.unwrap();
    assert_eq!(app.get("/api/tasks/t").await.header("etag"), Some(etag.as_str()));
    let patched = app.send("PATCH", "/api/tasks/t", &[("if-match", &etag)], r#"{"title":"B"}"#).await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.json()["_sync"]["rev"], "r");
}
