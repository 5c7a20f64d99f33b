//! The engine over the world in memory: seeded faults, then quiet, then what must hold.

use std::{
    collections::BTreeMap,
    ops::Range,
    panic::catch_unwind,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::world::{actors, checks::at_the_end, faults::Faults, sim::Stage, store::word};

/// How long agents, people and faults act, ms.
const ACTIVE: i64 = 150_000;
/// So long after that, and after the last process has woken up, both sides must agree, ms.
const SETTLES: i64 = 240_000;
/// For so long nothing may be written then: ten cycles, ms.
const QUIET: i64 = 150_000;

/// What a play was like.
#[derive(Debug, Default, PartialEq)]
pub struct Played {
    /// Stands for everything that happened.
    pub trace: u64,
    /// How often what happened.
    pub tally: BTreeMap<&'static str, u64>,
}

/// Plays a seed; what it was like, or what is wrong.
pub fn play(seed: u64, faults: Faults) -> Result<Played, Vec<String>> {
    // A defect that panics fails its seed, not the whole run.
    let played = catch_unwind(|| play_on(Stage::new(seed, faults)));
    played.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(vec![format!("panicked: {said}")])
    })
}

/// The same, and says everything that happens on stderr.
pub fn trace(seed: u64, faults: Faults) -> Result<Played, Vec<String>> {
    let stage = Stage::new(seed, faults);
    stage.sim.lock().verbose = true;
    play_on(stage)
}

fn play_on(mut stage: Stage) -> Result<Played, Vec<String>> {
    actors::begin(&stage.sim, ACTIVE);
    stage.run_until(ACTIVE);
    stage.sim.lock().faults = Faults::default();
    let settled = stage.all_awake().max(ACTIVE) + SETTLES;
    stage.run_until(settled);
    let (writes, wrong) = {
        let sim = stage.sim.lock();
        ((sim.graph_writes, sim.graph_reads, sim.store.document_writes), at_the_end(&sim))
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    stage.run_until(settled + QUIET);
    let trace = stage.trace();
    let sim = stage.sim.lock();
    let later = (sim.graph_writes, sim.graph_reads, sim.store.document_writes);
    if writes != later {
        return Err(vec![format!(
            "at rest, from {writes:?} to {later:?}: Graph writes and reads, documents"
        )]);
    }
    let mut tally = sim.tally.clone();
    *tally.entry("creates told apart by a guess").or_default() += sim.actors.guessed.len() as u64;
    for (_, event) in &sim.store.events {
        *tally.entry(word(event)).or_default() += 1;
    }
    Ok(Played { trace, tally })
}

/// What a run of many seeds gave.
#[derive(Debug, Default)]
pub struct Run {
    /// How often what happened over all of them.
    pub tally: BTreeMap<&'static str, u64>,
    /// Seeds that failed, and what was wrong.
    pub failed: BTreeMap<u64, Vec<String>>,
}

/// Plays the seeds on `threads` threads; `each` hears of every one that is done, and what is wrong with it.
///
/// `twice` plays each of them again: it must be the same play.
pub fn run(
    seeds: Range<u64>,
    threads: usize,
    faults: fn(u64) -> Faults,
    twice: bool,
    each: impl Fn(u64, &[String]) + Sync,
) -> Run {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut run = Run::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return run;
            }
            let mut played = play(seed, faults(seed));
            if twice && play(seed, faults(seed)) != played {
                played = Err(vec!["the second time, something else happened".to_owned()]);
            }
            each(seed, played.as_ref().err().map_or(&[], Vec::as_slice));
            match played {
                Ok(played) => {
                    played.tally.into_iter().for_each(|(what, n)| *run.tally.entry(what).or_default() += n)
                }
                Err(wrong) => {
                    run.failed.insert(seed, wrong);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut whole = Run::default();
        for worker in workers {
            let part = worker.join().expect("a play does not panic");
            part.tally.into_iter().for_each(|(what, n)| *whole.tally.entry(what).or_default() += n);
            whole.failed.extend(part.failed);
        }
        whole
    })
}

/// The first of the seeds that fails, and what is wrong with it.
///
/// # Panics
/// When a thread of its own does.
pub fn first_failure(
    seeds: Range<u64>,
    threads: usize,
    faults: fn(u64) -> Faults,
) -> Option<(u64, Vec<String>)> {
    let (next, found) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let work = || {
        let mut first = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end.min(found.load(Ordering::Relaxed)) {
                return first;
            }
            if let Err(wrong) = play(seed, faults(seed)) {
                found.fetch_min(seed, Ordering::Relaxed);
                first.get_or_insert((seed, wrong));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let firsts = workers.into_iter().filter_map(|worker| worker.join().expect("it does not panic"));
        firsts.min_by_key(|(seed, _)| *seed)
    })
}
