//! `World` in production: Redis and Microsoft Graph under the sync engine.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annika_sync::{
    blocks::Blocks,
    engine::EPOCH_CHANGED,
    lens::Document,
    world::{
        Bequest, CLAIMS_LOST, Claim, Claimed, Commit, CommitResult, Discovered, GraphOutcome, GraphRequest,
        GuardQuestion, KnownPlan, Observation, OpenCreate, Pace, PlanList, PlanSchedule, Plans, Quota,
        Reclaimed, Report, SUSPECTED, SeenDetails, Signals, Snapshot, Stored, SweepPage, Turn, World,
    },
};
use redis::Value;
use tokio::sync::Notify;

use super::{
    blocks, commit, epoch, exchange, guard, health, lists, load, plans, reclaim,
    scripts::{CLAIM, FREE, INGEST, KEEP, LEASE, PACE, PAUSE, When, mark_call},
    signals::signals,
    sweep,
    upkeep::Upkeep,
};
use crate::{
    clock::{SharedClock, SharedRng},
    graph::GraphClient,
    keys,
    store::{ScriptCall, Store, StoreError, StoreErrorKind},
    tasks::{self, pending_entry},
};

/// Name of the engine's lease.
pub(super) const ENGINE: &str = "engine";

/// How long claimed tasks wait for a Redis that does not answer; a third of a claim's length.
const PATIENCE_MS: u64 = 20_000;
/// How long replicas are waited for; the engine sends nothing when 5 s have passed since its intent was stored.
const REPLICA_PATIENCE_MS: u64 = 5_500;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);
/// Workers go by the plans that they read some seconds ago.
const AFTER_RENAMING: Duration = Duration::from_secs(6);
/// Waiting tasks that are looked at when the engine changes hands; an engine has a few groups of twenty at a time.
const MOST_FREED: i64 = 2_000;

/// Redis and Graph, as the engine sees them.
#[derive(Debug)]
pub struct PlannerWorld {
    pub(super) store: Store,
    /// Create intents and their `WAIT`, which counts only its own connection's writes.
    intents: Store,
    pub(super) graph: GraphClient,
    pub(super) clock: SharedClock,
    rng: SharedRng,
    pub(super) plans: plans::PlanSources,
    application_id: Option<String>,
    replicas: u32,
    /// Random name of this process in leases.
    holder: String,
    /// The number of the next claim; it stays where the answer was lost.
    claim: AtomicU64,
    marks: Notify,
    epoch: epoch::KnownEpoch,
    /// Where the discovery goes on in a large key space.
    pub(super) scan: Mutex<Option<u64>>,
    pub(super) marked_here: AtomicU64,
    upkeep: Upkeep,
}

impl PlannerWorld {
    /// The world over a store and a Graph client.
    ///
    /// `replicas` is how many replicas must have a create intent before it is sent; 0 = do not wait.
    ///
    /// # Errors
    /// When the second connection cannot be set up.
    pub fn new(
        store: Store,
        graph: GraphClient,
        clock: SharedClock,
        rng: SharedRng,
        plans: plans::PlanSources,
        application_id: Option<String>,
        replicas: u32,
    ) -> Result<Self, StoreError> {
        let intents = store.with_own_connection()?;
        let holder = rng.uuid();
        Ok(Self {
            store,
            intents,
            graph,
            clock,
            rng,
            plans,
            application_id,
            replicas,
            holder,
            claim: AtomicU64::new(1),
            marks: Notify::new(),
            epoch: epoch::KnownEpoch::default(),
            scan: Mutex::new(None),
            marked_here: AtomicU64::new(0),
            upkeep: Upkeep::default(),
        })
    }

    /// The same world, in which completed tasks leave Redis after this many days; `None` = never.
    #[must_use]
    pub fn with_completed_ttl(mut self, days: Option<u32>) -> Self {
        self.upkeep.age_after(days);
        self
    }

    /// Tells the engine of this process that something was marked.
    pub fn wake(&self) {
        self.marks.notify_one();
    }

