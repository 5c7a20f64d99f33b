//! Work on tasks: marks, leases, answers that were lost, imports.

use annika_sync::{limiter::Rate, state::TaskState};
use serde_json::json;

use super::{Play, play::CYCLES};
use crate::world::{checks::at_the_end, planner::By, store::Stored};

pub fn what_a_person_makes_is_imported_once() {
    let mut play = Play::new();
    play.with(|sim| {
        let json = sim.planner.create(&json!({"title": "h1:1", "planId": "plan-b"}), By::Person, sim.now);
        sim.actors.task_created(&json);
    });
    play.run(2 * CYCLES);
    assert_eq!(play.with(|sim| sim.store.documents.len()), 2);
    assert_eq!(play.with(|sim| at_the_end(sim)), [""; 0]);
}

pub fn a_large_key_space_is_walked_on_between_two_sweeps() {
    for mut play in [Play::new(), Play::periodic()] {
        play.put_silently("b1", &json!({"id": "b1", "plan_id": "plan-a", "title": "b1:1"}));
        play.with(|sim| sim.parts_before = 5);
        let sweeps = play.with(|sim| sim.sweeps);
        play.until("a sweep is over", move |sim| sim.sweeps > sweeps);
        // The next sweep comes after 10 s.
        play.run(8_000);
        assert_eq!(play.tasks().len(), 2, "nobody announced it, and it was found");
    }
}

pub fn a_mark_during_work_is_worked_off_at_once() {
    let mut play = Play::new();
    // The next sweep is far.
    play.until("a sweep is over", {
        let sweeps = play.with(|sim| sim.sweeps);
        move |sim| sim.sweeps > sweeps
    });
    let writes = play.with(|sim| sim.graph_writes);
    play.edit("title", "a1:3");
    play.publish();
    play.until("the write arrived", |sim| sim.graph_writes > writes);
    play.edit("title", "a1:4");
    play.publish();
    play.run(2_000);
    assert_eq!(play.task()["title"], "a1:4");
}

pub fn a_lost_answer_makes_no_second_write() {
    let mut play = Play::new();
    play.with(|sim| sim.lose_next_answer = true);
    let writes = play.with(|sim| sim.graph_writes);
    play.edit("title", "a1:3");
    play.run(2 * CYCLES);
    assert_eq!(play.with(|sim| sim.graph_writes), writes + 1);
    assert_eq!(play.losers(), [""; 0]);
    assert_eq!(play.with(|sim| sim.store.state("a1").failure), None);
}

pub fn a_process_that_lost_its_lease_writes_nothing() {
    let mut play = Play::of(2);
    let holder = play.with(|sim| sim.store.holder()).expect("one of them works");
    let writes = play.with(|sim| sim.graph_writes);
    play.edit("title", "a1:3");
    play.publish();
    play.until("the write arrived", |sim| sim.graph_writes > writes);
    // It sleeps over its task's lease; the other one goes on.
    play.stage.pause(holder, 2 * CYCLES);
    play.edit("title", "a1:4");
    play.run(CYCLES);
    play.edit("title", "a1:5");
    play.run(2 * CYCLES);
    play.is_right();
    assert_eq!(play.task()["title"], "a1:5");
}

pub fn a_silent_document_keeps_a_value_on_its_way() {
    let mut play = Play::new();
    // Planner takes nothing for a while.
    play.with(|sim| sim.faults.throttle = 10_000);
    play.edit("title", "a1:3");
    play.publish();
    play.until("the engine knows the value", |sim| {
        sim.store.state("a1").current.values().any(|value| value.shown() == "a1:3")
    });
    play.set(&json!({"bucket_id": "a1:4"}));
    play.publish();
    play.run(1_000);
    play.with(|sim| sim.faults.throttle = 0);
    play.run(CYCLES);
    assert_eq!((&play.task()["title"], &play.task()["bucketId"]), (&json!("a1:3"), &json!("a1:4")));
}

pub fn an_older_copy_from_a_list_changes_nothing() {
    let mut play = Play::new();
    let old = play.task();
    play.person(&json!({"title": "a1:3"}));
    play.run(CYCLES);
    let owner = "a1".to_owned();
    play.with(|sim| sim.store.observe("plan-a", &old, Some(&owner), sim.now));
    play.publish();
    // Before the next list says better.
    play.until("the engine has looked", |sim| !sim.store.due.contains_key("a1"));
    assert_eq!(play.document().map(|document| document["title"].clone()), Some("a1:3".into()));
}

