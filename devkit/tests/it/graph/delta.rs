//! The deltas and the history of the beta: both forms, their tokens, and what an application may not ask.

use std::{collections::BTreeMap, time::Duration};

use annika_devkit::graph::{GraphOptions, NewTask, Settings, seed};
use serde_json::{Value, json};

use super::{Graph, Reply, options};

const NAMES: &str = "percentComplete,assignments,creationSource";

fn plan_delta(graph: &Graph) -> String {
    format!("{}/beta/planner/plans/{}/tasks/delta", graph.sim.url(), seed::PLAN)
}

fn restricted(graph: &Graph) -> String {
    format!("{}?$filter=planId eq '{}'&$select={NAMES}", plan_delta(graph), seed::PLAN)
}

/// Follows pages to the delta link, taking every entry into `tasks`.
async fn follow(graph: &Graph, start: &str, tasks: &mut BTreeMap<String, Value>) -> String {
    let mut next = start.to_owned();
    loop {
        let page = graph.get(&next).await;
        assert_eq!(page.status, 200, "{:?}", page.body);
        for entry in page.body["value"].as_array().unwrap() {
            let id = entry["id"].as_str().unwrap().to_owned();
            if entry["@removed"]["reason"] == "deleted" {
                tasks.remove(&id);
            } else {
                tasks.insert(id, entry.clone());
            }
        }
        match page.body["@odata.nextLink"].as_str() {
            Some(link) => next = link.to_owned(),
            None => return page.body["@odata.deltaLink"].as_str().unwrap().to_owned(),
        }
    }
}

async fn person() -> Graph {
    let mut graph = Graph::with(GraphOptions { page_size: 3, ..options() }).await;
    graph.token = graph.sim.control().person_token(seed::PERSON).unwrap();
    graph
}

/// What of a task has to be the same whichever way it is read.
fn told(tasks: &BTreeMap<String, Value>) -> BTreeMap<String, (Value, Value)> {
    tasks
        .iter()
        .map(|(id, task)| (id.clone(), (task["title"].clone(), task["@odata.etag"].clone())))
        .collect()
}

fn snapshot(graph: &Graph) -> BTreeMap<String, (Value, Value)> {
    let tasks = graph.sim.control().tasks(seed::PLAN);
    told(&tasks.into_iter().map(|task| (task["id"].as_str().unwrap().to_owned(), task)).collect())
}

#[tokio::test]
async fn pages_and_changes_add_up_to_the_plan() {
    for untidy in [false, true] {
        let graph = person().await;
        let control = graph.sim.control();
        control.set(Settings { delta_untidy: Some(untidy), ..Settings::default() });
        for number in 0..8 {
            let task = NewTask { plan: seed::PLAN.into(), title: format!("{number}"), ..NewTask::default() };
            control.add_task(task).unwrap();
        }
        let mut tasks = BTreeMap::new();
        let link = follow(&graph, &plan_delta(&graph), &mut tasks).await;
        assert_eq!(told(&tasks), snapshot(&graph));
        assert_eq!(tasks[seed::TASK]["details"]["checklist"].as_object().unwrap().len(), 1);

        let other = control.add_plan(seed::GROUP, "Other");
        let made =
            control.person_create(seed::PERSON, json!({"planId": seed::PLAN, "title": "made"})).unwrap();
        control.person_patch(seed::PERSON, seed::TASK, json!({"title": "twice"})).unwrap();
        control.person_patch(seed::PERSON, seed::TASK, json!({"title": "and again"})).unwrap();
        control.person_delete(seed::PERSON, seed::OTHER_TASK).unwrap();
        control.person_move(seed::PERSON, made["id"].as_str().unwrap(), &other).unwrap();
        let link = follow(&graph, &link, &mut tasks).await;
        assert_eq!(told(&tasks), snapshot(&graph));
        // Following it again changes nothing, and nothing new is nothing.
        let before = told(&tasks);
        let last = follow(&graph, &link, &mut tasks).await;
        follow(&graph, &last, &mut tasks).await;
        assert_eq!(told(&tasks), before);
        // An edit of the details alone is a change too.
        control.person_patch_details(seed::PERSON, seed::TASK, json!({"description": "deep"})).unwrap();
        follow(&graph, &link, &mut tasks).await;
        assert_eq!(tasks[seed::TASK]["details"]["description"], "deep");
    }
}