    /// Makes tasks due, with what is known about why; says how many there were by the script's count.
    pub(super) async fn mark_because(
        &self,
        ids: &[String],
        reason: &str,
        when: When,
    ) -> Result<usize, StoreError> {
        let mut counted = 0;
        for ids in ids.chunks(500) {
            counted += number_of(self.store.run(&mark_call(ids, reason, when)).await?)?;
            self.marked_here.fetch_add(ids.len() as u64, Ordering::Relaxed);
        }
        self.wake();
        Ok(usize::try_from(counted).unwrap_or(0))
    }

    async fn lease(&self, length: Duration) -> Result<bool, StoreError> {
        let call = LEASE.call().key(keys::sync_lock(ENGINE)).arg(&self.holder).num(millis(length));
        let held = number_of(self.store.run(&call).await?)?;
        if held == 2 {
            self.free_claims().await?;
        }
        Ok(held > 0)
    }

    /// After a process died with claims of its own: without this they would wait for their leases to run out.
    async fn free_claims(&self) -> Result<(), StoreError> {
        let call = FREE
            .call()
            .key(keys::sync_lock(ENGINE))
            .key(keys::sync_due())
            .arg(&self.holder)
            .arg(keys::sync_state(""))
            .num(MOST_FREED);
        let freed = number_of(self.store.run(&call).await?)?;
        if freed > 0 {
            tracing::info!(freed, "tasks that the last engine had under way are taken up again");
        }
        Ok(())
    }

