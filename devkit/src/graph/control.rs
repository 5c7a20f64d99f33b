//! The simulator's control from inside the process: seed data, a person's edits, faults, journal, figures.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    SimError,
    answer::{Answer, GraphError},
    entra::Refusal,
    fault::{Armed, Fault},
    journal::{Counts, Entry},
    order_hint,
    planner::{Actor, Limits, Missing, Stale, new_task_members},
    schema::{Checked, Violation},
    seed::Seed,
    simulator::{Inner, State},
    store::Store,
};

/// A handle on a running simulator; clones are the same simulator.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) inner: Arc<Inner>,
}

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

/// Settings that can be changed while the simulator runs; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How long each HTTP request to Graph takes, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Entries in a page.
    pub page_size: Option<usize>,
    /// Whether Graph is away: connections close without an answer.
    pub offline: Option<bool>,
    /// Whether `/beta` is served.
    pub beta: Option<bool>,
    /// What is answered for an id that is missing.
    pub missing: Option<Missing>,
    /// What is answered to a conflicting PATCH.
    pub stale: Option<Stale>,
    /// How many versions back a PATCH is merged.
    pub history_window: Option<u64>,
    /// The service's limits.
    pub limits: Option<Limits>,
    /// How long new tokens live, in seconds.
    pub token_lifetime_s: Option<u64>,
}

