//! What a person does when something went wrong: rebuild, release, restore, retry.

use annika_sync::world::Direction;

use super::{
    epoch,
    failed::{self, Retry},
    guard::{self, Guarded},
    run::Planner,
    tombs::{self, Restored, Tombs},
};
use crate::store::StoreError;

impl Planner {
    /// Makes the engine learn everything anew, see [`epoch::rebuild`].
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn rebuild(&self) -> Result<(), StoreError> {
        epoch::rebuild(self.store()).await
    }

    /// The deletions that wait for a person, by side.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn guarded(&self) -> Result<[(Direction, Guarded); 2], StoreError> {
        guard::guarded(self.store(), self.now_ms()).await
    }

    /// Confirms the deletions that are held now on one side; says how many.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn release(&self, direction: Direction) -> Result<u64, StoreError> {
        let released = guard::release(self.store(), direction).await?;
        self.wake();
        Ok(released)
    }

    /// A page of the deleted tasks, newest first.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn tombs(&self, offset: usize, limit: usize) -> Result<Tombs, StoreError> {
        tombs::tombs(self.store(), offset, limit).await
    }

    /// Brings a deleted task back.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn restore(&self, id: &str) -> Result<Restored, StoreError> {
        let restored = tombs::restore(self.store(), id).await?;
        self.wake();
        Ok(restored)
    }

    /// Tries failed tasks again; says how many.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn retry_failed(&self, which: Retry<'_>) -> Result<u64, StoreError> {
        let retried = failed::retry_failed(self.store(), which).await?;
        self.wake();
        Ok(retried)
    }
}
