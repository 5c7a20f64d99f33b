//! Tasks that Planner does not have yet: create, adopt again, or wait for an open create to be explained.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Action, Context, Here, Problem, Step, fail, is_nothing, observe, sendable::sendable};
use crate::{
    lens::{self, Field, Fields, Value},
    state::{Create, Intent, TaskState},
    world::{Event, OpenCreate, Snapshot},
};

/// Prefix of the ids of imported tasks; the rest is Planner's id.
pub const IMPORTED: &str = "planner-";
/// How long a task that names no synced plan waits while no plan is configured.
const NO_PLANS_WAIT: Duration = Duration::from_secs(30);
/// How long a task of an unknown plan waits while the plans of some group have not been read.
const UNREAD_WAIT: Duration = Duration::from_secs(5);
/// How soon a task that only the settings keep back is looked at again, ms.
const SETTINGS_MS: i64 = 30_000;
/// How far Planner's creation time may lie before or after the moment we sent, ms (sync.md §1.3.5).
const WINDOW_MS: (i64, i64) = (-2_000, 60_000);

/// The next step of a task without a Planner id.
pub(super) fn unmapped(
    mut state: TaskState,
    snapshot: &Snapshot,
    here: Option<Here>,
    context: &Context<'_>,
) -> Step {
    if state.create.is_some() {
        return resolve(state, snapshot, context);
    }
    let Some(here) = here else {
        return Step::new(state, Action::Finish).forget();
    };
    if let Some(planner_id) = former_id(&state, snapshot, &here) {
        state.planner_id = Some(planner_id);
        state.need_get = true;
        state.failure = None;
        return Step::new(state, Action::Get { task: true, details: true });
    }
    if here.document.get("parent_task_id").is_some_and(|raw| raw.get() != "null") {
        let message = "the document names a parent: it is a checklist item of that task, which this version does \
                       not send to Planner";
        return fail(state, problem("subtask_not_synced", message, &here), context.now);
    }
    if context.plans.synced.is_empty() {
        return Step::new(state, Action::Wait(NO_PLANS_WAIT));
    }
    if let Some(lookup) = here.lookup(snapshot) {
        return Step::new(state, lookup);
    }
    let mut fields = here.projection.fields.clone();
    let plan = match fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => plan.clone(),
        _ => match &context.plans.default {
            Some(plan) => plan.clone(),
            None => {
                let message = "the document names no plan and no default plan is set: add plan_id";
                return fail(state, by_settings("plan_missing", message, &here), context.now);
            }
        },
    };
    if !context.plans.synced.contains(&plan) && context.plans.unread {
        return Step::new(state, Action::Wait(UNREAD_WAIT));
    }
    if !context.plans.synced.contains(&plan) {
        let message = "the document's plan is not one of the synced plans (PLANNER_PLANS)";
        return fail(state, by_settings("plan_not_synced", message, &here), context.now);
    }
    if !matches!(fields.get(&Field::Title), Some(Value::Text(title)) if !title.trim().is_empty()) {
        return fail(state, problem("title_missing", "a task needs a title", &here), context.now);
    }
    fields.insert(Field::Plan, Value::Text(plan.clone()));
    state.failure = None;
    state.current.clone_from(&fields);
    if let Err(wrong) = lens::dates_in_order(&fields) {
        return fail(state, problem("dates_out_of_order", &wrong.to_string(), &here), context.now);
    }
    let sendable = |(field, value)| (field, sendable(field, &value, &Value::Null).value);
    let sent: Fields = fields.into_iter().filter(|(field, _)| !field.is_details()).map(sendable).collect();
    let sent = lens::planner::stored_at(&sent, &context.plans.day_time);
    let body = lens::planner::create_body(&sent);
    state.create = Some(Create { plan, fields: sent, sent_at: context.now, unresolved: false });
    Step::new(state, Action::Create { body })
}

fn problem(code: &str, message: &str, here: &Here) -> Problem {
    Problem {
        code: code.to_owned(),
        message: message.to_owned(),
        digest: here.digest.clone(),
        retry_after_ms: 0,
    }
}

/// A problem that a change of the settings may solve.
fn by_settings(code: &str, message: &str, here: &Here) -> Problem {
    Problem { retry_after_ms: SETTINGS_MS, ..problem(code, message, here) }
}

/// The Planner id that the document had before the map was lost, unless it is another task's or dead.
fn former_id(state: &TaskState, snapshot: &Snapshot, here: &Here) -> Option<String> {
    let stamped = here.document.sync_stamp().map(|stamp| stamp.planner_id).filter(|id| !id.is_empty());
    let named = snapshot.id.strip_prefix(IMPORTED).filter(|id| !id.is_empty()).map(str::to_owned);
    let id = stamped.or(named)?;
    let foreign = snapshot.stamp_owner.is_some();
    (!foreign && state.dead_id.as_ref() != Some(&id)).then_some(id)
}

