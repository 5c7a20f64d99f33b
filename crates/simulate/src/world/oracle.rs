//! Who had seen what: finds values that vanished without anybody having replaced them.
//!
//! Every value that is written is unique. A value is accounted for if it stands at the end, was logged as the loser
//! of a conflict, was overwritten in Redis by another agent, was removed by somebody who saw it, or was seen by the
//! author of one that is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

/// What one field looked like when an agent wrote a document over another.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// What the agent had read.
    pub read: BTreeSet<String>,
    /// What it wrote.
    pub wrote: BTreeSet<String>,
    /// What stood there.
    pub replaced: BTreeSet<String>,
    /// The document carries our stamp.
    pub stamped: bool,
}

#[derive(Debug, Default)]
pub struct Oracle {
    /// Value → what its author saw in that place.
    seen: BTreeMap<String, Vec<String>>,
    /// Values that agents wrote.
    agents: BTreeSet<String>,
    excused: BTreeSet<String>,
    /// Values that the engine has read in a document.
    pub reached: BTreeSet<String>,
    /// Values that an agent wrote again after they had been replaced: it is no longer told when they were new.
    again: BTreeSet<String>,
    /// Values that Redis lost before they came through.
    forgotten: BTreeSet<String>,
}

impl Oracle {
    pub fn person_wrote(&mut self, value: &str, saw: impl IntoIterator<Item = String>) {
        self.seen.insert(value.to_owned(), saw.into_iter().collect());
    }

    /// An agent is about to write this element in place of another.
    pub fn renamed(&mut self, value: &str, saw: Option<&str>) {
        self.seen.insert(value.to_owned(), saw.into_iter().map(str::to_owned).collect());
    }

    /// Somebody who saw the value took it away.
    pub fn removed(&mut self, value: &str) {
        self.excused.insert(value.to_owned());
    }

    /// Redis no longer has this document, and nobody can tell what was in it.
    pub fn forget(&mut self, document: &Json) {
        let mut values = BTreeSet::new();
        texts(document, &mut values);
        self.lose(values);
    }

    /// Redis no longer has these values; those of people still stand in Planner.
    pub fn lose(&mut self, values: impl IntoIterator<Item = String>) {
        let agents = &self.agents;
        self.forgotten.extend(values.into_iter().filter(|value| agents.contains(value)));
    }

    fn new_values(&mut self, write: &Write, saw: &BTreeSet<String>) {
        for value in write.wrote.difference(&write.read) {
            self.agents.insert(value.clone());
            self.seen.entry(value.clone()).or_insert_with(|| saw.iter().cloned().collect());
        }
    }

    /// Whether the engine can know that what was written is old.
    fn is_known(&self, write: &Write) -> bool {
        !write.wrote.is_empty()
            && write.wrote.iter().all(|value| write.read.contains(value) && self.reached.contains(value))
    }

    /// An agent wrote a field of one text.
    ///
    /// Agents that race on one key overwrite each other, and a write without a stamp may overwrite what it cannot
    /// have seen (sync.md §1.3.7).
    pub fn agent_wrote(&mut self, write: &Write) {
        let back = write.wrote.difference(&write.replaced).filter(|value| self.seen.contains_key(*value));
        self.again.extend(back.cloned());
        self.new_values(write, &write.read);
        if !write.stamped && write.wrote.len() > 1 {
            // Under two names stand two values, and which one is the older nobody can tell.
            self.excused.extend(write.wrote.intersection(&write.read).cloned());
        }
        let limit = !write.stamped && !write.wrote.is_empty() && !self.is_known(write);
        for replaced in write.replaced.difference(&write.wrote) {
            if self.agents.contains(replaced) || limit {
                self.excused.insert(replaced.clone());
            }
        }
    }

    /// An agent wrote a set, or (not `named`) a document that says nothing about it.
    pub fn agent_wrote_set(&mut self, write: &Write, in_planner: &BTreeSet<String>, named: bool) {
        self.new_values(write, &BTreeSet::new());
        if named {
            self.excused.extend(write.read.difference(&write.wrote).cloned());
        }
        let unseen = write.replaced.iter().chain(in_planner).filter(|value| !write.wrote.contains(*value));
        let limit = |value: &&String| {
            (self.agents.contains(*value) && write.replaced.contains(*value)) || (named && !write.stamped)
        };
        let excused: Vec<String> = unseen.filter(limit).cloned().collect();
        self.excused.extend(excused);
    }

    /// This value had to go: a bucket stays in its plan.
    pub fn excuse(&mut self, value: impl IntoIterator<Item = String>) {
        self.excused.extend(value);
    }

    /// The engine read this document.
    pub fn reached(&mut self, document: &Json) {
        texts(document, &mut self.reached);
    }

    /// A document without a stamp is blind to what stands in Planner, unless its value is known to be an old one.
    pub fn blind(&mut self, write: &Write, in_planner: &BTreeSet<String>) {
        if !write.wrote.is_empty() && !self.is_known(write) {
            self.excused.extend(in_planner.difference(&write.wrote).cloned());
        }
    }

    /// Whether whoever wrote `value` knew of `other`, which then cannot be in conflict with it.
    pub fn knew(&self, value: &str, other: &str) -> bool {
        let mut met = BTreeSet::from([value]);
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            for saw in self.seen.get(value).into_iter().flatten().map(String::as_str) {
                if saw == other {
                    return !self.again.contains(other);
                }
                if met.insert(saw) {
                    open.push(saw);
                }
            }
        }
        false
    }

    /// Values that nothing accounts for, among those that `about` selects.
    pub fn lost(
        &self,
        standing: &BTreeSet<String>,
        losers: &BTreeSet<String>,
        about: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut good: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> =
            standing.iter().chain(losers).chain(&self.excused).map(String::as_str).collect();
        while let Some(value) = open.pop() {
            if good.insert(value)
                && let Some(saw) = self.seen.get(value)
            {
                open.extend(saw.iter().map(String::as_str));
            }
        }
        let lost = self.seen.keys().filter(|value| {
            about(value) && !good.contains(value.as_str()) && !self.forgotten.contains(*value)
        });
        lost.cloned().collect()
    }
}

/// The texts in a JSON value, for values and losers in any wrapping.
pub fn texts(json: &Json, into: &mut BTreeSet<String>) {
    match json {
        Json::String(text) => {
            into.insert(text.clone());
        }
        Json::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Json::Object(members) => members.values().for_each(|item| texts(item, into)),
        _ => {}
    }
}
