//! A full Redis, one that takes no writes, and one that is slow: agents are told, and what can go on goes on.

use std::time::Duration;

use annika::keys;
use annika_devkit::graph::seed;
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Rig, within};

async fn config(rig: &Rig, name: &str, value: &str) {
    let () =
        redis::cmd("CONFIG").arg(&["SET", name, value]).query_async(&mut rig.redis.clone()).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_refuses_new_tasks_by_name_and_syncs_what_is_there() {
    let rig = Rig::start().await;
    for id in ["edited", "deleted", "dropped", "theirs"] {
        rig.create(id, &format!("there: {id}")).await;
    }
    for id in ["edited", "deleted", "dropped", "theirs"] {
        rig.in_planner(&format!("there: {id}"), 20).await;
    }
    within(20, "all is calm", async || {
        rig.redis.clone().zcard::<_, usize>(keys::sync_due()).await.unwrap() == 0
    })
    .await;
    config(&rig, "maxmemory", "1").await;

    let new = json!({"title": "no room"});
    for (method, path, body) in [
        ("POST", "/api/tasks", Some(new.clone())),
        ("PUT", "/api/tasks/other", Some(new.clone())),
        ("PATCH", "/api/tasks/edited", Some(json!({"title": "no room for this"}))),
    ] {
        let reply = rig.send(method, path, body).await;
        assert_eq!((reply.status, &reply.json["code"]), (503, &json!("redis_full")), "{method} {path}");
        assert!(reply.retry_after.is_some(), "{method} {path}");
    }
    assert_eq!(rig.get("/api/tasks/edited").await.json["title"], "there: edited");
    assert_eq!(rig.get("/api/tasks").await.status, 200);
    // An agent's deletion through the API and one of its own, and an edit by a person, go the whole way while Redis is
    // full. (A DEL that nobody tells of takes two sweeps, a minute: the contracts make those calls.)
    assert_eq!(rig.send("DELETE", "/api/tasks/deleted", None).await.status, 204);
    let () = rig.redis.clone().del(keys::task("dropped")).await.unwrap();
    let message = json!({"task_id": "dropped", "action": "deleted", "source": "agent"}).to_string();
    let _: usize = rig.redis.clone().publish(keys::tasks_updates(), message).await.unwrap();
    let theirs = rig.mapped("theirs").await.unwrap();
    rig.control().person_patch(seed::PERSON, &theirs, json!({"title": "edited in Planner"})).unwrap();
    within(30, "the deletion reaches Planner", async || rig.titled("there: deleted").is_empty()).await;
    // The engine is heard all the while.
    let heard = rig.get("/api/sync/status").await.json["published_at"].clone();
    within(20, "health is published while Redis is full", async || {
        let now = rig.get("/api/sync/status").await.json["published_at"].clone();
        now.is_string() && now != heard
    })
    .await;
    rig.send("POST", "/api/sync/poll", None).await;
    within(60, "the edit comes down", async || {
        rig.document("theirs").await.is_some_and(|task| task["title"] == "edited in Planner")
    })
    .await;
    within(30, "the agent's own DEL reaches Planner", async || rig.titled("there: dropped").is_empty()).await;
    config(&rig, "maxmemory", "0").await;
    rig.create("later", "there is room again").await;
    rig.in_planner("there is room again", 45).await;
    assert_eq!(rig.failed().await, []);
    rig.check(&["there: edited", "there: deleted", "edited in Planner"]);
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_told_and_loses_nothing() {
    let rig = Rig::start().await;
    rig.create("kept", "kept through the failover").await;
    rig.in_planner("kept through the failover", 20).await;
    let mut redis = rig.redis.clone();
    let () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query_async(&mut redis).await.unwrap();
    let refused = rig.send("POST", "/api/tasks", Some(json!({"title": "refused"}))).await;
    assert_eq!((refused.status, &refused.json["code"]), (503, &json!("redis_read_only")));
    let deletes = rig.control().counts().app.by_route.get("DELETE /planner/tasks/{id}").copied();
    let () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut redis).await.unwrap();
    within(15, "writes again", async || {
        rig.send("PATCH", "/api/tasks/kept", Some(json!({"title": "kept and changed"}))).await.status == 200
    })
    .await;
    rig.in_planner("kept and changed", 45).await;
    assert_eq!(rig.control().counts().app.by_route.get("DELETE /planner/tasks/{id}").copied(), deletes);
    rig.check(&["kept", "refused"]);
}

#[tokio::test]
async fn a_slow_redis_slows_the_sync_and_stops_nothing() {
    let rig = Rig::start_with(|options| options.proxied = true).await;
    rig.fire();
    let slow = annika_devkit::chaos_proxy::Flow::Delay(Duration::from_millis(60));
    rig.stack.to_redis.as_ref().unwrap().set(annika_devkit::chaos_proxy::Weather::both(slow));
    for n in 0..5 {
        rig.create(&format!("slow-{n}"), &format!("slowly {n}")).await;
    }
    for n in 0..5 {
        rig.in_planner(&format!("slowly {n}"), 45).await;
    }
    let health: Option<String> = rig.redis.clone().get(keys::sync_health()).await.unwrap();
    let health: Value = serde_json::from_str(&health.unwrap()).unwrap();
    assert!(health.is_object());
    rig.check(&["slowly"]);
}
