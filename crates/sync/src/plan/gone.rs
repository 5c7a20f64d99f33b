//! Absence on either side: evidence first, then a deletion; an edit that the deleter did not see beats it.

use std::time::Duration;

use super::{
    Action, Context, Deletion, FRESH_MS, GONE_APART_MS, Here, LISTS, Problem, Step, both::effective, fail,
    leave, millis, names, sendable::sendable,
};
use crate::{
    lens::{self, Document, Field, Fields, SyncStamp, Value, same},
    mutants::{Mutant, removed},
    state::{Gone, INTENT_MS, TaskState},
    world::{Direction, Event, LocalWrite, Snapshot},
};

/// Sweeps that must have missed a document before its absence counts, where no agent said that it deleted it.
pub(super) const SWEEPS: u32 = 2;
/// Stands for the digest of a document that may be absent: it had a time to live.
pub const ABSENT: &str = "absent";
/// Code of a task that Planner does not show, in a plan that is not synced.
pub(super) const NOT_LISTED: &str = "plan_not_listed";
/// How long until it is read again the first time, ms; it doubles.
const UNLISTED_MS: i64 = 15 * 60_000;
/// How often it looks, without a request, whether its plan is synced again.
pub(super) const SETTINGS_WAIT: Duration = Duration::from_mins(5);
/// How long to wait for the next list.
const LIST_WAIT: Duration = Duration::from_secs(20);

/// Deals with signs that Planner's side is gone; `None` = there are none.
pub(super) fn check(
    state: &mut TaskState,
    snapshot: &Snapshot,
    here: Option<&Here>,
    context: &Context<'_>,
) -> Option<Step> {
    if removed(Mutant::ReadBeforeAbsence) && snapshot.absent_lists > 0 {
        return Some(deleted_in_planner(state.clone(), snapshot, here, context));
    }
    let Some(gone) = state.gone.clone() else {
        if snapshot.absent_lists > 0 && context.now - state.full_at > FRESH_MS {
            state.need_get = true;
        }
        return None;
    };
    let twice = gone.answers >= 2 || removed(Mutant::SecondAnswer);
    // Of a deleted task there may be a copy left in the cache: that is no word of Planner's.
    let unproven = state.base.is_empty() && snapshot.observed_etag.is_none();
    if (state.remote.is_none() || unproven) && twice {
        return Some(disown(state.clone()));
    }
    if !twice {
        let since = context.now - gone.last;
        let action = if since >= GONE_APART_MS {
            Action::Get { task: true, details: true }
        } else {
            Action::Wait(millis(GONE_APART_MS - since))
        };
        return Some(Step::new(state.clone(), action));
    }
    // The plan's count goes on from what it had counted before the first answer.
    let lists = snapshot.absent_lists.saturating_sub(gone.lists);
    let recent = context.now - gone.last < GONE_APART_MS;
    if lists < LISTS && !removed(Mutant::ListEvidence) {
        if recent && let Some(step) = unlisted(state, here, context) {
            return Some(step);
        }
        let action = if recent || snapshot.absent_lists > 0 {
            Action::Wait(LIST_WAIT)
        } else {
            Action::Get { task: true, details: true }
        };
        return Some(Step::new(state.clone(), action));
    }
    // The last word is the task's own: its plan may have been closed at the first answers and be open again, and a
    // person who has moved it since is missed by the list of the one plan, and not shown yet by that of the other. It is
    // asked for once: where it is refused again, one more list has to come, and by then no word is recent.
    if !recent && !gone.asked && !removed(Mutant::LastWord) {
        state.gone = Some(Gone { asked: true, ..gone });
        return Some(Step::new(state.clone(), Action::Get { task: true, details: true }));
    }
    Some(deleted_in_planner(state.clone(), snapshot, here, context))
}

/// No list will tell whether a task is gone whose plan is not synced any more: it waits, and is read rarely.
fn unlisted(state: &TaskState, here: Option<&Here>, context: &Context<'_>) -> Option<Step> {
    if is_listed(state, context) {
        return None;
    }
    if context.plans.unread {
        return Some(Step::new(state.clone(), Action::Wait(LIST_WAIT)));
    }
    let message = "Planner does not show the task, and its plan is not one of the synced plans (PLANNER_PLANS): no \
                   list tells whether it was deleted";
    let problem = Problem {
        code: NOT_LISTED.to_owned(),
        message: message.to_owned(),
        digest: here.map_or_else(String::new, |here| here.digest.clone()),
        retry_after_ms: UNLISTED_MS,
    };
    let mut step = fail(state.clone(), problem, context.now);
    if let Action::Wait(wait) = step.action {
        step.action = Action::Wait(wait.min(SETTINGS_WAIT));
    }
    Some(step)
}

