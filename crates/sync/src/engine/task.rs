//! A claimed task: what is known of it, and the commits that store its steps.

use std::time::Duration;

use serde_json::Value as Json;

use crate::{
    lens::{Document, Field, Value},
    mutants::{Mutant, removed},
    plan::{self, Action, Problem, Step},
    state::{Leaving, Remote, TaskState, digest},
    world::{
        Announce, Claim, Commit, Direction, Event, FoundUser, Local, Next, Notes, RemoteCopy, Snapshot,
        Unmapped,
    },
};

/// How soon a task that gave way is looked at again.
const SOON: Duration = Duration::from_secs(2);

/// A claimed task on its way.
pub(super) struct Task {
    pub claim: Claim,
    pub snapshot: Snapshot,
    /// Planner's copy as Graph last sent it in this claim, with `details` inside.
    pub raw: Option<Json>,
    pub started: i64,
    pub requests: u32,
    pub op: &'static str,
    pub uploaded: Vec<Field>,
    /// What was stored as Planner's copy when the claim began.
    stored_etags: (Option<String>, Option<String>),
    /// Planner showed the task in this claim.
    pub shown: bool,
    /// What lists lacked so far is no evidence.
    pub recount: bool,
    /// Events that wait for the next commit.
    pub events: Vec<Event>,
    /// What the directory said, for the cache.
    pub found_users: Vec<FoundUser>,
    /// A create was answered in this claim with the task that it made.
    pub posted: bool,
    /// The mapping ends with the next commit, and the task is forgotten.
    pub forget: bool,
    pub unmap: Option<String>,
    /// The guard has let its deletion through.
    pub permitted: bool,
    /// The Planner id and the digest as they were when the claim began.
    loaded: (Option<String>, Option<String>),
    had_create: bool,
    /// The state as it is in the store.
    stored: TaskState,
    /// The parent of which the document was an item then.
    parent: Option<String>,
    /// The plan that the task was in when the claim began.
    plan: Option<String>,
}

fn plan_of(remote: &Remote) -> Option<String> {
    match remote.fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => Some(plan.clone()),
        _ => None,
    }
}

impl Task {
    pub(super) fn new(claim: Claim, mut snapshot: Snapshot, started: i64) -> Self {
        if snapshot.notes.retry {
            let state = &mut snapshot.state;
            (state.failure, state.attempts, state.refused, state.conflicts) = (None, 0, 0, 0);
        }
        if snapshot.state.attempts == 0 {
            snapshot.state.again = None;
        }
        let remote = snapshot.state.remote.as_ref();
        let stored_etags =
            (remote.map(|remote| remote.etag.clone()), remote.and_then(|remote| remote.details_etag.clone()));
        let loaded = (snapshot.state.planner_id.clone(), snapshot.state.seen.clone());
        let had_create = snapshot.state.create.is_some();
        let plan = remote.and_then(plan_of);
        let stored = snapshot.state.clone();
        let parent = snapshot.state.child.as_ref().map(|child| child.parent.clone());
        Self {
            stored,
            posted: false,
            parent,
            plan,
            claim,
            snapshot,
            raw: None,
            started,
            requests: 0,
            op: "update",
            uploaded: Vec::new(),
            stored_etags,
            shown: false,
            recount: false,
            events: Vec::new(),
            found_users: Vec::new(),
            forget: false,
            unmap: None,
            permitted: false,
            loaded,
            had_create,
        }
    }

    pub(super) fn state(&mut self) -> &mut TaskState {
        &mut self.snapshot.state
    }

    pub(super) fn planner_id(&self, state: &TaskState) -> String {
        state.planner_id.clone().unwrap_or_default()
    }

    /// A list showed the task, and no document is known of it yet.
    pub(super) fn is_import(&self) -> bool {
        let state = &self.snapshot.state;
        matches!(self.snapshot.local, Local::Missing)
            && state.planner_id.is_some()
            && state.create.is_none()
            && state.seen.is_none()
            && state.current.is_empty()
    }

