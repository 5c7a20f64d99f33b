//! What stands against plans: kept for the next engine, and shown to people.

use std::collections::BTreeMap;

use annika_sync::blocks::Blocks;
use redis::Value;
use serde::{Deserialize, Serialize};

use super::{commit::iso, scripts::KEEP};
use crate::{
    keys,
    store::{Store, StoreError, command, read},
};

/// What stands against plans. One round trip.
pub(super) async fn read_all(store: &Store) -> Result<BTreeMap<String, Blocks>, StoreError> {
    let kept: Vec<(String, String)> = read(store.command(&command("HGETALL", keys::sync_blocks())).await?)?;
    let parsed = |(plan, text): (String, String)| match serde_json::from_str(&text) {
        Ok(blocks) => Some((plan, blocks)),
        // The plan is tried, and says it again.
        Err(error) => {
            tracing::warn!(
                plan_id = plan,
                code = "blocks_unreadable",
                "what stands against a plan cannot be read: {error}"
            );
            None
        }
    };
    Ok(kept.into_iter().filter_map(parsed).collect())
}

/// Remembers what stands against a plan, or that nothing does. Up to two round trips.
pub(super) async fn keep(store: &Store, plan: &str, blocks: &Blocks) -> Result<(), StoreError> {
    if *blocks == Blocks::default() {
        let mut forget = command("HDEL", keys::sync_blocks());
        forget.arg(plan);
        return store.command::<Value>(&forget).await.map(|_| ());
    }
    let text = serde_json::to_string(blocks).unwrap_or_default();
    store.run(&KEEP.call().key(keys::sync_blocks()).arg(plan).arg(text)).await?;
    let mut expire = command("EXPIRE", keys::sync_blocks());
    expire.arg(keys::SYNC_BLOCKS.ttl_s().unwrap_or_default());
    store.command::<Value>(&expire).await.map(|_| ())
}

/// A plan that is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Blocked {
    /// Since when.
    pub since: String,
    /// Until when; then it is tried again.
    pub until: String,
    /// `graph_` and the status with which Graph refuses its list, or Planner's name of the limit that it has reached.
    pub code: String,
}

/// A plan's suspension, as it is shown.
pub(super) fn suspended(blocks: &Blocks) -> Option<Blocked> {
    blocks.suspended().map(|refused| Blocked {
        since: iso(refused.since),
        until: iso(refused.until),
        code: format!("graph_{}", refused.status),
    })
}

/// That a plan takes no new tasks, as it is shown.
pub(super) fn full(blocks: &Blocks) -> Option<Blocked> {
    blocks.full.as_ref().map(|full| Blocked {
        since: iso(full.since),
        until: iso(full.until),
        code: full.code.clone(),
    })
}
