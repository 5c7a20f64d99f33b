//! Two handlers of one app side by side, as at every restart of the host: one engine, and no task twice.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use annika::keys;
use annika_devkit::{
    functions_host::{FunctionsHost, Source},
    graph::seed,
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Rig, say, within};

const TASKS: usize = 60;

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn said(host: &FunctionsHost, what: &str) -> bool {
    host.log().iter().any(|line| line.source == Source::Stdout && line.text.contains(what))
}

fn title(n: usize) -> String {
    format!("handed over {n:02}")
}

/// The first process stands still in the middle of its work for longer than its lease, and then goes on.
#[tokio::test]
async fn an_engine_that_stood_still_and_its_successor_make_no_task_twice() {
    let rig = Rig::start_with(|options| options.graph.latency = Duration::from_millis(300)).await;
    rig.fire();
    within(10, "the first engine runs", async || said(rig.host(), "the Planner sync starts")).await;
    let second = rig.another_host().await;
    drop(second.fire_detached("planner_poll").unwrap());
    for n in 0..TASKS {
        rig.create(&format!("h-{n}"), &title(n)).await;
    }
    let count = || (0..TASKS).filter(|n| !rig.titled(&title(*n)).is_empty()).count();
    within(20, "the middle of the work", async || count() >= 20).await;
    let first = rig.host().handler_pid().unwrap();
    signal(first, "STOP");
    let before = count();
    assert!(before < TASKS, "there is something left to do");

    within(50, "the second engine settles the rest", async || {
        let failed = rig.failed().await;
        for n in 0..TASKS {
            let id = format!("h-{n}");
            if rig.mapped(&id).await.is_none() && !failed.iter().any(|(failed, _)| *failed == id) {
                return false;
            }
        }
        true
    })
    .await;
    signal(first, "CONT");
    within(20, "the first one sees that another has the work", async || {
        said(rig.host(), "engine_lease_lost")
    })
    .await;
    assert_eq!(rig.get("/api/tasks/h-0").await.status, 200, "it goes on serving agents");
    // Whatever it had under way is answered by now; every task is there once.
    let open = async || rig.control().journal().iter().all(|entry| entry.done_ms.is_some());
    within(20, "nothing is under way", open).await;
    rig.poll().await;
    within(30, "what Planner has is adopted", async || {
        let failed = rig.failed().await;
        (0..TASKS).all(|n| {
            let listed = failed.iter().any(|(id, _)| *id == format!("h-{n}"));
            !listed || rig.titled(&title(n)).is_empty()
        })
    })
    .await;
    let failed = rig.failed().await;
    for n in 0..TASKS {
        let found = rig.titled(&title(n)).len();
        assert!(found <= 1, "{} is {found} times in Planner", title(n));
        let listed = failed.contains(&(format!("h-{n}"), "create_unresolved".to_owned()));
        assert!(rig.mapped(&format!("h-{n}")).await.is_some() || listed, "{} is lost", title(n));
    }
    say(&format!(
        "handover: {before} of {TASKS} done at the standstill; {} unresolved in the end",
        failed.len()
    ));
    rig.check(&["handed over"]);
    second.stop().await;
}

