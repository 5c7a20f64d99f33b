//! `$batch`: items by themselves, the rules of the whole, faults of single items.

use annika_devkit::graph::{Effect, EntryKind, Fault, Level, RetryAfter, seed};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, Reply};

fn create(id: usize) -> Value {
    json!({
        "id": id.to_string(), "method": "POST", "url": "/planner/tasks", "headers": {"Content-Type": "application/json"},
        "body": {"planId": seed::PLAN, "title": format!("batch {id}")},
    })
}

async fn batch(graph: &Graph, requests: Vec<Value>) -> Reply {
    graph.post("/$batch", json!({"requests": requests})).await
}

/// The answer to an item. Answers come in any order.
fn of(reply: &Reply, id: &str) -> Value {
    let responses = reply.body["responses"].as_array().unwrap_or_else(|| panic!("{:?}", reply.body));
    responses.iter().find(|response| response["id"] == id).unwrap_or_else(|| panic!("{id}")).clone()
}

#[tokio::test]
async fn twenty_pass_and_twenty_one_do_not() {
    let graph = Graph::start().await;
    let reply = batch(&graph, (0..20).map(create).collect()).await;
    assert_eq!(reply.status, 200);
    for id in 0..20 {
        let item = of(&reply, &id.to_string());
        assert_eq!(item["status"], 201);
        assert_eq!(item["body"]["title"], format!("batch {id}"));
    }
    let order: Vec<&Value> =
        reply.body["responses"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    let asked: Vec<Value> = (0..20).map(|id| json!(id.to_string())).collect();
    assert_ne!(order, asked.iter().collect::<Vec<_>>(), "answers come in another order");
    assert_eq!(batch(&graph, (0..21).map(create).collect()).await.status, 400);
    assert_eq!(graph.sim.control().tasks(seed::PLAN).len(), 22);
}

#[tokio::test]
async fn a_wrong_batch_does_nothing() {
    let graph = Graph::start().await;
    let mut twin = create(1);
    twin["url"] = json!("/planner/tasks/");
    let mut lost = create(2);
    lost["dependsOn"] = json!(["9"]);
    for requests in [vec![], vec![create(1), twin], vec![json!({"id": "1", "method": "GET"})], vec![lost]] {
        assert_eq!(batch(&graph, requests.clone()).await.status, 400, "{requests:?}");
    }
    assert_eq!(graph.sim.control().tasks(seed::PLAN).len(), 2);
}

#[tokio::test]
async fn items_have_headers_and_statuses_of_their_own() {
    let graph = Graph::start().await;
    let path = format!("/planner/tasks/{}", seed::TASK);
    let tag = graph.get(&path).await.etag();
    let patch = |id: &str, headers: Value| json!({"id": id, "method": "PATCH", "url": path, "headers": headers, "body": {"title": id}});
    let mut bare = create(1);
    bare.as_object_mut().unwrap().remove("headers");
    let reply = batch(
        &graph,
        vec![
            patch("good", json!({"Content-Type": "application/json", "If-Match": tag})),
            patch("stale", json!({"Content-Type": "application/json", "If-Match": tag, "Prefer": "return=representation"})),
            patch("none", json!({"Content-Type": "application/json"})),
            json!({"id": "list", "method": "GET", "url": format!("/planner/plans/{}/tasks", seed::PLAN)}),
            json!({"id": "nested", "method": "POST", "url": "/$batch", "headers": {"Content-Type": "application/json"}, "body": {}}),
            bare,
        ],
    )
    .await;
    let good = of(&reply, "good");
    assert_eq!((good["status"].as_u64(), good.get("body")), (Some(204), None));
    assert_eq!(of(&reply, "stale")["status"], 409);
    assert_eq!(of(&reply, "none")["status"], 412);
    assert_eq!(of(&reply, "list")["body"]["@odata.count"], 2);
    assert_eq!(of(&reply, "nested")["status"], 400);
    assert_eq!(of(&reply, "1")["status"], 400);

    let journal = graph.sim.control().journal();
    let outer = journal.iter().find(|entry| entry.kind == EntryKind::Batch).unwrap();
    let items: Vec<_> = journal.iter().filter(|entry| entry.batch == Some(outer.seq)).collect();
    assert_eq!(items.len(), 6);
    let first = items.iter().find(|entry| entry.item.as_deref() == Some("good")).unwrap();
    assert!(first.committed && first.status == Some(204) && first.headers["if-match"] == tag);
    assert_eq!(first.fields, ["title"]);
    assert_eq!(first.etag.as_deref(), graph.get(&path).await.body["@odata.etag"].as_str());
}

#[tokio::test]
async fn what_depends_on_a_failure_fails() {
    let graph = Graph::start().await;
    let mut wrong = create(1);
    wrong["body"]["title"] = json!("");
    let mut after = create(2);
    after["dependsOn"] = json!(["1"]);
    let reply = batch(&graph, vec![wrong, after]).await;
    assert_eq!(of(&reply, "1")["status"], 400);
    assert_eq!(of(&reply, "2")["status"], 424);
}

#[tokio::test]
async fn faults_strike_single_items() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let mut fault = Fault::on("/planner/tasks$", Effect::status_retry(429, 7));
    fault.matching.level = Level::Item;
    fault.matching.nth = Some(3);
    control.fault(fault).unwrap();
    let reply = batch(&graph, (0..5).map(create).collect()).await;
    let third = of(&reply, "2");
    assert_eq!((third["status"].as_u64(), third["headers"]["Retry-After"].as_str()), (Some(429), Some("7")));
    assert_eq!(control.tasks(seed::PLAN).len(), 6);

    let html = Effect::Status {
        status: 503,
        code: None,
        message: None,
        retry_after: Some(RetryAfter::Date(5)),
        body: annika_devkit::graph::BodyForm::Html,
        when: annika_devkit::graph::When::After,
    };
    control.fault(Fault::on("/planner/tasks$", html)).unwrap();
    let reply = batch(&graph, vec![create(1)]).await;
    assert_eq!(of(&reply, "1")["status"], 503);
    assert!(of(&reply, "1")["body"].is_string());
    assert_eq!(control.tasks(seed::PLAN).len(), 7, "the write took effect all the same");
    // The second request for the same came while its Retry-After ran.
    assert_eq!(control.counts().app.early, 1);

    control
        .fault(Fault {
            matching: annika_devkit::graph::Match { level: Level::Item, ..Default::default() },
            effect: Effect::lost_reply(),
        })
        .unwrap();
    let lost = graph.try_send(Method::POST, "/$batch", &[], Some(json!({"requests": [create(1)]}))).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(control.tasks(seed::PLAN).len(), 8);
}
