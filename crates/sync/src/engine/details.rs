//! The rotation over details: an edit of the details alone may leave the task's ETag as it was (graph.md §1.8,
//! unproven), so a batch of details is read at every tick.

use std::time::Duration;

use serde_json::Value as Json;

use super::{BATCH, Engine, Priority};
use crate::{
    mutants::{Mutant, removed},
    world::{GraphOutcome, GraphRequest, SeenDetails, StoreError, World},
};

/// After so many turns that were skipped for want of room, one is taken all the same.
const SKIPPED: u32 = 4;
/// The details that are read then.
const LEAST: usize = 5;

impl<W: World> Engine<W> {
    /// Reads the details ETags of the next few tasks of one plan.
    pub(super) async fn rotate_details(&self) -> Result<(), StoreError> {
        let plans = self.open_plans();
        if plans.is_empty() || self.graph_is_down() || self.pause_left().is_some() {
            return Ok(());
        }
        // Its own count: polls that somebody asked for must not make it pass plans over.
        let turn = self.shared().rotations.wrapping_add(1);
        let Some(plan) = plans.get(turn % plans.len()) else { return Ok(()) };
        let known = self.world.known(std::slice::from_ref(plan)).await?.pop().unwrap_or_default();
        let after = known.etags.keys().filter(|id| **id > known.details_cursor);
        let mut ids: Vec<String> = after.take(BATCH).cloned().collect();
        if ids.len() < BATCH {
            let wrapped: Vec<String> =
                known.etags.keys().filter(|id| !ids.contains(id)).take(BATCH - ids.len()).cloned().collect();
            ids.extend(wrapped);
        }
        let skipped = !ids.is_empty() && !self.has_turn(&mut ids);
        // A plan keeps its turn until there is room for it. One with few tasks, for which there is room sooner, would
        // otherwise take every turn, and an edit of the details in the other would never come down.
        if !skipped || removed(Mutant::RotationTurn) {
            self.shared().rotations = turn;
        }
        if skipped || ids.is_empty() {
            return Ok(());
        }
        self.pace(u32::try_from(ids.len()).unwrap_or(1), Priority::Low).await;
        let requests = ids.iter().map(|id| GraphRequest::GetDetails { planner_id: id.clone() }).collect();
        let outcomes = self.world.graph(requests).await;
        self.batch_answered(&outcomes);
        self.count("poll_requests", ids.len() as u64);
        let mut seen = Vec::new();
        let mut throttled = None;
        for (id, outcome) in ids.iter().zip(outcomes) {
            match outcome {
                GraphOutcome::Answer { status: 200, body: Some(body), .. } => {
                    if let Some(etag) = body.get("@odata.etag").and_then(Json::as_str) {
                        let fields = crate::lens::planner::fields(&Json::Null, Some(&body));
                        let empty =
                            fields.iter().all(|(field, value)| !field.is_details() || value.is_empty());
                        seen.push(SeenDetails { planner_id: id.clone(), etag: etag.to_owned(), empty });
                    }
                }
                GraphOutcome::Answer { status: 429, retry_after, .. } => throttled = Some(retry_after),
                _ => {}
            }
        }
        if let Some(retry_after) = throttled {
            self.throttled(retry_after).await;
        }
        self.world.recheck_details(&seen).await?;
        let cursor = ids.last().cloned().unwrap_or_default();
        self.world.rotated(plan, &cursor).await
    }

    /// Whether optional work may be done now: where there is room for it and Graph does not throttle much. It has a
    /// guaranteed minimum, or edits of details would never be found under a constant load.
    fn has_turn(&self, ids: &mut Vec<String>) -> bool {
        let now = self.world.now_ms();
        let drawn = (self.world.random() % 1_000) as f64 / 1_000.0;
        let rejected = drawn < self.shared().limiter.rejection(now);
        if !rejected && self.room(Duration::ZERO, Priority::Low) >= ids.len() {
            self.shared().rotations_skipped = 0;
            return true;
        }
        let mut shared = self.shared();
        if shared.rotations_skipped < SKIPPED {
            shared.rotations_skipped += 1;
            return false;
        }
        shared.rotations_skipped = 0;
        ids.truncate(LEAST);
        true
    }
}
