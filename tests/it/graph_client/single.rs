//! Single requests: headers, tokens, doubt, repetition.

use crate::fake::{Fake, TestClock, answer, answer_with, app};
use annika::{
    entra::TokenError,
    graph::{Method, NotSent, Outcome, Request, Unknown, planner},
};
use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

fn cut() -> Response {
    let pieces = [Ok("{\"id\":\"t1\",\"ti"), Err(io::Error::other("cut"))];
    Response::new(Body::from_stream(futures::stream::iter(pieces)))
}

fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Answer(answer) => answer.status,
        other => panic!("an answer, not {other:?}"),
    }
}

#[tokio::test]
async fn a_change_carries_token_etag_and_preference_and_brings_the_new_etag() {
    let fake =
        Fake::graph(|_| answer(200, &json!({"@odata.etag": "W/\"2\"", "id": "t1", "percentComplete": 50})))
            .await;
    let graph = app(&fake.url, Arc::default()).graph;
    let outcome = graph.send(planner::update_task("t1", "W/\"1\"", json!({"percentComplete": 50}))).await;

    let Outcome::Answer(reply) = outcome else { panic!("{outcome:?}") };
    assert_eq!((reply.status, reply.etag.as_deref()), (200, Some("W/\"2\"")));
    assert_eq!(reply.body.unwrap()["percentComplete"], 50);
    let seen = &fake.seen("/v1.0/")[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PATCH", "/v1.0/planner/tasks/t1"));
    assert_eq!(seen.header("authorization"), Some("Bearer token-1"));
    assert_eq!(seen.header("if-match"), Some("W/\"1\""));
    assert_eq!(seen.header("prefer"), Some("return=representation"));
    assert!(seen.header("accept-encoding").unwrap().starts_with("gzip"));
    assert_eq!(seen.json(), json!({"percentComplete": 50}));
    assert_eq!((graph.counters().requests, graph.counters().sub_requests), (1, 1));
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once_and_the_request_sent_once_more() {
    let fake = Fake::graph(|seen| match seen.header("authorization") {
        Some("Bearer token-1") => answer(401, &json!({"error": {"code": "InvalidAuthenticationToken"}})),
        _ => answer(201, &json!({"id": "t1"})),
    })
    .await;
    let graph = app(&fake.url, Arc::default()).graph;
    assert_eq!(status(&graph.send(planner::create_task(json!({"title": "a"}))).await), 201);
    assert_eq!(fake.seen("/planner/tasks").len(), 2);
    assert_eq!(fake.seen("/oauth2/").len(), 2);
    assert_eq!(status(&graph.send(planner::get_task("t1")).await), 201);
    assert_eq!(fake.seen("/oauth2/").len(), 2, "the new token is kept");
}

#[tokio::test]
async fn a_graph_that_rejects_every_token_does_not_become_a_storm_on_entra() {
    let fake = Fake::graph(|_| answer(401, &json!({"error": {"code": ""}}))).await;
    let graph = app(&fake.url, Arc::default()).graph;
    for _ in 0..10 {
        assert_eq!(status(&graph.send(planner::delete_task("t1", "W/\"1\"")).await), 401);
    }
    assert_eq!(fake.seen("/oauth2/").len(), 2);
    assert_eq!(fake.seen("/planner/").len(), 11, "one repetition, with the one new token");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_never_repeated() {
    let fake = Fake::graph(|seen| match seen.method.as_str() {
        "POST" => cut(),
        "PATCH" => answer_with(503, "retry-after", "2.5", &json!({})),
        _ => Response::new(Body::from("<html>no json</html>")),
    })
    .await;
    let graph = app(&fake.url, Arc::default()).graph;

    let created = graph.send(planner::create_task(json!({"title": "a"}))).await;
    assert_eq!(created, Outcome::Unknown(Unknown::Interrupted));
    let changed = graph.send(planner::update_task("t1", "W/\"1\"", json!({}))).await;
    let wait = Some(Duration::from_millis(2500));
    assert_eq!(changed, Outcome::Unknown(Unknown::ServerError { status: 503, retry_after: wait }));
    assert_eq!(changed.retry_after(), wait);
    let deleted = graph.send(planner::delete_task("t1", "W/\"1\"")).await;
    assert_eq!(deleted, Outcome::Unknown(Unknown::Unreadable("it is not JSON")));
    assert_eq!(fake.seen("/planner/").len(), 3);
}

#[tokio::test]
async fn a_dropped_connection_is_unknown_and_a_refused_one_is_not_sent() {
    let entra = Fake::graph(|_| answer(200, &json!({}))).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let graph_url = format!("http://{}", listener.local_addr().unwrap());
    let mut variables = crate::fake::secret_variables();
    variables.extend([("GRAPH_BASE_URL", graph_url), ("ENTRA_BASE_URL", entra.url.clone())]);
    let settings = crate::fake::settings(&variables);
    let app =
        annika::app::App::new(settings, Arc::new(TestClock::default()), annika::clock::SystemRng::shared())
            .unwrap();

    let accept = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 16];
        tokio::io::AsyncReadExt::read_exact(&mut connection, &mut request).await.unwrap();
    });
    let outcome = app.graph.send(planner::create_task(json!({"title": "a"}))).await;
    assert_eq!(outcome, Outcome::Unknown(Unknown::Interrupted));
    accept.await.unwrap();
    // The listener went with its task: nobody listens there now.
    let outcome = app.graph.send(planner::create_task(json!({"title": "a"}))).await;
    assert_eq!(outcome, Outcome::NotSent(NotSent::NoConnection));
}

