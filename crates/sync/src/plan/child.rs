//! Documents that name a parent: each is one checklist item of that task.
//!
//! The item stands in the parent's document, under a key that follows from the child's id, so that writing it twice
//! is writing it once; from there the parent's own merge takes it to Planner and back. A child is agreed with its
//! item as a task is with Planner: title and whether it is done, against a base, an edit beats an unseen deletion.

use std::time::Duration;

use super::{
    Action, Context, Deletion, Here, Problem, Step,
    both::{effective, local_write},
    conflict_event, fail,
    gone::{SWEEPS, written_since},
    sendable::MOST_ITEMS,
};
use crate::{
    lens::{self, ChecklistItem, Document, Field, Fields, Items, SyncStamp, Value, same},
    merge::{Conflict, Loser, Merged, merge},
    state::{Child, TaskState, digest},
    world::{Direction, Event, Local, LocalWrite, Parent, Snapshot},
};

/// The longest title of a checklist item, in characters (graph.md §1.5: 100).
const LONGEST_TITLE: usize = 100;
/// How soon a child looks again at a parent whose own turn has not come yet.
const UNSETTLED: Duration = Duration::from_secs(3);
/// How soon a child whose parent is not there is looked at again, ms; its parent's next change makes it due at once.
const PARENT_MS: i64 = 60_000;

/// The parent's document and its items.
struct Shelf<'a> {
    bytes: &'a [u8],
    document: Document,
    items: Items,
    parent: &'a Parent,
}

impl<'a> Shelf<'a> {
    fn of(parent: &'a Parent) -> Result<Self, (&'static str, String)> {
        let bytes = match &parent.local {
            Local::Present { bytes, .. } => bytes,
            Local::Unreadable { message, .. } => {
                return Err(("parent_unreadable", format!("of the parent: {message}")));
            }
            Local::Missing => {
                let message = "the document names a parent that is not there: write the parent, or take \
                               parent_task_id out";
                return Err(("parent_missing", message.to_owned()));
            }
        };
        let unreadable =
            |error: lens::DocumentError| ("parent_unreadable", format!("of the parent: {error}"));
        let document = Document::parse(bytes).map_err(unreadable)?;
        if lens::named_parent(&document, &parent.id).is_some() {
            let message = "the parent is a checklist item itself, and an item has no items";
            return Err(("parent_is_item", message.to_owned()));
        }
        let said = lens::project(&document, Some(&parent.state.base)).map_err(unreadable)?;
        let remembered =
            || parent.state.current.get(&Field::Checklist).or(parent.state.base.get(&Field::Checklist));
        let items = match said.fields.get(&Field::Checklist).or_else(remembered) {
            Some(Value::Checklist(items)) => items.clone(),
            _ => Items::new(),
        };
        Ok(Self { bytes, document, items, parent })
    }

    /// Whether the engine has worked off the parent's document as it is now. Until then it may hold what an agent
    /// wrote who had read an older one, and the parent's own merge is still to say what stands.
    fn is_settled(&self) -> bool {
        self.parent.state.seen.as_ref() == Some(&digest(self.bytes))
    }

    /// The write after which the item is as given, or gone.
    fn with(&self, key: &str, item: Option<ChecklistItem>) -> Action {
        let mut items = self.items.clone();
        match item {
            Some(item) => drop(items.insert(key.to_owned(), item)),
            None => drop(items.remove(key)),
        }
        let target = Fields::from([(Field::Checklist, Value::Checklist(items))]);
        let document = lens::render(&self.document, &target);
        Action::WriteParent { expected: self.bytes.to_vec(), document }
    }
}

fn cut(title: &str) -> String {
    title.trim().chars().take(LONGEST_TITLE).collect()
}

fn percent_of(value: Option<&Value>) -> i64 {
    if let Some(Value::Number(percent)) = value { *percent } else { 0 }
}

/// Whether it is the parent that has to change: a look at it costs Graph nothing, so every word of it is heeded.
pub(super) fn waits_for_parent(code: &str) -> bool {
    matches!(code, "parent_missing" | "parent_unreadable" | "parent_is_item" | "checklist_full")
}

/// The parent is not as it has to be. Looks before its time change nothing.
fn wait_for_parent(state: TaskState, problem: Problem, now: i64) -> Step {
    let known = state.failure.as_ref().filter(|failure| failure.code == problem.code);
    match known.filter(|failure| failure.digest == problem.digest && now < failure.retry_at) {
        Some(failure) => {
            let left = super::millis(failure.retry_at - now);
            Step::new(state, Action::Wait(left))
        }
        None => fail(state, problem, now),
    }
}

