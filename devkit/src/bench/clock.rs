//! The bench's clock: the machine's.

use std::time::{Duration, Instant};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the bench's one place that reads the machine's clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the bench's one place that waits on the machine's clock")]
pub(super) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Asks again and again until `found` answers something; after `limit` it is an error that names `what`.
pub(super) async fn until<T>(
    what: &str,
    limit: Duration,
    mut found: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = now();
    loop {
        if let Some(value) = found().await? {
            return Ok(value);
        }
        anyhow::ensure!(start.elapsed() < limit, "{what}: not within {} s", limit.as_secs());
        pause(Duration::from_millis(10)).await;
    }
}
