//! What Redis holds, and the production scripts' semantics: fence, compare-and-set, marks, due-set, index, maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use annika_sync::{
    blocks::Blocks,
    lens::{Document, named_parent},
    mutants::{Mutant, removed},
    plan::ABSENT,
    state::{TaskState, digest},
    world::{
        Bequest, CLAIMS_LOST, Claim, Claimed, Commit, CommitResult, DEBOUNCE, Direction, Event, GuardNote,
        GuardQuestion, Inheritance, KnownPlan, Local, Next, Notes, OpenCreate, Pace, Parent, PlanSchedule,
        Quota, Reclaimed, SUSPECTED, SeenDetails, Snapshot, SweepPage,
    },
};
use serde_json::Value as Json;

const GONE_MS: i64 = 300_000;
const CACHE_MS: i64 = 3_600_000;
const GUARD_MS: i64 = 24 * 3_600_000;

#[derive(Clone, Debug)]
pub struct Stored {
    pub bytes: Vec<u8>,
    pub expires_at: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Task {
    pub record: Option<String>,
    pub hint: u64,
    pub deleted: bool,
    pub missed: u32,
    pub absent: u32,
    pub recheck: bool,
    pub notes: Notes,
    pub seen_etag: Option<String>,
    pub fence: Option<u64>,
    pub lease_until: i64,
    /// Claims in a row that ran out.
    pub claims_lost: u32,
    /// Code in the failed list.
    pub failed: Option<String>,
}

/// What a plan's lists said about tasks that open creates may have made.
#[derive(Clone, Debug, Default)]
pub struct Held {
    begun: i64,
    tasks: BTreeMap<String, Json>,
    clean: Option<i64>,
    since: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Store {
    pub documents: BTreeMap<String, Stored>,
    pub tasks: BTreeMap<String, Task>,
    pub due: BTreeMap<String, i64>,
    /// Those of them that nobody waits for.
    low: BTreeSet<String>,
    /// Number and claims of each process's last call.
    claimed: BTreeMap<u64, (u64, Claimed)>,
    pub index: BTreeMap<String, String>,
    pub owners: BTreeMap<String, String>,
    cache: BTreeMap<String, (Json, i64)>,
    pub plans: BTreeMap<String, KnownPlan>,
    pub schedules: BTreeMap<String, PlanSchedule>,
    /// What stands against plans.
    pub blocks: BTreeMap<String, Blocks>,
    gone: BTreeMap<String, i64>,
    /// The deleted task that a dead Planner task was.
    dead: BTreeMap<String, String>,
    tombs: BTreeMap<String, Vec<u8>>,
    pub creates: BTreeMap<String, OpenCreate>,
    pub held: BTreeMap<String, Held>,
    details_etags: BTreeMap<String, String>,
    /// Documents that are items of a task, by that task.
    children: BTreeMap<String, BTreeSet<String>>,
    /// What the directory said, by folded name.
    users: BTreeMap<String, Option<String>>,
    pub epoch: Option<String>,
    /// By side: the deletions that went through, with their times, and those that are held.
    pub guards: [(BTreeMap<String, i64>, BTreeSet<String>); 2],
    lease: Option<(u64, i64)>,
    pub pause_until: i64,
    pub pace: Option<Pace>,
    /// What others pushed for us to look at.
    pub pending: Vec<String>,
    /// Somebody asked for a poll.
    pub poll_wanted: bool,
    fence: u64,
    /// Which life of which process has a fence.
    fences: BTreeMap<u64, u64>,
    /// The newest fence of each task.
    newest: BTreeMap<String, u64>,
    pub events: Vec<(String, Event)>,
    pub document_writes: u64,
}

impl Store {
    /// The document, unless its time is up.
    pub fn document(&self, id: &str, now: i64) -> Option<&Stored> {
        self.documents.get(id).filter(|stored| stored.expires_at.is_none_or(|at| at > now))
    }

    pub fn state(&self, id: &str) -> TaskState {
        let record = self.tasks.get(id).and_then(|task| task.record.as_deref());
        record.map_or_else(TaskState::default, |record| serde_json::from_str(record).expect("a state"))
    }

