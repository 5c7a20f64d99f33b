//! Bad weather: Redis away, Graph away, nothing configured. Agents are served, work resumes by itself.

use std::time::Duration;

use annika::keys;
use annika_devkit::{graph::seed, redis_server::RedisOptions};
use redis::AsyncCommands;
use serde_json::json;

use super::{Rig, within};

#[tokio::test]
async fn without_redis_the_handler_starts_says_so_and_recovers_without_a_restart() {
    let rig = Rig::start_with(|options| {
        options.redis = RedisOptions { appendonly: true, ..RedisOptions::default() };
    })
    .await;
    rig.fire();
    rig.create("before", "written before").await;
    rig.in_planner("written before", 10).await;
    let pid = rig.host().handler_pid();
    let server = rig.stack.redis.as_ref().unwrap();
    server.kill9();

    let root = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = root.get(format!("http://127.0.0.1:{}/", rig.host().handler_port())).send().await.unwrap();
    assert_eq!(answer.status(), 200, "the host's readiness question");
    assert_eq!(rig.get("/api/health/live").await.status, 200);
    for (method, path) in [
        ("GET", "/api/health/ready"),
        ("GET", "/api/tasks"),
        ("GET", "/api/tasks/before"),
        ("POST", "/api/sync/poll"),
    ] {
        let reply = rig.send(method, path, None).await;
        assert_eq!((reply.status, reply.json["code"].as_str()), (503, Some("redis_unavailable")), "{path}");
        assert!(reply.retry_after.is_some(), "{path}");
    }
    let refused = rig.send("POST", "/api/tasks", Some(json!({"title": "written meanwhile"}))).await;
    assert_eq!(refused.status, 503);
    assert!(refused.retry_after.is_some());

    server.restart().await.unwrap();
    within(15, "readiness", async || rig.get("/api/health/ready").await.status == 200).await;
    rig.create("after", "written after").await;
    rig.in_planner("written after", 10).await;
    // The subscription is back too, and a plain publish is heard long before a sweep.
    let mut redis = server.connect().await.unwrap();
    let text = json!({"id": "heard", "title": "heard after", "plan_id": seed::PLAN}).to_string();
    let () = redis.set(keys::task("heard"), text).await.unwrap();
    within(10, "the subscription is back", async || {
        let message = r#"{"task_id":"heard","action":"created"}"#;
        let heard: usize = redis.publish(keys::tasks_updates(), message).await.unwrap();
        heard > 0
    })
    .await;
    rig.in_planner("heard after", 10).await;
    assert_eq!(rig.host().handler_pid(), pid, "the same process");
    rig.check(&["written before", "written meanwhile", "written after", "heard after"]);
}

#[tokio::test]
async fn without_graph_agents_notice_nothing_and_work_resumes() {
    let rig = Rig::start().await;
    rig.create("first", "before the outage").await;
    rig.in_planner("before the outage", 10).await;
    rig.control().set_offline(true);
    for n in 0..5 {
        rig.create(&format!("out-{n}"), &format!("during the outage {n}")).await;
    }
    let patched =
        rig.send("PATCH", "/api/tasks/first", Some(json!({"title": "changed in the outage"}))).await;
    assert_eq!(patched.status, 200);
    within(15, "readiness says it", async || {
        rig.reasons().await.iter().any(|code| code == "graph_unreachable")
    })
    .await;
    assert_eq!(rig.get("/api/tasks/out-4").await.json["title"], "during the outage 4");
    rig.control().set_offline(false);
    rig.in_planner("changed in the outage", 40).await;
    within(15, "the outage is over for readiness too", async || {
        !rig.reasons().await.iter().any(|code| code == "graph_unreachable")
    })
    .await;
    // A create whose connection was cut may have been made: it is listed until that is known.
    within(40, "every task is in Planner once, or listed", async || {
        let failed = rig.failed().await;
        for n in 0..5 {
            let id = format!("out-{n}");
            let listed = failed.contains(&(id.clone(), "create_unresolved".to_owned()));
            if rig.mapped(&id).await.is_none() && !listed {
                return false;
            }
        }
        true
    })
    .await;
    for n in 0..5 {
        assert!(rig.titled(&format!("during the outage {n}")).len() <= 1);
    }
    let resumed = async || {
        let mut mapped = 0;
        for n in 0..5 {
            mapped += usize::from(rig.mapped(&format!("out-{n}")).await.is_some());
        }
        mapped
    };
    assert!(resumed().await > 0, "what was never sent is sent now");
    rig.check(&["before the outage", "during the outage"]);
}

