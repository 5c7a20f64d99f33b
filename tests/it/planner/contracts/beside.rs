//! What the scripts beside the engine's steps promise: aging, holding, and erasing people.

use annika::{keys, tasks::index_entries};
use annika_sync::state::digest;
use serde_json::json;

use super::{
    calls::{Erase, PLAN},
    clients::HOLD_SECONDS,
    keyspace::{Item, Keyspace},
    promises::{SLACK, Step},
};
use crate::planner::document;

impl Step<'_> {
    /// A completed task leaves Redis if it is what was read, known as that, and nothing waits.
    pub fn aged(&self, id: &str, read: &str, known: &str, word: &str) {
        let index = |keyspace: &Keyspace| keyspace.field(keys::sync_index(), id).map(str::to_owned);
        let as_read = self.before.document(id) == Some(read) && index(self.before).as_deref() == Some(known);
        let expected = if self.before.due(id).is_none() && as_read { "aged" } else { "kept" };
        assert_eq!(word, expected, "{id}");
        if word == "kept" {
            return self.nothing_changed();
        }
        assert_eq!(self.after.item(&keys::task(id)), None);
        assert_eq!(self.after.state(id, "aged"), Some("1"), "{id}: why it is gone");
        assert_eq!(self.after.state(id, "record"), self.before.state(id, "record"), "{id}: it stays known");
        assert_eq!(index(self.after).as_deref(), Some("absent"), "{id}: the sweep finds nothing missing");
        assert_eq!(self.after.field(keys::tasks_entries(), id), None, "{id}: it is in no list");
        assert_eq!(self.after.due(id), None, "{id}: nobody has to do anything");
        self.others_are_untouched(&[id]);
    }

    /// A list that is newer than the last replaces what is held, and says since when lists held nothing.
    pub fn held(&self, begun: i64, tasks: &[&str], word: &str) {
        let key = keys::sync_orphans();
        let field = |keyspace: &Keyspace, name: &str| {
            keyspace.field(key, &format!("{name}\n{PLAN}")).map(str::to_owned)
        };
        let newer = field(self.before, "begun").is_none_or(|last| last.parse::<i64>().unwrap() < begun);
        assert_eq!(word, if newer { "1" } else { "0" });
        if !newer {
            return self.nothing_changed();
        }
        assert_eq!(field(self.after, "begun"), Some(begun.to_string()));
        let prefix = format!("task\n{PLAN}\n");
        let Some(Item::Hash(fields)) = self.after.item(key) else { panic!("nothing is kept") };
        let kept: Vec<(&str, &str)> = fields
            .iter()
            .filter_map(|(field, text)| Some((field.strip_prefix(&prefix)?, text.as_str())))
            .collect();
        let tasks: Vec<&str> =
            tasks.iter().copied().filter(|id| self.before.item(&keys::sync_gone(id)).is_none()).collect();
        let texts: Vec<String> =
            tasks.iter().map(|id| json!({"id": id, "begun": begun}).to_string()).collect();
        let wanted: Vec<(&str, &str)> =
            tasks.iter().zip(&texts).map(|(id, text)| (*id, text.as_str())).collect();
        assert_eq!(kept, wanted, "the tasks of this list that were not deleted a moment ago, and no others");
        let clean = tasks.is_empty().then(|| begun.to_string());
        let since = field(self.before, "clean").filter(|_| tasks.is_empty());
        assert_eq!(field(self.after, "clean"), clean);
        assert_eq!(field(self.after, "since"), since, "begun of the list before, if neither held any");
        let ttl = self.after.ttl(key).unwrap();
        assert!(ttl > 0 && ttl <= HOLD_SECONDS * 1_000, "{ttl}");
        self.others_are_untouched(&[]);
    }

    /// One exact text is replaced where it stands, or nothing happens. `call` is kind, key, field, old and new text.
    pub fn swapped(&self, call: [&str; 5], word: &str) {
        let [kind, key, field, read, text] = call;
        let mut wanted = self.before.item(key).cloned();
        let found = match &mut wanted {
            Some(Item::Text(there)) if kind == "string" => Some(there),
            Some(Item::Hash(fields)) if kind == "hash" => fields.get_mut(field),
            Some(Item::List(entries)) if kind == "list" => entries.iter_mut().find(|entry| *entry == read),
            _ => None,
        };
        let found = found.filter(|there| *there == read);
        assert_eq!(word, if found.is_some() { "1" } else { "0" });
        let Some(there) = found else { return self.nothing_changed() };
        *there = text.to_owned();
        assert_eq!(self.after.item(key), wanted.as_ref(), "the one text, in its place");
        let expires = |keyspace: &Keyspace| keyspace.ttl(key).unwrap() >= 0;
        assert_eq!(expires(self.after), expires(self.before), "{key}: the expiry stays");
        self.others_are_untouched(&[]);
    }

    /// A person leaves the document and the record together, or neither; never while an engine has the task.
    pub fn erased(&self, erase: &Erase, word: &str) {
        let id = erase.id;
        let record = |keyspace: &Keyspace| keyspace.state(id, "record").unwrap_or_default().to_owned();
        let (lease, was) = (self.before.leased_until(id), self.before.document(id).unwrap_or_default());
        match word {
            "busy" => assert!(lease > self.from - SLACK, "{id}: no engine has it"),
            "changed" => {
                assert!(record(self.before) != erase.record || was != erase.read, "{id}: it is what was read")
            }
            _ => {
                assert_eq!(word, "done");
                assert!(lease <= self.to + SLACK, "{id}: an engine has it");
                assert_eq!((record(self.before), was), (erase.record.clone(), erase.read.as_str()));
            }
        }
        if word != "done" {
            return self.nothing_changed();
        }
        assert_eq!(record(self.after), erase.new_record);
        assert_eq!(self.after.document(id).unwrap_or_default(), erase.text);
        if erase.read != erase.text {
            let key = keys::task(id);
            let same = |keyspace: &Keyspace| {
                (matches!(keyspace.item(&key), Some(Item::Json(_))), keyspace.ttl(&key).unwrap() < 0)
            };
            assert_eq!(same(self.after), same(self.before), "{id}: its type and its expiry stay");
            let wanted = index_entries(&document(&erase.text)).join("\n");
            assert_eq!(
                self.after.field(keys::tasks_entries(), id).unwrap_or_default(),
                wanted,
                "{id}: its lists"
            );
            let known = |keyspace: &Keyspace| keyspace.field(keys::sync_index(), id).map(str::to_owned);
            let (old, new) = (digest(erase.read.as_bytes()), digest(erase.text.as_bytes()));
            let renamed = known(self.before).map(|known| match known.strip_prefix(&old) {
                Some(rest) => format!("{new}{rest}"),
                None => known,
            });
            assert_eq!(known(self.after), renamed, "{id}: the sweep takes it for no edit of an agent");
        }
        for field in ["hint", "del", "fence", "lease_until"] {
            assert_eq!(self.after.state(id, field), self.before.state(id, field), "{id}: {field}");
        }
        self.others_are_untouched(&[id]);
    }
}
