//! A move to another plan by an agent. Planner cannot move a task for an application, so it is made again in the
//! target plan, and the old one is deleted once everything has come over (sync.md §1.3.5).
//!
//! The create is one like any other: noted before it is sent, resolved if its answer is lost. With its task the
//! mapping switches; the old task is remembered as `leaving`, still kept from being imported. What people did to it
//! meanwhile is taken over before it is deleted, on a whole and fresh copy.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Action, Context, FRESH_MS, GONE_APART_MS, Here, Step,
    both::{effective, push_action},
    conflict_event, create, gone, millis,
};
use crate::{
    lens::{self, Field, Fields, Names, SyncStamp, Value, same},
    merge::{Conflict, Loser, merge},
    state::{Attempt, Leaving, Remote, TaskState},
    world::{LocalWrite, Snapshot},
};

/// Answers 404 or 403 apart from each other that prove that the old task is gone. No list tells of it.
const ANSWERS: u32 = 3;

/// The plan that an agent wants the task in, where it is another one.
pub(super) fn wanted(
    state: &TaskState,
    here: &Here,
    remote: &Remote,
    rev: Option<&str>,
    now: i64,
) -> Option<String> {
    let there = remote.fields.get(&Field::Plan)?;
    let base = state.base.get(&Field::Plan).unwrap_or(there);
    let local = effective(state, Field::Plan, here.projection.fields.get(&Field::Plan), rev, now);
    let merged = merge(Field::Plan, base, &local.value, there, local.unseen);
    match merged.value {
        Value::Text(plan) if !same(Field::Plan, &Value::Text(plan.clone()), there) => Some(plan),
        _ => None,
    }
}

/// What has to be done before a move can begin; `None` = nothing.
pub(super) fn before(
    state: &TaskState,
    snapshot: &Snapshot,
    here: &Here,
    context: &Context<'_>,
) -> Option<Step> {
    if state.leaving.is_some() {
        return Some(finish(state.clone(), snapshot, Some(here), context));
    }
    // All of it goes over, so all of it must be known.
    if context.now - state.full_at > FRESH_MS {
        return Some(Step::new(state.clone(), Action::Get { task: true, details: true }));
    }
    None
}

/// Begins the move: the task as both sides agree on it is created in the other plan.
pub(super) fn begin(
    state: &mut TaskState,
    snapshot: &Snapshot,
    to: String,
    target: &Fields,
    from: &Remote,
    earlier: Vec<Attempt>,
    context: &Context<'_>,
) -> Action {
    let mut fields = target.clone();
    if let Some(Value::Set(keys)) = fields.get_mut(&Field::Labels) {
        *keys = translated(keys, plan_of(&from.fields), Some(&to), context).0;
    }
    // A bucket belongs to a plan. One that the agent did not choose anew is left to Planner.
    let bucket = fields.remove(&Field::Bucket);
    let kept = bucket.clone().filter(|bucket| {
        state.base.get(&Field::Bucket).is_some_and(|base| same(Field::Bucket, base, bucket))
    });
    if let (Some(chosen), None) = (bucket, &kept) {
        fields.insert(Field::Bucket, chosen);
    }
    let external_id =
        context.scenario.map(|_| create::external_id(&snapshot.id, state.planner_id.as_deref()));
    let body = create::begin(state, to, fields, external_id, earlier, context);
    if let (Some(create), Some(bucket)) = (state.create.as_mut(), kept) {
        // Agreed on until the new task says where it is: no change of the agent's.
        create.fields.insert(Field::Bucket, bucket);
    }
    Action::Create { body }
}

fn plan_of(fields: &Fields) -> Option<&String> {
    match fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => Some(plan),
        _ => None,
    }
}

