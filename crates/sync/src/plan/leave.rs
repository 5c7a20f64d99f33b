//! A move to another plan by an agent. Planner cannot move a task for an application, so it is made again in the
//! target plan, and the old one is deleted once everything has come over (sync.md §1.3.5).
//!
//! The create is one like any other: noted before it is sent, resolved if its answer is lost. With its task the
//! mapping switches; the old task is remembered as `leaving`, still kept from being imported. What people did to it
//! meanwhile is taken over before it is deleted, on a whole and fresh copy.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Action, Context, FRESH_MS as READ_MS, GONE_APART_MS, Here, Step,
    both::{NAMES_WAIT, effective, push_action},
    conflict_event, create, millis, names,
};
use crate::{
    lens::{self, Field, Fields, Names, Value, same},
    merge::{Conflict, Loser, Merged, merge},
    mutants::{Mutant, removed},
    state::{Attempt, Leaving, Remote, TaskState},
    world::{Event, Snapshot},
};

/// How fresh the copy of the old task must be for its deletion, ms: an edit of its details need not move the ETag of
/// the task, so nothing else guards that edit.
const FRESH_MS: i64 = 2_000;
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
    let local = effective(state, here, Field::Plan, rev, now);
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
    if context.now - state.full_at > READ_MS {
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
    let bucket = state.remote.as_ref().and_then(|remote| remote.fields.get(&Field::Bucket)).cloned();
    if let (None, Some(bucket)) = (here, bucket) {
        // Planner's choice in the new plan is nobody's edit.
        state.base.insert(Field::Bucket, bucket);
    }
    if here.is_none() && !state.created_with.is_empty() && state.remote.is_some() && state.gone.is_none() {
        return carry_over(state, context);
    }
    if leaving.answers >= ANSWERS {
        state.leaving = None;
        return Step::new(state, Action::Wait(Duration::ZERO));
    }
    let fresh = context.now - leaving.read_at <= FRESH_MS;
    // The deletion needs a fresh copy, and so does the way back: somebody may have deleted both. Nothing else does:
    // whatever has to wait for its turn would never have one.
    let stale_will_do = state.gone.is_none() || removed(Mutant::WayBack);
    let seen = leaving.seen.clone().map(|seen| (changed(&leaving, &seen.fields), seen));
    let Some((changed, seen)) = seen.filter(|(changed, _)| fresh || (stale_will_do && !changed.is_empty()))
    else {
        let since = context.now - leaving.last;
        let action = match leaving.answers > 0 && since < GONE_APART_MS {
            true => Action::Wait(millis(GONE_APART_MS - since)),
            false => Action::GetLeft { planner_id: leaving.planner_id },
        };
        return Step::new(state, action);
    };
    if changed.is_empty() {
        return Step::new(state, Action::DeleteLeft { planner_id: leaving.planner_id, etag: seen.etag });
    }
    if state.gone.is_some() {
        return go_back(state, leaving, seen);
    }
    hand_over(state, snapshot, changed, context)
}

