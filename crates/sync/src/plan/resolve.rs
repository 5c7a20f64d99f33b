//! Open creates, whose answer was lost: which task they made, or the proof that they made none (sync.md §1.3.5).

use std::{cmp::Reverse, time::Duration};

use serde_json::Value as Json;

use super::{Action, Context, Step, create::adopt, millis};
use crate::{
    lens::{self, Field, Fields, Value, same},
    mutants::{Mutant, removed},
    state::{ATTEMPTS, Attempt, Create, TaskState},
    world::{Event, Local, OpenCreate, Plans, Snapshot},
};

/// How far Planner's creation time may lie before or after the moment we sent, ms.
const WINDOW_MS: (i64, i64) = (-2_000, SETTLE_MS);
/// By then what was sent has arrived or never will, ms.
const SETTLE_MS: i64 = 60_000;
/// How old a list may be when it is answered, ms.
const LIST_LAG_MS: i64 = 10_000;
/// How often an open create is looked at when nothing wakes it.
const LOOK: Duration = Duration::from_secs(10);
/// What an equal title counts; a pair without one is not certain at once.
const TITLE: u32 = 8;

/// What is known of an open create.
pub(super) enum Resolution {
    /// Go on with this step.
    Step(Box<Step>),
    /// The task may be worked on, and the state no longer holds the create.
    Nothing(Earlier),
    /// It was answered; for so long sends before that one may still show up.
    Answered(Duration),
}

/// What was sent of a create before it is sent again.
#[derive(Default)]
pub(super) struct Earlier {
    pub attempts: Vec<Attempt>,
    /// It is not proven to have made nothing: it may only be sent again as it was, or has to be remembered.
    pub open: bool,
}

/// Adopts the task that the open create made, or closes it, or waits.
pub(super) fn resolve(state: &mut TaskState, snapshot: &Snapshot, context: &Context<'_>) -> Resolution {
    let Some(create) = state.create.clone() else {
        return Resolution::Nothing(Earlier::default());
    };
    if let Some(answered) = create.answered {
        state.create = None;
        let left = (create.sent_at + SETTLE_MS).max(answered) + LIST_LAG_MS - context.now;
        return match left > 0 {
            true => Resolution::Answered(millis(left)),
            false => Resolution::Nothing(Earlier::default()),
        };
    }
    if let Some(orphan) = &explained_by(&snapshot.id, &create, snapshot, context.now) {
        let planner_id = text(orphan, "id").unwrap_or_default().to_owned();
        state.create = None;
        state.failure = None;
        adopt(state, &closest(&create, orphan), &planner_id, orphan);
        state.need_details = true;
        // After a move, the copy at hand is the old task's.
        state.need_get = state.leaving.is_some();
        let get = Action::Get { task: state.need_get, details: true };
        return Resolution::Step(Box::new(Step::new(state.clone(), get)));
    }
    // Sent again with the id of ours, it answers what the last send made.
    let there = matches!(snapshot.local, Local::Present { .. });
    let safe = create.external_id.is_some() && context.scenario.is_some() && there;
    let proven = made_nothing(&create, snapshot, context.plans);
    if safe || proven {
        state.create = None;
        let mut attempts = create.attempts();
        let excess = (attempts.len() + 1).saturating_sub(ATTEMPTS);
        attempts.drain(..excess);
        return Resolution::Nothing(Earlier { attempts, open: !proven });
    }
    let mut step = Step::new(state.clone(), Action::Wait(LOOK));
    if !create.unresolved {
        step.state.create = Some(Create { unresolved: true, ..create });
        step.events.push(Event::Failed {
            code: "create_unresolved".to_owned(),
            message:
                "the answer to a create was lost: the task is adopted when a list shows it, and sent again \
                      when the lists prove that it was not made"
                    .to_owned(),
        });
    }
    Resolution::Step(Box::new(step))
}

