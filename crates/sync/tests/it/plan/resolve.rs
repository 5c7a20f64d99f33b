//! Creates whose answer was lost: adopted, held back, or sent again on proof.

use annika_sync::{
    lens::{Field, Fields, Value},
    plan::{Action, is_held},
    state::{Attempt, Failure, digest},
    world::OpenCreate,
};
use serde_json::{Value as Json, json};

use super::bench::{Bench, PLAN, START};
use annika_simulate::world::planner::{APP, By, Planner};

/// A task whose create was sent at `START` and not answered.
fn lost() -> Bench {
    let mut bench = Bench::new("agent-task-1");
    bench.plans.synced.push("plan-b".into());
    bench.set(json!({"title": "first", "description": "text", "due_date": "2025-12-01"}));
    let step = bench.step();
    assert!(matches!(step.action, Action::Create { .. }), "{:?}", step.action);
    bench
}

fn rests(bench: &mut Bench) -> bool {
    matches!(bench.step().action, Action::Wait(_)) && bench.state.planner_id.is_none()
}

/// Another open create, with the same plan.
fn open(id: &str, title: &str, sent_at: i64) -> OpenCreate {
    let fields: Fields = [
        (Field::Title, Value::Text(title.into())),
        (Field::Plan, Value::Text(PLAN.into())),
        (Field::Due, Value::Time("2025-12-01T10:00:00Z".into())),
    ]
    .into_iter()
    .collect();
    OpenCreate { id: id.into(), attempts: vec![Attempt { fields, sent_at }] }
}

fn made(bench: &mut Bench, title: &str, plan: &str, at: i64) -> Json {
    let body = json!({"title": title, "planId": plan, "dueDateTime": "2025-12-01T10:00:00Z"});
    bench.planner.create(&body, By::App, at)
}

#[test]
fn the_held_task_of_an_open_create_is_adopted() {
    let mut bench = lost();
    assert!(rests(&mut bench));
    assert_eq!(bench.failures(), ["create_unresolved"]);
    bench.orphans = vec![made(&mut bench, "first", PLAN, START + 900)];
    bench.settle();
    assert_eq!((bench.planner_id().as_str(), &bench.state.create), ("PT0001", &None));
    assert_eq!(bench.details()["description"], "text", "what the POST cannot carry follows");
    assert_eq!(bench.creates, 0);
    assert!(bench.differences().is_empty());
}

#[test]
fn what_a_person_did_to_it_before_comes_down_whatever_it_was() {
    let mut bench = lost();
    let orphan = made(&mut bench, "first", PLAN, START + 900);
    let id = orphan["id"].as_str().expect("an id").to_owned();
    let edit = json!({"title": "theirs", "planId": "plan-b", "dueDateTime": "2025-12-24T10:00:00Z"});
    bench.planner.edit(&id, &edit, START + 5_000);
    bench.orphans = vec![bench.planner.get(&id).expect("there")];
    bench.settle();
    assert_eq!((bench.document()["title"].as_str(), bench.planner_id()), (Some("theirs"), id));
    assert_eq!(bench.document()["plan_id"], "plan-b");
    assert!(bench.document()["due_date"].as_str().expect("a day").starts_with("2025-12-24"));
    assert_eq!(bench.task()["title"], "theirs", "nothing is written over it");
    assert!(bench.conflicts().is_empty());
}

#[test]
fn a_task_of_another_time_explains_nothing() {
    for at in [START - 60_000, START + 120_000] {
        let mut bench = lost();
        bench.orphans = vec![made(&mut bench, "first", PLAN, at)];
        assert!(rests(&mut bench), "made at {at}");
    }
}

#[test]
fn the_most_alike_pair_up_at_once_whatever_their_order_in_time() {
    let mut bench = lost();
    bench.open_creates = vec![open("agent-task-2", "second", START + 100)];
    bench.orphans =
        vec![made(&mut bench, "second", PLAN, START + 150), made(&mut bench, "first", PLAN, START + 4_000)];
    bench.settle();
    assert_eq!(bench.task()["title"], "first");
}

#[test]
fn the_only_task_there_goes_to_the_create_it_is_most_like() {
    let mut bench = lost();
    bench.open_creates = vec![open("agent-task-2", "second", START + 100)];
    bench.orphans = vec![made(&mut bench, "second", PLAN, START + 150)];
    assert!(rests(&mut bench));
    bench.now = START + 300_000;
    assert!(rests(&mut bench), "also when time has passed");
}

#[test]
fn equal_ones_are_paired_by_time_and_not_before_all_have_arrived() {
    let mut bench = lost();
    bench.open_creates = vec![open("agent-task-2", "first", START + 900)];
    bench.orphans = vec![made(&mut bench, "first", PLAN, START + 950)];
    assert!(rests(&mut bench), "it may be either's");
    let own = made(&mut bench, "first", PLAN, START + 50);
    bench.orphans.push(own);
    assert!(rests(&mut bench), "another one may be on its way");
    bench.now = START + 60_001;
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0002");
}

