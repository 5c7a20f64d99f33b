//! Moves to another plan by an agent: what goes over, and what people do meanwhile.

use std::sync::Arc;

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