fn problem(code: &str, message: String, here: &Here) -> Problem {
    Problem { code: code.to_owned(), message, digest: here.digest.clone(), retry_after_ms: PARENT_MS }
}

/// The next step of a document that names `parent`.
pub(super) fn child(
    mut state: TaskState,
    snapshot: &Snapshot,
    here: &Here,
    parent: &str,
    context: &Context<'_>,
) -> Step {
    if state.child.as_ref().is_some_and(|child| child.parent != parent) {
        return leave(state, snapshot);
    }
    let key = lens::child_key(&snapshot.id);
    // From now on the parent tells this document of its changes, its arrival too.
    let put_back = state.child.as_ref().and_then(|child| child.put_back);
    state.child = Some(Child { parent: parent.to_owned(), key: key.clone(), put_back });
    let rev = here.document.sync_stamp().map(|stamp| stamp.rev);
    let said = |state: &TaskState, field: Field| effective(state, here, field, rev.as_deref(), context.now);
    let (title, percent) = (said(&state, Field::Title), said(&state, Field::Percent));
    let Value::Text(own_title) = title.value.clone() else {
        let message = "a checklist item needs a title".to_owned();
        return fail(state, problem("title_missing", message, here), context.now);
    };
    let own_percent = percent_of(Some(&percent.value));
    let own = ChecklistItem { title: cut(&own_title), checked: own_percent == 100 };
    let agreed = agreed_item(&state).as_ref() == Some(&own);
    let loaded = snapshot.parent.as_ref().filter(|loaded| loaded.id == parent);
    let shelf = match loaded.map(Shelf::of) {
        Some(Ok(shelf)) => shelf,
        Some(Err(_)) if agreed && loaded.is_some_and(has_run_out) => {
            state.failure = None;
            return Step::new(state, Action::Finish);
        }
        Some(Err((code, message))) => {
            return wait_for_parent(state, problem(code, message, here), context.now);
        }
        None => {
            let message = "what is remembered of the parent cannot be read".to_owned();
            return wait_for_parent(state, problem("parent_unreadable", message, here), context.now);
        }
    };
    let Some(item) = shelf.items.get(&key) else {
        let taken_off = shelf.parent.state.removed_items.get(&key).copied();
        if taken_off.is_some() && taken_off != put_back && agreed {
            let mut step = Step::new(state, Action::Finish).forget();
            // A person took it off a list that was read whole: nothing is inferred from an absence.
            step.deletion = Some(Deletion { direction: Direction::Down, stated: true });
            step.write = Some(LocalWrite { expected: Some(here.bytes.clone()), new: None });
            step.events.push(Event::Deleted { direction: Direction::Down });
            return step;
        }
        if shelf.items.len() >= MOST_ITEMS {
            return wait_for_parent(state, full(here), context.now);
        }
        state.failure = None;
        state.child = Some(Child { parent: parent.to_owned(), key: key.clone(), put_back: taken_off });
        intend(&mut state, &own, context.now);
        return Step::new(state, shelf.with(&key, Some(own)));
    };
    let news = *item != own && agreed_item(&state).as_ref() != Some(item);
    if news && !shelf.is_settled() {
        return Step::new(state, Action::Wait(UNSETTLED));
    }
    let in_planner = match shelf.parent.state.base.get(&Field::Checklist) {
        Some(Value::Checklist(items)) => items.contains_key(&key),
        _ => false,
    };
    if shelf.items.len() > MOST_ITEMS && !in_planner {
        return wait_for_parent(state, full(here), context.now);
    }
    state.failure = None;
    // An open item agrees with every percentage below 100.
    let before = percent_of(state.base.get(&Field::Percent));
    let there = match item.checked {
        true => 100,
        false if own_percent < 100 => own_percent,
        false if before < 100 => before,
        false => 0,
    };
    let written = on_its_way(item);
    let base = |field: Field, there: &Value| match written.get(&field) {
        // What this document put there itself is no change of the item.
        Some(written) if state.is_own_echo(field, written) => there.clone(),
        _ => state.base.get(&field).cloned().unwrap_or(Value::Null),
    };
    let there = [
        (Field::Title, Value::Text(own.title.clone()), Value::Text(item.title.clone()), title),
        (Field::Percent, percent.value.clone(), Value::Number(there), percent),
    ];
    let merged: Vec<(Field, Merged, Value, Value, bool)> = there
        .into_iter()
        .map(|(field, local, remote, said)| {
            let merged = merge(field, &base(field, &remote), &local, &remote, said.unseen);
            (field, merged, local, remote, said.discarded)
        })
        .collect();
    let mut step = Step::new(state, Action::Finish);
    let mut target = Fields::new();
    for (field, Merged { value, conflict }, local, remote, discarded) in merged {
        let shown = shown(here, field);
        if let Some(lost) = shown.clone().filter(|shown| discarded && !same(field, shown, &local)) {
            let conflict = Conflict { field, kept: local.clone(), lost, loser: Loser::Local };
            step.events.push(conflict_event(&conflict, &here.names));
        }
        step.state.replaced_by_agent(field, &local, context.now);
        if let Some(conflict) = conflict {
            step.state.remember_superseded(field, &conflict.lost, context.now);
            step.events.push(conflict_event(&conflict, &here.names));
        }
        if let Some(base) = step.state.base.get(&field).filter(|base| !same(field, base, &remote)).cloned() {
            // Who still has the old value, or the document as it is, has not seen the new one.
            step.state.remember_superseded(field, &base, context.now);
            if let Some(shown) = shown.as_ref().filter(|shown| !same(field, shown, &value)) {
                step.state.remember_superseded(field, shown, context.now);
            }
            step.state.remote_changed.insert(field, context.now);
        }
        if !same(field, &local, &value) {
            step.downloaded.push(field);
        }
        // An old value that was no edit is corrected in the document, too.
        if shown.map_or(!same(field, &local, &value), |shown| !same(field, &shown, &value)) {
            target.insert(field, value.clone());
        }
        step.state.base.insert(field, remote);
        step.state.current.insert(field, value);
    }
    let wanted = ChecklistItem {
        title: match step.state.current.get(&Field::Title) {
            Some(Value::Text(title)) => title.clone(),
            _ => own.title,
        },
        checked: percent_of(step.state.current.get(&Field::Percent)) == 100,
    };
    let news = !step.downloaded.is_empty();
    step.write = local_write(&mut step.state, here, &target, "", news, context);
    step.clear_missed = snapshot.missed_sweeps > 0 || snapshot.delete_event;
    if wanted == *item {
        step.state.intents.clear();
    } else {
        intend(&mut step.state, &wanted, context.now);
        step.action = shelf.with(&key, Some(wanted));
    }
    step
}

