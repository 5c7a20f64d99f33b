//! The engine over the world in memory: seeded faults, then quiet, then what must hold.

use crate::world::{
    actors,
    checks::at_the_end,
    sim::{Faults, Rng, Stage},
};

/// How long agents, people and faults act, ms.
const ACTIVE: i64 = 150_000;
/// By then both sides must agree, ms.
const SETTLED: i64 = ACTIVE + 240_000;
/// Until then nothing may be written any more, ms.
const QUIET: i64 = SETTLED + 120_000;

/// Each seed draws its own mixture of what goes wrong.
fn faults(seed: u64) -> Faults {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let mut draw = |of: &[u64]| *rng.pick(of).expect("a choice");
    Faults {
        kill: draw(&[0, 5, 20, 60]),
        pause: draw(&[0, 0, 3, 10]),
        store: draw(&[0, 0, 20, 100]),
        graph: draw(&[0, 100, 300]),
        throttle: draw(&[0, 200, 400]),
        broken: draw(&[0, 100, 200]),
        absent: draw(&[0, 0, 100]),
        list: draw(&[0, 300, 1_000]),
        lag: draw(&[0, 2_000, 8_000]),
    }
}

/// Plays a seed; its trace, or what is wrong.
fn play(seed: u64, faults: Faults) -> Result<u64, Vec<String>> {
    let mut stage = Stage::new(seed, faults, 2);
    actors::begin(&stage.sim, ACTIVE);
    stage.run_until(ACTIVE);
    stage.sim.lock().faults = Faults::default();
    stage.run_until(SETTLED);
    let (writes, wrong) = {
        let sim = stage.sim.lock();
        ((sim.graph_writes, sim.store.document_writes), at_the_end(&sim))
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    stage.run_until(QUIET);
    let sim = stage.sim.lock();
    if writes != (sim.graph_writes, sim.store.document_writes) {
        return Err(vec!["writes at rest".to_owned()]);
    }
    drop(sim);
    Ok(stage.trace())
}

fn check(seeds: impl Iterator<Item = u64>, faults: impl Fn(u64) -> Faults) {
    let mut failed = Vec::new();
    for seed in seeds {
        if let Err(wrong) = play(seed, faults(seed)) {
            failed.push(format!("seed {seed}: {}", wrong.join("; ")));
        }
    }
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
}

/// `ANNIKA_SIM_SEEDS` (`from..to`) plays others than the usual ones.
fn seeds(usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let asked = std::env::var("ANNIKA_SIM_SEEDS").ok();
    let parse = |text: String| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    asked.and_then(parse).unwrap_or(usual)
}

#[test]
fn without_faults_both_sides_agree() {
    check(seeds(0..60), |_| Faults::default());
}

#[test]
fn with_faults_both_sides_agree_and_nothing_is_lost() {
    check(seeds(0..300), faults);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..6 {
        assert_eq!(play(seed, faults(seed)), play(seed, faults(seed)), "seed {seed}");
    }
}