    /// The claims of a rebuild: by stamp, else by the id.
    pub fn reclaim(&mut self, now: i64) -> Reclaimed {
        let mut reclaimed = Reclaimed::default();
        let ids: Vec<String> = self.documents.keys().cloned().collect();
        for id in ids {
            let Some(stored) = self.document(&id, now) else { continue };
            reclaimed.documents += 1;
            let stamp = Document::parse(&stored.bytes).ok().and_then(|document| document.sync_stamp());
            let stamped = stamp.map(|stamp| stamp.planner_id).filter(|id| !id.is_empty());
            let named = || id.strip_prefix("planner-").map(str::to_owned);
            let Some(planner_id) = stamped.or_else(named) else { continue };
            let owner = self.owners.entry(planner_id.clone()).or_insert_with(|| id.clone());
            if *owner != id {
                continue;
            }
            reclaimed.claimed += 1;
            let state = TaskState { planner_id: Some(planner_id), ..TaskState::default() };
            let record = serde_json::to_string(&state).expect("serialises");
            self.tasks.entry(id).or_default().record.get_or_insert(record);
        }
        reclaimed
    }

    /// The guard script.
    pub fn permit(&mut self, question: &GuardQuestion, now: i64) -> Vec<bool> {
        let GuardQuestion { direction, ids, limits, missing, of } = question;
        let known = self.index.len();
        let (window, held) = &mut self.guards[usize::from(*direction == Direction::Down)];
        window.retain(|_, at| now - *at < GUARD_MS);
        let released = |task: Option<&Task>| {
            task.is_some_and(|task| task.notes.guard == Some(GuardNote::Released(*direction)))
        };
        let fresh: Vec<&String> =
            ids.iter().filter(|id| !released(self.tasks.get(*id)) && !window.contains_key(*id)).collect();
        if fresh.is_empty() {
            return vec![true; ids.len()];
        }
        let share = known * usize::try_from(limits.percent).expect("small") / 100;
        let most = share.max(usize::try_from(limits.min).expect("small"));
        let empty = *of > 1 && missing >= of && limits.percent < 100;
        let stop = empty || !held.is_empty() || window.len() + fresh.len().max(*missing) > most;
        for id in &fresh {
            if stop {
                held.insert((*id).clone());
                self.tasks.entry((*id).clone()).or_default().notes.guard = Some(GuardNote::Held(*direction));
            } else {
                window.insert((*id).clone(), now);
            }
        }
        ids.iter().map(|id| !stop || !fresh.contains(&id)).collect()
    }

    /// The release script, for both sides: a person confirms what is held. Says how many deletions that were.
    pub fn release(&mut self, now: i64) -> usize {
        let mut released = Vec::new();
        for (direction, guard) in [Direction::Up, Direction::Down].into_iter().zip(&mut self.guards) {
            guard.0.clear();
            for id in std::mem::take(&mut guard.1) {
                self.tasks.entry(id.clone()).or_default().notes.guard = Some(GuardNote::Released(direction));
                released.push(id);
            }
        }
        released.iter().for_each(|id| self.mark(id, 0, now));
        released.len()
    }

    pub fn hold_lease(&mut self, holder: u64, length: i64, now: i64) -> bool {
        if self.lease.is_some_and(|(other, until)| other != holder && until > now) {
            return false;
        }
        if self.lease.is_none_or(|(other, until)| other != holder || until <= now) && length > 0 {
            self.free(now);
        }
        self.lease = (length > 0).then_some((holder, now + length));
        true
    }

    /// The process that has the engine's lease.
    pub fn holder(&self) -> Option<usize> {
        self.lease.and_then(|(holder, _)| usize::try_from(holder >> 32).ok())
    }

    pub fn mark(&mut self, id: &str, delay: i64, now: i64) {
        self.low.remove(id);
        self.put_mark(id, delay, now);
    }

    /// A mark that nobody waits for.
    fn mark_low(&mut self, id: &str, delay: i64, now: i64) {
        if !self.due.contains_key(id) {
            self.low.insert(id.to_owned());
        }
        self.put_mark(id, delay, now);
    }

    fn put_mark(&mut self, id: &str, delay: i64, now: i64) {
        let task = self.tasks.entry(id.to_owned()).or_default();
        task.hint += 1;
        if task.lease_until > now {
            return;
        }
        let at = now + delay;
        let due = self.due.entry(id.to_owned()).or_insert(at);
        *due = at.min(*due);
    }

    pub fn mark_deleted(&mut self, id: &str, delay: i64, now: i64) {
        self.tasks.entry(id.to_owned()).or_default().deleted = true;
        self.mark(id, delay, now);
    }