/// Goes on with a create that was not sent again and is not proven to have made nothing: its task may appear yet.
pub(super) fn keep_open(step: Step, snapshot: &Snapshot) -> Step {
    let was_mapped = snapshot.state.planner_id.is_some();
    if step.state.create.is_some() || (step.state.planner_id.is_some() && !was_mapped) {
        return step;
    }
    if step.forget && was_mapped {
        return Step::new(snapshot.state.clone(), Action::Wait(LOOK));
    }
    still_looking(step, snapshot, LOOK)
}

/// The step with the create as it was, looked at again within that time: also where the document waits for longer, for
/// what was sent before may show up any time.
fn still_looking(mut step: Step, snapshot: &Snapshot, within: Duration) -> Step {
    if !step.forget {
        step.state.create.clone_from(&snapshot.state.create);
        step.action = match step.action {
            Action::Finish => Action::Wait(within),
            Action::Wait(wait) => Action::Wait(wait.min(within)),
            other => other,
        };
    }
    step
}

/// Goes on with a task whose create was answered only when it had been sent before. What those sends made and somebody
/// deleted is still in lists of a moment ago; the open create keeps it from being imported. What arrives only now is
/// answered with the task that is there, so until then that one is not deleted, and no other one is made.
pub(super) fn watch(step: Step, snapshot: &Snapshot, left: Duration) -> Step {
    if matches!(step.action, Action::Delete { .. } | Action::Create { .. }) {
        return Step::new(snapshot.state.clone(), Action::Wait(left));
    }
    still_looking(step, snapshot, left)
}

/// Every synced plan was listed twice since what was sent must have arrived, and no list held a task that may be it.
fn made_nothing(create: &Create, snapshot: &Snapshot, plans: &Plans) -> bool {
    let settle = if removed(Mutant::Settle) { 0 } else { SETTLE_MS + LIST_LAG_MS };
    let after = create.sent_at + settle;
    !plans.unread
        && !plans.synced.is_empty()
        && plans.synced.iter().all(|plan| snapshot.clean_since.get(plan).is_some_and(|begun| *begun >= after))
}

/// The held task that this create made, once that is certain enough.
///
/// All open creates and all held tasks are paired, the most alike first; among equals those nearest in time.
fn explained_by(id: &str, create: &Create, snapshot: &Snapshot, now: i64) -> Option<Json> {
    let own = OpenCreate { id: id.to_owned(), attempts: create.attempts() };
    let rivals = snapshot.open_creates.iter().filter(|open| open.id != id);
    let creates: Vec<&OpenCreate> = rivals.chain([&own]).collect();
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for orphan in &snapshot.orphans {
        let fields = lens::planner::fields(orphan, None);
        pairs.extend(creates.iter().filter_map(|create| Pair::of(create, orphan, &fields)));
    }
    pairs.sort_by_key(|pair| (Reverse(pair.alike), pair.apart, pair.create, text(pair.orphan, "id")));
    let mut taken: Vec<Pair<'_>> = Vec::new();
    for pair in &pairs {
        if !taken.iter().any(|other| other.touches(pair)) {
            taken.push(*pair);
        }
    }
    let chosen = taken.into_iter().find(|pair| pair.create == id)?;
    let others = || pairs.iter().filter(|pair| **pair != chosen && pair.touches(&chosen));
    let certain = others().count() == 0
        || (chosen.alike >= TITLE && others().all(|other| other.alike < chosen.alike))
        || now - create.sent_at > SETTLE_MS;
    certain.then(|| chosen.orphan.clone())
}

/// An open create and a held task that it may have made.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pair<'a> {
    create: &'a str,
    orphan: &'a Json,
    alike: u32,
    /// Between the send and the creation, ms.
    apart: i64,
}

impl<'a> Pair<'a> {
    fn of(create: &'a OpenCreate, orphan: &'a Json, fields: &Fields) -> Option<Self> {
        let timely = create.attempts.iter().filter(|attempt| is_timely(attempt.sent_at, orphan));
        let best = timely.map(|attempt| {
            (
                alike(&attempt.fields, fields),
                Reverse(created_ms(orphan).map_or(0, |at| (at - attempt.sent_at).abs())),
            )
        });
        let (alike, Reverse(apart)) = best.max()?;
        Some(Self { create: &create.id, orphan, alike, apart })
    }

