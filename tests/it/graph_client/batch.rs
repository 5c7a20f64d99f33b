//! Batches: ids, order, items that are missing, doubtful or rejected.

use crate::fake::{Fake, Seen, answer, answer_with, app};
use annika::graph::{MAX_BATCH, NotSent, Outcome, Request, Unknown, planner};
use axum::response::Response;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Answers each item what `item` says, in reverse order; `None` leaves it out.
fn batch(seen: &Seen, item: impl Fn(&Value) -> Option<Value>) -> Response {
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1.0/$batch"));
    let body = seen.json();
    let responses: Vec<Value> = body["requests"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .filter_map(|request| {
            let mut answer = item(request)?;
            answer["id"] = request["id"].clone();
            Some(answer)
        })
        .collect();
    answer(200, &json!({ "responses": responses }))
}

fn statuses(outcomes: &[Outcome]) -> Vec<Option<u16>> {
    let status = |outcome: &Outcome| match outcome {
        Outcome::Answer(answer) => Some(answer.status),
        _ => None,
    };
    outcomes.iter().map(status).collect()
}

#[tokio::test]
async fn answers_in_any_order_find_their_requests() {
    let fake = Fake::graph(|seen| {
        batch(seen, |request| match request["method"].as_str().unwrap() {
            "POST" => Some(json!({"status": 201, "body": {"id": "new", "@odata.etag": "W/\"n\""}})),
            "PATCH" => {
                Some(json!({"status": 429, "headers": {"retry-after": 7}, "body": {"error": {"code": ""}}}))
            }
            "DELETE" => Some(json!({"status": 204})),
            _ => Some(json!({"status": 503, "headers": {"Retry-After": "3"}})),
        })
    })
    .await;
    let graph = app(&fake.url, Arc::default()).graph;
    let requests = vec![
        planner::create_task(json!({"title": "a"})),
        planner::update_task("t2", "W/\"2\"", json!({"title": "b"})),
        planner::delete_task("t3", "W/\"3\""),
        planner::update_details("t4", "W/\"4\"", json!({})),
        planner::get_task("t5"),
    ];
    let outcomes = graph.batch(requests).await;
    assert_eq!(statuses(&outcomes), [Some(201), Some(429), Some(204), Some(429), None]);
    let Outcome::Answer(created) = &outcomes[0] else { unreachable!() };
    assert_eq!(
        (created.etag.as_deref(), &created.body.as_ref().unwrap()["id"]),
        (Some("W/\"n\""), &json!("new"))
    );
    assert_eq!(outcomes[1].retry_after(), Some(Duration::from_secs(7)));
    let wait = Some(Duration::from_secs(3));
    assert_eq!(outcomes[4], Outcome::Unknown(Unknown::ServerError { status: 503, retry_after: wait }));

    let sent = fake.seen("$batch")[0].json();
    let patch = &sent["requests"][1];
    assert_eq!((&patch["id"], &patch["url"]), (&json!("2"), &json!("/planner/tasks/t2")));
    assert_eq!(
        patch["headers"],
        json!({"Content-Type": "application/json", "If-Match": "W/\"2\"", "Prefer": "return=representation"})
    );
    assert_eq!(sent["requests"][2].get("body"), None);
    assert_eq!((graph.counters().requests, graph.counters().sub_requests), (1, 5));
}

#[tokio::test]
async fn a_missing_item_is_unknown_and_a_foreign_one_ignored() {
    let fake = Fake::graph(|seen| {
        let requests = seen.json();
        assert_eq!(requests["requests"].as_array().unwrap().len(), 3);
        answer(
            200,
            &json!({"responses": [
                {"id": "99", "status": 204},
                {"id": "3", "status": 204},
                {"id": "3", "status": 404, "body": {}},
                {"id": "1", "status": 204},
            ]}),
        )
    })
    .await;
    let graph = app(&fake.url, Arc::default()).graph;
    let outcomes =
        graph.batch((0..3).map(|n| planner::delete_task(&format!("t{n}"), "W/\"1\"")).collect()).await;
    assert_eq!(statuses(&outcomes), [Some(204), None, None]);
    assert_eq!(outcomes[1], Outcome::Unknown(Unknown::MissingFromBatch));
    assert!(
        matches!(outcomes[2], Outcome::Unknown(Unknown::Unreadable(_))),
        "two answers: {:?}",
        outcomes[2]
    );
}

#[tokio::test]
async fn a_batch_that_is_refused_lost_or_unreadable_says_so_for_each_request() {
    let writes = || (0..2).map(|n| planner::delete_task(&format!("t{n}"), "W/\"1\"")).collect::<Vec<_>>();
    let throttled = Fake::graph(|_| answer_with(429, "retry-after", "9", &json!({}))).await;
    let outcomes = app(&throttled.url, Arc::default()).graph.batch(writes()).await;
    assert_eq!(statuses(&outcomes), [Some(429), Some(429)]);
    assert_eq!(outcomes[1].retry_after(), Some(Duration::from_secs(9)));

    for (status, body) in [(200, json!({"responses": 7})), (200, json!({})), (504, json!({}))] {
        let fake = Fake::graph(move |_| answer(status, &body)).await;
        let outcomes = app(&fake.url, Arc::default()).graph.batch(writes()).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Unknown(_))), "{outcomes:?}");
        assert_eq!(fake.seen("$batch").len(), 1, "writes are never repeated");
    }
}

