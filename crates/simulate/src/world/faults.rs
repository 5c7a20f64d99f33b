//! What goes wrong, drawn per seed: all faults at once would hide states, so each seed has a mixture of its own.

use super::sim::Rng;

/// Chances are in 10,000.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// At each event: a process is killed.
    pub kill: u64,
    /// At each event: a process is not scheduled for a while and keeps its beliefs.
    pub pause: u64,
    /// The longest of these pauses, ms.
    pub longest_pause: u64,
    /// A call of the store fails: it did not arrive, its reply was lost, or it arrives late.
    pub store: u64,
    /// A request to Graph fails in one of the same ways.
    pub graph: u64,
    /// A whole batch is refused, or breaks off in the middle.
    pub batch: u64,
    /// One item of a batch is throttled.
    pub throttle: u64,
    /// One item of a batch is answered 500, done or not.
    pub broken: u64,
    /// A task that is there is answered 404.
    pub absent: u64,
    /// A task that is ours is answered 403.
    pub forbidden: u64,
    /// A list is cut short, refused, or lacks what it should show.
    pub list: u64,
    /// How old a list may be, ms.
    pub lag: u64,
    /// How often Redis falls back to what a replica had, up to a second ago.
    pub failovers: u64,
    /// How far the processes' clocks are apart at most, ms. They jump within that.
    pub clocks: u64,
    /// A plan is refused for a while, so many times.
    pub closed_plans: u64,
    /// For how long at most, ms.
    pub closed_for: u64,
    /// A plan takes no new tasks for up to a minute, so many times.
    pub full_plans: u64,
    /// A token takes seconds, or is not to be had.
    pub token: u64,
    /// Creates carry an id of ours (no fault: another way).
    pub external: bool,
    /// An agent writes documents that name a parent (no fault: a habit).
    pub families: bool,
}

impl Faults {
    /// The mixture of a seed, with an agent that writes child documents.
    pub fn of_families(seed: u64) -> Self {
        Self { families: true, ..Self::of(seed) }
    }

    /// The mixture of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut draw = |of: &[u64]| rng.pick(of).copied().unwrap_or_default();
        Self {
            kill: draw(&[0, 5, 20, 60]),
            pause: draw(&[0, 0, 3, 10]),
            longest_pause: draw(&[5_000, 30_000, 150_000]),
            store: draw(&[0, 0, 20, 100]),
            graph: draw(&[0, 100, 300]),
            batch: draw(&[0, 0, 100]),
            throttle: draw(&[0, 200, 400]),
            broken: draw(&[0, 100, 200]),
            absent: draw(&[0, 0, 100]),
            forbidden: draw(&[0, 0, 0, 50]),
            list: draw(&[0, 300, 1_000]),
            lag: draw(&[0, 2_000, 8_000]),
            failovers: draw(&[0, 0, 1, 2]),
            clocks: draw(&[0, 0, 500, 1_500]),
            closed_plans: draw(&[0, 0, 0, 0, 1]),
            token: draw(&[0, 0, 200]),
            external: draw(&[0, 0, 1]) == 1,
            families: false,
            closed_for: draw(&[27_000, 27_000, 90_000]),
            full_plans: draw(&[0, 0, 0, 1, 2]),
        }
    }
}
