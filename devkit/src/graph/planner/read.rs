//! Planner's answers: one resource, and lists in pages.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{
    Call, Context, check_id, missing,
    query::{self, Options},
};
use crate::graph::{
    answer::{Answer, GraphError},
    etag::Kind,
    store::{Shown, Task, part},
    switches::{Count, CreatedBy},
};

pub(super) const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A resource as an entry of a list. `made` says that this answers its creation.
pub(super) fn entry(context: &Context<'_>, shown: Shown<'_>, made: bool) -> Map<String, Value> {
    let mut members = shown.members.clone();
    let hidden = match context.rules.switches.created_by {
        CreatedBy::Shown => false,
        CreatedBy::Hidden => !made,
        CreatedBy::Never => true,
    };
    if hidden && shown.kind == Kind::Task && members.get("createdBy").is_some_and(Value::is_object) {
        members["createdBy"]["application"] = Value::Null;
    }
    members.insert("@odata.etag".into(), json!(shown.etag()));
    members
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
pub(super) fn entity(context: &Context<'_>, shown: Shown<'_>, id: &str, status: u16) -> Answer {
    let mut members = Map::new();
    members.insert("@odata.context".into(), json!(context_of(context.base, shown.kind, id)));
    members.extend(entry(context, shown, status == 201));
    let mut answer = Answer::json(status, Value::Object(members)).header("ETag", shown.etag());
    answer.etag = Some(shown.etag());
    answer.id = Some(id.to_owned());
    answer
}

/// GET of one resource, as far behind as reads are.
pub(super) fn one(context: &Context<'_>, call: &Call, kind: Kind, id: &str) -> Result<Answer, GraphError> {
    let options = query::options(context, call, &[])?;
    let view = context.read_view();
    let store = &context.store;
    let of_task = !matches!(kind, Kind::Plan | Kind::PlanDetails | Kind::Bucket);
    let shown = if of_task {
        let there = |task: &&Task| view.created.is_none_or(|at| task.made_ms <= at);
        let gone =
            || view.deleted.and_then(|at| store.deleted_since(at).filter(there).find(|task| task.id() == id));
        store.tasks.get(id).filter(there).or_else(gone).map(|task| part(task, kind))
    } else {
        store.find(kind, id)
    };
    let shown = shown.ok_or_else(|| missing(context.rules))?.shown(view.changed);
    let mut answer = entity(context, shown, id, 200);
    if let Some(Value::Object(members)) = &mut answer.body {
        options.reduce(members);
    }
    Ok(answer)
}

/// One page: the entries behind `$skiptoken`, in order of creation, so that entries that come or go
/// between two pages neither hide nor repeat others.
fn page<'a>(
    context: &Context<'_>,
    call: &Call,
    options: &Options,
    metadata: &str,
    count: usize,
    mut entries: impl Iterator<Item = (u64, Shown<'a>)>,
) -> Value {
    let mut value = Vec::new();
    let mut last = 0;
    let mut more = false;
    for (seq, shown) in entries.by_ref() {
        if value.len() == options.size {
            more = true;
            break;
        }
        last = seq;
        let mut members = entry(context, shown, false);
        options.reduce(&mut members);
        value.push(Value::Object(members));
    }
    let mut body = json!({ "@odata.context": format!("{}/$metadata#{metadata}", context.base) });
    match context.rules.switches.count {
        Count::Total => body["@odata.count"] = json!(count),
        Count::Page => body["@odata.count"] = json!(value.len()),
        Count::Absent => {}
    }
    if more {
        body["@odata.nextLink"] = json!(next_link(context, call, "$skiptoken", &last.to_string()));
    }
    body["value"] = Value::Array(value);
    body
}

/// The address of the same call with another token.
pub(super) fn next_link(context: &Context<'_>, call: &Call, name: &str, token: &str) -> String {
    let mut link = format!("{}{}?", context.base, call.path);
    for (other, value) in
        call.query.iter().filter(|(other, _)| *other != "$skiptoken" && *other != "$deltatoken")
    {
        link.push_str(&format!("{other}={}&", utf8_percent_encode(value, QUERY_VALUE)));
    }
    link.push_str(&format!("{name}={token}"));
    link
}

/// The place behind which a page starts.
fn skip_token(call: &Call) -> Result<u64, GraphError> {
    match call.query.get("$skiptoken") {
        None => Ok(0),
        Some(token) => token.parse().map_err(|_| GraphError::bad_request("The skip token is not valid.")),
    }
}

/// The tasks that a list shows, in order of creation, as far behind as lists are.
fn tasks_where<'a>(
    context: &'a Context<'_>,
    all: impl Iterator<Item = &'a Task>,
    wanted: impl Fn(&Shown<'_>) -> bool,
) -> Vec<(u64, Shown<'a>)> {
    let view = context.list_view();
    let there = |task: &&Task| view.created.is_none_or(|at| task.made_ms <= at);
    let gone = view.deleted.into_iter().flat_map(|at| context.store.deleted_since(at));
    let mut tasks: Vec<(u64, Shown<'_>)> = all
        .filter(there)
        .chain(gone.filter(there))
        .map(|task| (task.seq, task.core.shown(view.changed)))
        .filter(|(_, shown)| wanted(shown))
        .collect();
    tasks.sort_by_key(|(seq, _)| *seq);
    tasks
}

fn member<'a>(shown: &Shown<'a>, name: &str) -> &'a Value {
    shown.members.get(name).unwrap_or(&Value::Null)
}

