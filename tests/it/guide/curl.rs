//! The curl program against a server that fails on purpose: it never changes what it could not read.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use std::{
    process::Output,
    sync::{Arc, Mutex},
};

use super::{DEADLINE, agents};

/// What is asked for next (GET or PATCH), the status of the answer, and whether it has an ETag.
type Answer = (&'static str, u16, bool);

#[derive(Clone)]
struct Server {
    left: Arc<Mutex<Vec<Answer>>>,
    /// The `If-Match` of each PATCH.
    patches: Arc<Mutex<Vec<Option<String>>>>,
}

async fn answer(State(server): State<Server>, method: Method, headers: HeaderMap, _: Bytes) -> Response {
    if method == Method::POST {
        return (StatusCode::CREATED, "{}").into_response();
    }
    if method == Method::PATCH {
        let tag = headers.get("if-match").map(|value| value.to_str().unwrap().to_owned());
        server.patches.lock().unwrap().push(tag.filter(|tag| !tag.is_empty()));
    }
    let mut left = server.left.lock().unwrap();
    if left.first().is_none_or(|(wanted, ..)| *wanted != method.as_str()) {
        return (StatusCode::NOT_IMPLEMENTED, "not the request that was expected").into_response();
    }
    let (_, status, tagged) = left.remove(0);
    let body = r#"{"_sync":{"planner_id":"p"}}"#;
    let status = StatusCode::from_u16(status).unwrap();
    if tagged { (status, [("etag", "\"1\"")], body).into_response() } else { (status, body).into_response() }
}

/// Runs the program; returns how it ended and the `If-Match` of each PATCH.
async fn against(answers: &[Answer]) -> Option<(Output, Vec<Option<String>>)> {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        annika_devkit::oracle::skip("guide::curl", "there is no curl");
        return None;
    }
    let server = Server { left: Arc::new(Mutex::new(answers.to_vec())), patches: Arc::default() };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(server.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut sh = tokio::process::Command::new("sh");
    sh.arg(agents().join("agent.sh")).env("ANNIKA_URL", url).env("ANNIKA_KEY", "key").env("no_proxy", "*");
    let output = tokio::time::timeout(DEADLINE, sh.kill_on_drop(true).output()).await.unwrap().unwrap();
    serving.abort();
    assert_eq!(server.left.lock().unwrap().len(), 0, "every answer was asked for: {output:?}");
    let patches = server.patches.lock().unwrap().clone();
    Some((output, patches))
}

#[tokio::test]
async fn a_refused_patch_is_tried_again_on_a_fresh_reading() {
    let answers = &[
        ("GET", 200, true),
        ("GET", 200, true),
        ("PATCH", 412, false),
        ("GET", 200, true),
        ("PATCH", 200, true),
    ];
    let Some((output, patches)) = against(answers).await else { return };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(patches, vec![Some("\"1\"".to_owned()); 2]);
}

#[tokio::test]
async fn a_reading_that_fails_ends_the_program_without_a_patch() {
    let Some((output, patches)) = against(&[("GET", 200, true), ("GET", 503, false)]).await else { return };
    assert_eq!((output.status.success(), patches), (false, Vec::new()), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("503"), "{output:?}");
}

#[tokio::test]
async fn a_reading_without_an_etag_ends_the_program_without_a_patch() {
    let Some((output, patches)) = against(&[("GET", 200, true), ("GET", 200, false)]).await else { return };
    assert_eq!((output.status.success(), patches), (false, Vec::new()), "{output:?}");
}

#[tokio::test]
async fn a_change_that_is_refused_for_good_is_no_success() {
    let answers = &[("GET", 200, true), ("GET", 200, true), ("PATCH", 503, false)];
    let Some((output, patches)) = against(answers).await else { return };
    assert_eq!((output.status.success(), patches.len()), (false, 1), "{output:?}");
}
