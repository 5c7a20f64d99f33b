//! A failover that forgets the last moment: the replica that takes over had stopped following before.

use std::time::Duration;

use annika::keys;
use annika_devkit::{
    graph::seed,
    redis_server::{RedisOptions, RedisServer},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};

use super::{Rig, within};

async fn replica_of(primary: &RedisServer) -> RedisServer {
    let args = ["--replicaof", "127.0.0.1", &primary.port().to_string()].map(str::to_owned).to_vec();
    RedisServer::start(RedisOptions { args, ..RedisOptions::default() }).await.unwrap()
}

async fn offset(redis: &mut MultiplexedConnection) -> String {
    let info: String = redis::cmd("INFO").arg("replication").query_async(redis).await.unwrap();
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    field("slave_repl_offset:").or_else(|| field("master_repl_offset:")).unwrap()
}

#[tokio::test]
async fn a_failover_that_forgets_the_last_moment_deletes_nothing_and_doubles_nothing() {
    let mut rig = Rig::start_with(|options| options.proxied = true).await;
    rig.fire();
    let replica = replica_of(rig.stack.redis.as_ref().unwrap()).await;
    for n in 0..5 {
        rig.create(&format!("old-{n}"), &format!("long known {n}")).await;
    }
    for n in 0..5 {
        rig.in_planner(&format!("long known {n}"), 30).await;
        within(10, "mapped", async || rig.mapped(&format!("old-{n}")).await.is_some()).await;
    }
    let mut there = replica.connect().await.unwrap();
    let mut here = rig.redis.clone();
    within(20, "the replica has all of it", async || {
        let known: bool = there.exists(keys::planner_id_map("old-4")).await.unwrap();
        known && offset(&mut here).await == offset(&mut there).await
    })
    .await;

    // The replica hears nothing of what follows.
    let () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut there).await.unwrap();
    for n in 0..5 {
        rig.create(&format!("new-{n}"), &format!("forgotten {n}")).await;
    }
    for n in 0..5 {
        rig.in_planner(&format!("forgotten {n}"), 30).await;
    }
    let before = rig.control().tasks(seed::PLAN).len();
    let primary = rig.stack.redis.as_ref().unwrap();
    primary.kill9();
    rig.stack.to_redis.as_ref().unwrap().lead_to(replica.port());
    rig.redis = there;

    within(30, "the same address answers again", async || rig.get("/api/health/ready").await.status == 200)
        .await;
    // The engine of the same process goes on; what Planner has and nobody knows is imported.
    let imported = async || {
        rig.send("POST", "/api/sync/poll", None).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut found = 0;
        for task in rig.control().tasks(seed::PLAN) {
            let id = format!("planner-{}", task["id"].as_str().unwrap());
            let forgotten = task["title"].as_str().unwrap().starts_with("forgotten");
            found += usize::from(forgotten && rig.document(&id).await.is_some());
        }
        found == 5
    };
    within(120, "what was forgotten comes back from Planner", imported).await;
    assert_eq!(rig.control().tasks(seed::PLAN).len(), before, "nothing is deleted, nothing is there twice");
    for n in 0..5 {
        assert!(rig.mapped(&format!("old-{n}")).await.is_some());
        assert_eq!(rig.titled(&format!("long known {n}")).len(), 1);
    }
    let patched = serde_json::json!({"title": "goes on after the failover"});
    within(20, "writes again", async || {
        rig.send("PATCH", "/api/tasks/old-0", Some(patched.clone())).await.status == 200
    })
    .await;
    rig.in_planner("goes on after the failover", 45).await;
    rig.check(&["long known", "forgotten", "goes on"]);
}
