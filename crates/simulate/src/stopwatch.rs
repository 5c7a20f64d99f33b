//! Real time, for rates only: no play looks at it.

use std::time::Instant;

/// Runs since it was started.
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "how fast the tool is; plays have virtual time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    /// Of so many, how many a second.
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self, n: u64) -> f64 {
        n as f64 / self.seconds().max(0.001)
    }
}
