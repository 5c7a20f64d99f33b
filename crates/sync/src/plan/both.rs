//! Both sides are there: field by field, who changed what, and what goes where.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Action, Context, Here, Problem, Step, conflict_event, create::UNREAD_WAIT, fail, is_nothing, leave,
    sendable::sendable,
};
use crate::{
    lens::{self, Document, Field, Fields, Projection, SyncStamp, Value, same},
    merge::{Loser, Merged, merge},
    mutants::{Mutant, removed},
    state::{Attempt, Remote, TaskState, View, fingerprint},
    world::{Event, LocalWrite, Snapshot},
};

/// What the document says about a field, all things considered.
pub(super) struct Effective {
    pub value: Value,
    /// The writer cannot have known Planner's last change of the field.
    pub unseen: bool,
    /// What the document says was taken for a stale value, and does not count.
    pub discarded: bool,
}

/// Merges every field and says what has to be written where.
pub(super) fn merge_sides(
    mut state: TaskState,
    snapshot: &Snapshot,
    here: &Here,
    earlier: Vec<Attempt>,
    context: &Context<'_>,
) -> Step {
    let Some(remote) = state.remote.clone() else {
        return Step::new(state, Action::Get { task: true, details: true });
    };
    state.imported &= state.seen.as_ref() == Some(&here.digest);
    let stamp = here.document.sync_stamp();
    let rev = stamp.as_ref().map(|stamp| stamp.rev.as_str()).filter(|_| !removed(Mutant::SyncRev));
    let wanted = leave::wanted(&state, here, &remote, rev, context.now);
    let synced = |plan: &String| context.plans.synced.contains(plan);
    if context.plans.unread && wanted.as_ref().is_some_and(|plan| !synced(plan)) {
        return Step::new(state, Action::Wait(UNREAD_WAIT));
    }
    let to = wanted.filter(synced);
    let unnamed = |to: &String| here.names.categories.is_none() || !context.plans.categories.contains_key(to);
    if to.as_ref().is_some_and(unnamed) && has_labels(here, &remote.fields) {
        // Labels go over by their names.
        return Step::new(state, Action::Wait(NAMES_WAIT));
    }
    if to.is_some()
        && let Some(step) = leave::before(&state, snapshot, here, context)
    {
        return step;
    }
    let mut target = Fields::new();
    let mut push = Fields::new();
    let mut downloaded = Vec::new();
    let mut events = Vec::new();
    for loser in &here.projection.losers {
        let kept = here.projection.fields.get(&loser.0).cloned().unwrap_or(Value::Null);
        let conflict =
            crate::merge::Conflict { field: loser.0, kept, lost: loser.2.clone(), loser: Loser::Local };
        state.overruled(loser.0, &loser.2, context.now);
        events.push(conflict_event(&conflict, &here.names));
    }
    let mut left_out = unresolved(here);
    let mut names_missing = false;
    for field in fields_of(&state, here, &remote.fields) {
        if field == Field::Labels && here.names.categories.is_none() {
            // Without the plan's names neither side can be read: the task is looked at again.
            names_missing |= has_labels(here, &remote.fields);
            target.extend(state.current.get(&field).map(|value| (field, value.clone())));
            continue;
        }
        if field == Field::Order && !here.projection.fields.contains_key(&field) {
            state.base.extend(remote.fields.get(&field).map(|value| (field, value.clone())));
            continue;
        }
        let old_base = state.base.get(&field).cloned().unwrap_or(Value::Null);
        if field == Field::Checklist && !state.is_own_echo(field, &remote_value_of(&remote.fields, field)) {
            remember_removed(&mut state, remote.fields.get(&field), context.now);
        }
        let remote_value = match remote.fields.get(&field) {
            Some(value) => value.clone(),
            None if field.is_nullable() => Value::Null,
            // A document has no way to say that there is none, so Planner's silence is no change.
            None => old_base.clone(),
        };
        let base = if !same(field, &remote_value, &old_base) && state.is_own_echo(field, &remote_value) {
            remote_value.clone()
        } else {
            old_base.clone()
        };
        let mut local = effective(&state, here, field, rev, context.now);
        if field == Field::Labels && leave::says_old_labels(&state, here, context) {
            let value = state.current.get(&field).cloned().unwrap_or(Value::Null);
            local = Effective { value, unseen: false, discarded: false };
        }
        state.replaced_by_agent(field, &local.value, context.now);
        if local.discarded
            && let Some(lost) = here.projection.fields.get(&field)
            && !same(field, lost, &local.value)
        {
            let kept = local.value.clone();
            let conflict = crate::merge::Conflict { field, kept, lost: lost.clone(), loser: Loser::Local };
            events.push(conflict_event(&conflict, &here.names));
        }
        // After a move the new task has nothing yet where the old one had what the create cannot carry: it counts as
        // there, or a write that has not seen it would replace it without a word.
        let carried = state.created_with.get(&field).filter(|_| state.leaving.is_some()).cloned();
        let (was, is) = match carried.as_ref().filter(|_| is_nothing(&base) && is_nothing(&remote_value)) {
            Some(carried) => (carried, carried),
            None => (&base, &remote_value),
        };
        let Merged { mut value, mut conflict } = merge(field, was, &local.value, is, local.unseen);
        // Somebody has filled the new task before what the old one had could go over, and the document says yet
        // something else.
        if let Some(carried) = &carried
            && !is_nothing(&remote_value)
            && [&remote_value, &local.value, &value].iter().all(|other| !same(field, carried, other))
        {
            let (kept, lost) = (value.clone(), carried.clone());
            let conflict = crate::merge::Conflict { field, kept, lost, loser: Loser::Local };
            events.push(conflict_event(&conflict, &here.names));
        }
        // Planner makes a hint of its own out of the place that was asked for: it took it.
        if field == Field::Order && base != remote_value && state.is_own_echo(field, &local.value) {
            (value, conflict) = (remote_value.clone(), None);
        }
        if field == Field::Plan && !same(field, &value, &remote_value) {
            if to.is_some() {
                target.insert(field, value);
                continue;
            }
            events.push(Event::Failed {
                code: "plan_not_synced".to_owned(),
                message:
                    "the task stays in its plan: the one it was to move to is not synced (PLANNER_PLANS)"
                        .to_owned(),
            });
            conflict = Some(crate::merge::Conflict {
                field,
                kept: remote_value.clone(),
                lost: value,
                loser: Loser::Local,
            });
            value = remote_value.clone();
        }
        if let Some(conflict) = conflict {
            state.remember_superseded(field, &conflict.lost, context.now);
            events.push(conflict_event(&conflict, &here.names));
        }
        if !same(field, &base, &remote_value) {
            state.remember_superseded(field, &base, context.now);
            if let Some(shown) = here.projection.fields.get(&field)
                && !same(field, shown, &value)
            {
                state.remember_superseded(field, shown, context.now);
            }
            state.remember_remote_change(field, context.now);
            if !same(field, &local.value, &value) {
                downloaded.push(field);
            }
        }
        let part = sendable(field, &value, &remote_value);
        left_out.extend(part.left.into_iter().map(|(code, values)| (field, code, values)));
        if !same(field, &part.value, &remote_value) {
            push.insert(field, part.value);
        }
        if !is_nothing(&remote_value) || state.base.contains_key(&field) {
            state.base.insert(field, remote_value);
        }
        target.insert(field, value);
    }
    let dates = push.contains_key(&Field::Start) || push.contains_key(&Field::Due);
    if dates && let Err(wrong) = lens::dates_in_order(&target) {
        let problem = Problem {
            code: "dates_out_of_order".to_owned(),
            message: wrong.to_string(),
            digest: here.digest.clone(),
            retry_after_ms: 0,
        };
        return fail(snapshot.state.clone(), problem, context.now);
    }
    if let Some(to) = &to {
        let unknown = leave::unknown_labels(&target, &remote, to, context);
        left_out.extend((!unknown.is_empty()).then_some((Field::Labels, "label_unknown", unknown)));
    }
    target.retain(|field, value| !is_nothing(value) || here.projection.fields.contains_key(field));
    state.current.clone_from(&target);
    if !removed(Mutant::DefiniteRefusal) {
        // This copy was read after the refusal.
        state.intents.retain(|intent| !intent.outdated);
    }
    events.extend(tell_left_out(&mut state, left_out));
    if let Some(Value::Set(keys)) = target.get(&Field::Labels) {
        state.remember_labels(lens::own_labels(keys, &here.names));
    }
    let write = local_write(&mut state, here, &target, &remote.etag, !downloaded.is_empty(), context);
    state.failure = None;
    let mut step = Step::new(state, Action::Finish);
    step.events = events;
    step.write = write;
    step.downloaded = downloaded;
    step.clear_missed = snapshot.missed_sweeps > 0 || snapshot.delete_event;
    if let Some(to) = to {
        step.action = leave::begin(&mut step.state, snapshot, to, &target, &remote, earlier, context);
        return step;
    }
    if removed(Mutant::ChangedOnly) && !push.is_empty() {
        let all = here.projection.fields.clone();
        push = all.into_iter().chain(push).collect();
    }
    step.action = push_action(&mut step.state, push, &remote, context);
    if step.action == Action::Finish && step.state.leaving.is_some() {
        if step.write.is_some() {
            step.action = Action::Wait(Duration::ZERO);
            return step;
        }
        let mut last = leave::finish(step.state.clone(), snapshot, Some(here), context);
        last.events.splice(0..0, step.events);
        last.clear_missed |= step.clear_missed;
        return last;
    }
    if names_missing && matches!(step.action, Action::Finish) {
        step.action = Action::Wait(NAMES_WAIT);
    }
    step
}

