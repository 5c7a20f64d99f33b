//! Absence on either side: evidence, deletion, and edits that beat it.

use annika_sync::{
    plan::Action,
    world::{Direction, Event},
};
use serde_json::json;

use super::bench::{Bench, PLAN};

#[test]
fn a_missing_document_alone_deletes_nothing() {
    for missed in [0, 1] {
        let mut bench = Bench::usual();
        bench.doc = None;
        bench.missed_sweeps = missed;
        bench.settle();
        assert_eq!((bench.graph_writes, bench.document_writes), (0, 0), "{missed} sweeps");
    }
}

/// The demonstration found it: a DEL in the first two seconds over an empty Redis was undone.
#[test]
fn in_a_rebuild_only_what_was_missing_before_comes_back() {
    for (later, restored) in [(1, 1), (0, 0), (-60_000, 0)] {
        let mut bench = Bench::usual();
        let written = bench.state.views.last().expect("we stamped it").at;
        bench.rebuilding_since = Some(written + later);
        bench.doc = None;
        bench.settle();
        assert_eq!((bench.graph_writes, bench.document_writes), (0, restored), "{later} ms after the stamp");
        assert_eq!(bench.doc.is_some(), restored == 1);
    }
}

#[test]
fn a_deletion_is_sent_after_a_fresh_read_with_its_etag() {
    for (event, missed) in [(true, 0), (false, 2)] {
        let mut bench = Bench::usual();
        bench.doc = None;
        (bench.delete_event, bench.missed_sweeps) = (event, missed);
        let step = bench.step();
        assert_eq!(step.action, Action::Get { task: true, details: true });
        bench.perform(&step.action);
        let etag = bench.task()["@odata.etag"].as_str().expect("an ETag").to_owned();
        let step = bench.step();
        assert_eq!(step.action, Action::Delete { etag });
        bench.perform(&step.action);
        assert!(bench.planner.tasks.is_empty());
    }
}

#[test]
fn an_edit_that_the_deleter_did_not_see_brings_the_task_back() {
    let mut bench = Bench::usual();
    bench.delete();
    let id = bench.planner_id();
    bench.planner.edit(&id, &json!({"title": "by a person"}), bench.now);
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person");
    assert_eq!(bench.document()["description"], "text", "whole");
    assert!(bench.planner.get(&id).is_some());
    assert!(bench.events.contains(&Event::Restored));
}

#[test]
fn a_details_edit_survives_an_agents_delete() {
    let mut bench = Bench::usual();
    bench.planner.details_move_task = false;
    bench.delete();
    let id = bench.planner_id();
    bench.planner.edit_details(&id, &json!({"description": "by a person"}), bench.now);
    bench.settle();
    assert_eq!(bench.document()["description"], "by a person");
    assert_eq!(bench.planner.tasks.len(), 1);
}

#[test]
fn the_agents_own_last_write_does_not_save_the_task_from_its_delete() {
    let mut bench = Bench::usual();
    bench.agent(&[("title", json!("second"))]);
    let step = bench.step();
    bench.perform(&step.action);
    bench.delete();
    bench.settle();
    assert!(bench.planner.tasks.is_empty(), "its echo is no edit of a person");
    assert!(bench.forgotten);
}

#[test]
fn a_document_with_a_time_to_live_is_no_evidence() {
    let mut bench = Bench::usual();
    bench.expires = true;
    bench.settle();
    bench.doc = None;
    bench.missed_sweeps = 9;
    bench.settle();
    assert_eq!(bench.planner.tasks.len(), 1);
    assert_eq!(bench.graph_writes, 0);
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person", "news bring the document back");
}

#[test]
fn an_agents_word_deletes_a_document_with_a_time_to_live() {
    let mut bench = Bench::usual();
    bench.expires = true;
    bench.settle();
    bench.delete();
    bench.settle();
    assert!(bench.planner.tasks.is_empty());
}

#[test]
fn a_delete_event_of_a_document_that_is_there_is_void() {
    let mut bench = Bench::usual();
    bench.delete_event = true;
    bench.settle();
    assert!(!bench.delete_event);
    assert_eq!(bench.planner.tasks.len(), 1);
    assert_eq!(bench.graph_writes, 0);
}

