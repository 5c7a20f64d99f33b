//! Who may delete what, and which edits win.

use serde_json::json;

use super::{Play, play::CYCLES};
use crate::world::{failover::Replica, sim::Sim};

pub fn a_task_in_a_plan_that_cannot_be_listed_is_not_taken_for_deleted() {
    let mut play = Play::new();
    play.person(&json!({"planId": "plan-b"}));
    play.with(|sim| sim.closed.insert("plan-b", sim.now + 3 * CYCLES));
    play.edit("title", "a1:3");
    play.run(3 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
    assert!(play.document().is_some());
}

pub fn a_stale_write_over_a_restored_document_is_a_conflict() {
    let mut play = Play::new();
    let read = play.document().unwrap_or_default();
    play.set_for(&read, Some(CYCLES));
    play.run(2 * CYCLES);
    assert_eq!(play.document(), None, "its time is up");
    play.person(&json!({"bucketId": "a1:4"}));
    play.run(CYCLES);
    assert_eq!(play.document().map(|document| document["bucket_id"].clone()), Some("a1:4".into()));
    let mut stale = read;
    stale["bucket_id"] = "a1:5".into();
    play.set(&stale);
    play.run(CYCLES);
    assert_eq!(play.losers(), ["a1:5"]);
    assert_eq!(play.task()["bucketId"], "a1:4");
}

pub fn what_had_a_time_to_live_is_not_deleted_in_planner() {
    let mut play = Play::new();
    play.set_for(&play.document().unwrap_or_default(), Some(CYCLES));
    play.run(3 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
}

pub fn a_list_from_long_ago_brings_nothing_back() {
    // The answer has arrived, or is just being taken in.
    for after in 0..4 {
        let mut play = Play::of(2);
        play.person(&json!({"title": "a1:3"}));
        let lists = play.with(|sim| sim.lists);
        play.until("a list is on its way", move |sim| sim.lists > lists);
        play.run(after);
        let holder = play.with(|sim| sim.store.holder()).expect("one has the lease");
        play.stage.pause(holder, 460_000);
        play.run(2 * CYCLES);
        play.with(|sim| sim.actors.by_agents.insert("a1".to_owned()));
        play.delete(true);
        play.run(375_000);
        assert_eq!(play.tasks(), [""; 0]);
        let told = play.with(|sim| sim.store.events.len());
        play.run(CYCLES);
        assert_eq!(play.with(|sim| sim.store.events.len()), told, "nobody hears of it again");
    }
}

pub fn a_document_that_came_back_for_good_can_be_deleted() {
    let mut play = Play::new();
    play.with(|sim| sim.actors.by_agents.insert("a1".to_owned()));
    let read = play.document().unwrap_or_default();
    play.set_for(&read, Some(CYCLES));
    play.run(3 * CYCLES);
    assert_eq!(play.document(), None, "its time ran out");
    play.publish();
    play.run(CYCLES);
    // It is seen, but nothing is settled before it goes.
    play.with(|sim| sim.faults.throttle = 10_000);
    let mut back = read.clone();
    back["title"] = json!("a1:3");
    play.set(&back);
    play.publish();
    play.until("it is refused for now", |sim| sim.store.pause_until > sim.now);
    play.run(100);
    play.delete(false);
    play.with(|sim| sim.faults.throttle = 0);
    play.run(4 * CYCLES);
    assert_eq!(play.tasks(), [""; 0]);
}

pub fn a_document_that_is_back_as_it_was_hears_of_what_happened_while_it_was_away() {
    let mut play = Play::new();
    play.with(|sim| sim.actors.by_agents.insert("a1".to_owned()));
    let mut edited = play.document().unwrap_or_default();
    edited["title"] = json!("a1:3");
    play.set(&edited);
    play.until("a sweep has just been", |sim| {
        sim.planner.get("PT0001").is_some_and(|task| task["title"] == "a1:3")
    });
    play.run(1_000);
    let read = play.document().unwrap_or_default();
    play.person(&json!({"title": "a1:4"}));
    play.delete(false);
    let etag = play.task()["@odata.etag"].clone();
    play.until("a list told of it", move |sim| {
        sim.store.state("a1").remote.is_some_and(|remote| etag == remote.etag.as_str())
    });
    play.run(500);
    play.set(&read);
    play.run(2 * CYCLES);
    assert_eq!(play.document().map(|document| document["title"].clone()), Some("a1:4".into()));
}

pub fn a_document_that_is_away_for_one_sweep_is_not_deleted() {
    let mut play = Play::new();
    let read = play.document().unwrap_or_default();
    play.with(|sim| sim.actors.by_agents.insert("a1".to_owned()));
    play.delete(false);
    play.until("a sweep missed it", |sim| sim.store.tasks["a1"].missed == 1);
    play.run(3_000);
    play.set(&read);
    play.run(CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
}

pub fn an_edit_of_the_details_beats_a_deletion_that_had_not_seen_it() {
    let mut play = Play::new();
    play.with(|sim| sim.planner.details_move_task = false);
    play.person_edits_details(&json!({"description": "a1:6"}));
    play.delete(true);
    play.run(CYCLES);
    assert_eq!(play.document().map(|document| document["description"].clone()), Some("a1:6".into()));
    assert_eq!(play.tasks(), ["PT0001"]);
}

pub fn an_edit_between_the_read_and_the_deletion_wins() {
    let mut play = Play::new();
    let reads = play.with(|sim| sim.graph_reads);
    play.delete(true);
    play.until("the task is read", |sim| sim.graph_reads > reads);
    play.person(&json!({"title": "a1:7"}));
    play.run(CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
    assert_eq!(play.document().map(|document| document["title"].clone()), Some("a1:7".into()));
}

pub fn a_deleted_task_stays_deleted_where_only_our_own_write_was_unseen() {
    let mut play = Play::new();
    let writes = play.with(|sim| sim.graph_writes);
    play.with(|sim| sim.lose_next_answer = true);
    play.edit("title", "a1:8");
    play.publish();
    play.until("the write arrived", |sim| sim.graph_writes > writes);
    play.delete(true);
    play.run(2 * CYCLES);
    assert_eq!(play.tasks(), [""; 0]);
    assert_eq!(play.document(), None);
}

pub fn an_agents_edit_beats_a_persons_deletion_that_had_not_seen_it() {
    let mut play = Play::new();
    play.with(|sim| {
        sim.actors.by_people.insert("a1".to_owned());
        sim.planner.remove("PT0001", sim.now);
    });
    play.edit("title", "a1:3");
    play.run(3 * CYCLES);
    assert_eq!(play.tasks(), ["PT0002"], "made again");
    let again = play.with(|sim| sim.planner.get("PT0002")).unwrap_or_default();
    assert_eq!((&again["title"], &again["bucketId"]), (&json!("a1:3"), &json!("a1:2")));
}

pub fn a_partial_edit_brings_back_the_whole_task() {
    let mut play = Play::new();
    play.with(|sim| {
        sim.actors.by_people.insert("a1".to_owned());
        sim.planner.remove("PT0001", sim.now);
    });
    // Before that, the document would have been completed while the task was thought to be there.
    play.until("it is missed", |sim| sim.store.state("a1").gone.is_some());
    play.set(&json!({"bucket_id": "a1:3"}));
    play.run(3 * CYCLES);
    let again = play.with(|sim| sim.planner.get("PT0002")).unwrap_or_default();
    assert_eq!((&again["title"], &again["bucketId"]), (&json!("a1:1"), &json!("a1:3")));
}

pub fn a_document_that_is_back_before_the_deletion_keeps_its_task() {
    let mut play = Play::new();
    let read = play.document().unwrap_or_default();
    let reads = play.with(|sim| sim.graph_reads);
    play.delete(true);
    play.until("the task is read", |sim| sim.graph_reads > reads);
    play.set(&read);
    play.run(CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
}

pub fn one_404_is_no_deletion_even_where_lists_lack_the_task() {
    let mut play = Play::new();
    let reads = play.with(|sim| sim.graph_reads);
    play.with(|sim| {
        sim.faults.absent = 10_000;
        sim.store.note_absent("PT0001", "a1", 2, sim.now);
        sim.wake(0);
    });
    play.until("the task is asked for", |sim| sim.graph_reads > reads);
    play.until("the answer is known", |sim| sim.store.state("a1").gone.is_some());
    play.with(|sim| {
        sim.faults.absent = 0;
        // Two more lists from before the task was made.
        sim.store.note_absent("PT0001", "a1", 4, sim.now);
        sim.wake(0);
    });
    play.run(2 * CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
    assert!(play.document().is_some());
    play.is_right();
}

pub fn refusals_of_a_plan_that_is_open_again_prove_nothing() {
    let mut play = Play::new();
    play.with(|sim| {
        sim.closed.insert("plan-a", sim.now + 2 * CYCLES);
        sim.store.note_absent("PT0001", "a1", 1, sim.now);
        sim.wake(0);
    });
    play.until("two refusals are known", |sim| {
        sim.store.state("a1").gone.is_some_and(|gone| gone.answers > 1)
    });
    // The plan is open, but its lists fail; those of a moment later have lost sight of the task on its way.
    play.with(|sim| {
        sim.closed.clear();
        sim.faults.list = 10_000;
    });
    play.run(16_000);
    play.with(|sim| {
        sim.store.note_absent("PT0001", "a1", 4, sim.now);
        sim.wake(0);
    });
    play.run(2_000);
    play.with(|sim| sim.faults.list = 0);
    play.run(CYCLES);
    assert_eq!(play.tasks(), ["PT0001"]);
    play.is_right();
}

pub fn what_lists_lacked_before_a_plan_was_closed_is_not_taken_for_deleted() {
    let mut play = Play::new();
    // The lists of a moment ago were behind; the task is read as soon as that is known, and is refused.
    play.with(|sim| {
        sim.closed.insert("plan-a", sim.now + CYCLES);
        sim.store.note_absent("PT0001", "a1", 2, sim.now);
        sim.wake(0);
    });
    play.run(2 * CYCLES);
    assert!(play.document().is_some());
    play.is_right();
}

pub fn a_plan_whose_list_is_refused_has_lost_nothing() {
    let mut play = Play::new();
    play.with(|sim| sim.closed.insert("plan-a", sim.now + 3 * CYCLES));
    play.edit("title", "a1:3");
    play.run(5 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec!["PT0001".to_owned()], vec!["a1".to_owned()]));
    assert_eq!(play.task()["title"], "a1:3");
    play.is_right();
}

pub fn a_text_that_the_create_could_not_carry_does_not_beat_a_deletion() {
    let mut play = Play::new();
    let document = json!({"id": "a2", "plan_id": "plan-a", "title": "a2:1", "description": "a2:2"});
    play.put("a2", &document);
    play.until("the task is made", |sim| sim.planner.tasks.len() == 2);
    play.with(|sim| {
        sim.actors.by_people.insert("a2".to_owned());
        sim.planner.remove("PT0002", sim.now);
    });
    play.run(4 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec!["PT0001".to_owned()], vec!["a1".to_owned()]));
}

pub fn a_document_that_is_put_back_after_the_deletion_was_sent_is_a_new_task() {
    let mut play = Play::new();
    let read = play.document().unwrap_or_default();
    play.with(|sim| sim.lose_next_answer = true);
    play.delete(true);
    play.until("the deletion arrived", |sim| sim.planner.tasks.is_empty());
    play.set(&read);
    play.publish();
    play.run(4 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec!["PT0002".to_owned()], vec!["a1".to_owned()]));
    let again = play.with(|sim| sim.planner.get("PT0002")).unwrap_or_default();
    assert_eq!((&again["title"], &again["bucketId"]), (&json!("a1:1"), &json!("a1:2")));
}

/// What lists lacked says nothing before the task was made, and a closed plan refuses all of its tasks.
pub fn a_refusal_of_a_closed_plan_proves_no_deletion_before_its_next_list() {
    let mut play = Play::new();
    let reads = play.with(|sim| sim.graph_reads);
    play.with(|sim| {
        sim.faults.absent = 10_000;
        sim.store.note_absent("PT0001", "a1", 1, sim.now);
        sim.wake(0);
    });
    play.until("the task is asked for", |sim| sim.graph_reads > reads);
    play.until("the answer is known", |sim| sim.store.state("a1").gone.is_some());
    play.with(|sim| {
        sim.faults.absent = 0;
        // Lists from before the task was made, and then none for a while.
        sim.store.note_absent("PT0001", "a1", 3, sim.now);
        sim.closed.insert("plan-a", sim.now + 25_000);
        sim.wake(0);
    });
    play.run(3 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec!["PT0001".to_owned()], vec!["a1".to_owned()]));
    play.is_right();
}

pub fn a_value_that_the_document_said_was_seen_by_its_deleter_though_its_send_is_forgotten() {
    let mut play = Play::new();
    // It is merged, and Planner takes nothing for now.
    play.with(|sim| sim.faults.throttle = 10_000);
    play.edit("title", "a1:3");
    play.publish();
    play.until("it is refused for now", |sim| sim.store.pause_until > sim.now);
    play.run(100);
    play.with(|sim| {
        sim.faults.throttle = 0;
        sim.replica = Some(Replica::of(sim));
    });
    play.until("it is sent", |sim| sim.planner.get("PT0001").is_some_and(|task| task["title"] == "a1:3"));
    play.with(Sim::fail_over);
    play.delete(true);
    play.run(4 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec![], vec![]));
    play.is_right();
}

pub fn a_move_whose_tasks_were_both_deleted_ends_with_the_document() {
    let mut play = Play::new();
    play.edit("plan_id", "plan-b");
    play.publish();
    play.until("the new task is known", |sim| sim.store.state("a1").leaving.is_some());
    // Somebody edits the old task, so that there is something to go back for, and deletes the new one.
    play.person(&json!({"title": "a1:4"}));
    play.with(|sim| {
        sim.actors.by_people.insert("a1".to_owned());
        sim.planner.remove("PT0002", sim.now);
    });
    play.until("the new task is missed", |sim| sim.store.state("a1").gone.is_some());
    let read = |sim: &Sim| sim.store.state("a1").leaving.is_some_and(|leaving| leaving.seen.is_some());
    assert!(play.with(|sim| read(sim)), "the old one was read");
    play.with(|sim| sim.planner.remove("PT0001", sim.now));
    play.run(8 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec![], vec![]));
    play.is_right();
}