    /// Whether no agent said that it deleted it.
    pub fn mark_missing(&mut self, id: &str, now: i64) -> bool {
        let task = self.tasks.entry(id.to_owned()).or_default();
        task.missed += 1;
        let unstated = !task.deleted;
        self.mark(id, 0, now);
        unstated
    }

    pub fn keep_pace(&mut self, holder: u64, pace: Pace, now: i64) {
        if self.lease.is_some_and(|(other, until)| other == holder && until > now) {
            self.pace = Some(pace);
        }
    }

    /// The free script: what the last holder had claimed is due at once.
    fn free(&mut self, now: i64) {
        for (id, at) in &mut self.due {
            if let Some(task) = self.tasks.get_mut(id).filter(|task| task.lease_until == *at && *at > now) {
                (task.lease_until, *at) = (now, now);
            }
        }
    }

    /// The claim script; `number` is the caller's own and rises.
    pub fn claim(&mut self, holder: u64, number: u64, quota: Quota, lease: i64, now: i64) -> Claimed {
        match self.claimed.get(&holder) {
            Some((last, _)) if *last > number => return Claimed::default(),
            Some((last, claimed)) if *last == number => return claimed.clone(),
            _ => {}
        }
        let mut claimed = Claimed::default();
        for (low, most) in [(false, quota.urgent), (true, quota.low)] {
            self.take_due(low, most, holder, lease, now, &mut claimed);
        }
        let asked = |id: &String| if self.low.contains(id) { quota.low > 0 } else { quota.urgent > 0 };
        let next = self.due.iter().filter(|(id, _)| asked(id)).map(|(_, at)| (at - now).max(0)).min();
        claimed.next_in = next.map(|ms| Duration::from_millis(u64::try_from(ms).expect("positive")));
        self.claimed.insert(holder, (number, claimed.clone()));
        claimed
    }

    fn take_due(&mut self, low: bool, most: usize, holder: u64, lease: i64, now: i64, claimed: &mut Claimed) {
        let of_lane = |(id, at): &(&String, &i64)| **at <= now && self.low.contains(*id) == low;
        let mut due: Vec<(i64, String)> =
            self.due.iter().filter(of_lane).map(|(id, at)| (*at, id.clone())).collect();
        due.sort();
        let mut taken = 0;
        for (_, id) in due.into_iter().take(most) {
            let task = self.tasks.entry(id.clone()).or_default();
            let ran_out = task.lease_until > 0 && task.lease_until <= now;
            let lost = task.claims_lost + u32::from(ran_out);
            if lost >= SUSPECTED && taken > 0 {
                break;
            }
            if ran_out {
                (task.claims_lost, task.lease_until) = (lost, 0);
            }
            if ran_out && lost >= CLAIMS_LOST {
                let wait = (60_000 << (lost - CLAIMS_LOST).min(6)).min(3_600_000);
                self.due.insert(id.clone(), now + wait);
                claimed.put_off.push(id);
                continue;
            }
            let clock = u64::try_from(now).expect("after 1970") * 1_000;
            self.fence = self.fence.max(clock) + 1;
            self.fences.insert(self.fence, holder);
            self.newest.insert(id.clone(), self.fence);
            task.fence = Some(self.fence);
            task.lease_until = now + lease;
            self.due.insert(id.clone(), now + lease);
            claimed.claims.push(Claim { id, fence: self.fence, low });
            taken += 1;
            if lost >= SUSPECTED {
                break;
            }
        }
    }

    /// The first round trip of a load.
    pub fn snapshot(&self, id: &str, now: i64) -> Snapshot {
        let local = match self.document(id, now) {
            None => Local::Missing,
            Some(stored) => {
                Local::Present { bytes: stored.bytes.clone(), expires: stored.expires_at.is_some() }
            }
        };
        let task = self.tasks.get(id).cloned().unwrap_or_default();
        Snapshot {
            id: id.to_owned(),
            local,
            state: self.state(id),
            observed: None,
            observed_etag: task.seen_etag,
            waited_ms: None,
            hint: task.hint,
            delete_event: task.deleted,
            missed_sweeps: task.missed,
            absent_lists: task.absent,
            recheck_details: task.recheck,
            notes: task.notes,
            inheritance: Inheritance::None,
            tomb: None,
            stamp_owner: None,
            orphans: Vec::new(),
            clean_since: BTreeMap::new(),
            open_creates: Vec::new(),
            users: self.users.clone(),
            users_unanswered: false,
            children: self.children.get(id).into_iter().flatten().cloned().collect(),
            parent: None,
        }
    }

