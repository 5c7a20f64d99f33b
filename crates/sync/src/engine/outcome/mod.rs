//! What an outcome of Graph means: applied, surely not applied, or unknown — and what is done about each.

mod created;
mod left;

use std::time::Duration;

use serde_json::Value as Json;

use super::{Engine, task::Task};
use crate::{
    etag,
    lens::{self, Fields},
    mutants::{Mutant, removed},
    plan::{self, Action, GONE_APART_MS, Problem},
    state::{Gone, TaskState},
    world::{Direction, Event, FoundUser, GraphOutcome, Local, World},
};

/// How a task goes on.
pub(super) enum After {
    /// Decide again with what is known now.
    Plan,
    /// Put it down for this long.
    Wait(Duration),
}

/// Refusals that may end by themselves are tried again after this long, then half as often each time, ms.
const PARKED_MS: i64 = 15 * 60 * 1000;
/// Conflict answers in a row before a longer wait.
const CONFLICTS: u32 = 5;
/// The longest wait for Graph to agree with itself.
const LONGEST: Duration = Duration::from_secs(30);

/// One request's outcome, by what may be done next.
enum Class {
    Applied(Option<Json>),
    /// 404, 410 or 403: not there, or not for us (graph.md correction 6).
    Absent(u16),
    /// 409 or 412.
    Conflict,
    Throttled(Option<Duration>),
    /// Another 4xx: surely not applied, and no use to repeat.
    Rejected(u16, Option<Json>),
    /// Surely not applied; worth repeating.
    NotSent,
    /// May or may not have been applied.
    Unknown,
}

fn classify(outcome: GraphOutcome) -> Class {
    match outcome {
        GraphOutcome::Unknown { .. } => Class::Unknown,
        GraphOutcome::NotSent { .. } => Class::NotSent,
        GraphOutcome::Answer { status, body, retry_after } => match status {
            200..=299 => Class::Applied(body),
            401 => Class::NotSent,
            403 | 404 | 410 if !is_limit(body.as_ref()) => Class::Absent(status),
            409 | 412 => Class::Conflict,
            429 => Class::Throttled(retry_after),
            503 if retry_after.is_some() => Class::Throttled(retry_after),
            400..=499 => Class::Rejected(status, body),
            _ => Class::Unknown,
        },
    }
}

fn error_code(body: Option<&Json>) -> &str {
    body.and_then(|body| body.pointer("/error/code")).and_then(Json::as_str).unwrap_or_default()
}

/// Planner's limits answer 403 with the name of the limit (Graph's Planner overview).
fn is_limit(body: Option<&Json>) -> bool {
    error_code(body).starts_with("Maximum")
}

impl<W: World> Engine<W> {
    /// Takes the outcomes of a task's requests into its state.
    pub(super) async fn take_outcome(
        &self,
        task: &mut Task,
        action: &Action,
        outcomes: Vec<GraphOutcome>,
    ) -> After {
        let mut classes = outcomes.into_iter().map(classify);
        match action {
            Action::Finish | Action::Wait(_) | Action::WriteParent { .. } => After::Plan,
            Action::Get { task: want_task, details } => {
                let got_task = want_task.then(|| classes.next()).flatten();
                let got_details = details.then(|| classes.next()).flatten();
                self.read(task, got_task, got_details).await
            }
            Action::FindUsers { names } => self.found(task, names, classes.collect()).await,
            Action::Create { .. } => self.created(task, classes.next().unwrap_or(Class::Unknown)).await,
            Action::Patch { task: task_part, details, changes } => {
                let mut after = After::Plan;
                for is_details in [false, true] {
                    let sent = if is_details { details.is_some() } else { task_part.is_some() };
                    if !sent {
                        continue;
                    }
                    let part: Fields = changes
                        .iter()
                        .filter(|(field, _)| field.is_details() == is_details)
                        .map(|(field, value)| (*field, value.clone()))
                        .collect();
                    let class = classes.next().unwrap_or(Class::Unknown);
                    let next = self.patched(task, &part, is_details, class).await;
                    after = later(after, next);
                }
                after
            }
            Action::GetLeft { .. } => {
                let (task_part, details) = (classes.next(), classes.next());
                self.read_left(task, task_part, details).await
            }
            Action::HandOver { task: task_part, details } => {
                let mut after = After::Plan;
                for is_details in [false, true] {
                    if if is_details { details.is_some() } else { task_part.is_some() } {
                        let class = classes.next().unwrap_or(Class::Unknown);
                        let next = self.handed_over(task, is_details, class).await;
                        after = later(after, next);
                    }
                }
                after
            }
            Action::DeleteLeft { .. } => {
                self.deleted_left(task, classes.next().unwrap_or(Class::Unknown)).await
            }
            Action::Delete { .. } => self.deleted(task, classes.next().unwrap_or(Class::Unknown)).await,
        }
    }

