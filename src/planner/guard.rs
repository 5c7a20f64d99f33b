//! The guard against mass deletions: too many that were only inferred from an absence wait for a person.

use annika_sync::world::{Direction, GuardQuestion};
use redis::Value;
use serde::{Deserialize, Serialize};

use super::scripts::{GUARD, RELEASE, When, mark_call};
use crate::{
    keys,
    store::{Store, StoreError, command, read},
};

/// Over how long deletions are counted, ms.
const WINDOW_MS: i64 = 24 * 60 * 60 * 1000;
/// Tasks that are marked in one round trip.
const TOGETHER: usize = 500;

/// One side's deletions, as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// Deletions that wait for [`release`].
    pub held: u64,
    /// When the first of them was held, Unix ms.
    pub since_ms: Option<i64>,
    /// Inferred deletions of the last 24 hours that went through.
    pub recent: u64,
}

/// Deletions in Planner (`up`) and of documents (`down`). One round trip.
///
/// # Errors
/// When Redis does not answer.
pub async fn guarded(store: &Store, now_ms: i64) -> Result<[(Direction, Guarded); 2], StoreError> {
    let of = |direction: Direction| {
        let word = direction.word();
        let mut first = command("ZRANGE", &keys::sync_guard_held(word));
        first.arg(0).arg(0).arg("WITHSCORES");
        let mut recent = command("ZCOUNT", &keys::sync_guard(word));
        recent.arg(now_ms - WINDOW_MS).arg("+inf");
        [command("ZCARD", &keys::sync_guard_held(word)), first, recent]
    };
    let commands = [of(Direction::Up), of(Direction::Down)].concat();
    let mut replies = store.pipeline(&commands).await.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
    let mut side = || -> Result<Guarded, StoreError> {
        let held = read(next()?)?;
        let first: Vec<(String, f64)> = read(next()?)?;
        #[expect(clippy::cast_possible_truncation, reason = "a time in ms is exact in an f64")]
        let since_ms = first.first().map(|(_, at)| *at as i64);
        Ok(Guarded { held, since_ms, recent: read(next()?)? })
    };
    Ok([(Direction::Up, side()?), (Direction::Down, side()?)])
}

/// Confirms exactly the deletions that are held now on one side, and makes their tasks due; says how many.
///
/// # Errors
/// When Redis does not answer. What was confirmed by then stays so.
pub async fn release(store: &Store, direction: Direction) -> Result<u64, StoreError> {
    let word = direction.word();
    let call = RELEASE
        .call()
        .key(keys::sync_guard(word))
        .key(keys::sync_guard_held(word))
        .arg(word)
        .arg(keys::sync_state(""));
    let ids: Vec<String> = read::<Value>(store.run(&call).await?).and_then(read)?;
    for ids in ids.chunks(TOGETHER) {
        store.run(&mark_call(ids, "changed", When::NOW)).await?;
    }
    tracing::warn!(
        code = "guard_released",
        direction = word,
        tasks = ids.len(),
        "held deletions are confirmed"
    );
    Ok(ids.len() as u64)
}

/// Which tasks may be deleted; what may not is held.
pub(super) async fn permit(store: &Store, question: &GuardQuestion) -> Result<Vec<bool>, StoreError> {
    let word = question.direction.word();
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let call = GUARD
        .call()
        .key(keys::sync_guard(word))
        .key(keys::sync_guard_held(word))
        .key(keys::sync_index())
        .arg(word)
        .num(WINDOW_MS)
        .num(question.limits.min.into())
        .num(question.limits.percent.into())
        .num(count(question.missing))
        .num(count(question.of))
        .arg(keys::sync_state(""));
    let call = question.ids.iter().fold(call, |call, id| call.arg(id));
    let answers: Vec<i64> = read(store.run(&call).await?)?;
    Ok(answers.into_iter().map(|answer| answer == 1).collect())
}
