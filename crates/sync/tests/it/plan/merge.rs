//! Both sides are there: who changed what, and what goes where.

use annika_sync::{
    lens::{Field, Value},
    plan::Action,
    state::TaskState,
};
use serde_json::json;

use super::bench::Bench;

#[test]
fn nothing_is_written_when_nothing_changed() {
    let mut bench = Bench::usual();
    let before = bench.doc.clone();
    bench.poll();
    assert_eq!(bench.settle(), 1);
    assert_eq!((bench.document_writes, bench.graph_writes), (0, 0));
    assert_eq!(bench.doc, before);
    assert!(bench.events.is_empty(), "{:?}", bench.events);
}

#[test]
fn the_stamp_is_written_once() {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "first"}));
    bench.settle();
    assert_eq!(bench.document_writes, 1, "the stamp");
    let stamped = bench.document();
    assert_eq!(stamped["_sync"]["planner_id"], bench.planner_id());
    bench.agent(&[("title", json!("second"))]);
    bench.settle();
    assert_eq!(bench.document_writes, 1, "an upload writes no document");
    assert_eq!(bench.document()["_sync"], stamped["_sync"]);
}

#[test]
fn only_the_changed_field_is_sent_with_the_etag_of_the_merged_copy() {
    let mut bench = Bench::usual();
    let merged = bench.state.remote.clone().expect("a copy").etag;
    bench.agent(&[("title", json!("second"))]);
    let step = bench.step();
    let Action::Patch { task: Some((etag, body)), details: None, .. } = step.action else {
        panic!("{:?}", step.action)
    };
    assert_eq!(body, json!({"title": "second"}));
    assert_eq!(etag, merged);
}

#[test]
fn a_persons_edit_comes_down_and_nothing_goes_up() {
    let mut bench = Bench::usual();
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!((bench.document_writes, bench.graph_writes), (1, 0));
    assert!(bench.conflicts().is_empty());
}

#[test]
fn different_fields_merge_without_a_conflict() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("by the agent"))]);
    bench.person(json!({"dueDateTime": "2025-12-24T10:00:00Z"}));
    bench.settle();
    assert_eq!(bench.task()["title"], "by the agent");
    assert_eq!(bench.document()["due_date"], "2025-12-24");
    assert!(bench.differences().is_empty());
    assert!(bench.conflicts().is_empty());
}

#[test]
fn the_person_wins_a_field_and_the_agents_value_is_logged() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("by the agent"))]);
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    assert_eq!(bench.task()["title"], "by a person");
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!(bench.conflicts(), vec![("title", json!("by the agent"), "agent")]);
    assert_eq!(bench.graph_writes, 0);
}

#[test]
fn an_agents_completion_beats_a_persons_progress_and_the_progress_is_logged() {
    let mut bench = Bench::usual();
    bench.agent(&[("percent_complete", json!(1))]);
    bench.person(json!({"percentComplete": 50}));
    bench.settle();
    assert_eq!(bench.task()["percentComplete"], 100);
    assert_eq!(bench.conflicts(), vec![("percent", json!(50), "planner")]);
}

#[test]
fn percent_029_is_29() {
    let mut bench = Bench::usual();
    bench.agent(&[("percent_complete", json!(0.29))]);
    bench.settle();
    assert_eq!(bench.task()["percentComplete"], 29);
    assert_eq!(bench.document()["percent_complete"], json!(0.29), "and is not written back");
}

#[test]
fn assignees_of_both_sides_are_kept() {
    let (a, b) = ("fbab97d0-4932-4511-b675-204639209557", "48d31887-5fad-4d73-a9f5-3c356e68a038");
    let mut bench = Bench::usual();
    bench.agent(&[("assigned_to", json!([a]))]);
    bench.person(json!({"assignments": {b: {"orderHint": " !"}}}));
    bench.settle();
    let assignments = bench.task()["assignments"].clone();
    assert!(assignments.get(a).is_some() && assignments.get(b).is_some(), "{assignments}");
    assert!(bench.differences().is_empty());
}

#[test]
fn the_own_echo_after_a_lost_reply_is_no_remote_change() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("sent"))]);
    let step = bench.step();
    bench.perform(&step.action);
    // The agent goes on before the answer of the first write is known.
    bench.agent(&[("title", json!("newer"))]);
    bench.settle();
    assert_eq!(bench.task()["title"], "newer");
    assert_eq!(bench.document()["title"], "newer");
    assert!(bench.conflicts().is_empty(), "{:?}", bench.conflicts());
}

