//! The player's one place that reads and waits on the machine's clock: what it watches happens in real processes.

use std::time::{Duration, Instant};

/// A moment of the story.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(Instant);

impl Moment {
    #[expect(clippy::disallowed_methods, reason = "real processes are watched in real time")]
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    /// The time since then.
    pub(super) fn elapsed(self) -> Duration {
        Self::now().0.duration_since(self.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "real processes are watched in real time")]
pub(super) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// A number that no run before has used: seconds since 1970, in base 36.
#[expect(clippy::disallowed_methods, reason = "ids of a story in a Redis that held others before")]
pub(super) fn stamp() -> String {
    let mut rest = jiff::Timestamp::now().as_second().unsigned_abs();
    let mut text = Vec::new();
    while rest > 0 {
        text.push(char::from_digit(u32::try_from(rest % 36).unwrap_or(0), 36).unwrap_or('0'));
        rest /= 36;
    }
    text.iter().rev().collect()
}
