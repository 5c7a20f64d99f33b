//! The epoch: the sign that Redis has not lost its memory.

use std::sync::{Mutex, PoisonError};

use super::{scripts::EPOCH, world::number_of};
use crate::{
    keys,
    store::{Store, StoreError, command},
};

/// Makes the engine learn everything anew: maps are claimed again from the documents, and until two rounds of
/// lists are read nothing is deleted on either side. A running engine notices within seconds.
///
/// # Errors
/// When Redis does not answer.
pub async fn rebuild(store: &Store) -> Result<(), StoreError> {
    store.command::<i64>(&command("DEL", keys::sync_epoch())).await?;
    tracing::warn!(code = "rebuild_asked", "a rebuild of the sync's memory was asked for");
    Ok(())
}

/// The epoch as the engine of this process read it last.
#[derive(Debug, Default)]
pub(super) struct KnownEpoch(Mutex<Option<String>>);

impl KnownEpoch {
    /// As `same_epoch.lua` takes it.
    pub fn as_read(&self) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().unwrap_or_else(|| "*".to_owned())
    }

    fn set(&self, epoch: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch.to_owned());
    }

    pub async fn read(&self, store: &Store) -> Result<Option<String>, StoreError> {
        let found: Option<String> = store.command(&command("GET", keys::sync_epoch())).await?;
        let found = found.filter(|epoch| !epoch.is_empty());
        self.set(found.as_deref().unwrap_or_default());
        Ok(found)
    }

    pub async fn replace(&self, store: &Store, from: Option<&str>, to: &str) -> Result<bool, StoreError> {
        let call = EPOCH.call().key(keys::sync_epoch()).arg(from.unwrap_or_default()).arg(to);
        let replaced = number_of(store.run(&call).await?)? == 1;
        if replaced {
            self.set(to);
        }
        Ok(replaced)
    }
}

/// Whether a script refused to run under another epoch.
pub(super) fn is_another(error: &StoreError) -> bool {
    error.message.contains("EPOCH")
}
