//! Planner's writes: create, PATCH with the merge of older versions, delete.

use serde_json::{Map, Value, json};

use super::{Call, Context, Stale, check_id, fields, find, find_mut, missing, read};
use crate::graph::{
    answer::{Answer, GraphError},
    etag::{self, Kind},
    order_hint,
    store::Entity,
};

/// The members of a task as Planner fills them in when a client names none.
pub(crate) fn new_task_members(id: &str, now: &str, created_by: Value, hint: &str) -> Map<String, Value> {
    let members = json!({
        "id": id,
        "planId": null,
        "bucketId": null,
        "title": null,
        "orderHint": hint,
        "assigneePriority": hint,
        "percentComplete": 0,
        "priority": 5,
        "startDateTime": null,
        "dueDateTime": null,
        "createdDateTime": now,
        "createdBy": created_by,
        "completedDateTime": null,
        "completedBy": null,
        "hasDescription": false,
        "previewType": "automatic",
        "referenceCount": 0,
        "checklistItemCount": 0,
        "activeChecklistItemCount": 0,
        "conversationThreadId": null,
        "appliedCategories": {},
        "assignments": {},
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn required<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, GraphError> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(|| {
        GraphError::invalid(format!(
            "The request is invalid:\r\nThe property '{name}' is required and must have a value."
        ))
    })
}

/// What is left of a body when the members that only a create may name are taken out.
fn without(body: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    body.iter()
        .filter(|(name, _)| !names.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// `POST /planner/plans`.
pub(super) fn create_plan(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let body = call.object()?;
    required(body, "title")?;
    let container = body.get("container");
    let group = container
        .and_then(|container| container.get("containerId"))
        .or_else(|| body.get("owner"))
        .and_then(Value::as_str)
        .or_else(|| container?.get("url")?.as_str()?.rsplit('/').next())
        .ok_or_else(|| {
            GraphError::invalid("The request is invalid:\r\nThe property 'container' is required.")
        })?
        .to_owned();
    if !context.store.groups.contains_key(&group) {
        return Err(GraphError::no_access());
    }
    let owned = context.store.plans.values().filter(|plan| plan.core.get("owner") == &json!(group)).count();
    context.rules.limits.check("MaximumPlannerPlans", owned + 1)?;
    let id = context.rng.planner_id();
    let mut start = Map::new();
    start.insert("id".into(), json!(id));
    start.insert("owner".into(), json!(group));
    start.insert("createdBy".into(), context.actor.identity());
    start.insert("createdDateTime".into(), json!(context.now));
    start.insert(
        "container".into(),
        json!({
            "containerId": group,
            "type": "group",
            "url": format!("https://graph.microsoft.com/v1.0/groups/{group}"),
        }),
    );
    let change = fields::apply(context, Kind::Plan, &start, &without(body, &["owner", "container"]))?;
    context.store.insert_plan(change.members, new_plan_details());
    created(context, Kind::Plan, &id)
}

/// The members of a plan's details before anyone wrote them.
pub(super) fn new_plan_details() -> Map<String, Value> {
    let mut names = Map::new();
    for number in 1..=25 {
        names.insert(format!("category{number}"), Value::Null);
    }
    let mut details = Map::new();
    details.insert("sharedWith".into(), json!({}));
    details.insert("categoryDescriptions".into(), Value::Object(names));
    details
}

/// `POST /planner/buckets`.
pub(super) fn create_bucket(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let body = call.object()?;
    required(body, "name")?;
    let plan_id = required(body, "planId")?;
    check_id(plan_id)?;
    let plan = context.store.plans.get(plan_id).ok_or_else(|| missing(context.rules))?;
    context.rules.limits.check("MaximumBucketsInProject", plan.buckets.len() + 1)?;
    let id = context.rng.planner_id();
    let mut start = Map::new();
    start.insert("id".into(), json!(id));
    start.insert("planId".into(), json!(plan_id));
    start.insert("orderHint".into(), json!(order_hint::newest(context.store.next_seq())));
    let change = fields::apply(context, Kind::Bucket, &start, &without(body, &["id"]))?;
    context.store.insert_bucket(change.members);
    created(context, Kind::Bucket, &id)
}

/// `POST /planner/tasks`.
pub(super) fn create_task(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let body = call.object()?;
    let plan_id = required(body, "planId")?.to_owned();
    required(body, "title")?;
    check_id(&plan_id)?;
    let total = context.store.plans.get(&plan_id).ok_or_else(|| missing(context.rules))?.tasks.len();
    if body.contains_key("details") {
        return Err(GraphError::invalid(
            "The request is invalid:\r\nDetails are written by PATCH of the task's details, not inline.",
        ));
    }
    let id = context.rng.planner_id();
    let hint = order_hint::newest(context.store.next_seq());
    let mut start = new_task_members(&id, &context.now, context.actor.identity(), &hint);
    start.insert("planId".into(), json!(plan_id));
    let mut change = fields::apply(context, Kind::Task, &start, &without(body, &["id"]))?;
    derive_task(context, &start, &mut change.members);
    check_task(context, &change.members)?;
    let limits = &context.rules.limits;
    limits.check("MaximumTasksInProject", total + 1)?;
    if total >= limits.most("MaximumActiveTasksInProject")
        && change.members.get("percentComplete") != Some(&json!(100))
    {
        let active = context
            .store
            .tasks
            .values()
            .filter(|task| task.plan() == plan_id && task.core.get("percentComplete") != &json!(100))
            .count();
        limits.check("MaximumActiveTasksInProject", active + 1)?;
    }
    let everywhere = context.store.tasks.len();
    if everywhere >= limits.most("MaximumTasksCreatedByUser") {
        let own = context.actor.identity();
        let made = context.store.tasks.values().filter(|task| task.core.get("createdBy") == &own).count();
        limits.check("MaximumTasksCreatedByUser", made + 1)?;
    }
    let mut details = Map::new();
    details.insert("description".into(), json!(""));
    details.insert("previewType".into(), json!("automatic"));
    details.insert("checklist".into(), json!({}));
    details.insert("references".into(), json!({}));
    context.store.insert_task(change.members, details);
    created(context, Kind::Task, &id)
}

fn created(context: &Context<'_>, kind: Kind, id: &str) -> Result<Answer, GraphError> {
    let entity = find(context.store, kind, id).ok_or_else(GraphError::gone)?;
    let set = match kind {
        Kind::Plan => "plans",
        Kind::Bucket => "buckets",
        _ => "tasks",
    };
    let mut answer = read::entity(context.base, entity, id, 201)
        .header("Location", format!("{}/planner/{set}('{id}')", context.base));
    answer.committed = true;
    Ok(answer)
}

/// PATCH of any resource. A version older than the current one is merged unless a property that the body
/// names was changed since (planner overview: older versions are accepted when nothing conflicts).
pub(super) fn patch(
    context: &mut Context<'_>,
    call: &Call,
    kind: Kind,
    id: &str,
) -> Result<Answer, GraphError> {
    let current = find(context.store, kind, id).ok_or_else(|| missing(context.rules))?.clone();
    let version = version_of(call, &current)?;
    let body = call.object()?;
    let mut change = fields::apply(context, kind, &current.members, body)?;
    if version < current.version {
        if current.version - version > context.rules.history_window {
            return Err(GraphError::stale());
        }
        if change.named.iter().any(|path| current.changed_at(path) > version) {
            return Err(match context.rules.stale {
                Stale::Conflict => GraphError::conflict(),
                Stale::PreconditionFailed => GraphError::stale(),
            });
        }
    }
    match kind {
        Kind::Task => {
            derive_task(context, &current.members, &mut change.members);
            check_task(context, &change.members)?;
        }
        Kind::TaskDetails => check_details(context, &change.members)?,
        Kind::PlanDetails => {
            let shared = count(&change.members, "sharedWith");
            context.rules.limits.check("MaximumUsersSharedWithProject", shared)?;
        }
        _ => {}
    }
    if !change.changed.is_empty() {
        if let Some(entity) = find_mut(context.store, kind, id) {
            entity.commit(change.members, change.changed);
        }
        if kind == Kind::TaskDetails {
            mirror_details(context, id);
        }
    }
    let entity = find(context.store, kind, id).ok_or_else(GraphError::gone)?;
    let mut answer = if call.representation {
        read::entity(context.base, entity, id, 200).header("Preference-Applied", "return=representation")
    } else {
        Answer { etag: Some(entity.etag()), id: Some(id.to_owned()), ..Answer::no_content() }
    };
    answer.committed = true;
    Ok(answer)
}

/// DELETE of a plan, bucket or task: only with the current version.
pub(super) fn delete(
    context: &mut Context<'_>,
    call: &Call,
    kind: Kind,
    id: &str,
) -> Result<Answer, GraphError> {
    let current = find(context.store, kind, id).ok_or_else(|| missing(context.rules))?;
    if version_of(call, current)? < current.version {
        return Err(GraphError::stale());
    }
    match kind {
        Kind::Plan => context.store.remove_plan(id),
        Kind::Bucket => context.store.remove_bucket(id),
        _ => context.store.remove_task(id),
    };
    Ok(Answer { committed: true, id: Some(id.to_owned()), ..Answer::no_content() })
}

/// The version that `If-Match` names, or 412.
fn version_of(call: &Call, current: &Entity) -> Result<u64, GraphError> {
    let tag = call.if_match.as_deref().ok_or_else(GraphError::if_match_missing)?;
    etag::parse(current.kind, tag)
        .filter(|version| *version <= current.version)
        .ok_or_else(GraphError::if_match_invalid)
}

fn count(members: &Map<String, Value>, name: &str) -> usize {
    members.get(name).and_then(Value::as_object).map_or(0, Map::len)
}

/// When and by whom a task was completed follows from its percentage.
fn derive_task(context: &Context<'_>, before: &Map<String, Value>, members: &mut Map<String, Value>) {
    let done = |members: &Map<String, Value>| members.get("percentComplete") == Some(&json!(100));
    if done(members) && !done(before) {
        members.insert("completedDateTime".into(), json!(context.now));
        members.insert("completedBy".into(), context.actor.identity());
    } else if !done(members) {
        members.insert("completedDateTime".into(), Value::Null);
        members.insert("completedBy".into(), Value::Null);
    }
}

/// The rules that span members: dates in order, the bucket in the plan, how many assignees.
fn check_task(context: &Context<'_>, members: &Map<String, Value>) -> Result<(), GraphError> {
    let time = |name: &str| members.get(name)?.as_str()?.parse::<jiff::Timestamp>().ok();
    if let (Some(start), Some(due)) = (time("startDateTime"), time("dueDateTime"))
        && start > due
    {
        return Err(GraphError::invalid(
            "The request is invalid:\r\nThe start date is later than the due date.",
        ));
    }
    if let Some(bucket) = members.get("bucketId").and_then(Value::as_str) {
        check_id(bucket)?;
        let plan = context.store.buckets.get(bucket).map(|bucket| bucket.get("planId"));
        if plan != members.get("planId") {
            return Err(GraphError::invalid(
                "The request is invalid:\r\nThe bucket is not in the plan of the task.",
            ));
        }
    }
    let limits = &context.rules.limits;
    limits.check("MaximumAssigneesInTasks", count(members, "assignments"))?;
    let most = limits.most("MaximumTasksAssignedToUser");
    if context.store.tasks.len() >= most {
        for user in members.get("assignments").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            let others = context
                .store
                .tasks
                .values()
                .filter(|task| Some(task.core.get("id")) != members.get("id"))
                .filter(|task| task.core.get("assignments").get(user).is_some())
                .count();
            limits.check("MaximumTasksAssignedToUser", others + 1)?;
        }
    }
    Ok(())
}

fn check_details(context: &Context<'_>, members: &Map<String, Value>) -> Result<(), GraphError> {
    let limits = &context.rules.limits;
    limits.check("MaximumChecklistItemsOnTask", count(members, "checklist"))?;
    limits.check("MaximumReferencesOnTask", count(members, "references"))
}

/// Writes into the task what it shows of its details. Its version moves only if something it shows changed
/// (whether Planner moves it for every edit of the details is not published).
fn mirror_details(context: &mut Context<'_>, id: &str) {
    let Some(task) = context.store.tasks.get_mut(id) else { return };
    let details = &task.details.members;
    let checklist = details.get("checklist").and_then(Value::as_object);
    let active = checklist
        .map_or(0, |items| items.values().filter(|item| item.get("isChecked") != Some(&json!(true))).count());
    let has_description =
        details.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let shown = [
        ("hasDescription", json!(has_description)),
        ("checklistItemCount", json!(checklist.map_or(0, Map::len))),
        ("activeChecklistItemCount", json!(active)),
        ("referenceCount", json!(count(details, "references"))),
        ("previewType", details.get("previewType").cloned().unwrap_or(Value::Null)),
    ];
    let changed: Vec<String> = shown
        .iter()
        .filter(|(name, value)| task.core.get(name) != value)
        .map(|(name, _)| (*name).to_owned())
        .collect();
    if changed.is_empty() {
        return;
    }
    let mut members = task.core.members.clone();
    members.extend(shown.into_iter().map(|(name, value)| (name.to_owned(), value)));
    task.core.commit(members, changed);
}
