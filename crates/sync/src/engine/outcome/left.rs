//! What requests about the old task of a move were answered: it is read, its edits go over, it is deleted.

use serde_json::Value as Json;

use super::super::{Engine, task::Task};
use super::{After, Class, LONGEST, PARKED_MS, apply_sent, missed};
use crate::{
    lens::{self, Fields},
    plan::GONE_APART_MS,
    state::{Remote, TaskState},
    world::World,
};

/// Refusals of the old task of a move count as answers that it is gone when they are so far apart, ms.
const CLOSED_MS: i64 = 5 * 60 * 1000;

impl<W: World> Engine<W> {
    /// The old task of one that was moved to another plan.
    pub(super) async fn read_left(
        &self,
        task: &mut Task,
        got_task: Option<Class>,
        got_details: Option<Class>,
    ) -> After {
        let now = self.world.now_ms();
        match (got_task, got_details) {
            (Some(Class::Applied(Some(body))), Some(Class::Applied(Some(details)))) => {
                let etag = |json: &Json| json.get("@odata.etag").and_then(Json::as_str).map(str::to_owned);
                let fields = lens::planner::fields(&body, Some(&details));
                let seen =
                    etag(&body).map(|seen| Remote { etag: seen, details_etag: etag(&details), fields });
                let state = task.state();
                state.attempts = 0;
                if let Some(leaving) = state.leaving.as_mut() {
                    (leaving.seen, leaving.read_at, leaving.answers) = (seen, now, 0);
                }
                After::Plan
            }
            (Some(Class::Absent(403)), _) => {
                // Its plan may be closed for a while.
                count_left(task.state(), now, CLOSED_MS);
                After::Wait(LONGEST)
            }
            (Some(Class::Absent(_)), _) => {
                count_left(task.state(), now, GONE_APART_MS);
                After::Plan
            }
            (Some(Class::Applied(_)), Some(Class::Absent(_)) | None) => {
                self.unread(task, Class::Unknown).await
            }
            (Some(Class::Applied(_)), Some(other)) | (Some(other), _) => self.unread(task, other).await,
            (None, _) => self.unread(task, Class::Unknown).await,
        }
    }

    /// What was handed over comes down as an edit of the new task; what is there of it then is asked for again.
    pub(super) async fn handed_over(&self, task: &mut Task, is_details: bool, class: Class) -> After {
        match class {
            Class::Applied(body) => {
                apply_sent(task, &Fields::new(), is_details, body);
                After::Plan
            }
            Class::Conflict => {
                task.state().need_get = true;
                After::Plan
            }
            Class::Absent(status) => {
                let now = self.world.now_ms();
                missed(task, now, status);
                After::Plan
            }
            Class::Throttled(retry_after) => self.pause_for(retry_after).await,
            Class::Rejected(status, body) => {
                self.reject(task, status, body.as_ref(), PARKED_MS);
                After::Plan
            }
            Class::NotSent | Class::Unknown => {
                task.state().need_get = true;
                self.try_later(task)
            }
        }
    }

    pub(super) async fn deleted_left(&self, task: &mut Task, class: Class) -> After {
        if let Some(leaving) = task.state().leaving.as_mut() {
            leaving.seen = None;
        }
        match class {
            Class::Applied(_) => {
                task.state().leaving = None;
                self.count("moves", 1);
                After::Plan
            }
            Class::Conflict => After::Plan,
            Class::Absent(_) => After::Wait(LONGEST),
            Class::Throttled(retry_after) => self.pause_for(retry_after).await,
            Class::Rejected(status, body) => {
                self.reject(task, status, body.as_ref(), PARKED_MS);
                After::Plan
            }
            Class::NotSent | Class::Unknown => self.try_later(task),
        }
    }
}

/// One more answer that the old task of a move is not there.
fn count_left(state: &mut TaskState, now: i64, apart: i64) {
    let Some(leaving) = state.leaving.as_mut() else { return };
    leaving.seen = None;
    if leaving.answers == 0 || now - leaving.last >= apart {
        (leaving.answers, leaving.last) = (leaving.answers + 1, now);
    }
}
