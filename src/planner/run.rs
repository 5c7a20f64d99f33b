//! When the engine runs: between the first invocation of the timer and a few seconds after the last one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use annika_sync::{
    engine::{Ended, Engine, Settings},
    world::Direction,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    guard, health, listener,
    overdue::overdue,
    signals::want_poll,
    world::{ENGINE, PlannerWorld},
};
use crate::{
    clock::SharedClock,
    config::PollMode,
    host::{TimerInvocation, TriggerError},
    store::{Store, StoreError},
};

/// After the last invocation the engine goes on for this long: the host starts the next one just after the tick.
const AFTERGLOW_MS: i64 = 5_000;
/// An invocation ends this long after the tick, so that the host starts one late run at once.
const PAST_TICK_MS: i64 = 500;
/// The longest wait of one invocation, well below functionTimeout (host.json): at that the host kills the process.
const LONGEST_MS: i64 = 20 * 60 * 1000;
/// The period where the host says nothing about the schedule.
const MINUTE_MS: i64 = 60_000;
/// How often a process looks whether the sync is overdue, ms.
const LOOK_MS: i64 = 5_000;
/// After a fault of its own the engine rests this long.
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// What one periodic invocation may take.
const BUDGET: Duration = Duration::from_secs(25);

/// The Planner sync of this process.
#[derive(Clone)]
pub struct Planner {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("mode", &self.inner.mode).finish_non_exhaustive()
    }
}

struct Inner {
    engine: Arc<Engine<PlannerWorld>>,
    clock: SharedClock,
    mode: PollMode,
    linger: Duration,
    drain: CancellationToken,
    tracker: TaskTracker,
    /// Invocations that wait now.
    invocations: AtomicUsize,
    /// When the last one ended, ms.
    ended_at: AtomicI64,
    running: Mutex<bool>,
    /// When this process began, and when it last looked whether the sync is overdue, ms.
    since: i64,
    looked_at: AtomicI64,
}

/// The engine's one place in this process; given back when it is dropped, also by a panic.
struct Running(Arc<Inner>);