    /// The Planner id of a task that may be the work of an open create: it is no import. It is let go, so that lists
    /// show it to the create.
    pub(super) fn held(&self, application: Option<&str>) -> Option<String> {
        let json = self.snapshot.observed.as_ref().filter(|_| self.is_import())?;
        let held = plan::is_held(json, &self.snapshot.open_creates, application);
        self.snapshot.state.planner_id.clone().filter(|_| held)
    }

    /// The step after which nothing is left of the task.
    pub(super) fn last_step(&self) -> Step {
        Step::forgotten(self.snapshot.state.clone(), self.unmap.clone())
    }

    /// Puts the task down as it is, to be taken up after `wait`.
    pub(super) fn pause(&mut self, wait: Duration) -> Commit {
        let state = self.snapshot.state.clone();
        let remote = self.remote_copy(&state);
        let (leaving, left) = self.moved(Some(&state));
        let mut events = std::mem::take(&mut self.events);
        if !self.uploaded.is_empty() {
            events.push(self.synced_up(self.started));
            self.uploaded.clear();
        }
        Commit {
            id: self.claim.id.clone(),
            fence: self.claim.fence,
            hint: self.snapshot.hint,
            had_create: self.had_create,
            state: Some(state),
            write: None,
            document: None,
            remote,
            unmap: None,
            leaving,
            left,
            clear_missed: false,
            clear_absent: self.shown || self.recount,
            settled: Notes { retry: self.snapshot.notes.retry, ..Notes::default() },
            durable: false,
            announce: None,
            expect_absent: false,
            last_copy: None,
            bequeathed: false,
            tomb: None,
            left_parent: None,
            marks: Vec::new(),
            found_users: std::mem::take(&mut self.found_users),
            events,
            next: Next::After(wait),
        }
    }

    /// The step before was stored.
    pub(super) fn was_stored(&mut self, step: &Step) {
        self.stored = step.state.clone();
    }

    /// Puts the task down as it was: its Planner task turned out to be another document's (sync.md: never two
    /// documents for one Planner task).
    pub(super) fn give_way(&mut self, now: i64) -> Commit {
        let stored = self.stored.clone();
        let gone = matches!(self.snapshot.local, Local::Missing);
        let import = gone && stored.seen.is_none() && stored.current.is_empty() && stored.create.is_none();
        let settled = self.posted || (stored.create.is_none() && stored.planner_id.is_some());
        (self.raw, self.posted) = (None, false);
        self.uploaded.clear();
        self.events.clear();
        self.snapshot.state = stored;
        if import {
            let mut commit = self.pause(Duration::ZERO);
            (commit.state, commit.remote, commit.leaving) = (None, None, None);
            commit.next = Next::Done { hint: self.snapshot.hint };
            return commit;
        }
        if !settled {
            // Whose the held task is shows at the next look.
            let mut commit = self.pause(SOON);
            (commit.remote, commit.leaving) = (None, None);
            return commit;
        }
        let state = &mut self.snapshot.state;
        if state.create.take().is_none() {
            state.dead_id = state.planner_id.take();
            state.remote = None;
        }
        let message = "the task in Planner belongs to another document: edit that one, or change this one to make \
                       a new task of it";
        let digest = match &self.snapshot.local {
            Local::Present { bytes, .. } => digest(bytes),
            Local::Missing | Local::Unreadable { .. } => String::new(),
        };
        let problem = Problem {
            code: "mapped_elsewhere".to_owned(),
            message: message.to_owned(),
            digest,
            retry_after_ms: 0,
        };
        let step = plan::fail(state.clone(), problem, now);
        let mut commit = self.commit(&step, now);
        commit.remote = None;
        commit
    }