/// Whether the task's plan is one whose lists are read.
pub(super) fn is_listed(state: &TaskState, context: &Context<'_>) -> bool {
    let of = |fields: &Fields| match fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => Some(plan.clone()),
        _ => None,
    };
    let plan = state.remote.as_ref().and_then(|remote| of(&remote.fields)).or_else(|| of(&state.base));
    plan.is_none_or(|plan| context.plans.synced.contains(&plan))
}

/// A document named a Planner task that is not there (any more): it is a new task.
fn disown(mut state: TaskState) -> Step {
    state.dead_id = state.planner_id.take();
    state.remote = None;
    state.gone = None;
    state.need_get = false;
    state.need_details = false;
    Step::new(state, Action::Wait(Duration::ZERO))
}

/// Planner's side is gone for good.
fn deleted_in_planner(
    state: TaskState,
    snapshot: &Snapshot,
    here: Option<&Here>,
    context: &Context<'_>,
) -> Step {
    if state.leaving.is_some() {
        return leave::finish(state, snapshot, here, context);
    }
    let planner_id = state.planner_id.clone();
    let Some(here) = here else {
        let mut step = Step::new(state, Action::Finish).forget();
        step.unmap = planner_id;
        step.events.push(Event::Deleted { direction: Direction::Down });
        return step;
    };
    // Our own deletion may have done it: then whoever wrote the document did so after it.
    let own = state.deleting.is_some_and(|at| is_recent(at, context));
    if (own || edited_since_base(&state, here, context.now)) && !removed(Mutant::EditBeatsDelete) {
        return recreate(state, here, context, planner_id);
    }
    let mut step = Step::new(state, Action::Finish).forget();
    step.deletion = Some(Deletion { direction: Direction::Down, stated: false });
    step.write = Some(LocalWrite { expected: Some(here.bytes.clone()), new: None });
    step.unmap = planner_id;
    step.events.push(Event::Deleted { direction: Direction::Down });
    step
}

/// Whether a deletion that was sent then may be why the task is gone.
fn is_recent(at: i64, context: &Context<'_>) -> bool {
    context.now - at <= INTENT_MS
}

/// Whether the document holds a value that Planner never had, and that is no stale one.
fn edited_since_base(state: &TaskState, here: &Here, now: i64) -> bool {
    let stamp = here.document.sync_stamp();
    let rev = stamp.as_ref().map(|stamp| stamp.rev.as_str());
    Field::ALL.into_iter().any(|field| {
        let base = state.base.get(&field).unwrap_or(&Value::Null);
        let local = effective(state, here, field, rev, now).value;
        // What Planner cannot take was never in doubt, and a place in a list is no work that a deletion would undo.
        let local = sendable(field, &local, base).value;
        field != Field::Order && !same(field, &local, base) && !state.is_own_echo(field, &local)
    })
}

/// An edit that the deleter did not see: the task is made again, complete.
fn recreate(old: TaskState, here: &Here, context: &Context<'_>, planner_id: Option<String>) -> Step {
    let mut whole = old.base.clone();
    whole.extend(old.current.clone());
    if removed(Mutant::CompleteFromBase) {
        whole.clear();
    }
    whole.extend(here.projection.fields.clone());
    let stamp = SyncStamp { rev: context.rev.clone(), planner_id: String::new(), etag: String::new() };
    let document = lens::render_with(&here.document, &whole, &here.names).with_stamp(&stamp);
    let mut state = TaskState { dead_id: planner_id.clone(), expires: old.expires, ..TaskState::default() };
    state.remember_view(&context.rev, &whole, context.now);
    state.current = whole;
    let mut step = Step::new(state, Action::Wait(Duration::ZERO));
    step.write = Some(LocalWrite { expected: Some(here.bytes.clone()), new: Some(document) });
    step.unmap = planner_id;
    step.clear_missed = true;
    step.clear_absent = true;
    step.events.push(Event::Restored);
    step
}

/// Whether we wrote the document after that time: what went missing later was not lost with the store's memory.
pub(super) fn written_since(state: &TaskState, since: i64) -> bool {
    state.views.last().is_some_and(|view| view.at >= since)
}