pub fn a_refused_value_that_a_person_then_writes_is_the_persons() {
    let mut play = Play::new();
    let writes = play.with(|sim| sim.graph_writes);
    play.person(&json!({"title": "a1:3"}));
    play.edit("title", "a1:4");
    play.publish();
    play.until("Planner refused the write", |sim| sim.graph_writes > writes);
    play.run(CYCLES);
    assert_eq!(play.losers(), ["a1:4"]);
    play.person(&json!({"title": "a1:4"}));
    play.run(CYCLES);
    assert_eq!(play.task()["title"], "a1:4");
    assert_eq!(play.document().map(|document| document["title"].clone()), Some("a1:4".into()));
}

pub fn an_edit_after_a_write_whose_answer_was_lost_is_no_conflict() {
    let mut play = Play::new();
    let writes = play.with(|sim| sim.graph_writes);
    play.edit("title", "a1:3");
    play.publish();
    play.until("the write arrived", |sim| sim.graph_writes > writes);
    play.stage.kill(0, 100);
    play.edit("title", "a1:4");
    play.publish();
    play.run(2 * CYCLES);
    assert_eq!(play.losers(), [""; 0]);
    assert_eq!(play.task()["title"], "a1:4");
    play.is_right();
}

pub fn of_two_values_in_a_stale_document_the_replaced_one_is_no_edit() {
    let mut play = Play::new();
    let mut document = play.document().unwrap_or_default();
    document["bucket_id"] = "a1:3".into();
    play.set(&document);
    play.run(CYCLES);
    // The stamp of the version that both have read is an old one by now.
    play.person(&json!({"percentComplete": 20}));
    play.run(CYCLES);
    document["bucketId"] = "a1:4".into();
    play.set(&document);
    play.run(CYCLES);
    assert_eq!(play.task()["bucketId"], "a1:4");
    // Another agent had read that before the sync did.
    document["title"] = "a1:5".into();
    play.set(&document);
    play.run(CYCLES);
    assert_eq!((&play.task()["title"], &play.task()["bucketId"]), (&json!("a1:5"), &json!("a1:4")));
    assert_eq!(play.losers(), ["a1:3"]);
    // Whoever has read what stands may go back to what was before, under either name.
    play.edit("bucketId", "a1:3");
    play.run(CYCLES);
    assert_eq!(play.task()["bucketId"], "a1:3");
    play.is_right();
}

