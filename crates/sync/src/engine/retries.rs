//! Retries: how soon, how often, and which part of the traffic they may be. Fresh work goes first.

use std::{collections::VecDeque, time::Duration};

use super::{Engine, drain::Decision, outcome::After, task::Task};
use crate::{
    mutants::{Mutant, removed},
    state::{Again, digest},
    world::{Local, World},
};

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_mins(5);
/// Tries before a task stands in the failed list; from then on it is tried rarely.
const ATTEMPTS: u32 = 12;
/// While Graph answers nobody, it is no task's fault: no more tries than these count.
const WHILE_DOWN: u32 = 4;
/// A task in the failed list is tried again after this long, then half as often each time, ms.
const RARELY_MS: i64 = 15 * 60_000;
/// Repeats may be one in so many requests of the last minute.
const SHARE: u32 = 10;
/// A quiet system still repeats so many a minute.
const FLOOR: u32 = 60;
const MINUTE_MS: i64 = 60_000;
const SLOT_MS: i64 = 5_000;

/// The requests of the last minute, and those among them that had been tried before.
#[derive(Debug, Default)]
pub(super) struct Budget(VecDeque<Slot>);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    at: i64,
    requests: u32,
    repeats: u32,
}

impl Budget {
    /// So many requests are sent, so many of them again.
    pub(super) fn sent(&mut self, requests: u32, repeats: u32, now: i64) {
        let at = now.div_euclid(SLOT_MS) * SLOT_MS;
        // A clock that was set back begins anew.
        self.0.retain(|slot| (0..=MINUTE_MS).contains(&(now - slot.at)));
        match self.0.back_mut() {
            Some(slot) if slot.at == at => {
                slot.requests += requests;
                slot.repeats += repeats;
            }
            _ => self.0.push_back(Slot { at, requests, repeats }),
        }
    }

    /// Whether so many more repeats may be sent now.
    fn allows(&self, more: u32, now: i64) -> bool {
        let recent = || self.0.iter().filter(|slot| (0..=MINUTE_MS).contains(&(now - slot.at)));
        let requests: u32 = recent().map(|slot| slot.requests).sum();
        let repeats: u32 = recent().map(|slot| slot.repeats).sum();
        repeats + more <= FLOOR.max(requests / SHARE)
    }
}

/// Whether what the task asks for was tried before.
fn is_repeat(task: &Task) -> bool {
    task.snapshot.state.attempts > 0
}

fn digest_of(local: &Local) -> String {
    match local {
        Local::Present { bytes, .. } => digest(bytes),
        Local::Missing => String::new(),
        Local::Unreadable { code, .. } => (*code).to_owned(),
    }
}

fn requests(decision: &Decision) -> u32 {
    u32::try_from(decision.requests.len()).unwrap_or(u32::MAX)
}

impl<W: World> Engine<W> {
    /// Why a repeat has to wait for fresh work: for how long. `taken` is what was promised to others of its group.
    pub(super) fn over_budget(&self, task: &Task, count: usize, taken: &mut u32) -> Option<Duration> {
        if count == 0 || !is_repeat(task) || removed(Mutant::RetryBudget) {
            return None;
        }
        let more = *taken + u32::try_from(count).unwrap_or(u32::MAX);
        if self.shared().budget.allows(more, self.world.now_ms()) {
            *taken = more;
            return None;
        }
        self.count("retries_put_off", 1);
        Some(Duration::from_millis(5_000 + self.world.random() % 25_000))
    }

    /// A task that was tried a moment ago waits for its time, whatever marks it: for how long.
    pub(super) fn not_yet(&self, task: &Task) -> Option<Duration> {
        let state = &task.snapshot.state;
        let again = state.again.as_ref().filter(|_| state.attempts > 0)?;
        let left = again.at - self.world.now_ms();
        (left > 0 && again.digest == digest_of(&task.snapshot.local))
            .then(|| crate::plan::millis(left).min(LONGEST))
    }

    /// Counts the repeats that are about to be sent.
    pub(super) fn spend_budget(&self, tasks: &[Task], decided: &[Decision]) {
        let sent =
            tasks.iter().zip(decided).filter(|(task, decision)| decision.hold.is_none() && is_repeat(task));
        let repeats = sent.map(|(_, decision)| requests(decision)).sum();
        if repeats > 0 {
            let now = self.world.now_ms();
            self.shared().budget.sent(0, repeats, now);
        }
    }

    /// A request brought nothing, and may do so the next time.
    pub(super) fn try_later(&self, task: &mut Task) -> After {
        let down = self.graph_is_down();
        let state = task.state();
        if !down || state.attempts < WHILE_DOWN {
            state.attempts += 1;
        }
        let attempts = state.attempts;
        if attempts < ATTEMPTS || down {
            let wait = self.backoff(attempts, LONGEST);
            let at = self.world.now_ms() + i64::try_from(wait.as_millis()).unwrap_or(0);
            let digest = digest_of(&task.snapshot.local);
            task.state().again = Some(Again { at, digest });
            return After::Wait(wait);
        }
        let message =
            format!("Graph gave no usable answer to {attempts} tries: it is tried again, but rarely");
        self.park(task, "graph_unanswered", message, RARELY_MS << (attempts - ATTEMPTS).min(5));
        After::Plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_a_tenth_of_the_last_minutes_requests() {
        let mut budget = Budget::default();
        budget.sent(2_000, 0, 0);
        assert!(budget.allows(200, 1_000) && !budget.allows(201, 1_000));
        budget.sent(0, 150, 2_000);
        assert!(budget.allows(50, 3_000) && !budget.allows(51, 3_000));
        assert!(budget.allows(FLOOR, 120_000) && !budget.allows(FLOOR + 1, 120_000), "a quiet minute later");
    }

    #[test]
    fn a_quiet_system_still_repeats() {
        let mut budget = Budget::default();
        assert!(budget.allows(FLOOR, 0) && !budget.allows(FLOOR + 1, 0));
        budget.sent(FLOOR, FLOOR, 0);
        assert!(!budget.allows(1, 59_000), "all of it was used");
        assert!(budget.allows(1, 66_000));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let mut budget = Budget::default();
        budget.sent(60, 60, 1_000_000);
        assert!(budget.allows(1, 0));
    }
}
