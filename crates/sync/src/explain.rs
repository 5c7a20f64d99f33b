//! One task explained to a person: its three versions field by field, what is open, and what would be done now and
//! why. It asks the same [`plan`] that the engine obeys and carries nothing out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    blocks::Blocks,
    lens::{self, Document, Field, Fields, Value, same},
    plan::{Action, Context, Step, plan},
    state::{Remote, TaskState},
    world::{Event, Local, Snapshot},
};

/// What is known of a task and what would be done about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Annika's id.
    pub task_id: String,
    /// Planner's id, once there is one.
    pub planner_id: Option<String>,
    /// The document: `present`, `missing`, or the code of why it cannot be read.
    pub document: String,
    /// The document's key has a time to live: its absence will say nothing.
    pub expires: bool,
    /// The document carries the stamp of our last write.
    pub stamp: Stamp,
    /// The fields that any version has.
    pub fields: Vec<FieldVersions>,
    /// Writes to Planner whose outcome is not known.
    pub intents: Vec<Open>,
    /// A create whose outcome is not known.
    pub create: Option<OpenCreate>,
    /// Why the task waits for a person, an agent or a later time.
    pub failure: Option<Parked>,
    /// What speaks for a deletion.
    pub absence: Absence,
    /// Versions of the document that an agent may still write on, newest last: how old each is, in seconds.
    pub views_age_s: Vec<i64>,
    /// Since when the change waits, in milliseconds; `null` = nothing waits.
    pub waiting_ms: Option<i64>,
    /// What would be done now.
    pub next: Next,
}

/// What the document's `_sync` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// There is none: the writer dropped it, or the document was never synced.
    None,
    /// It is that of our last write: the writer has seen everything.
    Newest,
    /// It is that of an earlier write of ours.
    Older,
    /// It is none that we remember.
    Unknown,
}

/// A field's three versions; `null` where a version has no such value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldVersions {
    /// The field.
    pub field: &'static str,
    /// What both sides last agreed on.
    pub base: Json,
    /// What the document says; `null` also where it does not name the field.
    pub local: Json,
    /// What Planner says, as last read or listed.
    pub remote: Json,
    /// `same`, `local`, `remote` or `both`: which side differs from the base.
    pub changed: &'static str,
}

/// A value on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Open {
    /// The field.
    pub field: &'static str,
    /// The value that was sent.
    pub value: Json,
    /// How long ago, in seconds.
    pub age_s: i64,
}

/// A create on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenCreate {
    /// The plan it was sent to.
    pub plan: String,
    /// How long ago, in seconds.
    pub age_s: i64,
}

/// Why a task waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parked {
    /// Stable code.
    pub code: String,
    /// What happened and what to do.
    pub message: String,
    /// How often.
    pub attempts: u32,
    /// In how many seconds it is tried again by itself; `null` = when the document changes.
    pub retry_in_s: Option<i64>,
}

/// What speaks for a deletion, on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Absence {
    /// An agent said that it deleted the task.
    pub delete_message: bool,
    /// Sweeps in a row that did not find the document.
    pub missed_sweeps: u32,
    /// Complete lists in a row that did not show the Planner task.
    pub absent_lists: u32,
    /// Answers of Graph that the Planner task is not there.
    pub not_found_answers: u32,
}

/// What would be done now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Next {
    /// `nothing`, `wait`, `read`, `create`, `update`, `delete` or another stable word.
    pub action: &'static str,
    /// Fields that would go to Planner.
    pub send: Vec<&'static str>,
    /// Fields that would be written into the document.
    pub write: Vec<&'static str>,
    /// What and why, a sentence each.
    pub why: Vec<String>,
    /// The plan that keeps it from being done.
    pub held_by: Option<HeldBy>,
}

/// A plan that is left alone for now, and the task with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldBy {
    /// The plan.
    pub plan: String,
    /// `graph_` and the status with which Graph refuses its list, or Planner's name of the limit that it has reached.
    pub code: String,
    /// In how many seconds the plan is tried again.
    pub retry_in_s: i64,
}