/// There is no document: import, wait for evidence, delete in Planner, or bring it back.
pub(super) fn without_document(mut state: TaskState, snapshot: &Snapshot, context: &Context<'_>) -> Step {
    let Some(remote) = state.remote.clone() else {
        return Step::new(state, Action::Get { task: true, details: true });
    };
    if state.seen.is_none() && state.current.is_empty() {
        return write_from_planner(state, snapshot, context, false);
    }
    if state.leaving.is_some() {
        return leave::finish(state, snapshot, None, context);
    }
    let unchanged = remote
        .fields
        .iter()
        .all(|(field, value)| is_seen(&state, *field, value) || state.is_own_echo(*field, value));
    if state.expires && !snapshot.delete_event && !removed(Mutant::ExpiryIsNoDeletion) {
        if unchanged {
            state.seen = Some(ABSENT.to_owned());
            return Step::new(state, Action::Finish);
        }
        return write_from_planner(state, snapshot, context, true);
    }
    if context.rebuilding_since.is_some_and(|since| !written_since(&state, since)) && !snapshot.delete_event {
        return write_from_planner(state, snapshot, context, true);
    }
    let sweeps = if removed(Mutant::SecondSweep) { 1 } else { SWEEPS };
    if !snapshot.delete_event && snapshot.missed_sweeps < sweeps {
        return Step::new(state, Action::Finish);
    }
    let deletion = Some(Deletion { direction: Direction::Up, stated: snapshot.delete_event });
    if context.now - state.full_at > FRESH_MS && !removed(Mutant::FreshRead) {
        state.need_get = true;
        let mut step = Step::new(state, Action::Get { task: true, details: true });
        step.deletion = deletion;
        return step;
    }
    if unchanged {
        state.deleting = state.deleting.filter(|at| is_recent(*at, context)).or(Some(context.now));
        let mut step = Step::new(state, Action::Delete { etag: remote.etag });
        step.deletion = deletion;
        step
    } else {
        write_from_planner(state, snapshot, context, true)
    }
}

/// Whether the document said the value when it was last merged, or both sides agree on it: whoever deleted the
/// document has seen it. The base may be behind the document where the store has forgotten what was sent.
fn is_seen(state: &TaskState, field: Field, value: &Value) -> bool {
    let said = state.current.get(&field).is_some_and(|said| same(field, said, value));
    (said && !removed(Mutant::SaidByDocument)) || is_agreed(state, field, value)
}

/// Whether nobody has changed the value since the last agreement. Before there was one, what Planner gives a new
/// task by itself is no change.
fn is_agreed(state: &TaskState, field: Field, value: &Value) -> bool {
    match state.base.get(&field) {
        _ if field == Field::Order => true,
        Some(base) => same(field, value, base),
        None => match field {
            Field::Bucket | Field::Plan => true,
            Field::Percent => same(field, value, &Value::Number(0)),
            Field::Priority => same(field, value, &Value::Number(5)),
            _ => value.is_empty(),
        },
    }
}

/// Writes a document from Planner's copy: an import, or a task whose deleter had not seen its last edit.
fn write_from_planner(
    mut state: TaskState,
    snapshot: &Snapshot,
    context: &Context<'_>,
    restored: bool,
) -> Step {
    let (Some(remote), Some(planner_id)) = (state.remote.clone(), state.planner_id.clone()) else {
        return Step::new(state, Action::Get { task: true, details: true });
    };
    let Some(json) = snapshot.observed.as_ref() else {
        state.need_get = true;
        return Step::new(state, Action::Get { task: true, details: true });
    };
    let details = json.get("details").filter(|details| details.is_object());
    state.imported = !restored;
    let kept = snapshot.tomb.as_ref().filter(|_| !restored);
    let (imported, values) = match kept.and_then(|text| Document::parse(text).ok()) {
        // Planner shows alive what was taken for deleted: the agents' own members come back with it.
        Some(kept) => {
            let mut values: crate::lens::Fields = Field::ALL
                .into_iter()
                .filter(|field| field.is_nullable())
                .map(|field| (field, Value::Null))
                .collect();
            values.extend(remote.fields.clone());
            state.imported = false;
            (kept, values)
        }
        None => (lens::import(&snapshot.id, json, details), remote.fields.clone()),
    };
    let stamp = SyncStamp { rev: context.rev.clone(), planner_id, etag: remote.etag.clone() };
    let names = names(&state, snapshot, context, None);
    let document: Document = lens::render_with(&imported, &values, &names).with_stamp(&stamp);
    for (field, value) in &remote.fields {
        let old = state.base.insert(*field, value.clone()).unwrap_or(Value::Null);
        if restored
            && !removed(Mutant::RestoredUnseen)
            && !same(*field, &old, value)
            && !state.is_own_echo(*field, value)
        {
            // Agents that still have the old document have not seen this.
            state.remember_superseded(*field, &old, context.now);
            if let Some(pending) = state.current.get(field).cloned().filter(|it| !same(*field, it, value)) {
                // It was never sent, and is no newer for that.
                state.remember_superseded(*field, &pending, context.now);
            }
            state.remember_remote_change(*field, context.now);
        }
    }
    state.current.clone_from(&state.base);
    let shown = lens::project_with(&document, None, &names).map(|shown| shown.fields).unwrap_or_default();
    if let Some(Value::Set(keys)) = remote.fields.get(&Field::Labels) {
        state.remember_labels(lens::own_labels(keys, &names));
    }
    state.remember_view(&context.rev, &shown, context.now);
    state.failure = None;
    let downloaded: Vec<Field> = remote.fields.keys().copied().collect();
    let mut step = Step::new(state, Action::Finish);
    step.write = Some(LocalWrite { expected: None, new: Some(document) });
    step.downloaded = downloaded;
    step.clear_missed = true;
    step.clear_absent = true;
    if restored {
        step.events.push(Event::Restored);
    }
    step
}
