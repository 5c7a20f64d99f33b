//! Planner's answers: one resource, and lists in pages.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{Call, Context, check_id, missing};
use crate::graph::{
    answer::{Answer, GraphError},
    etag::Kind,
    store::Entity,
};

const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A resource as an entry of a list.
fn entry(entity: &Entity) -> Value {
    let mut members = entity.members.clone();
    members.insert("@odata.etag".into(), json!(entity.etag()));
    Value::Object(members)
}

fn context_of(base: &str, kind: Kind, id: &str) -> String {
    let path = match kind {
        Kind::Plan => "planner/plans/$entity".to_owned(),
        Kind::PlanDetails => format!("planner/plans('{id}')/details/$entity"),
        Kind::Bucket => "planner/buckets/$entity".to_owned(),
        Kind::Task => "planner/tasks/$entity".to_owned(),
        Kind::TaskDetails => format!("planner/tasks('{id}')/details/$entity"),
        Kind::AssignedToFormat => format!("planner/tasks('{id}')/assignedToTaskBoardFormat/$entity"),
        Kind::BucketFormat => format!("planner/tasks('{id}')/bucketTaskBoardFormat/$entity"),
        Kind::ProgressFormat => format!("planner/tasks('{id}')/progressTaskBoardFormat/$entity"),
    };
    format!("{base}/$metadata#{path}")
}

/// A resource as an answer of its own.
pub(super) fn entity(base: &str, entity: &Entity, id: &str, status: u16) -> Answer {
    let mut members = Map::new();
    members.insert("@odata.context".into(), json!(context_of(base, entity.kind, id)));
    if let Value::Object(own) = entry(entity) {
        members.extend(own);
    }
    let mut answer = Answer::json(status, Value::Object(members)).header("ETag", entity.etag());
    answer.etag = Some(entity.etag());
    answer.id = Some(id.to_owned());
    answer
}

/// One page: the entries behind `$skiptoken`, in order of creation, so that entries that come or go
/// between two pages neither hide nor repeat others.
fn page<'a>(
    context: &Context<'_>,
    call: &Call,
    metadata: &str,
    count: usize,
    mut entries: impl Iterator<Item = (u64, &'a Entity)>,
) -> Value {
    let size = context.rules.page_size.max(1);
    let mut value = Vec::new();
    let mut last = 0;
    let mut more = false;
    for (seq, entity) in entries.by_ref() {
        if value.len() == size {
            more = true;
            break;
        }
        last = seq;
        value.push(entry(entity));
    }
    let mut body = json!({
        "@odata.context": format!("{}/$metadata#{metadata}", context.base),
        "@odata.count": count,
        "value": value,
    });
    if more {
        let mut link = format!("{}{}?", context.base, call.path);
        for (name, value) in call.query.iter().filter(|(name, _)| *name != "$skiptoken") {
            link.push_str(&format!("{}={}&", name, utf8_percent_encode(value, QUERY_VALUE)));
        }
        link.push_str(&format!("$skiptoken={last}"));
        body["@odata.nextLink"] = json!(link);
    }
    body
}

/// The place behind which a page starts.
fn skip_token(call: &Call) -> Result<u64, GraphError> {
    match call.query.get("$skiptoken") {
        None => Ok(0),
        Some(token) => token.parse().map_err(|_| GraphError::bad_request("The skip token is not valid.")),
    }
}

/// `GET /planner/plans/{id}/tasks`.
pub(super) fn tasks_of_plan(context: &mut Context<'_>, call: &Call, id: &str) -> Result<Answer, GraphError> {
    check_id(id)?;
    let after = skip_token(call)?;
    let plan = context.store.plans.get(id).ok_or_else(|| missing(context.rules))?;
    let entries = plan
        .tasks
        .range(after + 1..)
        .filter_map(|(seq, task)| context.store.tasks.get(task).map(|task| (*seq, &task.core)));
    let body = page(context, call, &format!("planner/plans('{id}')/tasks"), plan.tasks.len(), entries);
    Ok(Answer::json(200, body))
}

