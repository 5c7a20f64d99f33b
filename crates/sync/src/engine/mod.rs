//! The engine: claims due tasks, carries out what `plan` decides, sweeps and polls. Generic over [`World`].
//!
//! Four loops run side by side inside one future: the lease, the drain (due tasks), the sweep (documents that
//! nobody announced) and the poll (Planner's lists). All state that must survive is in the store; dropping the
//! future at any point is a crash, and is meant to be harmless.

mod blocked;
mod details;
mod drain;
mod guard;
mod memory;
mod outcome;
mod poll;
mod retries;
mod schedule;
mod sweep;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::Either, pin_mut};

use crate::{
    blocks::Patience,
    limiter::{Limiter, Rate},
    mutants::{Mutant, removed},
    world::{GraphOutcome, GuardLimits, Pace, Report, Signals, StoreError, World},
};

pub use memory::{EPOCH_CHANGED, REBUILD};

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Length of the engine's lease.
    pub lease: Duration,
    /// How often it is renewed.
    pub renew: Duration,
    /// How long a claimed task is ours.
    pub task_lease: Duration,
    /// How long a marked task waits for others to share its batch.
    pub linger: Duration,
    /// Between two sweeps.
    pub sweep_every: Duration,
    /// Between two polls.
    pub poll_every: Duration,
    /// Groups of tasks worked on at a time at the start, each with one HTTP request under way.
    pub concurrency: usize,
    /// A create or write is not sent when this much time has passed since its intent was stored.
    pub send_deadline: Duration,
    /// How fast Graph is asked.
    pub rate: Rate,
    /// Creates carry an id of ours, by which Graph's beta finds a task that was made before: the scenario under which
    /// those ids are unique. `None` = creates of v1.0 without one.
    pub external_id: Option<String>,
    /// From how many inferred deletions on a person is asked.
    pub guard: GuardLimits,
    /// How long a plan is left alone that refuses its list or new tasks.
    pub patience: Patience,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A successor asks twice a second, and has it within 15 s of a crash.
            lease: Duration::from_secs(14),
            renew: Duration::from_millis(4_600),
            task_lease: Duration::from_secs(60),
            linger: Duration::from_millis(100),
            sweep_every: Duration::from_secs(30),
            poll_every: Duration::from_secs(30),
            concurrency: 4,
            send_deadline: Duration::from_secs(5),
            rate: Rate { start: 5.0, max: 200.0, burst: 40.0 },
            external_id: None,
            guard: GuardLimits::default(),
            patience: Patience::default(),
        }
    }
}

/// Most requests in one `$batch` (Graph's JSON batching page).
pub const BATCH: usize = 20;

/// How soon an engine that waits for the lease asks for it again: a lease that ran out is taken within this time.
const LEASE_ASKED: Duration = Duration::from_millis(500);

/// Work that nobody waits for has waited this long for its turn: now it is paid for like any other.
const PATIENCE: Duration = Duration::from_secs(10);

/// A longer `Retry-After` is not believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Why a run of the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// Another process took the lease.
    LeaseLost,
}

/// The engine.
pub struct Engine<W> {
    world: W,
    settings: Settings,
    shared: Mutex<Shared>,
    stopping: AtomicBool,
}

/// Who waits for a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    /// An agent or a person.
    Urgent,
    /// Nobody in particular.
    Low,
}

/// What the loops of one process share. Never locked across a suspension.
struct Shared {
    limiter: Limiter,
    report: Report,
    /// Graph is left alone until then, ms.
    paused_until: i64,
    /// Which plans are listed when.
    calendar: schedule::Calendar,
    /// Documents may wait for what has changed: the sweep is wanted now.
    sweep_soon: bool,
    /// The key space is large, and not all of it has been looked at for documents that nobody announced.
    undiscovered: bool,
    /// Which plan's last complete list showed a task, by Planner id.
    places: BTreeMap<String, String>,
    /// Plans whose last list was refused or incomplete, or that this engine has not listed yet, and since when, ms.
    unlisted: BTreeMap<String, i64>,
    /// Plans of which this engine has read a complete list.
    listed: BTreeSet<String>,
    /// Turns of the rotation over details so far, and those in a row for which there was no room.
    rotations: usize,
    rotations_skipped: u32,
    /// The pace that the store was told last.
    kept_pace: Option<Pace>,
    /// Whether the store remembers what it knew.
    memory: memory::Memory,
    /// What the last looks at both sides missed.
    missed: guard::Missed,
    /// How much of the last minute's traffic were repeats.
    budget: retries::Budget,
    /// Tasks that wait for a plan, by plan.
    waiting: BTreeMap<String, BTreeSet<String>>,
}

