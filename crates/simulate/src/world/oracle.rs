//! Who had seen what: finds values that vanished without anybody having replaced them.
//!
//! Every value that is written is unique. A value is accounted for if it stands at the end, was logged as the loser
//! of a conflict, was overwritten in Redis by another agent, was removed by somebody who saw it, or was seen by the
//! author of one that is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use annika_sync::state::VIEWS;
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

/// A value that lost against another, as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub field: &'static str,
    pub kept: String,
    pub lost: String,
    /// Something that its author had not seen speaks against the loser, even if it had seen the winner.
    pub is_justified: bool,
}

#[derive(Clone, Debug, Default)]
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
    /// An agent's value → what it replaced in Planner, written without a stamp by one that had not seen it.
    blindly: BTreeMap<String, BTreeSet<String>>,
    /// By document: the stamps that the engine wrote, oldest first, and all texts under them.
    shown: BTreeMap<String, Vec<(String, BTreeSet<String>)>>,
    /// Conflicts of two texts.
    pub told: Vec<Told>,
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
            let replaced: BTreeSet<String> = in_planner.difference(&write.wrote).cloned().collect();
            for value in &write.wrote {
                self.blindly.entry(value.clone()).or_default().extend(replaced.iter().cloned());
            }
            self.excused.extend(replaced);
        }
    }

    /// The engine wrote this document; `anew`: it remembers none of those before.
    pub fn stamped(&mut self, id: &str, document: &Json, anew: bool) {
        let shown = self.shown.entry(id.to_owned()).or_default();
        if anew {
            shown.clear();
        }
        if let Some(rev) = document["_sync"]["rev"].as_str() {
            let mut values = BTreeSet::new();
            texts(document, &mut values);
            shown.push((rev.to_owned(), values));
        }
    }

    /// A conflict of two texts was told of a document with this stamp.
    ///
    /// Two things justify it even where the loser's author had read the winner. The stamp is older than what the
    /// engine remembers, and people have written the field. Or the winner stands where a person's value was, which
    /// the author had not seen: a write without a stamp had replaced it in between (sync.md §1.3.7).
    pub fn tell(&mut self, mut told: Told, stamp: Option<&str>) {
        let by_person = |value: &&str| !self.agents.contains(*value);
        let shown = self.shown.get(&told.id).map(Vec::as_slice).unwrap_or_default();
        let known = stamp.and_then(|stamp| shown.iter().position(|(rev, _)| rev == stamp));
        if stamp.is_some() {
            let (winner, loser) = (self.ancestry(&told.kept), self.ancestry(&told.lost));
            let had_shown =
                |value: &str| known.is_some_and(|at| shown[..=at].iter().any(|(_, all)| all.contains(value)));
            let replaced = winner.iter().filter_map(|value| self.blindly.get(*value)).flatten();
            let replaced: BTreeSet<&str> = replaced.flat_map(|value| self.ancestry(value)).collect();
            let is_forgotten = known.is_none_or(|at| shown.len() - at > VIEWS);
            let unseen = |value: &&str| !loser.contains(value) && !had_shown(value);
            told.is_justified = (is_forgotten && winner.iter().chain(&replaced).any(by_person))
                || replaced.iter().filter(|value| by_person(value)).any(unseen);
        }
        self.told.push(told);
    }

    /// A value, and all that its author and theirs had seen in that place.
    fn ancestry<'a>(&'a self, value: &'a str) -> BTreeSet<&'a str> {
        let mut met = BTreeSet::from([value]);
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            let saw = self.seen.get(value).into_iter().flatten().map(String::as_str);
            open.extend(saw.filter(|saw| met.insert(saw)));
        }
        met
    }

    /// Whether whoever wrote `value` knew of `other`, which then cannot be in conflict with it.
    pub fn knew(&self, value: &str, other: &str) -> bool {
        value != other && self.ancestry(value).contains(other) && !self.again.contains(other)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(value: &str) -> BTreeSet<String> {
        [value.to_owned()].into()
    }

    /// A person wrote `p`, a version of ours under `v1` shows it, and agents went on from that to `a` and then `b`.
    fn oracle() -> Oracle {
        let mut oracle = Oracle::default();
        oracle.person_wrote("p", []);
        show(&mut oracle, "v1", "p");
        for (read, wrote) in [("p", "a"), ("a", "b")] {
            let (read, wrote) = (one(read), one(wrote));
            oracle.agent_wrote(&Write { replaced: read.clone(), read, wrote, stamped: true });
        }
        oracle
    }

    fn show(oracle: &mut Oracle, rev: &str, title: &str) {
        oracle.stamped("t", &json!({"title": title, "_sync": {"rev": rev}}), false);
    }

    fn is_justified(mut oracle: Oracle, kept: &str, stamp: Option<&str>) -> bool {
        let (id, kept, lost) = ("t".to_owned(), kept.to_owned(), "b".to_owned());
        assert!(oracle.knew(&lost, &kept));
        oracle.tell(Told { id, field: "title", kept, lost, is_justified: false }, stamp);
        oracle.told[0].is_justified
    }

    #[test]
    fn nothing_justifies_a_conflict_with_a_value_that_was_read() {
        for stamp in [None, Some("v1")] {
            assert!(!is_justified(oracle(), "a", stamp), "{stamp:?}");
        }
    }

    #[test]
    fn a_stamp_is_forgotten_after_so_many_versions_and_not_before() {
        let with = |later: usize| {
            let mut oracle = oracle();
            (0..later).for_each(|n| show(&mut oracle, &format!("w{n}"), "a"));
            oracle
        };
        assert!(!is_justified(with(VIEWS - 1), "a", Some("v1")));
        assert!(is_justified(with(VIEWS), "a", Some("v1")));
    }

    #[test]
    fn a_persons_value_that_was_replaced_blindly_justifies_a_conflict_for_those_who_had_not_seen_it() {
        let mut oracle = oracle();
        oracle.person_wrote("q", ["p".to_owned()]);
        show(&mut oracle, "v2", "q");
        let write = Write { read: one("a"), wrote: one("a"), replaced: one("a"), stamped: false };
        oracle.blind(&write, &one("q"));
        assert!(!is_justified(oracle.clone(), "a", Some("v2")), "its version shows the person's value");
        assert!(!is_justified(oracle.clone(), "a", None));
        assert!(is_justified(oracle, "a", Some("v1")));
    }
}
