//! Whether the store remembers what it knew: the epoch, and the rebuild after it was lost.
//!
//! Without an epoch nothing that the store says proves an absence. The rebuild first gives every document its
//! Planner task back, then reads two complete rounds of lists. Until it ends nothing is deleted on either side, and
//! nothing is made again. An error of the store is no absence: the engine then waits.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;

use super::Engine;
use crate::{
    lens::{Field, Value},
    plan::made_by,
    state::{Create, TaskState},
    world::{RebuildProgress, Reclaimed, StoreError, World},
};

/// What the epoch begins with while a rebuild runs.
pub const REBUILD: &str = "rebuild:";
/// Code of the error with which the store refuses work under another epoch than the one that was read.
pub const EPOCH_CHANGED: &str = "epoch_changed";
/// How long the second round of lists waits at most for the documents of the first to be worked off, ms.
const DRAIN_MS: i64 = 60_000;
/// Rounds of lists that make a rebuild.
const ROUNDS: u32 = 2;
/// How soon a task is looked at again that has to wait for the rebuild.
pub(super) const REBUILD_WAIT: Duration = Duration::from_secs(2);
/// How often a loop that may not work looks whether it may.
pub(super) const UNKNOWN_WAIT: Duration = Duration::from_millis(100);

/// What this process knows of the store's memory.
#[derive(Debug, Default)]
pub(super) enum Memory {
    /// Nothing yet: nothing is done.
    #[default]
    Unknown,
    /// It was lost.
    Rebuilding(Rebuild),
    /// It is whole.
    Whole,
}

/// A rebuild under way in this process. Another one would begin it from the start.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    epoch: String,
    progress: RebuildProgress,
    /// When the last round ended, ms.
    round_at: i64,
    /// The drain found nothing due since then.
    drained: bool,
    /// Planner tasks of our own that no document has claimed, by plan and title.
    unclaimed: BTreeMap<(String, String), Vec<String>>,
    /// Which document was given one of them.
    given: BTreeMap<String, String>,
}

/// What a rebuild lets the drain do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Deletions, and tasks that are made a second time.
    pub deletions: bool,
    /// Tasks that Planner does not have.
    pub creates: bool,
}

impl<W: World> Engine<W> {
    /// Reads the epoch, and begins or goes on with a rebuild where there is none.
    pub(super) async fn check_epoch(&self) -> Result<(), StoreError> {
        let found = match self.world.epoch().await? {
            Some(epoch) => epoch,
            None => {
                let begun = format!("{REBUILD}{}", self.rev());
                if !self.world.set_epoch(None, &begun).await? {
                    return Ok(());
                }
                tracing::warn!(
                    code = "rebuild_begun",
                    "the sync's memory is gone or was never there: nothing is deleted until it is built anew"
                );
                begun
            }
        };
        let now = self.world.now_ms();
        let mut shared = self.shared();
        if !found.starts_with(REBUILD) {
            shared.memory = Memory::Whole;
            shared.report.rebuild = None;
            return Ok(());
        }
        if !matches!(&shared.memory, Memory::Rebuilding(rebuild) if rebuild.epoch == found) {
            let progress = RebuildProgress { since: now, ..RebuildProgress::default() };
            shared.report.rebuild = Some(progress.clone());
            shared.memory = Memory::Rebuilding(Rebuild { epoch: found, progress, ..Rebuild::default() });
            shared.calendar.want_all(now);
        }
        Ok(())
    }

    /// Reads the epoch where it is not known; says how soon to look again whether tasks may be worked off.
    pub(super) async fn learn_epoch(&self) -> Duration {
        if !matches!(self.shared().memory, Memory::Unknown) {
            return UNKNOWN_WAIT;
        }
        match self.check_epoch().await {
            Ok(()) => UNKNOWN_WAIT,
            Err(error) => {
                self.store_failed("epoch", &error);
                Duration::from_secs(1)
            }
        }
    }

    /// Nothing is known of the store until the epoch has been read (again).
    pub(super) fn forget_epoch(&self) {
        self.shared().memory = Memory::Unknown;
    }