#[test]
fn a_stale_write_with_an_old_rev_does_not_revert_a_person() {
    let mut bench = Bench::usual();
    let read = bench.document();
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    bench.write(&read, &[("bucket_id", json!("bucket-2"))]);
    bench.settle();
    assert_eq!(bench.task()["title"], "by a person");
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!(bench.task()["bucketId"], "bucket-2");
    assert!(bench.conflicts().is_empty(), "the stale title was no opinion");
}

#[test]
fn a_change_on_an_old_rev_of_a_field_that_a_person_changed_meanwhile_is_a_conflict() {
    let mut bench = Bench::usual();
    let read = bench.document();
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    bench.write(&read, &[("title", json!("by the agent"))]);
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!(bench.conflicts(), vec![("title", json!("by the agent"), "agent")]);
}

#[test]
fn a_stale_list_of_people_does_not_remove_the_person_added_meanwhile() {
    let (a, b, c) = (
        "fbab97d0-4932-4511-b675-204639209557",
        "48d31887-5fad-4d73-a9f5-3c356e68a038",
        "6463a5ce-2119-4198-9f2a-628761df4a62",
    );
    let mut bench = Bench::synced(json!({"title": "first", "assigned_to": [a]}));
    let read = bench.document();
    bench.person(json!({"assignments": {b: {"orderHint": " !"}}}));
    bench.settle();
    bench.write(&read, &[("assigned_to", json!([a, c]))]);
    bench.settle();
    let assignments = bench.task()["assignments"].clone();
    for id in [a, b, c] {
        assert!(assignments.get(id).is_some(), "{id} in {assignments}");
    }
    assert!(bench.differences().is_empty());
    assert_eq!(bench.conflicts().len(), 1, "the agent may have meant to remove someone: logged");
}

#[test]
fn a_stale_checklist_does_not_remove_the_item_added_meanwhile() {
    let (a, b, c) = (
        "95e27074-6c4a-447a-aa24-9d718a0b86fa",
        "d280ed1a-9f6b-4f9c-a962-fb4d00dc50ff",
        "5c2a1f36-0f5e-4b7c-8f4e-7d0a4be1b1aa",
    );
    let item = |id: &str, title: &str| json!({"id": id, "title": title, "completed": false});
    let mut bench = Bench::synced(json!({"title": "first", "checklist_items": [item(a, "milk")]}));
    let read = bench.document();
    bench.person_details(json!({"checklist": {b: {"title": "eggs", "isChecked": false}}}));
    bench.settle();
    bench.write(&read, &[("checklist_items", json!([item(a, "milk"), item(c, "tea")]))]);
    bench.settle();
    let checklist = bench.details()["checklist"].clone();
    for id in [a, b, c] {
        assert!(checklist.get(id).is_some(), "{id} in {checklist}");
    }
    assert!(bench.differences().is_empty());
}

#[test]
fn an_unknown_rev_never_overwrites_a_downloaded_change_silently() {
    let mut bench = Bench::usual();
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    let mut read = bench.document();
    read["_sync"]["rev"] = json!("never heard of");
    bench.write(&read, &[("title", json!("by the agent"))]);
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!(bench.conflicts(), vec![("title", json!("by the agent"), "agent")]);
}

#[test]
fn a_stale_write_without_a_stamp_does_not_revert_a_person() {
    let mut bench = Bench::usual();
    let mut read = bench.document();
    read.as_object_mut().expect("an object").remove("_sync");
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    bench.write(&read, &[("bucket_id", json!("bucket-2"))]);
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!(bench.task()["bucketId"], "bucket-2");
}

#[test]
fn what_lost_against_another_spelling_is_stale_once_a_person_changed_the_field() {
    let mut bench = Bench::usual();
    bench.set(json!({"title": "t", "bucketId": "old", "bucket_id": "new"}));
    bench.settle();
    assert_eq!(bench.task()["bucketId"], "new");
    bench.person(json!({"bucketId": "theirs"}));
    bench.settle();
    bench.set(json!({"title": "t", "bucketId": "old"}));
    bench.settle();
    assert_eq!(bench.task()["bucketId"], "theirs");
    assert_eq!(bench.conflicts().len(), 2, "both times it is told");
}

#[test]
fn a_document_without_a_stamp_is_an_edit_like_any_other() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("second"))]);
    let mut doc = bench.document();
    doc.as_object_mut().expect("an object").remove("_sync");
    bench.set(doc);
    bench.settle();
    assert_eq!(bench.task()["title"], "second");
    assert!(bench.conflicts().is_empty());
}

#[test]
fn a_partial_set_erases_nothing() {
    let mut bench = Bench::usual();
    bench.set(json!({"id": "agent-task-1", "title": "second"}));
    bench.settle();
    assert_eq!(bench.task()["title"], "second");
    assert_eq!(bench.task()["bucketId"], "bucket-1");
    assert_eq!(bench.details()["description"], "text");
}

