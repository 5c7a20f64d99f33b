//! The simulator's clock: the machine's time plus an offset that a test may move forward.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

/// What time the simulator says it is.
#[derive(Debug)]
pub struct SimClock {
    start: Instant,
    start_ms: i64,
    offset_ms: AtomicI64,
    skew_ms: AtomicI64,
}

impl SimClock {
    /// A clock that shows the machine's time.
    #[expect(clippy::disallowed_methods, reason = "the simulator's one place that reads the machine's clock")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            start_ms: jiff::Timestamp::now().as_millisecond(),
            offset_ms: AtomicI64::new(0),
            skew_ms: AtomicI64::new(0),
        }
    }

    /// Milliseconds since the simulator started, jumps included.
    pub fn elapsed_ms(&self) -> u64 {
        let real = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        u64::try_from(real.saturating_add(self.offset_ms.load(Ordering::Relaxed))).unwrap_or(0)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn now_ms(&self) -> i64 {
        let skew = self.skew_ms.load(Ordering::Relaxed);
        self.start_ms
            .saturating_add(i64::try_from(self.elapsed_ms()).unwrap_or(i64::MAX))
            .saturating_add(skew)
    }

    /// The time as Graph writes it in entities, to a ten-millionth of a second.
    pub fn stamp(&self) -> String {
        self.timestamp().strftime("%Y-%m-%dT%H:%M:%S.%fZ").to_string()
    }

    /// The time as a timestamp; the epoch if it is out of range.
    pub fn timestamp(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset_ms.fetch_add(by, Ordering::Relaxed);
    }

    /// Lets the service's clock go before (or, negative, after) the machine's by so many milliseconds. Nothing ages
    /// by it: only what the service says the time is changes.
    pub fn skew(&self, ms: i64) {
        self.skew_ms.store(ms, Ordering::Relaxed);
    }

    /// How far the service's clock is before the machine's, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// Waits on the machine's clock: latency and delays are real.
    #[expect(
        clippy::disallowed_methods,
        reason = "the simulator's one place that waits on the machine's clock"
    )]
    pub async fn sleep(duration: Duration) {
        if !duration.is_zero() {
            tokio::time::sleep(duration).await;
        }
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}
