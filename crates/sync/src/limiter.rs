//! How fast Graph may be asked: a token bucket that grows while Graph keeps up and halves when it does not.

use std::time::Duration;

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
}

impl Limiter {
    /// A full bucket.
    pub fn new(rate: Rate, now: i64) -> Self {
        let per_second = rate.start.clamp(FLOOR, rate.max.max(FLOOR));
        Self { rate, per_second, tokens: rate.burst, at: now, grown_at: now, throttled_at: None, busy: false }
    }

    /// Sub-requests a second now.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    fn fill(&mut self, now: i64) {
        let elapsed = f64::from(u32::try_from((now - self.at).max(0)).unwrap_or(u32::MAX)) / 1000.0;
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.rate.burst);
        self.at = self.at.max(now);
    }

    /// How many tokens could be used within this time. Work that would have to wait longer is better not begun.
    pub fn room(&mut self, within: Duration, now: i64) -> usize {
        self.fill(now);
        let room = (self.tokens + within.as_secs_f64() * self.per_second).floor();
        if room >= 1.0 { room as usize } else { 0 }
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

    /// Graph throttled: half the rate. Further words of it within a second are about the same burst.
    pub fn throttled(&mut self, now: i64) {
        if self.throttled_at.is_some_and(|at| now - at < 1_000) {
            return;
        }
        self.throttled_at = Some(now);
        self.per_second = (self.per_second / 2.0).max(FLOOR);
        self.tokens = self.tokens.min(0.0);
        self.grown_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { start: 5.0, max: 100.0, burst: 40.0 };

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut limiter = Limiter::new(RATE, 0);
        assert_eq!(limiter.take(40, 0), Duration::ZERO);
        assert_eq!(limiter.take(5, 0), Duration::from_secs(1));
        assert_eq!(limiter.take(5, 0), Duration::from_secs(2));
        assert_eq!(limiter.take(5, 3_000), Duration::ZERO);
    }

    #[test]
    fn demand_doubles_the_rate_until_it_is_throttled() {
        let mut limiter = Limiter::new(RATE, 0);
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
        let mut limiter = Limiter::new(RATE, 0);
        for second in 0..100 {
            limiter.take(1, second * 1_000);
        }
        assert!((limiter.per_second() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn room_is_what_can_be_used_in_time() {
        let mut limiter = Limiter::new(RATE, 0);
        assert_eq!(limiter.room(Duration::ZERO, 0), 40);
        limiter.take(60, 0);
        assert_eq!(limiter.room(Duration::ZERO, 0), 0);
        assert_eq!(limiter.room(Duration::from_secs(6), 0), 10);
        assert_eq!(limiter.room(Duration::ZERO, 5_000), 5);
    }

    #[test]
    fn twenty_throttled_items_of_one_batch_halve_the_rate_once() {
        let mut limiter = Limiter::new(RATE, 0);
        for _ in 0..20 {
            limiter.throttled(500);
        }
        assert!((limiter.per_second() - 2.5).abs() < 1e-9);
    }

    #[test]
    fn the_rate_has_a_floor() {
        let mut limiter = Limiter::new(RATE, 0);
        for second in 0..20 {
            limiter.throttled(second * 1_000);
        }
        assert!((limiter.per_second() - FLOOR).abs() < 1e-9);
    }
}