    async fn read(&self, task: &mut Task, got_task: Option<Class>, got_details: Option<Class>) -> After {
        let now = self.world.now_ms();
        let mut whole = got_task.is_some() && got_details.is_some();
        let mut base = match got_task {
            None => None,
            Some(Class::Applied(Some(body))) => {
                let seen = body.get("@odata.etag").and_then(Json::as_str).unwrap_or_default().to_owned();
                let known = task.state().remote.as_ref().map(|remote| remote.etag.clone());
                if known.is_some_and(|known| etag::is_older(&seen, &known)) {
                    task.state().attempts += 1;
                    return After::Wait(self.backoff(task.snapshot.state.attempts, LONGEST));
                }
                task.shown = true;
                task.snapshot.absent_lists = 0;
                task.snapshot.observed_etag = None;
                let state = task.state();
                state.gone = None;
                state.need_get = false;
                Some(body)
            }
            Some(Class::Absent(status)) => {
                missed(task, now, status);
                return After::Plan;
            }
            Some(other) => return self.unread(task, other).await,
        };
        match got_details {
            Some(Class::Applied(Some(details))) => {
                let cached = task.raw.as_ref().or(task.snapshot.observed.as_ref());
                let planner_id = task.snapshot.state.planner_id.as_deref();
                let from_cache = cached.filter(|json| plan::is_of(json, planner_id)).cloned();
                if let Some(raw) = base.as_mut() {
                    raw["details"] = details.clone();
                } else if let Some(mut raw) = from_cache {
                    raw["details"] = details.clone();
                    task.raw = Some(raw.clone());
                    task.snapshot.observed = Some(raw);
                }
                if base.is_none() {
                    set_details(task.state(), &details);
                }
            }
            Some(Class::Absent(_)) if base.is_none() => {
                task.state().need_get = true;
                task.state().need_details = false;
                return After::Plan;
            }
            Some(Class::Absent(_)) => whole = false,
            Some(other) => {
                let after = self.unread(task, other).await;
                if base.is_some() {
                    task.state().need_get = true;
                }
                return after;
            }
            None => {}
        }
        if let Some(raw) = base {
            let fresh = plan::observe(task.state(), &raw);
            if !fresh && let Some(details) = raw.get("details") {
                set_details(task.state(), details);
            }
            task.snapshot.observed = Some(raw.clone());
            task.raw = Some(raw);
        }
        if whole {
            task.state().full_at = now;
            task.state().need_details = false;
        }
        task.snapshot.recheck_details = false;
        task.state().attempts = 0;
        After::Plan
    }

    /// A read that brought nothing.
    async fn unread(&self, task: &mut Task, class: Class) -> After {
        match class {
            Class::Throttled(retry_after) => self.pause_for(retry_after).await,
            Class::Rejected(status, body) => {
                self.reject(task, status, body.as_ref(), PARKED_MS);
                After::Wait(plan::millis(PARKED_MS))
            }
            _ => self.try_later(task),
        }
    }

    /// Takes what the directory said. Where it did not answer, the task goes on without those users for now.
    async fn found(&self, task: &mut Task, names: &[String], classes: Vec<Class>) -> After {
        for (name, class) in names.iter().zip(classes) {
            let name = lens::folded(name);
            let user = match class {
                Class::Applied(body) => only_user(body.as_ref()),
                Class::Throttled(retry_after) => return self.pause_for(retry_after).await,
                Class::Absent(status @ 403) | Class::Rejected(status, _) => {
                    self.count("directory_refused", 1);
                    tracing::warn!(
                        status,
                        code = "directory_refused",
                        "Graph does not show this app the users"
                    );
                    None
                }
                Class::Absent(_) => None,
                Class::Conflict | Class::NotSent | Class::Unknown => {
                    task.snapshot.users_unanswered = true;
                    task.snapshot.users.insert(name, None);
                    continue;
                }
            };
            let id = user.as_ref().and_then(|user| user.get("id")).and_then(Json::as_str);
            task.snapshot.users.insert(name.clone(), id.map(str::to_ascii_lowercase));
            task.found_users.push(FoundUser { name, user });
        }
        After::Plan
    }

