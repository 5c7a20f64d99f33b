//! Time and randomness as parameters: `Clock` and `Rng`, with the system's own for production.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

/// What time it is, and how to wait. Everything that needs either takes one.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;
    /// Milliseconds on a clock that never goes backwards; only differences mean something.
    fn monotonic_ms(&self) -> u64;
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A source of random numbers.
pub trait Rng: fmt::Debug + Send + Sync {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// A random (version 4) UUID in its usual spelling.
    fn uuid(&self) -> String {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;
/// A shared random source.
pub type SharedRng = Arc<dyn Rng>;

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// The machine's clock, behind the shared type.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn shared() -> SharedClock {
        Arc::new(Self { start: std::time::Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond()
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that waits on the machine's clock")]
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's randomness.
#[derive(Debug)]
pub struct SystemRng;

impl SystemRng {
    /// The operating system's randomness, behind the shared type.
    pub fn shared() -> SharedRng {
        Arc::new(Self)
    }
}

impl Rng for SystemRng {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws from the system")]
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}
