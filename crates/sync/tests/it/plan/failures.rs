//! Documents that cannot be synced: parked under a stable code until they change.

use annika_sync::{plan::Action, state::Failure};
use serde_json::json;

use super::bench::{Bench, PLAN};

fn parked(doc: serde_json::Value) -> Bench {
    let mut bench = Bench::new("agent-task-1");
    bench.set(doc);
    assert!(matches!(bench.step().action, Action::Finish | Action::Wait(_)));
    bench
}

#[test]
fn settings_that_change_release_what_only_they_kept_back() {
    let mut bench = parked(json!({"title": "t", "plan_id": "plan-of-strangers"}));
    bench.plans.synced.push("plan-of-strangers".into());
    bench.now += 30_000;
    bench.settle();
    assert_eq!(bench.task()["title"], "t");
    assert_eq!(bench.state.failure, None);
}

#[test]
fn each_reason_has_its_code() {
    for (doc, code) in [
        (json!({"title": "t", "plan_id": "plan-of-strangers"}), "plan_not_synced"),
        (json!({"title": " "}), "title_missing"),
        (json!({"description": "no title"}), "title_missing"),
        (json!({"title": "t", "parent_task_id": "agent-task-0"}), "parent_unreadable"),
        (json!({"title": "t", "start_date": "2025-12-02", "due_date": "2025-12-01"}), "dates_out_of_order"),
    ] {
        let bench = parked(doc);
        assert_eq!(bench.failures(), [code]);
        assert_eq!(bench.creates, 0);
    }
}

#[test]
fn a_task_for_another_plan_is_never_created_in_ours() {
    let mut bench = parked(json!({"title": "t", "plan_id": "plan-of-strangers"}));
    bench.settle();
    assert!(bench.planner.tasks.is_empty());
}

#[test]
fn a_failure_is_told_once_and_stands_until_the_document_changes() {
    let mut bench = parked(json!({"title": "t", "plan_id": "plan-of-strangers"}));
    for _ in 0..5 {
        bench.now += 3_600_000;
        bench.settle();
    }
    assert_eq!(bench.failures().len(), 1);
    bench.agent(&[("plan_id", json!(PLAN))]);
    bench.settle();
    assert_eq!(bench.task()["title"], "t");
    assert_eq!(bench.state.failure, None);
}

#[test]
fn text_that_is_no_json_is_told_once() {
    let mut bench = Bench::usual();
    bench.doc = Some(b"{not json".to_vec());
    bench.settle();
    bench.settle();
    assert_eq!(bench.failures().len(), 1);
    assert_eq!(bench.graph_writes, 0);
    bench.set(json!({"id": "agent-task-1", "title": "mended"}));
    bench.settle();
    assert_eq!(bench.task()["title"], "mended");
}

#[test]
fn no_plans_configured_is_no_failure_and_waits() {
    let mut bench = Bench::new("agent-task-1");
    bench.plans = Default::default();
    bench.set(json!({"title": "t"}));
    assert!(matches!(bench.step().action, Action::Wait(_)));
    assert!(bench.failures().is_empty());
}

#[test]
fn no_default_plan_is_told() {
    let mut bench = Bench::new("agent-task-1");
    bench.plans.default = None;
    bench.set(json!({"title": "t"}));
    bench.step();
    assert_eq!(bench.failures(), ["plan_missing"]);
}

#[test]
fn dates_that_two_sides_put_out_of_order_are_sent_nowhere() {
    let mut bench = Bench::usual();
    bench.person(json!({"dueDateTime": "2025-11-01T10:00:00Z"}));
    bench.agent(&[("start_date", json!("2025-11-15"))]);
    bench.settle();
    assert_eq!(bench.failures(), ["dates_out_of_order"]);
    assert_eq!(bench.graph_writes, 0);
    bench.agent(&[("start_date", json!("2025-10-15"))]);
    bench.settle();
    assert_eq!(bench.task()["startDateTime"], "2025-10-15T10:00:00Z");
    assert_eq!(bench.document()["due_date"], "2025-11-01");
}

#[test]
fn an_upload_is_repeated_within_two_days() {
    let mut bench = Bench::usual();
    for n in 0..5 {
        bench.agent(&[("title", json!(format!("title {n}")))]);
        bench.settle();
        assert_eq!(bench.task()["title"], format!("title {n}"));
        bench.now += 3_600_000;
    }
    assert_eq!(bench.graph_writes, 5, "one PATCH for each");
}

#[test]
fn news_end_a_refusal_also_when_the_look_at_them_is_cut_short() {
    let mut bench = Bench::usual();
    bench.delete();
    bench.missed_sweeps = 2;
    bench.state.failure = Some(Failure {
        code: "graph_forbidden".into(),
        message: String::new(),
        since: bench.now,
        digest: String::new(),
        retry_at: bench.now + 900_000,
        attempts: 1,
    });
    assert!(matches!(bench.step().action, Action::Wait(_)), "the deletion is parked");
    bench.person(json!({"title": "by a person"}));
    for _ in 0..2 {
        assert!(matches!(bench.step().action, Action::Get { .. }), "what it asks for is not answered");
    }
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person");
}
