//! Claims, leases of tasks and of the engine, marks, the shared pause and what processes ask of each other.

use std::{collections::BTreeSet, time::Duration};

use annika::{keys, tasks::pending_entry};
use annika_sync::world::{CommitResult, Next, World};
use redis::AsyncCommands;

use super::{Stage, done};

const MINUTE: Duration = Duration::from_secs(60);

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("t-{n}")).collect()
}

#[tokio::test]
async fn a_mark_makes_a_task_due_once_and_shows_it_in_the_pending_list() {
    let mut stage = Stage::start().await;
    stage.world.mark(&ids(0..2), Duration::ZERO).await.unwrap();
    stage.world.mark(&ids(0..1), Duration::from_secs(9)).await.unwrap();
    assert_eq!(stage.list(keys::sync_pending()).await, [pending_entry("t-0"), pending_entry("t-1")]);
    assert_eq!(stage.field(&keys::sync_state("t-0"), "hint").await.as_deref(), Some("2"));
    let claimed = stage.world.claim(20, MINUTE).await.unwrap();
    assert_eq!(claimed.claims.len(), 2, "a later mark does not put a task off");
}

#[tokio::test]
async fn a_delay_holds_a_mark_back_and_claim_says_how_long() {
    let stage = Stage::start().await;
    assert_eq!(stage.world.claim(20, MINUTE).await.unwrap().next_in, None);
    stage.world.mark(&ids(0..1), Duration::from_secs(30)).await.unwrap();
    let claimed = stage.world.claim(20, MINUTE).await.unwrap();
    assert!(claimed.claims.is_empty());
    let next = claimed.next_in.unwrap();
    assert!((Duration::from_secs(28)..=Duration::from_secs(30)).contains(&next), "{next:?}");
    stage.world.mark(&ids(0..1), Duration::ZERO).await.unwrap();
    assert_eq!(stage.world.claim(20, MINUTE).await.unwrap().claims.len(), 1, "a mark brings it forward");
}

#[tokio::test]
async fn the_reason_of_a_mark_is_kept() {
    let mut stage = Stage::start().await;
    stage.world.mark_missing(&ids(0..1)).await.unwrap();
    stage.world.mark_missing(&ids(0..1)).await.unwrap();
    assert_eq!(stage.field(&keys::sync_state("t-0"), "miss").await.as_deref(), Some("2"));
    let snapshot = stage.world.load(&ids(0..1)).await.unwrap().remove(0);
    assert_eq!((snapshot.missed_sweeps, snapshot.delete_event, snapshot.hint), (2, false, 2));
}

#[tokio::test]
async fn two_clients_at_once_never_get_the_same_task() {
    let stage = Stage::start().await;
    stage.world.mark(&ids(0..400), Duration::ZERO).await.unwrap();
    let clients = (0..4).map(|_| {
        let world = stage.other_world();
        tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                let claims = world.claim(7, MINUTE).await.unwrap().claims;
                if claims.is_empty() {
                    return got;
                }
                got.extend(claims);
            }
        })
    });
    let mut all = Vec::new();
    let mut busy = 0;
    for client in clients.collect::<Vec<_>>() {
        let got = client.await.unwrap();
        busy += usize::from(!got.is_empty());
        all.extend(got);
    }
    assert!(busy > 1, "the clients really ran against each other");
    let ids: BTreeSet<_> = all.iter().map(|claim| &claim.id).collect();
    let fences: BTreeSet<_> = all.iter().map(|claim| claim.fence).collect();
    assert_eq!((all.len(), ids.len(), fences.len()), (400, 400, 400));
}

#[tokio::test]
async fn a_claim_that_ran_out_is_given_again_under_a_higher_fence_and_the_old_one_is_refused() {
    let mut stage = Stage::start().await;
    let old = stage.claimed("t", r#"{"title":"A"}"#).await;
    assert!(stage.world.claim(20, MINUTE).await.unwrap().claims.is_empty(), "it is taken");
    stage.let_time_pass(60_001).await;
    let new = stage.other_world().claim(20, MINUTE).await.unwrap().claims.remove(0);
    assert!(new.fence > old.fence);
    let before = stage.dump().await;
    assert_eq!(stage.commit(done(&old)).await, CommitResult::LeaseLost);
    assert_eq!(stage.dump().await, before, "nothing is stored");
    assert_eq!(stage.commit(done(&new)).await, CommitResult::Stored);
    assert_eq!(stage.due().await, [""; 0]);
}

#[tokio::test]
async fn a_mark_of_a_claimed_task_waits_for_its_holder() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", r#"{"title":"A"}"#).await;
    stage.world.mark(&["t".to_owned()], Duration::ZERO).await.unwrap();
    assert!(stage.world.claim(20, MINUTE).await.unwrap().claims.is_empty());
    assert_eq!(stage.commit(done(&claim)).await, CommitResult::StoredDueAgain);
    let again = stage.world.claim(20, MINUTE).await.unwrap().claims.remove(0);
    let mut last = done(&again);
    (last.hint, last.next) = (2, Next::Done { hint: 2 });
    assert_eq!(stage.commit(last).await, CommitResult::Stored);
    assert!(stage.list(keys::sync_pending()).await.is_empty());
}