/// The categories of another plan that are called like these, and the names that it does not have. A category
/// without a name stays what it is.
fn translated(
    keys: &BTreeSet<String>,
    from: Option<&String>,
    to: Option<&String>,
    context: &Context<'_>,
) -> (BTreeSet<String>, Vec<String>) {
    let of = |plan: Option<&String>| plan.and_then(|plan| context.plans.categories.get(plan));
    let (Some(from), Some(to)) = (of(from), of(to)) else {
        return (BTreeSet::new(), keys.iter().cloned().collect());
    };
    let (mut found, mut unknown) = (BTreeSet::new(), Vec::new());
    for label in keys.iter().map(|key| from.label(key)) {
        match to.category(&label) {
            Some(key) => drop(found.insert(key)),
            None => unknown.push(label),
        }
    }
    (found, unknown)
}

/// Labels of a task that the plan it moves to does not have.
pub(super) fn unknown_labels(
    target: &Fields,
    from: &Remote,
    to: &String,
    context: &Context<'_>,
) -> Vec<String> {
    match target.get(&Field::Labels) {
        Some(Value::Set(keys)) => translated(keys, plan_of(&from.fields), Some(to), context).1,
        _ => Vec::new(),
    }
}

/// Whether the document still calls its labels by the names or keys of the plan that the task came from.
pub(super) fn says_old_labels(state: &TaskState, here: &Here, context: &Context<'_>) -> bool {
    let Some(leaving) = &state.leaving else { return false };
    let categories = leaving.plan.as_ref().and_then(|plan| context.plans.categories.get(plan));
    let names = Names { categories: categories.cloned(), ..here.names.clone() };
    let said = lens::project_with(&here.document, Some(&leaving.base), &names);
    let said = said.ok().and_then(|said| said.fields.get(&Field::Labels).cloned());
    said.is_some_and(|said| {
        same(Field::Labels, &said, leaving.base.get(&Field::Labels).unwrap_or(&Value::Null))
    })
}

/// The new task is there: the old one is only to be emptied and deleted from now on. Says whether there is an old one.
pub(super) fn switch(state: &mut TaskState) -> bool {
    let (Some(planner_id), Some(remote)) = (state.planner_id.take(), state.remote.take()) else {
        return false;
    };
    let there = remote.fields.get(&Field::Plan).cloned();
    let plan = plan_of(&remote.fields).cloned();
    // What went over is what was merged before the create. While its answer was out, lists went on to show the old
    // task: the newest copy may hold edits that nobody has taken over.
    let mut base = state.base.clone();
    base.extend(there.map(|plan| (Field::Plan, plan)));
    state.intents.clear();
    // What the old plan called its categories says nothing about the new one's.
    state.labels.clear();
    state.full_at = 0;
    state.leaving = Some(Leaving { planner_id, plan, base, ..Leaving::default() });
    true
}

/// The next step of a task that came from another plan, once everything else about it is at rest.
pub(super) fn finish(
    mut state: TaskState,
    snapshot: &Snapshot,
    here: Option<&Here>,
    context: &Context<'_>,
) -> Step {
    let Some(leaving) = state.leaving.clone() else { return Step::new(state, Action::Finish) };
    if here.is_none() && !state.created_with.is_empty() && state.remote.is_some() {
        return carry_over(state, context);
    }
    if leaving.answers >= ANSWERS {
        state.leaving = None;
        return Step::new(state, Action::Wait(Duration::ZERO));
    }
    let fresh = context.now - leaving.read_at <= FRESH_MS;
    let Some(seen) = leaving.seen.as_ref().filter(|_| fresh) else {
        let since = context.now - leaving.last;
        let action = match leaving.answers > 0 && since < GONE_APART_MS {
            true => Action::Wait(millis(GONE_APART_MS - since)),
            false => Action::GetLeft { planner_id: leaving.planner_id },
        };
        return Step::new(state, action);
    };
    let changed = changed(&leaving.base, &seen.fields);
    if changed.is_empty() {
        let (planner_id, etag) = (leaving.planner_id, seen.etag.clone());
        return Step::new(state, Action::DeleteLeft { planner_id, etag });
    }
    match here {
        Some(here) => take_over(state, here, changed, context),
        None => {
            let mut step = gone::write_from_planner(state, snapshot, context, true);
            if step.action == Action::Finish {
                step.action = Action::Wait(Duration::ZERO);
            }
            step
        }
    }
}