    /// The second round trip of a load.
    pub fn complete(&self, snapshot: &mut Snapshot, now: i64) {
        snapshot.parent = self.parent_of(snapshot, now);
        if let Some(planner_id) = &snapshot.state.planner_id {
            let known = snapshot.state.remote.as_ref().map(|remote| remote.etag.as_str());
            let gone = matches!(snapshot.local, Local::Missing) || snapshot.state.gone.is_some();
            if gone && snapshot.state.base.is_empty() && snapshot.state.current.is_empty() {
                snapshot.tomb = self.tombs.get(&snapshot.id).cloned();
            }
            if snapshot.observed_etag.as_deref().is_some_and(|seen| Some(seen) != known) || gone {
                let cached = self.cache.get(planner_id).filter(|(_, until)| *until > now);
                snapshot.observed = cached.map(|(json, _)| json.clone());
            }
        } else if snapshot.state.create.is_none()
            && let Local::Present { bytes, .. } = &snapshot.local
        {
            let stamp = Document::parse(bytes).ok().and_then(|document| document.sync_stamp());
            let stamp = stamp.filter(|stamp| !stamp.planner_id.is_empty());
            let rev = stamp.as_ref().map(|stamp| stamp.rev.clone());
            let stamped = stamp.map(|stamp| stamp.planner_id);
            let claimed = stamped.or_else(|| snapshot.id.strip_prefix("planner-").map(str::to_owned));
            let owner = claimed.as_ref().and_then(|planner_id| self.owners.get(planner_id).cloned());
            snapshot.stamp_owner = owner.filter(|owner| *owner != snapshot.id);
            if let (Some(owner), Some(rev), Some(planner_id)) = (&snapshot.stamp_owner, rev, claimed)
                && owner.strip_prefix("planner-") == Some(planner_id.as_str())
                && self.tasks.get(owner).is_some_and(|task| task.record.is_some())
            {
                let digest = self.document(owner, now).map(|stored| digest(&stored.bytes));
                snapshot.inheritance = self.state(owner).inheritance(&rev, digest.as_deref());
            }
        }
        if snapshot.state.create.is_some() {
            snapshot.orphans = self.held.values().flat_map(|held| held.tasks.values().cloned()).collect();
            let since = |(plan, held): (&String, &Held)| Some((plan.clone(), held.since?));
            snapshot.clean_since = self.held.iter().filter_map(since).collect();
            snapshot.open_creates = self.creates.values().cloned().collect();
        }
    }

    /// The hold script.
    pub fn hold(&mut self, plan: &str, begun: i64, mut tasks: BTreeMap<String, Json>, now: i64) {
        if !removed(Mutant::GoneList) {
            tasks.retain(|id, _| self.gone.get(id).is_none_or(|until| *until <= now));
        }
        let held = self.held.entry(plan.to_owned()).or_default();
        if held.begun >= begun {
            return;
        }
        (held.since, held.clean) = match tasks.is_empty() {
            true => (held.clean, Some(begun)),
            false => (None, None),
        };
        (held.begun, held.tasks) = (begun, tasks);
    }

