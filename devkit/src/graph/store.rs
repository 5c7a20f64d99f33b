//! What the simulator holds: plans, buckets, tasks and people, with a version for every property.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::etag::{self, Kind};

/// One resource with an entity tag: its members and when each was last changed.
#[derive(Debug, Clone)]
pub struct Entity {
    /// What it is.
    pub kind: Kind,
    /// The version that its entity tag shows, 1 and up.
    pub version: u64,
    /// Its members. Open types are objects inside.
    pub members: Map<String, Value>,
    changed: HashMap<String, u64>,
}

impl Entity {
    /// Version 1 of a resource.
    pub fn new(kind: Kind, members: Map<String, Value>) -> Self {
        Self { kind, version: 1, members, changed: HashMap::new() }
    }

    /// Its entity tag.
    pub fn etag(&self) -> String {
        etag::format(self.kind, self.version)
    }

    /// A member, `Null` when it is not there.
    pub fn get(&self, name: &str) -> &Value {
        self.members.get(name).unwrap_or(&Value::Null)
    }

    /// The version in which the property at `path` (`title`, `assignments/{user}`) last changed; 1 if never since.
    pub fn changed_at(&self, path: &str) -> u64 {
        self.changed.get(path).copied().unwrap_or(1)
    }

    /// Writes the new members as one new version and notes which properties it changed.
    pub fn commit(&mut self, members: Map<String, Value>, paths: impl IntoIterator<Item = String>) {
        self.version += 1;
        self.members = members;
        for path in paths {
            self.changed.insert(path, self.version);
        }
    }
}

/// A task with everything that hangs on it.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its place in the order of creation.
    pub seq: u64,
    /// The task itself.
    pub core: Entity,
    /// Description, checklist and references.
    pub details: Entity,
    /// The three board formats: by assignee, by bucket, by progress.
    pub formats: [Entity; 3],
}

impl Task {
    /// The id of the plan that the task is in.
    pub fn plan(&self) -> &str {
        self.core.get("planId").as_str().unwrap_or_default()
    }
}

/// A plan with its details and the order of its tasks.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its place in the order of creation.
    pub seq: u64,
    /// The plan itself.
    pub core: Entity,
    /// Category names and whom it is shared with.
    pub details: Entity,
    /// Its tasks by order of creation.
    pub tasks: BTreeMap<u64, String>,
    /// Its buckets by order of creation.
    pub buckets: BTreeMap<u64, String>,
}

/// Everything of one tenant.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// Plans by id.
    pub plans: HashMap<String, Plan>,
    /// Buckets by id.
    pub buckets: HashMap<String, Entity>,
    /// Tasks by id.
    pub tasks: HashMap<String, Task>,
    /// Users by id, as Graph shows them.
    pub users: BTreeMap<String, Value>,
    /// Groups by id, as Graph shows them.
    pub groups: BTreeMap<String, Value>,
    next: u64,
}

impl Store {
    /// The next place in the order of creation.
    pub fn next_seq(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Adds a plan. `members` needs `id` and `title`.
    pub fn insert_plan(&mut self, members: Map<String, Value>, details: Map<String, Value>) {
        let id = text(&members, "id");
        let seq = self.next_seq();
        let mut details_members = details;
        details_members.insert("id".into(), json!(id));
        let plan = Plan {
            seq,
            core: Entity::new(Kind::Plan, members),
            details: Entity::new(Kind::PlanDetails, details_members),
            tasks: BTreeMap::new(),
            buckets: BTreeMap::new(),
        };
        self.plans.insert(id, plan);
    }

    /// Adds a bucket. `members` needs `id`, `name` and the `planId` of a plan that is there.
    pub fn insert_bucket(&mut self, members: Map<String, Value>) {
        let id = text(&members, "id");
        let seq = self.next_seq();
        if let Some(plan) = self.plans.get_mut(&text(&members, "planId")) {
            plan.buckets.insert(seq, id.clone());
        }
        self.buckets.insert(id, Entity::new(Kind::Bucket, members));
    }

    /// Adds a task. `members` needs `id`, `title` and the `planId` of a plan that is there.
    pub fn insert_task(&mut self, members: Map<String, Value>, details: Map<String, Value>) {
        let id = text(&members, "id");
        let seq = self.next_seq();
        if let Some(plan) = self.plans.get_mut(&text(&members, "planId")) {
            plan.tasks.insert(seq, id.clone());
        }
        let hint = members.get("orderHint").cloned().unwrap_or(Value::Null);
        let mut details = details;
        details.insert("id".into(), json!(id));
        let format = |kind, mut members: Map<String, Value>| {
            members.insert("id".into(), json!(id));
            Entity::new(kind, members)
        };
        let mut assigned = Map::new();
        assigned.insert("unassignedOrderHint".into(), hint.clone());
        assigned.insert("orderHintsByAssignee".into(), json!({}));
        let mut by_hint = Map::new();
        by_hint.insert("orderHint".into(), hint);
        let formats = [
            format(Kind::AssignedToFormat, assigned),
            format(Kind::BucketFormat, by_hint.clone()),
            format(Kind::ProgressFormat, by_hint),
        ];
        let task = Task {
            seq,
            core: Entity::new(Kind::Task, members),
            details: Entity::new(Kind::TaskDetails, details),
            formats,
        };
        self.tasks.insert(id, task);
    }

    /// Takes a task away; whether it was there.
    pub fn remove_task(&mut self, id: &str) -> bool {
        let Some(task) = self.tasks.remove(id) else { return false };
        if let Some(plan) = self.plans.get_mut(task.plan()) {
            plan.tasks.remove(&task.seq);
        }
        true
    }

    /// Takes a bucket away; its tasks stay in the plan without a bucket. What Planner does with them is
    /// not published.
    pub fn remove_bucket(&mut self, id: &str) -> bool {
        let Some(bucket) = self.buckets.remove(id) else { return false };
        let plan = bucket.get("planId").as_str().unwrap_or_default().to_owned();
        if let Some(plan) = self.plans.get_mut(&plan) {
            plan.buckets.retain(|_, bucket| bucket != id);
        }
        for task in self.tasks.values_mut().filter(|task| task.core.get("bucketId") == id) {
            let mut members = task.core.members.clone();
            members.insert("bucketId".into(), Value::Null);
            task.core.commit(members, ["bucketId".to_owned()]);
        }
        true
    }

    /// Takes a plan away with all that is in it.
    pub fn remove_plan(&mut self, id: &str) -> bool {
        let Some(plan) = self.plans.remove(id) else { return false };
        for task in plan.tasks.values() {
            self.tasks.remove(task);
        }
        for bucket in plan.buckets.values() {
            self.buckets.remove(bucket);
        }
        true
    }
}

fn text(members: &Map<String, Value>, name: &str) -> String {
    members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
