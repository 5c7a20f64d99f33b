//! The emulator's clock: the machine's own, or a virtual one that tests move by hand.

use super::ticks::Ticks;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// What time it is and how to wait for a later one.
pub trait HostClock: fmt::Debug + Send + Sync {
    /// The date now.
    fn now(&self) -> Ticks;
    /// Completes when `now` has reached `until`.
    fn sleep_until(&self, until: Ticks) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A shared clock.
pub type SharedClock = Arc<dyn HostClock>;

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl HostClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the emulator's one place that reads the machine's clock")]
    fn now(&self) -> Ticks {
        Ticks::from_unix_nanoseconds(jiff::Timestamp::now().as_nanosecond())
    }

    fn sleep_until(&self, until: Ticks) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let wait = until.after(self.now());
        Box::pin(pause(wait))
    }
}

/// Waits on the machine's clock: for the waits that belong to processes and sockets, not to schedules.
#[expect(clippy::disallowed_methods, reason = "the emulator's one place that waits on the machine's clock")]
pub async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct VirtualClock {
    now: Mutex<Ticks>,
    moved: watch::Sender<Ticks>,
}

impl VirtualClock {
    /// A clock that shows `now`.
    pub fn new(now: Ticks) -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(now), moved: watch::Sender::new(now) })
    }

    /// Moves the clock to a later date and wakes who waited for it.
    pub fn set(&self, now: Ticks) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.moved.send_replace(now);
    }
}

impl HostClock for VirtualClock {
    fn now(&self) -> Ticks {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep_until(&self, until: Ticks) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut moved = self.moved.subscribe();
        Box::pin(async move {
            if moved.wait_for(|now| *now >= until).await.is_err() {
                // The clock is gone, and with it every date to come.
                std::future::pending::<()>().await;
            }
        })
    }
}
