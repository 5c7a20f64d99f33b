//! The overview: what waits, how the plans are listed, how fast Graph is asked, what is not well.

use std::collections::BTreeMap;

use annika_sync::blocks::Blocks;
use redis::Cmd;
use serde::Serialize;

use crate::{
    keys,
    planner::{
        Planner,
        blocks::{self, Blocked},
        commit::iso,
        guard::Guarded,
        health::{self, Lag, Published, Rebuild},
    },
    store::{StoreError, command, read},
};

/// How the sync is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// `healthy`, `degraded`, or `silent` where no engine has published its health for five minutes.
    pub status: &'static str,
    /// What is not well: a stable code and a sentence each.
    pub reasons: Vec<(&'static str, String)>,
    /// When the engine last published its health.
    pub published_at: Option<String>,
    /// Since when the process that published has the engine's lease.
    pub lease_held_since: Option<String>,
    /// When the last complete poll of every plan ended.
    pub last_successful_sync: Option<String>,
    /// When the last whole sweep ended.
    pub last_sweep: Option<String>,
    /// How long it took, ms.
    pub sweep_ms: Option<i64>,
    /// What waits.
    pub backlog: Backlog,
    /// The synced plans.
    pub plans: Vec<PlanView>,
    /// What all processes share about Graph's pace, as stored.
    pub throttle: BTreeMap<String, String>,
    /// The share of the last five minutes' requests that was refused as too many.
    pub throttle_ratio: f64,
    /// From the first mark of a change until Planner had it.
    pub upload_lag: Lag,
    /// From the list that showed a change until the document had it.
    pub download_lag: Lag,
    /// Requests to Graph for one task whose content went up.
    pub graph_requests_per_synced_change: Option<f64>,
    /// Deletions that wait for a person, by side.
    pub guard: Guard,
    /// How far a rebuild has come, while one runs.
    pub rebuild: Option<Rebuild>,
    /// Counters since the process that published began.
    pub counters: BTreeMap<String, u64>,
}

/// Deletions that wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// In Planner, of tasks whose documents vanished.
    pub planner: Guarded,
    /// Of documents, of tasks that vanished from Planner.
    pub redis: Guarded,
}

/// What waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Backlog {
    /// Tasks that may be worked on now.
    pub due: u64,
    /// Tasks that are due now or later.
    pub waiting: u64,
    /// For how long the longest due task has been due, in seconds.
    pub age_s: f64,
    /// Entries of `annika:sync:pending`.
    pub pending: u64,
    /// Tasks that cannot be synced.
    pub failed: u64,
    /// Tasks that the engine knows.
    pub known_tasks: u64,
    /// Creates whose outcome is not known.
    pub open_creates: u64,
    /// Planner tasks of our own that may belong to an open create.
    pub orphans_held: u64,
    /// Values in the conflict stream.
    pub conflicts_kept: u64,
    /// Within how many seconds a new document that nobody announced is found.
    pub discovery_bound_seconds: u64,
}

/// One synced plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PlanView {
    /// Its id.
    pub plan_id: String,
    /// When the last complete list of it was begun.
    pub last_list: Option<String>,
    /// Tasks in that list.
    pub tasks: Option<u64>,
    /// Which share of the lists came whole, since the process that publishes began.
    pub complete_ratio: Option<f64>,
    /// Graph refuses its list with this status.
    pub refused: Option<u16>,
    /// Graph refuses its list again and again: it is left alone, and so are its tasks.
    pub suspended: Option<Blocked>,
    /// It takes no new tasks.
    pub full: Option<Blocked>,
    /// What else is stored of its schedule.
    pub schedule: BTreeMap<String, String>,
}

/// Members of a plan's poll hash that are shown in their own form, or say nothing to people.
const OWN_FORM: [&str; 4] = ["missing", "details_cursor", "begun_at", "total"];

