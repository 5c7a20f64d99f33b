//! Planner's changes: PATCH with the merge of older versions, DELETE, and the rules that span members.

use serde_json::{Map, Value, json};

use super::{Actor, Call, Context, check_id, fields, missing, read};
use crate::graph::{
    answer::{Answer, GraphError},
    etag::{self, Kind},
    store::{Entity, Plan},
    switches::{
        AnyEtag, BucketDelete, DeleteStale, DetailsBump, InvalidEtag, Older, PlanChange, Prefer, SameValue,
        Stale, Switches,
    },
};

/// PATCH of any resource. A version older than the current one is merged unless a property that the body
/// names was changed since (planner overview: older versions are accepted when nothing conflicts).
pub(super) fn patch(
    context: &mut Context<'_>,
    call: &Call,
    kind: Kind,
    id: &str,
) -> Result<Answer, GraphError> {
    let current = context.store.find(kind, id).ok_or_else(|| missing(context.rules))?.clone();
    let switches = context.rules.switches;
    let version = version_of(call, &current, &switches)?;
    let body = call.object()?;
    let mut change = fields::apply(context, kind, &current.members, body)?;
    if version < current.version {
        if switches.older == Older::Refused || current.version - version > context.rules.history_window {
            return Err(GraphError::stale());
        }
        if change.named.iter().any(|path| current.changed_at(path) > version) {
            return Err(match switches.stale {
                Stale::Conflict => GraphError::conflict(),
                Stale::PreconditionFailed => GraphError::stale(),
            });
        }
    }
    match kind {
        Kind::Task => {
            derive_task(context, &current.members, &mut change.members);
            // Planner keeps a task in its plan, unless a switch says otherwise.
            let plan = body.get("planId").and_then(Value::as_str);
            if switches.plan_change == PlanChange::Moved
                && plan.is_some_and(|plan| current.get("planId") != plan)
            {
                return move_to(context, call, id, plan.unwrap_or_default(), change);
            }
            check_task(context, &change.members)?;
        }
        Kind::TaskDetails => check_details(context, &change.members)?,
        Kind::PlanDetails => {
            let shared = count(&change.members, "sharedWith");
            let limits = &context.rules.limits;
            limits.check("MaximumUsersSharedWithProject", shared)?;
            for path in &change.changed {
                let Some(user) = path.strip_prefix("sharedWith/") else { continue };
                let with = |plan: &&Plan| plan.details.get("sharedWith").get(user).is_some();
                if change.members["sharedWith"].get(user).is_some() {
                    let others = context.store.plans.values().filter(with).count();
                    limits.check("MaximumProjectsSharedWithUser", others + 1)?;
                }
            }
        }
        _ => {}
    }
    if !change.changed.is_empty() || switches.same_value == SameValue::Bumped {
        context.store.commit(kind, id, change.members, change.changed);
        if kind == Kind::TaskDetails {
            mirror_details(context, id);
        }
    }
    changed(context, call, kind, id)
}

/// The answer to a PATCH that was taken.
fn changed(context: &Context<'_>, call: &Call, kind: Kind, id: &str) -> Result<Answer, GraphError> {
    let entity = context.store.find(kind, id).ok_or_else(GraphError::gone)?;
    let heeded =
        context.rules.switches.prefer == Prefer::Honoured || matches!(context.actor, Actor::Person(_));
    let mut answer = if call.representation && heeded {
        read::entity(context, entity.shown(None), id, 200)
            .header("Preference-Applied", "return=representation")
    } else {
        Answer { etag: Some(entity.etag()), id: Some(id.to_owned()), ..Answer::no_content() }
    };
    answer.committed = true;
    Ok(answer)
}

/// The rest of a PATCH that names another plan: the task goes there with everything else that was written.
fn move_to(
    context: &mut Context<'_>,
    call: &Call,
    id: &str,
    plan: &str,
    change: fields::Change,
) -> Result<Answer, GraphError> {
    check_id(plan)?;
    let total = context.store.plans.get(plan).ok_or_else(|| missing(context.rules))?.tasks.len();
    context.rules.limits.check("MaximumTasksInProject", total + 1)?;
    let bucket = change.members.get("bucketId").and_then(Value::as_str).map(str::to_owned);
    let there =
        |id: &String| context.store.buckets.get(id).is_some_and(|bucket| bucket.get("planId") == plan);
    let bucket = bucket.filter(there);
    context.store.commit(Kind::Task, id, change.members, change.changed);
    context.store.move_task(id, plan, bucket.as_deref());
    changed(context, call, Kind::Task, id)
}

