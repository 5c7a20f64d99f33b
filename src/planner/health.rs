//! Health of the sync: what the engine publishes, and what readiness makes of it.

use annika_sync::world::Report;
use redis::{FromRedisValue, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::commit::iso;
use crate::{
    keys,
    store::{Store, StoreError, command},
};

fn count(reply: Result<Value, StoreError>) -> Result<u64, StoreError> {
    u64::from_redis_value(reply?).map_err(|error| StoreError::other(error.to_string()))
}

/// The lengths of the lists that people watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depths {
    /// Tasks that wait (`annika:sync:pending`).
    pub pending: u64,
    /// Tasks that cannot be synced (`annika:sync:failed`).
    pub failed: u64,
    /// Tasks that the engine knows.
    pub known: u64,
    /// Keys in the whole database, others' too: they decide how soon an unannounced new document is found.
    pub keys: u64,
}

/// Reads the depths. One round trip.
pub(super) async fn depths(store: &Store) -> Result<Depths, StoreError> {
    let commands = [
        command("LLEN", keys::sync_pending()),
        command("LLEN", keys::sync_failed()),
        command("HLEN", keys::sync_index()),
        redis::cmd("DBSIZE"),
    ];
    let mut replies = store.pipeline(&commands).await.into_iter();
    let mut next = || count(replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing"))));
    Ok(Depths { pending: next()?, failed: next()?, known: next()?, keys: next()? })
}

/// Publishes the engine's report under `annika:sync:health`, for five minutes.
pub(super) async fn publish(store: &Store, report: &Report, now: i64) -> Result<(), StoreError> {
    let depths = depths(store).await?;
    let healthy = report.graph_down_since.is_none() && report.refused_plans.is_empty() && depths.failed == 0;
    let health = json!({
        "status": if healthy { "healthy" } else { "degraded" },
        "timestamp": iso(now),
        "pending_operations": depths.pending,
        "failed_operations": depths.failed,
        "known_tasks": depths.known,
        "discovery_bound_seconds": discovery_bound_s(depths.keys),
        "plans": report.plans,
        "refused_plans": report.refused_plans,
        "problems": report.problems,
        "last_successful_sync": report.last_poll.map(iso),
        "last_sweep": report.last_sweep.map(iso),
        "graph_down_since": report.graph_down_since.map(iso),
        "counters": report.counters,
    });
    let mut set = command("SET", keys::sync_health());
    set.arg(health.to_string()).arg("EX").arg(keys::SYNC_HEALTH.ttl_s().unwrap_or_default());
    store.command::<Value>(&set).await.map(|_| ())
}

/// Within how many seconds a new document that nobody announced is found.
pub(super) fn discovery_bound_s(keys: u64) -> u64 {
    let every = annika_sync::engine::Settings::default().sweep_every.as_secs();
    super::sweep::sweeps_to_see(keys) * every + 1
}

/// The part of the published health that readiness reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Published {
    /// When it was published.
    pub timestamp: Option<String>,
    /// Since when Graph has not answered.
    pub graph_down_since: Option<String>,
    /// Plans whose list was refused, with the status.
    pub refused_plans: std::collections::BTreeMap<String, u16>,
    /// What is wrong with the settings.
    pub problems: Vec<String>,
    /// Plans that are synced.
    pub plans: usize,
}

/// Reads the published health; `None` = no engine has run for five minutes.
pub(super) async fn published(store: &Store) -> Result<Option<Published>, StoreError> {
    let text: Option<Vec<u8>> = store.command(&command("GET", keys::sync_health())).await?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}