    /// The commit script.
    pub fn commit(&mut self, commit: &Commit, holder: u64, now: i64) -> Result<CommitResult, String> {
        let id = commit.id.as_str();
        let task = self.tasks.entry(id.to_owned()).or_default();
        if task.fence != Some(commit.fence) && !removed(Mutant::Fence) {
            return Ok(CommitResult::LeaseLost);
        }
        if self.fences.get(&commit.fence) != Some(&holder) {
            return Err(format!("{id}: the fence {} is another process's", commit.fence));
        }
        if self.newest.get(id).is_some_and(|newest| *newest > commit.fence) {
            return Err(format!("{id}: written under fence {} after a later claim", commit.fence));
        }
        let maps = commit.remote.as_ref().filter(|remote| remote.newly_mapped);
        let owner = maps.and_then(|remote| self.owners.get(&remote.planner_id));
        // `~`: it was this task's before a move that came to nothing.
        let elsewhere = owner.is_some_and(|owner| owner != id && owner.strip_prefix('~') != Some(id));
        if elsewhere && !removed(Mutant::MappedElsewhere) {
            return Ok(CommitResult::MappedElsewhere);
        }
        let is_there =
            self.documents.get(id).is_some_and(|stored| stored.expires_at.is_none_or(|at| at > now));
        if commit.expect_absent && commit.write.is_none() && is_there {
            return Ok(CommitResult::LocalChanged);
        }
        for found in &commit.found_users {
            let id = found.user.as_ref().and_then(|user| user["id"].as_str()).map(str::to_owned);
            self.users.insert(found.name.clone(), id);
        }
        if let Some(write) = &commit.write {
            let there = self
                .documents
                .get(id)
                .filter(|stored| stored.expires_at.is_none_or(|at| at > now))
                .map(|stored| &stored.bytes);
            if there != write.expected.as_ref() && !removed(Mutant::CompareAndSet) {
                return Ok(CommitResult::LocalChanged);
            }
            self.document_writes += 1;
            match &write.new {
                None => {
                    self.documents.remove(id);
                }
                Some(new) => {
                    let old = self.documents.get(id).filter(|_| write.expected.is_some());
                    let expires_at = old.and_then(|stored| stored.expires_at);
                    self.documents.insert(id.to_owned(), Stored { bytes: new.bytes(), expires_at });
                }
            }
        }
        if let Some(state) = &commit.state {
            task.record = Some(serde_json::to_string(state).expect("serialises"));
        }
        if commit.clear_missed {
            (task.missed, task.deleted) = (0, false);
        }
        if commit.clear_absent {
            task.absent = 0;
        }
        if commit.settled.retry {
            task.notes.retry = false;
        }
        if commit.settled.heir.is_some() {
            task.notes.heir = None;
        }
        if let Some(note) = commit.settled.guard {
            task.notes.guard = None;
            self.guards[usize::from(note.direction() == Direction::Down)].1.remove(id);
        }
        task.failed = commit.state.as_ref().and_then(failed);
        self.put_create(commit);
        self.put_child(commit);
        commit.marks.iter().for_each(|other| self.mark(other, 0, now));
        self.put_maps(commit, now);
        self.events.extend(commit.events.iter().map(|event| (id.to_owned(), event.clone())));
        let held = matches!(commit.next, Next::Hold);
        if !held && let Some(seen) = commit.state.as_ref().and_then(|state| state.seen.clone()) {
            self.index.insert(id.to_owned(), seen);
        }
        if held {
            return Ok(CommitResult::Stored);
        }
        let task = self.tasks.entry(id.to_owned()).or_default();
        let marked = task.hint != commit.hint && !removed(Mutant::HintCompare);
        (task.fence, task.lease_until, task.claims_lost) = (None, 0, 0);
        if commit.state.is_none() {
            self.index.remove(id);
            task.record = None;
        }
        match commit.next {
            Next::After(_) | Next::Done { .. } if marked => {
                let wait = match commit.next {
                    Next::After(delay) => delay.min(DEBOUNCE),
                    _ => DEBOUNCE,
                };
                self.due.insert(id.to_owned(), now + i64::try_from(wait.as_millis()).expect("short"));
                Ok(CommitResult::StoredDueAgain)
            }
            Next::After(delay) => {
                let delay = i64::try_from(delay.as_millis()).expect("short");
                self.due.insert(id.to_owned(), now + delay);
                Ok(CommitResult::Stored)
            }
            _ => {
                self.due.remove(id);
                self.low.remove(id);
                task.recheck = false;
                if commit.state.is_none() {
                    self.tasks.remove(id);
                }
                Ok(CommitResult::Stored)
            }
        }
    }

    fn put_child(&mut self, commit: &Commit) {
        if let Some(left) = &commit.left_parent
            && let Some(children) = self.children.get_mut(left)
        {
            children.remove(&commit.id);
        }
        if let Some(child) = commit.state.as_ref().and_then(|state| state.child.as_ref()) {
            self.children.entry(child.parent.clone()).or_default().insert(commit.id.clone());
        }
    }

    /// The task of which a document is, or wants to be, an item.
    fn parent_of(&self, snapshot: &Snapshot, now: i64) -> Option<Parent> {
        let named = || match &snapshot.local {
            Local::Present { bytes, .. } => named_parent(&Document::parse(bytes).ok()?, &snapshot.id),
            _ => None,
        };
        let id = snapshot.state.child.as_ref().map(|child| child.parent.clone()).or_else(named)?;
        let parent = self.snapshot(&id, now);
        Some(Parent { id, local: parent.local, state: parent.state })
    }

