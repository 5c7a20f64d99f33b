//! Claims, leases of tasks and of the engine, marks, the shared pause and what processes ask of each other.

use std::{collections::BTreeSet, time::Duration};

use annika::{
    keys,
    planner::{CLAIM, MARK_MANY},
    tasks::pending_entry,
};
use annika_sync::{
    engine::EPOCH_CHANGED,
    world::{
        Claim, Claimed, CommitResult, DEBOUNCE, Next, Observation, Pace, PollsWanted, Quota, StoreError,
        World,
    },
};
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
    let claimed = stage.world.claim(Quota::each(20), MINUTE).await.unwrap();
    assert_eq!(claimed.claims.len(), 2, "a later mark does not put a task off");
}

#[tokio::test]
async fn a_delay_holds_a_mark_back_and_claim_says_how_long() {
    let stage = Stage::start().await;
    assert_eq!(stage.world.claim(Quota::each(20), MINUTE).await.unwrap().next_in, None);
    stage.world.mark(&ids(0..1), Duration::from_secs(30)).await.unwrap();
    let claimed = stage.world.claim(Quota::each(20), MINUTE).await.unwrap();
    assert!(claimed.claims.is_empty());
    let next = claimed.next_in.unwrap();
    assert!((Duration::from_secs(28)..=Duration::from_secs(30)).contains(&next), "{next:?}");
    stage.world.mark(&ids(0..1), Duration::ZERO).await.unwrap();
    assert_eq!(
        stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.len(),
        1,
        "a mark brings it forward"
    );
}

#[tokio::test]
async fn marks_of_one_breath_fall_due_at_one_instant_within_the_delay() {
    let mut stage = Stage::start().await;
    // An hour's delay in slots of half an hour: the test may take its time.
    let (delay, slot) = (3_600_000, 1_800_000);
    let now = async |redis: &mut redis::aio::MultiplexedConnection| {
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(redis).await.unwrap();
        seconds * 1_000 + micros / 1_000
    };
    let before = now(&mut stage.redis).await;
    for id in ids(0..3) {
        let call = MARK_MANY.call().key(keys::sync_due()).key(keys::sync_pending()).num(delay).num(slot);
        let call = call.arg(keys::sync_state("")).arg("changed").arg(&id).arg(pending_entry(&id));
        stage.store().run(&call).await.unwrap();
    }
    let after = now(&mut stage.redis).await;
    for id in ids(0..3) {
        let at: i64 = stage.redis.zscore(keys::sync_due(), &id).await.unwrap();
        assert_eq!(at % slot, 0, "{id}");
        assert!(
            (before + delay - slot..=after + delay).contains(&at),
            "{id}: marked at {before}, due at {at}"
        );
    }
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
                let claims = world.claim(Quota::each(7), MINUTE).await.unwrap().claims;
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
    assert!(stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.is_empty(), "it is taken");
    stage.let_time_pass(60_001).await;
    let new = stage.other_world().claim(Quota::each(20), MINUTE).await.unwrap().claims.remove(0);
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
    assert!(stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.is_empty());
    assert_eq!(stage.commit(done(&claim)).await, CommitResult::StoredDueAgain);
    stage.let_time_pass(1_000).await;
    let again = stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.remove(0);
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
    assert!(
        stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.is_empty(),
        "a renewal frees nothing"
    );
    let () = stage.redis.del(keys::sync_lock("engine")).await.unwrap();
    let other = stage.other_world();
    assert!(other.hold_lease(MINUTE).await.unwrap());
    let claims = other.claim(Quota::each(20), MINUTE).await.unwrap().claims;
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
    let () = stage.redis.sadd(keys::sync_polls(), &["*", "plan-a", "plan-b"]).await.unwrap();
    let mut polls = stage.world.signals().await.unwrap().polls;
    polls.plans.sort();
    assert_eq!((polls.all, polls.plans), (true, vec!["plan-a".to_owned(), "plan-b".to_owned()]));
    assert_eq!(stage.world.signals().await.unwrap().polls, PollsWanted::default());
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_loaded_again_and_nothing_runs_twice() {
    let mut stage = Stage::start().await;
    for _ in 1..=3 {
        let _: redis::Value = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut stage.redis).await.unwrap();
        stage.world.mark(&["t".to_owned()], Duration::ZERO).await.unwrap();
        let _: redis::Value = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut stage.redis).await.unwrap();
        let claim = stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.remove(0);
        let last: u64 = stage.redis.get(keys::sync_fence()).await.unwrap();
        assert_eq!(claim.fence, last, "claimed once");
        let _: redis::Value = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut stage.redis).await.unwrap();
        let hint = stage.world.load(&["t".to_owned()]).await.unwrap()[0].hint;
        let mut commit = done(&claim);
        (commit.hint, commit.next) = (hint, Next::Done { hint });
        assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    }
    let before = stage.world.claim(Quota::each(20), MINUTE).await.unwrap();
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
                let claims = world.claim(Quota::each(20), MINUTE).await.unwrap().claims;
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
    let claimed = stage.world.claim(Quota::each(20), Duration::from_secs(60)).await.unwrap();
    let ids: Vec<&str> = claimed.claims.iter().map(|claim| claim.id.as_str()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let wanted: Vec<String> = claimed.claims.into_iter().map(|claim| claim.id).collect();
    let loaded = stage.world.load(&wanted).await.unwrap();
    assert_eq!(loaded.iter().map(|snapshot| snapshot.id.as_str()).collect::<Vec<_>>(), ["good"]);
}

