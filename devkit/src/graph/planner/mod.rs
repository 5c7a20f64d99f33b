//! Planner's routes: which call reads or writes which resource.

mod create;
mod delta;
mod fields;
mod history;
pub mod limits;
mod open_types;
mod query;
mod read;
mod write;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(super) use self::create::{EXTERNAL_SOURCE, new_plan_details, new_task_details, new_task_members};
pub(crate) use self::fields::is_read_only;
pub use self::limits::Limits;
pub(super) use self::write::shown_details;
use super::{
    answer::{Answer, GraphError},
    etag::Kind,
    random::SimRng,
    store::Store,
    switches::{ChangedInList, CreatedInList, DeletedInList, Missing, ReadAfterWrite, Switches},
};

/// Who makes a call, as its token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An application by itself (app-only token); its client id.
    App(String),
    /// A person through Planner's own pages (delegated token); the user's id.
    Person(String),
}

/// The client id that a person's edits carry: Planner's own web app.
const PLANNER_WEB_APP: &str = "09abbdfd-ed23-44ee-a2d9-a627aa1c90f3";

impl Actor {
    /// The `identitySet` that Planner stores for this actor; what does not apply is null inside.
    pub fn identity(&self) -> Value {
        let (user, app) = match self {
            Self::App(client) => (Value::Null, json!(client)),
            Self::Person(user) => (json!(user), json!(PLANNER_WEB_APP)),
        };
        json!({
            "user": {"displayName": null, "id": user},
            "application": {"displayName": null, "id": app},
        })
    }
}

/// How Planner behaves where that can be set.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What no published text settles.
    pub switches: Switches,
    /// How many versions back a PATCH is still merged; older is 412.
    pub history_window: u64,
    /// The entries of one page of a list.
    pub page_size: usize,
    /// The service's limits.
    pub limits: Limits,
    /// How far behind reads are under the switches that say `late`, in milliseconds.
    pub lag_ms: u64,
    /// How long a delta token is good, in milliseconds.
    pub delta_life_ms: u64,
    /// Delta tokens with a smaller number of changes are too old.
    pub delta_floor: u64,
    /// Whether a delta repeats an entry and holds an empty page, as it may.
    pub delta_untidy: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            switches: Switches::default(),
            history_window: 100,
            page_size: 400,
            limits: Limits::default(),
            lag_ms: 2_000,
            delta_life_ms: 30 * 24 * 3_600_000,
            delta_floor: 0,
            delta_untidy: false,
        }
    }
}

/// The moments as of which a read sees changes, new tasks and deletions; `None` is now.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    /// For versions.
    pub changed: Option<u64>,
    /// For what was made.
    pub created: Option<u64>,
    /// For what was deleted.
    pub deleted: Option<u64>,
}

/// One operation, with what it may touch.
pub struct Context<'a> {
    /// The tenant's data.
    pub store: &'a mut Store,
    /// Where ids come from.
    pub rng: &'a mut SimRng,
    /// The switches.
    pub rules: &'a Rules,
    /// Who calls.
    pub actor: &'a Actor,
    /// Now, as entities write it.
    pub now: String,
    /// `http://host:port/v1.0`, for links.
    pub base: &'a str,
    /// How far behind a fault makes this read, in milliseconds.
    pub behind_ms: Option<u64>,
}

impl Context<'_> {
    /// What a list sees.
    fn list_view(&self) -> View {
        let switches = &self.rules.switches;
        self.view(
            switches.changed_in_list == ChangedInList::Late,
            switches.created_in_list == CreatedInList::Late,
            switches.deleted_in_list == DeletedInList::Late,
        )
    }

    /// What a GET of one object sees.
    fn read_view(&self) -> View {
        let late = self.rules.switches.read_after_write == ReadAfterWrite::Late;
        self.view(late, late, late)
    }

    fn view(&self, changed: bool, created: bool, deleted: bool) -> View {
        if let Some(behind) = self.behind_ms {
            let at = Some(self.store.now.ms.saturating_sub(behind));
            return View { changed: at, created: at, deleted: at };
        }
        // People look at the newest; only applications read from what lags behind.
        let app = matches!(self.actor, Actor::App(_));
        let at = |late: bool| (late && app).then(|| self.store.now.ms.saturating_sub(self.rules.lag_ms));
        View { changed: at(changed), created: at(created), deleted: at(deleted) }
    }
}

/// A call to Graph, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// `GET`, `POST`, `PATCH`, `DELETE`, …
    pub method: String,
    /// The path behind the version, as it was sent.
    pub path: String,
    /// The path's segments, decoded; keys in parentheses are segments of their own.
    pub segments: Vec<String>,
    /// The query's parameters, decoded.
    pub query: BTreeMap<String, String>,
    /// The `If-Match` header.
    pub if_match: Option<String>,
    /// Whether `Prefer: return=representation` was sent.
    pub representation: bool,
    /// The body, `None` if there was none.
    pub body: Option<Result<Value, String>>,
}

impl Call {
    /// The body as an object, or 400.
    pub(super) fn object(&self) -> Result<&serde_json::Map<String, Value>, GraphError> {
        match &self.body {
            Some(Ok(Value::Object(members))) => Ok(members),
            Some(Ok(_)) => {
                Err(GraphError::bad_request("Unable to read JSON request payload: an object is expected."))
            }
            Some(Err(why)) => {
                Err(GraphError::bad_request(format!("Unable to read JSON request payload. {why}")))
            }
            None => Err(GraphError::bad_request(
                "Write requests (excluding DELETE) must contain the Content-Type header declaration and a body.",
            )),
        }
    }
}

