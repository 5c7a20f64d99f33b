//! How often each plan is listed: all of them often at first, and those where little happens less often when Graph
//! throttles or when the lists would take more than half of the rate.

use std::time::Duration;

use crate::world::PlanSchedule;

/// A plan is hot while its last change is more recent than this, ms.
const HOT_MS: i64 = 3_600_000;
/// A plan is cold when its last change is longer ago than this, ms.
const COLD_MS: i64 = 86_400_000;
/// From this throttle ratio on, plans where little happens are listed less often.
const THROTTLED: f64 = 0.01;
/// From this one on, still less often.
const THROTTLED_MUCH: f64 = 0.05;
/// The part of the rate that lists may take.
const SHARE: f64 = 0.5;
/// A list that was cut short again and again is tried this seldom, in usual intervals.
const LONGEST_BACKOFF: u32 = 10;

/// How much happens in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heat {
    Hot,
    Warm,
    Cold,
}

fn heat(plan: &PlanSchedule, now: i64) -> Heat {
    match now - plan.changed_at {
        quiet if quiet < HOT_MS => Heat::Hot,
        quiet if quiet < COLD_MS => Heat::Warm,
        _ => Heat::Cold,
    }
}

/// How far the intervals are stretched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// 0: all alike; 1: cold plans four times as long; 2: cold ones ten times, warm ones four times.
    level: u8,
    /// All of them are longer by this factor beside that.
    factor: f64,
}

impl Stretch {
    /// Every plan as often as any.
    pub const NONE: Self = Self { level: 0, factor: 1.0 };

    /// The least stretch at which the lists take at most half of `per_second` sub-requests a second, and that the
    /// throttle ratio allows. `every` is the usual interval.
    pub fn needed<'a>(
        plans: impl Iterator<Item = &'a PlanSchedule> + Clone,
        every: Duration,
        per_second: f64,
        throttle_ratio: f64,
        now: i64,
    ) -> Self {
        let least = match throttle_ratio {
            ratio if ratio > THROTTLED_MUCH => 2,
            ratio if ratio > THROTTLED => 1,
            _ => 0,
        };
        let budget = per_second * SHARE;
        let demand = |level| -> f64 {
            let stretch = Self { level, factor: 1.0 };
            let of = |plan: &PlanSchedule| {
                let interval = stretch.interval(plan, every, now).as_secs_f64();
                f64::from(plan.requests.max(1)) / interval.max(0.001)
            };
            plans.clone().map(of).sum()
        };
        let level = (least..2).find(|level| demand(*level) <= budget + 1e-6).unwrap_or(2);
        Self { level, factor: (demand(level) / budget.max(0.001)).max(1.0) }
    }

    /// How long after the beginning of a plan's list the next one is begun.
    fn interval(self, plan: &PlanSchedule, every: Duration, now: i64) -> Duration {
        let times = match (self.level, heat(plan, now)) {
            (0, _) | (_, Heat::Hot) | (1, Heat::Warm) => 1,
            (1, Heat::Cold) | (_, Heat::Warm) => 4,
            (_, Heat::Cold) => 10,
        };
        (every * times).mul_f64(self.factor)
    }

    /// When a plan is listed next, whose last list was begun at `plan.begun_at`: on a tick of the usual interval, so
    /// that plans share batches, and the seldom listed ones not all at the same tick.
    pub fn next(self, id: &str, plan: &PlanSchedule, every: Duration, now: i64) -> i64 {
        let tick = i64::try_from(every.as_millis()).unwrap_or(30_000).max(1);
        let interval = i64::try_from(self.interval(plan, every, now).as_millis()).unwrap_or(tick);
        let backoff = i64::from((1_u32 << plan.failures.saturating_sub(1).min(8)).min(LONGEST_BACKOFF));
        let ticks = (interval.div_euclid(tick) + i64::from(interval % tick > 0)).max(1).max(backoff);
        let own = i64::try_from(spread(id) % u64::try_from(ticks).unwrap_or(1)).unwrap_or(0);
        let begun = plan.begun_at.div_euclid(tick);
        // The first tick after the last list that is this plan's own.
        (begun + 1 + (own - begun - 1).rem_euclid(ticks)) * tick
    }
}

