//! How far a rebuild has come.

use serde::Serialize;

use crate::{
    keys,
    planner::{
        Planner,
        health::{self, Rebuild},
    },
    store::{StoreError, command},
};

/// What the epoch begins with while a rebuild runs.
const REBUILD: &str = "rebuild:";
/// The documents' share of the work, as the progress bar has it.
const DOCUMENTS: f64 = 0.3;

/// Where a rebuild stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildPhase {
    /// It was asked for; no engine has begun it.
    Asked,
    /// It runs.
    Running,
    /// None runs: the sync's memory is whole.
    Done,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RebuildState {
    /// Where it stands.
    pub phase: RebuildPhase,
    /// What the engine says of it.
    pub progress: Option<Rebuild>,
    /// No engine has published its health for five minutes.
    pub silent: bool,
    /// Synced plans.
    pub plans: usize,
    /// Known tasks.
    pub known_tasks: u64,
}

impl RebuildState {
    /// Which share is done, 0 to 1; an estimate for people.
    pub fn share(&self) -> f64 {
        if self.phase == RebuildPhase::Done {
            return 1.0;
        }
        let Some(progress) = &self.progress else { return 0.0 };
        let read = if progress.documents_done {
            1.0
        } else {
            (progress.documents as f64 / self.known_tasks.max(1) as f64).min(0.99)
        };
        let rounds = f64::from(progress.rounds) + progress.plans_listed as f64 / self.plans.max(1) as f64;
        (DOCUMENTS * read + (1.0 - DOCUMENTS) * (rounds / 2.0).min(1.0)).min(0.99)
    }
}

impl Planner {
    /// How far a rebuild has come, from the epoch and the engine's published health.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn rebuild_state(&self) -> Result<RebuildState, StoreError> {
        let store = &self.world().store;
        let epoch: Option<String> = store.command(&command("GET", keys::sync_epoch())).await?;
        let published = health::published(store).await?;
        let silent = published.is_none();
        let published = published.unwrap_or_default();
        let known_tasks = store.command(&command("HLEN", keys::sync_index())).await?;
        let phase = match epoch {
            None => RebuildPhase::Asked,
            Some(epoch) if epoch.starts_with(REBUILD) => RebuildPhase::Running,
            Some(_) => RebuildPhase::Done,
        };
        let progress = published.rebuild;
        Ok(RebuildState { phase, progress, silent, plans: published.plans, known_tasks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_over_documents_and_two_rounds_and_is_whole_at_the_end_only() {
        let mut state = RebuildState {
            phase: RebuildPhase::Asked,
            progress: None,
            silent: false,
            plans: 4,
            known_tasks: 10,
        };
        let mut last = state.share();
        assert_eq!(last, 0.0);
        state.phase = RebuildPhase::Running;
        for (documents, documents_done, plans_listed, rounds) in [
            (5, false, 0, 0),
            (10, true, 0, 0),
            (10, true, 2, 0),
            (10, true, 0, 1),
            (10, true, 3, 1),
            (10, true, 0, 2),
        ] {
            state.progress = Some(Rebuild { documents, claimed: 0, documents_done, plans_listed, rounds });
            assert!(state.share() > last && state.share() < 1.0, "{state:?}");
            last = state.share();
        }
        state.phase = RebuildPhase::Done;
        assert_eq!(state.share(), 1.0);
    }
}
