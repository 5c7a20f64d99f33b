//! Creates that carry an id of ours, and of which more than one send was on its way.

use serde_json::json;

use super::{Play, play::CYCLES};

fn document(plan: &str) -> serde_json::Value {
    json!({"id": "a2", "plan_id": plan, "title": "a2:1"})
}

/// A person deletes the task before any document has it.
fn person_deletes(play: &Play, planner_id: &str) {
    play.with(|sim| {
        sim.actors.by_people.insert("a2".to_owned());
        sim.planner.remove(planner_id, sim.now);
    });
}

/// Seeds 155753 and 161726.
pub fn what_an_earlier_send_made_is_not_imported_from_an_old_list() {
    for moved in [false, true] {
        let mut play = Play::with_ids();
        play.put("a2", &document("plan-a"));
        play.until("the task is made", |sim| sim.planner.tasks.contains_key("PT0002"));
        play.stage.kill(0, 4_000);
        play.run(3_900);
        person_deletes(&play, "PT0002");
        play.until("it is made again", |sim| sim.planner.tasks.contains_key("PT0003"));
        play.until("the answer is known", |sim| sim.store.owners.contains_key("PT0003"));
        play.with(|sim| sim.faults.lag = 8_000);
        if moved {
            play.put("a2", &document("plan-b"));
        }
        for _ in 0..40 {
            play.with(|sim| sim.store.poll_wanted = true);
            play.run(500);
            assert_eq!(play.documents(), ["a1", "a2"]);
        }
        play.with(|sim| sim.faults.lag = 0);
        play.run(4 * CYCLES);
        assert_eq!(play.tasks(), ["PT0001", if moved { "PT0004" } else { "PT0003" }]);
        assert_eq!(play.documents(), ["a1", "a2"]);
        assert_eq!(play.with(|sim| sim.store.creates.len()), 0, "nothing is waited for any more");
    }
}

/// Seed 74491.
pub fn a_task_is_not_deleted_while_an_earlier_send_of_it_may_arrive() {
    let mut play = Play::with_ids();
    play.with(|sim| sim.late_next_write = Some(40_000));
    play.put("a2", &document("plan-a"));
    play.until("it is sent again", |sim| sim.planner.tasks.contains_key("PT0002"));
    play.until("the answer is known", |sim| sim.store.owners.contains_key("PT0002"));
    play.with(|sim| {
        sim.actors.by_agents.insert("a2".to_owned());
        sim.store.documents.remove("a2");
        sim.store.mark_deleted("a2", 0, sim.now);
        sim.wake(0);
    });
    play.run(4 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec!["PT0001".to_owned()], vec!["a1".to_owned()]));
    play.is_right();
}

/// Seeds 157844 and 176426.
pub fn a_create_is_sent_again_under_the_id_that_it_had() {
    let mut play = Play::with_ids();
    let old = play.document().unwrap_or_default();
    play.delete(true);
    play.run(CYCLES);
    assert_eq!(play.tasks(), [""; 0]);
    play.with(|sim| sim.late_next_write = Some(55_000));
    play.set(&json!({"id": "a1", "plan_id": "plan-a", "title": "a1:3"}));
    play.publish();
    play.until("it is sent", |sim| sim.store.creates.contains_key("a1"));
    // Another agent still has the document of before, with the stamp of the task that is gone.
    play.set(&old);
    play.publish();
    play.run(5 * CYCLES);
    assert_eq!((play.tasks(), play.documents()), (vec!["PT0002".to_owned()], vec!["a1".to_owned()]));
}

/// Seed 138222.
pub fn an_open_create_is_looked_at_also_after_it_was_refused_when_sent_again() {
    let mut play = Play::with_ids();
    play.put("a2", &document("plan-a"));
    play.until("the intent is stored", |sim| sim.store.creates.contains_key("a2"));
    play.stage.kill(0, 100);
    // What it does at its start hurries no one later.
    play.with(|sim| sim.faults.throttle = 10_000);
    play.until("the second send is refused", |sim| sim.tally.contains_key("throttled"));
    play.with(|sim| {
        sim.faults.throttle = 0;
        sim.closed.insert("plan-a", sim.now + 20_000);
    });
    play.until("it is refused", |sim| sim.store.tasks["a2"].failed.is_some());
    play.run(4 * CYCLES);
    assert_eq!(play.with(|sim| sim.store.creates.len()), 0, "lists prove that it made nothing");
    assert_eq!(play.tasks(), ["PT0001"], "the refusal stands");
}
