//! Moves to another plan by an agent: what goes over, and what people do meanwhile.

use std::sync::Arc;

use annika_simulate::world::planner::By;
use annika_sync::{
    lens::Categories,
    plan::Action,
    world::{Event, Local},
};
use serde_json::{Value as Json, json};

use super::bench::{Bench, PLAN};

const OTHER: &str = "plan-b";

fn categories(names: &[(&str, &str)]) -> Arc<Categories> {
    let owned = |(key, name): &(&str, &str)| ((*key).to_owned(), (*name).to_owned());
    Arc::new(Categories::from_names(names.iter().map(owned).collect()))
}

/// A task in a plan that calls its categories otherwise than the one it is to move to.
fn labelled(labels: (&str, Json)) -> Bench {
    let mut bench = Bench::new("agent-task-1");
    bench.plans.synced.push(OTHER.into());
    let here = categories(&[("category1", "Red team"), ("category2", "Blue")]);
    let there = categories(&[("category1", "Urgent"), ("category4", "red team")]);
    bench.plans.categories = [(PLAN.to_owned(), here), (OTHER.to_owned(), there)].into();
    let mut doc = json!({"id": "agent-task-1", "title": "first", "plan_id": PLAN, "description": "text"});
    doc[labels.0] = labels.1;
    bench.set(doc);
    bench.settle();
    bench.forget_the_past();
    bench
}

fn usual() -> Bench {
    let mut bench = Bench::usual();
    bench.plans.synced.push(OTHER.into());
    bench.settle();
    bench.forget_the_past();
    bench
}

/// Steps until the create of the move is sent. Nobody has an answer.
fn sent(bench: &mut Bench) -> Json {
    bench.agent(&[("plan_id", OTHER.into())]);
    loop {
        let step = bench.step();
        match step.action {
            Action::Create { .. } => {
                bench.perform(&step.action);
                return bench.orphans.pop().expect("a task was made");
            }
            action => bench.perform(&action),
        }
    }
}

fn arrived(bench: &Bench, old: &str) {
    assert_eq!(bench.planner.get(old), None, "the old task is gone");
    assert_eq!(bench.task()["planId"], OTHER);
    assert!(bench.state.leaving.is_none());
    assert_eq!(bench.creates, 1);
}

#[test]
fn the_task_is_made_again_with_all_of_it_and_the_old_one_is_deleted() {
    let mut bench = usual();
    let old = bench.planner_id();
    bench.agent(&[("plan_id", OTHER.into())]);
    bench.settle();
    arrived(&bench, &old);
    assert_eq!((&bench.task()["title"], &bench.details()["description"]), (&json!("first"), &json!("text")));
    assert!(bench.differences().is_empty());
}

#[test]
fn labels_go_over_by_their_names() {
    let mut bench = labelled(("labels", json!(["Red team", "Blue"])));
    let old = bench.planner_id();
    assert_eq!(bench.task()["appliedCategories"], json!({"category1": true, "category2": true}));
    bench.agent(&[("plan_id", OTHER.into())]);
    bench.settle();
    arrived(&bench, &old);
    assert_eq!(bench.task()["appliedCategories"], json!({"category4": true}));
    let left_out: Vec<&Event> =
        bench.events.iter().filter(|event| matches!(event, Event::LeftOut { .. })).collect();
    let told = Event::LeftOut { field: "labels", code: "label_unknown", values: vec!["Blue".into()] };
    assert_eq!(left_out, [&told], "told once");
}

#[test]
fn labels_that_are_written_as_keys_go_over_by_name_too() {
    let mut bench = labelled(("applied_categories", json!({"category1": true})));
    let old = bench.planner_id();
    bench.agent(&[("plan_id", OTHER.into())]);
    bench.settle();
    arrived(&bench, &old);
    assert_eq!(bench.task()["appliedCategories"], json!({"category4": true}));
    assert_eq!(bench.document()["applied_categories"], json!({"category4": true}));
}

#[test]
fn a_label_that_a_person_gave_the_old_task_meanwhile_goes_over_by_name() {
    let mut bench = labelled(("labels", json!([])));
    let old = bench.planner_id();
    let new = sent(&mut bench);
    bench.planner.edit(&old, &json!({"appliedCategories": {"category1": true}}), bench.now);
    bench.orphans = vec![new];
    bench.settle();
    arrived(&bench, &old);
    assert_eq!(bench.task()["appliedCategories"], json!({"category4": true}));
}

#[test]
fn without_the_names_of_the_other_plan_a_task_with_labels_waits() {
    let mut bench = labelled(("labels", json!(["Red team"])));
    bench.plans.categories.remove(OTHER);
    bench.agent(&[("plan_id", OTHER.into())]);
    assert!(matches!(bench.step().action, Action::Wait(_)));
    assert_eq!(bench.creates, 0);
}