#[tokio::test]
async fn one_process_holds_the_engine_and_only_it_can_give_it_back() {
    let mut stage = Stage::start().await;
    let other = stage.other_world();
    assert!(stage.world.hold_lease(MINUTE).await.unwrap());
    assert!(!other.hold_lease(MINUTE).await.unwrap());
    assert!(stage.world.hold_lease(MINUTE).await.unwrap(), "a renewal");
    other.release_lease().await.unwrap();
    assert!(!other.hold_lease(MINUTE).await.unwrap());
    let ttl: i64 = stage.redis.pttl(keys::sync_lock("engine")).await.unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    stage.world.release_lease().await.unwrap();
    assert!(other.hold_lease(MINUTE).await.unwrap());
}

#[tokio::test]
async fn who_takes_over_the_engine_gets_what_its_last_holder_had_claimed_at_once() {
    let mut stage = Stage::start().await;
    assert!(stage.world.hold_lease(MINUTE).await.unwrap());
    let old = stage.claimed("t", r#"{"title":"A"}"#).await;
    stage.world.mark(&["later".to_owned()], Duration::from_secs(30)).await.unwrap();
    assert!(stage.world.hold_lease(MINUTE).await.unwrap());
    assert!(stage.world.claim(20, MINUTE).await.unwrap().claims.is_empty(), "a renewal frees nothing");
    let () = stage.redis.del(keys::sync_lock("engine")).await.unwrap();
    let other = stage.other_world();
    assert!(other.hold_lease(MINUTE).await.unwrap());
    let claims = other.claim(20, MINUTE).await.unwrap().claims;
    assert_eq!(
        claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(),
        ["t"],
        "no one else's delay"
    );
    assert_eq!(stage.commit(done(&old)).await, CommitResult::LeaseLost);
    assert_eq!(stage.commit(done(&claims[0])).await, CommitResult::Stored);
}

#[tokio::test]
async fn the_longest_pause_holds_for_everybody() {
    let stage = Stage::start().await;
    stage.world.pause_until(5_000).await.unwrap();
    stage.other_world().pause_until(4_000).await.unwrap();
    assert_eq!(stage.world.signals().await.unwrap().paused_until, 5_000);
    stage.other_world().pause_until(6_000).await.unwrap();
    assert_eq!(stage.world.signals().await.unwrap().paused_until, 6_000);
}

#[tokio::test]
async fn a_wanted_poll_is_heard_once() {
    let mut stage = Stage::start().await;
    let () = stage.redis.hset(keys::sync_throttle(), "poll_wanted", "1").await.unwrap();
    assert!(stage.world.signals().await.unwrap().poll_wanted);
    assert!(!stage.world.signals().await.unwrap().poll_wanted);
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_loaded_again_and_nothing_runs_twice() {
    let mut stage = Stage::start().await;
    for round in 1..=3 {
        let _: redis::Value = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut stage.redis).await.unwrap();
        stage.world.mark(&["t".to_owned()], Duration::ZERO).await.unwrap();
        let _: redis::Value = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut stage.redis).await.unwrap();
        let claim = stage.world.claim(20, MINUTE).await.unwrap().claims.remove(0);
        assert_eq!(claim.fence, round, "claimed once");
        let _: redis::Value = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut stage.redis).await.unwrap();
        let hint = stage.world.load(&["t".to_owned()]).await.unwrap()[0].hint;
        let mut commit = done(&claim);
        (commit.hint, commit.next) = (hint, Next::Done { hint });
        assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    }
    let before = stage.world.claim(20, MINUTE).await.unwrap();
    assert!(before.claims.is_empty());
}

#[tokio::test]
async fn several_engines_work_a_backlog_off_without_losing_or_doubling_a_task() {
    let mut stage = Stage::start().await;
    stage.world.mark(&ids(0..300), Duration::ZERO).await.unwrap();
    let workers = (0..3).map(|_| {
        let world = stage.other_world();
        tokio::spawn(async move {
            let mut stored = 0;
            loop {
                let claims = world.claim(20, MINUTE).await.unwrap().claims;
                if claims.is_empty() {
                    return stored;
                }
                let results = world.commit(claims.iter().map(done).collect()).await.unwrap();
                assert!(results.iter().all(|result| *result == CommitResult::Stored), "{results:?}");
                stored += results.len();
            }
        })
    });
    let mut stored = 0;
    for worker in workers.collect::<Vec<_>>() {
        stored += worker.await.unwrap();
    }
    assert_eq!(stored, 300);
    assert!(stage.list(keys::sync_pending()).await.is_empty() && stage.due().await.is_empty());
}

#[tokio::test]
async fn a_state_of_another_type_or_unreadable_stops_no_other_task() {
    let mut stage = Stage::start().await;
    let () = stage.redis.rpush(keys::sync_state("list"), "x").await.unwrap();
    let () = stage.redis.zadd(keys::sync_due(), "list", 1).await.unwrap();
    let () = stage
        .redis
        .hset(keys::sync_state("newer"), "record", r#"{"base":{"colour":{"s":"red"}}}"#)
        .await
        .unwrap();
    stage.world.mark(&["newer".to_owned(), "good".to_owned()], Duration::ZERO).await.unwrap();
    let claimed = stage.world.claim(20, Duration::from_secs(60)).await.unwrap();
    let ids: Vec<&str> = claimed.claims.iter().map(|claim| claim.id.as_str()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let wanted: Vec<String> = claimed.claims.into_iter().map(|claim| claim.id).collect();
    let loaded = stage.world.load(&wanted).await.unwrap();
    assert_eq!(loaded.iter().map(|snapshot| snapshot.id.as_str()).collect::<Vec<_>>(), ["good"]);
}
