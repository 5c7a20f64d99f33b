//! Tasks that Planner does not have yet: create, or adopt again what the document was before.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{
    Action, Context, Here, Problem, Step, child, conflict_event, fail, is_nothing, leave, observe,
    resolve::Earlier, sendable::sendable,
};
use crate::{
    lens::{self, Field, Fields, Value},
    merge::{Conflict, Loser},
    mutants::{Mutant, removed},
    state::{Attempt, Create, TaskState},
    world::{Bequest, Inheritance, LocalWrite, Snapshot},
};

/// Prefix of the ids of imported tasks; the rest is Planner's id.
pub const IMPORTED: &str = "planner-";
/// Required in a creation source of ours (Graph beta, plannerExternalTaskSource).
const EXTERNAL_SOURCE: &str = "#microsoft.graph.plannerExternalTaskSource";
/// How soon a document looks whether it has its Planner task back.
const INHERIT_WAIT: Duration = Duration::from_secs(1);
/// How long a task that names no synced plan waits while no plan is configured.
const NO_PLANS_WAIT: Duration = Duration::from_secs(30);
/// How long a task of an unknown plan waits while the plans of some group have not been read.
pub(super) const UNREAD_WAIT: Duration = Duration::from_secs(5);
/// How soon a task that only the settings keep back is looked at again, ms.
const SETTINGS_MS: i64 = 30_000;

/// The next step of a task without a Planner id.
pub(super) fn unmapped(
    mut state: TaskState,
    snapshot: &Snapshot,
    here: Option<Here>,
    earlier: Earlier,
    context: &Context<'_>,
) -> Step {
    let Some(here) = here else {
        return child::without_document(state, snapshot, context);
    };
    // A create that may have made a task is newer than the stamp. Sent again in the place of the task that the stamp
    // names, it would have another id of ours, and make a second one.
    let former = || former_id(&state, snapshot, &here).filter(|_| !earlier.open);
    if let Some(planner_id) = former() {
        state.planner_id = Some(planner_id);
        state.need_get = true;
        state.failure = None;
        return Step::new(state, Action::Get { task: true, details: true });
    }
    if let Some(step) = inherit(&state, snapshot, &here, context) {
        return step;
    }
    if let Some(parent) = lens::named_parent(&here.document, &snapshot.id) {
        return child::child(state, snapshot, &here, &parent, context);
    }
    if state.child.is_some() {
        return child::leave(state, snapshot);
    }
    if context.plans.synced.is_empty() {
        return Step::new(state, Action::Wait(NO_PLANS_WAIT));
    }
    if let Some(lookup) = here.lookup(snapshot) {
        return Step::new(state, lookup);
    }
    let mut fields = here.projection.fields.clone();
    if !earlier.attempts.is_empty() {
        // What the document no longer says is no opinion: what was sent before stands.
        for (field, value) in &state.current {
            fields.entry(*field).or_insert_with(|| value.clone());
        }
    }
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
    let external_id = context.scenario.map(|_| external_id(&snapshot.id, state.dead_id.as_deref()));
    let body = begin(&mut state, plan, fields, external_id, earlier.attempts, context);
    let mut step = Step::new(state, Action::Create { body });
    agree_with_itself(&mut step, &here);
    step
}

/// Where two spellings of a field contradict each other, what is sent goes into both: once it is agreed on, the other
/// one would look like a change.
fn agree_with_itself(step: &mut Step, here: &Here) {
    for (field, _, lost) in &here.projection.losers {
        let kept = here.projection.fields.get(field).cloned().unwrap_or(Value::Null);
        let conflict = Conflict { field: *field, kept, lost: lost.clone(), loser: Loser::Local };
        step.events.push(conflict_event(&conflict, &here.names));
    }
    if !here.projection.disagreeing.is_empty() {
        let new = lens::render_with(&here.document, &here.projection.fields, &here.names);
        let changed = new.bytes() != here.bytes;
        step.write = changed.then(|| LocalWrite { expected: Some(here.bytes.clone()), new: Some(new) });
    }
}