    /// Writes a document as an agent would.
    pub fn replace(&mut self, id: &str, expected: &[u8], document: &Document, now: i64) -> bool {
        if self.document(id, now).is_none_or(|stored| stored.bytes != expected) {
            return false;
        }
        if let Some(stored) = self.documents.get_mut(id) {
            stored.bytes = document.bytes();
        }
        self.document_writes += 1;
        self.mark(id, 0, now);
        true
    }

    fn put_create(&mut self, commit: &Commit) {
        let create = commit.state.as_ref().and_then(|state| state.create.as_ref());
        if let Some(create) = create {
            let open = OpenCreate { id: commit.id.clone(), attempts: create.attempts() };
            self.creates.insert(commit.id.clone(), open);
        } else if commit.had_create {
            self.creates.remove(&commit.id);
        }
    }

    fn put_maps(&mut self, commit: &Commit, now: i64) {
        let last = commit.write.as_ref().filter(|write| write.new.is_none());
        if let Some(last) = last.and_then(|write| write.expected.clone())
            && !commit.bequeathed
        {
            self.tombs.insert(commit.id.clone(), last);
        }
        if let Some(tomb) = &commit.tomb {
            self.tombs.entry(commit.id.clone()).or_insert_with(|| tomb.bytes());
        }
        let own = |planner_id: &String| self.owners.get(planner_id).is_none_or(|owner| *owner == commit.id);
        if let Some(unmapped) = commit.unmap.as_ref().filter(|unmapped| own(&unmapped.planner_id)) {
            let planner_id = &unmapped.planner_id;
            self.owners.remove(planner_id);
            self.cache.remove(planner_id);
            self.details_etags.remove(planner_id);
            self.gone.insert(planner_id.clone(), now + GONE_MS);
            if commit.state.is_none() && !commit.bequeathed {
                self.dead.insert(planner_id.clone(), commit.id.clone());
            }
            if let Some(task) = self.tasks.get_mut(&commit.id) {
                (task.seen_etag, task.absent) = (None, 0);
            }
            if let Some(plan) = &unmapped.plan {
                self.plans.entry(plan.clone()).or_default().etags.remove(planner_id);
            }
        }
        if let Some(left) = &commit.leaving {
            self.owners.insert(left.clone(), format!("~{}", commit.id));
            let task = self.tasks.entry(commit.id.clone()).or_default();
            (task.seen_etag, task.absent) = (None, 0);
        }
        if let Some(left) = &commit.left {
            self.owners.remove(&left.planner_id);
            self.gone.insert(left.planner_id.clone(), now + GONE_MS);
            if let Some(plan) = &left.plan {
                self.plans.entry(plan.clone()).or_default().etags.remove(&left.planner_id);
            }
        }
        let Some(remote) = &commit.remote else { return };
        let planner_id = &remote.planner_id;
        if remote.newly_mapped {
            self.dead.remove(planner_id);
            self.tombs.remove(&commit.id);
            self.owners.insert(planner_id.clone(), commit.id.clone());
            if let Some(plan) = &remote.plan
                && let Some(held) = self.held.get_mut(plan)
            {
                held.tasks.remove(planner_id);
            }
        }
        if let Some(etag) = &remote.details_etag {
            self.details_etags.insert(planner_id.clone(), etag.clone());
        }
        if let Some(plan) = &remote.plan {
            self.plans.entry(plan.clone()).or_default().etags.insert(planner_id.clone(), remote.etag.clone());
        }
        if let Some(left) = &remote.left {
            self.plans.entry(left.clone()).or_default().etags.remove(planner_id);
        }
        if let Some(json) = &remote.json {
            self.cache.insert(planner_id.clone(), (json.clone(), now + CACHE_MS));
        }
    }