/// Seeds 809 and 1460: lists go on to show the old task while the answer to the create is out.
#[test]
fn an_edit_of_the_old_task_that_a_list_showed_meanwhile_goes_over() {
    let mut bench = usual();
    let old = bench.planner_id();
    let new = sent(&mut bench);
    bench.person(json!({"title": "theirs"}));
    assert!(matches!(bench.snapshot().local, Local::Present { .. }));
    bench.step();
    bench.orphans = vec![new];
    bench.settle();
    arrived(&bench, &old);
    assert_eq!((&bench.task()["title"], &bench.document()["title"]), (&json!("theirs"), &json!("theirs")));
    assert!(bench.differences().is_empty());
}

/// Seed 975: what the create could not carry is on its way, and an agent that has not seen it writes the field.
#[test]
fn a_write_that_has_not_seen_what_is_on_its_way_does_not_replace_it() {
    let mut bench = usual();
    let old = bench.planner_id();
    let read = bench.document();
    let item = |title: &str| json!({"title": title, "isChecked": false});
    bench.person_details(json!({"checklist": {"00000001-1111-4000-8000-000000000001": item("theirs")}}));
    let new = sent(&mut bench);
    let stale = [("plan_id", json!(OTHER)), ("checklist_items", json!(["ours"]))];
    bench.write(&read, &stale);
    bench.orphans = vec![new];
    bench.settle();
    arrived(&bench, &old);
    let details = bench.details();
    let items = details["checklist"].as_object().expect("items");
    let mut titles: Vec<&str> = items.values().filter_map(|item| item["title"].as_str()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["ours", "theirs"]);
}

/// Seed 319: with an id of ours, the answer to a second send may be the task of the first, which a person has edited.
#[test]
fn what_a_person_made_of_an_earlier_send_does_not_silence_a_later_one() {
    let mut bench = Bench::new("agent-task-1");
    bench.scenario = Some("org.example.annika".into());
    bench.set(json!({"title": "first", "plan_id": PLAN}));
    let step = bench.step();
    bench.perform(&step.action);
    let id = bench.orphans.pop().expect("made")["id"].as_str().expect("an id").to_owned();
    bench.planner.edit(&id, &json!({"bucketId": "theirs"}), bench.now);
    bench.set(json!({"title": "first", "plan_id": PLAN, "bucket_id": "ours"}));
    bench.settle();
    assert_eq!((bench.planner_id(), &bench.task()["bucketId"]), (id, &json!("theirs")));
    assert_eq!(bench.conflicts(), [("bucket", json!("ours"), "agent")]);
}

/// The steps up to the point where the new task is mapped and the old one is still there.
fn moved() -> Bench {
    let mut bench = usual();
    bench.agent(&[("plan_id", json!(OTHER))]);
    for _ in 0..6 {
        let step = bench.step();
        bench.perform(&step.action);
        if bench.state.leaving.is_some() {
            return bench;
        }
    }
    panic!("it was not moved: {:?}", bench.state);
}

#[test]
fn what_people_do_to_the_old_task_meanwhile_goes_over() {
    let mut bench = moved();
    let old = bench.state.leaving.clone().expect("leaving").planner_id;
    bench.planner.edit(&old, &json!({"title": "theirs"}), bench.now);
    bench.planner.edit_details(&old, &json!({"description": "longer"}), bench.now);
    bench.settle();
    assert_eq!(bench.planner.get(&old), None);
    assert_eq!(
        (&bench.task()["title"], &bench.details()["description"]),
        (&json!("theirs"), &json!("longer"))
    );
    assert!(bench.differences().is_empty());
}

#[test]
fn an_edit_of_the_old_task_after_it_was_read_stops_its_deletion() {
    let mut bench = moved();
    let old = bench.state.leaving.clone().expect("leaving").planner_id;
    for _ in 0..10 {
        let step = bench.step();
        if matches!(step.action, Action::DeleteLeft { .. }) {
            bench.planner.edit(&old, &json!({"title": "at the last moment"}), bench.now);
            bench.perform(&step.action);
            break;
        }
        bench.perform(&step.action);
    }
    assert!(bench.planner.get(&old).is_some(), "its ETag has moved");
    bench.settle();
    assert_eq!((bench.planner.get(&old), &bench.task()["title"]), (None, &json!("at the last moment")));
}

#[test]
fn a_document_that_is_deleted_in_the_middle_of_a_move_leaves_nothing_behind() {
    let mut bench = moved();
    let old = bench.state.leaving.clone().expect("leaving").planner_id;
    let new = bench.planner_id();
    bench.delete();
    bench.settle();
    assert_eq!((bench.planner.get(&old), bench.planner.get(&new)), (None, None));
}

#[test]
fn a_move_to_a_plan_that_is_not_synced_is_told_and_does_not_happen() {
    let mut bench = Bench::usual();
    bench.agent(&[("plan_id", json!("plan-z"))]);
    bench.settle();
    assert_eq!(bench.failures(), ["plan_not_synced"]);
    assert_eq!(bench.conflicts(), [("plan", json!("plan-z"), "agent")]);
    assert_eq!((bench.document()["plan_id"].as_str(), bench.planner_id().as_str()), (Some(PLAN), "PT0001"));
    assert_eq!(bench.creates, 0);
}