/// A task that was never agreed on must be in a synced plan before anything of it is written on either side: its
/// Planner id came from a document, and application permission sees the whole tenant.
pub(super) fn outside(
    state: &TaskState,
    snapshot: &Snapshot,
    here: Option<&Here>,
    context: &Context<'_>,
) -> Option<Step> {
    // What a list showed is in a synced plan, whatever this process has heard of the settings yet.
    if !state.base.is_empty() || snapshot.observed_etag.is_some() {
        return None;
    }
    let plan = state.remote.as_ref()?.fields.get(&Field::Plan);
    if matches!(plan, Some(Value::Text(plan)) if context.plans.synced.contains(plan)) {
        return None;
    }
    if context.plans.unread {
        return Some(Step::new(state.clone(), Action::Wait(UNREAD_WAIT)));
    }
    let planner_id = state.planner_id.clone();
    let Some(here) = here else {
        return Some(Step::new(state.clone(), Action::Finish));
    };
    let disowned = TaskState { dead_id: planner_id.clone(), expires: state.expires, ..TaskState::default() };
    let message = "the Planner task that the document names is in no synced plan (PLANNER_PLANS)";
    let mut step = fail(disowned, problem("plan_not_synced", message, here), context.now);
    step.unmap = planner_id.filter(|_| state.seen.is_some());
    Some(step)
}

/// An open create: adopt the task that explains it, or list it.
fn resolve(mut state: TaskState, snapshot: &Snapshot, context: &Context<'_>) -> Step {
    let Some(create) = state.create.clone() else { return Step::new(state, Action::Finish) };
    if let Some(orphan) = explained_by(&create, snapshot) {
        let planner_id = orphan.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
        state.create = None;
        state.failure = None;
        adopt(&mut state, &create, &planner_id, &orphan, context.now);
        state.need_details = true;
        return Step::new(state, Action::Get { task: false, details: true });
    }
    if create.unresolved {
        return Step::new(state, Action::Finish);
    }
    state.create = Some(Create { unresolved: true, ..create });
    let mut step = Step::new(state, Action::Finish);
    step.events.push(Event::Failed {
        code: "create_unresolved".to_owned(),
        message: "a create was sent and its answer was lost; it is not sent again. The task is adopted when a list \
                  shows it"
            .to_owned(),
    });
    step
}

/// Makes `json` the Planner side of the task whose create sent `create`.
///
/// What the create could not carry is on its way too: it is no edit that would beat a deletion (sync.md F6).
pub(crate) fn adopt(state: &mut TaskState, create: &Create, planner_id: &str, json: &Json, now: i64) {
    for (field, value) in &state.current {
        if field.is_details() && !is_nothing(value) {
            state.intents.push(Intent { field: *field, value: value.clone(), at: now });
        }
    }
    state.planner_id = Some(planner_id.to_owned());
    state.base.clone_from(&create.fields);
    state.dead_id = None;
    state.gone = None;
    state.need_get = false;
    observe(state, json);
}

/// The held task that this create made: same title, made in its window. Where several creates and as many
/// tasks fit each other equally, they are paired in order of time.
fn explained_by(create: &Create, snapshot: &Snapshot) -> Option<Json> {
    let title = match create.fields.get(&Field::Title) {
        Some(Value::Text(title)) => title.as_str(),
        _ => return None,
    };
    let fits = |sent_at: i64, json: &&Json| {
        json.get("title").and_then(Json::as_str) == Some(title)
            && created_ms(json).is_some_and(|at| (WINDOW_MS.0..=WINDOW_MS.1).contains(&(at - sent_at)))
    };
    let mut orphans: Vec<&Json> = snapshot.orphans.iter().filter(|json| fits(create.sent_at, json)).collect();
    orphans.sort_by_key(|json| (created_ms(json), json.get("id").and_then(Json::as_str).map(str::to_owned)));
    let mut rivals: Vec<&OpenCreate> =
        snapshot.open_creates.iter().filter(|open| is_rival(open, create, title)).collect();
    rivals.sort_by_key(|open| (open.sent_at, open.id.clone()));
    if orphans.len() == 1 && rivals.len() <= 1 {
        return orphans.first().map(|json| (*json).clone());
    }
    let own = rivals.iter().position(|open| open.sent_at == create.sent_at)?;
    let alike = rivals.iter().filter(|open| open.sent_at == create.sent_at).count() == 1;
    (alike && rivals.len() == orphans.len()).then(|| orphans.get(own).map(|json| (*json).clone())).flatten()
}

/// Whether another open create could have made the same tasks: equal in title and plan, and near in time.
fn is_rival(open: &OpenCreate, create: &Create, title: &str) -> bool {
    let apart = (open.sent_at - create.sent_at).abs();
    open.title == title && open.plan == create.plan && apart <= WINDOW_MS.1 - WINDOW_MS.0
}

/// When Planner says that it made a task, ms.
pub(crate) fn created_ms(json: &Json) -> Option<i64> {
    let text = json.get("createdDateTime")?.as_str()?;
    text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

/// Whether a task that no document claims may be the work of an open create: it is not imported now.
pub fn is_held(json: &Json, open: &[OpenCreate], application: Option<&str>) -> bool {
    if open.is_empty() {
        return false;
    }
    let by = json.get("createdBy");
    let app = by.and_then(|by| by.pointer("/application/id")).and_then(Json::as_str);
    let user = by.and_then(|by| by.pointer("/user/id")).and_then(Json::as_str);
    let ours = match (app, application) {
        (Some(app), Some(own)) => app.eq_ignore_ascii_case(own),
        (Some(_), None) => true,
        (None, _) => user.is_none(),
    };
    let title = json.get("title").and_then(Json::as_str);
    open.iter().any(|create| {
        let timely =
            created_ms(json).is_none_or(|at| (WINDOW_MS.0..=WINDOW_MS.1).contains(&(at - create.sent_at)));
        timely && (ours || title == Some(create.title.as_str()))
    })
}
