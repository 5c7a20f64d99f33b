//! One task on a bench: `plan` in a loop over a perfect Planner, every reply of a write lost.
//!
//! After a PATCH the bench reads Planner's side again, as the engine does when an answer did not come, and a
//! create is explained by the list. So it needs nothing of the engine, and the own-echo rules are always in use.

use std::{collections::BTreeMap, time::Duration};

use annika_sync::{
    lens::{self, Document, Field, Fields, Names, project_with},
    plan::{Action, Context, Step, observe, plan},
    state::{Gone, Remote, TaskState},
    world::{Event, Local, OpenCreate, Parent, Plans, Snapshot},
};
use serde_json::{Value as Json, json};

use annika_simulate::world::planner::{By, Planner};

pub const PLAN: &str = "plan-a";
/// When the tests play, ms.
pub const START: i64 = 1_764_064_800_000;

pub struct Bench {
    pub now: i64,
    pub planner: Planner,
    pub plans: Plans,
    pub id: String,
    pub doc: Option<Vec<u8>>,
    pub expires: bool,
    pub state: TaskState,
    pub observed: Option<Json>,
    pub observed_etag: Option<String>,
    pub delete_event: bool,
    pub missed_sweeps: u32,
    pub absent_lists: u32,
    pub recheck_details: bool,
    pub stamp_owner: Option<String>,
    /// Since when the store's memory is built anew, ms.
    pub rebuilding_since: Option<i64>,
    pub orphans: Vec<Json>,
    pub open_creates: Vec<OpenCreate>,
    /// What the directory said in this claim, and whom it knows.
    pub users: BTreeMap<String, Option<String>>,
    pub directory: BTreeMap<String, String>,
    pub lookups: u32,
    pub clean_since: BTreeMap<String, i64>,
    pub scenario: Option<String>,
    /// The task that this one is an item of, and the tasks that are items of this one.
    pub parent: Option<Parent>,
    pub children: Vec<String>,
    pub children_marked: u32,
    pub events: Vec<Event>,
    pub document_writes: u32,
    pub graph_writes: u32,
    pub creates: u32,
    pub forgotten: bool,
    revs: u32,
}

impl Bench {
    pub fn new(id: &str) -> Self {
        Self {
            now: START,
            planner: Planner::new(true),
            plans: Plans { synced: vec![PLAN.into()], default: Some(PLAN.into()), ..Plans::default() },
            id: id.into(),
            doc: None,
            expires: false,
            state: TaskState::default(),
            observed: None,
            observed_etag: None,
            delete_event: false,
            missed_sweeps: 0,
            absent_lists: 0,
            recheck_details: false,
            stamp_owner: None,
            rebuilding_since: None,
            orphans: Vec::new(),
            open_creates: Vec::new(),
            users: BTreeMap::new(),
            directory: BTreeMap::new(),
            lookups: 0,
            clean_since: BTreeMap::new(),
            scenario: None,
            parent: None,
            children: Vec::new(),
            children_marked: 0,
            events: Vec::new(),
            document_writes: 0,
            graph_writes: 0,
            creates: 0,
            forgotten: false,
            revs: 0,
        }
    }

    /// A task that an agent wrote and that is the same on both sides.
    pub fn synced(doc: Json) -> Self {
        let mut bench = Self::new("agent-task-1");
        bench.set(doc);
        bench.settle();
        assert!(bench.state.planner_id.is_some(), "mapped: {:?}", bench.state);
        bench.forget_the_past();
        bench
    }

    /// A task with a title, a description, a due day and a bucket, the same on both sides.
    pub fn usual() -> Self {
        Self::synced(json!({"id": "agent-task-1", "title": "first", "bucket_id": "bucket-1", "plan_id": PLAN,
            "due_date": "2025-12-01", "description": "text"}))
    }

    pub fn forget_the_past(&mut self) {
        self.events.clear();
        (self.document_writes, self.graph_writes, self.creates) = (0, 0, 0);
        self.now += 60_000;
    }

    pub fn set(&mut self, doc: Json) {
        self.doc = Some(doc.to_string().into_bytes());
    }

    pub fn document(&self) -> Json {
        serde_json::from_slice(self.doc.as_deref().expect("a document")).expect("JSON")
    }

    /// An agent's read, change and write, on what it read.
    pub fn write(&mut self, read: &Json, changes: &[(&str, Json)]) {
        let mut doc = read.clone();
        for (name, value) in changes {
            doc[*name] = value.clone();
        }
        self.set(doc);
    }

    pub fn agent(&mut self, changes: &[(&str, Json)]) {
        let read = self.document();
        self.write(&read, changes);
    }

    pub fn delete(&mut self) {
        self.doc = None;
        self.delete_event = true;
    }

