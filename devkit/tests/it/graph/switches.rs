//! Every value of every switch can be told from the others by what a client sees.

use std::time::Duration;

use annika_devkit::graph::{Effect, Fault, GraphOptions, Switches, seed, switches::SWITCHES};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, Reply, options};

const LAG: Duration = Duration::from_secs(3);

fn path() -> String {
    format!("/planner/tasks/{}", seed::TASK)
}

fn list() -> String {
    format!("/planner/plans/{}/tasks", seed::PLAN)
}

fn create(title: &str) -> Value {
    json!({"planId": seed::PLAN, "title": title})
}

/// The value whose status was answered.
fn by_status(reply: &Reply, values: &[(u16, &'static str)]) -> &'static str {
    values.iter().find(|(status, _)| *status == reply.status).unwrap_or_else(|| panic!("{reply:?}")).1
}

fn shows(list: &Reply, title: &str) -> bool {
    list.body["value"].as_array().unwrap().iter().any(|task| task["title"] == title)
}

/// "at_once" or "late"; what is late is there once the lag is over.
async fn lag(graph: &Graph, probe: impl AsyncFn() -> bool) -> &'static str {
    let at_once = probe().await;
    graph.sim.control().advance(LAG);
    assert!(probe().await, "after the lag");
    if at_once { "at_once" } else { "late" }
}

/// Which value of the switch holds, by what a client sees.
async fn observe(graph: &mut Graph, name: &str) -> &'static str {
    let control = graph.sim.control().clone();
    let hers = || control.person_patch(seed::PERSON, seed::TASK, json!({"title": "hers"})).unwrap();
    let throttle = || control.fault(Fault::on("/tasks/", Effect::Throttle { seconds: 10 })).unwrap();
    match name {
        "stale" | "older" => {
            let old = graph.get(&path()).await.etag();
            hers();
            let body =
                if name == "stale" { json!({"title": "ours"}) } else { json!({"percentComplete": 50}) };
            let reply = graph.patch(&path(), &old, body).await;
            let refused = if name == "stale" { "pre412" } else { "refused412" };
            by_status(&reply, &[(200, "merged"), (409, "conflict409"), (412, refused)])
        }
        "delete_stale" => {
            let old = graph.get(&path()).await.etag();
            hers();
            let reply = graph.delete(&path(), &old).await;
            by_status(&reply, &[(412, "pre412"), (409, "conflict409"), (204, "accepted")])
        }
        "any_etag" => {
            let reply = graph.patch(&path(), "*", json!({"title": "ours"})).await;
            by_status(&reply, &[(412, "refused412"), (200, "accepted")])
        }
        "invalid_etag" => {
            let reply = graph.patch(&path(), "nonsense", json!({"title": "ours"})).await;
            by_status(&reply, &[(412, "pre412"), (400, "bad400")])
        }
        "missing" => {
            let reply = graph.get("/planner/tasks/AAAAAAAAAAAAAAAAAAAAAAAAAAAA").await;
            by_status(&reply, &[(404, "not_found404"), (403, "forbidden403")])
        }
        "error_code" => match graph.get("/planner/tasks/AAAAAAAAAAAAAAAAAAAAAAAAAAAA").await.code() {
            "" => "empty",
            "UnknownError" => "unknown",
            other => panic!("{other}"),
        },
        "same_value" => {
            let before = graph.get(&path()).await;
            let after = graph.patch(&path(), &before.etag(), json!({"title": before.body["title"]})).await;
            if after.etag() == before.etag() { "kept" } else { "bumped" }
        }
        "details_bump" => {
            let mut moved = Vec::new();
            for text in ["another text", ""] {
                let before = graph.get(&path()).await.etag();
                control.person_patch_details(seed::PERSON, seed::TASK, json!({"description": text})).unwrap();
                moved.push(graph.get(&path()).await.etag() != before);
            }
            match moved.as_slice() {
                [false, true] => "shown",
                [true, true] => "always",
                _ => "never",
            }
        }
        "first_details" => {
            let mut tags = Vec::new();
            for title in ["one", "two"] {
                let made = graph.post("/planner/tasks", create(title)).await;
                let details = format!("/planner/tasks/{}/details", made.body["id"].as_str().unwrap());
                tags.push(graph.get(&details).await.etag());
            }
            if tags[0] == tags[1] { "constant" } else { "own" }
        }
        "prefer" => {
            let tag = graph.get(&path()).await.etag();
            let reply = graph.patch(&path(), &tag, json!({"title": "ours"})).await;
            by_status(&reply, &[(200, "honoured"), (204, "ignored")])
        }
        "inline_details" => {
            let mut task = create("T");
            task["details"] = json!({"description": "inline"});
            let made = graph.post("/planner/tasks", task).await;
            let Some(id) = made.body["id"].as_str() else { return by_status(&made, &[(400, "refused400")]) };
            let details = graph.get(&format!("/planner/tasks/{id}/details")).await;
            let kept = details.body["description"] == "inline";
            assert_eq!(made.body["hasDescription"], kept);
            if kept { "accepted" } else { "ignored" }
        }
        "bucket_delete" => {
            control.person_delete_bucket(seed::PERSON, seed::BUCKET).unwrap();
            match graph.get(&path()).await.status {
                200 => "unset",
                _ => "deleted",
            }
        }
        "moved" => {
            let other = control.add_plan(seed::GROUP, "Other");
            let id = control.person_move(seed::PERSON, seed::TASK, &other).unwrap();
            assert_eq!(graph.get(&list()).await.body["@odata.count"], 1, "it has left its plan");
            assert_eq!(graph.get(&format!("/planner/tasks/{id}")).await.body["planId"], json!(other));
            if id == seed::TASK { "keeps_id" } else { "new_id" }
        }
        "plan_change" => {
            let other = control.add_plan(seed::GROUP, "Other");
            let tag = graph.get(&path()).await.etag();
            let reply = graph.patch(&path(), &tag, json!({"planId": other, "title": "there"})).await;
            let value = by_status(&reply, &[(400, "refused400"), (200, "moved")]);
            assert!(reply.status == 400 || reply.body["planId"] == json!(other));
            value
        }
        "created_in_list" => {
            assert_eq!(graph.post("/planner/tasks", create("new")).await.status, 201);
            lag(graph, async || shows(&graph.get(&list()).await, "new")).await
        }
        "changed_in_list" => {
            hers();
            lag(graph, async || shows(&graph.get(&list()).await, "hers")).await
        }
        "deleted_in_list" => {
            control.person_delete(seed::PERSON, seed::TASK).unwrap();
            lag(graph, async || !shows(&graph.get(&list()).await, "Update client list")).await
        }
        "read_after_write" => {
            hers();
            let made = graph.post("/planner/tasks", create("new")).await;
            let new = format!("/planner/tasks/{}", made.body["id"].as_str().unwrap());
            lag(graph, async || {
                let changed = graph.get(&path()).await.body["title"] == "hers";
                assert_eq!(graph.get(&new).await.status == 200, changed, "both or none");
                changed
            })
            .await
        }
        "created_by" => {
            let made = graph.post("/planner/tasks", create("new")).await;
            let told = |task: &Value| task["createdBy"]["application"]["id"].is_string();
            let read = graph.get(&format!("/planner/tasks/{}", made.body["id"].as_str().unwrap())).await;
            let listed = graph.get(&list()).await;
            let listed = listed.body["value"].as_array().unwrap().iter().find(|task| task["title"] == "new");
            assert_eq!(told(&read.body), told(listed.unwrap()));
            match (told(&made.body), told(&read.body)) {
                (true, true) => "shown",
                (true, false) => "hidden",
                _ => "never",
            }
        }
        "batch_throttle" => {
            throttle();
            assert_eq!(graph.get(&path()).await.status, 429);
            let items = json!({"requests": [{"id": "1", "method": "GET", "url": path()}]});
            let reply = graph.post("/$batch", items).await;
            if reply.status == 200 {
                assert_eq!(reply.body["responses"][0]["status"], 429);
                assert!(reply.body["responses"][0]["headers"]["Retry-After"].is_string());
            }
            by_status(&reply, &[(200, "items"), (429, "outer")])
        }
        "throttle_wait" => {
            throttle();
            let reply = graph.get(&path()).await;
            match reply.headers.get("retry-after").map(|wait| wait.to_str().unwrap()) {
                Some("10") => "seconds",
                Some("10.000") => "fraction",
                Some(date) if date.ends_with(" GMT") => "date",
                None => "absent",
                Some(other) => panic!("{other}"),
            }
        }
        "throttle_code" => {
            throttle();
            match graph.get(&path()).await.code() {
                "TooManyRequests" => "too_many_requests",
                "activityLimitReached" => "activity_limit_reached",
                other => panic!("{other}"),
            }
        }
        "early_call" => {
            throttle();
            for _ in 0..2 {
                assert_eq!(graph.get(&path()).await.status, 429);
                control.advance(Duration::from_secs(6));
            }
            by_status(&graph.get(&path()).await, &[(429, "resets"), (200, "nothing")])
        }
        "unknown_member" => {
            let tag = graph.get(&path()).await.etag();
            let reply = graph.patch(&path(), &tag, json!({"colour": "red"})).await;
            by_status(&reply, &[(400, "refused400"), (200, "ignored")])
        }
        "read_only" => {
            let tag = graph.get(&path()).await.etag();
            let reply = graph.patch(&path(), &tag, json!({"checklistItemCount": 9})).await;
            by_status(&reply, &[(400, "refused400"), (200, "ignored")])
        }
        "select" => {
            let reply = graph.get(&format!("{}?$select=title", path())).await;
            assert!(reply.status == 400 || reply.body["title"].is_string());
            match reply.body.get("percentComplete") {
                Some(_) => "ignored",
                None => by_status(&reply, &[(200, "honoured"), (400, "refused400")]),
            }
        }
        "top" => {
            let reply = graph.get(&format!("{}?$top=1", list())).await;
            match reply.body["value"].as_array().map(Vec::len) {
                Some(1) => {
                    assert!(reply.body["@odata.nextLink"].is_string(), "the rest can be had");
                    "honoured"
                }
                Some(_) => "ignored",
                None => by_status(&reply, &[(400, "refused400")]),
            }
        }
        "filter" => {
            let reply = graph.get(&format!("{}?$filter=title eq 'x'", list())).await;
            by_status(&reply, &[(400, "refused400"), (200, "ignored")])
        }
        "count" => match graph.get(&list()).await.body.get("@odata.count").and_then(Value::as_u64) {
            Some(2) => "total",
            Some(1) => "page",
            None => "absent",
            Some(other) => panic!("{other}"),
        },
        "lengths" => {
            let tag = graph.get(&path()).await.etag();
            let fits = graph.patch(&path(), &tag, json!({"title": "é".repeat(255)})).await;
            assert_eq!(fits.status, 200);
            let reply = graph.patch(&path(), &fits.etag(), json!({"title": "é".repeat(256)})).await;
            by_status(&reply, &[(200, "free"), (400, "limited400")])
        }
        "delta_shape" => {
            graph.token = control.person_token(seed::PERSON).unwrap();
            let url = format!("{}/beta{}/delta", graph.sim.url(), list());
            let reply = graph.get(&url).await;
            match reply.body["value"][0]["createdBy"] {
                Value::String(_) => "internal",
                _ => "published",
            }
        }
        other => panic!("nothing observes the switch '{other}'"),
    }
}

#[tokio::test]
async fn every_value_of_every_switch_is_what_a_client_sees() {
    for switch in SWITCHES {
        for (value, _) in switch.values {
            let mut switches = Switches::default();
            switches.set(switch.name, value).unwrap();
            let page_size = if switch.name == "count" { 1 } else { 400 };
            let mut graph = Graph::with(GraphOptions { switches, page_size, ..options() }).await;
            assert_eq!(observe(&mut graph, switch.name).await, *value, "{}", switch.name);
        }
    }
}

#[tokio::test]
async fn switches_are_read_and_set_from_outside() {
    let graph = Graph::start().await;
    let url = format!("{}/__sim/switches", graph.sim.url());
    let set = |body: Value| graph.http.patch(&url).json(&body).send();
    assert_eq!(set(json!({"missing": "forbidden403"})).await.unwrap().status(), 200);
    assert_eq!(set(json!({"missing": "perhaps"})).await.unwrap().status(), 400);
    let now: Value = graph.http.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(now["now"]["missing"], "forbidden403");
    assert_eq!(now["table"].as_array().unwrap().len(), SWITCHES.len());
    assert_eq!(graph.get("/planner/tasks/AAAAAAAAAAAAAAAAAAAAAAAAAAAA").await.status, 403);
    graph.sim.control().reset().unwrap();
    assert_eq!(graph.get("/planner/tasks/AAAAAAAAAAAAAAAAAAAAAAAAAAAA").await.status, 404);
}

#[tokio::test]
async fn people_and_writes_see_the_newest_whatever_lags() {
    let mut switches = Switches::default();
    for name in ["created_in_list", "changed_in_list", "deleted_in_list", "read_after_write"] {
        switches.set(name, "late").unwrap();
    }
    let mut graph = Graph::with(GraphOptions { switches, ..options() }).await;
    let made = graph.post("/planner/tasks", create("new")).await;
    let path = format!("/planner/tasks/{}", made.body["id"].as_str().unwrap());
    assert_eq!(graph.get(&path).await.status, 404);
    let changed = graph.patch(&path, &made.etag(), json!({"title": "newer"})).await;
    assert_eq!(changed.status, 200, "a write is about what is there now");
    let app = std::mem::replace(&mut graph.token, graph.sim.control().person_token(seed::PERSON).unwrap());
    assert_eq!(graph.get(&path).await.body["title"], "newer");
    assert!(shows(&graph.get(&list()).await, "newer"));
    graph.token = app;
    // In a batch it is the same.
    let items = json!({"requests": [{"id": "1", "method": "GET", "url": path}]});
    assert_eq!(graph.post("/$batch", items).await.body["responses"][0]["status"], 404);
    assert_eq!(graph.send(Method::DELETE, &path, &[("If-Match", &changed.etag())], None).await.status, 204);
    graph.sim.control().advance(Duration::from_millis(500));
    assert_eq!(graph.get(&path).await.status, 404);
}
