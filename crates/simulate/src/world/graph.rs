//! What Graph answers, as a request arrives: it may throttle, break, refuse, or show an old or torn list.

use std::time::Duration;

use annika_sync::world::{GraphOutcome, GraphRequest, PlanList};
use serde_json::{Value as Json, json};

use super::{actors::values, planner::By, sim::Sim};

/// Tasks on a page of a list.
const PAGE: usize = 4;
/// What a list lacks by mistake is older than this, ms: what is new is late by the list's lag only.
const OLD_MS: i64 = 70_000;

/// Nobody waits any more for a create that arrives so long after it had to be sent, ms.
const GIVEN_UP_MS: i64 = 10_000;

fn answered(status: u16, body: Option<Json>) -> GraphOutcome {
    GraphOutcome::Answer { status, body, retry_after: None }
}

fn seconds(sim: &mut Sim) -> Duration {
    Duration::from_millis(1_000 + sim.rng.below(4_000))
}

/// A batch arrives. Its requests are served one by one; it may be refused as a whole, or break off.
pub fn serve(sim: &mut Sim, requests: &[GraphRequest]) -> Vec<GraphOutcome> {
    let chance = sim.faults.batch;
    if !sim.rng.chance(chance) {
        return requests.iter().map(|request| serve_one(sim, request)).collect();
    }
    if sim.rng.chance(5_000) {
        let retry_after = sim.rng.chance(5_000).then(|| seconds(sim));
        sim.note("batch throttled", |_| requests.len().to_string());
        return vec![GraphOutcome::Answer { status: 429, body: None, retry_after }; requests.len()];
    }
    let served = usize::try_from(sim.rng.below(1 + requests.len() as u64)).expect("few");
    sim.note("batch broke off", |_| format!("{served} of {}", requests.len()));
    requests.iter().take(served).for_each(|request| drop(serve_one(sim, request)));
    vec![GraphOutcome::Unknown { reason: "the batch was answered 502".to_owned() }; requests.len()]
}

fn serve_one(sim: &mut Sim, request: &GraphRequest) -> GraphOutcome {
    let outcome = answer(sim, request);
    sim.graph_reads += u64::from(matches!(request, GraphRequest::GetTask { .. }));
    if request.is_write() {
        sim.graph_writes += 1;
        let what = if status(&outcome) == "200" { "graph write" } else { "graph write refused" };
        sim.note(what, |_| format!("{request:?} -> {}", status(&outcome)));
    }
    outcome
}

fn status(outcome: &GraphOutcome) -> String {
    match outcome {
        GraphOutcome::Answer { status, .. } => status.to_string(),
        other => format!("{other:?}"),
    }
}

/// The plan that a request is about.
fn plan_of(sim: &Sim, request: &GraphRequest) -> Option<String> {
    let json = match request {
        GraphRequest::CreateTask { body, .. } => body.clone(),
        GraphRequest::GetTask { planner_id }
        | GraphRequest::GetDetails { planner_id }
        | GraphRequest::PatchTask { planner_id, .. }
        | GraphRequest::PatchDetails { planner_id, .. }
        | GraphRequest::DeleteTask { planner_id, .. } => sim.planner.get(planner_id)?,
        GraphRequest::FindUsers { .. } => return None,
    };
    json["planId"].as_str().map(str::to_owned)
}

fn answer(sim: &mut Sim, request: &GraphRequest) -> GraphOutcome {
    let faults = sim.faults.clone();
    if plan_of(sim, request).is_some_and(|plan| sim.is_closed(&plan)) {
        return refused(403);
    }
    if sim.broken_plan.is_some() && plan_of(sim, request).as_deref() == sim.broken_plan {
        return answered(500, None);
    }
    if let GraphRequest::CreateTask { body, .. } = request
        && sim.is_full(body["planId"].as_str().unwrap_or_default())
    {
        let error =
            json!({"code": "MaximumTasksInProject", "message": "The request exceeded allowed limits."});
        return answered(403, Some(json!({"error": error})));
    }
    if sim.rng.chance(faults.throttle) {
        // Graph does not always say how long to wait; 503 means the same where it does.
        let retry_after = sim.rng.chance(7_000).then(|| seconds(sim));
        let status = if retry_after.is_some() && sim.rng.chance(2_000) { 503 } else { 429 };
        sim.note("throttled", |_| String::new());
        return GraphOutcome::Answer { status, body: None, retry_after };
    }
    let is_broken = sim.rng.chance(faults.broken);
    if is_broken && sim.rng.chance(5_000) {
        return answered(500, None);
    }
    if !matches!(request, GraphRequest::CreateTask { .. } | GraphRequest::FindUsers { .. }) {
        if sim.rng.chance(faults.absent) {
            return answered(404, None);
        }
        if sim.rng.chance(faults.forbidden) {
            return refused(403);
        }
    }
    let outcome = carry_out(sim, request);
    if request.is_write() && status(&outcome) == "200" {
        sim.arrived_in_planner(request);
    }
    let is_lost = request.is_write() && std::mem::take(&mut sim.lose_next_answer);
    if is_broken || is_lost { answered(500, None) } else { outcome }
}

