//! Bad networks between the handler and Redis and Graph: time-outs and recovery, nothing lost, nothing twice.

use std::time::{Duration, Instant};

use annika::keys;
use annika_devkit::{
    chaos_proxy::{ChaosProxy, Flow, Weather, storm},
    graph::seed,
    redis_server::RedisOptions,
};
use serde_json::json;

use super::{Rig, say, within};

async fn proxied() -> Rig {
    let rig = Rig::start_with(|options| {
        options.proxied = true;
        options.redis = RedisOptions { appendonly: true, ..RedisOptions::default() };
    })
    .await;
    rig.fire();
    rig
}

fn to_redis(rig: &Rig) -> &ChaosProxy {
    rig.stack.to_redis.as_ref().unwrap()
}

#[tokio::test]
async fn a_bad_way_to_redis_is_a_time_out_and_heals_by_itself() {
    let rig = proxied().await;
    rig.create("before", "written in fair weather").await;
    rig.in_planner("written in fair weather", 20).await;
    let trickle = Flow::Trickle { bytes: 1, every: Duration::from_millis(200) };
    for weather in [
        Weather::both(Flow::Hold),
        Weather::answers(Flow::Lose),
        Weather::requests(Flow::Lose),
        Weather::answers(trickle),
    ] {
        to_redis(&rig).set(weather);
        let start = Instant::now();
        let reply = rig.get("/api/tasks/before").await;
        let code = reply.json["code"].as_str().unwrap_or_default();
        assert_eq!(reply.status, 503, "{weather:?}: {reply:?}");
        assert!(["redis_timeout", "redis_unavailable"].contains(&code), "{weather:?}: {code}");
        assert!(reply.retry_after.is_some());
        assert!(start.elapsed() < Duration::from_secs(8), "{weather:?}: {:?}", start.elapsed());
        to_redis(&rig).calm();
        // What stands half-open would be noticed by the next time-out; a cut is what the other end's reset does.
        to_redis(&rig).cut();
        within(15, "it heals", async || rig.get("/api/tasks/before").await.status == 200).await;
    }
    to_redis(&rig).set(Weather::both(Flow::Delay(Duration::from_millis(150))));
    let reply = rig.get("/api/tasks/before").await;
    assert_eq!(reply.status, 200, "a slow Redis is slow and no error");
    to_redis(&rig).calm();
    rig.create("after", "written after the storm").await;
    rig.in_planner("written after the storm", 45).await;
    assert!(rig.document("before").await.is_some() && rig.failed().await.is_empty());
    rig.check_logs(&["written"]);
}

/// Agents write while both ways are bad; then every task is in Planner once.
async fn storm_of(seed: u64) {
    const TASKS: usize = 24;
    let rig = proxied().await;
    within(20, "the first poll", async || rig.document(&format!("planner-{}", seed::TASK)).await.is_some())
        .await;
    let title = |n: usize| format!("storm {n:02}");
    let writing = async {
        for n in 0..TASKS {
            let id = format!("s-{n}");
            let task = json!({"id": id, "title": title(n), "plan_id": seed::PLAN}).to_string();
            let mut pipe = redis::Pipeline::new();
            pipe.set(keys::task(&id), task).ignore();
            pipe.publish(keys::tasks_updates(), json!({"task_id": id, "action": "created"}).to_string())
                .ignore();
            let () = pipe.query_async(&mut rig.redis.clone()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
    };
    let (redis_storm, graph_storm) = (storm(seed, 10), storm(seed + 1_000, 10));
    let to_graph = rig.stack.to_graph.as_ref().unwrap();
    tokio::join!(writing, to_redis(&rig).play(&redis_storm), to_graph.play(&graph_storm));
    let start = Instant::now();
    let settled = async || {
        let failed = rig.failed().await;
        for n in 0..TASKS {
            let id = format!("s-{n}");
            if rig.mapped(&id).await.is_none() && !failed.contains(&(id, "create_unresolved".to_owned())) {
                return false;
            }
        }
        true
    };
    within(150, &format!("storm {seed}: every task is settled"), settled).await;
    for n in 0..TASKS {
        let found = rig.titled(&title(n)).len();
        assert!(found <= 1, "storm {seed}: {} is {found} times in Planner", title(n));
        if let Some(planner_id) = rig.mapped(&format!("s-{n}")).await {
            assert!(rig.control().task(&planner_id).is_some(), "storm {seed}: {} is lost", title(n));
        }
    }
    let (lost, counts) = (to_redis(&rig).passed().lost + to_graph.passed().lost, rig.control().counts().app);
    say(&format!(
        "storm {seed}: {TASKS} tasks, {lost} bytes lost on the way, {} creates, {} unresolved; settled after {:.1} s",
        counts.by_route.get("POST /planner/tasks").copied().unwrap_or(0),
        rig.failed().await.len(),
        start.elapsed().as_secs_f64()
    ));
    rig.check(&["storm "]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_on_both_ways_lose_nothing_and_make_nothing_twice() {
    futures::future::join_all([storm_of(1), storm_of(2)]).await;
}
