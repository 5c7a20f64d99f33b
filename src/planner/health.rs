//! Health of the sync: what the engine publishes, and what readiness makes of it.

use annika_sync::{blocks::Blocks, gauges::Histogram, world::Report};
use redis::{FromRedisValue, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    blocks::{self, Blocked},
    commit::iso,
    guard,
    scripts::HEALTH,
};
use crate::{
    keys,
    store::{Store, StoreError, command},
};

fn count(reply: Result<Value, StoreError>) -> Result<u64, StoreError> {
    u64::from_redis_value(reply?).map_err(|error| StoreError::from(redis::RedisError::from(error)))
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
///
/// `own` are counters that the engine does not know.
pub(super) async fn publish(
    store: &Store,
    report: &Report,
    own: &[(&'static str, u64)],
    now: i64,
) -> Result<(), StoreError> {
    let depths = depths(store).await?;
    let guarded = guard::guarded(store, now).await?;
    let held = guarded.iter().any(|(_, side)| side.held > 0);
    let state = match &report.rebuild {
        Some(_) => "rebuilding",
        None if held => "guard",
        None => "synced",
    };
    let healthy = report.graph_down_since.is_none()
        && report.refused_plans.is_empty()
        && report.blocks.is_empty()
        && depths.failed == 0
        && state == "synced";
    let rebuild = report.rebuild.as_ref().map(|progress| {
        json!({
            "since": iso(progress.since),
            "documents": progress.documents,
            "claimed": progress.claimed,
            "documents_done": progress.documents_done,
            "plans_listed": progress.plans_listed,
            "plans": report.plans,
            "rounds": progress.rounds,
        })
    });
    let guard = guarded.map(|(direction, side)| {
        let since = side.since_ms.map(iso);
        (direction.word(), json!({"held": side.held, "since": since, "recent": side.recent}))
    });
    let health = json!({
        "status": if healthy { "healthy" } else { "degraded" },
        "state": state,
        "rebuild": rebuild,
        "guard": std::collections::BTreeMap::from(guard),
        "timestamp": iso(now),
        "pending_operations": depths.pending,
        "failed_operations": depths.failed,
        "known_tasks": depths.known,
        "discovery_bound_seconds": discovery_bound_s(depths.keys),
        "plans": report.plans,
        "refused_plans": report.refused_plans,
        "suspended_plans": blocked(report, blocks::suspended),
        "full_plans": blocked(report, blocks::full),
        "problems": report.problems,
        "last_successful_sync": report.last_poll.map(iso),
        "last_sweep": report.last_sweep.map(iso),
        "graph_down_since": report.graph_down_since.map(iso),
        "counters": counters(report, own),
        "graph_requests_per_synced_change": per_change(report),
        "upload_lag": histogram(&report.upload_lag),
        "download_lag": histogram(&report.download_lag),
        "throttle_ratio": report.traffic.throttle_ratio(now),
        "sweep_ms": report.sweep_ms,
        "lease_held_since": report.lease_since.map(iso),
        "lists": report.lists.iter().map(|(plan, lists)| (plan.clone(), json!({
            "begun": lists.begun, "complete": lists.complete, "last_complete": lists.last_complete.map(iso),
        }))).collect::<serde_json::Map<_, _>>(),
    });
    let seconds = i64::from(keys::SYNC_HEALTH.ttl_s().unwrap_or_default());
    store.run(&HEALTH.call().key(keys::sync_health()).arg(health.to_string()).num(seconds)).await.map(|_| ())
}

/// The plans that are blocked in one way.
fn blocked(
    report: &Report,
    how: fn(&Blocks) -> Option<Blocked>,
) -> std::collections::BTreeMap<&str, Blocked> {
    report.blocks.iter().filter_map(|(plan, blocks)| Some((plan.as_str(), how(blocks)?))).collect()
}

fn counters(report: &Report, own: &[(&'static str, u64)]) -> std::collections::BTreeMap<&'static str, u64> {
    let mut counters = report.counters.clone();
    counters.extend(own.iter().copied());
    counters
}

/// Requests to Graph for one task whose content went up; `None` before the first.
fn per_change(report: &Report) -> Option<f64> {
    let count = |name| report.counters.get(name).copied().unwrap_or(0);
    let uploads = count("uploads");
    (uploads > 0).then(|| count("upload_requests") as f64 / uploads as f64)
}

fn histogram(lag: &Histogram) -> serde_json::Value {
    json!({
        "count": lag.count(), "sum_ms": lag.sum_ms(), "p50_ms": lag.quantile_ms(0.5), "p99_ms": lag.quantile_ms(0.99),
        "buckets": lag.cumulative().collect::<Vec<_>>(),
    })
}

/// Within how many seconds a new document that nobody announced is found.
pub(super) fn discovery_bound_s(keys: u64) -> u64 {
    // A sweep looks at the first part, and a part a second follows it.
    let every = annika_sync::engine::Settings::default().sweep_every.as_secs();
    every + super::sweep::parts_to_see(keys)
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
    /// Plans that are suspended: Graph refuses their list again and again.
    pub suspended_plans: std::collections::BTreeMap<String, Blocked>,
    /// Plans that take no new tasks.
    pub full_plans: std::collections::BTreeMap<String, Blocked>,
    /// What is wrong with the settings.
    pub problems: Vec<String>,
    /// Plans that are synced.
    pub plans: usize,
    /// When the last complete poll of every plan ended.
    pub last_successful_sync: Option<String>,
    /// When the last whole sweep ended.
    pub last_sweep: Option<String>,
    /// How long it took, ms.
    pub sweep_ms: Option<i64>,
    /// Since when the process that published has the engine's lease.
    pub lease_held_since: Option<String>,
    /// Counters since that process began.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// Requests to Graph for one task whose content went up.
    pub graph_requests_per_synced_change: Option<f64>,
    /// From the first mark of a change until Planner had it.
    pub upload_lag: Lag,
    /// From the list that showed a change until the document had it.
    pub download_lag: Lag,
    /// The share of the last five minutes' requests that was refused as too many.
    pub throttle_ratio: f64,
    /// Lists by plan.
    pub lists: std::collections::BTreeMap<String, Listed>,
    /// How far a rebuild has come, while one runs.
    pub rebuild: Option<Rebuild>,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rebuild {
    /// Documents that were read for their Planner ids.
    pub documents: u64,
    /// Documents whose Planner task is theirs again.
    pub claimed: u64,
    /// Every document was read.
    pub documents_done: bool,
    /// Plans that the current round has listed.
    pub plans_listed: usize,
    /// Complete rounds of lists, of two.
    pub rounds: u32,
}

/// A histogram of durations as it is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    /// How many changes were measured.
    pub count: u64,
    /// The sum of their durations, ms.
    pub sum_ms: u64,
    /// Half of them took no longer, ms; the bound of a bucket.
    pub p50_ms: Option<u64>,
    /// 99 in 100 took no longer, ms; the bound of a bucket.
    pub p99_ms: Option<u64>,
    /// For each bound in ms, how many took no longer.
    pub buckets: Vec<(u64, u64)>,
}

/// How many lists of a plan were begun, and how many came whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// Lists that were asked for.
    pub begun: u64,
    /// Lists that came whole.
    pub complete: u64,
    /// When the last whole one came.
    pub last_complete: Option<String>,
}

/// Reads the published health; `None` = no engine has run for five minutes.
pub(super) async fn published(store: &Store) -> Result<Option<Published>, StoreError> {
    let text: Option<Vec<u8>> = store.command(&command("GET", keys::sync_health())).await?;
    let Some(text) = text else { return Ok(None) };
    match serde_json::from_slice(&text) {
        Ok(published) => Ok(Some(published)),
        // The key is everybody's: what another version wrote there says nothing about this engine.
        Err(error) => {
            tracing::warn!(code = "health_unreadable", "the published health cannot be read: {error}");
            Ok(None)
        }
    }
}
