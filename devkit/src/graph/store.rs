//! What the simulator holds: plans, buckets, tasks and people, with a version for every property, what was there
//! shortly before, and the record of changes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::{
    changes::{Change, Changes, Event},
    etag::{self, Kind},
};

/// How many earlier versions of a resource are kept for stale reads.
const PAST: usize = 8;
/// How long a deleted task is kept for stale reads, in milliseconds.
const GRAVE_MS: u64 = 120_000;

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
    past: VecDeque<Past>,
}

/// An earlier version.
#[derive(Debug, Clone)]
struct Past {
    until_ms: u64,
    version: u64,
    members: Map<String, Value>,
}

/// A resource as it was at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its version then.
    pub version: u64,
    /// Its members then.
    pub members: &'a Map<String, Value>,
}

impl Shown<'_> {
    /// Its entity tag.
    pub fn etag(&self) -> String {
        etag::format(self.kind, self.version)
    }
}

impl Entity {
    /// Version 1 of a resource.
    pub fn new(kind: Kind, members: Map<String, Value>) -> Self {
        Self { kind, version: 1, members, changed: HashMap::new(), past: VecDeque::new() }
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

    /// The resource as it is, or as it was at a moment in milliseconds since the start.
    pub fn shown(&self, at_ms: Option<u64>) -> Shown<'_> {
        let earlier = at_ms.and_then(|at| self.past.iter().find(|past| past.until_ms > at));
        match earlier {
            Some(past) => Shown { kind: self.kind, version: past.version, members: &past.members },
            None => Shown { kind: self.kind, version: self.version, members: &self.members },
        }
    }

    /// Writes the new members as one new version and notes which properties it changed.
    fn commit(
        &mut self,
        members: Map<String, Value>,
        paths: impl IntoIterator<Item = String>,
        now_ms: u64,
    ) -> Map<String, Value> {
        let before = std::mem::replace(&mut self.members, members);
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(Past { until_ms: now_ms, version: self.version, members: before.clone() });
        self.version += 1;
        for path in paths {
            self.changed.insert(path, self.version);
        }
        before
    }
}