/// The new task was deleted before everything had come over: whoever did that had not seen what people did to the old
/// one, which is the task again from now on. What went over counts as agreed on, all that was done since does not.
fn go_back(mut state: TaskState, leaving: Leaving, seen: Remote) -> Step {
    let dead = state.planner_id.replace(leaving.planner_id);
    (state.base, state.remote) = (leaving.base, Some(seen));
    (state.leaving, state.gone) = (None, None);
    (state.need_get, state.full_at) = (true, 0);
    state.created_with.clear();
    state.intents.clear();
    // Categories are the old plan's again.
    state.current.remove(&Field::Labels);
    state.labels.clear();
    let mut step = Step::new(state, Action::Wait(Duration::ZERO));
    step.unmap = dead;
    step.clear_absent = true;
    step.events.push(Event::Restored);
    step
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

/// What somebody did to the old task since it was copied, and what is not dealt with yet.
fn changed(leaving: &Leaving, seen: &Fields) -> Fields {
    seen.iter()
        .filter(|(field, value)| !same(**field, value, leaving.last(**field)))
        .map(|(field, value)| (*field, value.clone()))
        .collect()
}

/// Makes people's last edits of the old task edits of the new one. They are nobody's values but theirs until they
/// come down from there: an agent's stale write cannot put them away.
fn hand_over(mut state: TaskState, snapshot: &Snapshot, changed: Fields, context: &Context<'_>) -> Step {
    let Some(remote) = state.remote.clone() else { return Step::new(state, Action::Finish) };
    let names = names(&state, snapshot, context, None);
    let Some(leaving) = state.leaving.as_mut() else { return Step::new(state, Action::Finish) };
    let (from, to) = (leaving.plan.clone(), plan_of(&remote.fields).cloned());
    let named =
        |plan: &Option<String>| plan.as_ref().is_some_and(|plan| context.plans.categories.contains_key(plan));
    if changed.contains_key(&Field::Labels) && !(named(&from) && named(&to)) {
        // Labels go over by their names.
        return Step::new(state, Action::Wait(NAMES_WAIT));
    }
    let mut events = Vec::new();
    let mut changes = Fields::new();
    for (field, theirs) in changed {
        let there = remote.fields.get(&field).cloned().unwrap_or(Value::Null);
        let base = leaving.last(field).clone();
        let merged = match (field, &base, &theirs) {
            // A plan and its bucket are what the move is about, and a place is one in a bucket.
            (Field::Plan | Field::Bucket | Field::Order, ..) => {
                Merged { value: there.clone(), conflict: Some(lost(field, &there, &theirs)) }
            }
            (Field::Labels, _, Value::Set(keys)) => {
                let by_name = |keys: &BTreeSet<String>| translated(keys, from.as_ref(), to.as_ref(), context);
                let (before, untold) =
                    if let Value::Set(keys) = &base { by_name(keys) } else { Default::default() };
                let (now, mut unknown) = by_name(keys);
                unknown.retain(|label| !untold.contains(label));
                if !unknown.is_empty() {
                    events.push(Event::LeftOut {
                        field: field.name(),
                        code: "label_unknown",
                        values: unknown,
                    });
                }
                merge(field, &Value::Set(before), &there, &Value::Set(now), false)
            }
            _ => merge(field, &base, &there, &theirs, false),
        };
        let conflict = merged.conflict.filter(|_| field != Field::Order);
        events.extend(conflict.map(|conflict| conflict_event(&conflict, &names)));
        if same(field, &merged.value, &there) {
            leaving.handed.insert(field, theirs);
        } else {
            changes.insert(field, merged.value);
        }
    }
    if changes.is_empty() {
        let mut step = Step::new(state, Action::Wait(Duration::ZERO));
        step.events = events;
        return step;
    }
    if changes.keys().any(|field| field.is_details()) && remote.details_etag.is_none() {
        state.need_details = true;
        return Step::new(state, Action::Get { task: false, details: true });
    }
    let (task, details) = lens::planner::patch_bodies(&changes, &remote.fields);
    let task = task.map(|body| (remote.etag.clone(), body));
    let details = details.zip(remote.details_etag.clone()).map(|(body, etag)| (etag, body));
    if task.is_none() && details.is_none() {
        // Planner cannot hold it: there is nothing to hand over.
        if let Some(leaving) = state.leaving.as_mut() {
            leaving.handed.extend(changes);
        }
        return Step::new(state, Action::Wait(Duration::ZERO));
    }
    let mut step = Step::new(state, Action::HandOver { task, details });
    step.events = events;
    step
}

fn lost(field: Field, kept: &Value, theirs: &Value) -> Conflict {
    Conflict { field, kept: kept.clone(), lost: theirs.clone(), loser: Loser::Remote }
}