/// Notes that these values are being sent as a new task of `plan`; returns the body of the request.
pub(super) fn begin(
    state: &mut TaskState,
    plan: String,
    fields: Fields,
    external_id: Option<String>,
    earlier: Vec<Attempt>,
    context: &Context<'_>,
) -> Json {
    let (later, sent): (Fields, Fields) = fields.into_iter().partition(|(field, _)| field.is_details());
    let sendable = |(field, value)| (field, sendable(field, &value, &Value::Null).value);
    let sent: Fields = sent.into_iter().map(sendable).collect();
    let sent = lens::planner::stored_at(&sent, &context.plans.day_time);
    let mut body = lens::planner::create_body(&sent);
    if let (Some(scenario), Some(id)) = (context.scenario, &external_id) {
        body["creationSource"] = json!({"@odata.type": EXTERNAL_SOURCE, "contextScenarioId": scenario,
            "externalContextId": scenario, "externalObjectId": id, "displayLinkType": "none"});
    }
    state.created_with = later.into_iter().filter(|(_, value)| !is_nothing(value)).collect();
    let sent_at = context.now;
    state.create = Some(Create { plan, fields: sent, sent_at, external_id, earlier, ..Create::default() });
    body
}

/// The id of ours for a create. A task that takes the place of another one is a new one to Planner.
pub(super) fn external_id(id: &str, former: Option<&str>) -> String {
    former.map_or_else(|| id.to_owned(), |former| format!("{id}~{former}"))
}

fn problem(code: &str, message: &str, here: &Here) -> Problem {
    Problem {
        code: code.to_owned(),
        message: message.to_owned(),
        digest: here.digest.clone(),
        retry_after_ms: 0,
    }
}

/// A problem that something else than a change of the document may solve.
fn by_settings(code: &str, message: &str, here: &Here) -> Problem {
    Problem { retry_after_ms: SETTINGS_MS, ..problem(code, message, here) }
}

/// The Planner id that the document had before the map was lost, unless it is another task's or dead.
fn former_id(state: &TaskState, snapshot: &Snapshot, here: &Here) -> Option<String> {
    if removed(Mutant::FormerId) {
        return None;
    }
    let stamped = here.document.sync_stamp().map(|stamp| stamp.planner_id).filter(|id| !id.is_empty());
    let named = snapshot.id.strip_prefix(IMPORTED).filter(|id| !id.is_empty()).map(str::to_owned);
    let id = stamped.or(named)?;
    let foreign = snapshot.stamp_owner.is_some();
    (!foreign && state.dead_id.as_ref() != Some(&id)).then_some(id)
}

/// After a loss of the store's memory an agent may write its old document again, when the Planner task that its stamp
/// names has been imported under another id. There must not be a second Planner task: the old document gets it
/// back, unless somebody has edited the imported one.
fn inherit(state: &TaskState, snapshot: &Snapshot, here: &Here, context: &Context<'_>) -> Option<Step> {
    let owner = snapshot.stamp_owner.clone()?;
    let planner_id = here.document.sync_stamp().map(|stamp| stamp.planner_id).filter(|id| !id.is_empty())?;
    match snapshot.inheritance {
        Inheritance::None => None,
        Inheritance::Open => {
            let mut step = Step::new(state.clone(), Action::Wait(INHERIT_WAIT));
            step.bequest = Some(Bequest { planner_id, owner, heir: snapshot.id.clone() });
            Some(step)
        }
        Inheritance::Edited => {
            let message = format!(
                "the Planner task that the document names is the task `{owner}` now, and that one was edited: take \
                 what is missing over into it, or remove `_sync` here to make a new task"
            );
            Some(fail(state.clone(), by_settings("mapped_elsewhere", &message, here), context.now))
        }
    }
}

/// Gives the Planner task up to the document that had it before, where this one was only imported.
pub(super) fn bequeath(state: &TaskState, snapshot: &Snapshot, here: Option<&Here>) -> Option<Step> {
    snapshot.notes.heir.as_ref()?;
    let edited = here.is_some_and(|here| state.seen.as_ref() != Some(&here.digest));
    if !state.imported || edited || !state.intents.is_empty() {
        return None;
    }
    let mut step = Step::forgotten(state.clone(), state.planner_id.clone());
    step.write = here.map(|here| LocalWrite { expected: Some(here.bytes.clone()), new: None });
    step.bequeathed = true;
    Some(step)
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

/// Makes `json` the Planner side of the task that was created by sending `sent`.
pub(crate) fn adopt(state: &mut TaskState, sent: &Fields, planner_id: &str, json: &Json) {
    if leave::switch(state) {
        // Categories are the new plan's from here on.
        state.current.remove(&Field::Labels);
        state.current.extend(sent.get(&Field::Labels).map(|labels| (Field::Labels, labels.clone())));
    }
    state.planner_id = Some(planner_id.to_owned());
    state.base.clone_from(sent);
    state.dead_id = None;
    state.gone = None;
    state.need_get = false;
    observe(state, json);
}