    /// The commit that goes with a step.
    pub(super) fn commit(&mut self, step: &Step, now: i64) -> Commit {
        let mut state = step.state.clone();
        let mut events = self.events.clone();
        events.extend(step.events.iter().cloned());
        let written = step.write.as_ref().map(|write| write.new.clone());
        let document = match (&written, &self.snapshot.local) {
            (Some(new), _) => new.clone(),
            (None, Local::Present { bytes, .. }) => Document::parse(bytes).ok(),
            (None, _) => None,
        };
        if matches!(step.action, Action::Create { .. }) && removed(Mutant::CreateIntent) {
            state.create = None;
        }
        let finished = matches!(step.action, Action::Finish);
        // What the guard noted holds until the deletion is done, or there is nothing to delete.
        let settles = step.forget || (finished && step.deletion.is_none());
        if finished && state.failure.is_none() {
            state.seen = match &written {
                Some(new) => new.as_ref().map(|document| digest(&document.bytes())),
                None => match &self.snapshot.local {
                    Local::Present { bytes, .. } => Some(digest(bytes)),
                    // The sweep has to miss it, also where no document was ever worked off, or none since its time
                    // ran out.
                    Local::Missing if state.planner_id.is_some() && !state.expires => {
                        let seen = state.seen.filter(|seen| seen != plan::ABSENT && removed(Mutant::SawNone));
                        Some(seen.unwrap_or_else(|| digest(b"")))
                    }
                    Local::Missing | Local::Unreadable { .. } => state.seen,
                },
            };
        }
        if step.write.is_some() && !step.downloaded.is_empty() {
            let op = if self.snapshot.state.current.is_empty() { "import" } else { "update" };
            let fields = step.downloaded.iter().map(|field| field.name()).collect();
            events.push(Event::Synced {
                direction: Direction::Down,
                op,
                fields,
                requests: self.requests,
                ms: now - self.started,
            });
        }
        let rests = matches!(step.action, Action::Finish | Action::Wait(_));
        if rests && (!self.uploaded.is_empty() || matches!(self.op, "create" | "move")) && !step.forget {
            events.push(self.synced_up(now));
        }
        let next = match step.action {
            Action::Finish => Next::Done { hint: self.snapshot.hint },
            Action::Wait(wait) => Next::After(wait),
            _ => Next::Hold,
        };
        let remote = if step.forget { None } else { self.remote_copy(&state) };
        let (leaving, left) = self.moved((!step.forget).then_some(&state));
        let announce = step.write.as_ref().and_then(|write| match (&write.expected, &write.new) {
            (_, None) => Some(Announce::Deleted),
            (None, Some(_)) => Some(Announce::Created),
            (Some(_), Some(_)) => (!step.downloaded.is_empty()).then_some(Announce::Updated),
        });
        let unmap = step.unmap.clone().map(|planner_id| Unmapped {
            planner_id,
            plan: self.snapshot.state.remote.as_ref().and_then(plan_of).or_else(|| self.listed_in()),
        });
        Commit {
            id: self.claim.id.clone(),
            fence: self.claim.fence,
            hint: self.snapshot.hint,
            had_create: self.had_create,
            durable: matches!(step.action, Action::Create { .. }) && !removed(Mutant::DurableIntent),
            state: (!step.forget).then_some(state),
            write: step.write.clone(),
            document,
            remote,
            unmap,
            leaving,
            left,
            announce,
            // A document that came back meanwhile must not lose its Planner task.
            expect_absent: matches!(step.action, Action::Delete { .. }) && !removed(Mutant::ExpectAbsent),
            tomb: self.forget.then(|| self.last_copy()).flatten(),
            last_copy: step
                .forget
                .then(|| self.raw.clone().or_else(|| self.snapshot.observed.clone()))
                .flatten(),
            bequeathed: step.bequeathed,
            clear_missed: step.clear_missed,
            clear_absent: step.clear_absent || self.shown || self.recount,
            left_parent: self.parent.clone().filter(|_| step.forget || step.left_parent),
            // Those whose parent is gone or back are told too.
            marks: match step.tells_children || step.brings_document() || (step.forget && !step.bequeathed) {
                true => self.snapshot.children.clone(),
                false => Vec::new(),
            },
            found_users: self.found_users.clone(),
            settled: Notes {
                retry: self.snapshot.notes.retry,
                guard: self.snapshot.notes.guard.filter(|_| settles),
                heir: self.snapshot.notes.heir.clone(),
            },
            events,
            next,
        }
    }

