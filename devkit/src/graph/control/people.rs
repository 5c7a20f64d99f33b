//! What people do in Planner's own pages, through Graph's routes, and their tokens.

use serde_json::{Value, json};

use super::Control;
use crate::graph::{
    SimError,
    answer::{Answer, GraphError},
    planner::Actor,
    simulator::State,
    store::Moment,
    switches::Moved,
};

impl Control {
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

    /// A person changes a plan's details: the names of its categories, and whom it is shared with. Returns them.
    pub fn person_patch_plan_details(&self, user: &str, plan: &str, body: Value) -> Result<Value, SimError> {
        let tag = self.tag(self.plan_details(plan), "plan", plan)?;
        self.person(user, "PATCH", &format!("/planner/plans/{plan}/details"), Some(tag), Some(body))
    }

    /// A person renames a bucket, or changes its order. Returns it.
    pub fn person_patch_bucket(&self, user: &str, bucket: &str, body: Value) -> Result<Value, SimError> {
        let tag = self.tag(self.bucket(bucket), "bucket", bucket)?;
        self.person(user, "PATCH", &format!("/planner/buckets/{bucket}"), Some(tag), Some(body))
    }

    /// A person deletes a bucket; a switch says what becomes of its tasks.
    pub fn person_delete_bucket(&self, user: &str, bucket: &str) -> Result<(), SimError> {
        let tag = self.tag(self.bucket(bucket), "bucket", bucket)?;
        self.person(user, "DELETE", &format!("/planner/buckets/{bucket}"), Some(tag), None).map(|_| ())
    }

    fn bucket(&self, id: &str) -> Option<Value> {
        self.inner.state().store.buckets.get(id).map(super::shown)
    }

    /// A person moves a task to another plan, as Planner's own pages can. Returns its id there: a switch says whether
    /// it is a new one.
    pub fn person_move(&self, user: &str, task: &str, plan: &str) -> Result<String, SimError> {
        let actor = Actor::Person(user.to_owned()).identity();
        let (ms, stamp) = (self.inner.clock.elapsed_ms(), self.inner.clock.stamp());
        let mut state = self.inner.state();
        let State { store, rng, rules, .. } = &mut *state;
        let unknown = |what, id: &str| SimError::Unknown { what, id: id.to_owned() };
        if !store.plans.contains_key(plan) {
            return Err(unknown("plan", plan));
        }
        store.now = Moment { ms, stamp, actor };
        if rules.switches.moved == Moved::KeepsId {
            return if store.move_task(task, plan, None) {
                Ok(task.to_owned())
            } else {
                Err(unknown("task", task))
            };
        }
        let old = store.tasks.get(task).ok_or_else(|| unknown("task", task))?;
        let (mut members, details) = (old.core.members.clone(), old.details.members.clone());
        let id = rng.planner_id();
        for (name, value) in [("id", json!(id)), ("planId", json!(plan)), ("bucketId", Value::Null)] {
            members.insert(name.into(), value);
        }
        store.remove_task(task);
        store.insert_task(members, details);
        Ok(id)
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

    /// A delegated token of a user with these scopes and no others.
    pub fn person_token_for(&self, user: &str, scopes: &[&str]) -> Result<String, SimError> {
        let now = self.inner.clock.now_ms();
        let mut state = self.inner.state();
        if !state.store.users.contains_key(user) {
            return Err(SimError::Unknown { what: "user", id: user.to_owned() });
        }
        let State { entra, rng, .. } = &mut *state;
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Ok(entra.issue_for(Actor::Person(user.to_owned()), scopes, now, rng))
    }
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
