//! Virtual time: events in order, processes that are polled, paused, killed and started again.

use std::{
    collections::BTreeMap,
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use annika_sync::{
    blocks::Patience,
    engine::{Engine, Settings},
    limiter::Rate,
    world::{GuardLimits, World as _},
};

use super::{
    actors::{Actors, Pace, families},
    failover::Replica,
    faults::Faults,
    lag::Lag,
    oracle::Oracle,
    planner::Planner,
    store::Store,
    wire::{PLANS, Wire},
};

/// When the play begins, ms.
pub const START: i64 = 1_764_064_800_000;

/// A repeatable stream of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }

    /// True in `n` of 10,000 cases.
    pub fn chance(&mut self, n: u64) -> bool {
        n > 0 && self.below(10_000) < n
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(of.len() as u64)).expect("an index");
        of.get(at)
    }

    pub fn ms(&mut self, below: u64) -> i64 {
        i64::try_from(self.below(below)).expect("short")
    }
}

pub type Event = Box<dyn FnOnce(&mut Sim) + Send>;

/// Everything but the processes.
pub struct Sim {
    pub now: i64,
    pub rng: Rng,
    pub faults: Faults,
    pub store: Store,
    pub planner: Planner,
    pub oracle: Oracle,
    pub actors: Actors,
    /// Sub-requests that were to change something, as they arrived.
    pub graph_writes: u64,
    /// Reads of single tasks.
    pub graph_reads: u64,
    /// What the replica has that takes over next.
    pub replica: Option<Replica>,
    /// Per process: how far its clock is off, ms.
    pub clocks: Vec<i64>,
    /// Until when Graph refuses everything of a plan.
    pub closed: BTreeMap<&'static str, i64>,
    /// Until when a plan takes no new tasks.
    pub full: BTreeMap<&'static str, i64>,
    /// Whatever is asked about tasks of this plan is answered 500, and not done.
    pub broken_plan: Option<&'static str>,
    /// Lists that were asked for.
    pub lists: u64,
    /// The next write to Graph is carried out, and its answer lost.
    pub lose_next_answer: bool,
    /// The next request that changes something arrives after so long, ms, when nobody waits for it any more.
    pub late_next_write: Option<i64>,
    /// Sweeps over all known documents.
    pub sweeps: u64,
    /// Parts of a large key space without documents that lie before the one with all of them.
    pub parts_before: u32,
    /// How long values take, where somebody measures it.
    pub lag: Option<Lag>,
    /// How busy agents and people are.
    pub pace: Pace,
    /// What was found wrong on the way.
    pub violations: Vec<String>,
    /// Per process: heard of a mark, and who waits for it.
    pub heard: Vec<(bool, Option<Waker>)>,
    /// Rises with every start of a process: names it in leases and fences.
    pub lives: Vec<u64>,
    events: BTreeMap<(i64, u64), Event>,
    sequence: u64,
    trace: DefaultHasher,
    /// How often what happened.
    pub tally: BTreeMap<&'static str, u64>,
    /// Lines of the trace go to stderr.
    pub verbose: bool,
}

impl Sim {
    pub fn at(&mut self, delay_ms: i64, event: impl FnOnce(&mut Sim) + Send + 'static) {
        self.sequence += 1;
        self.events.insert((self.now + delay_ms.max(0), self.sequence), Box::new(event));
    }

    /// A line of the trace.
    pub fn note(&mut self, what: &'static str, about: impl FnOnce(&Sim) -> String) {
        (self.now, what).hash(&mut self.trace);
        *self.tally.entry(what).or_default() += 1;
        if self.verbose {
            let line = format!("{:>8} {what} {}", self.now - START, about(self));
            eprintln!("{line}");
        }
    }

    /// Draws when Redis fails over, when clocks jump, and when plans are closed.
    fn schedule_faults(&mut self) {
        let faults = self.faults.clone();
        for _ in 0..faults.failovers {
            let at = 5_000 + self.rng.ms(140_000);
            let lost = 1 + self.rng.ms(1_000);
            self.at(at - lost, |sim| {
                let replica = Replica::of(sim);
                sim.replica = Some(replica);
            });
            self.at(at, Sim::fail_over);
        }
        let jumps = if faults.clocks == 0 { 0 } else { 1 + self.clocks.len() };
        for jump in 0..jumps {
            let process = jump % self.clocks.len();
            let off = self.rng.ms(faults.clocks) - i64::try_from(faults.clocks / 2).expect("short");
            let at = if jump < self.clocks.len() { 0 } else { self.rng.ms(150_000) };
            self.at(at, move |sim| {
                sim.note("clock jumps", |_| format!("{process} {off}"));
                sim.clocks[process] = off;
            });
        }
        for _ in 0..faults.closed_plans {
            let plan = *self.rng.pick(&PLANS).expect("a plan");
            let (at, length) = (self.rng.ms(120_000), 3_000 + self.rng.ms(faults.closed_for));
            self.at(at, move |sim| {
                sim.note("plan closed", |_| format!("{plan} {length}"));
                sim.closed.insert(plan, sim.now + length);
            });
        }
        for _ in 0..faults.full_plans {
            let plan = *self.rng.pick(&PLANS).expect("a plan");
            let (at, length) = (self.rng.ms(120_000), 3_000 + self.rng.ms(60_000));
            self.at(at, move |sim| {
                sim.note("plan full", |_| format!("{plan} {length}"));
                sim.full.insert(plan, sim.now + length);
            });
        }
    }