#[tokio::test]
async fn items_rejected_for_their_token_go_once_more_and_only_those() {
    let fake = Fake::graph(|seen| {
        let first = seen.before == 0;
        batch(seen, |request| {
            let rejected = first && request["url"] == "/planner/tasks/t1";
            Some(json!({"status": if rejected { 401 } else { 204 }}))
        })
    })
    .await;
    let graph = app(&fake.url, Arc::default()).graph;
    let outcomes =
        graph.batch((0..3).map(|n| planner::delete_task(&format!("t{n}"), "W/\"1\"")).collect()).await;
    assert_eq!(statuses(&outcomes), [Some(204); 3]);
    let batches = fake.seen("$batch");
    assert_eq!(batches[1].json()["requests"].as_array().unwrap().len(), 1);
    assert_eq!(batches[1].header("authorization"), Some("Bearer token-2"));
}

#[tokio::test]
async fn a_batch_of_reads_is_repeated_and_one_request_goes_by_itself() {
    let fake = Fake::graph(|seen| match (seen.target.as_str(), seen.before) {
        ("/v1.0/$batch", 0) => answer(503, &json!({})),
        ("/v1.0/$batch", _) => batch(seen, |_| Some(json!({"status": 200, "body": {"id": "t"}}))),
        _ => answer(200, &json!({"id": "alone"})),
    })
    .await;
    let graph = app(&fake.url, Arc::default()).graph;
    let outcomes = graph.batch(vec![planner::get_task("a"), planner::get_task("b")]).await;
    assert_eq!(statuses(&outcomes), [Some(200), Some(200)]);
    assert_eq!(statuses(&graph.batch(vec![planner::get_task("c")]).await), [Some(200)]);
    assert_eq!(fake.seen("$batch").len(), 2);
    assert_eq!(fake.seen("/planner/tasks/c").len(), 1);
    assert!(graph.batch(Vec::new()).await.is_empty());
}

#[tokio::test]
async fn what_may_not_be_sent_takes_nothing_else_down() {
    let fake = Fake::graph(|seen| batch(seen, |_| Some(json!({"status": 204})))).await;
    let graph = app(&fake.url, Arc::default()).graph;
    let requests = vec![planner::delete_task("..", "W/\"1\""), planner::delete_task("t", "W/\"1\"")];
    let outcomes = graph.batch(requests).await;
    assert!(matches!(outcomes[0], Outcome::NotSent(NotSent::Invalid(_))), "{outcomes:?}");
    assert_eq!(statuses(&outcomes)[1], Some(204));

    let many = graph.batch(vec![Request::get("/planner"); MAX_BATCH + 1]).await;
    assert_eq!(many.len(), MAX_BATCH + 1);
    assert!(many.iter().all(|outcome| matches!(outcome, Outcome::NotSent(NotSent::Invalid(_)))));
    assert_eq!(fake.seen("$batch").len(), 1);
}