    pub fn planner_id(&self) -> String {
        self.state.planner_id.clone().expect("mapped")
    }

    pub fn person(&mut self, body: Json) {
        let id = self.planner_id();
        self.planner.edit(&id, &body, self.now);
        self.poll();
    }

    pub fn person_details(&mut self, body: Json) {
        let id = self.planner_id();
        self.planner.edit_details(&id, &body, self.now);
        self.poll();
    }

    pub fn person_deletes(&mut self) {
        let id = self.planner_id();
        self.planner.remove(&id, self.now);
        self.poll();
    }

    pub fn task(&self) -> Json {
        self.planner.get(&self.planner_id()).expect("in Planner")
    }

    pub fn details(&self) -> Json {
        self.planner.details(&self.planner_id()).expect("in Planner")
    }

    /// A complete list.
    pub fn poll(&mut self) {
        let Some(id) = self.state.planner_id.clone() else { return };
        match self.planner.get(&id) {
            Some(json) => {
                self.absent_lists = 0;
                self.observed = Some(json);
            }
            None => self.absent_lists += 1,
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let local = match &self.doc {
            None => Local::Missing,
            Some(bytes) => Local::Present { bytes: bytes.clone(), expires: self.expires },
        };
        Snapshot {
            id: self.id.clone(),
            local,
            state: self.state.clone(),
            observed: self.observed.clone(),
            observed_etag: self.observed_etag.clone(),
            hint: 0,
            delete_event: self.delete_event,
            missed_sweeps: self.missed_sweeps,
            absent_lists: self.absent_lists,
            recheck_details: self.recheck_details,
            notes: Default::default(),
            inheritance: Default::default(),
            tomb: None,
            stamp_owner: self.stamp_owner.clone(),
            orphans: self.orphans.clone(),
            open_creates: self.open_creates.clone(),
            waited_ms: None,
            users: self.users.clone(),
            users_unanswered: false,
            clean_since: self.clean_since.clone(),
            children: self.children.clone(),
            parent: self.parent.clone(),
        }
    }

    /// One decision, stored.
    pub fn step(&mut self) -> Step {
        self.revs += 1;
        let context = Context {
            now: self.now,
            rev: format!("rev-{}", self.revs),
            plans: &self.plans,
            scenario: self.scenario.as_deref(),
            rebuilding_since: self.rebuilding_since,
        };
        let step = plan(&self.snapshot(), &context);
        if let Some(write) = &step.write {
            assert_eq!(write.expected, self.doc, "the write expects what was read");
            self.doc = write.new.as_ref().map(Document::bytes);
            self.document_writes += 1;
        }
        self.state = step.state.clone();
        if matches!(step.action, Action::Finish) && self.state.failure.is_none() {
            self.state.seen = Some("seen".into());
        }
        if step.forget {
            self.state = TaskState::default();
            self.observed = None;
            self.forgotten = true;
        }
        self.children_marked += u32::from(step.tells_children);
        if step.clear_missed {
            (self.missed_sweeps, self.delete_event) = (0, false);
        }
        if step.clear_absent {
            self.absent_lists = 0;
        }
        self.events.extend(step.events.iter().cloned());
        step
    }

    /// Steps until the task rests; returns how many.
    pub fn settle(&mut self) -> usize {
        for steps in 1..=20 {
            let step = self.step();
            match step.action {
                Action::Finish => return steps,
                Action::Wait(_) if self.state.failure.is_some() => return steps,
                Action::Wait(wait) => self.wait(wait),
                action => self.perform(&action),
            }
        }
        panic!("no rest after 20 steps: {:?}", self.state);
    }

    fn wait(&mut self, wait: Duration) {
        self.now += i64::try_from(wait.as_millis()).expect("short");
        self.poll();
    }

    pub fn perform(&mut self, action: &Action) {
        match action {
            Action::Finish | Action::Wait(_) => {}
            Action::Get { task, details } => self.read(*task, *details),
            Action::WriteParent { expected, document } => {
                let parent = self.parent.as_mut().expect("a parent");
                let there = Local::Present { bytes: expected.clone(), expires: false };
                assert_eq!(parent.local, there, "the write expects what was read");
                parent.local = Local::Present { bytes: document.bytes(), expires: false };
            }
            Action::FindUsers { names } => {
                for name in names.iter().map(|name| lens::folded(name)) {
                    self.lookups += 1;
                    let id = self.directory.get(&name).cloned();
                    self.users.insert(name, id);
                }
            }
            Action::Create { body } => {
                self.creates += 1;
                let json = self.planner.create(body, By::App, self.now);
                self.orphans = vec![json];
            }
            Action::Patch { task, details, changes } => {
                let id = self.planner_id();
                let mut refused = false;
                if let Some((etag, body)) = task {
                    self.graph_writes += 1;
                    refused |= self.planner.patch(&id, etag, body, self.now).is_err();
                }
                if let Some((etag, body)) = details {
                    self.graph_writes += 1;
                    refused |= self.planner.patch_details(&id, etag, body, self.now).is_err();
                }
                if refused {
                    self.state.intents.retain(|intent| !changes.contains_key(&intent.field));
                }
                self.state.need_get = true;
            }
            Action::GetLeft { planner_id } => {
                let now = self.now;
                let Some(leaving) = self.state.leaving.as_mut() else { return };
                match (self.planner.get(planner_id), self.planner.details(planner_id)) {
                    (Some(json), Some(details)) => {
                        let etag = json["@odata.etag"].as_str().unwrap_or_default().to_owned();
                        let fields = lens::planner::fields(&json, Some(&details));
                        leaving.seen = Some(Remote { etag, details_etag: None, fields });
                        leaving.read_at = now;
                    }
                    _ => (leaving.answers, leaving.last) = (leaving.answers + 1, now),
                }
            }
            Action::HandOver { task, details } => {
                // What was refused is asked for again, after a look at what is there.
                let (id, now) = (self.planner_id(), self.now);
                let task = task.iter().map(|(etag, body)| self.planner.patch(&id, etag, body, now));
                self.graph_writes += task.filter(Result::is_ok).count() as u32;
                let details =
                    details.iter().map(|(etag, body)| self.planner.patch_details(&id, etag, body, now));
                self.graph_writes += details.filter(Result::is_ok).count() as u32;
                self.state.need_get = true;
            }
            Action::DeleteLeft { planner_id, etag } => {
                self.graph_writes += 1;
                match self.planner.delete(planner_id, etag, self.now) {
                    Ok(()) => self.state.leaving = None,
                    Err(_) => {
                        if let Some(leaving) = self.state.leaving.as_mut() {
                            leaving.seen = None;
                        }
                    }
                }
            }
            Action::Delete { etag } => {
                self.graph_writes += 1;
                let id = self.planner_id();
                match self.planner.delete(&id, etag, self.now) {
                    Ok(()) => {
                        self.state = TaskState::default();
                        self.observed = None;
                        self.delete_event = false;
                        self.forgotten = true;
                    }
                    Err(_) => self.state.need_get = true,
                }
            }
        }
    }

    fn read(&mut self, task: bool, details: bool) {
        let id = self.planner_id();
        let now = self.now;
        let state = &mut self.state;
        let (Some(mut json), Some(body)) = (self.planner.get(&id), self.planner.details(&id)) else {
            state.need_get = false;
            state.gone = Some(match state.gone.take() {
                None => {
                    Gone { since: now, answers: 1, last: now, lists: self.absent_lists.min(2), asked: false }
                }
                Some(gone) => Gone { answers: gone.answers + 1, last: now, ..gone },
            });
            return;
        };
        json["details"] = body.clone();
        if task {
            (state.gone, state.need_get) = (None, false);
            self.absent_lists = 0;
            observe(state, &json);
        }
        if details && let Some(remote) = state.remote.as_mut() {
            remote.details_etag = body["@odata.etag"].as_str().map(str::to_owned);
            for (field, value) in lens::planner::fields(&json!({}), Some(&body)) {
                remote.fields.insert(field, value);
            }
            state.need_details = false;
        }
        if task && details {
            state.full_at = now;
        }
        self.recheck_details = false;
        self.observed = Some(json);
    }

    /// What the document says.
    pub fn local_fields(&self) -> Fields {
        let document = Document::parse(self.doc.as_deref().expect("a document")).expect("readable");
        let names = Names {
            categories: self.plans.categories.get(PLAN).cloned(),
            former: self.state.labels.clone(),
            users: self.directory.clone(),
        };
        project_with(&document, Some(&self.state.base), &names).expect("readable").fields
    }

    /// What Planner says.
    pub fn remote_fields(&self) -> Fields {
        lens::planner::fields(&self.task(), Some(&self.details()))
    }

    /// Fields that the document names and in which the two sides differ.
    pub fn differences(&self) -> Vec<Field> {
        let (local, remote) = (self.local_fields(), self.remote_fields());
        let nothing = lens::Value::Null;
        local
            .iter()
            .filter(|(field, value)| !lens::same(**field, value, remote.get(field).unwrap_or(&nothing)))
            .map(|(field, _)| *field)
            .collect()
    }

    pub fn conflicts(&self) -> Vec<(&'static str, Json, &'static str)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Conflict { field, lost, loser, .. } => Some((*field, lost.clone(), *loser)),
                _ => None,
            })
            .collect()
    }

    pub fn failures(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Failed { code, .. } => Some(code.as_str()),
                _ => None,
            })
            .collect()
    }
}