    async fn patched(&self, task: &mut Task, changes: &Fields, is_details: bool, class: Class) -> After {
        match class {
            Class::Unknown => {}
            // What was sent before would be refused now: its ETag is an old one.
            Class::Applied(_) => {
                task.state().intents.retain(|intent| !changes.contains_key(&intent.field));
            }
            _ if removed(Mutant::EarlierWrites) => {
                task.state().intents.retain(|intent| !changes.contains_key(&intent.field));
            }
            Class::Conflict => task.state().outdate(changes),
            _ => changes.iter().for_each(|(field, value)| task.state().withdraw_intent(*field, value)),
        }
        match class {
            Class::Applied(body) => {
                task.uploaded.extend(changes.keys());
                apply_sent(task, changes, is_details, body);
                After::Plan
            }
            Class::Conflict => {
                self.count("etag_conflicts", 1);
                let state = task.state();
                state.need_get = true;
                state.conflicts += 1;
                if state.conflicts > CONFLICTS { After::Wait(LONGEST) } else { After::Plan }
            }
            Class::Absent(403) if task.snapshot.state.refused >= 1 => {
                self.reject(task, 403, None, PARKED_MS);
                After::Plan
            }
            Class::Absent(status) => {
                let now = self.world.now_ms();
                if status == 403 {
                    task.state().refused += 1;
                }
                missed(task, now, status);
                After::Plan
            }
            Class::Throttled(retry_after) => self.pause_for(retry_after).await,
            Class::Rejected(status, body) => {
                self.reject(task, status, body.as_ref(), 0);
                After::Plan
            }
            Class::NotSent => self.try_later(task),
            Class::Unknown => {
                self.count("writes_of_unknown_outcome", 1);
                task.state().need_get = true;
                self.try_later(task)
            }
        }
    }

    async fn deleted(&self, task: &mut Task, class: Class) -> After {
        if !matches!(class, Class::Applied(_) | Class::Unknown) {
            // It was surely not done. One of an earlier claim may have been.
            let started = task.started;
            task.state().deleting = task.state().deleting.filter(|at| *at < started);
        }
        match class {
            Class::Applied(_) => {
                task.unmap = task.snapshot.state.planner_id.clone();
                task.forget = true;
                task.events.push(Event::Deleted { direction: Direction::Up });
                self.count("deletes", 1);
                After::Plan
            }
            Class::Conflict => {
                task.state().need_get = true;
                task.state().full_at = 0;
                After::Plan
            }
            Class::Absent(403) if task.snapshot.state.refused >= 1 => {
                self.reject(task, 403, None, PARKED_MS);
                After::Plan
            }
            // One answer is no proof here either: a task taken for deleted would be imported again.
            Class::Absent(status) => {
                let now = self.world.now_ms();
                task.state().refused += u32::from(status == 403);
                task.state().full_at = 0;
                missed(task, now, status);
                After::Plan
            }
            Class::Throttled(retry_after) => self.pause_for(retry_after).await,
            Class::Rejected(status, body) => {
                self.reject(task, status, body.as_ref(), PARKED_MS);
                After::Plan
            }
            Class::NotSent | Class::Unknown => {
                task.state().full_at = 0;
                self.try_later(task)
            }
        }
    }

    async fn pause_for(&self, retry_after: Option<Duration>) -> After {
        self.throttled(retry_after).await;
        After::Wait(self.pause_left().unwrap_or(Duration::from_secs(1)))
    }

    /// Parks the task: Graph refused what it was sent.
    fn reject(&self, task: &mut Task, status: u16, body: Option<&Json>, retry_after_ms: i64) {
        self.count("rejected", 1);
        let limit = error_code(body);
        let code = match status {
            _ if limit.starts_with("Maximum") => limit.to_owned(),
            403 => "graph_forbidden".to_owned(),
            404 => "plan_not_found".to_owned(),
            _ => "graph_rejected".to_owned(),
        };
        let said =
            body.and_then(|body| body.pointer("/error/message")).and_then(Json::as_str).unwrap_or_default();
        let message = format!("Graph answered {status}: {}", said.chars().take(300).collect::<String>());
        self.park(task, &code, message, retry_after_ms);
    }

