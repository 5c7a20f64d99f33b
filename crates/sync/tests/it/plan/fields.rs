//! Labels, links, order and names of users: what goes where, and what stays in the document alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use annika_sync::{
    lens::{Categories, DayTime},
    plan::Action,
    world::Event,
};
use serde_json::{Value as Json, json};

use super::bench::{Bench, PLAN};

const ADELE: &str = "fbab97d0-4932-4511-b675-204639209557";
const MEGAN: &str = "48d31887-5fad-4d73-a9f5-3c356e68a038";

fn named(bench: &mut Bench, names: &[(&str, &str)]) {
    let names = names.iter().map(|(key, name)| ((*key).to_owned(), (*name).to_owned())).collect();
    bench.plans.categories = BTreeMap::from([(PLAN.to_owned(), Arc::new(Categories::from_names(names)))]);
}

/// A task that is the same on both sides, with these members besides.
fn synced(members: Json) -> Bench {
    let mut doc = json!({"id": "agent-task-1", "title": "first", "plan_id": PLAN});
    doc.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    let mut bench = Bench::new("agent-task-1");
    named(&mut bench, &[("category1", "Red team"), ("category2", "Blue")]);
    bench.directory = BTreeMap::from([("adele@contoso.com".to_owned(), ADELE.to_owned())]);
    bench.set(doc);
    bench.settle();
    bench
}

fn left_out(bench: &Bench) -> Vec<(&'static str, Vec<String>)> {
    let left = |event: &Event| match event {
        Event::LeftOut { code, values, .. } => Some((*code, values.clone())),
        _ => None,
    };
    bench.events.iter().filter_map(left).collect()
}

#[test]
fn labels_go_up_as_categories_and_come_down_by_name() {
    let mut bench = synced(json!({"labels": ["red team", "no such"]}));
    assert_eq!(bench.task()["appliedCategories"], json!({"category1": true}));
    assert_eq!(bench.document()["labels"], json!(["red team", "no such"]), "the agent's spelling stays");
    assert_eq!(left_out(&bench), [("label_unknown", vec!["no such".to_owned()])]);
    bench.forget_the_past();
    bench.person(json!({"appliedCategories": {"category1": false, "category2": true, "category7": true}}));
    bench.settle();
    assert_eq!(bench.document()["labels"], json!(["no such", "Blue", "category7"]));
    assert_eq!((bench.graph_writes, left_out(&bench).len()), (0, 0), "told once");
    bench.agent(&[("labels", json!(["category7"]))]);
    bench.settle();
    assert_eq!(bench.task()["appliedCategories"], json!({"category7": true}));
}

#[test]
fn each_sides_labels_stand() {
    let mut bench = synced(json!({"labels": ["Red team"]}));
    bench.agent(&[("labels", json!(["Red team", "category9"]))]);
    bench.person(json!({"appliedCategories": {"category1": false, "category2": true}}));
    bench.settle();
    assert_eq!(bench.task()["appliedCategories"], json!({"category2": true, "category9": true}));
    assert_eq!(bench.document()["labels"], json!(["category9", "Blue"]));
}

#[test]
fn a_renamed_category_is_renamed_in_the_document_and_taken_off_no_task() {
    let mut bench = synced(json!({"labels": ["Red team", "mine"]}));
    let old = bench.document();
    bench.forget_the_past();
    named(&mut bench, &[("category1", "Crimson"), ("category2", "Blue")]);
    bench.settle();
    assert_eq!(bench.document()["labels"], json!(["Crimson", "mine"]));
    bench.write(&old, &[("title", json!("second"))]);
    bench.settle();
    assert_eq!(bench.task()["appliedCategories"], json!({"category1": true}), "the old name still is known");
    assert_eq!((bench.document()["labels"].clone(), bench.graph_writes), (json!(["Crimson", "mine"]), 1));
}

