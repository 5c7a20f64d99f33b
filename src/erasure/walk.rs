//! The walk over the keys: what each family of the registry loses.

use annika_sync::{
    lens::Document,
    state::{TaskState, digest},
};
use redis::Value;
use serde_json::Value as Json;

use super::{Erasure, Person, Report, Request, SWAP, TASK};
use crate::{
    keys::{self, Class, Kind},
    store::{StoreError, command, read},
    tasks::{self, index_entries},
};

/// Keys in one slice.
const SLICE: usize = 1_000;
/// Entries of a list or stream that are read together.
const TOGETHER: usize = 500;

/// Walks until every key was looked at, or the time is up.
pub(super) async fn walk(
    erasure: &Erasure,
    person: &Person,
    request: &Request,
    report: &mut Report,
) -> Result<(), StoreError> {
    let until = erasure.clock.monotonic_ms() + erasure.within_ms;
    let mut cursor = request.cursor.unwrap_or(0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(keys::EVERY_KEY).arg("COUNT").arg(SLICE);
        let (next, found): (u64, Vec<String>) = erasure.store.command(&scan).await?;
        for key in found {
            Walk { erasure, person, in_planner: request.in_planner }.key(&key, report).await?;
        }
        cursor = next;
        if cursor == 0 {
            report.cursor = None;
            return Ok(());
        }
        if erasure.clock.monotonic_ms() >= until {
            report.cursor = Some(cursor);
            return Ok(());
        }
    }
}

struct Walk<'a> {
    erasure: &'a Erasure,
    person: &'a Person,
    in_planner: bool,
}