/// How long a task with labels waits for the names of its plan's categories.
pub(super) const NAMES_WAIT: Duration = Duration::from_secs(10);

/// Whether either side has labels, as far as that can be seen without their names.
fn has_labels(here: &Here, remote: &Fields) -> bool {
    let named =
        |name: &&str| here.document.get(name).is_some_and(|raw| !matches!(raw.get(), "null" | "[]" | "{}"));
    ["labels", "applied_categories", "appliedCategories"].iter().any(named)
        || remote.get(&Field::Labels).is_some_and(|labels| !labels.is_empty())
}

fn fields_of(state: &TaskState, here: &Here, remote: &Fields) -> BTreeSet<Field> {
    let local = here.projection.fields.keys();
    remote.keys().chain(state.base.keys()).chain(local).chain(state.current.keys()).copied().collect()
}

fn remote_value_of(remote: &Fields, field: Field) -> Value {
    remote.get(&field).cloned().unwrap_or(Value::Null)
}

/// Remembers which items a person took off Planner's list: the documents that were these items go too. One that is
/// missing from the document as well, or from what we sent, may have been taken off by an agent, and its own document
/// puts it there again.
fn remember_removed(state: &mut TaskState, remote: Option<&Value>, now: i64) {
    let (Some(Value::Checklist(there)), Some(Value::Checklist(base))) =
        (remote, state.base.get(&Field::Checklist))
    else {
        return;
    };
    let has = |value: &Value, key: &str| matches!(value, Value::Checklist(items) if items.contains_key(key));
    let sent_without = |key: &str| {
        state.intents.iter().any(|intent| intent.field == Field::Checklist && !has(&intent.value, key))
    };
    let by_a_person = |key: &str| {
        state.current.get(&Field::Checklist).is_some_and(|shown| has(shown, key)) && !sent_without(key)
    };
    let removed: Vec<String> =
        base.keys().filter(|key| !there.contains_key(*key) && by_a_person(key)).cloned().collect();
    state.removed_items.retain(|key, _| !there.contains_key(key));
    if state.removed_items.len() + removed.len() > REMOVED_ITEMS {
        state.removed_items.clear();
    }
    state.removed_items.extend(removed.into_iter().map(|key| (key, now)));
}