#[test]
fn without_the_names_labels_wait_and_the_rest_is_synced() {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "first", "plan_id": PLAN, "labels": ["Blue"]}));
    while bench.state.base.is_empty() {
        let action = bench.step().action;
        bench.perform(&action);
    }
    let step = bench.step();
    assert_eq!(step.action, Action::Wait(Duration::from_secs(10)));
    assert_eq!((bench.task()["appliedCategories"].clone(), left_out(&bench).len()), (json!({}), 0));
    bench.person(json!({"appliedCategories": {"category1": true}}));
    loop {
        match bench.step().action {
            Action::Wait(_) => break,
            action => bench.perform(&action),
        }
    }
    assert_eq!(bench.document()["labels"], json!(["Blue"]));
    named(&mut bench, &[("category1", "Red team"), ("category2", "Blue")]);
    bench.settle();
    assert_eq!(bench.task()["appliedCategories"], json!({"category1": true, "category2": true}));
    assert_eq!(bench.document()["labels"], json!(["Blue", "Red team"]));
}

#[test]
fn links_go_both_ways_one_by_one() {
    let report = "https://contoso.sharepoint.com/teams/x/Report.pptx";
    let mut bench =
        synced(json!({"references": [report, {"url": "https://a.b/?q=1%20#c", "alias": "A", "note": 1.0}]}));
    let there = bench.details()["references"].clone();
    let key = "https%3A//contoso%2Esharepoint%2Ecom/teams/x/Report%2Epptx";
    assert_eq!(there[key], json!({"alias": "", "type": "Other"}));
    assert_eq!(there["https%3A//a%2Eb/?q=1%2520%23c"]["alias"], "A");
    bench.forget_the_past();
    bench.person_details(json!({"references": {key: {"alias": "The report", "type": "PowerPoint"},
        "https%3A//new": {"alias": "N", "type": "Pdf"}}}));
    bench.agent(&[("references", json!([report]))]);
    bench.settle();
    let shown = json!([{"url": report, "alias": "The report", "type": "PowerPoint"},
        {"url": "https://new", "alias": "N", "type": "Pdf"}]);
    assert_eq!(bench.document()["references"], shown);
    let there = bench.details()["references"].as_object().expect("a map").clone();
    assert_eq!(there.keys().collect::<Vec<_>>(), [key, "https%3A//new"], "the agent's removal went up");
    assert!(bench.conflicts().is_empty(), "{:?}", bench.conflicts());
}

#[test]
fn a_link_too_many_stays_in_redis_and_does_not_outlive_the_task() {
    let links: Vec<String> = (10..27).map(|n| format!("https://contoso.com/{n}")).collect();
    let mut bench = synced(json!({"references": links, "labels": ["no such"]}));
    assert_eq!(bench.details()["references"].as_object().map(serde_json::Map::len), Some(15));
    assert_eq!(bench.document()["references"], json!(links));
    let told = left_out(&bench).into_iter().find(|(code, _)| *code == "references_full");
    assert_eq!(told.map(|(_, values)| values), Some(links[15..].to_vec()));
    bench.forget_the_past();
    bench.agent(&[("title", json!("second"))]);
    bench.settle();
    assert_eq!((bench.graph_writes, left_out(&bench).len()), (1, 0));
    bench.forget_the_past();
    bench.person_deletes();
    bench.settle();
    assert!(
        bench.doc.is_none() && bench.forgotten,
        "what Planner never had is no edit that beats a deletion"
    );
}

#[test]
fn an_order_hint_goes_up_and_planners_own_comes_down() {
    let mut bench = synced(json!({"order": null}));
    let own = bench.task()["orderHint"].clone();
    bench.agent(&[("order", own.clone())]);
    bench.settle();
    bench.forget_the_past();
    bench.agent(&[("order", json!(format!("{} !", own.as_str().expect("a hint"))))]);
    bench.settle();
    let new = bench.task()["orderHint"].clone();
    assert_ne!(new, own);
    assert_eq!((bench.document()["order"].clone(), bench.graph_writes), (new, 1));
    assert!(bench.conflicts().is_empty() && left_out(&bench).is_empty());
}

