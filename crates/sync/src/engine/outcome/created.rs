//! What a create was answered, also one that is half of a move: the task is known, or what was sent stays open.

use serde_json::Value as Json;

use super::super::{Engine, task::Task};
use super::{After, Class, PARKED_MS, error_code, is_limit};
use crate::{blocks::is_plan_limit, plan, world::World};

/// The task that stands for those that a full plan keeps out asks no more than they do; how soon it joins them, ms.
const TOLD_MS: i64 = 30_000;

impl<W: World> Engine<W> {
    pub(super) async fn created(&self, task: &mut Task, class: Class) -> After {
        let Some(create) = task.state().create.clone() else { return After::Plan };
        let now = self.world.now_ms();
        match class {
            Class::Applied(Some(body)) if body.get("id").and_then(Json::as_str).is_some() => {
                let planner_id = body.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
                if let Err(error) = self.plan_has_room(&create.plan).await {
                    self.store_failed("keep_blocks", &error);
                }
                let state = task.state();
                let op = if state.planner_id.is_some() { "move" } else { "create" };
                state.create = create.clone().answered(now);
                state.attempts = 0;
                // With an id of ours it may be the task of an earlier send, which somebody has filled since.
                let some = |name: &str| body.get(name).and_then(Json::as_i64).is_some_and(|count| count > 0);
                let filled = body.get("hasDescription").and_then(Json::as_bool) == Some(true)
                    || some("checklistItemCount")
                    || some("referenceCount");
                plan::adopt(state, &plan::closest(&create, &body), &planner_id, &body);
                if filled {
                    state.need_details = true;
                } else if let Some(remote) = state.remote.as_mut() {
                    for (field, nothing) in plan::no_details() {
                        remote.fields.entry(field).or_insert(nothing);
                    }
                    state.need_details = false;
                } else {
                    state.need_get = true;
                }
                task.op = op;
                task.snapshot.absent_lists = 0;
                task.snapshot.observed_etag = None;
                task.posted = true;
                task.uploaded = create.fields.keys().copied().collect();
                task.shown = true;
                task.snapshot.observed = Some(body.clone());
                task.raw = Some(body);
                After::Plan
            }
            Class::Applied(_) | Class::Unknown => {
                self.count("creates_of_unknown_outcome", 1);
                if create.external_id.is_none() {
                    return After::Plan;
                }
                self.try_later(task)
            }
            Class::NotSent => {
                task.state().create = create.without_last();
                self.try_later(task)
            }
            Class::Throttled(retry_after) => {
                task.state().create = create.without_last();
                self.pause_for(retry_after).await
            }
            Class::Conflict => {
                task.state().create = create.without_last();
                self.reject(task, 409, None, PARKED_MS);
                // Sends before it are still looked for.
                After::Plan
            }
            Class::Absent(status) => {
                task.state().create = create.without_last();
                self.reject(task, status, None, PARKED_MS);
                // Sends before it are still looked for.
                After::Plan
            }
            Class::Rejected(status, body) if is_plan_limit(error_code(body.as_ref())) => {
                let plan = create.plan.clone();
                task.state().create = create.without_last();
                let code = error_code(body.as_ref()).to_owned();
                match self.plan_is_full(&plan, &code, &task.claim.id).await {
                    Ok(Some(wait)) => return After::Wait(wait),
                    Ok(None) => {}
                    Err(error) => self.store_failed("keep_blocks", &error),
                }
                self.reject(task, status, body.as_ref(), TOLD_MS);
                After::Plan
            }
            Class::Rejected(status, body) => {
                task.state().create = create.without_last();
                let retry = if is_limit(body.as_ref()) { PARKED_MS } else { 0 };
                self.reject(task, status, body.as_ref(), retry);
                After::Plan
            }
        }
    }
}