    /// The plan whose list showed the task.
    pub(super) fn listed_in(&self) -> Option<String> {
        self.snapshot.observed.as_ref()?.get("planId")?.as_str().map(str::to_owned)
    }

    /// Values went up.
    fn synced_up(&self, now: i64) -> Event {
        Event::Synced {
            direction: Direction::Up,
            op: self.op,
            fields: self.uploaded.iter().map(|field| field.name()).collect(),
            requests: self.requests,
            ms: now - self.started,
        }
    }

    /// The task that was deleted in Planner as a document, from which it can be brought back.
    fn last_copy(&self) -> Option<Document> {
        let raw = self.raw.as_ref().or(self.snapshot.observed.as_ref())?;
        Some(crate::lens::import(
            &self.claim.id,
            raw,
            raw.get("details").filter(|details| details.is_object()),
        ))
    }

    /// After a commit that is followed by a request: the task as stored.
    pub(super) fn adopt_step(&mut self, step: &Step) {
        self.events.clear();
        self.found_users.clear();
        self.had_create |= step.state.create.is_some();
        self.snapshot.state = step.state.clone();
        if let Some(write) = &step.write {
            self.snapshot.local = match &write.new {
                Some(document) => Local::Present { bytes: document.bytes(), expires: step.state.expires },
                None => Local::Missing,
            };
        }
        if step.clear_missed {
            self.snapshot.missed_sweeps = 0;
            self.snapshot.delete_event = false;
        }
        if step.clear_absent {
            self.snapshot.absent_lists = 0;
        }
    }

    /// The task that begins to be left in this commit, and the one whose leaving ends in it.
    fn moved(&self, state: Option<&TaskState>) -> (Option<String>, Option<Unmapped>) {
        let (before, now) = (self.stored.leaving.as_ref(), state.and_then(|state| state.leaving.as_ref()));
        let id = |leaving: Option<&Leaving>| leaving.map(|leaving| leaving.planner_id.clone());
        if id(before) == id(now) {
            return (None, None);
        }
        let back = state.and_then(|state| state.planner_id.as_ref());
        // A move that came to nothing: the old task is the task again.
        let before = before.filter(|old| Some(&old.planner_id) != back);
        let left = before.map(|old| Unmapped { planner_id: old.planner_id.clone(), plan: old.plan.clone() });
        (id(now), left)
    }

    /// Planner's copy for the caches, where it is not what was stored.
    fn remote_copy(&self, state: &TaskState) -> Option<RemoteCopy> {
        let remote = state.remote.as_ref()?;
        let planner_id = state.planner_id.clone()?;
        let unread = self.raw.is_none() && self.snapshot.observed_etag.is_none();
        if state.base.is_empty() && (self.loaded.0.is_none() || unread) {
            // The id came from a document, and is not proven to be ours yet.
            return None;
        }
        let now = (Some(remote.etag.clone()), remote.details_etag.clone());
        if now == self.stored_etags && self.raw.is_none() {
            return None;
        }
        let plan = plan_of(remote);
        let newly_mapped = self.loaded.1.is_none() || self.loaded.0 != state.planner_id;
        let left = self.plan.clone().filter(|old| Some(old) != plan.as_ref());
        Some(RemoteCopy {
            newly_mapped,
            left,
            planner_id,
            plan,
            etag: remote.etag.clone(),
            details_etag: remote.details_etag.clone(),
            // Where a move came to nothing, it may be the other task's.
            json: self.raw.clone().filter(|raw| plan::is_of(raw, state.planner_id.as_deref())),
        })
    }
}
