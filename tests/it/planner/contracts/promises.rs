//! What each script promises, as rules about what was there before a call, its answer, and what is there afterwards.

use annika::{
    keys,
    tasks::{index_entries, pending_entry},
};
use annika_sync::{
    state::TaskState,
    world::{Claimed, Commit, CommitResult, Next},
};
use serde_json::Value;

use super::keyspace::{Item, Keyspace};
use crate::planner::document;

/// One call: what was there before and afterwards, and between which times (ms) it ran.
pub struct Step<'a> {
    pub before: &'a Keyspace,
    pub after: &'a Keyspace,
    pub from: i64,
    pub to: i64,
}

/// The server's clock and ours are one, cut to milliseconds in different places; a busy machine is slow.
pub(super) const SLACK: i64 = 2;
/// A mark that came while a task was claimed makes it due again within this.
const SOON: i64 = 1_000;

impl Step<'_> {
    /// A call that was refused has changed nothing.
    pub fn nothing_changed(&self) {
        for (key, entry) in &self.before.0 {
            // What was about to expire may have gone by itself.
            let expiring = (0..=self.to - self.from + 100).contains(&entry.ttl);
            let is = self.after.0.get(key);
            assert!(is == Some(entry) || (is.is_none() && expiring), "{key} changed: {entry:?} {is:?}");
        }
        for key in self.after.0.keys() {
            assert!(self.before.0.contains_key(key), "{key} is new");
        }
    }

    /// Documents and states of tasks that a call is not about stay as they are.
    pub fn others_are_untouched(&self, ids: &[&str]) {
        for (before, after) in [(self.before, self.after), (self.after, self.before)] {
            for (key, entry) in &before.0 {
                let of = |prefix: String| key.strip_prefix(&prefix).is_some_and(|id| !ids.contains(&id));
                if of(keys::task("")) || of(keys::sync_state("")) {
                    assert_eq!(after.0.get(key), Some(entry), "{key} is of another task");
                }
            }
        }
    }

    /// The task is due now (plus `delay` ms), or keeps its place if somebody has it; its mark is counted.
    pub fn marked(&self, id: &str, delay: i64) {
        assert!(self.after.hint(id) > self.before.hint(id), "{id}: the mark is counted");
        let (lease, was, is) = (self.before.leased_until(id), self.before.due(id), self.after.due(id));
        let is = is.unwrap_or_else(|| panic!("{id}: it waits for nobody"));
        if lease > self.to + SLACK {
            assert_eq!(Some(is), was, "{id}: a claimed task keeps its place");
        } else if lease < self.from - SLACK {
            // A mark lifts a task of low priority out of its queue, whose times are of another kind.
            let low = self.before.is_low(id) || self.after.is_low(id);
            let latest = was.filter(|_| !low).map_or(self.to + delay, |was| was.min(self.to + delay));
            assert!(
                is <= latest + SLACK,
                "{id}: due at {is}, {was:?} before, marked at {} + {delay}",
                self.to
            );
            assert!(low || was.is_some() || is >= self.from + delay - SLACK, "{id}: due {is}, too early");
        }
        assert_eq!(self.after.mirrors(id), 1, "{id}: it stands in the pending list");
    }

    /// A document was stored by the write script: text, type, expiry, lists, mark.
    pub fn document_stored(&self, id: &str, text: &str) {
        let key = keys::task(id);
        assert_eq!(self.after.text(&key), Some(text));
        if let Some(before) = self.before.item(&key) {
            let same_type = matches!(
                (before, self.after.item(&key)),
                (Item::Text(_), Some(Item::Text(_))) | (Item::Json(_), Some(Item::Json(_)))
            );
            assert!(same_type, "{id}: the type of the document stays");
            let (was, is) = (self.before.ttl(&key).unwrap(), self.after.ttl(&key).unwrap());
            assert_eq!(was < 0, is < 0, "{id}: the expiry stays: {was} {is}");
        }
        let wanted = index_entries(&document(text)).join("\n");
        assert_eq!(
            self.after.field(keys::tasks_entries(), id).unwrap_or_default(),
            wanted,
            "{id}: its lists"
        );
        assert_eq!(self.after.state(id, "del"), None, "{id}: it is there again");
        if self.before.document(id) != Some(text) || self.after.hint(id) != self.before.hint(id) {
            self.marked(id, 0);
        }
        self.others_are_untouched(&[id]);
    }

    /// A document was deleted by the write script: it is kept, and the engine is told.
    pub fn document_deleted(&self, id: &str) {
        assert_eq!(self.after.item(&keys::task(id)), None);
        let last = self.before.document(id).expect("there was one");
        let tomb = keys::sync_tomb(id);
        assert_eq!(self.after.text(&tomb), Some(last), "{id}: its last text is kept");
        let month = 30 * 86_400_000;
        let ttl = self.after.ttl(&tomb).unwrap();
        assert!((month - 60_000..=month).contains(&ttl), "{id}: for 30 days: {ttl}");
        assert_eq!(self.after.state(id, "del"), Some("1"));
        assert_eq!(self.after.field(keys::tasks_entries(), id), None, "{id}: it is in no list");
        self.marked(id, 0);
        self.others_are_untouched(&[id]);
    }

    /// Claims: due tasks, each once, under fences that rise, up to their lease.
    pub fn claimed(&self, claimed: &Claimed, limit: usize, lease: i64) {
        let ids: Vec<&str> = claimed.claims.iter().map(|claim| claim.id.as_str()).collect();
        assert!(ids.len() <= 2 * limit, "{} of {limit} of each priority", ids.len());
        let mut last: i64 = self.before.text(keys::sync_fence()).map_or(0, |text| text.parse().unwrap());
        for claim in &claimed.claims {
            let (id, fence) = (claim.id.as_str(), i64::try_from(claim.fence).unwrap());
            let was = self.before.due(id).unwrap_or_else(|| panic!("{id} was not due at all"));
            assert!(was <= self.to + SLACK, "{id} was due at {was}, claimed before {}", self.to);
            assert!(fence > last, "{id}: fence {fence} after {last}");
            last = fence;
            let until = self.after.due(id).unwrap();
            let allowed = self.from + lease - SLACK..=self.to + lease + SLACK;
            assert!(allowed.contains(&until), "{id}: leased until {until}, not {allowed:?}");
            assert_eq!(self.after.leased_until(id), until);
            assert_eq!(self.after.state(id, "fence"), Some(fence.to_string().as_str()));
            assert_eq!(self.after.document(id), self.before.document(id));
        }
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "a task twice: {ids:?}");
        let left: Vec<(String, i64)> =
            self.before.all_due().into_iter().filter(|(id, _)| !ids.contains(&id.as_str())).collect();
        // A task whose claims ran out is given alone, or put off: it may be what kills workers.
        let suspects = left.iter().chain(&self.before.all_due()).any(|(id, _)| {
            let lease = self.before.leased_until(id);
            lease != 0 && lease <= self.to + SLACK || self.before.state(id, "claims_lost").is_some()
        });
        if ids.len() < limit && !suspects {
            for (id, at) in &left {
                assert!(*at >= self.from - SLACK, "{id} was due at {at} and there was room");
            }
        }
        if let Some(next) = claimed.next_in {
            let first = self.after.all_due().iter().map(|(_, at)| *at).min().unwrap();
            let next = i64::try_from(next.as_millis()).unwrap();
            let allowed = first - self.to - SLACK..=(first - self.from).max(0) + SLACK;
            assert!(allowed.contains(&next), "the next is due in {next}, not {allowed:?}");
        } else {
            assert!(self.after.all_due().is_empty(), "something waits, and the claim says nothing does");
        }
        // A task that is put off is given to nobody, and its lost claims are counted.
        let put_off = claimed.put_off.iter().map(String::as_str);
        self.others_are_untouched(&ids.iter().copied().chain(put_off).collect::<Vec<_>>());
    }

    /// One step of the engine: all of it, or nothing.
    pub fn committed(&self, commit: &Commit, result: CommitResult) {
        let id = commit.id.as_str();
        let fenced = self.before.state(id, "fence") == Some(commit.fence.to_string().as_str());
        if result == CommitResult::LeaseLost {
            assert!(!fenced, "{id}: the fence is the current one");
            return self.nothing_changed();
        }
        assert!(fenced, "{id}: an old fence was taken: {result:?}");
        let maps = commit.remote.as_ref().filter(|remote| remote.newly_mapped);
        let owner = maps.and_then(|remote| self.before.text(&keys::sync_rmap(&remote.planner_id)));
        let elsewhere = owner.is_some_and(|owner| owner != id && owner.strip_prefix('~') != Some(id));
        assert_eq!(
            result == CommitResult::MappedElsewhere,
            elsewhere,
            "{id}: mapped to {owner:?}: {result:?}"
        );
        if elsewhere {
            return self.nothing_changed();
        }
        let there = self.before.document(id).map(str::as_bytes);
        let expected = match &commit.write {
            Some(write) => {
                self.before.item(&keys::task(id)).is_none() == write.expected.is_none()
                    && there == write.expected.as_deref()
            }
            None => !commit.expect_absent || self.before.item(&keys::task(id)).is_none(),
        };
        if result == CommitResult::LocalChanged {
            assert!(!expected, "{id}: the document was what the step expected");
            return self.nothing_changed();
        }
        assert!(expected, "{id}: written over something else: {result:?}");
        assert!(matches!(result, CommitResult::Stored | CommitResult::StoredDueAgain), "{id}: {result:?}");
        let marks = commit.marks.iter().map(String::as_str);
        self.others_are_untouched(&[id].into_iter().chain(marks).collect::<Vec<_>>());
        commit.marks.iter().for_each(|other| self.marked(other, 0));
        self.commit_wrote(commit);
        self.commit_placed(commit, result);
    }

    fn commit_wrote(&self, commit: &Commit) {
        let id = commit.id.as_str();
        match commit.write.as_ref().map(|write| &write.new) {
            None => assert_eq!(self.after.0.get(&keys::task(id)), self.before.0.get(&keys::task(id))),
            Some(None) => {
                assert_eq!(self.after.item(&keys::task(id)), None);
                assert_eq!(self.after.text(&keys::sync_tomb(id)), self.before.document(id), "it is kept");
            }
            Some(Some(document)) => {
                let text = String::from_utf8(document.bytes()).unwrap();
                assert_eq!(self.after.document(id), Some(text.as_str()));
                if let (Some(was), Some(is)) =
                    (self.before.ttl(&keys::task(id)), self.after.ttl(&keys::task(id)))
                {
                    assert_eq!(was < 0, is < 0, "{id}: the expiry stays");
                }
            }
        }
        if let Some(document) = &commit.document {
            let wanted = index_entries(document).join("\n");
            assert_eq!(self.after.field(keys::tasks_entries(), id).unwrap_or_default(), wanted);
        }
        if let Some(remote) = &commit.remote {
            let planner_id = remote.planner_id.as_str();
            assert_eq!(self.after.text(&keys::planner_etag(planner_id)), Some(remote.etag.as_str()));
            if remote.newly_mapped {
                assert_eq!(self.after.text(&keys::sync_rmap(planner_id)), Some(id));
                for key in
                    [keys::planner_id_map(id), keys::task_mapping(id), keys::task_mapping_planner(planner_id)]
                {
                    let map: Value = serde_json::from_str(self.after.text(&key).unwrap()).unwrap();
                    assert_eq!(
                        (&map["annika_id"], &map["planner_id"]),
                        (&id.into(), &planner_id.into()),
                        "{key}"
                    );
                }
            }
        }
        let own = |planner_id: &str| {
            let owner = self.before.text(&keys::sync_rmap(planner_id));
            owner.is_none_or(|owner| owner == id || owner.strip_prefix('~') == Some(id))
        };
        if let Some(unmapped) = &commit.unmap
            && !own(&unmapped.planner_id)
        {
            for key in [keys::sync_rmap(&unmapped.planner_id), keys::planner_etag(&unmapped.planner_id)] {
                assert_eq!(self.after.item(&key), self.before.item(&key), "{key} is another task's");
            }
        } else if let Some(unmapped) = &commit.unmap {
            let planner_id = unmapped.planner_id.as_str();
            for key in [keys::sync_rmap(planner_id), keys::planner_id_map(id), keys::planner_etag(planner_id)]
            {
                assert_eq!(self.after.item(&key), None, "{key}");
            }
            assert_eq!(self.after.text(&keys::sync_gone(planner_id)), Some(id));
        }
        let failing = commit.state.as_ref().is_some_and(|state| state.failure.is_some());
        assert_eq!(self.after.failed(id).len(), usize::from(failing), "{id}: in the failed list, or not");
    }

    fn commit_placed(&self, commit: &Commit, result: CommitResult) {
        let id = commit.id.as_str();
        let (was, is) = (self.before.due(id), self.after.due(id));
        if let Some(state) = &commit.state {
            let record: TaskState = serde_json::from_str(self.after.state(id, "record").unwrap()).unwrap();
            assert_eq!(record, *state, "{id}: the record");
        }
        let marked = |hint: u64| self.before.hint(id) != i64::try_from(hint).unwrap();
        let (again, delay) = match commit.next {
            Next::Hold => {
                assert_eq!((is, self.after.leased_until(id)), (was, self.before.leased_until(id)));
                assert_eq!(self.after.state(id, "fence"), self.before.state(id, "fence"));
                return;
            }
            Next::Done { hint } => (marked(hint), None),
            Next::After(delay) => (marked(commit.hint), Some(i64::try_from(delay.as_millis()).unwrap())),
        };
        assert_eq!(
            (self.after.state(id, "fence"), self.after.leased_until(id)),
            (None, 0),
            "{id}: given back"
        );
        assert_eq!(result == CommitResult::StoredDueAgain, again, "{id}: a mark came, or not");
        match (again, delay) {
            (true, _) => assert!(is.unwrap() <= self.to + SOON, "{id}: it is due again soon"),
            (false, Some(delay)) => {
                let allowed = self.from + delay - SLACK..=self.to + delay + SLACK;
                assert!(allowed.contains(&is.unwrap()), "{id}: due at {is:?}, not {allowed:?}");
            }
            (false, None) => {
                assert_eq!(is, None, "{id}: it is done");
                let known = self.after.item(&keys::sync_state(id)).is_some();
                assert_eq!(known, commit.state.is_some(), "{id}: known, or forgotten");
            }
        }
    }

    /// Entries that others pushed are taken out, and each makes its task due.
    pub fn ingested(&self, taken: usize) {
        let ours = |entry: &String| entry.contains("\"source\":\"annika\"");
        let foreign: Vec<&String> =
            self.before.list(keys::sync_pending()).iter().filter(|entry| !ours(entry)).collect();
        assert_eq!(taken, foreign.len(), "{foreign:?}");
        assert!(self.after.list(keys::sync_pending()).iter().all(ours), "all are taken out");
        let mut ids = Vec::new();
        for entry in foreign {
            let Ok(entry) = serde_json::from_str::<Value>(entry) else { continue };
            let id = entry["task_id"].as_str().unwrap().to_owned();
            if entry["type"] == "delete" {
                assert_eq!(self.after.state(&id, "del"), Some("1"), "{id}: an agent says it is deleted");
            }
            self.marked(&id, 0);
            ids.push(id);
        }
        self.others_are_untouched(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// What a list showed of one task: known as itself, or imported; not at all while its deletion is fresh.
    pub fn observed(&self, planner_id: &str, etag: &str, plan: &str) {
        let owner = self.before.text(&keys::sync_rmap(planner_id));
        if owner.is_none() && self.before.item(&keys::sync_gone(planner_id)).is_some() {
            assert_eq!(self.after.item(&keys::sync_rmap(planner_id)), None, "a stale list imports nothing");
            return self.others_are_untouched(&[]);
        }
        let imported = format!("planner-{planner_id}");
        let id = owner.unwrap_or(&imported);
        assert_eq!(self.after.text(&keys::sync_rmap(planner_id)), Some(id));
        assert_eq!(self.after.field(&keys::sync_remote(plan), planner_id), Some(etag));
        assert_eq!(self.after.state(id, "seen_etag"), Some(etag));
        assert_eq!(self.after.state(id, "absent"), None);
        let ttl = self.after.ttl(&keys::planner_task(planner_id)).unwrap();
        assert!((3_540_000..=3_600_000).contains(&ttl), "{ttl}");
        if owner.is_none() && self.before.state(id, "record").is_none() {
            let record: TaskState = serde_json::from_str(self.after.state(id, "record").unwrap()).unwrap();
            assert_eq!(record.planner_id.as_deref(), Some(planner_id));
        } else {
            assert_eq!(self.after.state(id, "record"), self.before.state(id, "record"));
        }
        self.marked(id, 0);
        self.others_are_untouched(&[id]);
    }

    /// A list did not show a task, so many times in a row.
    pub fn absent(&self, planner_id: &str, times: u32) {
        match self.before.text(&keys::sync_rmap(planner_id)) {
            None => self.others_are_untouched(&[]),
            Some(id) => {
                assert_eq!(self.after.state(id, "absent"), Some(times.to_string().as_str()));
                self.marked(id, 0);
                self.others_are_untouched(&[id]);
            }
        }
    }

    /// Details at another ETag are looked at again; those of an empty task are remembered at their first.
    pub fn rechecked(&self, planner_id: &str, etag: &str, empty: bool) {
        let key = keys::planner_etag_details(planner_id);
        let Some(id) = self.before.text(&keys::sync_rmap(planner_id)) else { return self.nothing_changed() };
        match self.before.text(&key) {
            Some(stored) if stored == etag => self.nothing_changed(),
            None if empty => {
                assert_eq!(self.after.text(&key), Some(etag));
                assert_eq!(self.after.hint(id), self.before.hint(id), "nothing to look at");
            }
            _ => {
                assert_eq!(self.after.state(id, "recheck"), Some("1"));
                assert_eq!(self.after.text(&key), self.before.text(&key));
                self.marked(id, 0);
                self.others_are_untouched(&[id]);
            }
        }
    }

    /// One of the engines has the lease; `length` 0 gives it back.
    pub fn leased(&self, holder: &str, held: bool, length: i64) {
        let key = keys::sync_lock("engine");
        let was = self.before.text(&key);
        // Between the two readings another's lease may have run out.
        let last_moment =
            self.before.ttl(&key).is_some_and(|ttl| ttl >= 0 && ttl <= self.to - self.from + SLACK);
        if was.is_some_and(|was| was != holder) && !last_moment {
            assert!(!held || length == 0, "two hold the lease");
            return self.nothing_changed();
        }
        if length == 0 {
            assert_ne!(self.after.text(&key), Some(holder), "it is given back");
            return self.others_are_untouched(&[]);
        }
        if !held && last_moment {
            return;
        }
        assert!(held, "nobody else has it");
        // A short one may have run out by now.
        if let Some(ttl) = self.after.ttl(&key) {
            assert_eq!(self.after.text(&key), Some(holder));
            assert!(ttl <= length && ttl >= length - (self.to - self.from) - SOON, "{ttl} of {length}");
        }
        if was == Some(holder) {
            return self.others_are_untouched(&[]);
        }
        // Who takes over frees what the last holder had claimed.
        for (id, at) in self.before.all_due() {
            if self.before.leased_until(&id) == at && at > self.to + SLACK {
                let is = self.after.due(&id).unwrap();
                assert!(is <= self.to + SLACK, "{id} is still claimed until {is}");
                assert_eq!(self.after.state(&id, "fence"), self.before.state(&id, "fence"));
            } else if self.before.leased_until(&id) != at || at < self.from - SLACK {
                assert_eq!(self.after.due(&id), Some(at), "{id} waits for another reason");
            }
        }
    }

    /// Who holds the engine's lease keeps the pace for the next one; nobody else does.
    pub fn paced(&self, name: &str, per_second: u32) {
        let lock = keys::sync_lock("engine");
        let rate = |keyspace: &Keyspace| keyspace.field(keys::sync_throttle(), "rate").map(str::to_owned);
        let running_out = self.before.ttl(&lock).is_some_and(|ttl| ttl <= self.to - self.from + 100);
        if self.before.text(&lock) == Some(name) && !running_out {
            assert_eq!(rate(self.after), Some(format!("{per_second}.000")));
        } else if !running_out {
            assert_eq!(rate(self.after), rate(self.before));
        }
        self.others_are_untouched(&[]);
    }

    /// Deletions go through as long as they are few; what is too much is held, and so is all that follows.
    pub fn guarded(&self, ids: &[String], replies: &[String]) {
        assert_eq!(replies.len(), ids.len());
        let (window, held) = (keys::sync_guard("up"), keys::sync_guard_held("up"));
        let size = |keyspace: &Keyspace, key: &str| match keyspace.item(key) {
            Some(Item::Sorted(set)) => set.len(),
            _ => 0,
        };
        let member = |keyspace: &Keyspace, key: &str, id: &str| matches!(keyspace.item(key), Some(Item::Sorted(set)) if set.contains_key(id));
        for (id, reply) in ids.iter().zip(replies) {
            let known =
                self.before.state(id, "guard") == Some("released:up") || member(self.before, &window, id);
            match reply.as_str() {
                "1" if known => assert_eq!(self.after.state(id, "guard"), self.before.state(id, "guard")),
                "1" => {
                    assert!(member(self.after, &window, id), "{id} is counted");
                    assert_eq!(size(self.before, &held), 0, "{id} went through while others are held");
                }
                _ => {
                    assert!(!known, "{id} was confirmed");
                    assert!(member(self.after, &held, id), "{id} is held");
                    assert_eq!(self.after.state(id, "guard"), Some("held:up"));
                }
            }
        }
        let index = match self.before.item(keys::sync_index()) {
            Some(Item::Hash(index)) => index.len(),
            _ => 0,
        };
        let most = (index / 2).max(usize::try_from(super::clients::GUARD_LEAST).unwrap());
        let (was, is) = (size(self.before, &window), size(self.after, &window));
        assert!(is <= most.max(was), "{is} deletions in one window, {most} are too many");
        self.others_are_untouched(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// What is held is confirmed, and counting begins anew.
    pub fn released(&self, ids: &[String]) {
        let held: Vec<&String> = match self.before.item(&keys::sync_guard_held("up")) {
            Some(Item::Sorted(set)) => set.keys().collect(),
            _ => Vec::new(),
        };
        let mut named: Vec<&String> = ids.iter().collect();
        named.sort_unstable();
        assert_eq!(named, held);
        for id in ids {
            assert_eq!(self.after.state(id, "guard"), Some("released:up"));
        }
        for key in [keys::sync_guard("up"), keys::sync_guard_held("up")] {
            assert_eq!(self.after.item(&key), None, "{key}");
        }
        self.others_are_untouched(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// A deleted document is back, unless there is one or the tomb is another one.
    pub fn restored(&self, id: &str, read: &str, word: &str) {
        let tomb = keys::sync_tomb(id);
        let expected = match (self.before.item(&keys::task(id)), self.before.text(&tomb)) {
            (Some(_), _) => "there",
            (None, Some(text)) if text == read => "restored",
            _ => "unknown",
        };
        assert_eq!(word, expected);
        if word != "restored" {
            return self.nothing_changed();
        }
        assert_eq!(self.after.item(&tomb), None, "the tomb is empty");
        for field in ["del", "miss", "absent"] {
            assert_eq!(self.after.state(id, field), None, "{field}");
        }
        assert!(self.after.state(id, "record").is_some());
        self.document_stored(id, read);
    }

    /// The longest pause that anybody asked for holds.
    pub fn paused(&self, until: i64) {
        let was = self.before.number(keys::sync_throttle(), "pause_until");
        assert_eq!(self.after.number(keys::sync_throttle(), "pause_until"), was.max(until));
        self.others_are_untouched(&[]);
    }

    /// The agents' own script: compares, stores, tells; `stored` is its answer.
    pub fn updated(&self, id: &str, read: &str, text: &str, entry: &str, stored: bool) {
        let is_as_read = self.before.document(id).unwrap_or_default() == read;
        assert_eq!(stored, is_as_read);
        if !stored {
            return self.nothing_changed();
        }
        assert_eq!(self.after.document(id), Some(text));
        assert_eq!(
            self.before.ttl(&keys::task(id)).unwrap_or(-1) < 0,
            self.after.ttl(&keys::task(id)).unwrap() < 0
        );
        let count = |keyspace: &Keyspace| {
            keyspace.list(keys::sync_pending()).iter().filter(|there| *there == entry).count()
        };
        assert_eq!(count(self.after), count(self.before) + 1);
        assert_ne!(entry, pending_entry(id));
        self.others_are_untouched(&[id]);
    }
}