    fn touches(&self, other: &Self) -> bool {
        self.create == other.create || text(self.orphan, "id") == text(other.orphan, "id")
    }
}

/// How much a task is like what was sent.
fn alike(sent: &Fields, found: &Fields) -> u32 {
    let weight = |field: &Field| match field {
        Field::Title => TITLE,
        Field::Bucket | Field::Start | Field::Due | Field::Assignees => 2,
        _ => 1,
    };
    let points = |(field, value): (&Field, &Value)| match (value, found.get(field)) {
        (value, _) if value.is_empty() => 0,
        (value, Some(there)) if same(*field, value, there) => weight(field),
        // A person has added to it or taken from it.
        (Value::Set(sent), Some(Value::Set(there))) if !sent.is_disjoint(there) => 1,
        _ => 0,
    };
    sent.iter().map(points).sum()
}

/// What was sent by the attempt that is most like the task, the last one among equals (sync.md F13).
///
/// Where the task shows what none of the attempts sent, a person has changed it, and nobody can tell from what: on
/// such a value nothing was agreed, so that an agent's own counts as a conflict and is not dropped without a word.
pub(crate) fn closest(create: &Create, json: &Json) -> Fields {
    let found = lens::planner::fields(json, None);
    let attempts = create.attempts();
    let best = attempts.iter().max_by_key(|attempt| (alike(&attempt.fields, &found), attempt.sent_at));
    let mut base = best.map_or_else(|| create.fields.clone(), |attempt| attempt.fields.clone());
    let nothing = Value::Null;
    base.retain(|field, value| {
        let there = found.get(field).unwrap_or(&nothing);
        if matches!(field, Field::Plan | Field::Order) || same(*field, value, there) {
            return true;
        }
        let mut sent = attempts.iter().map(|attempt| attempt.fields.get(field).unwrap_or(&nothing));
        match value {
            Value::Set(members) => {
                sent.for_each(|other| match other {
                    Value::Set(other) => members.retain(|member| other.contains(member)),
                    _ => members.clear(),
                });
                true
            }
            value => sent.all(|other| same(*field, value, other)),
        }
    });
    base
}

fn text<'a>(json: &'a Json, name: &str) -> Option<&'a str> {
    json.get(name).and_then(Json::as_str)
}

/// When Planner says that it made a task, ms.
fn created_ms(json: &Json) -> Option<i64> {
    let text = json.get("createdDateTime")?.as_str()?;
    text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

/// Whether a task was made when what was sent then may have arrived. One that does not say when may have been.
fn is_timely(sent_at: i64, json: &Json) -> bool {
    created_ms(json).is_none_or(|at| (WINDOW_MS.0..=WINDOW_MS.1).contains(&(at - sent_at)))
}

/// Whether Planner's task may be the work of our own application; where its id is not known, of any.
pub fn made_by(json: &Json, application: Option<&str>) -> bool {
    let by = json.get("createdBy");
    let app = by.and_then(|by| by.pointer("/application/id")).and_then(Json::as_str);
    let user = by.and_then(|by| by.pointer("/user/id")).and_then(Json::as_str);
    match (app, application) {
        (Some(app), Some(own)) => app.eq_ignore_ascii_case(own),
        (Some(_), None) => true,
        (None, _) => user.is_none(),
    }
}

/// Whether a task that no document claims may be the work of an open create: it is not imported now.
pub fn is_held(json: &Json, open: &[OpenCreate], application: Option<&str>) -> bool {
    if open.is_empty() || removed(Mutant::HeldOrphans) {
        return false;
    }
    let ours = made_by(json, application);
    let title = text(json, "title");
    let entitled = |attempt: &Attempt| match attempt.fields.get(&Field::Title) {
        Some(Value::Text(sent)) => title == Some(sent.as_str()),
        _ => false,
    };
    let attempts = open.iter().flat_map(|create| &create.attempts);
    attempts.filter(|attempt| is_timely(attempt.sent_at, json)).any(|attempt| ours || entitled(attempt))
}