#[tokio::test]
async fn an_application_learns_little_and_has_to_ask_precisely() {
    let graph = Graph::start().await;
    let plan = seed::PLAN;
    let base = plan_delta(&graph);
    let all = format!("{}/beta/planner/tasks/delta", graph.sim.url());
    let filter = format!("$filter=planId eq '{plan}'");
    let cases: [(String, u16); 9] = [
        (base.clone(), 405),
        (format!("{base}?{filter}"), 405),
        (format!("{base}?{filter}&$select=percentComplete,assignments"), 405),
        (format!("{base}?{filter}&$select={NAMES},title"), 405),
        (format!("{base}?{filter}&$select=percentComplete,assignments,title"), 403),
        (format!("{base}?$select={NAMES}"), 400),
        (format!("{base}?$filter=planId eq 'AAAAAAAAAAAAAAAAAAAAAAAAAAAA'&$select={NAMES}"), 400),
        (restricted(&graph), 200),
        (format!("{all}?{filter}&$select={NAMES}"), 200),
    ];
    for (url, status) in cases {
        assert_eq!(graph.get(&url).await.status, status, "{url}");
    }
    let first = graph.get(&restricted(&graph)).await;
    let entry = &first.body["value"][1];
    assert_eq!(entry["percentComplete"], 50);
    for hidden in ["title", "dueDateTime", "details", "createdBy"] {
        assert!(entry.get(hidden).is_none(), "{hidden}");
    }
    // The link holds what was asked.
    graph.sim.control().person_patch(seed::PERSON, seed::TASK, json!({"percentComplete": 20})).unwrap();
    let next = graph.get(first.body["@odata.deltaLink"].as_str().unwrap()).await;
    assert_eq!((next.status, &next.body["value"][0]["percentComplete"]), (200, &json!(20)));
    let v1 = format!("/planner/plans/{plan}/tasks/delta?{filter}&$select={NAMES}");
    assert_eq!(graph.get(&v1).await.status, 400, "v1.0 has no delta of Planner");
}

#[tokio::test]
async fn tokens_age_and_malformed_ones_are_refused() {
    let graph = person().await;
    let control = graph.sim.control();
    let too_old = |reply: Reply| {
        assert_eq!(reply.status, 410, "{:?}", reply.body);
        reply.headers["location"].to_str().unwrap().to_owned()
    };
    let link = follow(&graph, &plan_delta(&graph), &mut BTreeMap::new()).await;
    control.expire_delta_tokens();
    let again = too_old(graph.get(&link).await);
    assert_eq!(again, plan_delta(&graph));
    let link = follow(&graph, &again, &mut BTreeMap::new()).await;
    control.set(Settings { delta_life_s: Some(60), ..Settings::default() });
    assert_eq!(graph.get(&link).await.status, 200);
    control.advance(Duration::from_secs(61));
    too_old(graph.get(&link).await);
    let malformed = format!("{}?$deltatoken=nonsense", plan_delta(&graph));
    assert_eq!(graph.get(&malformed).await.status, 400);
}

#[tokio::test]
async fn the_history_tells_who_did_what() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let made = graph.post("/planner/tasks", json!({"planId": seed::PLAN, "title": "by the app"})).await;
    let id = made.body["id"].as_str().unwrap();
    control.person_patch(seed::PERSON, id, json!({"title": "by her"})).unwrap();
    control.person_delete(seed::PERSON, id).unwrap();
    let base = format!("{}/beta/planner/plans/{}/historyItems", graph.sim.url(), seed::PLAN);
    let all = graph.get(&format!("{base}?$select=actor,oldData,newData")).await;
    let items = all.body["value"].as_array().unwrap();
    let events: Vec<&str> = items.iter().map(|item| item["eventType"].as_str().unwrap()).collect();
    assert_eq!(events, ["deleted", "updated", "created"]);
    assert_eq!(items[1]["actor"]["user"]["id"], seed::PERSON);
    assert_eq!(items[2]["actor"]["application"]["id"], graph.sim.client_id());
    assert_eq!(
        (&items[1]["oldData"]["title"], &items[1]["newData"]["title"]),
        (&json!("by the app"), &json!("by her"))
    );
    assert!(items[0]["newData"].is_null() && items[0]["entityId"] == id);
    let plain = graph.get(&base).await;
    assert!(plain.body["value"][0].get("actor").is_none(), "it has to be asked for");
    let later = graph.get(&format!("{base}?$filter=occurredDateTime gt 2999-01-01T00:00:00Z")).await;
    assert_eq!(later.body["value"], json!([]));
    let earlier = graph.get(&format!("{base}?$filter=occurredDateTime le 2999-01-01T00:00:00Z")).await;
    assert_eq!(earlier.body["value"].as_array().unwrap().len(), 3);
    assert_eq!(graph.get(&format!("{base}?$filter=actor eq 'x'")).await.status, 400);
    assert_eq!(graph.get(&format!("/planner/plans/{}/historyItems", seed::PLAN)).await.status, 400);
}
