//! `GET /beta/planner/tasks/delta` and `/beta/planner/plans/{id}/tasks/delta`: a plan's tasks, then what became of
//! them since.
//!
//! Two forms. An application has to filter by plan and to select exactly three members: it learns that something
//! happened, not what a task says. A person's client gets whole tasks with their details. Tokens are opaque; one that
//! is too old is answered with 410 and the address to begin again. Source: Graph's beta page "plannerTask: delta".

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Actor, Call, Context, check_id, missing, query,
    read::{entry, next_link},
};
use crate::graph::{
    answer::{Answer, GraphError},
    etag::Kind,
    store::Task,
    switches::DeltaShape,
};

/// What an application's `$select` has to name.
const RESTRICTED: [&str; 3] = ["percentComplete", "assignments", "creationSource"];

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// In the first listing: behind the task with this place, which began at this number of changes.
    Listing { after: u64, since: u64 },
    /// Behind this number of changes.
    Changes { since: u64, issued_ms: u64 },
}

impl Token {
    fn text(self) -> String {
        match self {
            Self::Listing { after, since } => format!("l{after}_{since}"),
            Self::Changes { since, issued_ms } => format!("c{since}_{issued_ms}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, second) = text.get(1..)?.split_once('_')?;
        let (first, second) = (first.parse().ok()?, second.parse().ok()?);
        match text.as_bytes().first()? {
            b'l' => Some(Self::Listing { after: first, since: second }),
            b'c' => Some(Self::Changes { since: first, issued_ms: second }),
            _ => None,
        }
    }
}

/// Answers a page of a delta; `plan` is the one in the path.
pub(super) fn tasks(
    context: &mut Context<'_>,
    call: &Call,
    plan: Option<&str>,
) -> Result<Answer, GraphError> {
    if call.method != "GET" {
        return Err(GraphError::wrong_method());
    }
    if !context.base.ends_with("/beta") {
        return Err(GraphError::no_segment("delta"));
    }
    let restricted = matches!(context.actor, Actor::App(_));
    let plan = plan_of(call, plan, restricted)?;
    check_id(&plan)?;
    context.store.plans.get(&plan).ok_or_else(|| missing(context.rules))?;
    let text = call.query.get("$deltatoken").or_else(|| call.query.get("$skiptoken"));
    let token = match text {
        Some(text) => {
            Some(Token::parse(text).ok_or_else(|| GraphError::bad_request("The delta token is malformed."))?)
        }
        None => None,
    };
    let (mut value, next) = match token {
        Some(Token::Changes { since, issued_ms }) => {
            match changes(context, &plan, since, issued_ms, restricted) {
                Some(found) => found,
                None => return Ok(too_old(context, call)),
            }
        }
        Some(Token::Listing { after, since }) => listing(context, &plan, after, since, restricted),
        None => {
            let since = context.store.changes.last();
            if context.rules.delta_untidy {
                // A page may be empty and yet not the last.
                (Vec::new(), Token::Listing { after: 0, since })
            } else {
                listing(context, &plan, 0, since, restricted)
            }
        }
    };
    if context.rules.delta_untidy
        && let Some(first) = value.first().cloned()
    {
        value.push(first);
    }
    let mut body = json!({
        "@odata.context": format!("{}/$metadata#Collection(plannerTask)", context.base),
        "value": value,
    });
    match next {
        Token::Listing { .. } => {
            body["@odata.nextLink"] = json!(next_link(context, call, "$skiptoken", &next.text()));
        }
        Token::Changes { .. } => {
            body["@odata.deltaLink"] = json!(next_link(context, call, "$deltatoken", &next.text()));
        }
    }
    Ok(Answer::json(200, body))
}

/// The plan that is asked for, and the rules for an application's call.
fn plan_of(call: &Call, plan: Option<&str>, restricted: bool) -> Result<String, GraphError> {
    let filtered = query::equals(call, "planId");
    if restricted {
        let selected: Vec<&str> = call
            .query
            .get("$select")
            .map(|names| names.split(',').map(str::trim).collect())
            .unwrap_or_default();
        if selected.len() != RESTRICTED.len() {
            return Err(GraphError::wrong_method());
        }
        if selected.iter().copied().collect::<BTreeSet<_>>() != BTreeSet::from(RESTRICTED) {
            return Err(GraphError::no_access());
        }
        if filtered.is_none() {
            return Err(GraphError::bad_request("This method requires the filter planId eq '{plan-id}'."));
        }
    }
    match (plan, filtered) {
        (Some(plan), Some(filtered)) if plan != filtered => {
            Err(GraphError::bad_request("The filter names another plan than the path."))
        }
        (Some(plan), _) => Ok(plan.to_owned()),
        (None, Some(filtered)) => Ok(filtered),
        (None, None) => {
            Err(GraphError::bad_request("This method requires the filter planId eq '{plan-id}'."))
        }
    }
}

fn too_old(context: &Context<'_>, call: &Call) -> Answer {
    let link = next_link(context, call, "$deltatoken", "");
    let fresh = link.trim_end_matches("$deltatoken=").trim_end_matches(['?', '&']);
    let error = GraphError::new(410, "syncStateNotFound", "The delta token is too old. Begin again.");
    Answer { refusal: Some(Box::new(error)), ..Answer::default() }.header("Location", fresh)
}

/// A page of the first listing.
fn listing(
    context: &Context<'_>,
    plan: &str,
    after: u64,
    since: u64,
    restricted: bool,
) -> (Vec<Value>, Token) {
    let end = Token::Changes { since, issued_ms: context.store.now.ms };
    let Some(plan) = context.store.plans.get(plan) else { return (Vec::new(), end) };
    let mut value = Vec::new();
    for (seq, id) in plan.tasks.range(after + 1..) {
        if value.len() == context.rules.page_size.max(1) {
            let last = plan.tasks.range(..*seq).next_back().map_or(after, |(seq, _)| *seq);
            return (value, Token::Listing { after: last, since });
        }
        if let Some(task) = context.store.tasks.get(id) {
            value.push(shown(context, task, restricted));
        }
    }
    (value, end)
}

/// What happened since, each task once as it is now; `None` if the token is too old.
fn changes(
    context: &Context<'_>,
    plan: &str,
    since: u64,
    issued_ms: u64,
    restricted: bool,
) -> Option<(Vec<Value>, Token)> {
    let now = context.store.now.ms;
    if now.saturating_sub(issued_ms) > context.rules.delta_life_ms || since < context.rules.delta_floor {
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut value: Vec<Value> = Vec::new();
    for change in context.store.changes.since(plan, since)?.into_iter().rev() {
        if !seen.insert(change.task.clone()) {
            continue;
        }
        value.push(match context.store.tasks.get(&change.task).filter(|task| task.plan() == plan) {
            Some(task) => shown(context, task, restricted),
            None => json!({"id": change.task, "@removed": {"reason": "deleted"}}),
        });
    }
    value.reverse();
    Some((value, Token::Changes { since: context.store.changes.last(), issued_ms: now }))
}

/// A task as an entry.
fn shown(context: &Context<'_>, task: &Task, restricted: bool) -> Value {
    let core = task.core.shown(None);
    let mut members = entry(context, core, false);
    if restricted {
        members.retain(|name, _| name == "id" || name.contains('@') || RESTRICTED.contains(&name.as_str()));
        members.insert("creationSource".into(), Value::Null);
        return Value::Object(members);
    }
    let details = task.details.shown(None);
    let mut inline = details.members.clone();
    inline.insert("@odata.etag".into(), json!(details.etag()));
    if context.rules.switches.delta_shape == DeltaShape::Internal {
        internal(&mut members, core.version);
        inline.insert("version".into(), json!(readable(Kind::TaskDetails, details.version)));
        let id = task.id();
        members.insert(
            "details@odata.context".into(),
            json!(format!("{}/$metadata#planner/tasks('{id}')/details/$entity", context.base)),
        );
    }
    members.insert("details".into(), Value::Object(inline));
    Value::Object(members)
}

/// The form that the published sample of a delta shows, with the service's own names of types.
fn internal(members: &mut Map<String, Value>, version: u64) {
    let author = members.remove("createdBy").unwrap_or(Value::Null);
    let text = author.pointer("/user/id").filter(|id| id.is_string()).or(author.pointer("/application/id"));
    members.insert("createdBy".into(), text.cloned().unwrap_or(Value::Null));
    members.insert("createdByAsIdentitySet".into(), author);
    members.insert("version".into(), json!(readable(Kind::Task, version)));
    for assignment in members.get_mut("assignments").and_then(Value::as_object_mut).into_iter().flatten() {
        if assignment.1.is_object() {
            assignment.1["@odata.type"] = json!("#microsoft.taskServices.assignment");
        }
    }
}

/// An entity tag before it is encoded, without its quotes.
fn readable(kind: Kind, version: u64) -> String {
    crate::graph::etag::decoded(kind, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_others_are_malformed() {
        for token in [Token::Listing { after: 7, since: 9 }, Token::Changes { since: 0, issued_ms: 1 }] {
            assert_eq!(Token::parse(&token.text()), Some(token));
        }
        for bad in ["", "c", "c1", "x1_2", "c1_x", "é1_2"] {
            assert_eq!(Token::parse(bad), None, "{bad:?}");
        }
    }
}
