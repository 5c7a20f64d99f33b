//! The pending list as others use it: their entries become marks, ours stay.

use std::time::Duration;

use annika::{keys, tasks::pending_entry};
use annika_sync::world::{Quota, World};
use redis::AsyncCommands;

use super::Stage;

#[tokio::test]
async fn what_others_pushed_is_taken_in_and_our_own_entries_stay() {
    let mut stage = Stage::start().await;
    stage.world.mark(&["ours".to_owned()], Duration::from_secs(60)).await.unwrap();
    let entries = [
        r#"{"task_id":"a","operation":"create"}"#,
        r#"{"annika_id":"b","type":"delete"}"#,
        r#"{"taskId":"c"}"#,
        r#"{"id":"d","action":"deleted","retry_count":0}"#,
    ];
    let () = stage.redis.rpush(keys::sync_pending(), &entries[..2]).await.unwrap();
    let () = stage.redis.lpush(keys::sync_pending(), &entries[2..]).await.unwrap();
    assert_eq!(stage.world.ingest_pending().await.unwrap(), 4);
    let mut left = stage.list(keys::sync_pending()).await;
    left.sort();
    assert_eq!(left, ["a", "b", "c", "d", "ours"].map(pending_entry));
    let ids = ["a", "b", "c", "d"].map(str::to_owned);
    let deleted: Vec<bool> =
        stage.world.load(&ids).await.unwrap().iter().map(|snapshot| snapshot.delete_event).collect();
    assert_eq!(deleted, [false, true, false, true]);
    let claimed = stage.world.claim(Quota::each(20), Duration::from_secs(60)).await.unwrap();
    assert_eq!(claimed.claims.len(), 4);
    assert_eq!(stage.world.ingest_pending().await.unwrap(), 0, "there is nothing more to take in");
}

#[tokio::test]
async fn entries_that_name_no_task_are_taken_out_and_harm_nothing() {
    let mut stage = Stage::start().await;
    let bad = ["not json", "[]", "{}", r#"{"task_id":"a:b"}"#, r#"{"task_id":7}"#, "\u{1}"];
    let () = stage.redis.rpush(keys::sync_pending(), &bad).await.unwrap();
    let () = stage.redis.rpush(keys::sync_pending(), r#"{"task_id":"good"}"#).await.unwrap();
    assert_eq!(stage.world.ingest_pending().await.unwrap(), bad.len() + 1);
    assert_eq!(stage.list(keys::sync_pending()).await, [pending_entry("good")]);
    assert_eq!(stage.due().await, ["good"]);
}

#[tokio::test]
async fn the_same_entry_twice_is_two_hints_and_one_task() {
    let mut stage = Stage::start().await;
    let entry = r#"{"task_id":"a"}"#;
    let () = stage.redis.rpush(keys::sync_pending(), &[entry, entry, entry]).await.unwrap();
    assert_eq!(stage.world.ingest_pending().await.unwrap(), 3);
    assert_eq!(stage.list(keys::sync_pending()).await, [pending_entry("a")]);
}

#[tokio::test]
async fn a_long_list_of_others_is_worked_off_in_bounded_steps() {
    let mut stage = Stage::start().await;
    let entries: Vec<String> = (0..3_000).map(|n| format!(r#"{{"task_id":"t-{n}"}}"#)).collect();
    let () = stage.redis.rpush(keys::sync_pending(), &entries).await.unwrap();
    let mut rounds = 0;
    let mut taken = 0;
    loop {
        match stage.world.ingest_pending().await.unwrap() {
            0 => break,
            some => {
                assert!(some <= 1_000, "one step takes a bounded number, not {some}");
                taken += some;
                rounds += 1;
            }
        }
        assert!(rounds < 20);
    }
    assert_eq!(taken, 3_000, "our own mirror at the ends hides nobody's entry for ever");
    assert_eq!(stage.due().await.len(), 3_000);
}
