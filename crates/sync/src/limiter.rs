//! How fast Graph may be asked: a token bucket and a number of requests at a time, both of which grow while Graph
//! keeps up and halve when it does not.

use std::time::Duration;

use crate::world::Pace;

/// Settings of the limiter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Sub-requests a second at the start.
    pub start: f64,
    /// Never more than this many a second.
    pub max: f64,
    /// Sub-requests that may go at once after a quiet time.
    pub burst: f64,
}

/// Never slower than this, sub-requests a second.
const FLOOR: f64 = 0.5;
/// Of the bucket, this much is left for work that somebody waits for.
const RESERVE: f64 = 0.25;
/// Batches in a row without a throttling until one more may be under way.
const GOOD_BATCHES: u32 = 20;
/// The number of requests at a time grows to this many times what it was at the start.
const GROWTH: usize = 4;
/// Counts of requests for the throttle ratio are halved this often, ms.
const HALF_LIFE: i64 = 300_000;
/// The first wait after a throttling without `Retry-After`; each further one in a row doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Doublings of that wait.
const DOUBLINGS: u32 = 7;

/// The bucket. Times are milliseconds of any clock that does not go backwards.
#[derive(Clone, Debug)]
pub struct Limiter {
    rate: Rate,
    per_second: f64,
    tokens: f64,
    at: i64,
    grown_at: i64,
    throttled_at: Option<i64>,
    busy: bool,
    /// Requests at a time: at the start, and now.
    slots: (usize, usize),
    good: u32,
    in_a_row: u32,
    sent: f64,
    refused: f64,
    halved_at: i64,
}

impl Limiter {
    /// A full bucket.
    pub fn new(rate: Rate, concurrency: usize, now: i64) -> Self {
        let per_second = rate.start.clamp(FLOOR, rate.max.max(FLOOR));
        let concurrency = concurrency.max(1);
        Self {
            rate,
            per_second,
            tokens: rate.burst,
            at: now,
            grown_at: now,
            throttled_at: None,
            busy: false,
            slots: (concurrency, concurrency),
            good: 0,
            in_a_row: 0,
            sent: 0.0,
            refused: 0.0,
            halved_at: now,
        }
    }

    /// Goes on with what another process found out.
    pub fn adopt(&mut self, pace: Pace, now: i64) {
        let start = self.rate.start;
        // Settings that were raised since count, unless Graph itself said what is too much.
        let found = if pace.throttled { pace.per_second } else { pace.per_second.max(start) };
        self.per_second = found.clamp(FLOOR, self.rate.max.max(FLOOR));
        self.slots.1 = pace.concurrency.clamp(1, self.slots.0 * GROWTH);
        if pace.throttled {
            // Long enough ago to be no part of a burst that is heard of now.
            self.throttled_at.get_or_insert(now - 60_000);
        }
        self.grown_at = now;
    }

    /// What a successor goes on with.
    pub fn pace(&self) -> Pace {
        Pace {
            per_second: self.per_second,
            concurrency: self.slots.1,
            throttled: self.throttled_at.is_some(),
        }
    }

    /// Sub-requests a second now.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// HTTP requests at a time now.
    pub fn concurrency(&self) -> usize {
        self.slots.1
    }