/// A number that is the same for an id in every process (FNV-1a).
fn spread(id: &str) -> u64 {
    id.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);
    const NOW: i64 = 1_764_064_800_000;
    const HOUR: i64 = 3_600_000;

    fn plan(quiet: i64, requests: u32) -> PlanSchedule {
        PlanSchedule { begun_at: NOW, changed_at: NOW - quiet, requests, ..PlanSchedule::default() }
    }

    /// Seconds until the next list: hot, warm, cold. The last of many ids is the one with the longest wait.
    fn waits(stretch: Stretch) -> [i64; 3] {
        [0, 2 * HOUR, 48 * HOUR].map(|quiet| {
            let of = |n: i64| (stretch.next(&format!("p{n}"), &plan(quiet, 1), EVERY, NOW) - NOW) / 1_000;
            (0..200).map(of).max().expect("some")
        })
    }

    fn needed(plans: &[PlanSchedule], per_second: f64, ratio: f64) -> Stretch {
        Stretch::needed(plans.iter(), EVERY, per_second, ratio, NOW)
    }

    #[test]
    fn all_are_hot_until_graph_throttles() {
        let plans = [plan(0, 1), plan(2 * HOUR, 1), plan(48 * HOUR, 1)];
        assert_eq!(needed(&plans, 5.0, 0.009), Stretch::NONE);
        assert_eq!(waits(needed(&plans, 5.0, 0.0)), [30, 30, 30]);
        assert_eq!(waits(needed(&plans, 5.0, 0.02)), [30, 30, 120]);
        assert_eq!(waits(needed(&plans, 5.0, 0.06)), [30, 120, 300]);
    }

    #[test]
    fn lists_take_at_most_half_of_the_rate() {
        let cold: Vec<PlanSchedule> = (0..60).map(|_| plan(48 * HOUR, 1)).collect();
        assert_eq!(waits(needed(&cold, 4.0, 0.0)), [30, 30, 30], "60 lists in 30 s at 2 a second just fit");
        assert_eq!(waits(needed(&cold, 2.0, 0.0)), [30, 30, 120]);
        assert_eq!(waits(needed(&cold, 0.5, 0.0)), [30, 120, 300]);
        let large = [plan(0, 500)];
        assert_eq!(waits(needed(&large, 10.0, 0.0))[0], 120, "500 pages at 5 a second take 100 s");
    }

    #[test]
    fn a_list_that_is_cut_short_again_and_again_is_tried_less_often() {
        let wait = |failures| {
            let plan = PlanSchedule { failures, ..plan(0, 1) };
            let of = |n: i64| (Stretch::NONE.next(&format!("p{n}"), &plan, EVERY, NOW) - NOW) / 1_000;
            (0..200).map(of).max().expect("some")
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 9, u32::MAX].map(wait), [30, 30, 60, 120, 240, 300, 300, 300]);
    }

    #[test]
    fn cold_plans_are_spread_over_the_ticks_and_each_is_listed_once_an_interval() {
        let stretch = needed(&[plan(48 * HOUR, 1)], 5.0, 0.06);
        let mut ticks = std::collections::BTreeMap::<i64, u32>::new();
        for n in 0..100 {
            let id = format!("plan-{n}");
            let first = stretch.next(&id, &plan(48 * HOUR, 1), EVERY, NOW);
            *ticks.entry(first).or_default() += 1;
            let again = PlanSchedule { begun_at: first + 700, ..plan(48 * HOUR, 1) };
            assert_eq!(stretch.next(&id, &again, EVERY, NOW) - first, 300_000);
        }
        assert_eq!(ticks.len(), 10);
        assert!(ticks.values().all(|plans| *plans >= 3), "{ticks:?}");
    }
}
