//! Work on tasks: marks, leases, answers that were lost, imports.

use serde_json::json;

use super::{Play, play::CYCLES};
use crate::world::{checks::at_the_end, planner::By};

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