/// Tasks of both priorities that are due; imports go behind.
async fn backlog(stage: &Stage, urgent: usize, low: usize) {
    stage.world.mark(&ids(0..urgent), Duration::ZERO).await.unwrap();
    stage.world.observe(imports(low)).await.unwrap();
}

fn imports(count: usize) -> Observation {
    let task = |n| serde_json::json!({"id": format!("P-{n:04}"), "@odata.etag": "W/\"1\"", "title": "T"});
    Observation { plan: "L".into(), changed: (0..count).map(task).collect(), ..Observation::default() }
}

fn names(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.id.as_str()).collect()
}

#[tokio::test]
async fn imports_wait_behind_and_have_a_quota_of_their_own() {
    let stage = Stage::start().await;
    backlog(&stage, 3, 300).await;
    let claimed = stage.world.claim(Quota { urgent: 20, low: 2 }, MINUTE).await.unwrap();
    assert_eq!(names(&claimed.claims), ["t-0", "t-1", "t-2", "planner-P-0000", "planner-P-0001"]);
    assert_eq!(claimed.claims.iter().filter(|claim| claim.low).count(), 2);
    let only_urgent = stage.world.claim(Quota { urgent: 20, low: 0 }, MINUTE).await.unwrap();
    assert!(only_urgent.claims.is_empty());
    assert!(only_urgent.next_in.unwrap() > Duration::from_secs(50), "what was not asked for is not told of");
}

#[tokio::test]
async fn a_mark_lifts_a_task_that_waited_behind_and_it_is_never_in_both_places() {
    let mut stage = Stage::start().await;
    backlog(&stage, 0, 3).await;
    let id = "planner-P-0002".to_owned();
    stage.world.mark(std::slice::from_ref(&id), Duration::ZERO).await.unwrap();
    let low: Vec<String> = stage.redis.zrange(keys::sync_due_low(), 0, -1).await.unwrap();
    assert_eq!(low, ["planner-P-0000", "planner-P-0001"]);
    assert_eq!(stage.list(keys::sync_pending()).await.len(), 3, "each waits once");
    let claims = stage.world.claim(Quota { urgent: 20, low: 0 }, MINUTE).await.unwrap().claims;
    assert_eq!((names(&claims), claims[0].low), (vec![id.as_str()], false));
    let mut commit = done(&claims[0]);
    (commit.hint, commit.next) = (2, Next::Done { hint: 2 });
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    assert_eq!(stage.due().await, ["planner-P-0000", "planner-P-0001"]);
}

#[tokio::test]
async fn a_change_of_a_known_task_goes_ahead_of_imports() {
    let mut stage = Stage::start().await;
    backlog(&stage, 0, 5).await;
    let () = stage.redis.set(keys::sync_rmap("P-k"), "known").await.unwrap();
    let mut change = imports(0);
    change.changed = vec![serde_json::json!({"id": "P-k", "@odata.etag": "W/\"2\"", "title": "T"})];
    stage.world.observe(change).await.unwrap();
    let claims = stage.world.claim(Quota { urgent: 0, low: 1 }, MINUTE).await.unwrap().claims;
    assert_eq!(names(&claims), ["known"]);
}

#[tokio::test]
async fn a_claimed_import_keeps_its_priority_until_somebody_marks_it() {
    let mut stage = Stage::start().await;
    backlog(&stage, 0, 2).await;
    let claims = stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims;
    stage.world.mark(&["planner-P-0001".to_owned()], Duration::ZERO).await.unwrap();
    for claim in &claims {
        let mut commit = done(claim);
        commit.next = Next::After(Duration::from_secs(30));
        stage.commit(commit).await;
    }
    let low: Vec<String> = stage.redis.zrange(keys::sync_due_low(), 0, -1).await.unwrap();
    let urgent: Vec<String> = stage.redis.zrange(keys::sync_due(), 0, -1).await.unwrap();
    assert_eq!((low, urgent), (vec!["planner-P-0000".to_owned()], vec!["planner-P-0001".to_owned()]));
}