    /// Graph refuses everything of this plan now.
    pub fn is_closed(&self, plan: &str) -> bool {
        self.closed.get(plan).is_some_and(|until| *until > self.now)
    }

    /// The plan takes no new tasks now.
    pub fn is_full(&self, plan: &str) -> bool {
        self.full.get(plan).is_some_and(|until| *until > self.now)
    }

    pub fn violation(&mut self, what: String) {
        self.note("VIOLATION", |_| what.clone());
        self.violations.push(what);
    }

    /// This process hears of a mark.
    pub fn wake(&mut self, process: usize) {
        if let Some((heard, waker)) = self.heard.get_mut(process) {
            *heard = true;
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

/// The world, shared by the processes and the events.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Sim>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Sim> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a call, once its event has come.
pub struct Answer<T>(Arc<Mutex<(Option<T>, Option<Waker>)>>);

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((None, None))))
    }
}

impl<T> Answer<T> {
    pub fn give(&self, value: T) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.0.is_none() {
            slot.0 = Some(value);
        }
        if let Some(waker) = slot.1.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// More events than this in one play are a circle: it has some ten thousand.
const MOST_EVENTS: u64 = 500_000;

/// How a process runs the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All the time, under the engine's lease.
    Continuous,
    /// One cycle every so often.
    Periodic,
}

struct Process {
    mode: Mode,
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    flag: Arc<Flag>,
    paused_until: i64,
    starts_at: i64,
}

/// The world and the processes in it.
pub struct Stage {
    pub sim: Shared,
    pub settings: Settings,
    processes: Vec<Process>,
    events: u64,
}

/// How long a cycle of the periodic mode may take.
const CYCLE: Duration = Duration::from_secs(10);
/// From its end to the next one.
const BETWEEN_CYCLES: Duration = Duration::from_secs(5);

/// Two to four processes, most of them continuous.
fn modes(seed: u64) -> Vec<Mode> {
    let mut rng = Rng::new(seed ^ 0xcafe);
    let count = 2 + rng.below(3) * u64::from(rng.chance(4_000));
    let periodic = *rng.pick(&[0, 0, 0, 0, 3_000, 10_000]).expect("a chance");
    let mode = |_| if rng.chance(periodic) { Mode::Periodic } else { Mode::Continuous };
    (0..count).map(mode).collect()
}

pub fn settings(external: bool) -> Settings {
    Settings {
        external_id: external.then(|| "org.example.annika".to_owned()),
        lease: Duration::from_secs(3),
        renew: Duration::from_secs(1),
        task_lease: Duration::from_secs(20),
        sweep_every: Duration::from_secs(10),
        poll_every: Duration::from_secs(15),
        rate: Rate { start: 20.0, max: 200.0, burst: 40.0 },
        // Agents of a play delete many of its few tasks; losses of Redis are plays of their own.
        guard: GuardLimits { min: u32::MAX, percent: 100 },
        patience: Patience { first: Duration::from_secs(20), longest: Duration::from_secs(60) },
        ..Settings::default()
    }
}