/// A segment compared as Graph does: without regard to letter case.
fn is(segment: &str, name: &str) -> bool {
    segment.eq_ignore_ascii_case(name)
}

/// Answers a call below `/planner`; `rest` are the segments behind it.
pub fn handle(context: &mut Context<'_>, call: &Call, rest: &[String]) -> Result<Answer, GraphError> {
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [set] if is(set, "plans") => match call.method.as_str() {
            "GET" => read::plans_by_filter(context, call),
            "POST" => create::create_plan(context, call),
            _ => Err(GraphError::wrong_method()),
        },
        [set] if is(set, "buckets") => match call.method.as_str() {
            "POST" => create::create_bucket(context, call),
            "GET" => Err(GraphError::bad_request("This method is not supported without a plan.")),
            _ => Err(GraphError::wrong_method()),
        },
        [set, delta] if is(set, "tasks") && is_delta(delta) => delta::tasks(context, call, None),
        [set, id, list, delta] if is(set, "plans") && is(list, "tasks") && is_delta(delta) => {
            delta::tasks(context, call, Some(id))
        }
        [set, id, list] if is(set, "plans") && is(list, "historyItems") => history::items(context, call, id),
        [set] if is(set, "tasks") => match call.method.as_str() {
            "GET" => read::tasks_by_filter(context, call),
            "POST" => create::create_task(context, call),
            _ => Err(GraphError::wrong_method()),
        },
        [set, id] if is(set, "plans") => one(context, call, Kind::Plan, id),
        [set, id] if is(set, "buckets") => one(context, call, Kind::Bucket, id),
        [set, id] if is(set, "tasks") => one(context, call, Kind::Task, id),
        [set, id, part] if is(set, "plans") && is(part, "details") => {
            one(context, call, Kind::PlanDetails, id)
        }
        [set, id, part] if is(set, "tasks") => match part_of_task(part) {
            Some(kind) => one(context, call, kind, id),
            None => Err(GraphError::no_segment(part)),
        },
        [set, id, list] if is(set, "plans") && is(list, "tasks") => match call.method.as_str() {
            "GET" => read::tasks_of_plan(context, call, id, &[]),
            _ => Err(GraphError::wrong_method()),
        },
        [set, id, list] if is(set, "plans") && is(list, "buckets") => match call.method.as_str() {
            "GET" => read::buckets_of_plan(context, call, id),
            _ => Err(GraphError::wrong_method()),
        },
        [set, id, list] if is(set, "buckets") && is(list, "tasks") => match call.method.as_str() {
            "GET" => read::tasks_of_bucket(context, call, id),
            _ => Err(GraphError::wrong_method()),
        },
        [] => Err(GraphError::bad_request("Nothing is served here; name plans, buckets or tasks.")),
        [set, .., last] if is(set, "plans") || is(set, "buckets") || is(set, "tasks") => {
            Err(GraphError::no_segment(last))
        }
        [set, ..] => Err(GraphError::no_segment(set)),
    }
}

/// `GET /groups/{id}/planner/plans`.
pub fn plans_of_group(context: &mut Context<'_>, call: &Call, group: &str) -> Result<Answer, GraphError> {
    read::plans_of_group(context, call, group)
}

/// `GET /users/{id}/planner/tasks`: what is assigned to a user.
pub fn tasks_of_user(context: &mut Context<'_>, call: &Call, user: &str) -> Result<Answer, GraphError> {
    read::tasks_of_user(context, call, user)
}

/// `delta`, `delta()`, `microsoft.graph.delta()`.
fn is_delta(segment: &str) -> bool {
    let name = segment.trim_end_matches("()");
    is(name, "delta") || is(name, "microsoft.graph.delta")
}

/// `GET /users/{id}/planner/plans`: the plans that are shared with a user.
pub fn plans_of_user(context: &mut Context<'_>, call: &Call, user: &str) -> Result<Answer, GraphError> {
    read::plans_of_user(context, call, user)
}

fn part_of_task(segment: &str) -> Option<Kind> {
    let kinds = [
        ("details", Kind::TaskDetails),
        ("assignedToTaskBoardFormat", Kind::AssignedToFormat),
        ("bucketTaskBoardFormat", Kind::BucketFormat),
        ("progressTaskBoardFormat", Kind::ProgressFormat),
    ];
    kinds.into_iter().find(|(name, _)| is(segment, name)).map(|(_, kind)| kind)
}

/// GET, PATCH or DELETE of one resource.
fn one(context: &mut Context<'_>, call: &Call, kind: Kind, id: &str) -> Result<Answer, GraphError> {
    check_id(id)?;
    match call.method.as_str() {
        "GET" => read::one(context, call, kind, id),
        "PATCH" => write::patch(context, call, kind, id),
        "DELETE" if matches!(kind, Kind::Plan | Kind::Bucket | Kind::Task) => {
            write::delete(context, call, kind, id)
        }
        _ => Err(GraphError::wrong_method()),
    }
}

/// Planner's ids are 28 characters of base64url; anything else is 400.
fn check_id(id: &str) -> Result<(), GraphError> {
    let fits =
        id.len() == 28 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if fits {
        Ok(())
    } else {
        Err(GraphError::invalid("The request is invalid:\r\nThe ID is not in a valid format."))
    }
}

fn missing(rules: &Rules) -> GraphError {
    match rules.switches.missing {
        Missing::NotFound => GraphError::gone(),
        Missing::Forbidden => GraphError::no_access(),
    }
}
