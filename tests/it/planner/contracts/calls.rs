//! The calls of a sequence: what a client may do next, drawn from the seed and from what stands in Redis.

use std::time::Duration;

use annika_devkit::graph::random::SimRng;
use annika_sync::{
    state::{Failure, TaskState, digest},
    world::{Claim, Commit, LocalWrite, Next, Snapshot, Unmapped},
};

use super::keyspace::Keyspace;
use crate::planner::{document, done, mapped};

/// The tasks of a sequence; the last is an imported one.
pub const IDS: [&str; 5] = ["a", "b", "c", "d", "planner-P-1"];
/// Planner's tasks of a sequence.
pub const PLANNER_IDS: [&str; 3] = ["P-1", "P-2", "P-3"];
pub const PLAN: &str = "L-1";
/// Milliseconds; a second and a half may pass in a sequence at once.
pub const LEASE: i64 = 2_000;

#[derive(Clone, Debug)]
pub enum Call {
    Create {
        id: &'static str,
        text: String,
        key: Option<String>,
    },
    Replace {
        id: &'static str,
        text: String,
        condition: bool,
    },
    Patch {
        id: &'static str,
        patch: String,
    },
    Delete {
        id: &'static str,
    },
    Update {
        id: &'static str,
        read: String,
        text: String,
        entry: String,
    },
    Mark {
        ids: Vec<String>,
        delay: i64,
    },
    Missing {
        ids: Vec<String>,
    },
    Claim {
        limit: usize,
        lease: i64,
    },
    Commit(Box<Commit>),
    Ingest,
    Observe {
        planner_id: &'static str,
        etag: String,
    },
    Absent {
        planner_id: &'static str,
        times: u32,
    },
    Recheck {
        planner_id: &'static str,
        etag: String,
        empty: bool,
    },
    Lease {
        length: i64,
    },
    Pause {
        until: i64,
    },
    Pace {
        per_second: u32,
    },
    Guard {
        ids: Vec<String>,
        missing: i64,
    },
    Release,
    Restore {
        id: &'static str,
        read: String,
    },
    Age {
        id: &'static str,
        read: String,
        digest: String,
    },
    Hold {
        begun: i64,
        tasks: Vec<&'static str>,
    },
    Swap {
        kind: &'static str,
        key: String,
        field: &'static str,
        read: String,
        text: String,
    },
    Erase(Box<Erase>),
    /// What agents and time do; not a script of ours.
    Plain(Vec<Vec<String>>),
    TimePasses {
        ms: i64,
    },
    /// kill -9 and a new start; with `during`, in the middle of another call.
    Crash {
        during: Option<Box<Call>>,
    },
    Full(bool),
}

/// A person is taken out of a task: its document and its record, as read and as they shall be; '' = there is none.
#[derive(Clone, Debug)]
pub struct Erase {
    pub id: &'static str,
    pub read: String,
    pub text: String,
    pub record: String,
    pub new_record: String,
}

/// A task that a client claimed, as it read it.
#[derive(Clone, Debug)]
pub struct Held {
    pub claim: Claim,
    pub snapshot: Snapshot,
}

pub struct Draw<'a> {
    pub random: &'a mut SimRng,
    pub now: &'a Keyspace,
    /// Keys are of other types, or Redis is full: calls that are one script only.
    pub rough: bool,
}

