//! The simulator's control from inside the process: seed data, a person's edits, faults, journal, figures.

mod data;
mod people;
mod settings;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

pub use self::{data::NewTask, settings::Settings};
use super::{
    SimError,
    conduct::{self, Breach},
    entra::{APP_ROLES, Refusal},
    fault::{Armed, Fault},
    journal::{Counts, Entry},
    planner::{Actor, Rules},
    schema::{Checked, Violation},
    simulator::{Inner, State},
    store::Store,
};

/// A handle on a running simulator; clones are the same simulator.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) inner: Arc<Inner>,
}

impl Control {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
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

    /// A plan's details as Graph shows them: the names of its categories, and whom it is shared with. Unseen by the
    /// journal.
    pub fn plan_details(&self, plan: &str) -> Option<Value> {
        self.inner.state().store.plans.get(plan).map(|plan| shown(&plan.details))
    }

    /// A plan's buckets as Graph shows them, in order of creation. Unseen by the journal.
    pub fn buckets(&self, plan: &str) -> Vec<Value> {
        let state = self.inner.state();
        let Some(plan) = state.store.plans.get(plan) else { return Vec::new() };
        plan.buckets.values().filter_map(|id| state.store.buckets.get(id)).map(shown).collect()
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

    /// Graph goes away (connections close without an answer) or comes back. Tokens are still handed out,
    /// and `person_*` calls still work: they stand for people whose own way to Planner is good.
    pub fn set_offline(&self, offline: bool) {
        self.inner.state().offline = offline;
    }

    /// How long each HTTP request to Graph takes.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.state().latency = latency;
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

    /// What a well-behaved client does not do, found in the journal: see [`conduct`].
    pub fn breaches(&self) -> Vec<Breach> {
        conduct::breaches(&self.journal())
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
            state.rules = Rules {
                switches: options.switches,
                page_size: options.page_size,
                limits: options.limits.clone(),
                ..Rules::default()
            };
            state.entra.roles = APP_ROLES.map(str::to_owned).to_vec();
            state.wait = (0, 0);
            state.throttle = None;
            state.item_wait.clear();
            state.entra.refusal = None;
        }
        self.load(&self.inner.options.data)
    }
}

fn shown(entity: &super::store::Entity) -> Value {
    let mut members = entity.members.clone();
    members.insert("@odata.etag".into(), json!(entity.etag()));
    Value::Object(members)
}
