//! Plans that Graph closes, plans that are full, and work that fails again and again.

use serde_json::json;

use super::{Play, play::CYCLES};
use crate::world::{checks::at_the_end, planner::By, sim::Sim, store::Stored};

/// An agent writes a new document, and says so.
fn write(sim: &mut Sim, id: &str) {
    let document = json!({"id": id, "plan_id": "plan-a", "title": format!("{id}:1")});
    let stored = Stored { bytes: document.to_string().into_bytes(), expires_at: None };
    sim.store.documents.insert(id.to_owned(), stored);
    sim.store.mark(id, 0, sim.now);
    sim.wake(0);
}

pub fn a_suspended_plan_is_left_alone_and_goes_on_with_what_waits() {
    let mut play = Play::new();
    // Longer than two lists take, and than a suspension.
    play.with(|sim| sim.closed.insert("plan-a", sim.now + 6 * CYCLES));
    play.run(2 * CYCLES);
    assert!(play.with(|sim| sim.store.blocks["plan-a"].suspended().is_some()), "suspended");
    let before = play.with(|sim| (sim.lists, sim.graph_writes, sim.graph_reads));
    play.edit("title", "a1:3");
    play.publish();
    play.with(|sim| write(sim, "a2"));
    play.run(4 * CYCLES);
    let after = play.with(|sim| (sim.lists, sim.graph_writes, sim.graph_reads));
    assert_eq!((after.1, after.2), (before.1, before.2), "nothing is asked for a task of a suspended plan");
    // The other plan's, every 15 s, and this one's a few times.
    assert!((11..=16).contains(&(after.0 - before.0)), "{} lists", after.0 - before.0);
    play.run(4 * CYCLES);
    assert_eq!(play.task()["title"], "a1:3");
    assert_eq!(play.tasks(), ["PT0001", "PT0002"]);
    assert_eq!(play.with(|sim| at_the_end(sim)), [""; 0]);
}

pub fn a_full_plan_is_tried_by_one_task_a_period() {
    let mut play = Play::new();
    let writes = play.with(|sim| sim.graph_writes);
    play.with(|sim| {
        sim.full.insert("plan-a", sim.now + 3 * CYCLES);
        write(sim, "b000");
    });
    play.run(1_000);
    play.with(|sim| (1..500).for_each(|n| write(sim, &format!("b{n:03}"))));
    play.run(3 * CYCLES - 1_000);
    // 20 s, then 40 s, then a minute.
    let tried = play.with(|sim| sim.graph_writes) - writes;
    assert!((3..=4).contains(&tried), "{tried} of 500 were sent in two minutes");
    let failed = |sim: &Sim| sim.store.tasks.values().filter(|task| task.failed.is_some()).count();
    assert_eq!(play.with(|sim| failed(sim)), 1, "one stands for all of them");
    play.run(4 * CYCLES);
    assert_eq!(play.tasks().len(), 501);
    assert_eq!(play.with(|sim| failed(sim)), 0);
}

pub fn repeats_leave_room_for_fresh_work() {
    let mut play = Play::new();
    // One plan's tasks are answered 500, and nothing is done.
    play.with(|sim| {
        sim.broken_plan = Some("plan-b");
        for n in 0..400 {
            let body = json!({"title": format!("h{n}:1"), "planId": "plan-b"});
            let json = sim.planner.create(&body, By::Person, sim.now);
            sim.actors.task_created(&json);
        }
    });
    play.run(2 * CYCLES);
    play.with(|sim| {
        let ids: Vec<String> = sim.store.documents.keys().filter(|id| *id != "a1").cloned().collect();
        assert_eq!(ids.len(), 400);
        for id in ids {
            let stored = sim.store.documents.get_mut(&id).expect("it is there");
            let mut document: serde_json::Value = serde_json::from_slice(&stored.bytes).expect("JSON");
            document["title"] = "h:2".into();
            stored.bytes = document.to_string().into_bytes();
            sim.store.mark(&id, 0, sim.now);
        }
        sim.wake(0);
    });
    // Every one of them is tried once.
    play.run(60_000);
    let requests = play.with(|sim| sim.graph_writes + sim.graph_reads);
    play.run(60_000);
    let repeated = play.with(|sim| sim.graph_writes + sim.graph_reads) - requests;
    assert!((20..=90).contains(&repeated), "{repeated} requests for 400 failing tasks in a minute");
    play.edit("title", "a1:3");
    play.publish();
    play.run(1_000);
    assert_eq!(play.task()["title"], "a1:3", "fresh work is not kept waiting");
}

pub fn what_graph_never_answers_is_listed_then_tried_rarely_and_anew_after_an_edit() {
    let mut play = Play::new();
    let asked = |sim: &Sim| sim.graph_writes + sim.graph_reads;
    let failed = |sim: &Sim| sim.store.tasks["a1"].failed.clone();
    let before = play.with(|sim| asked(sim));
    play.with(|sim| sim.broken_plan = Some("plan-a"));
    play.edit("title", "a1:3");
    play.publish();
    play.run(5 * 60_000);
    assert_eq!(play.with(|sim| failed(sim)), None, "it is not given up within minutes");
    play.run(35 * 60_000);
    assert_eq!(play.with(|sim| failed(sim)).as_deref(), Some("graph_unanswered"));
    let tries = play.with(|sim| asked(sim)) - before;
    assert!((12..=15).contains(&tries), "{tries} tries");
    play.run(60 * 60_000);
    let rarely = play.with(|sim| asked(sim)) - before - tries;
    assert!((1..=4).contains(&rarely), "{rarely} tries in the hour after");
    play.with(|sim| sim.broken_plan = None);
    play.edit("title", "a1:4");
    play.publish();
    play.run(2_000);
    assert_eq!(play.task()["title"], "a1:4", "an edit is sent at once");
    assert_eq!(play.with(|sim| failed(sim)), None);
    play.is_right();
}