/// `GET /planner/plans/{id}/buckets`.
pub(super) fn buckets_of_plan(
    context: &mut Context<'_>,
    call: &Call,
    id: &str,
) -> Result<Answer, GraphError> {
    check_id(id)?;
    let after = skip_token(call)?;
    let plan = context.store.plans.get(id).ok_or_else(|| missing(context.rules))?;
    let entries = plan
        .buckets
        .range(after + 1..)
        .filter_map(|(seq, bucket)| context.store.buckets.get(bucket).map(|bucket| (*seq, bucket)));
    let body = page(context, call, &format!("planner/plans('{id}')/buckets"), plan.buckets.len(), entries);
    Ok(Answer::json(200, body))
}

/// `GET /planner/buckets/{id}/tasks`.
pub(super) fn tasks_of_bucket(
    context: &mut Context<'_>,
    call: &Call,
    id: &str,
) -> Result<Answer, GraphError> {
    check_id(id)?;
    let bucket = context.store.buckets.get(id).ok_or_else(|| missing(context.rules))?;
    let plan = bucket.get("planId").as_str().unwrap_or_default();
    let plan = context.store.plans.get(plan).ok_or_else(|| missing(context.rules))?;
    let in_bucket: Vec<(u64, &Entity)> = plan
        .tasks
        .iter()
        .filter_map(|(seq, task)| context.store.tasks.get(task).map(|task| (*seq, &task.core)))
        .filter(|(_, task)| task.get("bucketId") == id)
        .collect();
    listing(context, call, &format!("planner/buckets('{id}')/tasks"), &in_bucket)
}

fn listing(
    context: &Context<'_>,
    call: &Call,
    metadata: &str,
    all: &[(u64, &Entity)],
) -> Result<Answer, GraphError> {
    let after = skip_token(call)?;
    let entries = all.iter().copied().filter(|(seq, _)| *seq > after);
    Ok(Answer::json(200, page(context, call, metadata, all.len(), entries)))
}

/// `GET /planner/plans?$filter=owner eq '{group}'`, the only documented form.
pub(super) fn plans_by_filter(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let group = filter_value(call, "owner")
        .ok_or_else(|| GraphError::bad_request("This method requires the filter owner eq '{group-id}'."))?;
    let plans = plans_where(context, |owner| owner == group);
    listing(context, call, "planner/plans", &plans)
}

/// `GET /planner/tasks?$filter=planId eq '{plan}'`, the only documented form.
pub(super) fn tasks_by_filter(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let plan = filter_value(call, "planId")
        .ok_or_else(|| GraphError::bad_request("This method requires the filter planId eq '{plan-id}'."))?;
    tasks_of_plan(context, call, &plan)
}

/// `GET /groups/{id}/planner/plans`.
pub(super) fn plans_of_group(
    context: &mut Context<'_>,
    call: &Call,
    group: &str,
) -> Result<Answer, GraphError> {
    if !context.store.groups.contains_key(group) {
        return Err(missing(context.rules));
    }
    let plans = plans_where(context, |owner| owner == group);
    listing(context, call, &format!("groups('{group}')/planner/plans"), &plans)
}

/// `GET /users/{id}/planner/tasks`: the tasks assigned to a user.
pub(super) fn tasks_of_user(
    context: &mut Context<'_>,
    call: &Call,
    user: &str,
) -> Result<Answer, GraphError> {
    let mut tasks: Vec<(u64, &Entity)> = context
        .store
        .tasks
        .values()
        .filter(|task| task.core.get("assignments").get(user).is_some())
        .map(|task| (task.seq, &task.core))
        .collect();
    tasks.sort_by_key(|(seq, _)| *seq);
    listing(context, call, &format!("users('{user}')/planner/tasks"), &tasks)
}

fn plans_where<'a>(context: &'a Context<'_>, wanted: impl Fn(&str) -> bool) -> Vec<(u64, &'a Entity)> {
    let mut plans: Vec<(u64, &Entity)> = context
        .store
        .plans
        .values()
        .filter(|plan| wanted(plan.core.get("owner").as_str().unwrap_or_default()))
        .map(|plan| (plan.seq, &plan.core))
        .collect();
    plans.sort_by_key(|(seq, _)| *seq);
    plans
}

/// The value of a `$filter` of the form `name eq 'value'`.
fn filter_value(call: &Call, name: &str) -> Option<String> {
    let mut words = call.query.get("$filter")?.splitn(3, ' ');
    if words.next()? != name || words.next()? != "eq" {
        return None;
    }
    words.next()?.strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned)
}