#[tokio::test]
async fn a_read_is_repeated_after_the_wait_that_was_asked_for() {
    let script = Arc::new(Mutex::new(
        vec![
            answer_with(429, "retry-after", "1.5", &json!({})),
            answer(502, &json!({})),
            answer(200, &json!({"id": "t"})),
        ]
        .into_iter(),
    ));
    let fake = Fake::graph(move |_| script.lock().unwrap().next().unwrap()).await;
    let clock = Arc::new(TestClock::default());
    let graph = app(&fake.url, clock.clone()).graph;
    assert_eq!(status(&graph.send(planner::get_task("t")).await), 200);
    let slept = clock.slept();
    assert_eq!((slept.len(), slept[0]), (2, Duration::from_millis(1500)));
    assert_eq!(graph.counters().requests, 3);
}

#[tokio::test]
async fn a_long_wait_comes_back_to_the_caller_at_once() {
    let fake = Fake::graph(|_| answer_with(429, "retry-after", "120", &json!({"error": {"code": ""}}))).await;
    let clock = Arc::new(TestClock::default());
    let graph = app(&fake.url, clock.clone()).graph;
    let outcome = graph.send(planner::get_task("t")).await;
    assert_eq!((status(&outcome), outcome.retry_after()), (429, Some(Duration::from_secs(120))));
    assert!(clock.slept().is_empty());
    let outcome = graph.send(planner::delete_task("t", "W/\"1\"")).await;
    assert_eq!((status(&outcome), outcome.retry_after()), (429, Some(Duration::from_secs(120))));
}

#[tokio::test]
async fn an_http_date_counts_from_the_clock() {
    let clock = Arc::new(TestClock::default());
    let at = jiff::Timestamp::from_millisecond(annika::clock::Clock::now_ms(&*clock) + 90_000).unwrap();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap();
    let fake = Fake::graph(move |_| answer_with(429, "retry-after", &date, &json!({}))).await;
    let outcome = app(&fake.url, clock).graph.send(planner::delete_task("t", "W/\"1\"")).await;
    let wait = outcome.retry_after().unwrap();
    assert!(Duration::from_secs(80) < wait && wait <= Duration::from_secs(90), "{wait:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stranger = Fake::start(|_| answer(200, &json!({"id": "t"}))).await;
    let elsewhere = format!("{}/v1.0/planner/tasks/t", stranger.url);
    let fake = Fake::graph(move |_| answer_with(302, "location", &elsewhere, &json!({}))).await;
    let graph = app(&fake.url, Arc::default()).graph;
    for request in [planner::get_task("t"), planner::update_task("t", "W/\"1\"", json!({}))] {
        let outcome = graph.send(request).await;
        assert!(matches!(outcome, Outcome::Unknown(Unknown::Unreadable(_))), "{outcome:?}");
    }
    assert!(stranger.seen("").is_empty());
    assert_eq!(fake.seen("/planner/").len(), 2);
}

#[tokio::test]
async fn an_error_page_and_an_empty_code_leave_the_status() {
    let fake = Fake::graph(|seen| {
        if seen.method == "GET" {
            (StatusCode::FORBIDDEN, "<html>forbidden</html>").into_response()
        } else {
            answer(
                412,
                &json!({"error": {"code": "", "message": "The If-Match header contains an invalid value."}}),
            )
        }
    })
    .await;
    let graph = app(&fake.url, Arc::default()).graph;
    let outcome = graph.send(planner::get_task("t")).await;
    let Outcome::Answer(page) = outcome else { panic!("{outcome:?}") };
    assert_eq!((page.status, &page.body, page.error_code()), (403, &None, None));
    let outcome = graph.send(planner::delete_task("t", "W/\"1\"")).await;
    let Outcome::Answer(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.status, error.error_code()), (412, None));
    assert!(error.error_message().unwrap().contains("If-Match"));
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_not_sent() {
    let fake = Fake::graph(|_| answer(200, &json!({}))).await;
    let graph = app(&fake.url, Arc::default()).graph;
    let paths = [
        "planner",
        "//evil.example/x",
        "/../beta/x",
        "/planner/plans/..",
        "/planner/%2e%2E/x",
        "/a#b",
        "/\\x",
        "/planner/tasks/",
        "/planner/tasks//details",
        "@h/x",
    ];
    for path in paths {
        let outcome = graph.send(Request::new(Method::Get, path)).await;
        assert!(matches!(outcome, Outcome::NotSent(NotSent::Invalid(_))), "{path}: {outcome:?}");
    }
    assert!(fake.seen("").is_empty());
    assert_eq!(status(&graph.send(Request::get("/planner/tasks?$filter=planId%20eq%20'x'")).await), 200);
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_the_reason_names_the_variables() {
    let fake = Fake::start(|_| answer(200, &json!({}))).await;
    let variables = std::collections::HashMap::from([("GRAPH_BASE_URL", fake.url.clone())]);
    let settings = crate::fake::settings(&variables);
    let app =
        annika::app::App::new(settings, Arc::new(TestClock::default()), annika::clock::SystemRng::shared())
            .unwrap();
    let outcome = app.graph.send(planner::get_task("t")).await;
    let Outcome::NotSent(NotSent::NoToken(error @ TokenError::NotConfigured { .. })) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(error.to_string().contains("AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET"));
    assert!(fake.seen("").is_empty());
}
