//! What is put into a simulator past Graph's routes: users, groups, plans, buckets, tasks.

use serde_json::{Map, Value, json};

use super::Control;
use crate::graph::{
    SimError, order_hint,
    planner::{Actor, new_plan_details, new_task_details, new_task_members, shown_details},
    seed::{self, Seed},
    simulator::State,
    store::{Moment, Store},
};

/// A task to be put into the simulator, past Graph's routes and unseen by the journal.
#[derive(Debug, Clone, Default)]
pub struct NewTask {
    /// The plan it is in.
    pub plan: String,
    /// Its title.
    pub title: String,
    /// Other members (`bucketId`, `percentComplete`, `id`, `details`, `version`, `detailsVersion`, …).
    pub members: Map<String, Value>,
}

impl Control {
    /// Adds a seed's data to what is there.
    pub fn load(&self, seed: &Seed) -> Result<(), SimError> {
        for user in &seed.users {
            self.add_user(user.clone());
        }
        for group in &seed.groups {
            self.add_group(group.clone());
        }
        for plan in &seed.plans {
            self.insert_plan(plan.clone());
        }
        for bucket in &seed.buckets {
            self.insert_bucket(bucket.clone())?;
        }
        for task in &seed.tasks {
            self.insert_task(task.clone())?;
        }
        Ok(())
    }

    /// Adds a user; `id` is made if it is not given. Returns the id.
    pub fn add_user(&self, user: Map<String, Value>) -> String {
        self.add_directory_object(user, |store| &mut store.users)
    }

    /// Adds a group; `id` is made if it is not given. Returns the id.
    pub fn add_group(&self, group: Map<String, Value>) -> String {
        self.add_directory_object(group, |store| &mut store.groups)
    }

    fn add_directory_object(
        &self,
        mut members: Map<String, Value>,
        set: impl Fn(&mut Store) -> &mut std::collections::BTreeMap<String, Value>,
    ) -> String {
        let mut state = self.inner.state();
        let id = match members.get("id").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => state.rng.guid(),
        };
        members.insert("id".into(), json!(id));
        members.entry("displayName").or_insert_with(|| json!(id));
        set(&mut state.store).insert(id.clone(), Value::Object(members));
        id
    }

    /// Adds a plan of a group and returns its id.
    pub fn add_plan(&self, group: &str, title: &str) -> String {
        let mut members = Map::new();
        members.insert("owner".into(), json!(group));
        members.insert("title".into(), json!(title));
        self.insert_plan(members)
    }

    fn insert_plan(&self, mut members: Map<String, Value>) -> String {
        let now = self.inner.clock.stamp();
        let mut state = self.inner.state();
        let State { store, rng, .. } = &mut *state;
        let id = id_of(&mut members, || rng.planner_id());
        let owner = members.get("owner").and_then(Value::as_str).unwrap_or_default().to_owned();
        members.entry("createdDateTime").or_insert_with(|| json!(now));
        members.entry("container").or_insert_with(|| {
            json!({
                "containerId": owner, "type": "group",
                "url": format!("https://graph.microsoft.com/v1.0/groups/{owner}"),
            })
        });
        let mut details = new_plan_details();
        let given = members.remove("details");
        let part = |name: &str| {
            given.as_ref().and_then(|details| details.get(name)?.as_object()).cloned().unwrap_or_default()
        };
        details.insert("sharedWith".into(), Value::Object(part("sharedWith")));
        if let Some(names) = details.get_mut("categoryDescriptions").and_then(Value::as_object_mut) {
            names.extend(part("categoryDescriptions"));
        }
        store.insert_plan(members, details);
        id
    }

    /// Adds a bucket to a plan and returns its id.
    pub fn add_bucket(&self, plan: &str, name: &str) -> Result<String, SimError> {
        let mut members = Map::new();
        members.insert("planId".into(), json!(plan));
        members.insert("name".into(), json!(name));
        self.insert_bucket(members)
    }

    fn insert_bucket(&self, mut members: Map<String, Value>) -> Result<String, SimError> {
        let mut state = self.inner.state();
        let State { store, rng, .. } = &mut *state;
        known_plan(store, &members)?;
        let id = id_of(&mut members, || rng.planner_id());
        let hint = order_hint::newest(store.next_seq());
        members.entry("orderHint").or_insert_with(|| json!(hint));
        store.insert_bucket(members);
        Ok(id)
    }

    /// Adds a task, past Graph's routes, and returns its id.
    pub fn add_task(&self, task: NewTask) -> Result<String, SimError> {
        let mut members = task.members;
        members.insert("planId".into(), json!(task.plan));
        members.insert("title".into(), json!(task.title));
        self.insert_task(members)
    }

    fn insert_task(&self, mut given: Map<String, Value>) -> Result<String, SimError> {
        let now = self.inner.clock.stamp();
        let mut state = self.inner.state();
        let State { store, rng, .. } = &mut *state;
        known_plan(store, &given)?;
        let id = id_of(&mut given, || rng.planner_id());
        let given_details =
            given.remove("details").and_then(|details| details.as_object().cloned()).unwrap_or_default();
        let mut version = |name: &str| given.remove(name).and_then(|version| version.as_u64()).unwrap_or(1);
        let (version, details_version) = (version("version"), version("detailsVersion"));
        let hint = order_hint::newest(store.next_seq());
        let mut members = new_task_members(&id, &now, Actor::Person(seed::AUTHOR.into()).identity(), &hint);
        members.extend(given);
        let mut details = new_task_details();
        details.extend(given_details);
        members.extend(shown_details(&details).map(|(name, value)| (name.to_owned(), value)));
        // It was always there, as far as reads that lag behind can tell.
        store.now = Moment { ms: 0, stamp: now, actor: Value::Null };
        store.insert_task(members, details);
        if let Some(task) = store.tasks.get_mut(&id) {
            task.core.version = version;
            task.details.version = details_version;
        }
        Ok(id)
    }
}

fn id_of(members: &mut Map<String, Value>, make: impl FnOnce() -> String) -> String {
    let id = members.get("id").and_then(Value::as_str).map_or_else(make, str::to_owned);
    members.insert("id".into(), json!(id));
    id
}

fn known_plan(store: &Store, members: &Map<String, Value>) -> Result<(), SimError> {
    let plan = members.get("planId").and_then(Value::as_str).unwrap_or_default();
    if store.plans.contains_key(plan) {
        return Ok(());
    }
    Err(SimError::Unknown { what: "plan", id: plan.to_owned() })
}