impl Planner {
    /// The overview. A handful of round trips, however many tasks there are.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        let status = self.status().await?;
        let store = &self.world().store;
        let published = health::published(store).await?;
        let silent = published.is_none();
        let published = published.unwrap_or_default();
        let plans = self.synced_plans(&published).await?;
        let (mut backlog, throttle, views) = self.numbers(&plans, &published).await?;
        backlog.pending = status.depths.pending;
        backlog.failed = status.depths.failed;
        backlog.known_tasks = status.depths.known;
        backlog.discovery_bound_seconds = status.discovery_bound_s;
        let [(_, planner), (_, redis)] = self.guarded().await?;
        let guard = Guard { planner, redis };
        let status_word = match (silent, status.reasons.is_empty()) {
            (true, _) => "silent",
            (false, true) => "healthy",
            (false, false) => "degraded",
        };
        Ok(Overview {
            status: status_word,
            reasons: status.reasons,
            published_at: published.timestamp,
            lease_held_since: published.lease_held_since,
            last_successful_sync: published.last_successful_sync,
            last_sweep: published.last_sweep,
            sweep_ms: published.sweep_ms,
            backlog,
            plans: views,
            throttle,
            throttle_ratio: published.throttle_ratio,
            upload_lag: published.upload_lag,
            download_lag: published.download_lag,
            graph_requests_per_synced_change: published.graph_requests_per_synced_change,
            guard,
            rebuild: published.rebuild,
            counters: published.counters,
        })
    }

    /// The plans of the settings, and those that the engine has listed (plans of groups are known to it alone).
    async fn synced_plans(&self, published: &Published) -> Result<Vec<String>, StoreError> {
        let world = self.world();
        let mut plans = world.plans.read(&world.store, None, 0).await?.synced;
        let listed = published.lists.keys().filter(|plan| !plans.contains(plan)).cloned();
        plans.extend(listed.collect::<Vec<_>>());
        Ok(plans)
    }

    async fn numbers(
        &self,
        plans: &[String],
        published: &Published,
    ) -> Result<(Backlog, BTreeMap<String, String>, Vec<PlanView>), StoreError> {
        let mut first = command("ZRANGE", keys::sync_due());
        first.arg(0).arg(0).arg("WITHSCORES");
        let mut commands: Vec<Cmd> = vec![
            redis::cmd("TIME"),
            first,
            command("ZCARD", keys::sync_due()),
            command("ZCARD", keys::sync_due_low()),
            command("HLEN", keys::sync_creates()),
            command("XLEN", keys::sync_conflicts()),
            command("HKEYS", keys::sync_orphans()),
            command("HGETALL", keys::sync_throttle()),
        ];
        for plan in plans {
            commands.push(command("HGETALL", &keys::sync_poll(plan)));
        }
        let store = &self.world().store;
        let blocks = blocks::read_all(store).await?;
        let mut replies = store.pipeline(&commands).await.into_iter();
        let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
        let (seconds, micros): (i64, i64) = read(next()?)?;
        let now = seconds * 1_000 + micros / 1_000;
        let oldest: Vec<(String, f64)> = read(next()?)?;
        let mut backlog = Backlog {
            age_s: oldest.first().map_or(0.0, |(_, at)| ((now as f64 - at) / 1_000.0).max(0.0)),
            waiting: read::<u64>(next()?)? + read::<u64>(next()?)?,
            open_creates: read(next()?)?,
            conflicts_kept: read(next()?)?,
            ..Backlog::default()
        };
        let held: Vec<String> = read(next()?)?;
        backlog.orphans_held =
            held.iter().filter(|field| crate::planner::lists::is_held_task(field)).count() as u64;
        let throttle: BTreeMap<String, String> = read(next()?)?;
        let mut views = Vec::with_capacity(plans.len());
        for plan in plans {
            views.push(plan_view(plan, read(next()?)?, published, blocks.get(plan)));
        }
        let due = [keys::sync_due(), keys::sync_due_low()].map(|key| {
            let mut due = command("ZCOUNT", key);
            due.arg("-inf").arg(now);
            due
        });
        for reply in store.pipeline(&due).await {
            backlog.due += read::<u64>(reply?)?;
        }
        Ok((backlog, throttle, views))
    }
}

fn plan_view(
    plan: &str,
    poll: BTreeMap<String, String>,
    published: &Published,
    blocks: Option<&Blocks>,
) -> PlanView {
    let number = |name: &str| poll.get(name).and_then(|text| text.parse::<i64>().ok());
    let lists = published.lists.get(plan).filter(|lists| lists.begun > 0);
    PlanView {
        plan_id: plan.to_owned(),
        last_list: number("begun_at").map(iso),
        tasks: number("total").and_then(|total| u64::try_from(total).ok()),
        complete_ratio: lists.map(|lists| lists.complete as f64 / lists.begun as f64),
        refused: published.refused_plans.get(plan).copied(),
        suspended: blocks.and_then(blocks::suspended),
        full: blocks.and_then(blocks::full),
        schedule: poll.into_iter().filter(|(name, _)| !OWN_FORM.contains(&name.as_str())).collect(),
    }
}
