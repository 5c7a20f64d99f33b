//! What the store's side does beside the engine's steps: it counts what was logged, lets completed tasks leave Redis,
//! and leaves erased people out of what Graph sends.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use annika_sync::world::{Commit, CommitResult, Event};
use serde_json::Value as Json;

use super::aging::Aging;
use crate::{
    erasure, keys,
    store::{Store, StoreError, command},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The state of it in one process.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Values that commits of this process put into the conflict stream.
    losers_logged: AtomicU64,
    /// Which completed tasks leave Redis; `None` = none.
    aging: Option<Aging>,
    /// How many did.
    aged_out: AtomicU64,
    /// Hashes of erased people's ids.
    erased: Mutex<HashSet<String>>,
}

impl Upkeep {
    /// Completed tasks leave Redis after this many days; `None` = never.
    pub(super) fn age_after(&mut self, days: Option<u32>) {
        self.aging = days.map(|days| Aging::new(i64::from(days) * DAY_MS));
    }

    /// Takes out the completed tasks whose time has come, a page of them. `now` is in ms.
    pub(super) async fn age(&self, store: &Store, now: i64) -> Result<(), StoreError> {
        if let Some(aging) = &self.aging {
            let aged = aging.pass(store, now).await?;
            self.aged_out.fetch_add(aged, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Counts the values that stored steps have logged as lost.
    pub(super) fn count_losers(&self, commits: &[Commit], results: &[Option<CommitResult>]) {
        let stored = |result: &Option<CommitResult>| {
            matches!(result, Some(CommitResult::Stored | CommitResult::StoredDueAgain))
        };
        let logged: usize = commits
            .iter()
            .zip(results)
            .filter(|(_, result)| stored(result))
            .flat_map(|(commit, _)| &commit.events)
            .filter(|event| matches!(event, Event::Conflict { .. }))
            .count();
        self.losers_logged.fetch_add(logged as u64, Ordering::Relaxed);
    }

    /// Reads who was erased. Without an answer what is known stays.
    pub(super) async fn read_erased(&self, store: &Store) -> Result<(), StoreError> {
        let erased: HashSet<String> = store.command(&command("HKEYS", keys::erased())).await?;
        *self.erased.lock().unwrap_or_else(PoisonError::into_inner) = erased;
        Ok(())
    }

    /// Takes erased people out of what Graph sent.
    pub(super) fn without_erased(&self, json: &mut Json) {
        let erased = self.erased.lock().unwrap_or_else(PoisonError::into_inner);
        if !erased.is_empty() {
            erasure::strip(json, &|id| erased.contains(&erasure::hash(id)));
        }
    }

    /// Counters that the engine does not know.
    pub(super) fn counters(&self) -> [(&'static str, u64); 2] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("losers_logged", count(&self.losers_logged)), ("aged_out", count(&self.aged_out))]
    }
}
