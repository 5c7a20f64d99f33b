//! The names of each plan's categories: in memory, in Redis for the next process, and asked of Graph once an hour or
//! when a document used a name that no category has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use annika_sync::lens::Categories;
use redis::Cmd;
use serde::{Deserialize, Serialize};

use crate::{
    graph::{GraphClient, MAX_BATCH, Outcome, planner},
    keys,
    store::{Store, StoreError, command, read},
};

/// How long names are taken as they were read, ms.
const FRESH_MS: i64 = 60 * 60 * 1000;
/// How soon after a reading, or after one that failed, a plan is asked again where a document uses an unknown name, ms.
const AGAIN_MS: i64 = 60 * 1000;
/// The tasks of a plan are marked in this many polls after a name changed: a worker may still hold the old names at
/// the first.
const MARKED_POLLS: u8 = 2;

/// What is known of every synced plan's categories.
#[derive(Debug, Default)]
pub(super) struct PlanCategories(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    plans: BTreeMap<String, Plan>,
    /// Plans in which a document uses a name that no category has.
    wanted: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Plan {
    /// `None`: never read.
    categories: Option<Arc<Categories>>,
    asked_at: i64,
    answered: bool,
    marks_left: u8,
}

/// The form in Redis.
#[derive(Deserialize, Serialize)]
struct Entry {
    read_at: i64,
    names: BTreeMap<String, String>,
}

impl PlanCategories {
    /// A document of this plan uses a name that no category has, as far as is known.
    pub fn want(&self, plan: &str) {
        self.known().wanted.insert(plan.to_owned());
    }

    /// The names of those plans whose details were read. Graph is asked where that is due, many plans in a request.
    pub async fn read(
        &self,
        store: &Store,
        graph: Option<&GraphClient>,
        plans: &[String],
        now: i64,
    ) -> Result<BTreeMap<String, Arc<Categories>>, StoreError> {
        self.recall(store, plans).await?;
        if let Some(graph) = graph {
            let due = self.due(plans, now);
            for plans in due.chunks(MAX_BATCH) {
                self.ask(store, graph, plans, now).await?;
            }
        }
        let known = self.known();
        let of = |plan: &String| Some((plan.clone(), known.plans.get(plan)?.categories.clone()?));
        Ok(plans.iter().filter_map(of).collect())
    }

    /// Plans whose tasks have to be looked at again, because a name changed.
    pub fn renamed(&self) -> Vec<String> {
        let mut known = self.known();
        let marked = known.plans.iter_mut().filter(|(_, plan)| plan.marks_left > 0);
        let take = |(id, plan): (&String, &mut Plan)| {
            plan.marks_left -= 1;
            id.clone()
        };
        marked.map(take).collect()
    }

    /// Takes what an earlier process left in Redis.
    async fn recall(&self, store: &Store, plans: &[String]) -> Result<(), StoreError> {
        let new: Vec<&String> = {
            let known = self.known();
            plans.iter().filter(|plan| !known.plans.contains_key(*plan)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let gets: Vec<Cmd> = new.iter().map(|plan| command("GET", &keys::plan_categories(plan))).collect();
        for (plan, reply) in new.iter().zip(store.pipeline(&gets).await) {
            let text: Option<Vec<u8>> = read(reply?)?;
            let entry = text.and_then(|text| serde_json::from_slice::<Entry>(&text).ok());
            let recalled = entry.map_or_else(Plan::default, |entry| Plan {
                categories: Some(Arc::new(Categories::from_names(entry.names))),
                asked_at: entry.read_at,
                answered: true,
                marks_left: 0,
            });
            self.known().plans.entry((*plan).clone()).or_insert(recalled);
        }
        Ok(())
    }

    fn due(&self, plans: &[String], now: i64) -> Vec<String> {
        let known = self.known();
        let is_due = |plan: &&String| {
            let Some(seen) = known.plans.get(*plan) else { return true };
            let age = now - seen.asked_at;
            let urgent = !seen.answered || known.wanted.contains(*plan);
            age >= FRESH_MS || (urgent && age >= AGAIN_MS)
        };
        plans.iter().filter(is_due).cloned().collect()
    }

    async fn ask(
        &self,
        store: &Store,
        graph: &GraphClient,
        plans: &[String],
        now: i64,
    ) -> Result<(), StoreError> {
        let requests = plans.iter().map(|plan| planner::get_plan_details(plan)).collect();
        let mut keep = Vec::new();
        for (id, outcome) in plans.iter().zip(graph.batch(requests).await) {
            let read = match outcome {
                Outcome::Answer(answer) if answer.is_success() => answer.body,
                Outcome::Answer(answer) => {
                    let status = answer.status;
                    tracing::warn!(
                        plan_id = id,
                        status,
                        code = "categories_refused",
                        "Graph refused a plan's details"
                    );
                    None
                }
                Outcome::Unknown(reason) => {
                    tracing::warn!(plan_id = id, code = reason.code(), "a plan's details were not read");
                    None
                }
                Outcome::NotSent(reason) => {
                    tracing::warn!(plan_id = id, code = reason.code(), "a plan's details were not read");
                    None
                }
            };
            let mut known = self.known();
            let plan = known.plans.entry(id.clone()).or_default();
            plan.asked_at = now;
            plan.answered = read.is_some();
            let Some(details) = read else { continue };
            let new = Categories::of_plan_details(&details);
            let entry = Entry { read_at: now, names: new.names().clone() };
            keep.push((keys::plan_categories(id), serde_json::to_string(&entry).unwrap_or_default()));
            if plan.categories.as_deref().is_some_and(|old| *old != new) {
                plan.marks_left = MARKED_POLLS;
            }
            plan.categories = Some(Arc::new(new));
            known.wanted.remove(id);
        }
        let seconds = keys::PLAN_CATEGORIES.ttl_s().unwrap_or_default();
        let set = |(key, text): &(String, String)| {
            let mut set = command("SET", key);
            set.arg(text).arg("EX").arg(seconds);
            set
        };
        for reply in store.pipeline(&keep.iter().map(set).collect::<Vec<Cmd>>()).await {
            reply?;
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
