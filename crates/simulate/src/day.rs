//! A day simulated: one person and three agents at work under mild faults, with the product's own settings.

use annika_sync::{
    engine::Settings,
    world::{Direction, Event},
};

use crate::world::{
    actors::{self, Pace},
    checks::at_the_end,
    faults::Faults,
    lag::Lag,
    sim::Stage,
};

const HOUR: i64 = 3_600_000;

/// What a day was like.
#[derive(Debug)]
pub struct Day {
    /// Name of a figure and its value.
    pub figures: Vec<(&'static str, String)>,
    /// What is wrong at its end.
    pub wrong: Vec<String>,
}

/// What goes wrong on an ordinary day.
fn mild() -> Faults {
    Faults {
        kill: 1,
        pause: 1,
        longest_pause: 30_000,
        store: 1,
        graph: 20,
        batch: 5,
        throttle: 50,
        broken: 20,
        absent: 5,
        list: 50,
        lag: 2_000,
        failovers: 1,
        clocks: 500,
        ..Faults::default()
    }
}

/// Plays 24 hours.
pub fn play(seed: u64) -> Day {
    let mut stage = Stage::of(seed, mild(), 2);
    stage.settings = Settings::default();
    {
        let mut sim = stage.sim.lock();
        (sim.pace, sim.lag) = (Pace::Office, Some(Lag::default()));
    }
    actors::begin(&stage.sim, 24 * HOUR);
    let mut held = 0;
    for hour in 1..=24 {
        stage.run_until(hour * HOUR);
        held += release(&stage);
    }
    stage.sim.lock().faults = Faults::default();
    stage.run_until(stage.all_awake().max(24 * HOUR) + HOUR / 2);
    held += release(&stage);
    stage.run_until(stage.all_awake().max(24 * HOUR) + HOUR);
    let sim = stage.sim.lock();
    let wrong = at_the_end(&sim);
    let tally = |what: &str| sim.tally.get(what).copied().unwrap_or(0).to_string();
    let (mut changes, mut requests, mut conflicts, mut losers) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (_, event) in &sim.store.events {
        match event {
            Event::Synced { direction: Direction::Up, requests: took, .. } => {
                changes += 1;
                requests += u64::from(*took);
            }
            Event::Conflict { lost, .. } => {
                conflicts += 1;
                losers += u64::from(!lost.is_null());
            }
            _ => {}
        }
    }
    let lag = sim.lag.clone().unwrap_or_default();
    let mut figures = vec![
        ("writes by agents", tally("agent writes")),
        ("edits by the person", tally("person edits")),
        ("tasks at the end", sim.planner.tasks.len().to_string()),
        ("conflicts", conflicts.to_string()),
        ("losers logged", losers.to_string()),
    ];
    let lags = [
        ("lag up, told, p50/p99 (s)", lag.told_up),
        ("lag up, not told, p50/p99 (s)", lag.swept_up),
        ("lag down, p50/p99 (s)", lag.down),
    ];
    for (name, mut all) in lags {
        all.sort_unstable();
        let (p50, p99) = (percentile(&all, 50), percentile(&all, 99));
        figures.push((name, format!("{p50} / {p99} of {} values", all.len())));
    }
    figures.extend([
        ("uploads", changes.to_string()),
        ("Graph requests per upload", ratio(requests, changes)),
        ("writes to Graph", sim.graph_writes.to_string()),
        ("echo writes to Graph", sim.planner.echoes.to_string()),
        ("deletions that the guard held, released within the hour", held.to_string()),
        ("throttled (429, 503)", tally("throttled")),
        ("processes killed", tally("kill")),
        ("failovers", tally("failover")),
        ("unknown outcomes", tally("graph fault")),
    ]);
    Day { figures, wrong }
}

/// What an operator does who is told that deletions are held: this office makes and deletes more tasks a day than the
/// guard lets through by itself.
fn release(stage: &Stage) -> usize {
    let mut sim = stage.sim.lock();
    let now = sim.now;
    let held = sim.store.release(now);
    if held > 0 {
        (0..2).for_each(|process| sim.wake(process));
    }
    held
}

/// The so-manieth percentile, in seconds.
fn percentile(sorted: &[i64], percent: usize) -> String {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or("-".to_owned(), |ms| format!("{}.{:02}", ms / 1_000, ms % 1_000 / 10))
}

fn ratio(n: u64, of: u64) -> String {
    let hundredths = n * 100 / of.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
