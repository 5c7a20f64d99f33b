//! Which plans are synced: those of the settings, those of the groups they name, and the default plan.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use annika_sync::{lens::DayTime, world::Plans};
use serde_json::Value as Json;

use super::categories::PlanCategories;
use crate::{
    config::PlanSource,
    graph::{GraphClient, ListOutcome},
    keys,
    store::{Store, StoreError},
};

/// How long the plans of a group are taken as known, ms: a new plan is known within a minute.
const GROUP_MS: i64 = 45 * 1000;
/// How soon a group whose plans could not be read is asked again, ms.
const RETRY_MS: i64 = 15 * 1000;

/// The settings, and what Graph last said about the groups in them.
#[derive(Debug)]
pub struct PlanSources {
    sources: Vec<PlanSource>,
    day_time: DayTime,
    groups: Mutex<BTreeMap<String, Group>>,
    pub(super) categories: PlanCategories,
}

#[derive(Debug, Clone, Default)]
struct Group {
    plans: Vec<String>,
    problem: Option<String>,
    ask_at: i64,
    read: bool,
}

impl PlanSources {
    /// Plans by the settings.
    pub fn new(sources: Vec<PlanSource>) -> Self {
        Self {
            sources,
            day_time: DayTime::default(),
            groups: Mutex::new(BTreeMap::new()),
            categories: PlanCategories::default(),
        }
    }

    /// With this time of day for whole days.
    #[must_use]
    pub fn with_day_time(mut self, time: DayTime) -> Self {
        self.day_time = time;
        self
    }

    /// Whether the settings name any.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The synced plans now. `graph` is asked only for groups whose plans are not known or old, and for
    /// the names of categories; without it, what is known counts.
    pub async fn read(
        &self,
        store: &Store,
        graph: Option<&GraphClient>,
        now: i64,
    ) -> Result<Plans, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(keys::config_default_plan_id());
        let default: Option<String> = store.command(&get).await?;
        let default = default.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        let mut plans = Plans { day_time: self.day_time.clone(), ..Plans::default() };
        for source in &self.sources {
            match source {
                PlanSource::Plan(id) => add(&mut plans.synced, id),
                PlanSource::Group(id) => {
                    let group = self.group(id, graph, now).await;
                    group.plans.iter().for_each(|plan| add(&mut plans.synced, plan));
                    plans.unread |= !group.read;
                    plans.problems.extend(group.problem);
                }
            }
        }
        if let Some(default) = &default {
            add(&mut plans.synced, default);
        }
        plans.default = default.or_else(|| plans.synced.first().cloned());
        plans.categories = self.categories.read(store, graph, &plans.synced, now).await?;
        Ok(plans)
    }

    async fn group(&self, id: &str, graph: Option<&GraphClient>, now: i64) -> Group {
        let known = self.groups.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(group) = known.clone().filter(|group| now < group.ask_at) {
            return group;
        }
        let mut group = known.unwrap_or_default();
        let Some(graph) = graph else { return group };
        match graph.group_plans(id).await {
            ListOutcome::Complete(plans) => {
                let ids = plans.iter().filter_map(|plan| plan.get("id").and_then(Json::as_str));
                group = Group {
                    plans: ids.map(str::to_owned).collect(),
                    problem: None,
                    ask_at: now + GROUP_MS,
                    read: true,
                };
            }
            ListOutcome::Failed { status, .. } => {
                group.problem = Some(format!("the plans of group {id} were refused with {status}"));
                group.ask_at = now + RETRY_MS;
            }
            ListOutcome::Incomplete(reason) => {
                group.problem = Some(format!("the plans of group {id} could not be read: {reason}"));
                group.ask_at = now + RETRY_MS;
            }
        }
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), group.clone());
        group
    }
}

fn add(plans: &mut Vec<String>, id: &str) {
    if !plans.iter().any(|plan| plan == id) {
        plans.push(id.to_owned());
    }
}
