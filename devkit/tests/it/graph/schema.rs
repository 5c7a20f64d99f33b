//! The check against Microsoft's schemas catches what it should.

use std::collections::BTreeMap;

use annika_devkit::{
    graph::{Effect, Fault, GraphOptions, GraphSimulator, Side, seed},
    oracle,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, options};

/// A simulator of its own: the harness would complain of what these tests provoke.
async fn simulator() -> (GraphSimulator, reqwest::Client, String) {
    let sim = GraphSimulator::start(options()).await.unwrap();
    let token = sim.control().app_token();
    (sim, super::client(), token)
}

async fn tampered(path: &str, effect: Effect) -> Vec<String> {
    let (sim, http, token) = simulator().await;
    let url = format!("{}/v1.0{path}", sim.url());
    let get = || http.get(&url).bearer_auth(&token).send();
    assert_eq!(get().await.unwrap().status(), 200);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
    sim.control().fault(Fault::on("planner", effect)).unwrap();
    assert_eq!(get().await.unwrap().status(), 200);
    assert!(sim.violations().iter().all(|found| found.side == Side::Answer));
    sim.violations().into_iter().map(|found| found.what).collect()
}

fn set(pointer: &str, value: Value) -> Effect {
    Effect::Tamper { set: BTreeMap::from([(pointer.to_owned(), value)]), remove: vec![], empty: false }
}

fn remove(pointer: &str) -> Effect {
    Effect::Tamper { set: BTreeMap::new(), remove: vec![pointer.to_owned()], empty: false }
}

#[tokio::test]
async fn a_changed_answer_is_caught() {
    if oracle::path("graph::schema::a_changed_answer_is_caught").is_none() {
        return;
    }
    let task = format!("/planner/tasks/{}", seed::TASK);
    let list = format!("/planner/plans/{}/tasks", seed::PLAN);
    for (path, effect) in [
        (&task, set("/titel", json!("typo"))),
        (&task, set("/percentComplete", json!("50"))),
        (&task, set("/title", Value::Null)),
        (&task, set("/dueDateTime", json!("2026-12-01"))),
        (&task, set("/createdBy/user", json!("Alex"))),
        (&task, set("/assignments/6463a5ce-2119-4198-9f2a-628761df4a62", json!({"assignedTo": "x"}))),
        (&task, remove("/title")),
        (&task, remove("/id")),
        (&task, remove("/@odata.etag")),
        (&task, remove("/planId")),
        (&list, set("/value/0/priority", json!(1.5))),
        (&list, set("/value/1/colour", json!("red"))),
        (&list, remove("/value/1/@odata.etag")),
        (&list, remove("/value")),
        (&list, set("/values", json!([]))),
    ] {
        let found = tampered(path, effect.clone()).await;
        assert!(!found.is_empty(), "{effect:?}");
    }
}

#[tokio::test]
async fn an_emptied_answer_is_caught() {
    if oracle::path("graph::schema::an_emptied_answer_is_caught").is_none() {
        return;
    }
    let empty = Effect::Tamper { set: BTreeMap::new(), remove: vec![], empty: true };
    let found = tampered(&format!("/planner/tasks/{}", seed::TASK), empty).await;
    assert_eq!(found, ["200 without a body"]);
}

#[tokio::test]
async fn a_changed_item_of_a_batch_is_caught_by_itself() {
    if oracle::path("graph::schema::a_changed_item_of_a_batch_is_caught_by_itself").is_none() {
        return;
    }
    let (sim, http, token) = simulator().await;
    sim.control().fault(Fault::on("/tasks/", set("/colour", json!("red")))).unwrap();
    let get = |id: &str, path: String| json!({"id": id, "method": "GET", "url": path});
    let requests = json!({"requests": [
        get("good", format!("/planner/plans/{}", seed::PLAN)),
        get("bad", format!("/planner/tasks/{}", seed::TASK)),
    ]});
    let url = format!("{}/v1.0/$batch", sim.url());
    assert_eq!(http.post(url).bearer_auth(&token).json(&requests).send().await.unwrap().status(), 200);
    let items: Vec<Option<String>> = sim.violations().into_iter().map(|found| found.item).collect();
    assert_eq!(items, [Some("bad".to_owned())]);
    // The batch itself and both items, each way.
    assert_eq!((sim.control().checked().requests, sim.control().checked().answers), (3, 3));
}

#[tokio::test]
async fn a_wrong_request_is_caught() {
    if oracle::path("graph::schema::a_wrong_request_is_caught").is_none() {
        return;
    }
    let task = format!("/planner/tasks/{}", seed::TASK);
    let tag = ("If-Match", "W/\"JzEtVGFzayAgQEBAQEBAQEBAQEBAQEBARCc=\"");
    for (method, path, headers, body, expected) in [
        (Method::GET, "/planner/colours", vec![], None, "the path is not in the slice"),
        (Method::PUT, task.as_str(), vec![tag], Some(json!({})), "the slice has no PUT for this path"),
        (Method::PATCH, &task, vec![], Some(json!({"title": "B"})), "the header If-Match is required"),
        (Method::PATCH, &task, vec![tag], Some(json!({"titel": "B"})), "titel"),
        (Method::PATCH, &task, vec![tag], Some(json!({"percentComplete": "50"})), "percentComplete"),
        (Method::PATCH, &task, vec![tag], None, "a body is required"),
        (
            Method::GET,
            &format!("{task}?colour=red"),
            vec![],
            None,
            "the query parameter 'colour' is not in the slice",
        ),
        (Method::POST, "/$batch", vec![], Some(json!({"request": []})), "requests"),
    ] {
        let graph = Graph::start().await;
        graph.send(method.clone(), path, &headers, body.clone()).await;
        let found: Vec<String> = graph.sim.violations().into_iter().map(|found| found.what).collect();
        assert!(found.iter().any(|what| what.contains(expected)), "{method} {path} {body:?}: {found:?}");
    }
    let graph = Graph::start().await;
    let good = graph.send(Method::PATCH, &task, &[tag], Some(json!({"title": "B"}))).await;
    assert_eq!(good.status, 204);
    assert!(graph.sim.violations().is_empty(), "{:?}", graph.sim.violations());
    let checked = graph.sim.control().checked();
    assert_eq!((checked.requests, checked.answers, checked.violations), (1, 1, 0));
}

#[tokio::test]
async fn a_request_is_checked_even_if_weather_answers_it() {
    if oracle::path("graph::schema::a_request_is_checked_even_if_weather_answers_it").is_none() {
        return;
    }
    let graph = Graph::start().await;
    graph.sim.control().fault(Fault::on("planner", Effect::status(503))).unwrap();
    let path = format!("/planner/tasks/{}", seed::TASK);
    assert_eq!(graph.send(Method::PATCH, &path, &[], Some(json!({"titel": "B"}))).await.status, 503);
    let checked = graph.sim.control().checked();
    assert_eq!((checked.requests, checked.answers, checked.scripted, checked.violations), (1, 0, 1, 2));
}

#[tokio::test]
async fn without_oracles_the_check_says_that_it_is_off() {
    let graph = Graph::with(GraphOptions { oracles: None, ..options() }).await;
    assert_eq!(graph.get("/planner/colours").await.status, 400);
    let checked = graph.sim.control().checked();
    assert!(!checked.on && checked.requests == 0 && checked.violations == 0, "{checked:?}");
    let nowhere = GraphOptions { oracles: Some("/nonexistent".into()), ..options() };
    let refused = GraphSimulator::start(nowhere).await.unwrap_err();
    assert!(refused.to_string().contains("ANNIKA_ORACLES"), "{refused}");
}