    async fn commit_all(&self, commits: &[Commit]) -> Result<Vec<CommitResult>, StoreError> {
        let now = self.clock.now_ms();
        let (durable, usual): (Vec<usize>, Vec<usize>) =
            (0..commits.len()).partition(|&index| commits.get(index).is_some_and(|commit| commit.durable));
        let calls = |wanted: &[usize]| -> Vec<_> {
            wanted
                .iter()
                .filter_map(|&index| commits.get(index))
                .map(|commit| commit::call(commit, now))
                .collect()
        };
        commits.iter().filter_map(commit::plan_of_unknown_label).for_each(|plan| {
            self.plans.categories.want(&plan);
        });
        let mut results: Vec<Option<CommitResult>> = vec![None; commits.len()];
        for (store, wanted) in [(&self.intents, &durable), (&self.store, &usual)] {
            for (index, reply) in wanted.iter().zip(self.run_patiently(store, &calls(wanted)).await) {
                if let Some(slot) = results.get_mut(*index) {
                    *slot = Some(commit::result(reply).unwrap_or_else(|error| {
                        let id = commits.get(*index).map_or("", |commit| commit.id.as_str());
                        tracing::warn!(
                            task_id = id,
                            code = error.kind.code(),
                            "a step was not stored: {error}"
                        );
                        CommitResult::Failed
                    }));
                }
            }
        }
        self.upkeep.count_losers(commits, &results);
        if !durable.is_empty() && self.replicas > 0 {
            self.wait_for_replicas().await;
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Runs scripts; those that Redis could not be reached for are run again for a while.
    ///
    /// A commit that is given up forgets what Graph answered. Running one twice is harmless: the fence or the
    /// document is another one then.
    async fn run_patiently(&self, store: &Store, calls: &[ScriptCall]) -> Vec<Result<Value, StoreError>> {
        let mut results = store.run_many(calls).await;
        let until = self.clock.monotonic_ms() + PATIENCE_MS;
        loop {
            let again: Vec<usize> = results
                .iter()
                .enumerate()
                .filter(|(_, result)| matches!(result, Err(error) if is_worth_waiting(error)))
                .map(|(index, _)| index)
                .collect();
            if again.is_empty() || self.clock.monotonic_ms() >= until {
                return results;
            }
            self.clock.sleep(BETWEEN_ATTEMPTS).await;
            let calls: Vec<ScriptCall> =
                again.iter().filter_map(|&index| calls.get(index).cloned()).collect();
            for (index, result) in again.into_iter().zip(store.run_many(&calls).await) {
                if let Some(slot) = results.get_mut(index) {
                    *slot = result;
                }
            }
        }
    }

    /// Reads claimed tasks; a claim outlives a short outage of Redis.
    async fn load_patiently(&self, ids: &[String]) -> Result<Vec<Snapshot>, StoreError> {
        let until = self.clock.monotonic_ms() + PATIENCE_MS;
        loop {
            match load::snapshots(&self.store, ids).await {
                Err(error) if is_worth_waiting(&error) && self.clock.monotonic_ms() < until => {
                    self.clock.sleep(BETWEEN_ATTEMPTS).await;
                }
                result => return result,
            }
        }
    }

    /// Waits until the intents are on the replicas, for longer than a create may wait to be sent: what a failover
    /// would forget is not sent at all, and tried again later.
    async fn wait_for_replicas(&self) {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas).arg(100);
        let until = self.clock.monotonic_ms() + REPLICA_PATIENCE_MS;
        loop {
            let confirmed = self.intents.command::<u32>(&wait).await;
            if confirmed.as_ref().is_ok_and(|confirmed| *confirmed >= self.replicas) {
                return;
            }
            if self.clock.monotonic_ms() < until {
                // WAIT itself takes its time; an error comes at once.
                if confirmed.is_err() {
                    self.clock.sleep(BETWEEN_ATTEMPTS).await;
                }
                continue;
            }
            match confirmed {
                Ok(confirmed) => tracing::warn!(
                    confirmed,
                    wanted = self.replicas,
                    code = "intent_not_replicated",
                    "a create is not on every replica and is not sent"
                ),
                Err(error) => tracing::warn!(
                    code = error.kind.code(),
                    "whether a create is on the replicas is not known, and it is not sent: {error}"
                ),
            }
            return;
        }
    }
}

/// Whether waiting may help soon. A full Redis stays full until somebody makes room.
fn is_worth_waiting(error: &StoreError) -> bool {
    error.kind.is_passing() && error.kind != StoreErrorKind::Full
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn number_of(value: Value) -> Result<i64, StoreError> {
    redis::from_redis_value(value).map_err(|error| StoreError::from(redis::RedisError::from(error)))
}

/// The engine's form of a store's failure.
pub(super) fn failed(error: StoreError) -> annika_sync::world::StoreError {
    let code = if epoch::is_another(&error) { EPOCH_CHANGED } else { error.kind.code() };
    annika_sync::world::StoreError { code, message: error.to_string() }
}

impl World for PlannerWorld {
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn random(&self) -> u64 {
        self.rng.next_u64()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    async fn marked(&self) {
        self.marks.notified().await;
    }

    async fn hold_lease(&self, length: Duration) -> Stored<bool> {
        self.lease(length).await.map_err(failed)
    }

    async fn release_lease(&self) -> Stored<()> {
        self.lease(Duration::ZERO).await.map(|_| ()).map_err(failed)
    }

    async fn epoch(&self) -> Stored<Option<String>> {
        self.epoch.read(&self.store).await.map_err(failed)
    }

    async fn set_epoch(&self, from: Option<&str>, to: &str) -> Stored<bool> {
        self.epoch.replace(&self.store, from, to).await.map_err(failed)
    }

    async fn reclaim(&self, cursor: Option<String>) -> Stored<Reclaimed> {
        reclaim::slice(&self.store, cursor).await.map_err(failed)
    }

    async fn owners(&self, planner_ids: &[String]) -> Stored<Vec<Option<String>>> {
        let ids: Vec<&str> = planner_ids.iter().map(String::as_str).collect();
        lists::owners(&self.store, &ids).await.map_err(failed)
    }

    async fn bequeath(&self, bequests: &[Bequest]) -> Stored<()> {
        lists::bequeath(&self.store, bequests).await.map_err(failed)
    }

    async fn permit(&self, question: GuardQuestion) -> Stored<Vec<bool>> {
        guard::permit(&self.store, &question).await.map_err(failed)
    }

    async fn mark(&self, ids: &[String], delay: Duration) -> Stored<()> {
        self.mark_because(ids, "changed", When::After(delay)).await.map(|_| ()).map_err(failed)
    }

    async fn mark_missing(&self, ids: &[String]) -> Stored<usize> {
        self.mark_because(ids, "missing", When::NOW).await.map_err(failed)
    }

    async fn ingest_pending(&self) -> Stored<usize> {
        let mut calls = Vec::new();
        let entries = sweep::foreign_entries(&self.store).await.map_err(failed)?;
        for chunk in entries.chunks(200) {
            let call =
                INGEST.call().key(keys::sync_pending()).key(keys::sync_due()).arg(keys::sync_state(""));
            calls.push(chunk.iter().fold(call, |call, entry| {
                let id = entry.task_id.as_deref().unwrap_or_default();
                call.arg(&entry.text).arg(id).arg(pending_entry(id)).arg(if entry.deleted {
                    "1"
                } else {
                    "0"
                })
            }));
        }
        let mut taken = 0;
        for reply in self.store.run_many(&calls).await {
            taken += usize::try_from(reply.and_then(number_of).map_err(failed)?).unwrap_or(0);
        }
        Ok(taken)
    }

    async fn claim(&self, quota: Quota, lease: Duration) -> Stored<Claimed> {
        let number = self.claim.load(Ordering::Relaxed);
        let most = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let call = CLAIM
            .call()
            .key(keys::sync_due())
            .key(keys::sync_fence())
            .key(keys::sync_claimed(&self.holder))
            .num(most(quota.urgent))
            .num(most(quota.low))
            .num(millis(lease))
            .arg(keys::sync_state(""))
            .arg(number.to_string())
            .num(i64::from(SUSPECTED))
            .num(i64::from(CLAIMS_LOST))
            .key(keys::sync_epoch())
            .arg(self.epoch.as_read());
        let reply = self.store.run(&call).await.map_err(failed)?;
        self.claim.store(number + 1, Ordering::Relaxed);
        let Value::Array(parts) = reply else {
            return Err(failed(StoreError::other("the claim script answered in an unknown form")));
        };
        let mut parts = parts.into_iter();
        let next = parts.next().map_or(Ok(-1), number_of).map_err(failed)?;
        let (mut claims, mut put_off) = (Vec::new(), Vec::new());
        while let (Some(id), Some(fence), Some(kind)) = (parts.next(), parts.next(), parts.next()) {
            let id: String = redis::from_redis_value(id)
                .map_err(|error| failed(StoreError::from(redis::RedisError::from(error))))?;
            let fence = u64::try_from(number_of(fence).map_err(failed)?).unwrap_or(0);
            match number_of(kind).map_err(failed)? {
                2 => put_off.push(id),
                kind => claims.push(Claim { id, fence, low: kind == 1 }),
            }
        }
        let next_in = u64::try_from(next).ok().map(Duration::from_millis);
        Ok(Claimed { claims, put_off, next_in })
    }

    async fn load(&self, ids: &[String]) -> Stored<Vec<Snapshot>> {
        self.load_patiently(ids).await.map_err(failed)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Stored<Vec<CommitResult>> {
        self.commit_all(&commits).await.map_err(failed)
    }

    async fn replace(&self, id: &str, expected: &[u8], document: &Document) -> Stored<bool> {
        let written = tasks::replace_exactly(&self.store, id, expected, document).await.map_err(failed)?;
        self.wake();
        Ok(written)
    }

    async fn sweep_page(&self, cursor: Option<String>) -> Stored<SweepPage> {
        if cursor.is_none() {
            self.upkeep.age(&self.store, self.clock.now_ms()).await.map_err(failed)?;
        }
        sweep::page(&self.store, cursor).await.map_err(failed)
    }

    async fn discover(&self, cursor: Option<String>) -> Stored<Discovered> {
        let start =
            cursor.is_none().then(|| *self.scan.lock().unwrap_or_else(PoisonError::into_inner)).flatten();
        let (found, resume) = sweep::discover(&self.store, cursor, start).await.map_err(failed)?;
        *self.scan.lock().unwrap_or_else(PoisonError::into_inner) = resume;
        Ok(found)
    }

    async fn plans(&self, ask: bool) -> Stored<Plans> {
        self.upkeep.read_erased(&self.store).await.map_err(failed)?;
        let graph = ask.then_some(&self.graph);
        let plans = self.plans.read(&self.store, graph, self.clock.now_ms()).await.map_err(failed)?;
        if ask {
            for plan in self.plans.categories.renamed() {
                let ids = lists::tasks_of(&self.store, &plan).await.map_err(failed)?;
                tracing::info!(plan_id = plan, tasks = ids.len(), "categories of a plan have other names");
                self.mark_because(&ids, "changed", When::After(AFTER_RENAMING)).await.map_err(failed)?;
            }
        }
        Ok(plans)
    }

    async fn list(&self, plans: &[String], turn: &dyn Turn) -> (Vec<PlanList>, u32) {
        let before = self.graph.counters().sub_requests;
        let begun_at = self.clock.now_ms();
        let lists = self.graph.tasks_of_plans(plans, &|| turn.next_page()).await;
        let requests = self.graph.counters().sub_requests.saturating_sub(before);
        let mut lists: Vec<PlanList> =
            lists.into_iter().map(|list| exchange::plan_list(list, begun_at)).collect();
        for list in &mut lists {
            if let PlanList::Complete { tasks, .. } = list {
                tasks.iter_mut().for_each(|task| self.upkeep.without_erased(task));
            }
        }
        (lists, u32::try_from(requests).unwrap_or(u32::MAX))
    }

    async fn known(&self, plans: &[String]) -> Stored<Vec<KnownPlan>> {
        lists::known(&self.store, plans).await.map_err(failed)
    }

    async fn schedules(&self, plans: &[String]) -> Stored<Vec<PlanSchedule>> {
        lists::schedules(&self.store, plans).await.map_err(failed)
    }

    async fn keep_schedules(&self, schedules: &[(String, PlanSchedule)]) -> Stored<()> {
        lists::keep_schedules(&self.store, schedules).await.map_err(failed)
    }

    async fn blocks(&self) -> Stored<BTreeMap<String, Blocks>> {
        blocks::read_all(&self.store).await.map_err(failed)
    }

    async fn keep_blocks(&self, plan: &str, blocks: &Blocks) -> Stored<()> {
        blocks::keep(&self.store, plan, blocks).await.map_err(failed)
    }

    async fn open_creates(&self) -> Stored<Vec<OpenCreate>> {
        load::open_creates(&self.store).await.map_err(failed)
    }

    async fn observe(&self, observation: Observation) -> Stored<()> {
        lists::observe(&self.store, &observation, self.clock.now_ms(), &self.epoch.as_read())
            .await
            .map_err(failed)?;
        self.wake();
        Ok(())
    }

    async fn recheck_details(&self, seen: &[SeenDetails]) -> Stored<()> {
        lists::recheck_details(&self.store, seen).await.map_err(failed)
    }

    async fn rotated(&self, plan: &str, cursor: &str) -> Stored<()> {
        let call = KEEP.call().key(keys::sync_poll(plan)).arg("details_cursor").arg(cursor);
        self.store.run(&call).await.map(|_| ()).map_err(failed)
    }

    async fn ready(&self) -> bool {
        match self.graph.check_token().await {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(code = reason.code(), "writes wait for a token: {reason}");
                false
            }
        }
    }

    async fn graph(&self, requests: Vec<GraphRequest>) -> Vec<GraphOutcome> {
        let requests = requests.iter().map(exchange::request).collect();
        let mut outcomes: Vec<GraphOutcome> =
            self.graph.batch(requests).await.into_iter().map(exchange::outcome).collect();
        for outcome in &mut outcomes {
            if let GraphOutcome::Answer { body: Some(body), .. } = outcome {
                self.upkeep.without_erased(body);
            }
        }
        outcomes
    }

    fn application_id(&self) -> Option<String> {
        self.application_id.clone()
    }

    async fn signals(&self) -> Stored<Signals> {
        signals(&self.store).await.map_err(failed)
    }

    async fn keep_pace(&self, pace: Pace) -> Stored<()> {
        let call = PACE
            .call()
            .key(keys::sync_lock(ENGINE))
            .key(keys::sync_throttle())
            .arg(&self.holder)
            .arg(format!("{:.3}", pace.per_second))
            .arg(pace.concurrency.to_string())
            .num(i64::from(pace.throttled));
        self.store.run(&call).await.map(|_| ()).map_err(failed)
    }

    async fn pause_until(&self, until: i64) -> Stored<()> {
        let call = PAUSE.call().key(keys::sync_throttle()).num(until);
        self.store.run(&call).await.map(|_| ()).map_err(failed)
    }

    async fn report(&self, report: &Report) -> Stored<()> {
        health::publish(&self.store, report, &self.upkeep.counters(), self.clock.now_ms())
            .await
            .map_err(failed)
    }
}
