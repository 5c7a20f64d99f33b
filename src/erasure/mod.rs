//! Erasing a person: everything about them in Redis, by one bounded walk over the keys, with a report.
//!
//! The walk goes by the registry of keys, may be cut short and taken up again, and changes nothing the second time.
//! In Planner nothing changes, unless the caller asks for it: documents and what the sync agreed on lose the person
//! in one step, so their absence is no edit. Graph goes on sending them; a hash of their object id is kept, by which
//! the sync leaves them out of what it takes in.

mod person;
mod walk;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    clock::SharedClock,
    graph::{GraphClient, Outcome, directory},
    keys,
    store::{Script, Store, StoreError, command},
};

pub use person::{Person, hash, strip};

/// Replaces one exact text.
pub static SWAP: Script = Script::new("erasure/swap", 1, include_str!("lua/swap.lua"));
/// Takes a person out of one task.
pub static TASK: Script = Script::new(
    "erasure/task",
    2,
    concat!(include_str!("../tasks/lua/index.lua"), include_str!("lua/task.lua")),
);

/// People who are remembered as erased.
const MOST_ERASED: u64 = 100_000;
/// Tasks that are named in a report.
const MOST_NAMED: usize = 100;

/// Erases people.
#[derive(Debug, Clone)]
pub struct Erasure {
    store: Store,
    graph: GraphClient,
    clock: SharedClock,
    within_ms: u64,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Object id, user principal name or mail address.
    pub person: String,
    /// Unassign them in Planner too.
    pub in_planner: bool,
    /// Where an earlier call stopped.
    pub cursor: Option<u64>,
}

/// What was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was erased, by the pattern of the keys: values that lost the person, or were removed as a whole.
    pub erased: BTreeMap<&'static str, u64>,
    /// Tasks whose title, description or notes mention the person: a person has to read those. At most 100.
    pub mentioned_in: Vec<String>,
    /// Tasks that an engine worked on at that moment, or that wait for Planner: call again.
    pub busy: Vec<String>,
    /// How many of the person's names were looked for.
    pub identifiers: usize,
    /// The directory knows the person: without it only the name that was given is looked for.
    pub found_in_directory: bool,
    /// Every key was looked at, and no task was busy.
    pub complete: bool,
    /// Call again with it to go on; `None` = every key was looked at.
    pub cursor: Option<u64>,
}

/// Why nobody can be erased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No person is called so.
    #[error(
        "a person is named by object id, user principal name or mail address: 3 to 256 printable characters"
    )]
    BadName,
    /// The list by which erased people stay out is full.
    #[error(
        "{MOST_ERASED} people were erased before: remove fields of the hash of erased people that Graph no longer sends"
    )]
    Full,
}

impl Erasure {
    /// Erases in this store; Graph is asked for the person's other names. One call walks for `within_ms` at most.
    pub fn new(store: Store, graph: GraphClient, clock: SharedClock, within_ms: u64) -> Self {
        Self { store, graph, clock, within_ms }
    }

    /// Erases a person. A call that is cut short, or whose report is not complete, is made again.
    ///
    /// # Errors
    /// [`ErasureError`]; what was erased by then stays so.
    pub async fn erase(&self, request: &Request) -> Result<Report, ErasureError> {
        let name = request.person.trim();
        if !(3..=256).contains(&name.len()) || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(ErasureError::BadName);
        }
        let (person, found_in_directory) = self.person(name).await?;
        let mut report = Report {
            identifiers: person.identifiers.len() + usize::from(person.display_name.is_some()),
            found_in_directory,
            ..Report::default()
        };
        if !request.in_planner {
            // First, so that nothing of them comes back while the walk goes on.
            self.leave_out(&person).await?;
        }
        walk::walk(self, &person, request, &mut report).await?;
        report.mentioned_in.truncate(MOST_NAMED);
        report.complete = report.cursor.is_none() && report.busy.is_empty();
        if request.in_planner && report.complete {
            self.leave_out(&person).await?;
        }
        let erased: u64 = report.erased.values().sum();
        tracing::warn!(code = "person_erased", erased, complete = report.complete, "a person was erased");
        Ok(report)
    }

    /// Remembers, by a hash, that what Graph sends of the person is left out.
    async fn leave_out(&self, person: &Person) -> Result<(), ErasureError> {
        let Some(id) = &person.object_id else { return Ok(()) };
        let erased: u64 = self.store.command(&command("HLEN", keys::erased())).await?;
        if erased >= MOST_ERASED {
            return Err(ErasureError::Full);
        }
        let mut set = command("HSETNX", keys::erased());
        set.arg(hash(id)).arg(self.clock.now_ms());
        Ok(self.store.command::<i64>(&set).await.map(|_| ())?)
    }

    /// The person's names: from the directory where it answers, else from the cache, else only the one that was given.
    async fn person(&self, name: &str) -> Result<(Person, bool), StoreError> {
        let lower = name.to_lowercase();
        let mut person = Person { identifiers: [lower.clone()].into(), ..Person::default() };
        let cached = self.cached_user(&person).await?;
        let asked = match self.graph.send(directory::get_user(name)).await {
            Outcome::Answer(answer) if answer.is_success() => answer.body,
            _ => None,
        };
        let found = asked.is_some();
        let Some(user) = asked.or(cached) else {
            person.object_id = (lower.len() == 36 && !lower.contains('@')).then_some(lower);
            return Ok((person, false));
        };
        let member = |name: &str| user.get(name).and_then(Json::as_str).map(str::to_lowercase);
        person.object_id = member("id");
        let names = [member("id"), member("userPrincipalName"), member("mail")];
        person.identifiers.extend(names.into_iter().flatten().filter(|name| !name.is_empty()));
        person.display_name = member("displayName").filter(|name| !name.is_empty());
        Ok((person, found))
    }

    /// The cached user who has this name.
    async fn cached_user(&self, person: &Person) -> Result<Option<Json>, StoreError> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(keys::graph_user("*")).arg("COUNT").arg(1_000);
            let (next, found): (u64, Vec<String>) = self.store.command(&scan).await?;
            for key in found {
                let text: Option<Vec<u8>> = self.store.command(&command("GET", &key)).await?;
                let user = text.and_then(|text| serde_json::from_slice::<Json>(&text).ok());
                let names = |user: &Json| {
                    let names = ["id", "userPrincipalName", "mail"];
                    names.iter().any(|name| {
                        user.get(*name).and_then(Json::as_str).is_some_and(|text| person.is(text))
                    })
                };
                if let Some(user) = user.filter(names) {
                    return Ok(Some(user));
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(None);
            }
        }
    }
}
