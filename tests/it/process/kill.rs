//! kill -9 of the handler in the middle of 200 uploads, five times with different seeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::{Duration, Instant},
};

use annika::{keys, tasks::pending_entry};
use annika_devkit::{
    functions_host::State,
    graph::{Entry, EntryKind, random::SimRng, seed},
};
use redis::Pipeline;
use serde_json::{Value, json};

use super::{Rig, say, within};

const TASKS: usize = 200;

/// How long Graph takes: longer than the limiter's step, so that some batch of creates is always on its way.
const LATENCY: Duration = Duration::from_millis(400);

fn is_create(entry: &Entry) -> bool {
    entry.kind == EntryKind::Item && entry.method == "POST" && entry.path.ends_with("/planner/tasks")
}

/// Creates that took effect.
fn committed(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| is_create(entry) && entry.committed).count()
}

/// Batches that are not answered yet.
fn open(entries: &[Entry]) -> BTreeSet<u64> {
    let open = |entry: &&Entry| entry.kind == EntryKind::Batch && entry.done_ms.is_none();
    entries.iter().filter(open).map(|entry| entry.seq).collect()
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
        options.graph.latency = LATENCY;
        for (name, value) in
            [("GRAPH_RATE_PER_SECOND", "100"), ("GRAPH_RATE_MAX", "100"), ("GRAPH_RATE_BURST", "20")]
        {
            options.env.push((name.to_owned(), value.to_owned()));
        }
    })
    .await;
    let mut redis = rig.redis.clone();
    let mut random = SimRng::new(seed);
    // Twenty to a batch: the kill falls after the second to the seventh of ten, anywhere between two.
    let threshold = 21 + usize::try_from(random.next_u64() % 120).unwrap();
    let delay = Duration::from_millis(random.next_u64() % 180);
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

    within(40, "the middle of the uploads", async || committed(&rig.control().journal()) >= threshold).await;
    tokio::time::sleep(delay).await;
    let pid = rig.host().handler_pid().unwrap();
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    let at_kill = rig.control().journal();
    let start = Instant::now();
    assert!(killed.success());
    let committed_then = committed(&at_kill);
    assert!((20..=180).contains(&committed_then), "seed {seed}: {committed_then} committed at the kill");
    let open_then = open(&at_kill);
    let again = rig.host().wait_for(Duration::from_secs(20), |state| *state != State::Ready).await;
    assert!(again.is_some(), "the emulator saw the end");
    let ready = rig.host().wait_for(Duration::from_secs(20), |state| *state == State::Ready).await;
    assert!(ready.is_some() && rig.host().handler_pid() != Some(pid), "the emulator started another");
    // The host's next tick.
    rig.fire();

    within(50, &format!("seed {seed}: every task is settled"), async || {
        let failed = rig.failed().await;
        let listed: BTreeSet<String> = failed.into_iter().map(|(id, _)| id).collect();
        let keys: Vec<String> = (0..TASKS).map(|n| keys::planner_id_map(&id(n))).collect();
        let maps: Vec<Option<String>> =
            redis::cmd("MGET").arg(&keys).query_async(&mut redis.clone()).await.unwrap();
        (0..TASKS).all(|n| maps[n].is_some() || listed.contains(&id(n)))
    })
    .await;
    // What a list can still explain is adopted: a task that Planner has is in the end mapped.
    rig.poll().await;
    let explained = async || {
        for (id, _) in rig.failed().await {
            let n: usize = id.trim_start_matches("up-").parse().unwrap();
            if !rig.titled(&title(n)).is_empty() {
                return false;
            }
        }
        true
    };
    within(30, &format!("seed {seed}: lost creates are adopted"), explained).await;
    let took = start.elapsed();

    // The simulator carries out what it has received, whether or not somebody waits for the answer.
    let journal = rig.control().journal();
    let in_flight: Vec<&Entry> = journal
        .iter()
        .filter(|entry| is_create(entry) && entry.batch.is_some_and(|batch| open_then.contains(&batch)))
        .collect();
    assert!(!in_flight.is_empty(), "seed {seed}: no create was in flight at the kill");

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
            None => {
                assert_eq!(failed.get(&id(n)).map(String::as_str), Some("create_unresolved"), "{}", id(n))
            }
        }
    }
    let adopted =
        in_flight.iter().filter(|entry| entry.id.as_ref().is_some_and(|id| used.contains(id))).count();
    let documents: Vec<String> =
        redis::cmd("KEYS").arg(keys::task("*")).query_async(&mut redis).await.unwrap();
    assert_eq!(documents.len(), TASKS + 2, "the uploads and the plan's own two tasks, none imported twice");
    let mirror: Vec<String> =
        redis::cmd("LRANGE").arg(keys::sync_pending()).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    assert!(mirror.iter().all(|entry| *entry != pending_entry(&id(0)) || failed.contains_key(&id(0))));
    rig.check(&["upload "]);
    say(&format!(
        "kill -9, seed {seed}: {committed_then} creates committed and {} in flight at the kill, {adopted} of them adopted \
         from a list; {} unresolved in the end; settled after {:.1} s",
        in_flight.len(),
        failed.len(),
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