#[test]
fn no_opinion_means_the_last_local_value() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("pending"))]);
    let step = bench.step();
    assert!(matches!(step.action, Action::Patch { .. }));
    // The write is never sent; a partial SET replaces the document that held the pending title.
    bench.state.intents.clear();
    bench.set(json!({"id": "agent-task-1", "bucket_id": "bucket-2"}));
    bench.settle();
    assert_eq!(bench.task()["title"], "pending");
    assert_eq!(bench.task()["bucketId"], "bucket-2");
}

#[test]
fn a_write_on_a_newer_planner_copy_is_refused_and_merged_again() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("by the agent"))]);
    let step = bench.step();
    let id = bench.planner_id();
    bench.planner.edit(&id, &json!({"title": "by a person"}), bench.now);
    bench.perform(&step.action);
    bench.settle();
    assert_eq!(bench.task()["title"], "by a person");
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!(bench.conflicts(), vec![("title", json!("by the agent"), "agent")]);
}

#[test]
fn a_details_edit_that_leaves_the_tasks_etag_is_found_by_the_rotation() {
    let mut bench = Bench::usual();
    bench.planner.details_move_task = false;
    bench.person_details(json!({"description": "by a person"}));
    bench.settle();
    assert_eq!(bench.document()["description"], "text", "the list cannot show it");
    bench.recheck_details = true;
    bench.settle();
    assert_eq!(bench.document()["description"], "by a person");
}

#[test]
fn details_go_with_their_own_etag() {
    let mut bench = Bench::usual();
    bench.agent(&[("description", json!("longer")), ("title", json!("second"))]);
    let details_etag = bench.details()["@odata.etag"].clone();
    let step = bench.step();
    let Action::Patch { task: Some((task, _)), details: Some((details, body)), .. } = step.action else {
        panic!("{:?}", step.action)
    };
    assert_ne!(task, details);
    assert_eq!(details, details_etag);
    assert_eq!(body, json!({"description": "longer"}));
}

#[test]
fn a_plan_cannot_be_changed_in_place() {
    let mut bench = Bench::usual();
    bench.agent(&[("plan_id", json!("plan-b"))]);
    bench.settle();
    assert_eq!(bench.document()["plan_id"], super::bench::PLAN);
    assert_eq!(bench.graph_writes, 0);
    assert_eq!(bench.conflicts().first().map(|conflict| conflict.0), Some("plan"));
}

#[test]
fn a_value_that_planner_stops_naming_is_no_change() {
    let mut bench = Bench::usual();
    bench.person(json!({"bucketId": null}));
    bench.settle();
    bench.settle();
    assert_eq!(bench.document()["bucket_id"], "bucket-1");
    assert_eq!(bench.graph_writes, 0, "a bucket that is not named is not pushed again");
}

#[test]
fn a_version_that_a_list_showed_and_the_cache_does_not_hold_is_read() {
    let mut bench = Bench::usual();
    bench.observed = Some(bench.task());
    let id = bench.planner_id();
    bench.planner.edit(&id, &json!({"title": "by a person"}), bench.now);
    bench.observed_etag = bench.task()["@odata.etag"].as_str().map(str::to_owned);
    let step = bench.step();
    assert_eq!(step.action, Action::Get { task: true, details: true });
    bench.perform(&step.action);
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person");
}

#[test]
fn details_that_lag_behind_our_own_write_are_no_edit() {
    let mut bench = Bench::usual();
    let state = &mut bench.state;
    let remote = state.remote.as_mut().expect("a copy");
    // What a write that was answered without an ETag leaves: the new value under the old ETag.
    let sent = Value::Text("sent by us".into());
    remote.fields.insert(Field::Description, sent.clone());
    (remote.etag, remote.details_etag) = ("W/\"Yg==\"".into(), Some("W/\"Yg==\"".into()));
    let read = |task: &str, details: &str| {
        json!({"@odata.etag": format!("W/\"{task}\""), "title": "t",
            "details": {"@odata.etag": format!("W/\"{details}\""), "description": "read"}})
    };
    let description =
        |state: &TaskState| state.remote.as_ref().expect("a copy").fields[&Field::Description].clone();
    for (task, details) in [("Yw==", "Yg=="), ("ZA==", "YQ==")] {
        assert!(annika_sync::plan::observe(state, &read(task, details)), "the task itself is newer");
        assert_eq!(description(state), sent, "{details}");
        assert_eq!(state.remote.as_ref().expect("a copy").details_etag.as_deref(), Some("W/\"Yg==\""));
    }
    assert!(annika_sync::plan::observe(state, &read("ZQ==", "Yw==")));
    assert_eq!(description(state), Value::Text("read".into()));
}
