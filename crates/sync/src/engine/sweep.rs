//! The sweep: finds documents that changed, appeared or vanished without a word. The one hint that must work.

use std::time::Duration;

use super::Engine;
use crate::{
    mutants::{Mutant, removed},
    world::{StoreError, World},
};

impl<W: World> Engine<W> {
    pub(super) async fn sweep_loop(&self) {
        loop {
            let wait = match self.sweep_once().await {
                Ok(()) => self.settings.sweep_every,
                Err(error) => {
                    self.store_failed("sweep", &error);
                    Duration::from_secs(1)
                }
            };
            self.sleep_until_swept(wait).await;
        }
    }

    /// Sleeps, but not on when a sweep is wanted now.
    async fn sleep_until_swept(&self, wait: Duration) {
        const LOOK: Duration = Duration::from_secs(1);
        let mut left = wait;
        while !left.is_zero() {
            if std::mem::take(&mut self.shared().sweep_soon) {
                return;
            }
            let nap = left.min(LOOK);
            self.world.sleep(nap).await;
            left -= nap;
        }
    }

    /// Compares every known document, looks for new ones, and takes in what others queued.
    pub(super) async fn sweep_once(&self) -> Result<(), StoreError> {
        if removed(Mutant::Sweep) {
            return Ok(());
        }
        let begun = self.world.now_ms();
        self.world.ingest_pending().await?;
        let mut cursor = None;
        loop {
            let page = self.world.sweep_page(cursor).await?;
            if !page.changed.is_empty() {
                self.count("found_by_sweep", page.changed.len() as u64);
                self.world.mark(&page.changed, Duration::ZERO).await?;
            }
            if !page.missing.is_empty() {
                self.world.mark_missing(&page.missing).await?;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut cursor = None;
        loop {
            let found = self.world.discover(cursor).await?;
            if !found.ids.is_empty() {
                self.count("found_by_sweep", found.ids.len() as u64);
                self.world.mark(&found.ids, Duration::ZERO).await?;
            }
            cursor = found.next;
            if cursor.is_none() {
                break;
            }
        }
        let now = self.world.now_ms();
        {
            let mut shared = self.shared();
            shared.report.last_sweep = Some(now);
            shared.report.sweep_ms = Some(now - begun);
        }
        self.count("sweeps", 1);
        Ok(())
    }
}
