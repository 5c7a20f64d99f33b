//! Planner's requests, typed: ids go in, paths and headers come out.
//!
//! Source: Microsoft's pages of the Planner API in Graph v1.0. Each resource has an ETag of its own: a task's is not
//! that of its details. Changes ask for the changed object, so that one request also brings the new ETag.

use super::{GraphClient, ListOutcome, Method, Request, Turn};
use crate::config::PlanSource;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Characters that stand for themselves in a path segment (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An id as one path segment. A dot segment stays one, and the client refuses it.
fn segment(id: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(id, SEGMENT)
}

/// The path of a plan's tasks.
pub fn plan_tasks_path(plan_id: &str) -> String {
    format!("/planner/plans/{}/tasks", segment(plan_id))
}

/// The path of a plan's buckets.
pub fn plan_buckets_path(plan_id: &str) -> String {
    format!("/planner/plans/{}/buckets", segment(plan_id))
}

/// The path of a group's plans.
pub fn group_plans_path(group_id: &str) -> String {
    format!("/groups/{}/planner/plans", segment(group_id))
}

fn task_path(task_id: &str) -> String {
    format!("/planner/tasks/{}", segment(task_id))
}

fn details_path(task_id: &str) -> String {
    format!("/planner/tasks/{}/details", segment(task_id))
}

/// Reads a plan.
pub fn get_plan(plan_id: &str) -> Request {
    Request::get(format!("/planner/plans/{}", segment(plan_id)))
}

/// Reads a plan's details: the names of its categories.
pub fn get_plan_details(plan_id: &str) -> Request {
    Request::get(format!("/planner/plans/{}/details", segment(plan_id)))
}

/// Reads a task. 403 as well as 404 may mean that it was deleted.
pub fn get_task(task_id: &str) -> Request {
    Request::get(task_path(task_id))
}

/// Reads a task's details: description, checklist, references.
pub fn get_details(task_id: &str) -> Request {
    Request::get(details_path(task_id))
}

/// Creates a task: 201 and the task. It is not idempotent and has no key of the client's.
pub fn create_task(task: Value) -> Request {
    Request::new(Method::Post, "/planner/tasks").body(task)
}

/// Changes a task that still is what `etag` names: 200 and the task.
pub fn update_task(task_id: &str, etag: &str, changes: Value) -> Request {
    Request::new(Method::Patch, task_path(task_id)).if_match(etag).returning_representation().body(changes)
}

/// Changes a task's details that still are what `etag` (the details' own) names: 200 and the details.
pub fn update_details(task_id: &str, etag: &str, changes: Value) -> Request {
    Request::new(Method::Patch, details_path(task_id)).if_match(etag).returning_representation().body(changes)
}

/// Deletes a task that still is what `etag` names: 204.
pub fn delete_task(task_id: &str, etag: &str) -> Request {
    Request::new(Method::Delete, task_path(task_id)).if_match(etag)
}

/// A cheap read that shows whether Graph lets this app in to what is synchronised.
pub fn probe(source: &PlanSource) -> Request {
    match source {
        PlanSource::Plan(id) => get_plan(id),
        PlanSource::Group(id) => Request::get(group_plans_path(id)),
    }
}

impl GraphClient {
    /// Every task of a plan.
    pub async fn plan_tasks(&self, plan_id: &str) -> ListOutcome {
        self.list(&plan_tasks_path(plan_id)).await
    }

    /// Every task of each plan, in the order of `plan_ids`; the first pages travel together, each further one waits
    /// for its `turn`.
    pub async fn tasks_of_plans(&self, plan_ids: &[String], turn: Turn<'_>) -> Vec<ListOutcome> {
        let paths: Vec<String> = plan_ids.iter().map(|id| plan_tasks_path(id)).collect();
        self.lists(&paths, turn).await
    }

    /// Every bucket of a plan.
    pub async fn plan_buckets(&self, plan_id: &str) -> ListOutcome {
        self.list(&plan_buckets_path(plan_id)).await
    }

    /// Every plan of a group.
    pub async fn group_plans(&self, group_id: &str) -> ListOutcome {
        self.list(&group_plans_path(group_id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_stays_one_segment() {
        assert_eq!(
            get_task("01gzSlKkIUSUl6DF_EilrmQAKDhh").path,
            "/planner/tasks/01gzSlKkIUSUl6DF_EilrmQAKDhh"
        );
        assert_eq!(get_details("a/../b?c#d").path, "/planner/tasks/a%2F..%2Fb%3Fc%23d/details");
        assert_eq!(group_plans_path("é"), "/groups/%C3%A9/planner/plans");
    }

    #[test]
    fn changes_carry_their_base_and_ask_for_the_result() {
        let change = update_task("t", r#"W/"1""#, json!({"title": "x"}));
        assert_eq!((change.method, change.prefer_representation), (Method::Patch, true));
        assert_eq!(change.if_match.as_deref(), Some(r#"W/"1""#));
        let deletion = delete_task("t", r#"W/"1""#);
        assert_eq!(
            (deletion.method, deletion.body, deletion.if_match.is_some()),
            (Method::Delete, None, true)
        );
    }
}