/// DELETE of a plan, bucket or task.
pub(super) fn delete(
    context: &mut Context<'_>,
    call: &Call,
    kind: Kind,
    id: &str,
) -> Result<Answer, GraphError> {
    let switches = context.rules.switches;
    let current = context.store.find(kind, id).ok_or_else(|| missing(context.rules))?;
    if version_of(call, current, &switches)? < current.version {
        match switches.delete_stale {
            DeleteStale::PreconditionFailed => return Err(GraphError::stale()),
            DeleteStale::Conflict => return Err(GraphError::conflict()),
            DeleteStale::Accepted => {}
        }
    }
    match kind {
        Kind::Plan => context.store.remove_plan(id),
        Kind::Bucket => context.store.remove_bucket(id, switches.bucket_delete == BucketDelete::Deleted),
        _ => context.store.remove_task(id),
    };
    Ok(Answer { committed: true, id: Some(id.to_owned()), ..Answer::no_content() })
}

/// The version that `If-Match` names, or the refusal of the header.
fn version_of(call: &Call, current: &Entity, switches: &Switches) -> Result<u64, GraphError> {
    let tag = call.if_match.as_deref().ok_or_else(GraphError::if_match_missing)?;
    if tag == "*" && switches.any_etag == AnyEtag::Accepted {
        return Ok(current.version);
    }
    etag::parse(current.kind, tag).filter(|version| *version <= current.version).ok_or_else(|| {
        let refusal = GraphError::if_match_invalid();
        match switches.invalid_etag {
            InvalidEtag::PreconditionFailed => refusal,
            InvalidEtag::BadRequest => GraphError { status: 400, ..refusal },
        }
    })
}

fn count(members: &Map<String, Value>, name: &str) -> usize {
    members.get(name).and_then(Value::as_object).map_or(0, Map::len)
}

/// When and by whom a task was completed follows from its percentage.
pub(super) fn derive_task(
    context: &Context<'_>,
    before: &Map<String, Value>,
    members: &mut Map<String, Value>,
) {
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
pub(super) fn check_task(context: &Context<'_>, members: &Map<String, Value>) -> Result<(), GraphError> {
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

pub(super) fn check_details(context: &Context<'_>, members: &Map<String, Value>) -> Result<(), GraphError> {
    let limits = &context.rules.limits;
    limits.check("MaximumChecklistItemsOnTask", count(members, "checklist"))?;
    limits.check("MaximumReferencesOnTask", count(members, "references"))
}

/// Writes into the task what it shows of its details. A switch says when that makes a new version of the task.
pub(super) fn mirror_details(context: &mut Context<'_>, id: &str) {
    let Some(task) = context.store.tasks.get_mut(id) else { return };
    let shown = shown_details(&task.details.members);
    let changed: Vec<String> = shown
        .iter()
        .filter(|(name, value)| task.core.get(name) != value)
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let bump = context.rules.switches.details_bump;
    if bump == DetailsBump::Never {
        task.core.members.extend(shown.into_iter().map(|(name, value)| (name.to_owned(), value)));
    } else if !changed.is_empty() || bump == DetailsBump::Always {
        let mut members = task.core.members.clone();
        members.extend(shown.into_iter().map(|(name, value)| (name.to_owned(), value)));
        context.store.commit(Kind::Task, id, members, changed);
    }
}

/// What a task shows of its details.
pub(crate) fn shown_details(details: &Map<String, Value>) -> [(&'static str, Value); 5] {
    let checklist = details.get("checklist").and_then(Value::as_object);
    let active = checklist
        .map_or(0, |items| items.values().filter(|item| item.get("isChecked") != Some(&json!(true))).count());
    let has_description =
        details.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    [
        ("hasDescription", json!(has_description)),
        ("checklistItemCount", json!(checklist.map_or(0, Map::len))),
        ("activeChecklistItemCount", json!(active)),
        ("referenceCount", json!(count(details, "references"))),
        ("previewType", details.get("previewType").cloned().unwrap_or(Value::Null)),
    ]
}
