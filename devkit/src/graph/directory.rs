//! The little of the directory that Planner's clients need: users, groups, `/me`, the organisation.

use serde_json::{Value, json};

use super::{
    answer::{Answer, GraphError},
    planner::{self, Actor, Call, Context},
};

/// Answers a call below `/users`, `/groups`, `/me` or `/organization`.
pub fn handle(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let lower: Vec<String> = call.segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let set = lower.first().map(String::as_str).unwrap_or_default();
    let tail: Vec<&str> = lower.iter().skip(1).map(String::as_str).collect();
    // Ids keep their letters; only names are compared without regard to case.
    let id = call.segments.get(1).map(String::as_str).unwrap_or_default();
    if call.method != "GET" {
        return Err(GraphError::wrong_method());
    }
    match (set, tail.as_slice()) {
        ("me", rest) => {
            let Actor::Person(user) = context.actor else {
                return Err(GraphError::bad_request(
                    "/me request is only valid with delegated authentication flow.",
                ));
            };
            let user = user.clone();
            user_part(context, call, &user, rest)
        }
        ("users", []) => {
            let found = context.store.users.values().filter(|user| fits(user, call)).cloned();
            let most = call.query.get("$top").and_then(|top| top.parse().ok()).unwrap_or(usize::MAX);
            let found = found.take(most).collect();
            Ok(list(context, call, "users", found))
        }
        ("users", [_, rest @ ..]) => {
            let user = find_user(context, id).ok_or_else(|| GraphError::no_directory_object(id))?;
            user_part(context, call, &user, rest)
        }
        ("groups", []) => Ok(list(context, call, "groups", context.store.groups.values().cloned().collect())),
        ("groups", [_]) => one(context, call, "groups", context.store.groups.get(id), id),
        ("groups", [_, "members"]) => {
            if !context.store.groups.contains_key(id) {
                return Err(GraphError::no_directory_object(id));
            }
            let members = context.store.users.values().map(|user| {
                let mut user = user.clone();
                user["@odata.type"] = json!("#microsoft.graph.user");
                user
            });
            Ok(list(context, call, "directoryObjects", members.collect()))
        }
        ("groups", [_, "planner", "plans"]) => planner::plans_of_group(context, call, id),
        ("organization", []) => Ok(list(
            context,
            call,
            "organization",
            vec![json!({"id": id_of_organization(), "displayName": "Contoso"})],
        )),
        _ => Err(GraphError::no_segment(call.segments.last().map(String::as_str).unwrap_or_default())),
    }
}

fn id_of_organization() -> &'static str {
    super::TENANT_ID
}

fn user_part(
    context: &mut Context<'_>,
    call: &Call,
    user: &str,
    rest: &[&str],
) -> Result<Answer, GraphError> {
    match rest {
        [] => one(context, call, "users", context.store.users.get(user), user),
        ["planner", "tasks"] => planner::tasks_of_user(context, call, user),
        ["planner", "plans"] => planner::plans_of_user(context, call, user),
        [.., last] => Err(GraphError::no_segment(last)),
    }
}

/// A user by id or by user principal name.
fn find_user(context: &Context<'_>, key: &str) -> Option<String> {
    if context.store.users.contains_key(key) {
        return Some(key.to_owned());
    }
    context.store.users.iter().find_map(|(id, user)| {
        let name = user.get("userPrincipalName").and_then(Value::as_str)?;
        name.eq_ignore_ascii_case(key).then(|| id.clone())
    })
}

/// Whether a user fits `$filter`: comparisons `name eq 'text'` joined by `or`, without regard to letter case.
fn fits(user: &Value, call: &Call) -> bool {
    let Some(filter) = call.query.get("$filter") else { return true };
    filter.split(" or ").any(|comparison| {
        let parts = comparison.split_once(" eq ");
        let quoted =
            parts.and_then(|(name, text)| Some((name, text.strip_prefix('\'')?.strip_suffix('\'')?)));
        quoted.is_some_and(|(name, text)| {
            let text = text.replace("''", "'");
            user.get(name).and_then(Value::as_str).is_some_and(|value| value.eq_ignore_ascii_case(&text))
        })
    })
}

/// Takes away what `$select` does not name; the directory heeds it.
fn reduce(call: &Call, object: &mut Value) {
    if let (Some(names), Some(members)) = (call.query.get("$select"), object.as_object_mut()) {
        members.retain(|name, _| name.contains('@') || names.split(',').any(|asked| asked.trim() == name));
    }
}

fn one(
    context: &Context<'_>,
    call: &Call,
    set: &str,
    found: Option<&Value>,
    id: &str,
) -> Result<Answer, GraphError> {
    let mut body = found.cloned().ok_or_else(|| GraphError::no_directory_object(id))?;
    reduce(call, &mut body);
    body["@odata.context"] = json!(format!("{}/$metadata#{set}/$entity", context.base));
    Ok(Answer::json(200, body))
}

fn list(context: &Context<'_>, call: &Call, set: &str, mut value: Vec<Value>) -> Answer {
    for object in &mut value {
        reduce(call, object);
    }
    Answer::json(200, json!({"@odata.context": format!("{}/$metadata#{set}", context.base), "value": value}))
}