fn refused(status: u16) -> GraphOutcome {
    answered(status, Some(json!({"error": {"code": "", "message": ""}})))
}

fn carry_out(sim: &mut Sim, request: &GraphRequest) -> GraphOutcome {
    let now = sim.now;
    let planner = &mut sim.planner;
    let outcome = match request {
        GraphRequest::GetTask { planner_id } => planner.get(planner_id).ok_or(404),
        GraphRequest::GetDetails { planner_id } => {
            let details = planner.details(planner_id);
            sim.actors.details_read.extend(details.clone().map(|json| (planner_id.clone(), (now, json))));
            details.ok_or(404)
        }
        GraphRequest::FindUsers { .. } => Ok(json!({"value": []})),
        GraphRequest::CreateTask { body, not_after, .. } => {
            let known = planner.tasks.len();
            let late = now > not_after + GIVEN_UP_MS && planner.made_before(body);
            let json = planner.create(body, By::App, now);
            if planner.tasks.len() > known {
                sim.actors.task_created(&json);
                if late {
                    sim.actors.late_twin(&json);
                }
            }
            Ok(json)
        }
        GraphRequest::PatchTask { planner_id, etag, body } => planner.patch(planner_id, etag, body, now),
        GraphRequest::PatchDetails { planner_id, etag, body } => {
            planner.patch_details(planner_id, etag, body, now)
        }
        GraphRequest::DeleteTask { planner_id, etag } => {
            // A failover may have taken the map back, and not the state that a later commit stored.
            let leaves = |owner: &String| {
                let leaving = sim.store.state(owner).leaving;
                owner.starts_with('~') || leaving.is_some_and(|leaving| leaving.planner_id == *planner_id)
            };
            let left = sim.store.owners.get(planner_id).is_some_and(leaves);
            let moved = sim.actors.has_another(planner_id, planner.tasks.keys())
                || (left && sim.actors.person_deleted(planner_id));
            if moved {
                sim.oracle.excuse(values(planner.get(planner_id).as_ref(), &["bucketId"]));
                let unread = sim.actors.unread_details(planner_id, planner.details(planner_id).as_ref(), now);
                sim.oracle.excuse(unread);
            }
            if planner.tasks.contains_key(planner_id)
                && !moved
                && !sim.actors.may_delete_in_planner(planner_id)
            {
                let what = format!("DELETE of {planner_id}, which nobody deleted");
                sim.violation(what);
            }
            sim.planner.delete(planner_id, etag, now).map(|()| Json::Null)
        }
    };
    match outcome {
        Ok(body) => answered(200, (!body.is_null()).then_some(body)),
        Err(status) => refused(status),
    }
}

fn torn(reason: &str) -> PlanList {
    PlanList::Incomplete { reason: reason.to_owned(), answered: true, retry_after: None }
}

/// A plan's list, page by page; each page is of a moment of its own.
pub fn serve_list(sim: &mut Sim, plan: &str, begun_at: i64) -> PlanList {
    sim.lists += 1;
    if sim.is_closed(plan) {
        return PlanList::Refused { status: 403, retry_after: None };
    }
    let (fault, lag) = (sim.faults.list, sim.faults.lag);
    let then = sim.now - sim.rng.ms(lag + 1);
    let mut tasks = sim.planner.list(plan, then);
    if tasks.len() > PAGE && lag > 0 {
        // The second page is read a little later: a task may have moved between them, or be on both.
        let later = sim.planner.list(plan, (then + 200).min(sim.now));
        tasks.truncate(PAGE);
        tasks.extend(later.into_iter().skip(PAGE));
    }
    let mut ids = std::collections::BTreeSet::new();
    if !tasks.iter().all(|task| ids.insert(task["id"].to_string())) {
        return torn("a task came twice");
    }
    if !sim.rng.chance(fault) {
        return PlanList::Complete { tasks, begun_at };
    }
    match sim.rng.below(6) {
        0 => {
            let retry_after = sim.rng.chance(5_000).then(|| seconds(sim));
            PlanList::Refused { status: 429, retry_after }
        }
        1 => PlanList::Refused { status: 403, retry_after: None },
        2 => PlanList::Refused { status: 500, retry_after: None },
        3 => torn("the second page did not come"),
        4 => torn("a next link came twice"),
        _ => {
            let old = |task: &Json| {
                let text = task["createdDateTime"].as_str().unwrap_or_default();
                text.parse::<jiff::Timestamp>().is_ok_and(|at| at.as_millisecond() < then - OLD_MS)
            };
            let at = usize::try_from(sim.rng.below(1 + tasks.len() as u64)).expect("few");
            if tasks.get(at).is_some_and(old) {
                sim.note("list lacks a task", |_| String::new());
                tasks.remove(at);
            }
            PlanList::Complete { tasks, begun_at }
        }
    }
}