/// A task with everything that hangs on it.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its place in the order of creation.
    pub seq: u64,
    /// When it was made, in milliseconds since the start.
    pub made_ms: u64,
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

    /// The task's id.
    pub fn id(&self) -> &str {
        self.core.get("id").as_str().unwrap_or_default()
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

/// When, and by whom, what is done next is done.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// Milliseconds since the start.
    pub ms: u64,
    /// As entities write it.
    pub stamp: String,
    /// The `identitySet` of who does it.
    pub actor: Value,
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
    /// Tasks by their creators' ids: `contextScenarioId`, `externalObjectId` (beta).
    pub external: HashMap<(String, String), String>,
    /// What became of tasks.
    pub changes: Changes,
    /// The moment of the operation under way.
    pub now: Moment,
    graves: VecDeque<(u64, Task)>,
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
            made_ms: self.now.ms,
            core: Entity::new(Kind::Task, members),
            details: Entity::new(Kind::TaskDetails, details),
            formats,
        };
        self.changes.add(Change::of(&self.now, Event::Created, &task, None));
        self.tasks.insert(id, task);
    }

    /// Writes a new version of a resource and records what became of the task it belongs to.
    pub fn commit(
        &mut self,
        kind: Kind,
        id: &str,
        members: Map<String, Value>,
        paths: impl IntoIterator<Item = String>,
    ) {
        let ms = self.now.ms;
        let Some(entity) = self.find_mut(kind, id) else { return };
        let before = entity.commit(members, paths, ms);
        if matches!(kind, Kind::Task | Kind::TaskDetails)
            && let Some(task) = self.tasks.get(id)
        {
            let before = (kind == Kind::Task).then_some(before);
            self.changes.add(Change::of(&self.now, Event::Updated, task, before));
        }
    }

    /// The resource of this kind that belongs to `id`.
    pub fn find(&self, kind: Kind, id: &str) -> Option<&Entity> {
        match kind {
            Kind::Plan => self.plans.get(id).map(|plan| &plan.core),
            Kind::PlanDetails => self.plans.get(id).map(|plan| &plan.details),
            Kind::Bucket => self.buckets.get(id),
            _ => self.tasks.get(id).map(|task| part(task, kind)),
        }
    }

    /// The same, to be changed.
    pub fn find_mut(&mut self, kind: Kind, id: &str) -> Option<&mut Entity> {
        match kind {
            Kind::Plan => self.plans.get_mut(id).map(|plan| &mut plan.core),
            Kind::PlanDetails => self.plans.get_mut(id).map(|plan| &mut plan.details),
            Kind::Bucket => self.buckets.get_mut(id),
            _ => {
                let task = self.tasks.get_mut(id)?;
                Some(match kind {
                    Kind::TaskDetails => &mut task.details,
                    Kind::AssignedToFormat => &mut task.formats[0],
                    Kind::BucketFormat => &mut task.formats[1],
                    Kind::ProgressFormat => &mut task.formats[2],
                    _ => &mut task.core,
                })
            }
        }
    }

    /// The tasks that were deleted after `at_ms`.
    pub fn deleted_since(&self, at_ms: u64) -> impl Iterator<Item = &Task> {
        self.graves.iter().filter(move |(gone_ms, _)| *gone_ms > at_ms).map(|(_, task)| task)
    }

    /// Takes a task away; whether it was there.
    pub fn remove_task(&mut self, id: &str) -> bool {
        let Some(task) = self.tasks.remove(id) else { return false };
        if let Some(plan) = self.plans.get_mut(task.plan()) {
            plan.tasks.remove(&task.seq);
        }
        self.bury(task);
        true
    }

    fn bury(&mut self, task: Task) {
        let old = Some(task.core.members.clone());
        self.changes.add(Change::of(&self.now, Event::Deleted, &task, old));
        let now = self.now.ms;
        while self.graves.front().is_some_and(|(gone_ms, _)| now.saturating_sub(*gone_ms) > GRAVE_MS) {
            self.graves.pop_front();
        }
        self.graves.push_back((now, task));
    }

    /// Puts a task into another plan, at its end and in none of its buckets unless `bucket` names one.
    pub fn move_task(&mut self, id: &str, plan: &str, bucket: Option<&str>) -> bool {
        let Some(task) = self.tasks.get(id) else { return false };
        let (from, old_seq) = (task.plan().to_owned(), task.seq);
        if !self.plans.contains_key(plan) {
            return false;
        }
        let seq = self.next_seq();
        if let Some(from) = self.plans.get_mut(&from) {
            from.tasks.remove(&old_seq);
        }
        if let Some(to) = self.plans.get_mut(plan) {
            to.tasks.insert(seq, id.to_owned());
        }
        let Some(task) = self.tasks.get_mut(id) else { return false };
        task.seq = seq;
        let mut members = task.core.members.clone();
        members.insert("planId".into(), json!(plan));
        members.insert("bucketId".into(), json!(bucket));
        let old = task.core.commit(members, ["planId".to_owned(), "bucketId".to_owned()], self.now.ms);
        let change = Change::of(&self.now, Event::Moved, task, Some(old));
        self.changes.add(Change { plan: from, ..change.clone() });
        self.changes.add(change);
        true
    }

    /// Takes a bucket away. Its tasks stay in the plan without one, or go with it.
    pub fn remove_bucket(&mut self, id: &str, with_tasks: bool) -> bool {
        let Some(bucket) = self.buckets.remove(id) else { return false };
        let plan = bucket.get("planId").as_str().unwrap_or_default().to_owned();
        if let Some(plan) = self.plans.get_mut(&plan) {
            plan.buckets.retain(|_, bucket| bucket != id);
        }
        let tasks: Vec<String> = self
            .tasks
            .values()
            .filter(|task| task.core.get("bucketId") == id)
            .map(|task| task.id().to_owned())
            .collect();
        for task in tasks {
            if with_tasks {
                self.remove_task(&task);
                continue;
            }
            let Some(entity) = self.find(Kind::Task, &task) else { continue };
            let mut members = entity.members.clone();
            members.insert("bucketId".into(), Value::Null);
            self.commit(Kind::Task, &task, members, ["bucketId".to_owned()]);
        }
        true
    }

    /// Takes a plan away with all that is in it.
    pub fn remove_plan(&mut self, id: &str) -> bool {
        let Some(plan) = self.plans.remove(id) else { return false };
        for task in plan.tasks.values() {
            if let Some(task) = self.tasks.remove(task) {
                self.bury(task);
            }
        }
        for bucket in plan.buckets.values() {
            self.buckets.remove(bucket);
        }
        true
    }
}

/// The part of a task that is of this kind.
pub fn part(task: &Task, kind: Kind) -> &Entity {
    match kind {
        Kind::TaskDetails => &task.details,
        Kind::AssignedToFormat => &task.formats[0],
        Kind::BucketFormat => &task.formats[1],
        Kind::ProgressFormat => &task.formats[2],
        _ => &task.core,
    }
}

fn text(members: &Map<String, Value>, name: &str) -> String {
    members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
