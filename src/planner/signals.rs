//! What processes ask of the engine, wherever it runs: a pause, polls; and the pace that the last one had found.

use annika_sync::world::{Pace, PollsWanted, Signals};

use crate::{
    keys,
    store::{Store, StoreError, command, read},
};

/// Stands for every plan among the wanted polls.
const EVERY_PLAN: &str = "*";

/// `pause_until`, `rate`, `concurrency`, `throttled`.
type Throttle = (Option<i64>, Option<f64>, Option<usize>, Option<i64>);

/// Reads the signals, and forgets the wanted polls. One round trip; two where a poll is wanted.
pub(super) async fn signals(store: &Store) -> Result<Signals, StoreError> {
    let mut throttle = command("HMGET", keys::sync_throttle());
    throttle.arg(&["pause_until", "rate", "concurrency", "throttled"]);
    let mut replies = store.pipeline(&[throttle, command("SMEMBERS", keys::sync_polls())]).await.into_iter();
    let missing = || Err(StoreError::other("a reply is missing"));
    let (paused_until, rate, concurrency, throttled): Throttle =
        read(replies.next().unwrap_or_else(missing)?)?;
    let wanted: Vec<String> = read(replies.next().unwrap_or_else(missing)?)?;
    if !wanted.is_empty() {
        // Only what was read: a wish that came meanwhile is not lost.
        let mut forget = command("SREM", keys::sync_polls());
        forget.arg(&wanted);
        store.command::<i64>(&forget).await?;
    }
    let (all, plans): (Vec<String>, Vec<String>) = wanted.into_iter().partition(|plan| plan == EVERY_PLAN);
    let pace = rate.zip(concurrency).map(|(per_second, concurrency)| Pace {
        per_second,
        concurrency,
        throttled: throttled == Some(1),
    });
    let polls = PollsWanted { all: !all.is_empty(), plans };
    Ok(Signals { paused_until: paused_until.unwrap_or(0), polls, pace })
}

/// Asks for a poll of one plan, or of every one.
pub(super) async fn want_poll(store: &Store, plan: Option<&str>) -> Result<(), StoreError> {
    let mut add = command("SADD", keys::sync_polls());
    add.arg(plan.unwrap_or(EVERY_PLAN));
    let mut expire = command("EXPIRE", keys::sync_polls());
    expire.arg(keys::SYNC_POLLS.ttl_s().unwrap_or_default());
    for reply in store.pipeline(&[add, expire]).await {
        reply?;
    }
    Ok(())
}
