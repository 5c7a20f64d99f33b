//! How long a change has waited: since its first mark, by Redis's clock, over retries and other processes.

use std::time::Duration;

use annika::keys;
use annika_sync::world::{CommitResult, Next, World};
use redis::AsyncCommands;

use super::{Stage, done};

async fn waited(stage: &Stage, id: &str) -> Option<i64> {
    stage.world.load(&[id.to_owned()]).await.unwrap().remove(0).waited_ms
}

/// As if everything that is dated had happened this much earlier.
async fn earlier(stage: &mut Stage, id: &str, field: &str, ms: i64) {
    let at: i64 = stage.redis.hget(keys::sync_state(id), field).await.unwrap();
    let () = stage.redis.hset(keys::sync_state(id), field, at - ms).await.unwrap();
}

#[tokio::test]
async fn a_change_waits_since_its_first_mark_and_a_finished_one_no_longer() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("a", r#"{"id":"a"}"#).await;
    earlier(&mut stage, "a", "marked_at", 5_000).await;
    let first = waited(&stage, "a").await.unwrap();
    assert!((5_000..60_000).contains(&first), "{first}");
    // A retry goes on waiting for the same change.
    let mut retry = done(&claim);
    retry.next = Next::After(Duration::ZERO);
    assert_eq!(stage.commit(retry).await, CommitResult::Stored);
    assert!(waited(&stage, "a").await.unwrap() >= 5_000);
    let claim = stage
        .world
        .claim(annika_sync::world::Quota::each(20), Duration::from_secs(60))
        .await
        .unwrap()
        .claims
        .remove(0);
    assert_eq!(stage.commit(done(&claim)).await, CommitResult::Stored);
    assert_eq!(waited(&stage, "a").await, None, "nothing waits");
}

#[tokio::test]
async fn a_change_that_came_while_the_task_was_leased_waits_since_then() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("a", r#"{"id":"a"}"#).await;
    earlier(&mut stage, "a", "marked_at", 100_000).await;
    let ids = ["a".to_owned()];
    stage.world.mark(&ids, Duration::ZERO).await.unwrap();
    earlier(&mut stage, "a", "remarked_at", 7_000).await;
    stage.world.mark(&ids, Duration::ZERO).await.unwrap();
    assert_eq!(stage.commit(done(&claim)).await, CommitResult::StoredDueAgain);
    let waited = waited(&stage, "a").await.unwrap();
    assert!((7_000..90_000).contains(&waited), "since the first mark of the new change: {waited}");
    assert_eq!(stage.field(&keys::sync_state("a"), "remarked_at").await, None);
}
