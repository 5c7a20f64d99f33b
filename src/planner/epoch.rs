//! The epoch: the sign that Redis has not lost its memory.

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
