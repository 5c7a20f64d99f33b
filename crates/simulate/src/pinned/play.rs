//! A world with one task that both sides have, and the hands to move it.

use annika_sync::{
    limiter::Rate,
    world::{Event, GuardLimits},
};
use serde_json::{Value as Json, json};

use crate::world::{
    faults::Faults,
    sim::{START, Sim, Stage},
    store::Stored,
};

/// Long enough for two polls and two sweeps, ms.
pub const CYCLES: i64 = 40_000;

/// The world of one play: document `a1`, task `PT0001`.
pub struct Play {
    pub stage: Stage,
}

impl Play {
    pub fn new() -> Self {
        Self::of(1)
    }

    /// With so many processes.
    pub fn of(processes: usize) -> Self {
        Self::on(Stage::of(1, Faults::default(), processes))
    }

    /// With one process that works in cycles.
    pub fn periodic() -> Self {
        Self::on(Stage::periodic(1, Faults::default()))
    }

    /// Creates carry an id of ours.
    pub fn with_ids() -> Self {
        Self::on(Stage::of(1, Faults { external: true, ..Faults::default() }, 1))
    }

    /// With a guard against mass deletions.
    pub fn guarded(limits: GuardLimits) -> Self {
        let mut stage = Stage::of(1, Faults::default(), 1);
        stage.settings.guard = limits;
        Self::on(stage)
    }

    /// Graph is asked no faster than that.
    pub fn paced(rate: Rate) -> Self {
        let mut stage = Stage::of(1, Faults::default(), 1);
        stage.settings.rate = rate;
        Self::on(stage)
    }

    fn on(stage: Stage) -> Self {
        let mut play = Self { stage };
        play.set(&json!({"id": "a1", "plan_id": "plan-a", "title": "a1:1", "bucket_id": "a1:2"}));
        play.run(CYCLES);
        assert_eq!(play.tasks(), ["PT0001"], "the task is made");
        play
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Sim) -> T) -> T {
        act(&mut self.stage.sim.lock())
    }

    /// Lets time pass, ms.
    pub fn run(&mut self, ms: i64) {
        let end = self.with(|sim| sim.now - START) + ms;
        self.stage.run_until(end);
    }

    /// Lets time pass until it is so.
    pub fn until(&mut self, what: &str, so: impl Fn(&Sim) -> bool) {
        for _ in 0..60_000 {
            if self.with(|sim| so(sim)) {
                return;
            }
            self.run(1);
        }
        panic!("a minute passed, and not: {what}");
    }

    pub fn tasks(&self) -> Vec<String> {
        self.with(|sim| sim.planner.tasks.keys().cloned().collect())
    }

    pub fn task(&self) -> Json {
        self.with(|sim| sim.planner.get("PT0001").unwrap_or_default())
    }

    pub fn document(&self) -> Option<Json> {
        let bytes = self.with(|sim| Some(sim.store.document("a1", sim.now)?.bytes.clone()));
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// The document with another value, as an agent writes it; nobody is told.
    pub fn edit(&self, name: &str, value: impl Into<Json>) {
        let mut document = self.document().unwrap_or_default();
        document[name] = value.into();
        self.set(&document);
    }

    pub fn set(&self, document: &Json) {
        self.set_for(document, None);
    }

    /// SET with a time to live, ms.
    pub fn set_for(&self, document: &Json, ms: Option<i64>) {
        self.with(|sim| {
            let expires_at = ms.map(|ms| sim.now + ms);
            let stored = Stored { bytes: document.to_string().into_bytes(), expires_at };
            sim.store.documents.insert("a1".to_owned(), stored);
        });
    }

    /// A published change, as every process hears it.
    pub fn publish(&self) {
        self.with(|sim| {
            sim.store.mark("a1", 0, sim.now);
            (0..sim.heard.len()).for_each(|process| sim.wake(process));
        });
    }

    /// DEL; `event` says so to everybody.
    pub fn delete(&self, event: bool) {
        self.with(|sim| {
            sim.actors.by_agents.insert("a1".to_owned());
            sim.store.documents.remove("a1");
            if event {
                sim.store.mark_deleted("a1", 0, sim.now);
                (0..sim.heard.len()).for_each(|process| sim.wake(process));
            }
        });
    }

    /// SET of another document; nobody is told.
    pub fn put_silently(&self, id: &str, document: &Json) {
        let stored = Stored { bytes: document.to_string().into_bytes(), expires_at: None };
        self.with(|sim| sim.store.documents.insert(id.to_owned(), stored));
    }

    /// SET of another document, and a published change.
    pub fn put(&self, id: &str, document: &Json) {
        self.put_silently(id, document);
        self.with(|sim| {
            sim.store.mark(id, 0, sim.now);
            (0..sim.heard.len()).for_each(|process| sim.wake(process));
        });
    }

    /// The ids of all documents.
    pub fn documents(&self) -> Vec<String> {
        self.with(|sim| sim.store.documents.keys().cloned().collect())
    }

    pub fn person(&self, body: &Json) {
        self.with(|sim| sim.planner.edit("PT0001", body, sim.now));
    }

    pub fn person_edits_details(&self, body: &Json) {
        self.with(|sim| sim.planner.edit_details("PT0001", body, sim.now));
    }

    /// Values that were logged as losers.
    pub fn losers(&self) -> Vec<Json> {
        let lost = |event: &Event| match event {
            Event::Conflict { lost, .. } => Some(lost.clone()),
            _ => None,
        };
        self.with(|sim| sim.store.events.iter().filter_map(|(_, event)| lost(event)).collect())
    }

    /// Nothing was found wrong on the way.
    pub fn is_right(&self) {
        assert_eq!(self.with(|sim| sim.violations.clone()), [""; 0]);
    }
}
