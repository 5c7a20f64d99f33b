//! Graph's bad weather and its cost: throttled items, limits, refusals, lost answers, a wiped Redis, many tasks.

use annika::keys;
use annika_devkit::graph::{
    NewTask, Tally,
    fault::{BodyForm, Effect, Fault, When},
    seed,
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Rig, within};

fn refusal(status: u16, code: Option<&str>, when: When) -> Effect {
    Effect::Status {
        status,
        code: code.map(str::to_owned),
        message: None,
        retry_after: None,
        body: BodyForm::Json,
        when,
    }
}

/// Operations of the handler on a kind of path.
fn operations(rig: &Rig, route: &str) -> u64 {
    rig.control().counts().app.by_route.get(route).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_items_wait_as_asked_and_nothing_is_lost_or_doubled() {
    let rig = Rig::start().await;
    rig.control()
        .fault(Fault::on("/planner/tasks$", Effect::status_retry(429, 2)).method("POST").times(3))
        .unwrap();
    for n in 0..20 {
        rig.create(&format!("t{n}"), &format!("throttled {n}")).await;
    }
    for n in 0..20 {
        rig.in_planner(&format!("throttled {n}"), 20).await;
    }
    assert_eq!(rig.failed().await, []);
    rig.check(&["throttled"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_plan_parks_the_create_under_planners_code_and_updates_go_on() {
    let rig = Rig::start().await;
    rig.create("old", "there before").await;
    rig.in_planner("there before", 10).await;
    let full = refusal(403, Some("MaximumActiveTasksInProject"), When::Before);
    rig.control().fault(Fault::on("/planner/tasks$", full).method("POST").times(0)).unwrap();
    rig.create("new", "one too many").await;
    within(10, "the failed list", async || {
        rig.failed().await == [("new".to_owned(), "MaximumActiveTasksInProject".to_owned())]
    })
    .await;
    let patched = rig.send("PATCH", "/api/tasks/old", Some(json!({"title": "changed all the same"}))).await;
    assert_eq!(patched.status, 200);
    rig.in_planner("changed all the same", 10).await;
    assert_eq!(operations(&rig, "POST /planner/tasks"), 2, "the refused create is not repeated at once");
    // Another document is tried at once; Planner has room again.
    rig.control().clear_faults();
    rig.send("PATCH", "/api/tasks/new", Some(json!({"priority": "low"}))).await;
    rig.in_planner("one too many", 10).await;
    within(5, "the failed list is empty", async || rig.failed().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_refuses_its_list_deletes_nothing_and_is_told() {
    let rig = Rig::start().await;
    rig.create("kept", "kept through the refusal").await;
    rig.in_planner("kept through the refusal", 10).await;
    let list = format!("/planner/plans/{}/tasks$", seed::PLAN);
    rig.control().fault(Fault::on(&list, refusal(403, None, When::Before)).times(0)).unwrap();
    for _ in 0..3 {
        rig.poll().await;
        within(15, "readiness says it", async || {
            rig.reasons().await.iter().any(|code| code == "plan_refused")
        })
        .await;
    }
    assert!(rig.document("kept").await.is_some());
    assert!(rig.document(&format!("planner-{}", seed::TASK)).await.is_some());
    assert_eq!(operations(&rig, "DELETE /planner/tasks/{id}"), 0);
    rig.control().clear_faults();
    rig.poll().await;
    within(15, "readiness is well again", async || rig.reasons().await.is_empty()).await;
}

/// The application's figures at a moment at which nothing is under way: every poll that began has ended, and no
/// task is due or claimed. A read that was caused before this moment cannot be counted after it.
async fn settled(rig: &Rig) -> Tally {
    let mut counts = Tally::default();
    within(40, "nothing is under way", async || {
        let mut redis = rig.redis.clone();
        let health: Option<String> = redis.get(keys::sync_health()).await.unwrap();
        let health: Value = serde_json::from_str(&health.unwrap_or_default()).unwrap_or_default();
        let urgent: usize = redis.zcard(keys::sync_due()).await.unwrap();
        let low: usize = redis.zcard(keys::sync_due_low()).await.unwrap();
        let due = urgent + low;
        counts = rig.control().counts().app;
        due == 0 && health["counters"]["polls"].as_u64() == Some(of(&counts, LISTS))
    })
    .await;
    counts
}

const LISTS: &str = "GET /planner/plans/{id}/tasks";

fn of(counts: &Tally, route: &str) -> u64 {
    counts.by_route.get(route).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_quick_edits_end_with_the_second_and_an_update_costs_one_request() {
    let rig = Rig::start().await;
    for n in 0..10 {
        rig.create(&format!("u{n}"), &format!("first {n}")).await;
    }
    for n in 0..10 {
        rig.in_planner(&format!("first {n}"), 10).await;
    }
    assert_eq!(operations(&rig, "POST /planner/tasks"), 10, "one request a create");
    // A regular poll reads what it likes; the cost of an update shows only while none runs.
    for round in 0..5 {
        let before = settled(&rig).await;
        for n in 0..10 {
            let edit = |word: &str| Some(json!({"title": format!("{word} {round} {n}")}));
            rig.send("PATCH", &format!("/api/tasks/u{n}"), edit("second")).await;
            rig.send("PATCH", &format!("/api/tasks/u{n}"), edit("third")).await;
        }
        for n in 0..10 {
            rig.in_planner(&format!("third {round} {n}"), 10).await;
        }
        let after = settled(&rig).await;
        let patches = of(&after, "PATCH /planner/tasks/{id}") - of(&before, "PATCH /planner/tasks/{id}");
        assert!((10..=20).contains(&patches), "{patches} for 20 edits of 10 tasks");
        if of(&after, LISTS) == of(&before, LISTS) {
            let spent = after.sub_requests - before.sub_requests;
            assert_eq!(spent, patches, "sub-requests and writes among them: {before:?} {after:?}");
            return;
        }
    }
    panic!("a poll ran in each of five rounds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_answer_was_a_500_after_it_happened_makes_one_task() {
    let rig = Rig::start().await;
    let after = refusal(500, None, When::After);
    rig.control().fault(Fault::on("/planner/tasks$", after).method("POST").times(1)).unwrap();
    rig.create("once", "made in spite of the answer").await;
    within(10, "listed", async || {
        rig.failed().await == [("once".to_owned(), "create_unresolved".to_owned())]
            || rig.mapped("once").await.is_some()
    })
    .await;
    rig.poll().await;
    within(20, "adopted", async || rig.mapped("once").await.is_some()).await;
    assert_eq!(rig.titled("made in spite of the answer").len(), 1);
    within(5, "the failed list is empty", async || rig.failed().await.is_empty()).await;
    assert_eq!(operations(&rig, "POST /planner/tasks"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_refused_and_yet_happened_is_no_conflict() {
    let rig = Rig::start().await;
    rig.create("odd", "before").await;
    rig.in_planner("before", 10).await;
    let odd = refusal(403, None, When::After);
    rig.control().fault(Fault::on("/planner/tasks/", odd).method("PATCH").times(1)).unwrap();
    rig.send("PATCH", "/api/tasks/odd", Some(json!({"title": "after all"}))).await;
    rig.in_planner("after all", 30).await;
    within(40, "settled", async || {
        let pending: usize = rig.redis.clone().llen(keys::sync_pending()).await.unwrap();
        pending == 0
    })
    .await;
    assert_eq!(rig.document("odd").await.unwrap()["title"], "after all");
    let conflicts: usize = rig.redis.clone().xlen(keys::sync_conflicts()).await.unwrap();
    assert_eq!(conflicts, 0);
    assert_eq!(rig.failed().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_redis_imports_again_and_neither_deletes_nor_doubles_anything() {
    let rig = Rig::start().await;
    for n in 0..5 {
        rig.create(&format!("w{n}"), &format!("survives {n}")).await;
    }
    for n in 0..5 {
        rig.in_planner(&format!("survives {n}"), 10).await;
    }
    let before = rig.control().tasks(seed::PLAN).len();
    let () = redis::cmd("FLUSHALL").query_async(&mut rig.redis.clone()).await.unwrap();
    rig.poll().await;
    within(30, "every task is a document again", async || {
        let known: usize = rig.redis.clone().hlen(keys::sync_index()).await.unwrap();
        known == before
    })
    .await;
    assert_eq!(rig.control().tasks(seed::PLAN).len(), before);
    assert_eq!(operations(&rig, "DELETE /planner/tasks/{id}"), 0);
    assert_eq!(operations(&rig, "POST /planner/tasks"), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_are_imported_by_their_pages_alone_and_are_not_echoed() {
    let rig = Rig::start_with(|options| {
        options.graph.page_size = 100;
        options.env.push(("GRAPH_RATE_PER_SECOND".to_owned(), "1000".to_owned()));
        options.env.push(("GRAPH_RATE_BURST".to_owned(), "1000".to_owned()));
        options.env.push(("GRAPH_RATE_MAX".to_owned(), "1000".to_owned()));
    })
    .await;
    for n in 0..500 {
        let task = NewTask { plan: seed::PLAN.into(), title: format!("import {n}"), ..NewTask::default() };
        rig.control().add_task(task).unwrap();
    }
    rig.fire();
    within(30, "all are documents", async || {
        let known: usize = rig.redis.clone().hlen(keys::sync_index()).await.unwrap();
        known == 502
    })
    .await;
    within(10, "nothing waits", async || {
        let pending: usize = rig.redis.clone().llen(keys::sync_pending()).await.unwrap();
        pending == 0
    })
    .await;
    let counts = rig.control().counts().app;
    assert_eq!(counts.committed, 0, "nothing is sent back: {counts:?}");
    let lists = operations(&rig, "GET /planner/plans/{id}/tasks");
    let details = operations(&rig, "GET /planner/tasks/{id}/details");
    // Once for the names of the plan's categories.
    let names = operations(&rig, "GET /planner/plans/{id}/details");
    assert!(lists >= 6 && details <= 2 * 21 && names <= 1, "{counts:?}");
    assert_eq!(counts.sub_requests, lists + details + names, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_is_silent_when_its_health_is_gone() {
    let rig = Rig::start_with(|_| {}).await;
    assert_eq!(rig.reasons().await, ["engine_silent"], "the timer has not fired yet");
    rig.fire();
    within(10, "the engine is heard", async || rig.reasons().await.is_empty()).await;
    let ttl: i64 = rig.redis.clone().ttl(keys::sync_health()).await.unwrap();
    assert!((1..=300).contains(&ttl), "{ttl}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_graph_forbids_are_parked_and_not_repeated_for_ever() {
    let rig = Rig::start().await;
    for id in ["edited", "deleted"] {
        rig.create(id, &format!("forbidden to be {id}")).await;
        rig.in_planner(&format!("forbidden to be {id}"), 10).await;
    }
    let forbidden = || refusal(403, None, When::Before);
    rig.control().fault(Fault::on("/planner/tasks/", forbidden()).method("PATCH").times(0)).unwrap();
    rig.control().fault(Fault::on("/planner/tasks/", forbidden()).method("DELETE").times(0)).unwrap();
    rig.send("PATCH", "/api/tasks/edited", Some(json!({"title": "something else"}))).await;
    rig.send("DELETE", "/api/tasks/deleted", None).await;
    within(50, "both are listed", async || {
        let mut failed = rig.failed().await;
        failed.sort();
        let code = "graph_forbidden".to_owned();
        failed == [("deleted".to_owned(), code.clone()), ("edited".to_owned(), code)]
    })
    .await;
    let writes =
        || operations(&rig, "PATCH /planner/tasks/{id}") + operations(&rig, "DELETE /planner/tasks/{id}");
    assert_eq!(writes(), 4, "each is tried twice");
    assert_eq!(rig.titled("forbidden to be deleted").len(), 1);
    assert_eq!(rig.titled("forbidden to be edited").len(), 1);
}