#[tokio::test]
async fn who_takes_over_the_engine_gets_claimed_imports_too() {
    let mut stage = Stage::start().await;
    assert!(stage.world.hold_lease(MINUTE).await.unwrap());
    backlog(&stage, 0, 2).await;
    assert_eq!(stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.len(), 2);
    let () = stage.redis.del(keys::sync_lock("engine")).await.unwrap();
    let other = stage.other_world();
    assert!(other.hold_lease(MINUTE).await.unwrap());
    assert_eq!(other.claim(Quota::each(20), MINUTE).await.unwrap().claims.len(), 2);
}

/// The claim call of a worker, as the script has it.
async fn claim_call(stage: &Stage, number: u32) -> Vec<String> {
    let call = CLAIM
        .call()
        .key(keys::sync_due())
        .key(keys::sync_fence())
        .key(keys::sync_claimed("w"))
        .key(keys::sync_epoch())
        .num(20)
        .num(20)
        .num(60_000)
        .arg(keys::sync_state(""))
        .num(i64::from(number))
        .num(2)
        .num(5)
        .arg("*");
    let reply: Vec<redis::Value> = redis::from_redis_value(stage.store().run(&call).await.unwrap()).unwrap();
    reply.into_iter().skip(1).map(|part| redis::from_redis_value(part).unwrap()).collect()
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_answered_again_and_an_overtaken_one_takes_nothing() {
    let mut stage = Stage::start().await;
    stage.world.mark(&ids(0..2), Duration::ZERO).await.unwrap();
    let first = claim_call(&stage, 7).await;
    assert_eq!(first.len(), 6);
    stage.world.mark(&ids(2..3), Duration::ZERO).await.unwrap();
    assert_eq!(claim_call(&stage, 7).await, first, "the same again");
    let ttl: i64 = stage.redis.pttl(keys::sync_claimed("w")).await.unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    assert_eq!(claim_call(&stage, 8).await[0], "t-2");
    stage.world.mark(&ids(3..4), Duration::ZERO).await.unwrap();
    assert!(claim_call(&stage, 7).await.is_empty(), "nobody hears of it");
    assert_eq!(claim_call(&stage, 9).await[0], "t-3");
    assert!(claim_call(&stage, 10).await.is_empty());
    stage.world.mark(&ids(4..5), Duration::ZERO).await.unwrap();
    assert!(claim_call(&stage, 9).await.is_empty(), "overtaken by a call that found nothing");
}

#[tokio::test]
async fn the_world_asks_again_under_the_same_number_after_a_failure() {
    let mut stage = Stage::start().await;
    stage.world.mark(&ids(0..1), Duration::ZERO).await.unwrap();
    // A call that took its task and then failed on the way back looks to the worker like one that failed.
    let () = stage.redis.set(keys::sync_fence(), "no number").await.unwrap();
    assert!(stage.world.claim(Quota::each(20), MINUTE).await.is_err());
    // A clock that was ahead: fences rise all the same.
    let ahead = 3_000_000_000_000_000_u64;
    let () = stage.redis.set(keys::sync_fence(), ahead).await.unwrap();
    assert_eq!(stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims[0].fence, ahead + 1);
    let claimed: Vec<String> = stage.redis.keys(keys::sync_claimed("*")).await.unwrap();
    let number: u32 = stage.redis.lindex(&claimed[0], 0).await.unwrap();
    assert_eq!(number, 1, "the failed call had the same number");
}

#[tokio::test]
async fn a_task_whose_claims_run_out_is_claimed_alone_and_put_off_in_the_end() {
    let mut stage = Stage::start().await;
    stage.world.mark(&ids(0..3), Duration::ZERO).await.unwrap();
    let mut sizes = Vec::new();
    for _ in 0..2 {
        sizes.push(stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.len());
        stage.let_time_pass(60_001).await;
    }
    // Two of them are well when they are alone.
    for id in ["t-0", "t-1"] {
        let claims = stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims;
        sizes.push(claims.len());
        assert_eq!(names(&claims), [id]);
        assert_eq!(stage.commit(done(&claims[0])).await, CommitResult::Stored);
    }
    assert_eq!(stage.field(&keys::sync_state("t-0"), "claims_lost").await, None, "a result ends the count");
    let claim = async |stage: &Stage| stage.world.claim(Quota::each(20), MINUTE).await.unwrap();
    for _ in 2..5 {
        let claimed = claim(&stage).await;
        sizes.push(claimed.claims.len());
        stage.let_time_pass(60_001).await;
    }
    assert_eq!(sizes, [3, 3, 1, 1, 1, 1, 1]);
    let claimed = claim(&stage).await;
    assert_eq!((claimed.claims.len(), claimed.put_off), (0, vec!["t-2".to_owned()]));
    assert!(claimed.next_in.unwrap() > Duration::from_secs(55));
    stage.let_time_pass(60_001).await;
    assert_eq!(claim(&stage).await.claims.len(), 1, "it gets another chance");
    stage.let_time_pass(60_001).await;
    assert!(claim(&stage).await.next_in.unwrap() > Duration::from_secs(115), "and waits longer each time");
}

#[tokio::test]
async fn an_edit_while_a_task_is_worked_on_waits_for_further_ones() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", r#"{"title":"A"}"#).await;
    stage.world.mark(&["t".to_owned()], Duration::ZERO).await.unwrap();
    assert_eq!(stage.commit(done(&claim)).await, CommitResult::StoredDueAgain);
    let claimed = stage.world.claim(Quota::each(20), MINUTE).await.unwrap();
    assert!(claimed.claims.is_empty());
    let wait = claimed.next_in.unwrap();
    assert!(wait <= DEBOUNCE && wait > Duration::from_millis(1), "{wait:?}");
}