/// How many removed items of a task are remembered.
const REMOVED_ITEMS: usize = 100;

/// What the document says that no value of Planner's could express.
fn unresolved(here: &Here) -> Vec<(Field, &'static str, Vec<String>)> {
    let of = |wanted: Field| -> Vec<String> {
        let unresolved = here.projection.unresolved.iter().filter(|(field, _)| *field == wanted);
        unresolved.map(|(_, what)| what.chars().take(SHOWN).collect()).collect()
    };
    let codes = [
        (Field::Assignees, "assignee_unresolved"),
        (Field::Labels, "label_unknown"),
        (Field::References, "reference_unreadable"),
    ];
    codes
        .into_iter()
        .map(|(field, code)| (field, code, of(field)))
        .filter(|(.., left)| !left.is_empty())
        .collect()
}

/// How many characters of a text that was left out are told.
const SHOWN: usize = 200;

/// Events for what was not told before; what is no longer left out may be told again.
fn tell_left_out(state: &mut TaskState, left_out: Vec<(Field, &'static str, Vec<String>)>) -> Vec<Event> {
    let mut told = BTreeSet::new();
    let mut events = Vec::new();
    for (field, code, values) in left_out {
        let key = |value: &String| format!("{code}:{}", fingerprint(&Value::Text(value.clone())));
        let new: Vec<String> =
            values.iter().filter(|value| !state.told.contains(&key(value))).cloned().collect();
        told.extend(values.iter().map(key));
        if !new.is_empty() {
            events.push(Event::LeftOut { field: field.name(), code, values: new });
        }
    }
    state.told = told;
    events
}

/// The rules for stale and silent documents (sync.md §1.3.5, F10, F11, F15).
pub(super) fn effective(
    state: &TaskState,
    here: &Here,
    field: Field,
    rev: Option<&str>,
    now: i64,
) -> Effective {
    let current =
        || state.current.get(&field).or_else(|| state.base.get(&field)).cloned().unwrap_or(Value::Null);
    let Some(local) = here.projection.fields.get(&field) else {
        if removed(Mutant::SilentIsCurrent) {
            let value = state.remote.as_ref().and_then(|remote| remote.fields.get(&field));
            return Effective {
                value: value.cloned().unwrap_or(Value::Null),
                unseen: false,
                discarded: false,
            };
        }
        return Effective { value: current(), unseen: false, discarded: false };
    };
    let changed_at = state.remote_changed.get(&field).copied().unwrap_or(0);
    match rev {
        Some(rev) if state.rev.as_deref() == Some(rev) => {
            Effective { value: local.clone(), unseen: false, discarded: false }
        }
        Some(rev) => match state.views.iter().find(|view| view.rev == rev) {
            Some(view) if view.values.get(&field) == Some(&fingerprint(local)) && !removed(Mutant::Views) => {
                Effective { value: current(), unseen: false, discarded: false }
            }
            Some(view) if is_older_of_two(state, here, field, local, view, now) => {
                Effective { value: current(), unseen: false, discarded: true }
            }
            Some(view) => Effective {
                value: local.clone(),
                unseen: changed_at > view.at && !removed(Mutant::UnseenChange),
                discarded: false,
            },
            None => stale_or(state, field, local, now, changed_at > 0),
        },
        None => stale_or(state, field, local, now, false),
    }
}

/// Whether the document names what stands and, under another name, what an agent had replaced by it: the copy of a
/// document that another agent had written so. An edit back looks alike where its author read what stands from an
/// agent and not from us: that is why the value is told.
fn is_older_of_two(
    state: &TaskState,
    here: &Here,
    field: Field,
    local: &Value,
    view: &View,
    now: i64,
) -> bool {
    let Projection { losers, disagreeing, .. } = &here.projection;
    // The elements of these are merged one by one, and they may contradict each other within one list.
    let is_plain = !matches!(field, Field::Checklist | Field::References | Field::Assignees);
    // Both names have to say something: what does not differ from the base is no loser.
    let says_what_stands = disagreeing.contains(&field) && losers.iter().all(|(lost, ..)| *lost != field);
    let stands = [state.base.get(&field), state.current.get(&field)];
    let had_read_it =
        stands.into_iter().flatten().any(|it| view.values.get(&field) == Some(&fingerprint(it)));
    is_plain
        && says_what_stands
        && !had_read_it
        && state.was_replaced(field, local, now)
        && !removed(Mutant::OlderOfTwo)
}

fn stale_or(state: &TaskState, field: Field, local: &Value, now: i64, unseen: bool) -> Effective {
    if state.is_superseded(field, local, now) {
        let value = state.current.get(&field).or_else(|| state.base.get(&field)).cloned();
        return Effective { value: value.unwrap_or(Value::Null), unseen: false, discarded: true };
    }
    Effective { value: local.clone(), unseen, discarded: false }
}

/// The document write, where values came down or the stamp is not there yet.
///
/// What came down is stamped anew even where the document cannot show it (a cleared field that it does not name):
/// a write on the old stamp has not seen it.
pub(super) fn local_write(
    state: &mut TaskState,
    here: &Here,
    target: &Fields,
    etag: &str,
    news: bool,
    context: &Context<'_>,
) -> Option<LocalWrite> {
    let rendered = lens::render_with(&here.document, target, &here.names);
    let planner_id = state.planner_id.clone().unwrap_or_default();
    let stamped = here.document.sync_stamp();
    let foreign = stamped.as_ref().is_some_and(|stamp| stamp.planner_id != planner_id);
    let first = state.rev.is_none();
    // A stamp that is none of ours (any more) would make every later edit look like one of the unknowing.
    let unknown = stamped.as_ref().is_some_and(|stamp| {
        !first
            && state.rev.as_ref() != Some(&stamp.rev)
            && state.views.iter().all(|view| view.rev != stamp.rev)
    });
    let same = rendered.bytes() == here.document.bytes() && !news && !unknown;
    if same && !foreign && !(first && stamped.is_none()) {
        if first {
            state.rev = stamped.map(|stamp| stamp.rev);
        }
        return None;
    }
    let stamp = SyncStamp { rev: context.rev.clone(), planner_id, etag: etag.to_owned() };
    let shown = lens::project_with(&rendered, Some(target), &here.names);
    let shown = shown.map(|shown| shown.fields).unwrap_or_default();
    let document: Document = rendered.with_stamp(&stamp);
    state.remember_view(&context.rev, &shown, context.now);
    Some(LocalWrite { expected: Some(here.bytes.clone()), new: Some(document) })
}

pub(super) fn push_action(
    state: &mut TaskState,
    push: Fields,
    remote: &Remote,
    context: &Context<'_>,
) -> Action {
    if push.is_empty() {
        return Action::Finish;
    }
    if push.keys().any(|field| field.is_details()) && remote.details_etag.is_none() {
        state.need_details = true;
        return Action::Get { task: false, details: true };
    }
    let push = lens::planner::timed(&push, &remote.fields, &context.plans.day_time);
    let (task, details) = lens::planner::patch_bodies(&push, &remote.fields);
    let task = task.map(|body| (remote.etag.clone(), body));
    let details = details.zip(remote.details_etag.clone()).map(|(body, etag)| (etag, body));
    if task.is_none() && details.is_none() {
        return Action::Finish;
    }
    let push = lens::planner::stored(&push);
    if removed(Mutant::BaseAfterAnswer) {
        state.base.extend(push.clone());
    }
    for (field, value) in &push {
        state.remember_intent(*field, value, context.now);
    }
    Action::Patch { task, details, changes: push }
}
