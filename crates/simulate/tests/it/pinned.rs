//! Schedules written by hand, each for a rule that random ones rarely need.

use annika_simulate::world::{
    checks::at_the_end,
    faults::Faults,
    planner::By,
    sim::{Sim, Stage},
    store::Stored,
};
use annika_sync::world::Event;
use serde_json::{Value as Json, json};

/// Long enough for two polls and two sweeps, ms.
const CYCLES: i64 = 40_000;

/// One process and one task that both sides have: document `a1`, task `PT0001`.
struct Play {
    stage: Stage,
    now: i64,
}

impl Play {
    fn new() -> Self {
        let mut play = Self { stage: Stage::of(1, Faults::default(), 1), now: 0 };
        play.set(&json!({"id": "a1", "plan_id": "plan-a", "title": "a1:1", "bucket_id": "a1:2"}));
        play.run(CYCLES);
        assert_eq!(play.with(|sim| sim.planner.tasks.len()), 1);
        play
    }

    fn with<T>(&self, act: impl FnOnce(&mut Sim) -> T) -> T {
        act(&mut self.stage.sim.lock())
    }

    fn run(&mut self, ms: i64) {
        self.now += ms;
        self.stage.run_until(self.now);
    }

    fn document(&self) -> Option<Json> {
        self.with(|sim| {
            Some(serde_json::from_slice(&sim.store.document("a1", sim.now)?.bytes).expect("JSON"))
        })
    }

    /// An agent's SET; nobody is told.
    fn set(&self, document: &Json) {
        self.set_for(document, None);
    }

    fn set_for(&self, document: &Json, ms: Option<i64>) {
        self.with(|sim| {
            let expires_at = ms.map(|ms| sim.now + ms);
            let stored = Stored { bytes: document.to_string().into_bytes(), expires_at };
            sim.store.documents.insert("a1".to_owned(), stored);
        });
    }

    fn person(&self, body: &Json) {
        self.with(|sim| sim.planner.edit("PT0001", body, sim.now));
    }

    fn losers(&self) -> Vec<Json> {
        self.with(|sim| {
            let lost = |event: &Event| match event {
                Event::Conflict { lost, .. } => Some(lost.clone()),
                _ => None,
            };
            sim.store.events.iter().filter_map(|(_, event)| lost(event)).collect()
        })
    }
}

#[test]
fn a_task_that_moved_to_a_plan_that_cannot_be_listed_is_not_taken_for_deleted() {
    let mut play = Play::new();
    play.with(|sim| {
        sim.planner.edit("PT0001", &json!({"planId": "plan-b"}), sim.now);
        sim.closed.insert("plan-b", sim.now + 120_000);
    });
    let mut edited = play.document().expect("a document");
    edited["title"] = "a1:3".into();
    play.set(&edited);
    play.run(120_000);
    assert_eq!(play.with(|sim| sim.planner.tasks.keys().cloned().collect::<Vec<_>>()), ["PT0001"]);
    assert!(play.document().is_some());
}

#[test]
fn a_stale_write_over_a_restored_document_is_a_conflict_and_no_silent_loss() {
    let mut play = Play::new();
    let read = play.document().expect("a document");
    play.set_for(&read, Some(CYCLES));
    play.run(2 * CYCLES);
    assert_eq!(play.document(), None, "its time is up");
    play.person(&json!({"bucketId": "a1:4"}));
    play.run(CYCLES);
    assert_eq!(play.document().expect("restored")["bucket_id"], "a1:4");
    let mut stale = read;
    stale["bucket_id"] = "a1:5".into();
    play.set(&stale);
    play.run(CYCLES);
    assert_eq!(play.losers(), ["a1:5"]);
    assert_eq!(play.document().expect("a document")["bucket_id"], "a1:4");
}

#[test]
fn what_a_person_makes_is_imported_once() {
    let mut play = Play::new();
    play.with(|sim| {
        let json = sim.planner.create(&json!({"title": "h1:1", "planId": "plan-b"}), By::Person, sim.now);
        sim.actors.task_created(&json);
        sim.actors.lineages.insert("PT0001".to_owned(), "a1".to_owned());
    });
    play.run(2 * CYCLES);
    assert_eq!(play.with(|sim| sim.store.documents.len()), 2);
    assert_eq!(play.with(|sim| at_the_end(sim)), [""; 0]);
}