impl Running {
    fn begin(inner: &Arc<Inner>) -> Option<Self> {
        let mut running = inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running {
            return None;
        }
        *running = true;
        Some(Self(Arc::clone(inner)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// What readiness says about the sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The lengths of the lists that people watch.
    pub depths: health::Depths,
    /// Within how many seconds a new document that nobody announced is found.
    pub discovery_bound_s: u64,
    /// Why the sync is not all well, each with a stable code.
    pub reasons: Vec<(&'static str, String)>,
    /// When the engine last published its health.
    pub published_at: Option<String>,
}

impl Planner {
    /// The sync over `world`. Nothing runs until an invocation comes.
    pub fn new(
        world: PlannerWorld,
        settings: Settings,
        mode: PollMode,
        clock: SharedClock,
        drain: CancellationToken,
    ) -> Self {
        let linger = settings.linger;
        let since = clock.now_ms();
        let engine = Arc::new(Engine::new(world, settings));
        let inner = Inner {
            engine,
            clock,
            mode,
            linger,
            drain,
            tracker: TaskTracker::new(),
            invocations: AtomicUsize::new(0),
            ended_at: AtomicI64::new(0),
            running: Mutex::new(false),
            since,
            looked_at: AtomicI64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// One invocation of the timer `planner_poll`.
    ///
    /// # Errors
    /// In periodic mode, when Redis does not answer.
    pub async fn timer(self, invocation: TimerInvocation) -> Result<Vec<String>, TriggerError> {
        match self.inner.mode {
            PollMode::Periodic => self.cycle().await,
            PollMode::Continuous => Ok(self.keep_running(&invocation).await),
        }
    }

    /// Asks for a poll of every plan, wherever the engine runs. Says whether one runs in this process.
    ///
    /// Never waits for the cycle. Where no engine runs anywhere, a leased cycle is started in the background.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn poll_now(&self) -> Result<bool, StoreError> {
        // The engine may run here, run elsewhere, or wait here for a lease that is held elsewhere.
        want_poll(&self.inner.engine.world().store, None).await?;
        if self.is_running() {
            self.inner.engine.poll_soon();
            return Ok(true);
        }
        let planner = self.clone();
        self.inner.tracker.spawn(async move {
            if let Err(error) = planner.cycle().await {
                tracing::warn!(code = error.code, "the requested cycle did not run: {error}");
            }
        });
        Ok(false)
    }

    pub(super) fn store(&self) -> &Store {
        &self.inner.engine.world().store
    }

    /// Asks for a poll of one plan, wherever the engine runs; without one, the next cycle does it.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn poll_plan(&self, plan: &str) -> Result<(), StoreError> {
        want_poll(&self.inner.engine.world().store, Some(plan)).await
    }

    /// A request has been answered: where no engine runs anywhere although it should, one leased cycle is started
    /// in the background. Never waits.
    pub fn answered(&self) {
        let now = self.inner.clock.now_ms();
        let looked_at = self.inner.looked_at.load(Ordering::Relaxed);
        let turn = now - looked_at >= LOOK_MS
            && self
                .inner
                .looked_at
                .compare_exchange(looked_at, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !turn || self.is_running() || self.inner.drain.is_cancelled() {
            return;
        }
        // An answer may be dropped where nothing can be started any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let planner = self.clone();
        let work = async move {
            match overdue(&planner.inner.engine.world().store, ENGINE, now, planner.inner.since).await {
                Ok(None) => {}
                Ok(Some(why)) => {
                    tracing::warn!(code = "cycle_overdue", "no engine runs and {why}; one cycle is run here");
                    if let Err(error) = planner.cycle().await {
                        tracing::warn!(code = error.code, "the overdue cycle did not run: {error}");
                    }
                }
                Err(error) => tracing::debug!("whether the sync is overdue is not known: {error}"),
            }
        };
        self.inner.tracker.spawn_on(work, &runtime);
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// Tells the engine of this process that something was marked.
    pub(super) fn wake(&self) {
        self.inner.engine.world().wake();
    }

    /// How the sync is doing.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let store = &self.inner.engine.world().store;
        let depths = health::depths(store).await?;
        let published = health::published(store).await?;
        let mut reasons = Vec::new();
        let missing = self.inner.engine.world().graph.credentials().missing();
        if !missing.is_empty() {
            reasons
                .push(("credentials_missing", format!("set {} (or a managed identity)", missing.join(", "))));
        }
        if self.inner.engine.world().plans.is_empty()
            && published.as_ref().is_none_or(|health| health.plans == 0)
        {
            reasons.push(("plans_missing", "no plan is synced: set PLANNER_PLANS".to_owned()));
        }
        match &published {
            None => reasons.push((
                "engine_silent",
                "no engine has published its health for five minutes; does the timer planner_poll fire?"
                    .to_owned(),
            )),
            Some(health) => {
                if let Some(since) = &health.graph_down_since {
                    reasons.push((
                        "graph_unreachable",
                        format!("Microsoft Graph has not answered since {since}"),
                    ));
                }
                for (plan, status) in &health.refused_plans {
                    reasons.push((
                        "plan_refused",
                        format!("Graph refuses the list of plan {plan} with {status}"),
                    ));
                }
                for (plan, blocked) in &health.suspended_plans {
                    reasons.push((
                        "plan_suspended",
                        format!(
                            "the list of plan {plan} is refused since {} ({}): the plan waits until {}, and its tasks with it",
                            blocked.since, blocked.code, blocked.until
                        ),
                    ));
                }
                for (plan, blocked) in &health.full_plans {
                    reasons.push((
                        "plan_full",
                        format!(
                            "plan {plan} takes no new tasks since {} ({}): the next one is tried at {}",
                            blocked.since, blocked.code, blocked.until
                        ),
                    ));
                }
                reasons.extend(health.problems.iter().map(|problem| ("plans_unreadable", problem.clone())));
            }
        }
        if let Some(rebuild) = published.as_ref().and_then(|health| health.rebuild.as_ref()) {
            reasons.push((
                "rebuilding",
                format!(
                    "the sync's memory is built anew, and nothing is deleted until then: {} documents read, {} of 2 \
                     rounds of lists",
                    rebuild.documents, rebuild.rounds
                ),
            ));
        }
        for (direction, guarded) in guard::guarded(store, self.inner.clock.now_ms()).await? {
            if guarded.held > 0 {
                let what = match direction {
                    Direction::Up => "Planner tasks whose documents vanished",
                    Direction::Down => "documents whose Planner tasks vanished",
                };
                reasons.push((
                    "delete_guard",
                    format!(
                        "{} {what} are not deleted: check them, then release the side `{}`, or rebuild to bring them back",
                        guarded.held,
                        direction.word()
                    ),
                ));
            }
        }
        if depths.failed > 0 {
            reasons.push((
                "tasks_failed",
                format!("{} tasks cannot be synced: see annika:sync:failed", depths.failed),
            ));
        }
        let discovery_bound_s = health::discovery_bound_s(depths.keys);
        Ok(Status {
            depths,
            discovery_bound_s,
            reasons,
            published_at: published.and_then(|health| health.timestamp),
        })
    }

    /// Completes when the engine and the listener have ended after the drain began.
    pub async fn drained(&self) {
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    /// One cycle here and now, for a person at a command line; `false` = another process has the sync.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn once(&self) -> Result<bool, annika_sync::world::StoreError> {
        let Some(_running) = Running::begin(&self.inner) else { return Ok(false) };
        self.inner.engine.run_once(BUDGET).await
    }

    /// What the engine of this process did so far.
    pub fn report(&self) -> annika_sync::world::Report {
        self.inner.engine.report()
    }

    pub(super) fn world(&self) -> &PlannerWorld {
        self.inner.engine.world()
    }

    fn is_running(&self) -> bool {
        *self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One cycle, unless the engine or another cycle runs in this process.
    async fn cycle(&self) -> Result<Vec<String>, TriggerError> {
        let Some(_running) = Running::begin(&self.inner) else {
            return Ok(vec!["the Planner sync runs in this process already".to_owned()]);
        };
        match self.inner.engine.run_once(BUDGET).await {
            Ok(true) => Ok(vec!["one cycle of the Planner sync has run".to_owned()]),
            Ok(false) => Ok(vec!["another process runs the Planner sync".to_owned()]),
            Err(error) => Err(TriggerError { code: error.code, message: error.message }),
        }
    }

    async fn keep_running(&self, invocation: &TimerInvocation) -> Vec<String> {
        let inner = &self.inner;
        let started = inner.clock.now_ms();
        inner.invocations.fetch_add(1, Ordering::SeqCst);
        self.start();
        let until = end_of_wait(started, invocation);
        let wait = Duration::from_millis(u64::try_from(until - started).unwrap_or(0));
        let why = tokio::select! {
            () = inner.clock.sleep(wait) => "the next tick has come",
            () = invocation.cancel.cancelled() => "the host ended the invocation",
        };
        let now = inner.clock.now_ms();
        inner.ended_at.store(now, Ordering::SeqCst);
        inner.invocations.fetch_sub(1, Ordering::SeqCst);
        let report = inner.engine.report();
        let count = |name: &str| report.counters.get(name).copied().unwrap_or(0);
        vec![format!(
            "watched the Planner sync for {} s: {why}; since the start {} uploads, {} downloads, {} polls, {} sweeps, \
             {} Graph requests",
            (now - started) / 1_000,
            count("uploads"),
            count("downloads"),
            count("polls"),
            count("sweeps"),
            count("graph_requests"),
        )]
    }

    /// Starts the engine and its listener unless they run.
    fn start(&self) {
        let Some(running) = Running::begin(&self.inner) else { return };
        let planner = self.clone();
        self.inner.tracker.spawn(async move {
            planner.supervise().await;
            drop(running);
            // An invocation that came in the last moment found it running.
            if planner.wanted() {
                planner.start();
            }
        });
    }

    /// Keeps engine and listener alive while they are wanted. A panic of either is told and ends only its own task.
    async fn supervise(&self) {
        let silence = self.inner.drain.child_token();
        let _silenced_at_the_end = silence.clone().drop_guard();
        let mut listener = self.listen(&silence);
        while self.wanted() {
            if listener.is_finished() {
                tracing::error!(code = "listener_ended", "the listener ended by itself; it starts anew");
                listener = self.listen(&silence);
            }
            tracing::info!("the Planner sync starts");
            let planner = self.clone();
            let engine = tokio::spawn(async move { planner.inner.engine.run(planner.unwanted()).await });
            match engine.await {
                Ok(Ended::Stopped) => tracing::info!("the Planner sync stops: no invocation waits for it"),
                Ok(Ended::LeaseLost) => tracing::warn!(
                    code = "engine_lease_lost",
                    "another process has taken the Planner sync; waiting for it"
                ),
                Err(error) => {
                    tracing::error!(
                        code = "engine_panicked",
                        "the Planner sync ended by a fault of its own: {error}"
                    );
                    self.inner.clock.sleep(AFTER_PANIC).await;
                }
            }
        }
        silence.cancel();
        if let Err(error) = listener.await {
            tracing::error!(code = "listener_panicked", "the listener did not end in order: {error}");
        }
    }

    fn listen(&self, silence: &CancellationToken) -> tokio::task::JoinHandle<()> {
        tokio::spawn(listener::listen(Arc::clone(&self.inner.engine), self.inner.linger, silence.clone()))
    }

    fn wanted(&self) -> bool {
        let inner = &self.inner;
        if inner.drain.is_cancelled() {
            return false;
        }
        inner.invocations.load(Ordering::SeqCst) > 0
            || inner.clock.now_ms() - inner.ended_at.load(Ordering::SeqCst) < AFTERGLOW_MS
    }

    async fn unwanted(&self) {
        while self.wanted() {
            tokio::select! {
                () = self.inner.drain.cancelled() => return,
                () = self.inner.clock.sleep(Duration::from_millis(500)) => {}
            }
        }
    }
}

/// Until when an invocation waits: just after the next tick of its schedule.
fn end_of_wait(started: i64, invocation: &TimerInvocation) -> i64 {
    let status = invocation.schedule_status.unwrap_or_default();
    let ms = |at: Option<jiff::Timestamp>| at.map(|at| at.as_millisecond());
    let (last, next) = (ms(status.last), ms(status.next));
    let period = match (last, next) {
        (Some(last), Some(next)) if next > last => (next - last).max(1_000),
        _ => MINUTE_MS,
    };
    let tick = match next {
        Some(next) if next > started => next,
        // A late run comes with a stale `Next`.
        Some(next) => next + ((started - next) / period + 1) * period,
        None => (started / MINUTE_MS + 1) * MINUTE_MS,
    };
    (tick + PAST_TICK_MS).min(started + LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ScheduleStatus;

    fn invocation(last: Option<&str>, next: Option<&str>) -> TimerInvocation {
        let read = |text: Option<&str>| text.map(|text| text.parse().expect("a time"));
        TimerInvocation {
            function: "planner_poll".into(),
            invocation_id: String::new(),
            is_past_due: false,
            schedule_status: Some(ScheduleStatus { last: read(last), next: read(next), last_updated: None }),
            input: None,
            retry: None,
            cancel: CancellationToken::new(),
        }
    }

    fn wait(at: &str, last: Option<&str>, next: Option<&str>) -> i64 {
        let started = at.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        end_of_wait(started, &invocation(last, next)) - started
    }

    #[test]
    fn a_run_ends_just_after_the_next_tick() {
        let tick = wait("2026-11-25T10:00:00Z", Some("2026-11-25T09:59:00Z"), Some("2026-11-25T10:01:00Z"));
        assert_eq!(tick, 60_500);
    }

    #[test]
    fn a_late_run_with_a_stale_next_ends_after_the_tick_that_is_to_come() {
        let tick = wait("2026-11-25T10:01:00.6Z", Some("2026-11-25T10:00:00Z"), Some("2026-11-25T10:01:00Z"));
        assert_eq!(tick, 59_900);
    }

    #[test]
    fn no_invocation_comes_near_the_time_at_which_the_host_kills_the_process() {
        let host: serde_json::Value = serde_json::from_str(include_str!("../../host.json")).expect("JSON");
        let parts: Vec<i64> = host["functionTimeout"]
            .as_str()
            .expect("a time span")
            .split(':')
            .map(|part| part.parse().expect("a number"))
            .collect();
        let timeout = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000;
        assert!(LONGEST_MS + 5 * 60 * 1_000 <= timeout, "{LONGEST_MS} of {timeout} ms");
    }

    #[test]
    fn without_a_schedule_the_minute_counts_and_no_wait_is_endless() {
        assert_eq!(wait("2026-11-25T10:00:20Z", None, None), 40_500);
        assert_eq!(wait("2026-11-25T10:00:00Z", None, Some("2027-01-01T00:00:00Z")), LONGEST_MS);
    }
}
