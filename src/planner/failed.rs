//! Failed tasks: tried again when a person asks for it.

use serde_json::Value as Json;

use super::{
    scripts::{When, mark_call},
    world::number_of,
};
use crate::{
    keys,
    store::{Store, StoreError, command},
};

/// Entries and tasks in one round trip.
const TOGETHER: usize = 500;

/// Which failed tasks are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry<'a> {
    /// All that are in the failed list.
    All,
    /// These, as far as they are in it.
    Tasks(&'a [String]),
}

/// Makes failed tasks due, as if their documents had changed; says how many.
///
/// # Errors
/// When Redis does not answer. What was marked by then stays so.
pub async fn retry_failed(store: &Store, which: Retry<'_>) -> Result<u64, StoreError> {
    let ids = match which {
        Retry::Tasks(ids) => ids.to_vec(),
        Retry::All => listed(store).await?,
    };
    let mut retried = 0;
    for ids in ids.chunks(TOGETHER) {
        retried += number_of(store.run(&mark_call(ids, "retry", When::NOW)).await?)?;
    }
    Ok(u64::try_from(retried).unwrap_or(0))
}

/// The tasks in the failed list.
async fn listed(store: &Store) -> Result<Vec<String>, StoreError> {
    let mut ids = Vec::new();
    loop {
        let from = ids.len();
        let mut range = command("LRANGE", keys::sync_failed());
        range.arg(from).arg(from + TOGETHER - 1);
        let texts: Vec<Vec<u8>> = store.command(&range).await?;
        let last = texts.len() < TOGETHER;
        for text in texts {
            let entry: Json = serde_json::from_slice(&text).unwrap_or_default();
            // An entry of others that names no task still takes its place in the list.
            ids.push(entry.get("task_id").and_then(Json::as_str).unwrap_or_default().to_owned());
        }
        if last {
            ids.retain(|id| !id.is_empty());
            return Ok(ids);
        }
    }
}