#[test]
fn a_persons_deletion_needs_two_answers_apart_and_two_lists() {
    let mut bench = Bench::usual();
    bench.person_deletes();
    let begun = bench.now;
    let mut gets = 0;
    while !bench.forgotten {
        let step = bench.step();
        assert!(bench.now - begun < 120_000);
        match step.action {
            Action::Wait(wait) => {
                assert!(bench.doc.is_some(), "not yet");
                bench.now += i64::try_from(wait.as_millis()).expect("short");
                bench.poll();
            }
            Action::Finish => {}
            action => {
                gets += usize::from(matches!(action, Action::Get { .. }));
                bench.perform(&action);
            }
        }
    }
    // The second list comes so long after the second answer that the task has the last word.
    assert_eq!(gets, 3);
    assert!(bench.now - begun >= 15_000);
    assert_eq!(bench.doc, None);
    assert!(bench.events.contains(&Event::Deleted { direction: Direction::Down }));
}

#[test]
fn two_spurious_404_delete_nothing_while_lists_show_the_task() {
    let mut bench = Bench::usual();
    let at = bench.now;
    bench.state.gone =
        Some(annika_sync::state::Gone { since: at, answers: 2, last: at, lists: 0, asked: false });
    bench.poll();
    bench.settle();
    assert!(bench.doc.is_some());
    assert_eq!(bench.state.gone, None, "a read showed it");
    assert_eq!((bench.graph_writes, bench.document_writes), (0, 0));
}

#[test]
fn lists_that_lacked_it_before_the_first_answer_do_not_count() {
    let mut bench = Bench::usual();
    let id = bench.planner_id();
    bench.planner.remove(&id, bench.now);
    let at = bench.now;
    bench.state.gone =
        Some(annika_sync::state::Gone { since: at, answers: 2, last: at, lists: 2, asked: false });
    for (lists, deleted) in [(2, false), (3, false), (4, true)] {
        bench.absent_lists = lists;
        assert_eq!(bench.step().write.is_some(), deleted, "after {lists} lists in all");
    }
}

#[test]
fn an_absence_in_one_list_leads_to_a_read_only() {
    let mut bench = Bench::usual();
    bench.absent_lists = 1;
    let step = bench.step();
    assert_eq!(step.action, Action::Get { task: true, details: true });
    bench.perform(&step.action);
    bench.settle();
    assert_eq!((bench.graph_writes, bench.document_writes), (0, 0));
}

#[test]
fn an_agents_edit_that_the_deleter_did_not_see_makes_the_task_again_complete() {
    let mut bench = Bench::usual();
    bench.person_deletes();
    bench.set(json!({"id": "agent-task-1", "title": "second"}));
    bench.settle();
    assert_eq!(bench.planner_id(), "PT0002");
    assert_eq!(bench.task()["title"], "second");
    assert_eq!(bench.task()["bucketId"], "bucket-1", "a partial SET loses nothing");
    assert_eq!(bench.details()["description"], "text");
    assert_eq!(bench.document()["plan_id"], PLAN);
    assert!(bench.differences().is_empty());
}

#[test]
fn a_stale_write_is_no_edit_that_beats_a_persons_deletion() {
    let mut bench = Bench::usual();
    let read = bench.document();
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    bench.person_deletes();
    bench.set(read);
    bench.settle();
    assert!(bench.planner.tasks.is_empty());
    assert_eq!(bench.doc, None);
}

#[test]
fn what_was_still_to_follow_the_create_is_no_edit_that_beats_a_persons_deletion() {
    let mut bench = Bench::new("agent-task-1");
    bench.set(json!({"title": "first", "description": "text"}));
    let create = bench.step();
    bench.perform(&create.action);
    let adopted = bench.step();
    assert!(bench.state.planner_id.is_some(), "{:?}", adopted.action);
    bench.person_deletes();
    bench.perform(&Action::Get { task: true, details: true });
    bench.settle();
    assert!(bench.planner.tasks.is_empty(), "the creation's own description");
    assert_eq!(bench.doc, None);
}