/// Where there is no document, what the create could not carry comes from the state.
fn carry_over(mut state: TaskState, context: &Context<'_>) -> Step {
    let Some(remote) = state.remote.clone() else { return Step::new(state, Action::Finish) };
    let rest = state.created_with.clone();
    match push_action(&mut state, rest, &remote, context) {
        Action::Finish => {
            state.created_with.clear();
            Step::new(state, Action::Wait(Duration::ZERO))
        }
        action => Step::new(state, action),
    }
}

/// What somebody did to the old task since it was copied.
fn changed(base: &Fields, seen: &Fields) -> Fields {
    let nothing = Value::Null;
    seen.iter()
        .filter(|(field, value)| !same(**field, value, base.get(*field).unwrap_or(&nothing)))
        .map(|(field, value)| (*field, value.clone()))
        .collect()
}

/// Takes people's last edits of the old task into the document, from where they go on to the new one.
fn take_over(mut state: TaskState, here: &Here, changed: Fields, context: &Context<'_>) -> Step {
    let stamp = here.document.sync_stamp();
    let rev = stamp.as_ref().map(|stamp| stamp.rev.as_str());
    let mut events = Vec::new();
    let mut target = Fields::new();
    let mut old = Fields::new();
    let leaving_plan = state.leaving.as_ref().and_then(|leaving| leaving.plan.clone());
    if let Some(leaving) = &mut state.leaving {
        old.clone_from(&leaving.base);
        leaving.base.extend(changed.clone());
    }
    let (from, to) =
        (leaving_plan.as_ref(), state.remote.as_ref().and_then(|remote| plan_of(&remote.fields)).cloned());
    for (field, mut theirs) in changed {
        let mut base = old.get(&field).cloned().unwrap_or(Value::Null);
        if field == Field::Labels {
            for value in [&mut theirs, &mut base] {
                if let Value::Set(keys) = value {
                    *keys = translated(keys, from, to.as_ref(), context).0;
                }
            }
        }
        let local = effective(&state, field, here.projection.fields.get(&field), rev, context.now).value;
        if matches!(field, Field::Plan | Field::Bucket) {
            let lost = Conflict { field, kept: local, lost: theirs, loser: Loser::Remote };
            events.push(conflict_event(&lost, &here.names));
            continue;
        }
        let merged = merge(field, &base, &local, &theirs, false);
        if let Some(conflict) = &merged.conflict {
            state.remember_superseded(field, &conflict.lost, context.now);
            events.push(conflict_event(conflict, &here.names));
        }
        if !same(field, &merged.value, &local) {
            state.remember_superseded(field, &local, context.now);
            state.remote_changed.insert(field, context.now);
            target.insert(field, merged.value);
        }
    }
    let mut step = Step::new(state, Action::Wait(Duration::ZERO));
    step.events = events;
    if target.is_empty() {
        return step;
    }
    step.downloaded = target.keys().copied().collect();
    step.state.current.extend(target.clone());
    let mut whole = here.projection.fields.clone();
    whole.extend(target);
    let planner_id = step.state.planner_id.clone().unwrap_or_default();
    let etag = step.state.remote.as_ref().map(|remote| remote.etag.clone()).unwrap_or_default();
    let rendered = lens::render_with(&here.document, &whole, &here.names);
    let shown = lens::project_with(&rendered, Some(&whole), &here.names)
        .map(|shown| shown.fields)
        .unwrap_or_default();
    let document = rendered.with_stamp(&SyncStamp { rev: context.rev.clone(), planner_id, etag });
    step.state.remember_view(&context.rev, &shown, context.now);
    step.write = Some(LocalWrite { expected: Some(here.bytes.clone()), new: Some(document) });
    step
}