    /// Gives every document its Planner task back; `Ok(false)` = there is no need to.
    pub(super) async fn reclaim(&self) -> Result<bool, StoreError> {
        let Some(epoch) = self.unclaimed_epoch() else { return Ok(false) };
        let mut cursor = None;
        loop {
            let slice = self.world.reclaim(cursor).await?;
            if !self.count_claims(&epoch, &slice) {
                return Ok(false);
            }
            cursor = slice.next;
            if cursor.is_none() {
                return Ok(true);
            }
        }
    }

    /// Adds a slice to the progress; `false` = it belongs to no rebuild that still runs.
    fn count_claims(&self, epoch: &str, slice: &Reclaimed) -> bool {
        let mut shared = self.shared();
        let shared = &mut *shared;
        let Memory::Rebuilding(rebuild) = &mut shared.memory else { return false };
        if rebuild.epoch != epoch {
            return false;
        }
        rebuild.progress.documents += slice.documents;
        rebuild.progress.claimed += slice.claimed;
        rebuild.progress.documents_done = slice.next.is_none();
        shared.report.rebuild = Some(rebuild.progress.clone());
        true
    }

    /// The epoch of a rebuild whose documents have not been read.
    fn unclaimed_epoch(&self) -> Option<String> {
        match &self.shared().memory {
            Memory::Rebuilding(rebuild) if !rebuild.progress.documents_done => Some(rebuild.epoch.clone()),
            _ => None,
        }
    }

    /// Whether tasks may be worked off and lists be read.
    pub(super) fn may_work(&self) -> bool {
        match &self.shared().memory {
            Memory::Unknown => false,
            Memory::Rebuilding(rebuild) => rebuild.progress.documents_done,
            Memory::Whole => true,
        }
    }

    /// What the drain may do to tasks now.
    pub(super) fn allowed(&self) -> Allowed {
        match &self.shared().memory {
            Memory::Unknown => Allowed { deletions: false, creates: false },
            Memory::Rebuilding(rebuild) => Allowed { deletions: false, creates: rebuild.progress.rounds > 0 },
            Memory::Whole => Allowed { deletions: true, creates: true },
        }
    }

    pub(super) fn is_rebuilding(&self) -> bool {
        self.rebuilding_since().is_some()
    }

    /// When this process began the rebuild that it is in, ms.
    pub(super) fn rebuilding_since(&self) -> Option<i64> {
        match &self.shared().memory {
            Memory::Rebuilding(rebuild) => Some(rebuild.progress.since),
            _ => None,
        }
    }

    /// Whether a round of lists has to wait: tasks that the last one showed may still be claimed by documents.
    pub(super) fn round_waits(&self) -> bool {
        let now = self.world.now_ms();
        match &self.shared().memory {
            Memory::Rebuilding(rebuild) => {
                rebuild.progress.rounds > 0 && !rebuild.drained && now - rebuild.round_at < DRAIN_MS
            }
            _ => false,
        }
    }

    /// The drain found nothing due.
    pub(super) fn drained(&self) {
        if let Memory::Rebuilding(rebuild) = &mut self.shared().memory {
            rebuild.drained = true;
        }
    }

    /// In the first round of a rebuild: keeps back the tasks that our application made and that no document has
    /// claimed yet. A document that lost its stamp may still turn out to be one of them.
    pub(super) async fn hold_unclaimed(&self, plan: &str, changed: &mut Vec<Json>) -> Result<(), StoreError> {
        if !matches!(&self.shared().memory, Memory::Rebuilding(rebuild) if rebuild.progress.rounds == 0) {
            return Ok(());
        }
        let application = self.world.application_id();
        let (ours, others): (Vec<Json>, Vec<Json>) =
            std::mem::take(changed).into_iter().partition(|task| made_by(task, application.as_deref()));
        *changed = others;
        let id = |task: &Json| task.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
        let ids: Vec<String> = ours.iter().map(id).collect();
        let owners = if ids.is_empty() { Vec::new() } else { self.world.owners(&ids).await? };
        let mut shared = self.shared();
        let Memory::Rebuilding(rebuild) = &mut shared.memory else { return Ok(()) };
        rebuild.unclaimed.retain(|(place, _), _| place != plan);
        for ((task, planner_id), owner) in ours.into_iter().zip(ids).zip(owners) {
            if owner.is_some() {
                changed.push(task);
                continue;
            }
            let title = task.get("title").and_then(Json::as_str).unwrap_or_default().to_owned();
            rebuild.unclaimed.entry((plan.to_owned(), title)).or_default().push(planner_id);
        }
        Ok(())
    }