    fn fill(&mut self, now: i64) {
        let elapsed = f64::from(u32::try_from((now - self.at).max(0)).unwrap_or(u32::MAX)) / 1000.0;
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.rate.burst);
        self.at = self.at.max(now);
    }

    /// How many tokens could be used within this time. Work that would have to wait longer is better not begun.
    pub fn room(&mut self, within: Duration, now: i64) -> usize {
        self.fill(now);
        whole(self.tokens + within.as_secs_f64() * self.per_second)
    }

    /// The same for work that nobody waits for, which leaves a reserve.
    pub fn room_low(&mut self, within: Duration, now: i64) -> usize {
        self.fill(now);
        whole(self.tokens + within.as_secs_f64() * self.per_second - self.rate.burst * RESERVE)
    }

    /// Takes `count` tokens and says how long to wait before using them.
    pub fn take(&mut self, count: u32, now: i64) -> Duration {
        self.fill(now);
        self.grow(now);
        self.tokens -= f64::from(count);
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        self.busy = true;
        Duration::from_secs_f64(-self.tokens / self.per_second)
    }

    /// Takes `count` tokens for work that nobody waits for, if they are there beside the reserve; else says after
    /// which time to ask again. It never makes others wait.
    pub fn take_low(&mut self, count: u32, now: i64) -> Duration {
        self.fill(now);
        self.grow(now);
        let needed = (f64::from(count) + self.rate.burst * RESERVE).min(self.rate.burst);
        if self.tokens + 1e-9 >= needed {
            self.tokens -= f64::from(count);
            return Duration::ZERO;
        }
        self.busy = true;
        Duration::from_secs_f64((needed - self.tokens) / self.per_second).max(Duration::from_millis(1))
    }

    /// Doubles every ten seconds of demand until the first throttling, then adds 5 % a minute.
    fn grow(&mut self, now: i64) {
        let (period, factor) = if self.throttled_at.is_some() { (60_000, 1.05) } else { (10_000, 2.0) };
        if now - self.grown_at >= period {
            if self.busy {
                self.per_second = (self.per_second * factor).min(self.rate.max);
            }
            self.busy = false;
            self.grown_at = now;
        }
    }

    /// Graph answered a batch of `count` requests, `refused` of which it throttled.
    pub fn answered(&mut self, count: u32, refused: u32, now: i64) {
        self.age(now);
        self.sent += f64::from(count);
        self.refused += f64::from(refused);
        if refused > 0 {
            return;
        }
        self.in_a_row = 0;
        self.good += 1;
        if self.good >= GOOD_BATCHES {
            self.good = 0;
            self.slots.1 = (self.slots.1 + 1).min(self.slots.0 * GROWTH);
        }
    }

    fn age(&mut self, now: i64) {
        while now - self.halved_at >= HALF_LIFE {
            (self.sent, self.refused) = (self.sent / 2.0, self.refused / 2.0);
            self.halved_at += HALF_LIFE;
            if self.sent < 0.01 {
                self.halved_at = now;
            }
        }
    }

    /// The part of the requests of the last minutes that Graph throttled, 0 to 1.
    pub fn throttle_ratio(&mut self, now: i64) -> f64 {
        self.age(now);
        if self.sent < 1.0 { 0.0 } else { (self.refused / self.sent).min(1.0) }
    }

    /// How likely optional work should be dropped, 0 to 1: the more of what is sent Graph throttles, the less of
    /// what could wait is sent at all (client-side throttling of Google's SRE book, with K = 2).
    pub fn rejection(&mut self, now: i64) -> f64 {
        self.age(now);
        let accepted = self.sent - self.refused;
        ((self.sent - 2.0 * accepted) / (self.sent + 1.0)).max(0.0)
    }

    /// Graph throttled: half the rate and half the requests at a time. Further words of it within a second are about
    /// the same burst. Says how long to wait where Graph did not: twice as long each time in a row.
    pub fn throttled(&mut self, now: i64) -> Duration {
        if self.throttled_at.is_none_or(|at| now - at >= 1_000) {
            self.throttled_at = Some(now);
            self.per_second = (self.per_second / 2.0).max(FLOOR);
            self.tokens = self.tokens.min(0.0);
            self.grown_at = now;
            self.slots.1 = (self.slots.1 / 2).max(1);
            self.good = 0;
            self.in_a_row += 1;
        }
        FIRST_WAIT * 2_u32.pow((self.in_a_row.max(1) - 1).min(DOUBLINGS))
    }
}