impl Control {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

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
        let mut names = Map::new();
        for number in 1..=25 {
            names.insert(format!("category{number}"), Value::Null);
        }
        let given = members.remove("details");
        let part = |name: &str| {
            given.as_ref().and_then(|details| details.get(name)?.as_object()).cloned().unwrap_or_default()
        };
        names.extend(part("categoryDescriptions"));
        let mut details = Map::new();
        details.insert("sharedWith".into(), Value::Object(part("sharedWith")));
        details.insert("categoryDescriptions".into(), Value::Object(names));
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
        let mut members =
            new_task_members(&id, &now, Actor::Person(super::seed::AUTHOR.into()).identity(), &hint);
        members.extend(given);
        let mut details = Map::new();
        details.insert("description".into(), json!(""));
        details.insert("previewType".into(), json!("automatic"));
        details.insert("checklist".into(), json!({}));
        details.insert("references".into(), json!({}));
        details.extend(given_details);
        let size = |name: &str| details.get(name).and_then(Value::as_object).map_or(0, Map::len);
        let active = details.get("checklist").and_then(Value::as_object).map_or(0, |items| {
            items.values().filter(|item| item.get("isChecked") != Some(&json!(true))).count()
        });
        members.insert("checklistItemCount".into(), json!(size("checklist")));
        members.insert("activeChecklistItemCount".into(), json!(active));
        members.insert("referenceCount".into(), json!(size("references")));
        members.insert("hasDescription".into(), json!(details.get("description") != Some(&json!(""))));
        store.insert_task(members, details);
        if let Some(task) = store.tasks.get_mut(&id) {
            task.core.version = version;
            task.details.version = details_version;
        }
        Ok(id)
    }

    /// A plan's tasks as Graph shows them in a list, in order of creation. Unseen by the journal.
    pub fn tasks(&self, plan: &str) -> Vec<Value> {
        let state = self.inner.state();
        let Some(plan) = state.store.plans.get(plan) else { return Vec::new() };
        plan.tasks.values().filter_map(|id| state.store.tasks.get(id)).map(|task| shown(&task.core)).collect()
    }

    /// A task as Graph shows it. Unseen by the journal.
    pub fn task(&self, id: &str) -> Option<Value> {
        self.inner.state().store.tasks.get(id).map(|task| shown(&task.core))
    }

    /// A task's details as Graph shows them. Unseen by the journal.
    pub fn details(&self, id: &str) -> Option<Value> {
        self.inner.state().store.tasks.get(id).map(|task| shown(&task.details))
    }

    /// Everything that the page shows.
    pub fn snapshot(&self) -> Value {
        let state = self.inner.state();
        let store = &state.store;
        let mut plans: Vec<_> = store.plans.values().collect();
        plans.sort_by_key(|plan| plan.seq);
        let tasks = |plan: &super::store::Plan| -> Vec<Value> {
            plan.tasks.values().filter_map(|id| store.tasks.get(id)).map(|task| shown(&task.core)).collect()
        };
        let buckets = |plan: &super::store::Plan| -> Vec<Value> {
            plan.buckets.values().filter_map(|id| store.buckets.get(id)).map(shown).collect()
        };
        json!({
            "plans": plans.iter().map(|plan| shown(&plan.core)).collect::<Vec<_>>(),
            "buckets": plans.iter().flat_map(|plan| buckets(plan)).collect::<Vec<_>>(),
            "tasks": plans.iter().flat_map(|plan| tasks(plan)).collect::<Vec<_>>(),
            "users": store.users.values().collect::<Vec<_>>(),
            "groups": store.groups.values().collect::<Vec<_>>(),
        })
    }

    /// A person makes a task, through Graph's own route. Returns it.
    pub fn person_create(&self, user: &str, body: Value) -> Result<Value, SimError> {
        self.person(user, "POST", "/planner/tasks", None, Some(body))
    }

    /// A person changes a task that they have just looked at. Returns it.
    pub fn person_patch(&self, user: &str, task: &str, body: Value) -> Result<Value, SimError> {
        let tag = self.tag(self.task(task), "task", task)?;
        self.person(user, "PATCH", &format!("/planner/tasks/{task}"), Some(tag), Some(body))
    }

    /// A person changes a task's details. Returns them.
    pub fn person_patch_details(&self, user: &str, task: &str, body: Value) -> Result<Value, SimError> {
        let tag = self.tag(self.details(task), "task", task)?;
        self.person(user, "PATCH", &format!("/planner/tasks/{task}/details"), Some(tag), Some(body))
    }

    /// A person deletes a task.
    pub fn person_delete(&self, user: &str, task: &str) -> Result<(), SimError> {
        let tag = self.tag(self.task(task), "task", task)?;
        self.person(user, "DELETE", &format!("/planner/tasks/{task}"), Some(tag), None).map(|_| ())
    }

    fn tag(&self, entity: Option<Value>, what: &'static str, id: &str) -> Result<String, SimError> {
        entity
            .and_then(|entity| entity.get("@odata.etag")?.as_str().map(str::to_owned))
            .ok_or_else(|| SimError::Unknown { what, id: id.to_owned() })
    }

    fn person(
        &self,
        user: &str,
        method: &str,
        path: &str,
        tag: Option<String>,
        body: Option<Value>,
    ) -> Result<Value, SimError> {
        if !self.inner.state().store.users.contains_key(user) {
            return Err(SimError::Unknown { what: "user", id: user.to_owned() });
        }
        let answer = self.inner.direct(&Actor::Person(user.to_owned()), method, path, tag, body);
        refused(&answer)?;
        Ok(answer.body.unwrap_or(Value::Null))
    }

    /// A delegated token of a user, as Planner's own pages would have.
    pub fn person_token(&self, user: &str) -> Result<String, SimError> {
        let now = self.inner.clock.now_ms();
        let mut state = self.inner.state();
        if !state.store.users.contains_key(user) {
            return Err(SimError::Unknown { what: "user", id: user.to_owned() });
        }
        let State { entra, rng, .. } = &mut *state;
        Ok(entra.issue(Actor::Person(user.to_owned()), now, rng))
    }

    /// An app-only token of the registered application.
    pub fn app_token(&self) -> String {
        let now = self.inner.clock.now_ms();
        let mut state = self.inner.state();
        let State { entra, rng, .. } = &mut *state;
        entra.issue(Actor::App(super::CLIENT_ID.into()), now, rng)
    }

    /// Ends every token that is out.
    pub fn expire_tokens(&self) {
        let now = self.inner.clock.now_ms();
        self.inner.state().entra.expire_all(now);
    }

    /// The next `count` requests for a token meet this AADSTS error.
    pub fn refuse_tokens(&self, code: u32, count: u64) {
        self.inner.state().entra.refusal = (count > 0).then_some(Refusal { code, count });
    }

    /// Sets a fault and returns its number.
    pub fn fault(&self, fault: Fault) -> Result<u64, SimError> {
        Ok(self.inner.state().faults.arm(fault)?)
    }

    /// The faults that are set, with what they have met.
    pub fn faults(&self) -> Vec<Armed> {
        self.inner.state().faults.list().to_vec()
    }

    /// Takes all faults away, and ends a throttle.
    pub fn clear_faults(&self) {
        let mut state = self.inner.state();
        state.faults.clear();
        state.throttle = None;
        state.entra.refusal = None;
    }

    /// Graph goes away (connections close without an answer) or comes back. Tokens are still handed out.
    pub fn set_offline(&self, offline: bool) {
        self.inner.state().offline = offline;
    }

    /// How long each HTTP request to Graph takes.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.state().latency = latency;
    }

    /// Changes settings.
    pub fn set(&self, settings: Settings) {
        let mut state = self.inner.state();
        let state = &mut *state;
        let put = |slot: &mut u64, value: Option<u64>| *slot = value.unwrap_or(*slot);
        put(&mut state.rules.history_window, settings.history_window);
        put(&mut state.entra.lifetime_s, settings.token_lifetime_s);
        state.latency = settings.latency_ms.map_or(state.latency, Duration::from_millis);
        state.rules.page_size = settings.page_size.unwrap_or(state.rules.page_size);
        state.offline = settings.offline.unwrap_or(state.offline);
        state.beta = settings.beta.unwrap_or(state.beta);
        state.rules.missing = settings.missing.unwrap_or(state.rules.missing);
        state.rules.stale = settings.stale.unwrap_or(state.rules.stale);
        if let Some(limits) = settings.limits {
            state.rules.limits = limits;
        }
    }

    /// The settings as they are.
    pub fn settings(&self) -> Settings {
        let state = self.inner.state();
        Settings {
            latency_ms: u64::try_from(state.latency.as_millis()).ok(),
            page_size: Some(state.rules.page_size),
            offline: Some(state.offline),
            beta: Some(state.beta),
            missing: Some(state.rules.missing),
            stale: Some(state.rules.stale),
            history_window: Some(state.rules.history_window),
            limits: Some(state.rules.limits.clone()),
            token_lifetime_s: Some(state.entra.lifetime_s),
        }
    }

    /// Moves the simulator's clock forward: tokens and `Retry-After` windows age, latency stays real.
    pub fn advance(&self, by: Duration) {
        self.inner.clock.advance(by);
    }

    /// Milliseconds since the simulator started, as the journal counts them.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.elapsed_ms()
    }

    /// Every request and item since the last reset.
    pub fn journal(&self) -> Vec<Entry> {
        self.journal_since(0)
    }

    /// The entries with a number above `seq`.
    pub fn journal_since(&self, seq: u64) -> Vec<Entry> {
        self.inner.state().journal.since(seq)
    }

    /// Figures since the last reset.
    pub fn counts(&self) -> Counts {
        self.inner.state().journal.counts().clone()
    }

    /// Messages that did not fit Microsoft's descriptions.
    pub fn violations(&self) -> Vec<Violation> {
        self.inner.state().findings.list().to_vec()
    }

    /// How many messages were checked.
    pub fn checked(&self) -> Checked {
        self.inner.state().findings.checked.clone()
    }

    /// Back to the start: the seed's data, no faults, an empty journal. Tokens stay good.
    pub fn reset(&self) -> Result<(), SimError> {
        {
            let mut state = self.inner.state();
            let options = &self.inner.options;
            state.store = Store::default();
            state.faults.clear();
            state.journal.clear();
            state.findings.clear();
            state.latency = options.latency;
            state.beta = options.beta;
            state.offline = false;
            state.rules.page_size = options.page_size;
            state.rules.limits = options.limits.clone();
            state.wait_until_ms = 0;
            state.throttle = None;
            state.item_wait.clear();
            state.entra.refusal = None;
        }
        self.load(&self.inner.options.data)
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

fn shown(entity: &super::store::Entity) -> Value {
    let mut members = entity.members.clone();
    members.insert("@odata.etag".into(), json!(entity.etag()));
    Value::Object(members)
}

/// Graph's refusal as an error.
fn refused(answer: &Answer) -> Result<(), SimError> {
    if answer.status < 400 {
        return Ok(());
    }
    let part = |name: &str| {
        let body = answer.body.as_ref();
        body.and_then(|body| body.pointer(&format!("/error/{name}"))?.as_str()).unwrap_or_default().to_owned()
    };
    Err(GraphError::new(answer.status, &part("code"), part("message")).into())
}