/// Explains the task of `snapshot`. `blocks`: what stands against plans.
pub fn explain(snapshot: &Snapshot, context: &Context<'_>, blocks: &BTreeMap<String, Blocks>) -> Explanation {
    let state = &snapshot.state;
    let document = match &snapshot.local {
        Local::Present { bytes, .. } => Document::parse(bytes).map_err(|error| error.code()),
        Local::Missing => Err("missing"),
        Local::Unreadable { code, .. } => Err(*code),
    };
    let local = document.as_ref().ok().and_then(|document| {
        let base = state.planner_id.is_some().then_some(&state.base);
        lens::project(document, base).ok().map(|projection| projection.fields)
    });
    let step = plan(snapshot, context);
    let seconds = |at: i64| (context.now - at).max(0) / 1_000;
    Explanation {
        task_id: snapshot.id.clone(),
        planner_id: state.planner_id.clone(),
        document: document.as_ref().map_or_else(|code| (*code).to_owned(), |_| "present".to_owned()),
        expires: matches!(snapshot.local, Local::Present { expires: true, .. }) || state.expires,
        stamp: stamp(state, document.as_ref().ok()),
        fields: versions(state, local.as_ref(), step.state.remote.as_ref().or(state.remote.as_ref())),
        intents: state
            .intents
            .iter()
            .map(|intent| Open {
                field: intent.field.name(),
                value: intent.value.shown(),
                age_s: seconds(intent.at),
            })
            .collect(),
        create: state
            .create
            .as_ref()
            .map(|create| OpenCreate { plan: create.plan.clone(), age_s: seconds(create.sent_at) }),
        failure: state.failure.as_ref().map(|failure| Parked {
            code: failure.code.clone(),
            message: failure.message.clone(),
            attempts: failure.attempts,
            retry_in_s: (failure.retry_at > 0).then(|| (failure.retry_at - context.now).max(0) / 1_000),
        }),
        absence: Absence {
            delete_message: snapshot.delete_event,
            missed_sweeps: snapshot.missed_sweeps,
            absent_lists: snapshot.absent_lists,
            not_found_answers: state.gone.as_ref().map_or(0, |gone| gone.answers),
        },
        views_age_s: state.views.iter().map(|view| seconds(view.at)).collect(),
        waiting_ms: snapshot.waited_ms,
        next: next(snapshot, &step, held_by(&step, context.now, blocks)),
    }
}

/// The plan for which the engine would not carry this step out now.
fn held_by(step: &Step, now: i64, blocks: &BTreeMap<String, Blocks>) -> Option<HeldBy> {
    let state = &step.state;
    let creates = matches!(step.action, Action::Create { .. });
    let asks = !matches!(step.action, Action::Finish | Action::Wait(_) | Action::FindUsers { .. });
    let of = |fields: &Fields| match fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => Some(plan.clone()),
        _ => None,
    };
    let plan = match &state.create {
        Some(create) if creates => create.plan.clone(),
        _ => state.remote.as_ref().and_then(|remote| of(&remote.fields)).or_else(|| of(&state.base))?,
    };
    let blocks = blocks.get(&plan)?;
    let full = blocks.full.as_ref().filter(|full| creates && now < full.until);
    let (code, until) = match (blocks.suspended(), full) {
        (Some(refused), _) if asks || step.deletion.is_some() => {
            (format!("graph_{}", refused.status), refused.until)
        }
        (_, Some(full)) => (full.code.clone(), full.until),
        _ => return None,
    };
    Some(HeldBy { plan, code, retry_in_s: (until - now).max(0) / 1_000 })
}

fn stamp(state: &TaskState, document: Option<&Document>) -> Stamp {
    let Some(stamp) = document.and_then(Document::sync_stamp) else { return Stamp::None };
    if state.rev.as_ref() == Some(&stamp.rev) {
        Stamp::Newest
    } else if state.views.iter().any(|view| view.rev == stamp.rev) {
        Stamp::Older
    } else {
        Stamp::Unknown
    }
}