#[tokio::test]
async fn without_credentials_and_plans_agents_are_served_and_the_sync_begins_when_they_appear() {
    let mut rig = Rig::start_with(|options| {
        options.plans = String::new();
        for name in ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_CLIENT_ID"] {
            options.env.push((name.to_owned(), String::new()));
        }
    })
    .await;
    rig.fire();
    let task = json!({"id": "t", "title": "served all the same"});
    assert_eq!(rig.send("POST", "/api/tasks", Some(task)).await.status, 201);
    assert_eq!(rig.get("/api/tasks/t").await.status, 200);
    let reasons = rig.reasons().await;
    assert!(reasons.contains(&"credentials_missing".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"plans_missing".to_owned()), "{reasons:?}");
    let ready = rig.get("/api/health/ready").await.json.to_string();
    for name in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "PLANNER_PLANS"] {
        assert!(ready.contains(name), "{name} in {ready}");
    }
    rig.check_logs(&["served all the same"]);
    // The platform starts the app anew when a setting changes: the new one is there before the old one goes.
    let host = rig.another_host().await;
    let old = std::mem::replace(&mut rig.stack.host, host);
    rig.fire();
    old.stop().await;
    rig.in_planner("served all the same", 50).await;
    within(15, "readiness is content", async || rig.reasons().await.is_empty()).await;
    rig.check(&["served all the same"]);
}

#[tokio::test]
async fn a_default_plan_that_is_set_while_it_runs_starts_the_sync() {
    let rig = Rig::start_with(|options| options.plans = String::new()).await;
    rig.fire();
    let task = json!({"id": "t", "title": "waits for a plan"});
    assert_eq!(rig.send("POST", "/api/tasks", Some(task)).await.status, 201);
    within(10, "readiness says it", async || rig.reasons().await.contains(&"plans_missing".to_owned())).await;
    assert!(rig.titled("waits for a plan").is_empty());
    let () = rig.redis.clone().set(keys::config_default_plan_id(), seed::PLAN).await.unwrap();
    rig.poll().await;
    rig.in_planner("waits for a plan", 45).await;
    within(20, "the plan's tasks are imported", async || {
        rig.document(&format!("planner-{}", seed::TASK)).await.is_some()
    })
    .await;
    within(15, "readiness is content", async || rig.reasons().await.is_empty()).await;
    rig.check(&["waits for a plan"]);
}

#[tokio::test]
async fn a_poll_is_accepted_at_once_while_graph_hangs() {
    use annika_devkit::graph::{Effect, Fault, When};
    let rig = Rig::start().await;
    rig.in_planner("Update client list", 10).await;
    within(10, "the first poll", async || rig.document(&format!("planner-{}", seed::TASK)).await.is_some())
        .await;
    let hang = Fault::on("/v1", Effect::Hang { when: When::Before }).times(0);
    rig.control().fault(hang).unwrap();
    for _ in 0..5 {
        let start = std::time::Instant::now();
        rig.poll().await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    rig.create("t", "agents go on").await;
    rig.check_logs(&["agents go on"]);
}

#[tokio::test]
async fn a_wiped_redis_is_filled_from_planner_and_neither_deletes_nor_doubles_anything() {
    let rig = Rig::start().await;
    let mut redis = rig.redis.clone();
    for n in 0..5 {
        rig.create(&format!("w-{n}"), &format!("outlives a wipe {n}")).await;
        rig.in_planner(&format!("outlives a wipe {n}"), 10).await;
        within(10, "it is mapped", async || rig.mapped(&format!("w-{n}")).await.is_some()).await;
    }
    let before = rig.control().tasks(seed::PLAN).len();
    let writes = rig.control().counts().app.committed;
    let _: redis::Value = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
    rig.poll().await;
    within(20, "every task of the plan is imported", async || {
        for task in rig.control().tasks(seed::PLAN) {
            let id = format!("planner-{}", task["id"].as_str().unwrap());
            if rig.document(&id).await.is_none_or(|document| document["title"] != task["title"]) {
                return false;
            }
        }
        true
    })
    .await;
    rig.poll().await;
    within(10, "nothing waits", async || rig.get("/api/health/ready").await.json["pending"] == json!(0))
        .await;
    assert_eq!(rig.control().tasks(seed::PLAN).len(), before);
    assert_eq!(rig.control().counts().app.committed, writes, "an import writes nothing to Planner");
    rig.check(&["outlives a wipe"]);
}