/// An item's values as the child remembers what it writes into it.
fn on_its_way(item: &ChecklistItem) -> Fields {
    let percent = if item.checked { 100 } else { 0 };
    Fields::from([(Field::Title, Value::Text(item.title.clone())), (Field::Percent, Value::Number(percent))])
}

/// The item is about to be written into the parent: when it is found there, it is the child's own.
fn intend(state: &mut TaskState, item: &ChecklistItem, now: i64) {
    for (field, value) in &on_its_way(item) {
        state.remember_intent(*field, value, now);
    }
}

/// What the document itself shows, as far as an item can hold it.
fn shown(here: &Here, field: Field) -> Option<Value> {
    match here.projection.fields.get(&field)? {
        Value::Text(title) if field == Field::Title => Some(Value::Text(cut(title))),
        value => Some(value.clone()),
    }
}

/// The parent's document ran out of time, or left Redis because it is completed: Planner has it and its items.
fn has_run_out(parent: &Parent) -> bool {
    parent.local == Local::Missing && parent.state.expires
}

/// The parent's document is missing, and nobody has concluded from it yet that the parent was deleted: it may come back
/// with the item on it.
fn may_be_back(parent: &Parent) -> bool {
    parent.local == Local::Missing && parent.state.planner_id.is_some() && !has_run_out(parent)
}

/// The item is somewhere, and cannot be taken off while the parent has no document.
fn holds_the_item(parent: &Parent) -> bool {
    has_run_out(parent) || may_be_back(parent)
}

fn full(here: &Here) -> Problem {
    let message = format!(
        "the parent has {MOST_ITEMS} checklist items already: take one out, or choose another parent"
    );
    problem("checklist_full", message, here)
}

/// The item as it was last agreed.
fn agreed_item(state: &TaskState) -> Option<ChecklistItem> {
    let Value::Text(title) = state.base.get(&Field::Title)? else { return None };
    let checked = percent_of(state.base.get(&Field::Percent)) == 100;
    Some(ChecklistItem { title: title.clone(), checked })
}