    /// Puts the task in the failed list, until its document changes or its time comes; 0 = it has none.
    pub(super) fn park(&self, task: &mut Task, code: &str, message: String, retry_after_ms: i64) {
        let digest = match &task.snapshot.local {
            Local::Present { bytes, .. } => crate::state::digest(bytes),
            Local::Missing => String::new(),
            Local::Unreadable { code, .. } => (*code).to_owned(),
        };
        let problem = Problem { code: code.to_owned(), message, digest, retry_after_ms };
        let step = plan::fail(task.snapshot.state.clone(), problem, self.world.now_ms());
        task.snapshot.state = step.state;
        task.events.extend(step.events);
    }
}

/// The user in an answer, if it is the only one: of two with one name nobody can say who is meant.
fn only_user(body: Option<&Json>) -> Option<Json> {
    match body?.get("value")?.as_array()?.as_slice() {
        [user] if user.get("id").is_some_and(Json::is_string) => Some(user.clone()),
        _ => None,
    }
}

fn later(a: After, b: After) -> After {
    match (a, b) {
        (After::Wait(a), After::Wait(b)) => After::Wait(a.max(b)),
        (After::Wait(wait), After::Plan) | (After::Plan, After::Wait(wait)) => After::Wait(wait),
        (After::Plan, After::Plan) => After::Plan,
    }
}

/// One more answer that the task is not there, unless the last one is too recent to count apart.
///
/// With the first of them, lists begin anew to count: what they lacked before was lag or a plan that was closed, and
/// the task may have been seen since. Together they would prove what each of them alone does not.
///
/// A plan that is closed for a while refuses its tasks like deleted ones (403): it takes a list from after that.
fn missed(task: &mut Task, now: i64, status: u16) {
    let lists = task.snapshot.absent_lists.min(plan::LISTS);
    if task.state().gone.is_none() {
        task.snapshot.absent_lists = 0;
        task.recount = true;
    }
    let absent = task.snapshot.absent_lists;
    let state = task.state();
    state.need_get = false;
    let mut gone = match state.gone.take() {
        None => Gone { since: now, answers: 1, last: now, lists, asked: false },
        Some(gone) if now - gone.last >= GONE_APART_MS => {
            Gone { answers: gone.answers + 1, last: now, ..gone }
        }
        Some(gone) => gone,
    };
    if status == 403 && !removed(Mutant::ClosedPlan) {
        gone.lists = gone.lists.max((absent + 1).saturating_sub(plan::LISTS));
    }
    state.gone = Some(gone);
}

fn set_details(state: &mut TaskState, details: &Json) {
    let seen = details.get("@odata.etag").and_then(Json::as_str).map(str::to_owned);
    let Some(remote) = state.remote.as_mut() else { return };
    state.need_details = false;
    let news = plan::is_news(seen.as_deref(), remote.details_etag.as_deref());
    if news {
        remote.details_etag = seen;
    }
    let fields = lens::planner::fields(&serde_json::json!({}), Some(details));
    for (field, value) in fields.into_iter().filter(|(field, _)| field.is_details()) {
        // What is held already is as new, or newer.
        if news || !remote.fields.contains_key(&field) {
            remote.fields.insert(field, value);
        }
    }
}

/// What was sent is what Planner has; its answer says the rest.
fn apply_sent(task: &mut Task, changes: &Fields, is_details: bool, body: Option<Json>) {
    let before = task.raw.clone().or_else(|| task.snapshot.observed.clone());
    let state = &mut task.snapshot.state;
    state.attempts = 0;
    state.refused = 0;
    state.conflicts = 0;
    for (field, value) in changes {
        state.base.insert(*field, value.clone());
    }
    let Some(body) = body.filter(|body| body.get("@odata.etag").is_some()) else {
        if let Some(remote) = state.remote.as_mut() {
            for (field, value) in changes {
                remote.fields.insert(*field, value.clone());
            }
        }
        state.need_get = true;
        return;
    };
    if is_details {
        set_details(state, &body);
        if let Some(mut raw) = before {
            raw["details"] = body;
            task.raw = Some(raw.clone());
            task.snapshot.observed = Some(raw);
        }
        return;
    }
    let needed = state.need_details;
    plan::observe(state, &body);
    state.need_details = needed;
    let mut raw = body;
    if let Some(details) = before.as_ref().and_then(|before| before.get("details")) {
        raw["details"] = details.clone();
    }
    task.raw = Some(raw.clone());
    task.snapshot.observed = Some(raw);
}