impl<W: World> Engine<W> {
    /// An engine over `world`.
    pub fn new(world: W, settings: Settings) -> Self {
        let limiter = Limiter::new(settings.rate, settings.concurrency, world.now_ms());
        let shared = Shared {
            limiter,
            report: Report::default(),
            paused_until: 0,
            calendar: schedule::Calendar::default(),
            sweep_soon: false,
            undiscovered: false,
            places: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            listed: BTreeSet::new(),
            rotations: 0,
            rotations_skipped: 0,
            kept_pace: None,
            memory: memory::Memory::default(),
            missed: guard::Missed::default(),
            budget: retries::Budget::default(),
            waiting: BTreeMap::new(),
        };
        Self { world, settings, shared: Mutex::new(shared), stopping: AtomicBool::new(false) }
    }

    /// The world under the engine.
    pub fn world(&self) -> &W {
        &self.world
    }

    /// What the engine did so far.
    pub fn report(&self) -> Report {
        self.shared().report.clone()
    }

    /// Asks for a poll of every plan now, also of those that are suspended, without waiting for it.
    pub fn poll_soon(&self) {
        let now = self.world.now_ms();
        self.shared().calendar.demand_all(now);
    }

    /// Runs until `stop` completes or the lease is lost. Waits for the lease first.
    ///
    /// After `stop`, work under way is finished for at most two seconds.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) -> Ended {
        self.stopping.store(false, Ordering::Relaxed);
        pin_mut!(stop);
        match futures::future::select(&mut stop, Box::pin(self.take_lease())).await {
            Either::Left(_) => return Ended::Stopped,
            Either::Right(((), _)) => {}
        }
        self.adopt_pace().await;
        // Another process may have had the lease since this one last looked.
        self.forget_epoch();
        self.forget_places();
        let ended = {
            let lease = self.keep_lease().fuse();
            let sweep = self.sweep_loop().fuse();
            let poll = self.poll_loop().fuse();
            let drain = self.drain_loop().fuse();
            pin_mut!(lease, sweep, poll, drain);
            let mut stop = stop.fuse();
            futures::select_biased! {
                () = stop => {
                    self.stopping.store(true, Ordering::Relaxed);
                    let grace = self.world.sleep(Duration::from_secs(2)).fuse();
                    pin_mut!(grace);
                    futures::select_biased! { () = drain => {}, () = grace => {} }
                    Ended::Stopped
                }
                () = lease => Ended::LeaseLost,
                () = drain => Ended::Stopped,
                () = sweep => Ended::Stopped,
                () = poll => Ended::Stopped,
            }
        };
        if ended == Ended::Stopped
            && let Err(error) = self.world.release_lease().await
        {
            self.store_failed("release_lease", &error);
        }
        ended
    }

    /// One cycle: sweep, poll, and work off what is due, within `budget`. For the periodic mode.
    ///
    /// Says `false` where another process has the lease, or took it meanwhile.
    ///
    /// # Errors
    /// When the store does not answer; the lease is given back all the same.
    pub async fn run_once(&self, budget: Duration) -> Result<bool, StoreError> {
        if !self.world.hold_lease(self.settings.lease).await? {
            return Ok(false);
        }
        self.adopt_pace().await;
        let until = self.world.now_ms() + i64::try_from(budget.as_millis()).unwrap_or(i64::MAX);
        let done = {
            let work = self.cycle(until).fuse();
            let lease = self.keep_lease().fuse();
            pin_mut!(work, lease);
            futures::select_biased! { done = work => Some(done), () = lease => None }
        };
        let Some(done) = done else { return Ok(false) };
        if let Err(error) = &done {
            self.store_failed("cycle", error);
        }
        self.publish_report().await;
        self.keep_pace().await;
        let released = self.world.release_lease().await;
        done.and(released).map(|()| true)
    }

    async fn cycle(&self, until: i64) -> Result<(), StoreError> {
        self.check_epoch().await?;
        self.reclaim().await?;
        self.sweep_once().await?;
        self.discover_more().await?;
        self.poll_once(until).await?;
        self.drain_until(until).await?;
        if self.is_rebuilding() {
            self.drained();
            self.poll_once(until).await?;
            self.drain_until(until).await?;
        }
        Ok(())
    }

    async fn take_lease(&self) {
        loop {
            match self.world.hold_lease(self.settings.lease).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.store_failed("hold_lease", &error),
            }
            self.world.sleep(LEASE_ASKED).await;
        }
    }

    /// Goes on at the pace that the last engine had found.
    async fn adopt_pace(&self) {
        self.forget_schedules();
        if let Err(error) = self.read_blocks().await {
            self.store_failed("blocks", &error);
        }
        let Some(signals) = self.heed_signals().await else { return };
        let now = self.world.now_ms();
        let mut shared = self.shared();
        if let Some(pace) = signals.pace {
            shared.limiter.adopt(pace, now);
        }
        shared.kept_pace = signals.pace;
    }

    /// Tells the store the pace, where it is another one than the store has.
    async fn keep_pace(&self) {
        let pace = {
            let shared = self.shared();
            let pace = shared.limiter.pace();
            if shared.kept_pace == Some(pace) {
                return;
            }
            pace
        };
        match self.world.keep_pace(pace).await {
            Ok(()) => self.shared().kept_pace = Some(pace),
            Err(error) => self.store_failed("keep_pace", &error),
        }
    }

    /// Renews the lease; completes when it is lost. An unanswered renewal is no loss until the lease has run out.
    async fn keep_lease(&self) {
        let length = i64::try_from(self.settings.lease.as_millis()).unwrap_or(i64::MAX);
        let mut held_at = self.world.now_ms();
        self.shared().report.lease_since = Some(held_at);
        loop {
            if let Err(error) = self.check_epoch().await {
                self.store_failed("epoch", &error);
            }
            self.publish_report().await;
            self.keep_pace().await;
            self.world.sleep(self.settings.renew).await;
            let asked_at = self.world.now_ms();
            match self.world.hold_lease(self.settings.lease).await {
                Ok(true) => held_at = asked_at,
                Ok(false) => return,
                Err(error) => {
                    self.store_failed("hold_lease", &error);
                    if self.world.now_ms() - held_at > length {
                        return;
                    }
                }
            }
        }
    }

    async fn publish_report(&self) {
        let report = self.report();
        if let Err(error) = self.world.report(&report).await {
            self.store_failed("report", &error);
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &'static str, by: u64) {
        let now = self.world.now_ms();
        let mut shared = self.shared();
        match name {
            "graph_requests" => {
                shared.report.traffic.add(by, 0, now);
                shared.budget.sent(u32::try_from(by).unwrap_or(u32::MAX), 0, now);
            }
            "throttled" => shared.report.traffic.add(0, by, now),
            _ => {}
        }
        *shared.report.counters.entry(name).or_default() += by;
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn store_failed(&self, operation: &'static str, error: &StoreError) {
        if error.code == EPOCH_CHANGED {
            self.forget_epoch();
        }
        self.count("store_errors", 1);
        tracing::warn!(operation, code = error.code, error = %error.message, "the store did not answer; trying again");
    }

    /// Graph answered, or it did not.
    fn graph_answered(&self, answered: bool) {
        let now = self.world.now_ms();
        let mut shared = self.shared();
        match (answered, shared.report.graph_down_since) {
            (true, Some(since)) => {
                shared.report.graph_down_since = None;
                tracing::info!(down_ms = now - since, "Graph answers again");
            }
            (false, None) => {
                shared.report.graph_down_since = Some(now);
                tracing::warn!("Graph does not answer; writes wait until it does");
            }
            _ => {}
        }
    }

    fn graph_is_down(&self) -> bool {
        self.shared().report.graph_down_since.is_some()
    }

    /// Takes `count` sub-requests from the limiter and waits for their turn; says whether there was a wait.
    ///
    /// What nobody waits for takes only what is left beside a reserve, so that it delays nothing; where that does
    /// not come within [`PATIENCE`], it takes its turn all the same.
    async fn pace(&self, count: u32, priority: Priority) -> bool {
        if count == 0 {
            return false;
        }
        let began = self.world.now_ms();
        let patience = i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX);
        let mut waited = false;
        loop {
            let now = self.world.now_ms();
            let turn = priority == Priority::Urgent || now - began >= patience;
            let wait = {
                let mut shared = self.shared();
                if turn { shared.limiter.take(count, now) } else { shared.limiter.take_low(count, now) }
            };
            if wait.is_zero() {
                break;
            }
            waited = true;
            self.world.sleep(if turn { wait } else { wait.min(Duration::from_secs(1)) }).await;
            if turn {
                break;
            }
        }
        self.count("graph_requests", u64::from(count));
        waited
    }

    /// How many requests could be sent within this time.
    fn room(&self, within: Duration, priority: Priority) -> usize {
        let now = self.world.now_ms();
        let mut shared = self.shared();
        match priority {
            Priority::Urgent => shared.limiter.room(within, now),
            Priority::Low => shared.limiter.room_low(within, now),
        }
    }

    /// What a batch says about the pace.
    fn batch_answered(&self, outcomes: &[GraphOutcome]) {
        let now = self.world.now_ms();
        let throttled = |outcome: &&GraphOutcome| match outcome {
            GraphOutcome::Answer { status, retry_after, .. } => {
                *status == 429 || (*status == 503 && retry_after.is_some())
            }
            _ => false,
        };
        let answers =
            outcomes.iter().filter(|outcome| matches!(outcome, GraphOutcome::Answer { .. })).count();
        if answers > 0 {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let refused = count(outcomes.iter().filter(throttled).count());
            self.shared().limiter.answered(count(answers), refused, now);
        }
    }

    /// How long Graph is to be left alone, as this process knows.
    fn pause_left(&self) -> Option<Duration> {
        let left = self.shared().paused_until - self.world.now_ms();
        if removed(Mutant::ThrottlePause) {
            return None;
        }
        (left > 0).then(|| crate::plan::millis(left))
    }

    /// Graph throttled: everybody waits.
    async fn throttled(&self, retry_after: Option<Duration>) {
        let now = self.world.now_ms();
        let jitter = self.world.random();
        let until = {
            let mut shared = self.shared();
            // The refusals of one batch are one sign, not many; so are those of batches that were under way together.
            let own = if shared.paused_until > now { Duration::ZERO } else { shared.limiter.throttled(now) };
            let own = own + own.mul_f64((jitter % 1_000) as f64 / 1_000.0);
            // "Wait for nothing" from one who refuses is no answer.
            let wait = retry_after.filter(|asked| !asked.is_zero()).unwrap_or(own).min(LONGEST_PAUSE);
            let until = now + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            shared.paused_until = shared.paused_until.max(until);
            shared.paused_until
        };
        self.count("throttled", 1);
        self.keep_pace().await;
        if let Err(error) = self.world.pause_until(until).await {
            self.store_failed("pause_until", &error);
        }
    }

    async fn heed_signals(&self) -> Option<Signals> {
        match self.world.signals().await {
            Ok(signals) => {
                let now = self.world.now_ms();
                let mut shared = self.shared();
                shared.paused_until = shared.paused_until.max(signals.paused_until);
                if signals.polls.all {
                    shared.calendar.demand_all(now);
                }
                signals.polls.plans.iter().for_each(|plan| shared.calendar.want(plan, now));
                Some(signals)
            }
            Err(error) => {
                self.store_failed("signals", &error);
                None
            }
        }
    }

    /// A random stamp for a document write.
    fn rev(&self) -> String {
        format!("{:016x}{:016x}", self.world.random(), self.world.random())
    }

    /// Full jitter: up to `cap`, doubling with `attempts`.
    fn backoff(&self, attempts: u32, cap: Duration) -> Duration {
        let ceiling = (1_000_u64 << attempts.min(10)).min(u64::try_from(cap.as_millis()).unwrap_or(u64::MAX));
        Duration::from_millis(250 + self.world.random() % ceiling.max(1))
    }
}