    /// The observe script; `owner` is what the map said a moment ago.
    pub fn observe(&mut self, plan: &str, json: &Json, owner: Option<&String>, now: i64) {
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let (planner_id, etag) = (text("id"), text("@odata.etag"));
        if self.owners.get(&planner_id) != owner || owner.is_some_and(|owner| owner.starts_with('~')) {
            return;
        }
        let free = |id: &&String| {
            self.document(id, now).is_none() && self.tasks.get(*id).is_none_or(|task| task.record.is_none())
        };
        let former = self.dead.get(&planner_id).filter(free);
        let id = owner.or(former).cloned().unwrap_or_else(|| format!("planner-{planner_id}"));
        if owner.is_none() {
            if self.gone.get(&planner_id).is_some_and(|until| *until > now) && !removed(Mutant::GoneList) {
                return;
            }
            self.owners.insert(planner_id.clone(), id.clone());
            let state = TaskState { planner_id: Some(planner_id.clone()), ..TaskState::default() };
            let record = serde_json::to_string(&state).expect("serialises");
            self.tasks.entry(id.clone()).or_default().record.get_or_insert(record);
        }
        self.cache.insert(planner_id.clone(), (json.clone(), now + CACHE_MS));
        self.plans.entry(plan.to_owned()).or_default().etags.insert(planner_id, etag.clone());
        let task = self.tasks.entry(id.clone()).or_default();
        task.seen_etag = Some(etag);
        task.absent = 0;
        // A change of a known task goes ahead of all imports.
        self.mark_low(&id, if owner.is_some() { -86_400_000 } else { 0 }, now);
    }

    /// The note script: another document had this one's Planner task before.
    pub fn note_heir(&mut self, bequest: &Bequest, now: i64) {
        let Bequest { planner_id, owner, heir } = bequest;
        if self.owners.get(planner_id) == Some(owner) {
            self.tasks.entry(owner.clone()).or_default().notes.heir = Some(heir.clone());
            self.mark(owner, 0, now);
        }
    }

    /// The note script: how often lists lacked it.
    pub fn note_absent(&mut self, planner_id: &str, owner: &str, times: u32, now: i64) {
        if self.owners.get(planner_id).is_some_and(|now| now == owner && !owner.starts_with('~')) {
            self.tasks.entry(owner.to_owned()).or_default().absent = times;
            self.mark(owner, 0, now);
        }
    }

    /// The note script: the details have another ETag.
    pub fn note_recheck(&mut self, seen: &SeenDetails, now: i64) {
        let Some(owner) = self.owners.get(&seen.planner_id).filter(|owner| !owner.starts_with('~')).cloned()
        else {
            return;
        };
        match self.details_etags.get(&seen.planner_id) {
            Some(known) if *known == seen.etag => {}
            None if seen.empty => {
                self.details_etags.insert(seen.planner_id.clone(), seen.etag.clone());
            }
            _ => {
                self.tasks.entry(owner.clone()).or_default().recheck = true;
                self.mark_low(&owner, 0, now);
            }
        }
    }

    pub fn sweep(&self, now: i64) -> SweepPage {
        let mut page = SweepPage::default();
        for (id, known) in &self.index {
            page.read += 1;
            match self.document(id, now) {
                Some(stored) if digest(&stored.bytes) == *known => {}
                Some(_) => page.changed.push(id.clone()),
                None if known == ABSENT => {}
                None => page.missing.push(id.clone()),
            }
        }
        page
    }

    pub fn unknown(&self, now: i64) -> Vec<String> {
        let keys: BTreeSet<&String> =
            self.documents.keys().filter(|id| self.document(id, now).is_some()).collect();
        keys.into_iter().filter(|id| !self.index.contains_key(*id)).cloned().collect()
    }
}

/// What was told, in a word.
pub fn word(event: &Event) -> &'static str {
    match event {
        Event::Synced { direction: Direction::Up, op: "create", .. } => "told: created",
        Event::Synced { direction: Direction::Up, .. } => "told: uploaded",
        Event::Synced { direction: Direction::Down, .. } => "told: downloaded",
        Event::Conflict { .. } => "told: conflict",
        Event::Deleted { direction: Direction::Up } => "told: deleted in Planner",
        Event::Deleted { direction: Direction::Down } => "told: deleted in Redis",
        Event::LeftOut { .. } => "told: left out",
        Event::Restored => "told: restored",
        Event::Failed { code, .. } if code == "create_unresolved" => "told: create unresolved",
        Event::Failed { .. } => "told: failed",
    }
}

fn failed(state: &TaskState) -> Option<String> {
    if state.create.as_ref().is_some_and(|create| create.unresolved) {
        return Some("create_unresolved".to_owned());
    }
    state.failure.as_ref().map(|failure| failure.code.clone())
}
