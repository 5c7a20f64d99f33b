//! Planner's creations: plans, buckets, tasks.

use serde_json::{Map, Value, json};

use super::{
    Call, Context, check_id, fields, missing, read,
    write::{check_details, check_task, derive_task, shown_details},
};
use crate::graph::{
    answer::{Answer, GraphError},
    etag::Kind,
    order_hint,
    switches::{FirstDetails, InlineDetails},
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
    let own = context.actor.identity();
    let made = context.store.plans.values().filter(|plan| plan.core.get("createdBy") == &own).count();
    context.rules.limits.check("MaximumProjectsOwnedByUser", made + 1)?;
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
pub(crate) fn new_plan_details() -> Map<String, Value> {
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

/// The members of a task's details before anyone wrote them.
pub(crate) fn new_task_details() -> Map<String, Value> {
    let mut details = Map::new();
    details.insert("description".into(), json!(""));
    details.insert("previewType".into(), json!("automatic"));
    details.insert("checklist".into(), json!({}));
    details.insert("references".into(), json!({}));
    details
}

/// `POST /planner/tasks`.
pub(super) fn create_task(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let body = call.object()?;
    let plan_id = required(body, "planId")?.to_owned();
    required(body, "title")?;
    check_id(&plan_id)?;
    let external = external_id(context, body)?;
    if let Some(known) = external.as_ref().and_then(|external| context.store.external.get(external)).cloned()
        && let Some(entity) = context.store.find(Kind::Task, &known)
    {
        // Called with the ids of a task that is there, the creation answers with that task and changes nothing.
        return Ok(read::entity(context, entity.shown(None), &known, 201));
    }
    let total = context.store.plans.get(&plan_id).ok_or_else(|| missing(context.rules))?.tasks.len();
    let inline = context.rules.switches.inline_details;
    if body.contains_key("details") && inline == InlineDetails::Refused {
        return Err(GraphError::invalid(
            "The request is invalid:\r\nDetails are written by PATCH of the task's details, not inline.",
        ));
    }
    let id = context.rng.planner_id();
    let hint = order_hint::newest(context.store.next_seq());
    let mut start = new_task_members(&id, &context.now, context.actor.identity(), &hint);
    start.insert("planId".into(), json!(plan_id));
    let mut change = fields::apply(context, Kind::Task, &start, &without(body, created_with(context)))?;
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
    let mut details = new_task_details();
    if inline == InlineDetails::Accepted
        && let Some(given) = body.get("details")
    {
        let given = given.as_object().ok_or_else(|| fields::wrong_literal(&given.to_string(), "details"))?;
        details = fields::apply(context, Kind::TaskDetails, &details, given)?.members;
        check_details(context, &details)?;
        change.members.extend(shown_details(&details).map(|(name, value)| (name.to_owned(), value)));
    }
    context.store.insert_task(change.members, details);
    if let Some(external) = external {
        context.store.external.insert(external, id.clone());
    }
    if context.rules.switches.first_details == FirstDetails::Own
        && let Some(task) = context.store.tasks.get_mut(&id)
    {
        task.details.version = 1 + task.seq;
    }
    created(context, Kind::Task, &id)
}

/// The one source that a client may name (Graph's beta page on plannerExternalTaskSource).
pub(crate) const EXTERNAL_SOURCE: &str = "#microsoft.graph.plannerExternalTaskSource";

/// The members that only the creation of a task may name.
fn created_with(context: &Context<'_>) -> &'static [&'static str] {
    if context.base.ends_with("/beta") { &["id", "details", "creationSource"] } else { &["id", "details"] }
}

/// The ids under which the creator knows the task: beta's `plannerExternalTaskSource`, unique in the tenant.
fn external_id(
    context: &Context<'_>,
    body: &Map<String, Value>,
) -> Result<Option<(String, String)>, GraphError> {
    let source = body.get("creationSource").filter(|source| !source.is_null());
    let Some(source) = source.filter(|_| context.base.ends_with("/beta")) else { return Ok(None) };
    let source =
        source.as_object().ok_or_else(|| fields::wrong_literal(&source.to_string(), "creationSource"))?;
    let kind = required(source, "@odata.type")?;
    if kind != EXTERNAL_SOURCE {
        return Err(GraphError::invalid(format!(
            "The request is invalid:\r\nA client cannot make a task with the source '{kind}'."
        )));
    }
    required(source, "externalContextId")?;
    let ids = (required(source, "contextScenarioId")?, required(source, "externalObjectId")?);
    Ok(Some((ids.0.to_owned(), ids.1.to_owned())))
}

fn created(context: &Context<'_>, kind: Kind, id: &str) -> Result<Answer, GraphError> {
    let entity = context.store.find(kind, id).ok_or_else(GraphError::gone)?;
    let set = match kind {
        Kind::Plan => "plans",
        Kind::Bucket => "buckets",
        _ => "tasks",
    };
    let mut answer = read::entity(context, entity.shown(None), id, 201)
        .header("Location", format!("{}/planner/{set}('{id}')", context.base));
    answer.committed = true;
    Ok(answer)
}
