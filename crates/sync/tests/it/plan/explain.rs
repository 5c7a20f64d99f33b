//! `explain` says of a task what `plan` would do, and why, without doing it.

use std::collections::BTreeMap;

use annika_sync::{
    blocks::{Blocks, Patience},
    explain::{Explanation, Stamp, explain},
    plan::Context,
};
use serde_json::json;

use super::bench::{Bench, PLAN};

fn explained(bench: &Bench) -> Explanation {
    explained_with(bench, Blocks::default())
}

fn explained_with(bench: &Bench, blocks: Blocks) -> Explanation {
    let context = Context {
        now: bench.now,
        rev: "explained".into(),
        plans: &bench.plans,
        scenario: None,
        rebuilding_since: None,
    };
    explain(&bench.snapshot(), &context, &BTreeMap::from([(PLAN.to_owned(), blocks)]))
}

fn field<'a>(explanation: &'a Explanation, name: &str) -> &'a annika_sync::explain::FieldVersions {
    explanation.fields.iter().find(|field| field.field == name).unwrap_or_else(|| panic!("{explanation:?}"))
}

#[test]
fn a_task_at_rest_is_the_same_everywhere() {
    let mut bench = Bench::usual();
    let said = explained(&bench);
    assert_eq!((said.next.action, said.document.as_str(), said.stamp), ("nothing", "present", Stamp::Newest));
    assert!(said.fields.iter().all(|field| field.changed == "same"), "{:?}", said.fields);
    assert_eq!(said.next.why, ["Both sides agree."]);
    let before = (bench.state.clone(), bench.doc.clone());
    explained(&bench);
    assert_eq!((bench.state.clone(), bench.doc.clone()), before, "nothing is carried out");
    bench.settle();
    assert_eq!((bench.document_writes, bench.graph_writes), (0, 0));
}

#[test]
fn an_agents_edit_would_be_sent() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("second"))]);
    let said = explained(&bench);
    assert_eq!((said.next.action, said.next.send.as_slice()), ("update", ["title"].as_slice()));
    let title = field(&said, "title");
    assert_eq!(
        (&title.base, &title.local, &title.remote),
        (&json!("first"), &json!("second"), &json!("first"))
    );
    assert_eq!(title.changed, "local");
}

#[test]
fn a_persons_edit_in_the_list_would_be_written_into_the_document() {
    let mut bench = Bench::usual();
    bench.person(json!({"title": "by a person"}));
    // The list's news are of the task alone; its details would be read first.
    bench.state.need_details = false;
    let said = explained(&bench);
    let title = field(&said, "title");
    assert_eq!((title.remote.clone(), title.changed), (json!("by a person"), "remote"));
    assert_eq!(said.next.action, "read", "{:?}", said.next);
    assert!(
        said.next.why[0].starts_with("First the details of Planner's task are read"),
        "{:?}",
        said.next.why
    );
}

#[test]
fn a_conflict_names_what_stands_and_what_is_lost() {
    let mut bench = Bench::usual();
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    let stale = json!({"id": "agent-task-1", "title": "first and more", "_sync": {"rev": "nobody's", "planner_id": bench.planner_id()}});
    bench.set(stale);
    let said = explained(&bench);
    assert_eq!(said.stamp, Stamp::Unknown);
    assert!(
        said.next
            .why
            .iter()
            .any(|why| why.contains("Both sides changed title") && why.contains("by a person")),
        "{:?}",
        said.next.why
    );
}

#[test]
fn a_missing_document_waits_for_evidence_and_then_for_a_fresh_look() {
    let mut bench = Bench::usual();
    bench.doc = None;
    let said = explained(&bench);
    assert_eq!((said.next.action, said.document.as_str()), ("nothing", "missing"));
    assert!(said.next.why[0].contains("two sweeps"), "{:?}", said.next.why);
    bench.delete_event = true;
    let said = explained(&bench);
    assert_eq!(said.next.action, "read");
    assert!(said.next.why[0].contains("fresh look"), "{:?}", said.next.why);
    assert!(said.absence.delete_message);
}

#[test]
fn a_failure_stands_with_its_code_and_advice() {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "x", "plan_id": "another-plan"}));
    bench.settle();
    let said = explained(&bench);
    let failure = said.failure.expect("it failed");
    assert_eq!(failure.code, "plan_not_synced");
    assert!(failure.retry_in_s.is_some(), "settings may change");
    assert!(said.next.why[0].contains("plan_not_synced"), "{:?}", said.next.why);
}

#[test]
fn a_document_that_cannot_be_read_is_told_by_its_code() {
    let mut bench = Bench::new("agent-task-1");
    bench.doc = Some(b"{not json".to_vec());
    let said = explained(&bench);
    assert_ne!(said.document, "present");
    assert!(said.fields.is_empty());
}

#[test]
fn a_new_document_would_be_created_with_its_fields() {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "x"}));
    let said = explained(&bench);
    assert_eq!(said.next.action, "create");
    assert!(said.next.send.contains(&"title"), "{:?}", said.next.send);
}

#[test]
fn a_plan_that_is_left_alone_is_named() {
    let patience = Patience::default();
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("second"))]);
    let (mut suspended, mut full) = (Blocks::default(), Blocks::default());
    for before in [60_000, 0] {
        suspended.list_refused(403, bench.now - before, patience);
    }
    full.create_refused("MaximumTasksInProject", "another", bench.now, patience);
    let held = |bench: &Bench, blocks: &Blocks| {
        let said = explained_with(bench, blocks.clone()).next;
        assert_eq!(said.why.iter().any(|why| why.contains(PLAN)), said.held_by.is_some(), "{:?}", said.why);
        said.held_by.map(|held| (held.code, held.retry_in_s))
    };
    assert_eq!(held(&bench, &suspended), Some(("graph_403".into(), 900)));
    assert_eq!(held(&bench, &full), None, "it takes no new tasks, and this one is not new");
    bench.settle();
    assert_eq!(held(&bench, &suspended), None, "there is nothing to do");
    let mut new = Bench::new("agent-task-2");
    new.now = bench.now;
    new.set(json!({"title": "t"}));
    assert_eq!(held(&new, &full), Some(("MaximumTasksInProject".into(), 900)));
    assert_eq!(held(&new, &suspended).map(|(code, _)| code), Some("graph_403".into()));
}
