//! Who had seen what: finds values that vanished without anybody having replaced them.
//!
//! Every value that is written is unique. A value is accounted for if it stands at the end, was logged as the loser
//! of a conflict, was overwritten in Redis by another agent, or was seen by the author of one that is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

#[derive(Debug, Default)]
pub struct Oracle {
    /// Value → what its author saw in that field.
    seen: BTreeMap<String, Option<String>>,
    /// Values that agents wrote.
    agents: BTreeSet<String>,
    excused: BTreeSet<String>,
    /// Values that the engine has read in a document.
    reached: BTreeSet<String>,
}

impl Oracle {
    pub fn person_wrote(&mut self, value: &str, saw: Option<&str>) {
        self.seen.insert(value.to_owned(), saw.map(str::to_owned));
    }

    /// An agent wrote a document over another: per field what it read, what it wrote, and what it replaced.
    ///
    /// Agents that race on one key overwrite each other, and a write without a stamp may overwrite what it cannot
    /// have seen (sync.md §1.3.7).
    pub fn agent_wrote(
        &mut self,
        read: Option<&str>,
        wrote: Option<&str>,
        replaced: Option<&str>,
        stamped: bool,
    ) {
        if let Some(wrote) = wrote
            && read != Some(wrote)
        {
            self.seen.insert(wrote.to_owned(), read.map(str::to_owned));
            self.agents.insert(wrote.to_owned());
        }
        if let Some(replaced) = replaced
            && wrote != Some(replaced)
        {
            let known = wrote.is_some_and(|wrote| read == Some(wrote) && self.reached.contains(wrote));
            let limit = !stamped && wrote.is_some() && !known;
            if self.agents.contains(replaced) || limit {
                self.excused.insert(replaced.to_owned());
            }
        }
    }

    /// The engine read this document.
    pub fn reached(&mut self, document: &Json) {
        texts(document, &mut self.reached);
    }

    /// A document without a stamp is blind to what stands in Planner, unless its value is known to be an old one.
    pub fn blind(&mut self, read: Option<&str>, wrote: Option<&str>, in_planner: Option<&str>) {
        if let (Some(wrote), Some(value)) = (wrote, in_planner)
            && wrote != value
            && !(read == Some(wrote) && self.reached.contains(wrote))
        {
            self.excused.insert(value.to_owned());
        }
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
                && let Some(Some(saw)) = self.seen.get(value)
            {
                open.push(saw);
            }
        }
        let lost = self.seen.keys().filter(|value| about(value) && !good.contains(value.as_str()));
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