#[test]
fn both_sides_gone_forgets_the_task() {
    let mut bench = Bench::usual();
    bench.person_deletes();
    bench.delete();
    bench.settle();
    assert!(bench.forgotten);
}

#[test]
fn an_unmapped_task_without_a_document_is_forgotten() {
    let mut bench = Bench::new("agent-task-1");
    let step = bench.step();
    assert!(step.forget && matches!(step.action, Action::Finish));
}

#[test]
fn a_task_that_planner_does_not_show_in_a_plan_that_is_not_synced_waits_and_is_read_rarely() {
    let mut bench = Bench::usual();
    let planner_id = bench.planner_id();
    bench.plans.synced = vec!["another plan".into()];
    bench.planner.remove(&planner_id, bench.now);
    bench.state.need_get = true;
    let (mut reads, mut looks) = (0, 0);
    let end = bench.now + 24 * 3_600_000;
    while bench.now < end {
        looks += 1;
        let step = bench.step();
        match step.action {
            Action::Wait(wait) => bench.now += i64::try_from(wait.as_millis()).expect("short").max(1),
            Action::Get { .. } => {
                reads += 1;
                bench.perform(&step.action);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.failures(), ["plan_not_listed"], "told once");
    assert!((5..=12).contains(&reads), "{reads} reads in a day");
    assert!(looks < 400, "{looks} looks in a day");
    assert!(bench.doc.is_some() && bench.graph_writes == 0);
    // Its plan is synced again: it is read within five minutes, and lists count.
    bench.plans.synced = vec![PLAN.into()];
    let step = bench.step();
    assert_eq!(step.action, Action::Get { task: true, details: true });
    bench.perform(&step.action);
    bench.absent_lists = 2;
    bench.settle();
    assert_eq!(bench.doc, None, "the deletion is proven now");
}

#[test]
fn another_document_takes_a_task_of_an_unlisted_plan_up_at_once() {
    let mut bench = Bench::usual();
    let planner_id = bench.planner_id();
    bench.plans.synced = vec!["another plan".into()];
    let gone = bench.planner.clone();
    bench.planner.remove(&planner_id, bench.now);
    bench.state.need_get = true;
    for _ in 0..6 {
        let step = bench.step();
        match step.action {
            Action::Wait(_) => bench.now += 16_000,
            action => bench.perform(&action),
        }
    }
    assert_eq!(bench.failures(), ["plan_not_listed"]);
    bench.planner = gone;
    bench.agent(&[("title", json!("edited"))]);
    bench.settle();
    assert_eq!(bench.task()["title"], "edited");
}

#[test]
fn what_was_never_sent_is_stale_once_the_document_was_restored_from_a_persons_edit() {
    let mut bench = Bench::usual();
    let mut read = bench.document();
    read.as_object_mut().expect("an object").remove("_sync");
    bench.agent(&[("title", json!("pending"))]);
    assert!(matches!(bench.step().action, Action::Patch { .. }), "it does not get through");
    bench.delete();
    bench.person(json!({"title": "by a person"}));
    bench.settle();
    assert_eq!(bench.document()["title"], "by a person", "the deleter had not seen it");
    bench.write(&read, &[("title", json!("pending"))]);
    bench.settle();
    assert_eq!(bench.task()["title"], "by a person");
    assert_eq!(bench.conflicts().len(), 1, "and it is told");
}

#[test]
fn a_deletion_of_ours_that_the_task_outlived_takes_no_blame_for_a_persons() {
    for outlived in [true, false] {
        let mut bench = Bench::usual();
        bench.state.deleting = Some(bench.now);
        if outlived {
            bench.person(json!({"title": "by a person"}));
            bench.settle();
        }
        bench.person_deletes();
        bench.settle();
        assert_eq!(bench.doc.is_none(), outlived);
        assert_eq!(
            bench.planner.tasks.len(),
            usize::from(!outlived),
            "else whoever has it wrote it after that"
        );
    }
}
