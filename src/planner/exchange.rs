//! What the engine asks of Graph, and what it hears, in the Graph client's terms.

use annika_sync::world::{GraphOutcome, GraphRequest, PlanList};
use serde_json::Value as Json;

use crate::graph::{self, ListOutcome, Outcome};

pub(super) fn request(request: &GraphRequest) -> graph::Request {
    use graph::planner;
    match request {
        GraphRequest::GetTask { planner_id } => planner::get_task(planner_id),
        GraphRequest::GetDetails { planner_id } => planner::get_details(planner_id),
        GraphRequest::FindUsers { name } => graph::directory::find_users(name),
        GraphRequest::CreateTask { body, beta, not_after } => {
            let create = planner::create_task(body.clone()).not_after(*not_after);
            if *beta { create.beta() } else { create }
        }
        GraphRequest::PatchTask { planner_id, etag, body } => {
            planner::update_task(planner_id, etag, body.clone())
        }
        GraphRequest::PatchDetails { planner_id, etag, body } => {
            planner::update_details(planner_id, etag, body.clone())
        }
        GraphRequest::DeleteTask { planner_id, etag } => planner::delete_task(planner_id, etag),
    }
}

pub(super) fn outcome(outcome: Outcome) -> GraphOutcome {
    match outcome {
        Outcome::Answer(answer) => {
            let body = with_etag(answer.body, answer.etag);
            GraphOutcome::Answer { status: answer.status, body, retry_after: answer.retry_after }
        }
        Outcome::Unknown(graph::Unknown::ServerError { status, retry_after }) => {
            GraphOutcome::Answer { status, body: None, retry_after }
        }
        Outcome::Unknown(reason) => GraphOutcome::Unknown { reason: reason.to_string() },
        Outcome::NotSent(reason) => GraphOutcome::NotSent { reason: reason.to_string() },
    }
}

/// An entity whose ETag came in the header alone gets it where the engine looks for it.
fn with_etag(body: Option<Json>, etag: Option<String>) -> Option<Json> {
    let mut body = body?;
    if let (Some(entity), Some(etag)) =
        (body.as_object_mut().filter(|entity| entity.contains_key("id")), etag)
    {
        entity.entry("@odata.etag").or_insert(Json::String(etag));
    }
    Some(body)
}

pub(super) fn plan_list(outcome: ListOutcome, begun_at: i64) -> PlanList {
    match outcome {
        ListOutcome::Complete(tasks) => PlanList::Complete { tasks, begun_at },
        ListOutcome::Failed { status, retry_after, .. } => PlanList::Refused { status, retry_after },
        ListOutcome::Incomplete(ref reason) => {
            let retry_after = outcome.retry_after();
            let silent = match reason {
                graph::Incomplete::NotSent(_) => true,
                graph::Incomplete::Lost(lost) => {
                    !matches!(lost, graph::Unknown::Unreadable(_) | graph::Unknown::ServerError { .. })
                }
                _ => false,
            };
            PlanList::Incomplete { reason: reason.to_string(), answered: !silent, retry_after }
        }
    }
}