impl Draw<'_> {
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.random.next_u64() % u64::try_from(n).unwrap()).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn id(&mut self) -> &'static str {
        self.one(&IDS)
    }

    pub fn text(&mut self, id: &str) -> String {
        let n = self.below(1_000);
        let spelling = self.one(&[
            "\"list\":[],\"big\":123456789012345678901",
            "\"one\":1.0,\"small\":1e-7",
            "\"text\":\"\u{e9} \\\"\"",
        ]);
        let plan = self.one(&["", ",\"plan_id\":\"L-1\"", ",\"plan_id\":\"L-2\",\"assigned_to\":[\"u-1\"]"]);
        format!("{{\"id\":\"{id}\",\"title\":\"T {n}\",{spelling}{plan}}}")
    }

    pub fn next(&mut self, held: &mut Vec<Held>) -> Call {
        if !held.is_empty() && self.random.chance(0.4) {
            return Call::Commit(Box::new(self.commit(held)));
        }
        let kinds = if self.rough { 13 } else { 28 };
        match self.below(kinds) {
            0 => {
                let id = self.id();
                let key = self.random.chance(0.3).then(|| self.one(&["k-1", "k-2"]).to_owned());
                // The same call twice has the same bytes.
                let text = match &key {
                    Some(key) => format!("{{\"id\":\"{id}\",\"title\":\"once {key}\"}}"),
                    None => self.text(id),
                };
                Call::Create { id, text, key }
            }
            1 => {
                let id = self.id();
                Call::Replace { id, text: self.text(id), condition: self.random.chance(0.5) }
            }
            2 => Call::Patch { id: self.id(), patch: format!("{{\"title\":\"P {}\"}}", self.below(1_000)) },
            3 => Call::Delete { id: self.id() },
            4 => {
                let id = self.id();
                let there = self.now.document(id).unwrap_or_default().to_owned();
                let read = if self.random.chance(0.7) { there } else { self.text(id) };
                let entry = format!("{{\"type\":\"update\",\"task_id\":\"{id}\",\"source\":\"agent\"}}");
                Call::Update { id, read, text: self.text(id), entry }
            }
            5 => Call::Mark { ids: vec![self.id().to_owned()], delay: self.one(&[0, 50, 5_000]) },
            6 => Call::Missing { ids: vec![self.id().to_owned()] },
            7 | 8 => Call::Claim { limit: 1 + self.below(3), lease: self.one(&[LEASE, LEASE, 30]) },
            9 => Call::Ingest,
            10 => Call::Lease { length: self.one(&[0, LEASE, LEASE, 20]) },
            11 => Call::Pause { until: i64::try_from(self.below(1_000_000)).unwrap() },
            12 => Call::Pace { per_second: u32::try_from(1 + self.below(50)).unwrap() },
            13 | 21 => Call::Observe { planner_id: self.one(&PLANNER_IDS), etag: self.etag() },
            14 => {
                let times = u32::try_from(1 + self.below(3)).unwrap();
                Call::Absent { planner_id: self.one(&PLANNER_IDS), times }
            }
            15 => {
                let empty = self.random.chance(0.5);
                Call::Recheck { planner_id: self.one(&PLANNER_IDS), etag: self.etag(), empty }
            }
            16 => {
                let ids = IDS.iter().filter(|_| self.random.chance(0.4)).map(|id| (*id).to_owned()).collect();
                Call::Guard { ids, missing: self.one(&[0, 1, 9]) }
            }
            17 => Call::Release,
            18 => {
                let id = self.id();
                let tomb = self.now.text(&annika::keys::sync_tomb(id)).unwrap_or("none").to_owned();
                let read = if self.random.chance(0.8) { tomb } else { self.text(id) };
                Call::Restore { id, read }
            }
            19 | 20 => self.agents(),
            22 | 23 => self.age(),
            24 => {
                let known = ["O-1"].into_iter().chain(PLANNER_IDS);
                let tasks = known.filter(|_| self.random.chance(0.3)).collect();
                Call::Hold { begun: i64::try_from(1 + self.below(100)).unwrap(), tasks }
            }
            25 => self.swap(),
            26 => self.erase(),
            _ => Call::TimePasses { ms: self.one(&[40, 1_500, 2_500]) },
        }
    }

    /// A completed task leaves Redis, as it was read or as it is no longer.
    fn age(&mut self) -> Call {
        let digest_of =
            |id: &str| self.now.field(annika::keys::sync_index(), id).unwrap_or_default().to_owned();
        let at_rest = |id: &&str| {
            self.now.due(id).is_none() && self.now.document(id).is_some() && !digest_of(id).is_empty()
        };
        let ready: Vec<&'static str> = IDS.iter().copied().filter(at_rest).collect();
        let id = if ready.is_empty() { self.id() } else { self.one(&ready) };
        let there = self.now.document(id).unwrap_or_default().to_owned();
        let digest = self.now.field(annika::keys::sync_index(), id).unwrap_or_default().to_owned();
        let read = if self.random.chance(0.8) { there } else { self.text(id) };
        let digest = if self.random.chance(0.8) { digest } else { "another".to_owned() };
        Call::Age { id, read, digest }
    }

    /// One text is replaced by another, where it still is what it was.
    fn swap(&mut self) -> Call {
        let planner_id = self.one(&PLANNER_IDS);
        let (kind, key, field, there) = match self.below(3) {
            0 => {
                let key = annika::keys::planner_task(planner_id);
                let there = self.now.text(&key).map(str::to_owned);
                ("string", key, "", there)
            }
            1 => {
                let key = annika::keys::sync_remote(PLAN);
                let there = self.now.field(&key, planner_id).map(str::to_owned);
                ("hash", key, planner_id, there)
            }
            _ => {
                let key = annika::keys::sync_pending().to_owned();
                let foreign = |entry: &&String| entry.starts_with("no entry");
                let there = self.now.list(&key).iter().rfind(foreign).cloned();
                ("list", key, "", there)
            }
        };
        let read = there.filter(|_| self.random.chance(0.8)).unwrap_or_else(|| "gone".to_owned());
        Call::Swap { kind, key, field, read, text: format!("no entry {}", self.below(1_000)) }
    }

    fn erase(&mut self) -> Call {
        let id = self.id();
        let mut read = self.now.document(id).unwrap_or_default().to_owned();
        let mut record = self.now.state(id, "record").unwrap_or_default().to_owned();
        if self.random.chance(0.1) {
            read = self.text(id);
        }
        if self.random.chance(0.1) {
            record = "{\"seen\":\"another\"}".to_owned();
        }
        let text = if read.is_empty() { String::new() } else { self.text(id) };
        let new_record = match serde_json::from_str::<TaskState>(&record) {
            Ok(state) => {
                let seen = Some(digest(text.as_bytes()));
                serde_json::to_string(&TaskState { seen, ..state }).unwrap()
            }
            Err(_) => String::new(),
        };
        Call::Erase(Box::new(Erase { id, read, text, record, new_record }))
    }

    fn etag(&mut self) -> String {
        format!("W/\"e{}\"", self.below(3))
    }

    /// What agents do without our scripts.
    fn agents(&mut self) -> Call {
        let id = self.id();
        let (key, text) = (annika::keys::task(id), self.text(id));
        let commands: &[&[&str]] = match self.below(7) {
            0 => &[&["SET", &key, &text]],
            1 => &[&["SET", &key, &text, "EX", "500"]],
            2 => &[&["DEL", &key]],
            3 => &[&["DEL", &key], &["JSON.SET", &key, "$", &text]],
            4 => &[&["DEL", &key], &["JSON.SET", &key, "$", &text], &["EXPIRE", &key, "500"]],
            5 => {
                let kind = self.one(&["update", "delete"]);
                let entry = format!("{{\"type\":\"{kind}\",\"task_id\":\"{id}\",\"source\":\"agent\"}}");
                return plain(&[&["RPUSH", annika::keys::sync_pending(), &entry]]);
            }
            _ => return plain(&[&["LPUSH", annika::keys::sync_pending(), "no entry at all"]]),
        };
        plain(commands)
    }

    fn commit(&mut self, held: &mut Vec<Held>) -> Commit {
        let index = self.below(held.len());
        let Held { claim, snapshot } = held[index].clone();
        let id = claim.id.clone();
        let mut commit = done(&claim);
        commit.hint = snapshot.hint;
        let there = match &snapshot.local {
            annika_sync::world::Local::Present { bytes, .. } => Some(bytes.clone()),
            _ => None,
        };
        let planner_id = snapshot.state.planner_id.clone();
        let mut state = TaskState { planner_id: planner_id.clone(), ..TaskState::default() };
        state.seen = there.as_deref().map(digest);
        if self.random.chance(0.2) {
            state.failure = Some(Failure {
                code: "planner_refused".to_owned(),
                message: "for a test".to_owned(),
                since: 1_000,
                digest: String::new(),
                retry_at: 0,
                attempts: u32::try_from(1 + self.below(2)).unwrap(),
            });
        }
        let text = self.text(&id);
        match self.below(6) {
            0 | 1 => {
                commit.write = Some(LocalWrite { expected: there.clone(), new: Some(document(&text)) });
                commit.document = Some(document(&text));
            }
            2 if there.is_some() => commit.write = Some(LocalWrite { expected: there, new: None }),
            3 => {
                let wanted = self.one(&PLANNER_IDS);
                let free = |id: &&str| self.now.text(&annika::keys::sync_rmap(id)).is_none();
                // Most take one that is free; some take another task's.
                let free = PLANNER_IDS.iter().copied().find(free).filter(|_| self.random.chance(0.7));
                if planner_id.is_none() {
                    let planner_id = free.unwrap_or(wanted);
                    commit.remote = Some(mapped(planner_id, PLAN));
                    state.planner_id = Some(planner_id.to_owned());
                }
            }
            4 => {
                if let Some(planner_id) = planner_id {
                    commit.unmap = Some(Unmapped { planner_id, plan: Some(PLAN.to_owned()) });
                    state.planner_id = None;
                }
            }
            5 => commit.expect_absent = self.random.chance(0.3),
            _ => {}
        }
        commit.clear_missed = self.random.chance(0.5);
        commit.clear_absent = self.random.chance(0.5);
        commit.state = Some(state);
        commit.next = match self.below(5) {
            0 => Next::Hold,
            1 => Next::After(Duration::from_millis(300)),
            _ => Next::Done { hint: snapshot.hint },
        };
        let forgets =
            commit.next != Next::Hold && snapshot.state.planner_id.is_none() && commit.remote.is_none();
        if forgets && self.random.chance(0.2) {
            commit.state = None;
        }
        commit.durable = self.random.chance(0.3);
        if self.random.chance(0.2) {
            let others = IDS.iter().filter(|other| **other != id);
            commit.marks =
                others.filter(|_| self.random.chance(0.4)).map(|other| (*other).to_owned()).collect();
        }
        // Some come back to a task that they have given back: the fence must stop them.
        if commit.next != Next::Hold && self.random.chance(0.8) {
            held.remove(index);
        }
        commit
    }
}

pub fn plain(commands: &[&[&str]]) -> Call {
    Call::Plain(commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect())
}