/// The values of an item that nobody had agreed on when it was taken off.
fn gone_with_the_item(item: &ChecklistItem, agreed: &ChecklistItem) -> Vec<Event> {
    let event = |field: Field, kept: Value, lost: Value| {
        let differ = !same(field, &kept, &lost);
        let conflict = Conflict { field, kept, lost, loser: Loser::Remote };
        differ.then(|| conflict_event(&conflict, &lens::Names::default()))
    };
    let title = |item: &ChecklistItem| Value::Text(item.title.clone());
    let percent = |item: &ChecklistItem| Value::Number(if item.checked { 100 } else { 0 });
    let events = [
        event(Field::Title, title(agreed), title(item)),
        event(Field::Percent, percent(agreed), percent(item)),
    ];
    events.into_iter().flatten().collect()
}

/// The document names another parent now, or none: the item leaves its old one first.
pub(super) fn leave(state: TaskState, snapshot: &Snapshot) -> Step {
    let key = state.child.as_ref().map(|child| child.key.clone()).unwrap_or_default();
    match snapshot.parent.as_ref().map(Shelf::of) {
        Some(Ok(shelf)) if shelf.items.contains_key(&key) => {
            let agreed = agreed_item(&state);
            let mut step = Step::new(state, shelf.with(&key, None));
            // What somebody changed in the item meanwhile goes with it, and is told.
            if let (Some(item), Some(agreed)) = (shelf.items.get(&key).filter(|_| shelf.is_settled()), agreed)
            {
                step.events.extend(gone_with_the_item(item, &agreed));
            }
            return step;
        }
        Some(Ok(shelf)) if !shelf.is_settled() => return Step::new(state, Action::Wait(UNSETTLED)),
        Some(Err((code, _)))
            if code != "parent_missing" || snapshot.parent.as_ref().is_some_and(may_be_back) =>
        {
            return Step::new(state, Action::Wait(super::millis(PARENT_MS)));
        }
        _ => {}
    }
    let fresh = TaskState { expires: state.expires, ..TaskState::default() };
    let mut step = Step::new(fresh, Action::Wait(Duration::ZERO));
    step.left_parent = true;
    step
}

/// There is no document of a child: nothing yet, or the item goes too, or the document comes back.
pub(super) fn without_document(mut state: TaskState, snapshot: &Snapshot, context: &Context<'_>) -> Step {
    let Some(child) = state.child.clone() else { return Step::new(state, Action::Finish).forget() };
    let lost = context.rebuilding_since.is_some_and(|since| !written_since(&state, since));
    if !snapshot.delete_event && (state.expires || (!lost && snapshot.missed_sweeps < SWEEPS)) {
        return Step::new(state, Action::Finish);
    }
    let shelf = match snapshot.parent.as_ref().map(Shelf::of) {
        Some(Ok(shelf)) => Some(shelf),
        Some(Err(("parent_missing", _))) if !snapshot.parent.as_ref().is_some_and(holds_the_item) => None,
        _ => return Step::new(state, Action::Wait(super::millis(PARENT_MS))),
    };
    let item = shelf.as_ref().and_then(|shelf| shelf.items.get(&child.key).cloned());
    let deletion = Some(Deletion { direction: Direction::Up, stated: snapshot.delete_event });
    if shelf.as_ref().is_some_and(|shelf| !shelf.is_settled()) && item != agreed_item(&state) {
        return Step::new(state, Action::Wait(UNSETTLED));
    }
    let (Some(shelf), Some(item)) = (shelf, item) else {
        if lost && !snapshot.delete_event {
            // The parent may be among what was lost, and come back with the item.
            return Step::new(state, Action::Wait(super::millis(PARENT_MS)));
        }
        let mut step = Step::new(state, Action::Finish).forget();
        step.events.push(Event::Deleted { direction: Direction::Up });
        return step;
    };
    if (snapshot.delete_event || !lost) && agreed_item(&state).as_ref() == Some(&item) {
        let mut step = Step::new(state, shelf.with(&child.key, None));
        step.deletion = deletion;
        return step;
    }
    let fields = on_its_way(&item);
    let mut document = Document::empty();
    document.set("id", &snapshot.id.as_str().into());
    document.set("parent_task_id", &child.parent.as_str().into());
    document.set("status", &"not_started".into());
    let stamp = SyncStamp { rev: context.rev.clone(), planner_id: String::new(), etag: String::new() };
    let document = lens::render(&document, &fields).with_stamp(&stamp);
    state.base.clone_from(&fields);
    state.current.clone_from(&fields);
    state.remember_view(&context.rev, &fields, context.now);
    let mut step = Step::new(state, Action::Finish);
    step.write = Some(LocalWrite { expected: None, new: Some(document) });
    step.downloaded = vec![Field::Title, Field::Percent];
    step.clear_missed = true;
    step.events.push(Event::Restored);
    step
}