fn versions(state: &TaskState, local: Option<&Fields>, remote: Option<&Remote>) -> Vec<FieldVersions> {
    let remote = remote.map(|remote| &remote.fields);
    let named: BTreeSet<Field> = [Some(&state.base), local, remote]
        .into_iter()
        .flatten()
        .flat_map(|fields| fields.keys().copied())
        .collect();
    let null = Value::Null;
    let versions = named.into_iter().map(|field| {
        let base = state.base.get(&field).unwrap_or(&null);
        let here = local.and_then(|local| local.get(&field));
        let there = remote.and_then(|remote| remote.get(&field));
        // What a side does not name, it does not change.
        let differs = |value: Option<&Value>| value.is_some_and(|value| !same(field, value, base));
        let changed = match (differs(here), differs(there)) {
            (false, false) => "same",
            (true, false) => "local",
            (false, true) => "remote",
            (true, true) => "both",
        };
        let shown = |value: Option<&Value>| value.unwrap_or(&null).shown();
        FieldVersions {
            field: field.name(),
            base: base.shown(),
            local: shown(here),
            remote: shown(there),
            changed,
        }
    });
    versions.collect()
}

fn next(snapshot: &Snapshot, step: &Step, held_by: Option<HeldBy>) -> Next {
    let mut why = Vec::new();
    let mut send = Vec::new();
    let action = match &step.action {
        Action::Finish => {
            why.push(rest(snapshot, step));
            "nothing"
        }
        Action::Wait(wait) => {
            why.push(waits(snapshot, step, *wait));
            "wait"
        }
        Action::Get { task, details } => {
            why.push(reads(snapshot, step, *task, *details));
            "read"
        }
        Action::WriteParent { .. } => {
            why.push(
                "The document is a checklist item of its parent, whose document is brought up to it."
                    .to_owned(),
            );
            "write_parent"
        }
        Action::FindUsers { names } => {
            why.push(format!(
                "{} of the people in the document are looked up in the directory by their names first.",
                names.len()
            ));
            "read"
        }
        Action::Create { .. } => {
            if let Some(create) = &step.state.create {
                send.extend(create.fields.keys().map(|field| field.name()));
                why.push(match &step.state.planner_id {
                    Some(_) => format!("An agent moved the task: it is made again in plan {}.", create.plan),
                    None => {
                        format!("Planner does not have the task yet: it is created in plan {}.", create.plan)
                    }
                });
            }
            "create"
        }
        Action::GetLeft { .. } => {
            why.push(
                "The task was moved: what is left in its old plan is read before it is deleted.".to_owned(),
            );
            "read"
        }
        Action::HandOver { .. } => {
            why.push(
                "The task was moved: what people did to the old one meanwhile goes to the new one."
                    .to_owned(),
            );
            "update"
        }
        Action::DeleteLeft { .. } => {
            why.push(
                "The task was moved and nothing is left to take over: the old one is deleted.".to_owned(),
            );
            "delete"
        }
        Action::Patch { changes, .. } => {
            send.extend(changes.keys().map(|field| field.name()));
            why.push(format!("The document has newer values than Planner: {}.", send.join(", ")));
            "update"
        }
        Action::Delete { .. } => {
            let evidence =
                if snapshot.delete_event { "an agent said so" } else { "two sweeps did not find it" };
            why.push(format!(
                "The document was deleted ({evidence}) and Planner has nothing that its deleter had not seen: the \
                 Planner task is deleted."
            ));
            "delete"
        }
    };
    if let Some(write) = &step.write {
        why.push(match &write.new {
            None => "The document is deleted, since Planner's task is gone; it can be restored for 30 days."
                .to_owned(),
            Some(_) if write.expected.is_none() => "The document is written from Planner's task.".to_owned(),
            Some(_) if step.downloaded.is_empty() => "The document gets the sync's stamp.".to_owned(),
            Some(_) => "Planner's newer values go into the document.".to_owned(),
        });
    }
    if step.forget {
        why.push("Nothing is left to remember of the task.".to_owned());
    }
    why.extend(step.events.iter().filter_map(said));
    if let Some(HeldBy { plan, code, retry_in_s }) = &held_by {
        why.push(format!(
            "Not yet: the plan {plan} is left alone ({code}) and is tried again in {retry_in_s} s; somebody has to \
             mend it in Microsoft 365, or to take it out of PLANNER_PLANS."
        ));
    }
    Next { action, send, write: step.downloaded.iter().map(|field| field.name()).collect(), why, held_by }
}