/// The first process dies with tasks under way; the second one already waits.
#[tokio::test]
async fn an_engine_that_waits_takes_over_within_its_lease_after_a_kill() {
    const LEASE: u64 = 3;
    let short = [("PLANNER_LEASE_SECONDS", "3"), ("PLANNER_TASK_LEASE_SECONDS", "60")];
    let rig = Rig::start_with(|options| {
        options.graph.latency = Duration::from_millis(300);
        let own = short.map(|(name, value)| (name.to_owned(), value.to_owned()));
        options.host.env.extend(own);
    })
    .await;
    rig.fire();
    within(10, "the first engine runs", async || said(rig.host(), "the Planner sync starts")).await;
    let second = rig.another_host_with(&short).await;
    drop(second.fire_detached("planner_poll").unwrap());
    within(10, "the second one waits", async || said(&second, "the Planner sync starts")).await;
    for n in 0..40 {
        rig.create(&format!("k-{n}"), &format!("killed {n:02}")).await;
    }
    let count = || (0..40).filter(|n| !rig.titled(&format!("killed {n:02}")).is_empty()).count();
    within(20, "the middle of the work", async || count() >= 10).await;
    let holder =
        async || -> Option<String> { rig.redis.clone().get(keys::sync_lock("engine")).await.unwrap() };
    let first = holder().await.expect("it is held");
    signal(rig.host().handler_pid().unwrap(), "KILL");
    let killed = Instant::now();
    within(LEASE + 5, "another holds the engine", async || holder().await.is_some_and(|now| now != first))
        .await;
    let took = killed.elapsed();
    assert!(took <= Duration::from_secs(LEASE) + Duration::from_millis(1_500), "{took:?}");
    // What the dead one had claimed for a minute is taken up at once.
    within(20, "the rest is settled", async || {
        let failed = rig.failed().await;
        for n in 0..40 {
            let id = format!("k-{n}");
            if rig.mapped(&id).await.is_none() && !failed.iter().any(|(failed, _)| *failed == id) {
                return false;
            }
        }
        true
    })
    .await;
    say(&format!("handover: the successor held the engine {} ms after the kill", took.as_millis()));
    assert!(killed.elapsed() < Duration::from_secs(30));
    second.stop().await;
}

/// As a timer that does not fire leaves it: the last health is old, and no engine runs.
async fn forsaken(rig: &Rig) {
    let health = json!({"timestamp": "2026-01-01T00:00:00Z", "plans": 1}).to_string();
    let () = rig.redis.clone().set(keys::sync_health(), health).await.unwrap();
}

#[tokio::test]
async fn where_the_timer_fails_a_request_leaves_one_cycle_behind_and_never_waits_for_it() {
    let rig = Rig::start_with(|options| options.graph.latency = Duration::from_secs(2)).await;
    let second = rig.another_host().await;
    rig.create("o-1", "overdue").await;
    forsaken(&rig).await;
    let url = format!("{}/api/health/live", second.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let key = second.function_key();
    let slowest = async |n: usize| {
        let begun = Instant::now();
        let there = client.get(&url).header("x-functions-key", key).send();
        let (here, there) = tokio::join!(rig.get("/api/tasks/o-1"), there);
        assert_eq!((here.status, there.unwrap().status().as_u16()), (200, 200), "{n}");
        begun.elapsed()
    };
    let mut longest = Duration::ZERO;
    for n in 0..20 {
        longest = longest.max(slowest(n).await);
    }
    assert!(longest < Duration::from_millis(1_500), "an answer waited: {longest:?}");
    rig.in_planner("overdue", 20).await;
    let ended = async || {
        let health: Option<String> = rig.redis.clone().get(keys::sync_health()).await.unwrap();
        let health: Value = serde_json::from_str(&health.unwrap()).unwrap();
        let held: bool = rig.redis.clone().exists(keys::sync_lock("engine")).await.unwrap();
        health["counters"]["polls"].as_u64().is_some_and(|polls| polls >= 1) && !held
    };
    within(30, "the cycle has ended", ended).await;
    let started = |host: &FunctionsHost| {
        host.log().iter().filter(|line| line.text.contains("one cycle is run here")).count()
    };
    let lists = rig.control().counts().app.by_route["GET /planner/plans/{id}/tasks"];
    // The first cycle over an empty Redis is a rebuild, which reads every list twice and once more at its end.
    let cycles = (started(rig.host()), started(&second));
    assert!((1..=3).contains(&lists), "one cycle over both processes: {lists} lists, {cycles:?} started");
    assert!(cycles.0 + cycles.1 >= 1);
    say(&format!("overdue: the slowest of 40 answers beside the cycle took {} ms", longest.as_millis()));
    assert_eq!(rig.titled("overdue").len(), 1);
    assert_eq!(rig.document("o-1").await.unwrap()["plan_id"], seed::PLAN);
    second.stop().await;
}

#[tokio::test]
async fn a_fresh_process_leaves_the_timer_its_time() {
    let rig = Rig::start_with(|_| {}).await;
    rig.create("f-1", "fresh").await;
    for _ in 0..5 {
        rig.get("/api/tasks/f-1").await;
    }
    let looked: Option<String> = rig.redis.clone().get(keys::sync_health()).await.unwrap();
    assert_eq!(looked, None, "no cycle has run");
    assert!(rig.titled("fresh").is_empty());
}
