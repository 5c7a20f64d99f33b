//! One task explained: the engine's own decision on what stands in Redis, carried out by nobody.

use annika_sync::{
    explain::{Explanation, explain},
    lens,
    plan::Context,
    world::Local,
};
use serde::Serialize;

use super::InspectError;
use crate::{
    keys,
    planner::{Planner, blocks, commit::iso, load},
    store::{StoreError, command, read},
};

/// What is known of a task, when it is due, and what would be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The three versions and the decision.
    #[serde(flatten)]
    pub task: Explanation,
    /// When it is looked at next.
    pub schedule: Schedule,
}

/// A task's place in the due-set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// When it may be worked on next; `None` = nothing waits.
    pub due_at: Option<String>,
    /// An engine works on it until then.
    pub leased_until: Option<String>,
    /// Marks so far.
    pub marks: u64,
    /// It was deleted within 30 days and can be restored.
    pub restorable: bool,
}

impl Planner {
    /// Explains a task. Nothing is written and Graph is not asked.
    ///
    /// # Errors
    /// [`InspectError`].
    pub async fn explain(&self, id: &str) -> Result<Explained, InspectError> {
        lens::valid_id(id).map_err(InspectError::BadId)?;
        let world = self.world();
        let plans = world.plans.read(&world.store, None, 0).await?;
        let snapshot = load::snapshots(&world.store, &[id.to_owned()]).await?.pop();
        let snapshot = snapshot.ok_or_else(|| InspectError::Unreadable(id.to_owned()))?;
        let schedule = self.schedule(id).await?;
        let nothing = snapshot.local == Local::Missing
            && snapshot.state == annika_sync::state::TaskState::default()
            && snapshot.hint == 0
            && schedule == Schedule::default();
        if nothing {
            return Err(InspectError::UnknownTask(id.to_owned()));
        }
        let now = world.clock.now_ms();
        let epoch: Option<String> = world.store.command(&command("GET", keys::sync_epoch())).await?;
        let rebuilding = epoch.is_none_or(|epoch| epoch.starts_with(annika_sync::engine::REBUILD));
        let rebuilding_since = rebuilding.then_some(now);
        let context =
            Context { now, rev: "explained".to_owned(), plans: &plans, scenario: None, rebuilding_since };
        let blocks = blocks::read_all(&world.store).await?;
        Ok(Explained { task: explain(&snapshot, &context, &blocks), schedule })
    }

    async fn schedule(&self, id: &str) -> Result<Schedule, StoreError> {
        let due = |key| {
            let mut due = command("ZSCORE", key);
            due.arg(id);
            due
        };
        let mut state = command("HMGET", &keys::sync_state(id));
        state.arg("lease_until").arg("hint");
        let (urgent, low) = (due(keys::sync_due()), due(keys::sync_due_low()));
        let commands = [urgent, low, state, command("EXISTS", &keys::sync_tomb(id))];
        let mut replies = self.world().store.pipeline(&commands).await.into_iter();
        let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
        let (urgent, low): (Option<f64>, Option<f64>) = (read(next()?)?, read(next()?)?);
        let due = urgent.or(low);
        let (leased, marks): (Option<i64>, Option<u64>) = read(next()?)?;
        Ok(Schedule {
            due_at: due.map(|at| iso(at as i64)),
            leased_until: leased.map(iso),
            marks: marks.unwrap_or(0),
            restorable: read(next()?)?,
        })
    }
}