fn whole(room: f64) -> usize {
    if room >= 1.0 { room.floor() as usize } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { start: 5.0, max: 100.0, burst: 40.0 };

    fn limiter() -> Limiter {
        Limiter::new(RATE, 4, 0)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut limiter = limiter();
        assert_eq!(limiter.take(40, 0), Duration::ZERO);
        assert_eq!(limiter.take(5, 0), Duration::from_secs(1));
        assert_eq!(limiter.take(5, 0), Duration::from_secs(2));
        assert_eq!(limiter.take(5, 3_000), Duration::ZERO);
    }

    #[test]
    fn demand_doubles_the_rate_until_it_is_throttled() {
        let mut limiter = limiter();
        limiter.take(60, 0);
        limiter.take(1, 10_000);
        assert!((limiter.per_second() - 10.0).abs() < 1e-9);
        limiter.throttled(10_000);
        assert!((limiter.per_second() - 5.0).abs() < 1e-9);
        limiter.take(60, 11_000);
        limiter.take(1, 71_000);
        assert!((limiter.per_second() - 5.25).abs() < 1e-9);
    }

    #[test]
    fn quiet_time_does_not_raise_the_rate() {
        let mut limiter = limiter();
        for second in 0..100 {
            limiter.take(1, second * 1_000);
        }
        assert!((limiter.per_second() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn room_is_what_can_be_used_in_time() {
        let mut limiter = limiter();
        assert_eq!((limiter.room(Duration::ZERO, 0), limiter.room_low(Duration::ZERO, 0)), (40, 30));
        limiter.take(60, 0);
        assert_eq!(limiter.room(Duration::ZERO, 0), 0);
        assert_eq!(limiter.room(Duration::from_secs(6), 0), 10);
        assert_eq!(limiter.room(Duration::ZERO, 5_000), 5);
    }

    #[test]
    fn what_nobody_waits_for_never_makes_others_wait() {
        let mut limiter = limiter();
        assert_eq!(limiter.take_low(20, 0), Duration::ZERO);
        assert_eq!(limiter.take_low(20, 0), Duration::from_secs(2), "10 of the 40 are left to others");
        assert_eq!(limiter.take(20, 0), Duration::ZERO, "it has taken nothing");
        assert!(!limiter.take_low(20, 4_000).is_zero());
        assert!(limiter.take_low(20, 6_000).is_zero(), "and it comes to its turn");
    }

    #[test]
    fn work_that_waits_for_tokens_is_demand() {
        let mut limiter = limiter();
        limiter.take_low(20, 0);
        limiter.take_low(20, 0);
        limiter.take_low(1, 10_000);
        assert!((limiter.per_second() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_batch_larger_than_the_bucket_goes_when_the_bucket_is_full() {
        let mut limiter = Limiter::new(Rate { burst: 4.0, ..RATE }, 4, 0);
        assert!(limiter.take_low(20, 0).is_zero());
        assert!(!limiter.take_low(20, 3_000).is_zero());
        assert!(limiter.take_low(20, 4_000).is_zero());
    }

    #[test]
    fn twenty_throttled_items_of_one_batch_halve_the_rate_once() {
        let mut limiter = limiter();
        for _ in 0..20 {
            limiter.throttled(500);
        }
        assert!((limiter.per_second() - 2.5).abs() < 1e-9);
        assert_eq!(limiter.concurrency(), 2);
    }

    #[test]
    fn the_rate_has_a_floor() {
        let mut limiter = limiter();
        for second in 0..20 {
            limiter.throttled(second * 1_000);
        }
        assert!((limiter.per_second() - FLOOR).abs() < 1e-9);
        assert_eq!(limiter.concurrency(), 1);
    }

    #[test]
    fn throttlings_in_a_row_double_the_wait_and_a_good_answer_ends_the_row() {
        let mut limiter = limiter();
        let waits: Vec<u64> = (0..10).map(|n| limiter.throttled(n * 5_000).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
        limiter.answered(20, 0, 60_000);
        assert_eq!(limiter.throttled(61_000).as_secs(), 2);
    }

    #[test]
    fn twenty_good_batches_allow_one_more_at_a_time_up_to_four_times_as_many() {
        let mut limiter = limiter();
        for _ in 0..19 {
            limiter.answered(20, 0, 0);
        }
        assert_eq!(limiter.concurrency(), 4);
        limiter.answered(20, 0, 0);
        assert_eq!(limiter.concurrency(), 5);
        for _ in 0..1_000 {
            limiter.answered(20, 0, 0);
        }
        assert_eq!(limiter.concurrency(), 16);
    }

    #[test]
    fn a_successor_goes_on_with_what_was_found() {
        let mut found = limiter();
        for ten in 0..3 {
            found.take(200, ten * 10_000);
        }
        found.throttled(30_000);
        assert!((found.per_second() - 10.0).abs() < 1e-9);
        let mut successor = Limiter::new(RATE, 4, 0);
        successor.adopt(found.pace(), 0);
        assert_eq!(successor.pace(), found.pace());
        assert_eq!(successor.throttled(0).as_secs(), 2, "the old throttling is no part of a new one");
        assert!((successor.per_second() - 5.0).abs() < 1e-9);
        let slow = Pace { per_second: 1.0, concurrency: 4, throttled: false };
        successor = Limiter::new(RATE, 4, 0);
        successor.adopt(slow, 0);
        assert!((successor.per_second() - 5.0).abs() < 1e-9, "nobody said that the settings are too fast");
    }

    #[test]
    fn the_throttle_ratio_fades() {
        let mut limiter = limiter();
        limiter.answered(98, 0, 0);
        limiter.answered(2, 2, 0);
        assert!((limiter.throttle_ratio(0) - 0.02).abs() < 1e-9);
        assert!(limiter.rejection(0) <= 0.0, "little is no reason to drop anything");
        limiter.answered(200, 200, 0);
        assert!(limiter.rejection(0) > 0.3);
        limiter.answered(1_000, 0, 1_500_000);
        assert!(limiter.throttle_ratio(1_500_000) < 0.01);
    }
}
