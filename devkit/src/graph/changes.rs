//! The record of what became of tasks: what deltas and a plan's history are made from.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::store::{Moment, Task};

/// How many changes are kept; a delta token from before them is too old.
const KEPT: usize = 50_000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was made.
    Created,
    /// It or its details were changed.
    Updated,
    /// It was deleted.
    Deleted,
    /// It went to another plan; recorded for both.
    Moved,
}

impl Event {
    /// As `historyEventType` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Moved => "moved",
        }
    }
}

/// One change of a task.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its place in the order of all changes, from 1.
    pub seq: u64,
    /// The plan that it is recorded for.
    pub plan: String,
    /// The task.
    pub task: String,
    /// What happened.
    pub event: Event,
    /// When, as entities write it.
    pub at: String,
    /// The `identitySet` of who did it.
    pub actor: Value,
    /// The members before, if the change was of the task itself.
    pub old: Option<Map<String, Value>>,
    /// The members afterwards; `None` when it is gone.
    pub new: Option<Map<String, Value>>,
}

impl Change {
    /// A change of `task` as it is now.
    pub fn of(now: &Moment, event: Event, task: &Task, old: Option<Map<String, Value>>) -> Self {
        // What is put there past Graph's routes has no author, and its members are nobody's history.
        let told = !now.actor.is_null();
        Self {
            seq: 0,
            plan: task.plan().to_owned(),
            task: task.id().to_owned(),
            event,
            at: now.stamp.clone(),
            actor: now.actor.clone(),
            old: old.filter(|_| told),
            new: (told && event != Event::Deleted).then(|| task.core.members.clone()),
        }
    }
}

/// The changes, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    kept: VecDeque<Change>,
    last: u64,
}

impl Changes {
    /// Adds one.
    pub fn add(&mut self, mut change: Change) {
        self.last += 1;
        change.seq = self.last;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(change);
    }

    /// Leaves a number out, and returns it: every token from before is told apart from those to come.
    pub fn skip(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The number of the newest.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The changes of a plan after number `seq`; `None` if some of them are no longer kept.
    pub fn since(&self, plan: &str, seq: u64) -> Option<Vec<&Change>> {
        let first = self.kept.front().map_or(0, |change| change.seq - 1);
        (seq >= first && seq <= self.last)
            .then(|| self.kept.iter().filter(|change| change.seq > seq && change.plan == plan).collect())
    }

    /// The changes of a plan with a known author.
    pub fn history(&self, plan: &str) -> impl Iterator<Item = &Change> {
        self.kept.iter().filter(move |change| change.plan == plan && !change.actor.is_null())
    }
}
