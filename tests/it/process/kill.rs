//! kill -9 of the handler in the middle of 200 uploads, five times with different seeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::{Duration, Instant},
};

use annika::{keys, tasks::pending_entry};
use annika_devkit::{
    functions_host::State,
    graph::{Entry, EntryKind, seed},
};
use redis::Pipeline;
use serde_json::{Value, json};

use super::{Rig, say, within};

const TASKS: usize = 200;

/// Creates that took effect, and requests of ours that are not answered yet.
fn progress(entries: &[Entry]) -> (usize, usize) {
    let creates = |entry: &&Entry| entry.method == "POST" && entry.path.ends_with("/planner/tasks");
    let committed = entries.iter().filter(creates).filter(|entry| entry.committed).count();
    let open = |entry: &&Entry| entry.done_ms.is_none() && entry.kind != EntryKind::Token;
    (committed, entries.iter().filter(open).count())
}

fn title(n: usize) -> String {
    format!("upload {n:03}")
}

fn id(n: usize) -> String {
    format!("up-{n:03}")
}

async fn one(seed: u64) {
    let rig = Rig::start_with(|options| {
        options.graph.seed = seed;
        options.graph.latency = Duration::from_millis(120);
        for (name, value) in
            [("GRAPH_RATE_PER_SECOND", "100"), ("GRAPH_RATE_MAX", "100"), ("GRAPH_RATE_BURST", "20")]
        {
            options.env.push((name.to_owned(), value.to_owned()));
        }
    })
    .await;
    let mut redis = rig.redis.clone();
    // Twenty to a batch: the kill falls after the third to the eighth of ten.
    let threshold = 40 + usize::try_from(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).unwrap() % 100;
    rig.fire();
    within(20, "the engine runs", async || rig.get("/api/tasks/planner-none").await.status == 404).await;
    let mut pipe = Pipeline::new();
    for n in 0..TASKS {
        let text = json!({"id": id(n), "title": title(n), "plan_id": seed::PLAN}).to_string();
        pipe.set(keys::task(&id(n)), text).ignore();
        pipe.rpush(keys::sync_pending(), format!(r#"{{"task_id":"{}"}}"#, id(n))).ignore();
        let message = json!({"action": "created", "task_id": id(n), "source": "agent"}).to_string();
        pipe.publish(keys::tasks_updates(), message).ignore();
    }
    let () = pipe.query_async(&mut redis).await.unwrap();

    within(40, "the middle of the uploads", async || {
        let (committed, open) = progress(&rig.control().journal());
        committed >= threshold && open > 0
    })
    .await;
    let pid = rig.host().handler_pid().unwrap();
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    let (committed, open) = progress(&rig.control().journal());
    let start = Instant::now();
    assert!(killed.success());
    assert!((20..=180).contains(&committed), "seed {seed}: {committed} committed at the kill");
    assert!(open > 0, "seed {seed}: nothing was in flight at the kill");
    let again = rig.host().wait_for(Duration::from_secs(20), |state| *state != State::Ready).await;
    assert!(again.is_some(), "the emulator saw the end");
    let ready = rig.host().wait_for(Duration::from_secs(20), |state| *state == State::Ready).await;
    assert!(ready.is_some() && rig.host().handler_pid() != Some(pid), "the emulator started another");
    // The host's next tick.
    rig.fire();

    let mut unresolved_at_most = 0;
    within(50, &format!("seed {seed}: every task is settled"), async || {
        let failed = rig.failed().await;
        unresolved_at_most = unresolved_at_most.max(failed.len());
        let listed: BTreeSet<String> = failed.into_iter().map(|(id, _)| id).collect();
        let keys: Vec<String> = (0..TASKS).map(|n| keys::planner_id_map(&id(n))).collect();
        let maps: Vec<Option<String>> =
            redis::cmd("MGET").arg(&keys).query_async(&mut redis.clone()).await.unwrap();
        (0..TASKS).all(|n| maps[n].is_some() || listed.contains(&id(n)))
    })
    .await;
    // What a list can still explain is adopted: a task that Planner has is in the end mapped.
    rig.poll().await;
    let adopted = async || {
        for (id, _) in rig.failed().await {
            let n: usize = id.trim_start_matches("up-").parse().unwrap();
            if !rig.titled(&title(n)).is_empty() {
                return false;
            }
        }
        true
    };
    within(30, &format!("seed {seed}: lost creates are adopted"), adopted).await;
    let took = start.elapsed();

    let mut by_title: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for task in rig.control().tasks(seed::PLAN) {
        by_title.entry(task["title"].as_str().unwrap().to_owned()).or_default().push(task);
    }
    let failed: BTreeMap<String, String> = rig.failed().await.into_iter().collect();
    let mut used = BTreeSet::new();
    for n in 0..TASKS {
        let found = by_title.get(&title(n)).map_or(0, Vec::len);
        assert!(found <= 1, "seed {seed}: {} is {found} times in Planner", title(n));
        match rig.mapped(&id(n)).await {
            Some(planner_id) => {
                assert_eq!(found, 1, "seed {seed}: {} is mapped and not in Planner", title(n));
                assert_eq!(by_title[&title(n)][0]["id"], planner_id.as_str());
                assert!(used.insert(planner_id), "two tasks are one in Planner");
                assert!(!failed.contains_key(&id(n)));
            }
            None => assert_eq!(failed.get(&id(n)).map(String::as_str), Some("create_unresolved"), "{}", id(n)),
        }
    }
    let documents: Vec<String> =
        redis::cmd("KEYS").arg(keys::task("*")).query_async(&mut redis).await.unwrap();
    assert_eq!(documents.len(), TASKS + 2, "the uploads and the plan's own two tasks, none imported twice");
    let mirror: Vec<String> =
        redis::cmd("LRANGE").arg(keys::sync_pending()).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    assert!(mirror.iter().all(|entry| *entry != pending_entry(&id(0)) || failed.contains_key(&id(0))));
    rig.check(&["upload "]);
    say(&format!(
        "kill -9, seed {seed}: {committed} committed and {open} requests in flight at the kill; {} unresolved, {} adopted; \
         all settled after {:.1} s",
        failed.len(),
        unresolved_at_most.saturating_sub(failed.len()),
        took.as_secs_f64(),
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_seeded_kills_in_the_middle_of_200_uploads_make_no_duplicate() {
    let start = Instant::now();
    // Side by side: each waits out the lease of its dead engine.
    futures::future::join_all((1..=5).map(one)).await;
    say(&format!("kill -9: five seeds in {:.1} s", start.elapsed().as_secs_f64()));
}