    /// Planner's task for a document without any mapping: one of our own, of the same plan and title, that nobody
    /// has claimed. The same document gets the same one again.
    pub(super) fn claim_twin(&self, id: &str, create: &Create) -> Option<TaskState> {
        let Some(Value::Text(title)) = create.fields.get(&Field::Title) else { return None };
        let mut shared = self.shared();
        let Memory::Rebuilding(rebuild) = &mut shared.memory else { return None };
        let twins = rebuild.unclaimed.get(&(create.plan.clone(), title.clone()))?;
        let twin =
            twins.iter().find(|twin| rebuild.given.get(*twin).is_none_or(|owner| owner == id))?.clone();
        rebuild.given.insert(twin.clone(), id.to_owned());
        Some(TaskState { planner_id: Some(twin), need_get: true, ..TaskState::default() })
    }

    /// Tasks that were given to a document are not imported, though the store may not know of it yet.
    pub(super) fn keep_given(&self, changed: &mut Vec<Json>) {
        if let Memory::Rebuilding(rebuild) = &self.shared().memory {
            changed.retain(|task| {
                let id = task.get("id").and_then(Json::as_str).unwrap_or_default();
                !rebuild.given.contains_key(id)
            });
        }
    }

    /// So many plans of the current round are listed.
    pub(super) fn plans_listed(&self, listed: usize) {
        let mut shared = self.shared();
        let shared = &mut *shared;
        if let Memory::Rebuilding(rebuild) = &mut shared.memory {
            rebuild.progress.plans_listed = listed;
            shared.report.rebuild = Some(rebuild.progress.clone());
        }
    }

    /// Lists were read. Once every plan's was in this round, the round is over; after the second one the memory is
    /// whole. A plan that Graph refuses holds nothing up: its tasks stay as they are.
    pub(super) async fn advance_round(&self) -> Result<(), StoreError> {
        let since = match &self.shared().memory {
            Memory::Rebuilding(rebuild) => rebuild.round_at.max(rebuild.progress.since),
            _ => return Ok(()),
        };
        let (listed, complete) = self.listed_since(since);
        self.plans_listed(listed);
        if !complete {
            return Ok(());
        }
        let now = self.world.now_ms();
        let epoch = {
            let mut shared = self.shared();
            let shared = &mut *shared;
            let Memory::Rebuilding(rebuild) = &mut shared.memory else { return Ok(()) };
            rebuild.progress.rounds += 1;
            rebuild.progress.plans_listed = 0;
            (rebuild.round_at, rebuild.drained) = (now, false);
            shared.calendar.want_all(now);
            shared.report.rebuild = Some(rebuild.progress.clone());
            if rebuild.progress.rounds < ROUNDS {
                return Ok(());
            }
            rebuild.epoch.clone()
        };
        let whole = self.rev();
        if self.world.set_epoch(Some(&epoch), &whole).await? {
            let mut shared = self.shared();
            if let Memory::Rebuilding(rebuild) = &shared.memory {
                let progress = &rebuild.progress;
                tracing::info!(
                    documents = progress.documents,
                    claimed = progress.claimed,
                    took_ms = now - progress.since,
                    "the sync's memory is whole again"
                );
            }
            shared.memory = Memory::Whole;
            shared.report.rebuild = None;
        } else {
            self.forget_epoch();
        }
        Ok(())
    }
}