/// Why nothing is to be done.
fn rest(snapshot: &Snapshot, step: &Step) -> String {
    if let Some(failure) = &step.state.failure {
        return format!(
            "It failed with {} and stands until the document changes: {}",
            failure.code, failure.message
        );
    }
    if step.state.create.as_ref().is_some_and(|create| create.unresolved) {
        return "The answer to its create was lost: it waits for a list that shows the task.".to_owned();
    }
    match &snapshot.local {
        Local::Missing if step.forget => "There is neither a document nor a Planner task.".to_owned(),
        Local::Missing if step.state.expires => {
            "The document's time to live is over, which deletes nothing in Planner.".to_owned()
        }
        Local::Missing => {
            "The document is missing; that counts after two sweeps or a delete message.".to_owned()
        }
        _ if step.write.is_some() => "After the document is written, both sides agree.".to_owned(),
        _ => "Both sides agree.".to_owned(),
    }
}

fn waits(snapshot: &Snapshot, step: &Step, wait: Duration) -> String {
    let seconds = wait.as_secs_f64();
    let why = if let Some(failure) = &step.state.failure {
        format!("it failed with {}: {}", failure.code, failure.message)
    } else if step.state.create.as_ref().is_some_and(|create| create.answered.is_some()) {
        "its create was sent more than once, and what was sent first may still arrive".to_owned()
    } else if step.state.create.is_some() {
        "the outcome of its create is not known yet".to_owned()
    } else if snapshot.state.gone.is_some() {
        "Graph said that the Planner task is not there; a second kind of evidence is awaited".to_owned()
    } else {
        "something else has to be known first".to_owned()
    };
    format!("It is looked at again in {seconds:.0} s: {why}.")
}

fn reads(snapshot: &Snapshot, step: &Step, task: bool, details: bool) -> String {
    let what = match (task, details) {
        (true, true) => "Planner's task and its details are read",
        (true, false) => "Planner's task is read",
        _ => "the details of Planner's task are read",
    };
    let why = if step.state.remote.is_none() {
        "Planner's side is not known yet"
    } else if matches!(snapshot.local, Local::Missing) {
        "nothing is deleted without a fresh look at both sides"
    } else if snapshot.absent_lists > 0 || snapshot.state.gone.is_some() {
        "it was not found where it should be"
    } else if snapshot.observed_etag.is_some() || step.state.need_get {
        "it has changed since it was last read"
    } else {
        "the details may have changed"
    };
    format!("First {what}: {why}.")
}

/// What an event of the step means to a person.
fn said(event: &Event) -> Option<String> {
    match event {
        Event::Conflict { field, kept, lost, loser } => Some(format!(
            "Both sides changed {field}: {kept} stands, {lost} ({}) is logged as lost.",
            if *loser == "agent" { "the agent's" } else { "Planner's" }
        )),
        Event::Restored => Some("An edit that the deleter had not seen beats the deletion.".to_owned()),
        Event::Failed { code, .. } => Some(format!("It is listed as failed: {code}.")),
        Event::Deleted { .. } => Some("The task is gone on both sides then.".to_owned()),
        Event::LeftOut { field, code, values } => {
            Some(format!("Of {field}, {} stay in Redis alone ({code}).", values.len()))
        }
        Event::Synced { .. } => None,
    }
}