#[test]
fn what_a_person_left_of_a_set_still_tells_whose_task_it_is() {
    let mut bench = lost();
    let mut rival = open("agent-task-2", "second", START + 100);
    let assignees = Value::Set(["u-1".to_owned()].into());
    rival.attempts[0].fields.insert(Field::Assignees, assignees);
    bench.open_creates = vec![rival];
    let body = json!({"title": "theirs", "planId": PLAN, "assignments": {"u-1": {}, "u-2": {}}});
    bench.orphans = vec![bench.planner.create(&body, By::App, START + 10)];
    bench.now = START + 60_001;
    assert!(rests(&mut bench), "it is the other's, though ours is nearer in time");
}

#[test]
fn an_open_create_is_looked_at_also_while_its_document_is_parked() {
    let mut bench = Bench::new("agent-task-1");
    bench.scenario = Some("org.example.annika".into());
    bench.set(json!({"title": "first"}));
    assert!(matches!(bench.step().action, Action::Create { .. }));
    bench.state.failure = Some(Failure {
        code: "graph_forbidden".into(),
        message: String::new(),
        since: bench.now,
        digest: digest(bench.doc.as_ref().expect("a document")),
        retry_at: bench.now + 900_000,
        attempts: 1,
    });
    let Action::Wait(wait) = bench.step().action else { panic!("{:?}", bench.state) };
    assert!(wait.as_secs() <= 10 && bench.state.create.is_some(), "{wait:?}");
}

/// Lists of every plan, the older of the last two begun at the time.
fn listed(bench: &mut Bench, since: i64) {
    bench.clean_since = bench.plans.synced.iter().map(|plan| (plan.clone(), since)).collect();
}

#[test]
fn two_lists_of_every_plan_prove_that_nothing_was_made() {
    let mut bench = lost();
    bench.now = START + 600_000;
    assert!(rests(&mut bench), "time alone proves nothing");
    listed(&mut bench, START + 69_999);
    assert!(rests(&mut bench), "it may have arrived after that list");
    listed(&mut bench, START + 70_000);
    bench.clean_since.remove("plan-b");
    assert!(rests(&mut bench), "a person may have moved it there");
    bench.clean_since.insert("plan-b".into(), START + 70_000);
    bench.plans.unread = true;
    assert!(rests(&mut bench), "plans may be missing");
    bench.plans.unread = false;
    bench.agent(&[("title", json!("newer"))]);
    let Action::Create { body } = bench.step().action else { panic!("{:?}", bench.state) };
    assert_eq!(body["title"], "newer");
    let create = bench.state.create.clone().expect("open");
    assert_eq!((create.sent_at, create.unresolved, create.earlier.len()), (bench.now, false, 1));
    assert_eq!(create.earlier[0].sent_at, START);
}

#[test]
fn of_several_sends_the_one_most_like_the_task_made_it() {
    let mut bench = lost();
    bench.now = START + 200_000;
    listed(&mut bench, START + 70_000);
    bench.agent(&[("title", json!("newer"))]);
    bench.step();
    // What was sent first arrives after all.
    bench.orphans = vec![made(&mut bench, "first", PLAN, START + 200_500)];
    bench.settle();
    assert_eq!(bench.task()["title"], "newer", "the edit of the meantime is pushed, and no conflict");
    assert!(bench.conflicts().is_empty());
}

#[test]
fn an_open_create_is_resolved_also_when_its_document_is_gone_or_broken() {
    for document in [None, Some(b"{".to_vec())] {
        let mut bench = lost();
        bench.doc.clone_from(&document);
        bench.orphans = vec![made(&mut bench, "first", PLAN, START + 900)];
        bench.step();
        assert_eq!(bench.state.planner_id.as_deref(), Some("PT0001"), "{document:?}");
    }
    let mut bench = lost();
    bench.doc = None;
    bench.now = START + 200_000;
    listed(&mut bench, START + 70_000);
    bench.settle();
    assert!(bench.forgotten);
    assert_eq!(bench.creates, 0);
}

#[test]
fn only_own_or_equal_tasks_of_the_time_are_held_back() {
    let open = [open("x", "first", START)];
    let mut planner = Planner::default();
    let mut made = |title: &str, by, at| planner.create(&json!({"title": title, "planId": PLAN}), by, at);
    let own = made("other", By::App, START + 1_000);
    assert!(is_held(&own, &open, Some(APP)));
    assert!(!is_held(&own, &open, Some("another application")));
    assert!(!is_held(&own, &[], Some(APP)));
    assert!(!is_held(&made("other", By::Person, START + 1_000), &open, Some(APP)));
    assert!(is_held(&made("first", By::Person, START + 1_000), &open, Some(APP)));
    assert!(!is_held(&made("first", By::App, START + 600_000), &open, Some(APP)));
}
