//! Tasks that Planner does not have yet.

use annika_sync::{
    plan::{Action, is_held},
    world::OpenCreate,
};
use serde_json::json;

use super::bench::{Bench, PLAN, START};
use annika_simulate::world::planner::{APP, By};

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
fn a_create_of_unknown_outcome_is_listed_and_never_sent_again() {
    let mut bench = created();
    for minutes in 0..60 {
        bench.now = START + minutes * 60_000;
        let step = bench.step();
        assert!(matches!(step.action, Action::Finish), "{:?}", step.action);
    }
    assert_eq!(bench.failures(), ["create_unresolved"]);
    bench.agent(&[("title", json!("changed meanwhile"))]);
    assert!(matches!(bench.step().action, Action::Finish));
}

#[test]
fn a_create_of_unknown_outcome_is_explained_by_a_task_in_the_list() {
    let mut bench = created();
    bench.step();
    bench.orphans =
        vec![bench.planner.create(&json!({"title": "first", "planId": PLAN}), By::App, START + 900)];
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0001");
    assert_eq!(bench.state.create, None);
    assert_eq!(bench.details()["description"], "text", "what the POST cannot carry follows");
    assert_eq!(bench.creates, 0);
    assert!(bench.differences().is_empty());
}

#[test]
fn a_persons_edit_of_the_orphan_comes_down_at_adoption() {
    let mut bench = created();
    let orphan = bench.planner.create(&json!({"title": "first", "planId": PLAN}), By::App, START + 900);
    let id = orphan["id"].as_str().expect("an id").to_owned();
    bench.planner.edit(&id, &json!({"dueDateTime": "2025-12-24T10:00:00Z"}), START + 5_000);
    bench.orphans = vec![bench.planner.get(&id).expect("there")];
    bench.settle();
    assert!(bench.document()["due_date"].as_str().expect("a day").starts_with("2025-12-24"));
    assert_eq!(bench.task()["dueDateTime"], "2025-12-24T10:00:00Z");
}

#[test]
fn an_orphan_of_another_time_or_title_explains_nothing() {
    for (title, at) in [("first", START - 60_000), ("first", START + 120_000), ("second", START + 1_000)] {
        let mut bench = created();
        bench.orphans = vec![bench.planner.create(&json!({"title": title, "planId": PLAN}), By::App, at)];
        bench.settle();
        assert_eq!(bench.state.planner_id, None, "{title} at {at}");
    }
}

#[test]
fn two_equal_creates_and_one_orphan_are_not_guessed() {
    let mut bench = created();
    let open =
        |id: &str, sent_at| OpenCreate { id: id.into(), plan: PLAN.into(), sent_at, title: "first".into() };
    bench.open_creates = vec![open("agent-task-1", START), open("agent-task-2", START + 100)];
    bench.orphans =
        vec![bench.planner.create(&json!({"title": "first", "planId": PLAN}), By::App, START + 900)];
    bench.settle();
    assert_eq!(bench.state.planner_id, None);
    // As many orphans as creates: in the order of time.
    let second = bench.planner.create(&json!({"title": "first", "planId": PLAN}), By::App, START + 950);
    bench.orphans.push(second);
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0001");
}

#[test]
fn only_own_or_equal_tasks_of_the_time_are_held_back() {
    let open = [OpenCreate { id: "x".into(), plan: PLAN.into(), sent_at: START, title: "first".into() }];
    let mut planner = annika_simulate::world::planner::Planner::default();
    let mut made = |title: &str, by, at| planner.create(&json!({"title": title, "planId": PLAN}), by, at);
    let own = made("other", By::App, START + 1_000);
    assert!(is_held(&own, &open, Some(APP)));
    assert!(!is_held(&own, &open, Some("another application")));
    assert!(!is_held(&own, &[], Some(APP)));
    assert!(!is_held(&made("other", By::Person, START + 1_000), &open, Some(APP)));
    assert!(is_held(&made("first", By::Person, START + 1_000), &open, Some(APP)));
    assert!(!is_held(&made("first", By::App, START + 600_000), &open, Some(APP)));
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
