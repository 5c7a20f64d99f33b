//! The rules of conduct find what they are for, and nothing else.

use annika_devkit::graph::{Effect, Fault, conduct::Rule, seed};
use reqwest::Method;
use serde_json::json;

use super::Graph;

fn path() -> String {
    format!("/planner/tasks/{}", seed::TASK)
}

fn rules(graph: &Graph) -> Vec<Rule> {
    graph.sim.control().breaches().into_iter().map(|breach| breach.rule).collect()
}

#[tokio::test]
async fn a_well_behaved_session_breaks_none() {
    let graph = Graph::start().await;
    let made = graph.post("/planner/tasks", json!({"planId": seed::PLAN, "title": "T"})).await;
    let path = format!("/planner/tasks/{}", made.body["id"].as_str().unwrap());
    let changed = graph.patch(&path, &made.etag(), json!({"title": "U", "percentComplete": 50})).await;
    graph.sim.control().fault(Fault::on("/tasks/", Effect::status(403)).method("PATCH").times(2)).unwrap();
    for _ in 0..2 {
        assert_eq!(graph.patch(&path, &changed.etag(), json!({"title": "V"})).await.status, 403);
    }
    assert_eq!(graph.delete(&path, &changed.etag()).await.status, 204);
    for _ in 0..3 {
        assert_eq!(graph.get(&path).await.status, 404, "reads may ask again");
    }
    // People and their pages may do as they like.
    graph.sim.control().person_create(seed::PERSON, json!({"planId": seed::PLAN, "title": "T"})).unwrap();
    graph.sim.control().person_create(seed::PERSON, json!({"planId": seed::PLAN, "title": "T"})).unwrap();
    assert_eq!(rules(&graph), []);
}

#[tokio::test]
async fn each_rule_finds_its_breach() {
    let graph = Graph::start().await;
    let tag = graph.get(&path()).await.etag();
    graph.send(Method::PATCH, &path(), &[], Some(json!({"title": "x"}))).await;
    assert_eq!(rules(&graph), [Rule::IfMatch]);
    graph.delete(&path(), "*").await;
    assert_eq!(rules(&graph)[1..], [Rule::AnyEtag]);
    graph.patch(&path(), &tag, json!({"hasDescription": true, "title@odata.type": "x"})).await;
    assert_eq!(rules(&graph)[2..], [Rule::ReadOnly]);
    for _ in 0..2 {
        assert_eq!(graph.patch(&path(), &tag, json!({"priority": 11})).await.status, 400);
    }
    assert_eq!(graph.patch(&path(), &tag, json!({"priority": 12})).await.status, 400);
    assert_eq!(rules(&graph)[3..], [Rule::Permanent], "another body is another attempt");
    for _ in 0..2 {
        graph.post("/planner/tasks", json!({"planId": seed::PLAN, "title": "T"})).await;
    }
    assert_eq!(rules(&graph)[4..], [Rule::CreatedTwice]);
    graph.sim.control().fault(Fault::on("/tasks/", Effect::status_retry(429, 30))).unwrap();
    graph.get(&path()).await;
    graph.get(&path()).await;
    assert_eq!(rules(&graph)[5..], [], "it may have been on its way");
    graph.sim.control().advance(std::time::Duration::from_secs(1));
    graph.get(&path()).await;
    assert_eq!(rules(&graph)[5..], [Rule::RetryAfter]);
    let told = graph.sim.control().breaches().pop().unwrap().to_string();
    assert!(told.contains("inside the time of a Retry-After"), "{told}");
    // A limit is for good after the first time.
    let full = Effect::Status {
        status: 403,
        code: Some("MaximumTasksInProject".into()),
        message: None,
        retry_after: None,
        body: annika_devkit::graph::BodyForm::Json,
        when: annika_devkit::graph::When::Before,
    };
    let graph = Graph::start().await;
    graph.sim.control().fault(Fault::on("/tasks$", full).times(0)).unwrap();
    for _ in 0..2 {
        graph.post("/planner/tasks", json!({"planId": seed::PLAN, "title": "T"})).await;
    }
    assert_eq!(rules(&graph), [Rule::Permanent]);
}
