//! Whether the sync is overdue: no engine runs anywhere, and its last cycle or the oldest waiting task is too old.

use redis::Value;

use super::health::Published;
use crate::{
    keys,
    store::{Store, StoreError, command, read},
};

/// A cycle is overdue when the last one is longer ago than this, ms: the timer's minute, and a little.
const CYCLE_MS: i64 = 65_000;
/// Work is overdue when it has waited longer than this, ms.
const BACKLOG_MS: i64 = 15_000;

/// Why a cycle is overdue; `None` = it is not, or an engine runs. One round trip.
///
/// `since` is when this process began, ms: where nothing is known of a last cycle, the timer has its minute from then.
pub(super) async fn overdue(
    store: &Store,
    engine: &str,
    now: i64,
    since: i64,
) -> Result<Option<&'static str>, StoreError> {
    let mut oldest = command("ZRANGE", keys::sync_due());
    oldest.arg(0).arg(0).arg("WITHSCORES");
    let commands = [command("EXISTS", &keys::sync_lock(engine)), command("GET", keys::sync_health()), oldest];
    let mut replies = store.pipeline(&commands).await.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
    let (held, health, oldest): (Value, Value, Value) = (next()?, next()?, next()?);
    if read::<bool>(held)? {
        return Ok(None);
    }
    let waiting: Option<(String, f64)> = read::<Vec<(String, f64)>>(oldest)?.pop();
    if waiting.is_some_and(|(_, due)| now as f64 - due > BACKLOG_MS as f64) {
        return Ok(Some("work has waited too long"));
    }
    let health: Option<Vec<u8>> = read(health)?;
    let published: Option<Published> = health.and_then(|text| serde_json::from_slice(&text).ok());
    let at = published.and_then(|health| health.timestamp?.parse::<jiff::Timestamp>().ok());
    let last = at.map_or(since, jiff::Timestamp::as_millisecond);
    Ok((now - last > CYCLE_MS).then_some("the last cycle is too long ago"))
}
