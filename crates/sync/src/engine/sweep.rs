//! The sweep: finds documents that changed, appeared or vanished without a word. The one hint that must work.

use std::time::Duration;

use super::{Engine, memory::UNKNOWN_WAIT};
use crate::{
    mutants::{Mutant, removed},
    world::{Direction, StoreError, World},
};

impl<W: World> Engine<W> {
    pub(super) async fn sweep_loop(&self) {
        let every = i64::try_from(self.settings.sweep_every.as_millis()).unwrap_or(i64::MAX);
        let mut next = self.world.now_ms();
        loop {
            let now = self.world.now_ms();
            if std::mem::take(&mut self.shared().sweep_soon) {
                next = now;
            }
            let claimed = self.reclaim().await;
            let wait = if let Err(error) = claimed {
                self.store_failed("reclaim", &error);
                Duration::from_secs(1)
            } else if !self.may_work() {
                UNKNOWN_WAIT
            } else if now < next {
                crate::plan::millis((next - now).min(1_000))
            } else {
                match self.sweep_once().await {
                    Ok(()) => next = self.world.now_ms().saturating_add(every),
                    Err(error) => {
                        self.store_failed("sweep", &error);
                        next = self.world.now_ms() + 1_000;
                    }
                }
                Duration::ZERO
            };
            if !wait.is_zero() {
                self.world.sleep(wait).await;
            }
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
        let (mut missing, mut of) = (Vec::new(), 0);
        loop {
            let page = self.world.sweep_page(cursor).await?;
            of += page.read;
            if !page.changed.is_empty() {
                self.count("found_by_sweep", page.changed.len() as u64);
                self.world.mark(&page.changed, Duration::ZERO).await?;
            }
            missing.extend(page.missing);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        // The guard must know of all of them before the first one can be taken for deleted.
        self.missed(Direction::Up, missing.len(), of);
        if !missing.is_empty() {
            let unstated = self.world.mark_missing(&missing).await?;
            self.missed(Direction::Up, unstated, of);
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
