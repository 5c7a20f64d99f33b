//! What the engine measures of itself: how long changes take, how much of the traffic is refused, how whole lists are.

use std::collections::VecDeque;

/// Upper bounds of the buckets of a [`Histogram`], in milliseconds; one more bucket takes what is longer.
///
/// 1.5 s, 10 s, 17 s, 31 s and 33 s are the targets of uploads and downloads.
pub const BUCKETS_MS: [u64; 14] =
    [100, 250, 500, 1_000, 1_500, 2_500, 5_000, 10_000, 17_000, 31_000, 33_000, 60_000, 300_000, 3_600_000];

/// How long something took, counted in buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS_MS.len() + 1],
    sum_ms: u64,
}

impl Histogram {
    /// Counts one duration, in milliseconds; one below 0 counts as 0.
    pub fn add(&mut self, ms: i64) {
        let ms = u64::try_from(ms).unwrap_or(0);
        let bucket = BUCKETS_MS.iter().position(|bound| ms <= *bound).unwrap_or(BUCKETS_MS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    /// The sum of all durations, in milliseconds.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For each bound of [`BUCKETS_MS`], how many durations were no longer than it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        BUCKETS_MS.into_iter().zip(self.counts).map(move |(bound, count)| {
            sum += count;
            (bound, sum)
        })
    }

    /// The bound below which `share` (0 to 1) of the durations lie, in milliseconds; `None` where nothing was
    /// counted or the bound is beyond the last bucket.
    pub fn quantile_ms(&self, share: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        self.cumulative().find(|(_, below)| *below as f64 >= wanted).map(|(bound, _)| bound)
    }
}

/// Length of the window of [`Traffic`], in milliseconds.
pub const WINDOW_MS: i64 = 5 * 60 * 1_000;
const SLOT_MS: i64 = 15_000;

/// Requests and refusals of the last five minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic(VecDeque<Slot>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    at: i64,
    requests: u64,
    throttled: u64,
}

impl Traffic {
    /// Counts sub-requests that were sent at `now` ms, and those that were answered with "too many".
    pub fn add(&mut self, requests: u64, throttled: u64, now: i64) {
        let at = now.div_euclid(SLOT_MS) * SLOT_MS;
        match self.0.back_mut() {
            Some(slot) if slot.at == at => {
                slot.requests += requests;
                slot.throttled += throttled;
            }
            _ => self.0.push_back(Slot { at, requests, throttled }),
        }
        self.0.retain(|slot| now - slot.at <= WINDOW_MS);
    }

    /// Which share of the sub-requests of the five minutes before `now` was refused as too many, 0 to 1.
    pub fn throttle_ratio(&self, now: i64) -> f64 {
        let recent = || self.0.iter().filter(|slot| now - slot.at <= WINDOW_MS);
        let requests: u64 = recent().map(|slot| slot.requests).sum();
        let throttled: u64 = recent().map(|slot| slot.throttled).sum();
        if throttled == 0 { 0.0 } else { (throttled as f64 / requests.max(throttled) as f64).min(1.0) }
    }
}

/// How many lists of a plan were begun, and how many came whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Lists that were asked for.
    pub begun: u64,
    /// Lists that came whole.
    pub complete: u64,
    /// When the last whole one came, ms.
    pub last_complete: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_holds_them() {
        let mut lag = Histogram::default();
        for ms in [-5, 0, 100, 101, 1_500, 9_999, 4_000_000] {
            lag.add(ms);
        }
        assert_eq!((lag.count(), lag.sum_ms()), (7, 100 + 101 + 1_500 + 9_999 + 4_000_000));
        let below: Vec<u64> = lag.cumulative().map(|(_, count)| count).collect();
        assert_eq!(below, [3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6]);
        assert_eq!(lag.quantile_ms(0.5), Some(250));
        assert_eq!(lag.quantile_ms(1.0), None, "beyond the last bucket");
        assert_eq!(Histogram::default().quantile_ms(0.5), None);
    }

    #[test]
    fn the_throttle_ratio_forgets_after_five_minutes() {
        let mut traffic = Traffic::default();
        traffic.add(100, 0, 0);
        traffic.add(0, 5, 1_000);
        assert!((traffic.throttle_ratio(60_000) - 0.05).abs() < 1e-9);
        assert!(traffic.throttle_ratio(WINDOW_MS + SLOT_MS + 1) == 0.0);
        traffic.add(10, 0, WINDOW_MS + SLOT_MS + 1);
        assert_eq!(traffic.0.len(), 1, "old slots are dropped");
        let mut silent = Traffic::default();
        silent.add(0, 3, 0);
        assert!((silent.throttle_ratio(0) - 1.0).abs() < 1e-9, "never above one");
    }
}