impl Walk<'_> {
    async fn key(&self, key: &str, report: &mut Report) -> Result<(), StoreError> {
        let Some(family) = keys::find(key) else { return Ok(()) };
        let parameters = family.parse(key).unwrap_or_default();
        let pattern = family.pattern;
        if std::ptr::eq(family, &keys::TASK) {
            return self.task(parameters.first().copied().unwrap_or_default(), report).await;
        }
        let own_id = parameters.first().is_some_and(|id| self.person.is(id));
        let of_person = std::ptr::eq(family, &keys::GRAPH_USER) || std::ptr::eq(family, &keys::TOKEN_USER);
        let assignee = std::ptr::eq(family, &keys::TASKS_INDEX)
            && key.rsplit_once("assignee:").is_some_and(|(_, name)| self.person.is(name));
        let erased = if of_person && own_id {
            let mut forget = command("SREM", keys::tokens_active());
            forget.arg(key);
            self.erasure.store.command::<i64>(&forget).await?;
            self.remove(key).await?
        } else if assignee && !self.in_planner {
            self.remove(key).await?
        } else if std::ptr::eq(family, &keys::SYNC_STATE) {
            // A task without a document: one with a document is dealt with there.
            return self.task(parameters.first().copied().unwrap_or_default(), report).await;
        } else {
            match family.kind {
                Kind::String => self.string(key, family.class).await?,
                Kind::List => self.list(key).await?,
                Kind::Hash if !std::ptr::eq(family, &keys::ERASED) => self.hash(key).await?,
                Kind::Stream => self.stream(key).await?,
                _ => 0,
            }
        };
        if erased > 0 {
            *report.erased.entry(pattern).or_default() += erased;
        }
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<u64, StoreError> {
        self.erasure.store.command(&command("UNLINK", key)).await
    }

    async fn swap(
        &self,
        key: &str,
        kind: &str,
        field: &str,
        old: &[u8],
        new: &[u8],
    ) -> Result<u64, StoreError> {
        let call = SWAP.call().key(key).arg(kind).arg(field).arg(old).arg(new);
        read(self.erasure.store.run(&call).await?)
    }

    async fn string(&self, key: &str, class: Class) -> Result<u64, StoreError> {
        // A key of another type than its family has is its owner's business.
        let Ok(Some(text)) = self.erasure.store.command::<Option<Vec<u8>>>(&command("GET", key)).await else {
            return Ok(0);
        };
        let whole = std::str::from_utf8(&text).is_ok_and(|text| self.person.is(text));
        if whole && class != Class::Public {
            return self.remove(key).await;
        }
        match self.person.taken_out_of_text(&text) {
            Some(new) => self.swap(key, "string", "", &text, &new).await,
            None => Ok(0),
        }
    }

    async fn list(&self, key: &str) -> Result<u64, StoreError> {
        let (mut from, mut erased) = (0, 0);
        loop {
            let mut range = command("LRANGE", key);
            range.arg(from).arg(from + TOGETHER - 1);
            let texts: Vec<Vec<u8>> = self.erasure.store.command(&range).await?;
            for text in &texts {
                if let Some(new) = self.person.taken_out_of_text(text) {
                    erased += self.swap(key, "list", "", text, &new).await?;
                    self.failed_entry(text, &new).await?;
                }
            }
            if texts.len() < TOGETHER {
                return Ok(erased);
            }
            from += TOGETHER;
        }
    }

    /// A failed task's state names its entry in the list by its text.
    async fn failed_entry(&self, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
        let entry: Json = serde_json::from_slice(old).unwrap_or_default();
        if let Some(id) = entry.get("task_id").and_then(Json::as_str) {
            self.swap(&keys::sync_state(id), "hash", "failed", old, new).await?;
        }
        Ok(())
    }

    async fn hash(&self, key: &str) -> Result<u64, StoreError> {
        let (mut cursor, mut erased) = (0_u64, 0);
        loop {
            let mut scan = command("HSCAN", key);
            scan.arg(cursor).arg("COUNT").arg(TOGETHER);
            let (next, entries): (u64, Vec<(String, Vec<u8>)>) = self.erasure.store.command(&scan).await?;
            for (field, text) in entries {
                if let Some(new) = self.person.taken_out_of_text(&text) {
                    erased += self.swap(key, "hash", &field, &text, &new).await?;
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(erased);
            }
        }
    }

    /// Entries of a stream cannot be changed: those that mention the person are removed.
    async fn stream(&self, key: &str) -> Result<u64, StoreError> {
        let (mut from, mut erased) = ("-".to_owned(), 0);
        loop {
            let mut range = command("XRANGE", key);
            range.arg(&from).arg("+").arg("COUNT").arg(TOGETHER);
            let entries: Vec<(String, Vec<Vec<u8>>)> = self.erasure.store.command(&range).await?;
            for (id, words) in &entries {
                if words.iter().any(|word| self.person.taken_out_of_text(word).is_some()) {
                    let mut remove = command("XDEL", key);
                    remove.arg(id);
                    erased += self.erasure.store.command::<u64>(&remove).await?;
                }
            }
            match entries.last() {
                Some((last, _)) if entries.len() == TOGETHER => from = format!("({last}"),
                _ => return Ok(erased),
            }
        }
    }

    /// A task's document and what the sync agreed on.
    async fn task(&self, id: &str, report: &mut Report) -> Result<(), StoreError> {
        let mut get = command("HGET", &keys::sync_state(id));
        get.arg("record");
        let record: Option<Vec<u8>> = self.erasure.store.command(&get).await?;
        let text = tasks::texts(&self.erasure.store, &[keys::task(id)]).await.pop();
        let Some(Ok(text)) = text else { return Ok(()) };
        let document = text.as_deref().and_then(|text| Document::parse(text).ok());
        let (changed, mentioned) =
            document.as_ref().map_or((None, false), |document| self.person.taken_out_of_document(document));
        if mentioned && !report.mentioned_in.iter().any(|named| named == id) {
            report.mentioned_in.push(id.to_owned());
        }
        let mut state = record
            .as_deref()
            .and_then(|record| serde_json::from_slice::<TaskState>(record).ok())
            .unwrap_or_default();
        let mapped = state.planner_id.is_some();
        let in_state = self.person.take_out_of_state(&mut state);
        if changed.is_none() && !in_state {
            return Ok(());
        }
        // Where Planner is to lose the person too, the state keeps them until the engine has told it.
        let keep_state = self.in_planner && mapped;
        if keep_state && (in_state || changed.is_some()) {
            report.busy.push(id.to_owned());
        }
        let old = text.unwrap_or_default();
        let new = changed.as_ref().map_or_else(|| old.clone(), Document::bytes);
        let (old_digest, new_digest) = (digest(&old), digest(&new));
        let record = record.unwrap_or_default();
        let new_record = if keep_state || !in_state && state.seen.as_ref() != Some(&old_digest) {
            record.clone()
        } else {
            if state.seen.as_ref() == Some(&old_digest) {
                state.seen = Some(new_digest.clone());
            }
            serde_json::to_vec(&state).unwrap_or_else(|_| record.clone())
        };
        if old == new && record == new_record {
            return Ok(());
        }
        let wanted =
            changed.as_ref().map_or_else(|| "-".to_owned(), |document| index_entries(document).join("\n"));
        // As an agent's edit the new document has to differ from what the sweep knows.
        let known = if keep_state { "no digest" } else { old_digest.as_str() };
        let call = TASK
            .call()
            .key(keys::task(id))
            .key(keys::sync_state(id))
            .key(keys::tasks_entries())
            .key(keys::sync_index())
            .arg(id)
            .arg(&old)
            .arg(&new)
            .arg(&record)
            .arg(&new_record)
            .arg(wanted)
            .arg(known)
            .arg(&new_digest)
            .num(self.erasure.clock.now_ms())
            .arg(Json::from(id).to_string())
            .arg(keys::tasks_updates());
        let reply: String = read::<Value>(self.erasure.store.run(&call).await?).and_then(read)?;
        if reply != "done" {
            report.busy.push(id.to_owned());
            return Ok(());
        }
        *report.erased.entry(keys::TASK.pattern).or_default() += u64::from(old != new);
        *report.erased.entry(keys::SYNC_STATE.pattern).or_default() += u64::from(record != new_record);
        if keep_state && old != new {
            let ids = [id.to_owned()];
            let call = crate::planner::mark_changed(&ids);
            self.erasure.store.run(&call).await?;
        }
        Ok(())
    }
}
