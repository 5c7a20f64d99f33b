//! Plans that Graph closes to us, and plans that are full: only they pause, nothing of them is lost, and they go on.
//! And creates whose lost answers need no list of a plan, since they carry an id of ours.

use annika::keys;
use annika_devkit::graph::{
    fault::{BodyForm, Effect, Fault, When},
    seed,
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Rig, within};

fn forbidden(code: Option<&str>) -> Effect {
    Effect::Status {
        status: 403,
        code: code.map(str::to_owned),
        message: None,
        retry_after: None,
        body: BodyForm::Json,
        when: When::Before,
    }
}

fn operations(rig: &Rig, route: &str) -> u64 {
    rig.control().counts().app.by_route.get(route).copied().unwrap_or(0)
}

async fn shown(rig: &Rig) -> Value {
    let status = rig.get("/api/sync/status").await.json;
    status["plans"].as_array().unwrap().iter().find(|plan| plan["plan_id"] == seed::PLAN).unwrap().clone()
}

const LISTS: &str = "GET /planner/plans/{id}/tasks";
const CREATES: &str = "POST /planner/tasks";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_stays_closed_is_suspended_and_its_tasks_go_on_when_it_opens() {
    let rig = Rig::start().await;
    rig.create("kept", "kept through the suspension").await;
    rig.in_planner("kept through the suspension", 10).await;
    let closed = format!("/planner/(plans/{}/tasks|tasks)", seed::PLAN);
    rig.control().fault(Fault::on(&closed, forbidden(None)).times(0)).unwrap();
    within(60, "two refusals apart suspend the plan", async || {
        rig.poll().await;
        rig.reasons().await == ["plan_suspended"]
    })
    .await;
    let plan = shown(&rig).await;
    assert_eq!(plan["suspended"]["code"], "graph_403", "{plan}");
    assert!(plan["suspended"]["since"].is_string() && plan["suspended"]["until"].is_string(), "{plan}");
    let ttl: i64 = rig.redis.clone().ttl(keys::sync_blocks()).await.unwrap();
    assert!((1..=86_400).contains(&ttl), "{ttl}");

    // Agents write on: nothing of it is sent, refused or deleted, and a successor goes on with the suspension.
    rig.send("PATCH", "/api/tasks/kept", Some(json!({"title": "written meanwhile"}))).await;
    rig.create("new", "made meanwhile").await;
    let before =
        (operations(&rig, LISTS), operations(&rig, CREATES), rig.control().counts().app.sub_requests);
    within(20, "both wait", async || {
        let waiting: usize = rig.redis.clone().zcard(keys::sync_due()).await.unwrap();
        let health: Option<String> = rig.redis.clone().get(keys::sync_health()).await.unwrap();
        let health: Value = serde_json::from_str(&health.unwrap_or_default()).unwrap_or_default();
        waiting == 2 && health["counters"]["claims"].as_u64() >= Some(2)
    })
    .await;
    let after = (operations(&rig, LISTS), operations(&rig, CREATES), rig.control().counts().app.sub_requests);
    assert_eq!(after, before, "lists, creates, sub-requests while the plan is suspended");
    assert_eq!(rig.failed().await, []);
    assert!(rig.document(&format!("planner-{}", seed::TASK)).await.is_some());

    rig.control().clear_faults();
    rig.poll().await;
    rig.in_planner("written meanwhile", 20).await;
    rig.in_planner("made meanwhile", 20).await;
    within(15, "readiness is well again", async || rig.reasons().await.is_empty()).await;
    assert_eq!(operations(&rig, "DELETE /planner/tasks/{id}"), 0);
    assert_eq!(shown(&rig).await["suspended"], Value::Null);
    assert!(!rig.redis.clone().exists::<_, bool>(keys::sync_blocks()).await.unwrap());
    rig.check(&["suspension", "meanwhile"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_plan_tells_of_one_task_sends_no_others_and_goes_on_when_asked_to() {
    let rig = Rig::start().await;
    rig.create("old", "there before").await;
    rig.in_planner("there before", 10).await;
    let full = forbidden(Some("MaximumTasksInProject"));
    rig.control().fault(Fault::on("/planner/tasks$", full).method("POST").times(0)).unwrap();
    rig.create("first", "waits 0").await;
    within(10, "one is told of", async || {
        rig.failed().await == [("first".to_owned(), "MaximumTasksInProject".to_owned())]
    })
    .await;
    let tried = operations(&rig, CREATES);
    for n in 1..30 {
        rig.create(&format!("more-{n}"), &format!("waits {n}")).await;
    }
    rig.send("PATCH", "/api/tasks/old", Some(json!({"title": "changed all the same"}))).await;
    rig.in_planner("changed all the same", 10).await;
    within(10, "readiness says it", async || {
        let reasons = rig.reasons().await;
        reasons.contains(&"plan_full".to_owned()) && reasons.contains(&"tasks_failed".to_owned())
    })
    .await;
    assert_eq!(rig.send("DELETE", "/api/tasks/old", None).await.status, 204);
    within(20, "deletions go on", async || rig.titled("changed all the same").is_empty()).await;
    assert_eq!(operations(&rig, CREATES), tried, "nobody else was sent");
    assert_eq!(rig.failed().await.len(), 1);
    assert_eq!(shown(&rig).await["full"]["code"], "MaximumTasksInProject");

    // Another text of the one that is told of: one more try while there is no room, and no other.
    rig.send("PATCH", "/api/tasks/first", Some(json!({"priority": "low"}))).await;
    within(10, "it was tried", async || operations(&rig, CREATES) == tried + 1).await;
    within(10, "it is told of again", async || rig.failed().await.len() == 1).await;
    let again = json!({"task_ids": ["first"]});
    rig.control().clear_faults();
    assert_eq!(rig.send("POST", "/api/sync/failed/retry", Some(again)).await.status, 202);
    for n in 0..30 {
        rig.in_planner(&format!("waits {n}"), 40).await;
    }
    within(15, "readiness is well again", async || rig.reasons().await.is_empty()).await;
    assert_eq!(rig.failed().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_id_of_ours_a_create_whose_answer_was_lost_is_adopted_without_a_list() {
    let rig = Rig::start_with(|options| {
        options.env.push(("PLANNER_EXTERNAL_ID".to_owned(), "org.example.annika".to_owned()));
    })
    .await;
    rig.fire();
    rig.create("before", "made the usual way").await;
    rig.in_planner("made the usual way", 20).await;
    let broken = |when| Effect::Status {
        status: 500,
        code: None,
        message: None,
        retry_after: None,
        body: BodyForm::Json,
        when,
    };
    let lists = format!("/planner/plans/{}/tasks$", seed::PLAN);
    rig.control().fault(Fault::on(&lists, broken(When::Before)).times(0)).unwrap();
    rig.control().fault(Fault::on("/planner/tasks$", broken(When::After)).method("POST").times(2)).unwrap();
    rig.create("once", "made once, answered late").await;
    within(20, "mapped, though no list comes", async || rig.mapped("once").await.is_some()).await;
    assert_eq!(rig.titled("made once, answered late").len(), 1);
    assert_eq!(operations(&rig, CREATES), 4, "one, and three for the other");
    within(10, "nothing is listed as failed", async || rig.failed().await.is_empty()).await;
    rig.send("PATCH", "/api/tasks/once", Some(json!({"title": "changed since"}))).await;
    rig.in_planner("changed since", 20).await;
    rig.check(&["made once", "changed since"]);
}
