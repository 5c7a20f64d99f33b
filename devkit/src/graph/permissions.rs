//! What a token allows: roles of an application, scopes of a person. Sources: the permission tables of Graph's pages
//! on Planner, users and groups.

use super::{
    answer::GraphError,
    entra::Caller,
    planner::{Actor, Call},
};

const TASKS_READ: [&str; 4] = ["Tasks.Read", "Tasks.ReadWrite", "Group.Read.All", "Group.ReadWrite.All"];
const TASKS_WRITE: [&str; 2] = ["Tasks.ReadWrite", "Group.ReadWrite.All"];
const APP_TASKS_READ: [&str; 2] = ["Tasks.Read.All", "Tasks.ReadWrite.All"];
const APP_TASKS_WRITE: [&str; 1] = ["Tasks.ReadWrite.All"];
const USERS: [&str; 6] = [
    "User.Read.All",
    "User.ReadBasic.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "User.Read",
];
const GROUPS: [&str; 5] = [
    "Group.Read.All",
    "GroupMember.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

/// 403 when the token does not allow the call: Planner's with an empty code, the directory's with its own.
pub(super) fn check(call: &Call, caller: &Caller) -> Result<(), GraphError> {
    let Some(granted) = &caller.permissions else { return Ok(()) };
    let app = matches!(caller.actor, Actor::App(_));
    let names = |name: &str| call.segments.iter().any(|segment| segment.eq_ignore_ascii_case(name));
    let has = |wanted: &[&str]| wanted.iter().any(|wanted| granted.iter().any(|granted| granted == wanted));
    if names("planner") {
        let allowed = match (app, call.method.as_str()) {
            (true, "GET") => has(&APP_TASKS_READ),
            (true, _) => has(&APP_TASKS_WRITE),
            (false, "GET") => has(&TASKS_READ),
            (false, _) => has(&TASKS_WRITE),
        };
        return if allowed { Ok(()) } else { Err(GraphError::no_access()) };
    }
    let first = call.segments.first().map(|segment| segment.to_ascii_lowercase());
    let allowed = match first.as_deref() {
        // `User.Read` is for oneself, and no role of an application.
        Some("users") => has(&USERS[..5]),
        Some("me") => app || has(&USERS),
        Some("groups") => has(&GROUPS),
        _ => true,
    };
    if allowed {
        return Ok(());
    }
    Err(GraphError::new(
        403,
        "Authorization_RequestDenied",
        "Insufficient privileges to complete the operation.",
    ))
}
