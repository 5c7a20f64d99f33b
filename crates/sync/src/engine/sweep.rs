//! The sweep: finds documents that changed, appeared or vanished without a word. The one hint that must work.

use std::time::Duration;

use super::{Engine, memory::UNKNOWN_WAIT};
use crate::{
    mutants::{Mutant, removed},
    world::{Direction, StoreError, World},
};

/// Parts of a large key space in one cycle of the periodic mode, beside the one of the sweep: as many as a running
/// engine looks at between two sweeps.
const PARTS: usize = 29;

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
                if self.shared().undiscovered
                    && let Err(error) = self.discover_part().await
                {
                    self.store_failed("discover", &error);
                }
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
        self.discover_part().await?;
        let now = self.world.now_ms();
        {
            let mut shared = self.shared();
            shared.report.last_sweep = Some(now);
            shared.report.sweep_ms = Some(now - begun);
        }
        self.count("sweeps", 1);
        Ok(())
    }

    /// Looks for documents that nobody announced: in the whole of a small key space, in the next part of a large one.
    ///
    /// The parts of a large one follow a second apart, so that what others keep in the same Redis costs neither the
    /// sweep nor them anything that is felt.
    async fn discover_part(&self) -> Result<(), StoreError> {
        let mut cursor = None;
        loop {
            let found = self.world.discover(cursor).await?;
            if !found.ids.is_empty() {
                self.count("found_by_sweep", found.ids.len() as u64);
                self.world.mark(&found.ids, Duration::ZERO).await?;
            }
            cursor = found.next;
            if cursor.is_none() {
                self.shared().undiscovered = found.rest;
                return Ok(());
            }
        }
    }

    /// What the parts between two sweeps are to a running engine, in one go. For the periodic mode.
    pub(super) async fn discover_more(&self) -> Result<(), StoreError> {
        for _ in 0..PARTS {
            if !self.shared().undiscovered {
                break;
            }
            self.discover_part().await?;
        }
        Ok(())
    }
}
