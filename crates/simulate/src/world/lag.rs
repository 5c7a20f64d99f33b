//! How long a value takes to the other side, ms. Values that lose or are replaced on the way are not counted.

use std::collections::{BTreeMap, BTreeSet};

use annika_sync::world::GraphRequest;

use super::{
    oracle::{Write, texts},
    sim::Sim,
};

/// Values on their way, and how long those took that arrived.
#[derive(Clone, Debug, Default)]
pub struct Lag {
    /// Written by agents, when, and whether anybody was told.
    going_up: BTreeMap<String, (i64, bool)>,
    going_down: BTreeMap<String, i64>,
    /// Of values that somebody was told of.
    pub told_up: Vec<i64>,
    /// Of values that the sweep had to find.
    pub swept_up: Vec<i64>,
    pub down: Vec<i64>,
}

impl Sim {
    /// An agent wrote new texts.
    pub fn wrote_in_redis(&mut self, write: &Write) {
        let now = self.now;
        if let Some(lag) = &mut self.lag {
            let new = write.wrote.difference(&write.read);
            lag.going_up.extend(new.map(|value| (value.clone(), (now, false))));
        }
    }

    /// The agent told somebody of what it has just written.
    pub fn told_of_writes(&mut self) {
        let now = self.now;
        if let Some(lag) = &mut self.lag {
            lag.going_up.values_mut().filter(|(at, _)| *at == now).for_each(|(_, told)| *told = true);
        }
    }

    /// A person wrote a text.
    pub fn wrote_in_planner(&mut self, value: &str) {
        let now = self.now;
        if let Some(lag) = &mut self.lag {
            lag.going_down.insert(value.to_owned(), now);
        }
    }

    /// The engine's write was accepted by Planner.
    pub fn arrived_in_planner(&mut self, request: &GraphRequest) {
        let now = self.now;
        let Some(lag) = &mut self.lag else { return };
        let (GraphRequest::CreateTask { body, .. }
        | GraphRequest::PatchTask { body, .. }
        | GraphRequest::PatchDetails { body, .. }) = request
        else {
            return;
        };
        let mut values = BTreeSet::new();
        texts(body, &mut values);
        for (at, told) in values.iter().filter_map(|value| lag.going_up.remove(value)) {
            if told { lag.told_up.push(now - at) } else { lag.swept_up.push(now - at) }
        }
    }

    /// The engine's write of a document is stored.
    pub fn arrived_in_redis(&mut self, document: &[u8]) {
        let now = self.now;
        let Some(lag) = &mut self.lag else { return };
        let mut values = BTreeSet::new();
        texts(&serde_json::from_slice(document).unwrap_or_default(), &mut values);
        lag.down.extend(values.iter().filter_map(|value| Some(now - lag.going_down.remove(value)?)));
    }
}