pub fn a_document_whose_map_was_lost_finds_its_task_again() {
    let mut play = Play::new();
    play.with(|sim| {
        sim.store.tasks.remove("a1");
        sim.store.index.remove("a1");
        sim.store.owners.clear();
        sim.store.mark("a1", 0, sim.now);
    });
    play.run(2 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
    assert_eq!(play.with(|sim| at_the_end(sim)), [""; 0]);
}

pub fn nothing_is_sent_while_graph_throttles() {
    let mut play = Play::new();
    play.with(|sim| sim.store.pause_until = sim.now + CYCLES);
    // The engine hears of it with its next signals.
    play.run(3_000);
    let writes = play.with(|sim| sim.graph_writes);
    play.edit("title", "a1:3");
    play.publish();
    play.run(CYCLES / 2);
    assert_eq!(play.with(|sim| sim.graph_writes), writes);
    play.run(CYCLES);
    assert_eq!(play.task()["title"], "a1:3");
}

pub fn items_of_both_sides_stand() {
    let mut play = Play::new();
    play.edit("checklist_items", json!([{"title": "a1:3", "checked": false}]));
    play.run(CYCLES);
    let document = play.document().unwrap_or_default();
    let items = document["checklist_items"].as_array().cloned().unwrap_or_default();
    let more: Vec<_> = items.into_iter().chain([json!({"title": "a1:4", "checked": false})]).collect();
    play.person_edits_details(
        &json!({"checklist": {"0000000a-1111-4000-8000-00000000000a": {"title": "a1:5", "isChecked": false}}}),
    );
    play.edit("checklist_items", more);
    // The rotation notices the person's item at the same time.
    play.with(|sim| {
        sim.store.tasks.entry("a1".to_owned()).or_default().recheck = true;
        sim.store.mark("a1", 0, sim.now);
    });
    play.run(CYCLES);
    let details = play.with(|sim| sim.planner.details("PT0001")).unwrap_or_default();
    let titles = crate::world::actors::values(Some(&details), &["checklist"]);
    assert_eq!(titles.into_iter().collect::<Vec<_>>(), ["a1:3", "a1:4", "a1:5"]);
}

pub fn a_create_that_slept_is_not_sent_late() {
    let mut play = Play::new();
    let document = json!({"id": "a2", "plan_id": "plan-a", "title": "a2:1"}).to_string().into_bytes();
    play.with(|sim| {
        sim.store.documents.insert("a2".to_owned(), Stored { bytes: document, expires_at: None });
        sim.store.mark("a2", 0, sim.now);
        sim.wake(0);
    });
    play.until("the intent is stored", |sim| sim.store.creates.contains_key("a2"));
    // When it wakes up, a task that it makes would be too young for what it remembers to have sent.
    play.stage.pause(0, 70_000);
    play.with(|sim| sim.lose_next_answer = true);
    play.run(70_000 + 4 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001", "PT0002"]);
    assert_eq!(play.with(|sim| sim.store.documents.keys().cloned().collect::<Vec<_>>()), ["a1", "a2"]);
}

pub fn a_refused_create_is_no_proof_that_the_sends_before_it_made_nothing() {
    let mut play = Play::with_ids();
    let document = |title: &str| json!({"id": "a2", "plan_id": "plan-a", "title": title});
    play.with(|sim| sim.lose_next_answer = true);
    play.put("a2", &document("a2:1"));
    play.until("the task is made", |sim| sim.planner.tasks.len() == 2);
    play.with(|sim| sim.faults.throttle = 10_000);
    play.until("the second send is refused", |sim| sim.tally.contains_key("throttled"));
    play.with(|sim| sim.faults.throttle = 0);
    // It cannot be sent again.
    play.put("a2", &document(""));
    play.run(2 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001", "PT0002"]);
    assert_eq!(play.documents(), ["a1", "a2"]);
}

pub fn a_create_that_arrives_late_is_not_sent_twice() {
    let mut play = Play::new();
    play.with(|sim| sim.late_next_write = Some(55_000));
    play.put("a2", &json!({"id": "a2", "plan_id": "plan-a", "title": "a2:1"}));
    play.run(4 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001", "PT0002"]);
    assert_eq!(play.documents(), ["a1", "a2"]);
}

pub fn a_planner_task_that_another_document_has_is_left_to_it() {
    let mut play = Play::new();
    play.put("a2", &json!({"id": "a2", "plan_id": "plan-a", "title": "a2:1"}));
    play.until("the task is made", |sim| sim.planner.tasks.len() == 2);
    // Another document takes it before the answer is stored.
    play.with(|sim| {
        let state = TaskState { planner_id: Some("PT0002".to_owned()), ..TaskState::default() };
        sim.store.owners.insert("PT0002".to_owned(), "a3".to_owned());
        sim.store.tasks.entry("a3".to_owned()).or_default().record = serde_json::to_string(&state).ok();
    });
    play.put("a3", &json!({"id": "a3", "plan_id": "plan-a", "title": "a2:1"}));
    play.run(2 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001", "PT0002"]);
    let (owner, failed) =
        play.with(|sim| (sim.store.owners.get("PT0002").cloned(), sim.store.tasks["a2"].failed.clone()));
    assert_eq!((owner.as_deref(), failed.as_deref()), (Some("a3"), Some("mapped_elsewhere")));
}

pub fn details_of_a_plan_with_many_tasks_are_read_also_where_only_few_fit() {
    // There is room for the few of one plan, and never for all of the other.
    let mut play = Play::paced(Rate { start: 1.0, max: 1.0, burst: 8.0 });
    play.with(|sim| {
        sim.planner.details_move_task = false;
        for (n, plan) in ["plan-a"; 11].iter().chain(&["plan-b"]).enumerate() {
            let body = json!({"title": format!("h{n}:1"), "planId": plan});
            let json = sim.planner.create(&body, By::Person, sim.now);
            sim.actors.task_created(&json);
        }
    });
    play.run(4 * CYCLES);
    assert_eq!(play.documents().len(), 13);
    play.person_edits_details(&json!({"description": "a1:3"}));
    play.run(8 * CYCLES);
    assert_eq!(play.document().map(|document| document["description"].clone()), Some("a1:3".into()));
}