impl Stage {
    /// A world with as many processes as the seed draws.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let wanted = faults.families;
        let stage = Self::with_modes(seed, faults, modes(seed));
        stage.sim.lock().actors.families = wanted.then(|| families::stream(seed));
        stage
    }

    /// A world with so many continuous processes.
    pub fn of(seed: u64, faults: Faults, processes: usize) -> Self {
        Self::with_modes(seed, faults, vec![Mode::Continuous; processes])
    }

    /// A world with one process that works in cycles.
    pub fn periodic(seed: u64, faults: Faults) -> Self {
        Self::with_modes(seed, faults, vec![Mode::Periodic])
    }

    fn with_modes(seed: u64, faults: Faults, modes: Vec<Mode>) -> Self {
        let processes = modes.len();
        let external = faults.external;
        let mut rng = Rng::new(seed);
        let planner = Planner::new(rng.chance(5_000));
        let sim = Sim {
            now: START,
            rng,
            faults,
            store: Store::default(),
            planner,
            oracle: Oracle::default(),
            actors: Actors::default(),
            graph_writes: 0,
            graph_reads: 0,
            replica: None,
            clocks: vec![0; processes],
            closed: BTreeMap::new(),
            full: BTreeMap::new(),
            broken_plan: None,
            lists: 0,
            lose_next_answer: false,
            late_next_write: None,
            sweeps: 0,
            parts_before: 0,
            lag: None,
            pace: Pace::Dense,
            violations: Vec::new(),
            heard: vec![(false, None); processes],
            lives: vec![0; processes],
            events: BTreeMap::new(),
            sequence: 0,
            trace: DefaultHasher::new(),
            tally: BTreeMap::new(),
            verbose: false,
        };
        let process = |mode| Process {
            mode,
            future: None,
            flag: Arc::new(Flag(AtomicBool::new(true))),
            paused_until: 0,
            starts_at: START,
        };
        let stage = Self {
            sim: Shared(Arc::new(Mutex::new(sim))),
            processes: modes.into_iter().map(process).collect(),
            settings: settings(external),
            events: 0,
        };
        stage.sim.lock().schedule_faults();
        stage
    }

    /// When every process is scheduled again, ms after the start.
    pub fn all_awake(&self) -> i64 {
        self.processes.iter().map(|process| process.paused_until - START).max().unwrap_or(0)
    }

    /// Lets time pass until then, ms after the start.
    pub fn run_until(&mut self, end: i64) {
        loop {
            self.poll_processes();
            let event = {
                let mut sim = self.sim.lock();
                match sim.events.first_key_value() {
                    Some(((at, _), _)) if *at <= START + end => {
                        let ((at, _), event) = sim.events.pop_first().expect("there is one");
                        sim.now = at;
                        event
                    }
                    _ => {
                        sim.now = START + end;
                        return;
                    }
                }
            };
            event(&mut self.sim.lock());
            self.disturb();
            self.events += 1;
            if self.events == MOST_EVENTS && self.sim.lock().pace == Pace::Dense {
                self.sim.lock().violation("so much happens that it goes round in circles".to_owned());
                self.processes.clear();
            }
        }
    }

    fn poll_processes(&mut self) {
        for index in 0..self.processes.len() {
            let now = self.sim.lock().now;
            let process = &mut self.processes[index];
            if process.future.is_none() && process.starts_at <= now {
                self.sim.lock().lives[index] += 1;
                let wire = Wire::new(self.sim.clone(), index);
                let (mode, settings) = (process.mode, self.settings.clone());
                process.future = Some(Box::pin(async move {
                    let engine = Engine::new(wire, settings);
                    loop {
                        match mode {
                            Mode::Continuous => drop(engine.run(std::future::pending()).await),
                            Mode::Periodic => {
                                // A store that did not answer is asked again by the next timer.
                                let _ = engine.run_once(CYCLE).await;
                                engine.world().sleep(BETWEEN_CYCLES).await;
                            }
                        }
                    }
                }));
                process.flag.0.store(true, Ordering::Relaxed);
            }
            let Some(future) = process.future.as_mut() else { continue };
            if process.paused_until > now {
                continue;
            }
            let waker = Waker::from(process.flag.clone());
            while process.flag.0.swap(false, Ordering::Relaxed) {
                let _ = future.as_mut().poll(&mut Context::from_waker(&waker));
            }
        }
    }

    /// This process is not scheduled for so long, ms, and keeps its beliefs.
    pub fn pause(&mut self, process: usize, ms: i64) {
        let mut sim = self.sim.lock();
        sim.note("pause", |_| format!("{process} {ms}"));
        sim.at(ms, |_| {});
        self.processes[process].paused_until = sim.now + ms;
    }

    /// This process dies, and starts anew after so long, ms. What it sent goes on its way.
    pub fn kill(&mut self, process: usize, ms: i64) {
        let mut sim = self.sim.lock();
        sim.note("kill", |_| process.to_string());
        sim.at(ms, |_| {});
        let process = &mut self.processes[process];
        process.future = None;
        process.starts_at = sim.now + ms;
    }

    fn disturb(&mut self) {
        let mut sim = self.sim.lock();
        if self.processes.is_empty() {
            return;
        }
        let (kill, pause) = (sim.faults.kill, sim.faults.pause);
        let index = usize::try_from(sim.rng.below(self.processes.len() as u64)).expect("an index");
        if sim.rng.chance(kill) {
            let away = 50 + sim.rng.ms(3_000);
            drop(sim);
            self.kill(index, away);
        } else if sim.rng.chance(pause) {
            let longest = sim.faults.longest_pause;
            let away = 1_000 + sim.rng.ms(longest);
            drop(sim);
            self.pause(index, away);
        }
    }

    /// A number that stands for everything that happened.
    pub fn trace(&self) -> u64 {
        let sim = self.sim.lock();
        let mut trace = sim.trace.clone();
        sim.store.documents.values().for_each(|document| document.bytes.hash(&mut trace));
        trace.finish()
    }
}
