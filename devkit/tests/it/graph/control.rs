//! The control over HTTP, as a player in another process uses it, and the page.

use annika_devkit::graph::{GraphOptions, GraphSimulator, seed};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, options};

async fn sim(graph: &Graph, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = graph.http.request(method, format!("{}/__sim{path}", graph.sim.url()));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn data_can_be_added_and_looked_at() {
    let graph = Graph::with(GraphOptions { data: Default::default(), ..options() }).await;
    let (_, user) = sim(&graph, Method::POST, "/users", Some(json!({"displayName": "Sam"}))).await;
    let (_, plan) =
        sim(&graph, Method::POST, "/plans", Some(json!({"owner": seed::GROUP, "title": "P"}))).await;
    let (_, bucket) =
        sim(&graph, Method::POST, "/buckets", Some(json!({"planId": plan["id"], "name": "B"}))).await;
    let task = json!({"planId": plan["id"], "bucketId": bucket["id"], "title": "T", "percentComplete": 50});
    let (_, task) = sim(&graph, Method::POST, "/tasks", Some(task)).await;
    let id = task["id"].as_str().unwrap();
    let (_, seen) = sim(&graph, Method::GET, &format!("/tasks/{id}"), None).await;
    assert_eq!((&seen["title"], &seen["percentComplete"]), (&json!("T"), &json!(50)));
    let (_, tasks) =
        sim(&graph, Method::GET, &format!("/tasks?plan={}", plan["id"].as_str().unwrap()), None).await;
    assert_eq!(tasks["value"].as_array().unwrap().len(), 1);
    let (_, state) = sim(&graph, Method::GET, "/state", None).await;
    assert_eq!(state["users"][0]["id"], user["id"]);
    assert_eq!(sim(&graph, Method::GET, "/tasks/none", None).await.0, 404);
    let lost = json!({"planId": "none", "title": "T"});
    assert_eq!(sim(&graph, Method::POST, "/tasks", Some(lost)).await.0, 404);
    let (_, journal) = sim(&graph, Method::GET, "/journal", None).await;
    assert_eq!(journal["value"], json!([]), "the control is not in the journal");
    // What was seeded is what Graph serves.
    assert_eq!(graph.get(&format!("/planner/tasks/{id}")).await.body["@odata.etag"], seen["@odata.etag"]);
}

#[tokio::test]
async fn a_person_edits_through_the_control() {
    let graph = Graph::start().await;
    let create = json!({"planId": seed::PLAN, "title": "by hand"});
    let (status, made) = sim(&graph, Method::POST, "/person/tasks", Some(create)).await;
    assert_eq!((status, &made["createdBy"]["user"]["id"]), (200, &json!(seed::PERSON)));
    let path = format!("/person/tasks/{}", made["id"].as_str().unwrap());
    let by = format!("{path}?user={}", seed::AUTHOR);
    let (_, done) = sim(&graph, Method::PATCH, &by, Some(json!({"percentComplete": 100}))).await;
    assert_eq!(done["completedBy"]["user"]["id"], seed::AUTHOR);
    let (_, details) =
        sim(&graph, Method::PATCH, &format!("{path}/details"), Some(json!({"description": "d"}))).await;
    assert_eq!(details["description"], "d");
    assert_eq!(sim(&graph, Method::PATCH, &path, Some(json!({"percentComplete": 200}))).await.0, 400);
    assert_eq!(sim(&graph, Method::DELETE, &path, None).await.0, 200);
    assert_eq!(sim(&graph, Method::DELETE, &path, None).await.0, 404);
    let (_, counts) = sim(&graph, Method::GET, "/counts", None).await;
    assert_eq!((&counts["person"]["requests"], &counts["app"]["requests"]), (&json!(5), &json!(0)));
    let journal = graph.sim.control().journal();
    assert!(
        journal.iter().all(|entry| entry.actor.as_deref().is_some_and(|actor| actor.starts_with("person:")))
    );
}

#[tokio::test]
async fn faults_settings_and_reset_work_from_outside() {
    let graph = Graph::start().await;
    let path = format!("/planner/tasks/{}", seed::TASK);
    let fault = json!({"match": {"method": "GET", "path": "/tasks/"}, "fault": {"kind": "status", "status": 429, "retry_after": {"seconds": 9}}});
    assert_eq!(sim(&graph, Method::POST, "/faults", Some(fault)).await.0, 200);
    let broken = json!({"match": {"path": "("}, "effect": {"kind": "drop"}});
    assert_eq!(sim(&graph, Method::POST, "/faults", Some(broken)).await.0, 400);
    assert_eq!(graph.get(&path).await.headers["retry-after"], "9");
    let (_, faults) = sim(&graph, Method::GET, "/faults", None).await;
    assert_eq!(faults["value"][0]["struck"], 1);
    let (_, settings) =
        sim(&graph, Method::PUT, "/settings", Some(json!({"page_size": 1, "offline": true}))).await;
    assert_eq!((&settings["page_size"], &settings["offline"]), (&json!(1), &json!(true)));
    assert!(graph.try_send(Method::GET, &path, &[], None).await.is_err());
    graph.sim.control().person_delete(seed::PERSON, seed::TASK).unwrap();
    assert_eq!(sim(&graph, Method::POST, "/reset", None).await.0, 200);
    assert_eq!(graph.get(&path).await.status, 200, "the data and the settings are those of the start");
    let (_, journal) = sim(&graph, Method::GET, "/journal", None).await;
    assert_eq!(journal["value"].as_array().unwrap().len(), 1);
    let (_, clock) = sim(&graph, Method::POST, "/clock", Some(json!({"advance_ms": 4_000_000}))).await;
    assert!(clock["now_ms"].as_u64().unwrap() >= 4_000_000);
    assert_eq!(graph.get(&path).await.status, 401, "the token has aged");
    let (_, violations) = sim(&graph, Method::GET, "/violations", None).await;
    assert_eq!(violations["value"], json!([]));
}

#[tokio::test]
async fn the_page_is_served_and_edits_through_graph() {
    let graph = Graph::start().await;
    let page = graph.http.get(format!("{}/__sim/", graph.sim.url())).send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = page.text().await.unwrap();
    // What the page's script does: a person's token, then Graph's own routes with If-Match.
    for part in ["/__sim/person/token", "/v1.0/planner/tasks", "If-Match", "PATCH", "DELETE", "POST"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("https://"), "nothing is fetched from elsewhere");
    let (_, token) = sim(&graph, Method::POST, "/person/token", None).await;
    let person = token["access_token"].as_str().unwrap();
    let url = format!("{}/v1.0/planner/tasks/{}", graph.sim.url(), seed::TASK);
    let tag = graph.get(&format!("/planner/tasks/{}", seed::TASK)).await.etag();
    let edit =
        graph.http.patch(url).bearer_auth(person).header("If-Match", tag).json(&json!({"title": "seen"}));
    assert_eq!(edit.send().await.unwrap().status(), 204);
}

#[test]
fn the_document_names_every_route_and_every_switch() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (document, routes) = (read("../docs/GRAPH-SIMULATOR.md"), read("src/graph/control_http.rs"));
    let mut seen = 0;
    for route in routes.split('"').filter(|text| text.starts_with("/__sim/")) {
        assert!(document.contains(route), "{route} is not in the document");
        seen += 1;
    }
    assert!(seen >= 30, "{seen} routes");
    for switch in annika_devkit::graph::switches::SWITCHES {
        let row = format!("| `{}` | {} |", switch.name, switch.question);
        let line = document.lines().find(|line| line.starts_with(&row));
        let line = line.unwrap_or_else(|| panic!("no row begins {row}"));
        for (value, meaning) in switch.values {
            assert!(line.contains(&format!("`{value}` {meaning}")), "{} {value}", switch.name);
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let graph = Graph::start().await;
    let port = graph.sim.url().rsplit(':').next().unwrap().parse().unwrap();
    let refused = GraphSimulator::start(GraphOptions { port, ..options() }).await.unwrap_err();
    assert!(refused.to_string().contains("choose another port"), "{refused}");
}