/// `GET /planner/plans/{id}/tasks`.
pub(super) fn tasks_of_plan(
    context: &Context<'_>,
    call: &Call,
    id: &str,
    documented: &[&str],
) -> Result<Answer, GraphError> {
    check_id(id)?;
    let options = query::options(context, call, documented)?;
    let after = skip_token(call)?;
    let plan = context.store.plans.get(id).ok_or_else(|| missing(context.rules))?;
    let metadata = format!("planner/plans('{id}')/tasks");
    let view = context.list_view();
    if view.changed.is_some() || view.created.is_some() || view.deleted.is_some() {
        let tasks = tasks_where(context, context.store.tasks.values(), |shown| member(shown, "planId") == id);
        return listing(context, call, &options, &metadata, &tasks);
    }
    let entries = plan
        .tasks
        .range(after + 1..)
        .filter_map(|(seq, task)| context.store.tasks.get(task).map(|task| (*seq, task.core.shown(None))));
    Ok(Answer::json(200, page(context, call, &options, &metadata, plan.tasks.len(), entries)))
}

/// `GET /planner/plans/{id}/buckets`.
pub(super) fn buckets_of_plan(context: &Context<'_>, call: &Call, id: &str) -> Result<Answer, GraphError> {
    check_id(id)?;
    let options = query::options(context, call, &[])?;
    let plan = context.store.plans.get(id).ok_or_else(|| missing(context.rules))?;
    let view = context.list_view();
    let buckets: Vec<(u64, Shown<'_>)> = plan
        .buckets
        .iter()
        .filter_map(|(seq, id)| Some((*seq, context.store.buckets.get(id)?.shown(view.changed))))
        .collect();
    listing(context, call, &options, &format!("planner/plans('{id}')/buckets"), &buckets)
}

/// `GET /planner/buckets/{id}/tasks`.
pub(super) fn tasks_of_bucket(context: &Context<'_>, call: &Call, id: &str) -> Result<Answer, GraphError> {
    check_id(id)?;
    let options = query::options(context, call, &[])?;
    context.store.buckets.get(id).ok_or_else(|| missing(context.rules))?;
    let tasks = tasks_where(context, context.store.tasks.values(), |shown| member(shown, "bucketId") == id);
    listing(context, call, &options, &format!("planner/buckets('{id}')/tasks"), &tasks)
}

fn listing(
    context: &Context<'_>,
    call: &Call,
    options: &Options,
    metadata: &str,
    all: &[(u64, Shown<'_>)],
) -> Result<Answer, GraphError> {
    let after = skip_token(call)?;
    let entries = all.iter().copied().filter(|(seq, _)| *seq > after);
    Ok(Answer::json(200, page(context, call, options, metadata, all.len(), entries)))
}

/// `GET /planner/plans?$filter=owner eq '{group}'`, the only documented form.
pub(super) fn plans_by_filter(context: &Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let options = query::options(context, call, &["$filter"])?;
    let group = query::equals(call, "owner")
        .ok_or_else(|| GraphError::bad_request("This method requires the filter owner eq '{group-id}'."))?;
    let plans = plans_where(context, |plan| member(plan, "owner") == group.as_str());
    listing(context, call, &options, "planner/plans", &plans)
}

/// `GET /planner/tasks?$filter=planId eq '{plan}'`, the only documented form.
pub(super) fn tasks_by_filter(context: &Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let plan = query::equals(call, "planId")
        .ok_or_else(|| GraphError::bad_request("This method requires the filter planId eq '{plan-id}'."))?;
    tasks_of_plan(context, call, &plan, &["$filter"])
}

/// `GET /groups/{id}/planner/plans`.
pub(super) fn plans_of_group(context: &Context<'_>, call: &Call, group: &str) -> Result<Answer, GraphError> {
    let options = query::options(context, call, &[])?;
    if !context.store.groups.contains_key(group) {
        return Err(missing(context.rules));
    }
    let plans = plans_where(context, |plan| member(plan, "owner") == group);
    listing(context, call, &options, &format!("groups('{group}')/planner/plans"), &plans)
}

/// `GET /users/{id}/planner/plans`: the plans that are shared with a user.
pub(super) fn plans_of_user(context: &Context<'_>, call: &Call, user: &str) -> Result<Answer, GraphError> {
    let options = query::options(context, call, &[])?;
    let shared = |plan: &Shown<'_>| {
        let id = member(plan, "id").as_str().unwrap_or_default();
        let details = context.store.plans.get(id).map(|plan| &plan.details);
        details.is_some_and(|details| details.get("sharedWith").get(user).is_some())
    };
    let plans = plans_where(context, shared);
    listing(context, call, &options, &format!("users('{user}')/planner/plans"), &plans)
}

/// `GET /users/{id}/planner/tasks`: the tasks assigned to a user.
pub(super) fn tasks_of_user(context: &Context<'_>, call: &Call, user: &str) -> Result<Answer, GraphError> {
    let options = query::options(context, call, &[])?;
    let assigned = |shown: &Shown<'_>| member(shown, "assignments").get(user).is_some();
    let tasks = tasks_where(context, context.store.tasks.values(), assigned);
    listing(context, call, &options, &format!("users('{user}')/planner/tasks"), &tasks)
}

fn plans_where<'a>(context: &'a Context<'_>, wanted: impl Fn(&Shown<'_>) -> bool) -> Vec<(u64, Shown<'a>)> {
    let view = context.list_view();
    let mut plans: Vec<(u64, Shown<'_>)> = context
        .store
        .plans
        .values()
        .map(|plan| (plan.seq, plan.core.shown(view.changed)))
        .filter(|(_, shown)| wanted(shown))
        .collect();
    plans.sort_by_key(|(seq, _)| *seq);
    plans
}