#[test]
fn a_persons_move_is_no_agents_move() {
    let mut bench = usual();
    bench.person(json!({"planId": OTHER}));
    bench.settle();
    assert_eq!((bench.document()["plan_id"].as_str(), bench.planner_id().as_str()), (Some(OTHER), "PT0001"));
    assert_eq!((bench.creates, bench.graph_writes), (0, 0));
}

#[test]
fn a_text_that_the_create_could_not_carry_is_no_edit_that_beats_a_deletion_however_late() {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "first", "description": "text"}));
    bench.step();
    let orphan = bench.planner.create(&json!({"title": "first", "planId": PLAN}), By::App, bench.now + 100);
    bench.orphans = vec![orphan];
    let step = bench.step();
    bench.perform(&step.action);
    bench.person_deletes();
    // Far longer than the outcome of a write stays unknown.
    bench.now += 3_600_000;
    bench.settle();
    assert!(bench.forgotten && bench.doc.is_none(), "it is not made again: {:?}", bench.state);
}

#[test]
fn a_create_with_an_id_of_ours_is_sent_again_at_once_and_finds_the_first_ones_task() {
    let mut bench = Bench::new("agent-task-1");
    bench.scenario = Some("org.example.annika".into());
    bench.set(json!({"title": "first"}));
    let Action::Create { body } = bench.step().action else { panic!("{:?}", bench.state) };
    assert_eq!(body["creationSource"]["externalObjectId"], "agent-task-1");
    let made = bench.planner.create(&body, By::App, bench.now + 100);
    bench.agent(&[("title", json!("newer"))]);
    let Action::Create { body } = bench.step().action else { panic!("{:?}", bench.state) };
    let answer = bench.planner.create(&body, By::App, bench.now + 200);
    assert_eq!(answer["id"], made["id"], "Planner holds it once");
    bench.orphans = vec![answer];
    bench.settle();
    assert_eq!(bench.task()["title"], "newer", "the edit of the meantime is pushed");
    assert!(bench.conflicts().is_empty());
}

/// Seed 714: whoever deleted the new task had not seen what was done to the old one.
#[test]
fn an_edit_of_the_old_task_outlives_a_deletion_of_the_new_one() {
    for with_document in [true, false] {
        let mut bench = moved();
        let old = bench.state.leaving.clone().expect("leaving").planner_id;
        bench.planner.edit(&old, &json!({"title": "theirs"}), bench.now);
        bench.person_deletes();
        if !with_document {
            bench.delete();
        }
        for _ in 0..12 {
            bench.settle();
            bench.now += 20_000;
            bench.poll();
        }
        let made = bench.planner.tasks.len();
        assert_eq!((made, &bench.task()["title"]), (1, &json!("theirs")), "{with_document}");
        assert_eq!(bench.document()["title"], "theirs", "{with_document}");
        assert!(bench.differences().is_empty() && bench.state.leaving.is_none());
    }
}

/// Seed 704: what has to wait for its turn is never fresh.
#[test]
fn an_edit_of_the_old_task_goes_over_however_long_ago_it_was_read() {
    let mut bench = moved();
    let old = bench.state.leaving.clone().expect("leaving").planner_id;
    bench.planner.edit(&old, &json!({"title": "theirs"}), bench.now);
    loop {
        let step = bench.step();
        bench.perform(&step.action);
        if matches!(step.action, Action::GetLeft { .. }) {
            break;
        }
    }
    bench.now += 60_000;
    let step = bench.step();
    assert!(matches!(step.action, Action::HandOver { .. }), "{:?}", step.action);
    bench.perform(&step.action);
    bench.settle();
    arrived(&bench, &old);
    assert_eq!(bench.document()["title"], "theirs");
}

/// Seed 1456: with an id of ours a create need not be waited for; it may have been done all the same.
#[test]
fn a_move_that_an_agent_takes_back_stays_open_until_it_is_proven_undone() {
    let mut bench = usual();
    bench.scenario = Some("org.example.annika".into());
    let made = sent(&mut bench);
    bench.agent(&[("plan_id", PLAN.into())]);
    for _ in 0..5 {
        let step = bench.step();
        bench.perform(&step.action);
        bench.now += 10_000;
    }
    assert!(bench.state.create.is_some(), "it was sent, and may have been done");
    assert_eq!(bench.creates, 1);
    // A list shows what it made.
    bench.orphans = vec![made];
    bench.settle();
    assert_eq!(bench.planner.tasks.len(), 1, "{:?}", bench.planner.tasks.keys());
    assert_eq!((&bench.task()["planId"], &bench.document()["plan_id"]), (&json!(PLAN), &json!(PLAN)));
}