#[test]
fn a_hint_that_planner_would_refuse_is_told_and_not_sent() {
    let mut bench = synced(json!({}));
    bench.forget_the_past();
    bench.agent(&[("order", json!("8585x"))]);
    bench.settle();
    bench.agent(&[("title", json!("second"))]);
    bench.settle();
    assert_eq!(left_out(&bench), [("order_not_a_hint", vec!["8585x".to_owned()])]);
    assert_eq!((bench.document()["order"].clone(), bench.graph_writes), (json!("8585x"), 1));
    bench.person(json!({"orderHint": " !"}));
    bench.settle();
    assert_eq!(bench.document()["order"], bench.task()["orderHint"]);
}

#[test]
fn a_persons_order_touches_no_document_without_one_and_restores_no_deleted_task() {
    for doc in [json!({}), json!({"order": 3})] {
        let mut bench = synced(doc);
        bench.forget_the_past();
        let before = bench.doc.clone();
        bench.person(json!({"orderHint": " !"}));
        bench.settle();
        assert_eq!((bench.document_writes, &bench.doc), (0, &before));
        bench.planner.edit(&bench.planner_id(), &json!({"orderHint": " !"}), bench.now);
        bench.delete();
        bench.settle();
        assert!(bench.forgotten && bench.planner.tasks.is_empty());
    }
}

#[test]
fn a_users_name_is_looked_up_and_stays_as_the_agent_wrote_it() {
    let mut bench = synced(json!({"assigned_to": ["Adele@Contoso.com", "Nobody"], "priority": "high"}));
    assert_eq!(
        bench.task()["assignments"],
        json!({ADELE: {"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": " !"}})
    );
    assert_eq!(bench.document()["assigned_to"], json!(["Adele@Contoso.com", "Nobody"]));
    assert_eq!(left_out(&bench), [("assignee_unresolved", vec!["Nobody".to_owned()])]);
    assert_eq!((bench.lookups, bench.task()["priority"].clone()), (2, json!(3)), "the rest is synced");
    bench.forget_the_past();
    bench.person(json!({"assignments": {ADELE: null, MEGAN: {"orderHint": " !"}}}));
    bench.settle();
    assert_eq!(bench.document()["assigned_to"], json!(["Nobody", MEGAN]));
    assert_eq!((bench.graph_writes, left_out(&bench).len(), bench.lookups), (0, 0, 2));
}

#[test]
fn a_day_is_sent_with_the_time_of_the_settings_and_stays_a_day() {
    let mut bench = Bench::new("agent-task-1");
    bench.plans.day_time = DayTime::parse("16:30").expect("a time of day");
    bench.set(json!({"title": "first", "plan_id": PLAN, "due_date": "2025-12-01"}));
    bench.settle();
    assert_eq!(bench.task()["dueDateTime"], "2025-12-01T16:30:00Z");
    bench.agent(&[("due_date", json!("2025-12-02")), ("start_date", json!("2025-12-02T17:00:00Z"))]);
    bench.settle();
    let (start, due) = (bench.task()["startDateTime"].clone(), bench.task()["dueDateTime"].clone());
    assert_eq!(
        (&start, &due),
        (&json!("2025-12-02T17:00:00Z"), &json!("2025-12-02T17:00:00Z")),
        "never before the start"
    );
    assert_eq!((bench.document()["due_date"].clone(), bench.conflicts().len()), (json!("2025-12-02"), 0));
}

#[test]
fn a_time_of_day_has_two_digits_each() {
    for good in ["00:00", "10:00", " 23:59 "] {
        assert!(DayTime::parse(good).is_some(), "{good}");
    }
    for bad in ["", "9:00", "24:00", "10:60", "10", "10:00:00", "+1:00", "ab:cd"] {
        assert!(DayTime::parse(bad).is_none(), "{bad}");
    }
}