#[tokio::test]
async fn only_the_holder_of_the_engine_keeps_its_pace() {
    let stage = Stage::start().await;
    assert_eq!(stage.world.signals().await.unwrap().pace, None);
    let pace = Pace { per_second: 12.5, concurrency: 6, throttled: true };
    stage.world.keep_pace(pace).await.unwrap();
    assert_eq!(stage.world.signals().await.unwrap().pace, None);
    assert!(stage.world.hold_lease(MINUTE).await.unwrap());
    stage.world.keep_pace(pace).await.unwrap();
    stage.other_world().keep_pace(Pace { per_second: 1.0, ..pace }).await.unwrap();
    assert_eq!(stage.other_world().signals().await.unwrap().pace, Some(pace));
}

#[tokio::test]
async fn a_counter_that_a_failover_set_back_gives_no_fence_twice() {
    let mut stage = Stage::start().await;
    stage.world.mark(&ids(0..1), Duration::ZERO).await.unwrap();
    let before = stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.remove(0);
    let () = stage.redis.del(keys::sync_fence()).await.unwrap();
    stage.world.mark(&ids(1..2), Duration::ZERO).await.unwrap();
    let after = stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.remove(0);
    assert!(after.fence > before.fence, "{} after {}", after.fence, before.fence);
}

#[tokio::test]
async fn a_fence_from_before_a_wipe_is_never_given_again() {
    let mut stage = Stage::start().await;
    let before = stage.claimed("t", "{}").await;
    let _: redis::Value = redis::cmd("FLUSHALL").query_async(&mut stage.redis).await.unwrap();
    let after = stage.claimed("t", "{}").await;
    assert!(after.fence > before.fence, "{} after {}", after.fence, before.fence);
    assert_eq!(stage.commit(done(&before)).await, CommitResult::LeaseLost);
}

#[tokio::test]
async fn under_another_epoch_than_the_one_that_was_read_nothing_is_handed_out() {
    let mut stage = Stage::start().await;
    stage.world.mark(&["t".to_owned()], Duration::ZERO).await.unwrap();
    let code = |result: Result<Claimed, StoreError>| result.map_err(|error| error.code);
    assert_eq!(stage.world.epoch().await, Ok(None));
    let () = stage.redis.set(keys::sync_epoch(), "others").await.unwrap();
    assert_eq!(code(stage.world.claim(Quota::each(20), MINUTE).await), Err(EPOCH_CHANGED));
    assert_eq!(stage.world.set_epoch(None, "mine").await, Ok(false), "it is another one by now");
    assert_eq!(stage.world.epoch().await, Ok(Some("others".into())));
    assert_eq!(stage.world.set_epoch(Some("others"), "mine").await, Ok(true));
    assert_eq!(stage.world.claim(Quota::each(20), MINUTE).await.unwrap().claims.len(), 1);
    let () = stage.redis.del(keys::sync_epoch()).await.unwrap();
    assert_eq!(
        code(stage.world.claim(Quota::each(20), MINUTE).await),
        Err(EPOCH_CHANGED),
        "a rebuild was asked for"
    );
}
