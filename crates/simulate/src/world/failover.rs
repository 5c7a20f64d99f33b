//! A failover of Redis: a replica takes over that lacks the last moments.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    oracle::texts,
    sim::Sim,
    store::{Store, Stored},
};

/// What a replica has.
pub struct Replica {
    store: Store,
    /// Values that the engine had read by then: what it read later, it will have forgotten.
    reached: BTreeSet<String>,
}

impl Replica {
    pub fn of(sim: &Sim) -> Self {
        Self { store: sim.store.clone(), reached: sim.oracle.reached.clone() }
    }
}

impl Sim {
    /// A create intent is on the replica, and so is everything before it.
    pub fn replicate(&mut self) {
        if self.replica.is_some() {
            self.replica = Some(Replica::of(self));
        }
    }

    /// The replica takes over.
    pub fn fail_over(&mut self) {
        let Some(Replica { store, reached }) = self.replica.take() else { return };
        self.note("failover", |_| String::new());
        let lost = std::mem::replace(&mut self.store, store);
        // What was published and counted stays so.
        self.store.events = lost.events;
        self.store.document_writes = lost.document_writes;
        self.oracle.reached = reached;
        let kept = values(&self.store.documents);
        let forgotten: Vec<String> =
            values(&lost.documents).into_iter().filter(|value| !kept.contains(value)).collect();
        self.oracle.lose(forgotten);
        // A deletion may be forgotten, too.
        self.actors.dead.clear();
    }
}

fn values(documents: &BTreeMap<String, Stored>) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for stored in documents.values() {
        texts(&serde_json::from_slice(&stored.bytes).unwrap_or_default(), &mut values);
    }
    values
}
