//! Tasks that Planner does not have yet.

use annika_sync::plan::Action;
use serde_json::json;

use super::bench::{Bench, PLAN, START};
use annika_simulate::world::planner::By;

fn created() -> Bench {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "first", "description": "text"}));
    let step = bench.step();
    assert!(matches!(step.action, Action::Create { .. }), "{:?}", step.action);
    bench
}

#[test]
fn a_create_is_remembered_before_it_is_sent() {
    let bench = created();
    let create = bench.state.create.expect("an intent");
    assert_eq!((create.plan.as_str(), create.sent_at, create.unresolved), (PLAN, START, false));
}

#[test]
fn a_stamp_finds_its_task_again_after_the_state_was_lost() {
    let mut bench = Bench::usual();
    bench.state = Default::default();
    bench.observed = None;
    let step = bench.step();
    assert_eq!(step.action, Action::Get { task: true, details: true });
    bench.perform(&step.action);
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0001");
    assert_eq!(bench.creates, 0);
    assert!(bench.differences().is_empty());
}

#[test]
fn the_id_of_an_imported_task_finds_it_again() {
    let mut bench = Bench::new("planner-PT0001");
    bench.planner.create(&json!({"title": "theirs", "planId": PLAN}), By::Person, START);
    bench.set(json!({"title": "theirs"}));
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0001");
    assert_eq!(bench.creates, 0);
}

#[test]
fn a_stamp_that_names_another_documents_task_is_a_copy() {
    let mut bench = Bench::usual();
    bench.state = Default::default();
    bench.observed = None;
    bench.id = "agent-task-2".into();
    bench.stamp_owner = Some("agent-task-1".into());
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0002");
    assert_eq!(bench.document()["_sync"]["planner_id"], "PT0002");
    assert_eq!(bench.creates, 1);
}

#[test]
fn a_stamp_that_names_a_dead_task_is_a_new_task_after_two_answers() {
    let mut bench = Bench::usual();
    bench.person_deletes();
    bench.state = Default::default();
    bench.observed = None;
    bench.absent_lists = 0;
    let begun = bench.now;
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0002");
    assert_eq!(bench.creates, 1);
    assert!(bench.now - begun >= 15_000, "the two answers lie apart");
    assert_eq!(bench.document()["_sync"]["planner_id"], "PT0002");
}

#[test]
fn what_the_cache_has_left_of_a_dead_task_is_no_word_of_planners() {
    let mut bench = Bench::usual();
    let cached = bench.task();
    bench.person_deletes();
    bench.state = Default::default();
    bench.observed = Some(cached);
    bench.absent_lists = 0;
    for _ in 0..6 {
        // No list tells of a task that is in no map.
        bench.absent_lists = 0;
        match bench.step().action {
            Action::Wait(wait) => bench.now += i64::try_from(wait.as_millis()).unwrap(),
            action => bench.perform(&action),
        }
    }
    assert_eq!((bench.planner_id().as_str(), bench.creates), ("PT0002", 1));
}

#[test]
fn an_imported_task_is_written_once_with_a_stamp() {
    let mut bench = Bench::new("planner-PT0001");
    let task = bench.planner.create(&json!({"title": "theirs", "planId": PLAN}), By::Person, START);
    bench.state.planner_id = Some("PT0001".into());
    bench.observed = Some(task);
    bench.settle();
    assert_eq!(bench.document()["title"], "theirs");
    assert_eq!(bench.document()["external_id"], "PT0001");
    assert_eq!(bench.document()["_sync"]["planner_id"], "PT0001");
    bench.forget_the_past();
    bench.settle();
    assert_eq!((bench.document_writes, bench.graph_writes), (0, 0));
}

#[test]
fn a_document_cannot_reach_a_planner_task_outside_the_synced_plans() {
    let mut bench = Bench::new("a");
    let foreign = bench.planner.create(&json!({"title": "Payroll", "planId": "plan-z"}), By::Person, START);
    let foreign = foreign["id"].as_str().expect("an id").to_owned();
    let forged = json!({"title": "mine", "_sync": {"rev": "", "planner_id": foreign, "etag": ""}});
    bench.set(forged.clone());
    bench.settle();
    assert_eq!(bench.failures(), ["plan_not_synced"]);
    assert_eq!(bench.document(), forged, "nothing of it came down");
    bench.delete();
    bench.settle();
    assert_eq!(bench.planner.get(&foreign).expect("not deleted")["title"], "Payroll");
    assert_eq!((bench.graph_writes, bench.creates), (0, 0));
}

/// Seed 2291: an agent wrote a field under both of its names.
#[test]
fn a_field_that_a_new_document_says_twice_is_sent_once_and_the_other_value_is_logged() {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "first", "bucket_id": "one", "bucketId": "two"}));
    bench.settle();
    assert_eq!(bench.task()["bucketId"], "one");
    assert_eq!(
        (&bench.document()["bucket_id"], &bench.document()["bucketId"]),
        (&json!("one"), &json!("one"))
    );
    assert_eq!(bench.conflicts(), [("bucket", json!("two"), "agent")]);
}
