//! A create's intent must be on the replicas before it is sent.

use std::time::Instant;

use annika_devkit::redis_server::{RedisOptions, RedisServer};
use annika_sync::{
    engine::Settings,
    world::{CommitResult, Next, World},
};

use super::{Stage, done, world_with_replicas};
use crate::store::eventually;

async fn replica_of(primary: &RedisServer) -> RedisServer {
    let args = ["--replicaof", "127.0.0.1", &primary.port().to_string()].map(str::to_owned).to_vec();
    RedisServer::start(RedisOptions { args, ..RedisOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn an_intent_that_is_on_no_replica_is_waited_for_until_it_is_too_late_to_send() {
    let mut stage = Stage::start().await;
    let replica = replica_of(&stage.server).await;
    let world = world_with_replicas(&stage.server, Vec::new(), 1);
    let mut redis = stage.redis.clone();
    eventually("the replica follows", || {
        let mut redis = redis.clone();
        async move {
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut redis).await.unwrap();
            info.contains("state=online")
        }
    })
    .await;
    let deadline = Settings::default().send_deadline;
    for (id, stopped) in [("a", false), ("b", true), ("c", false)] {
        if stopped {
            replica.pause().unwrap();
        } else {
            replica.resume().unwrap();
        }
        let claim = stage.claimed(id, r#"{"title":"A"}"#).await;
        let mut intent = done(&claim);
        (intent.durable, intent.next) = (true, Next::Hold);
        let start = Instant::now();
        assert_eq!(world.commit(vec![intent]).await.unwrap(), [CommitResult::Stored]);
        assert_eq!(start.elapsed() > deadline, stopped, "{id}: {:?}", start.elapsed());
        let mut wait = redis::cmd("WAIT");
        let confirmed: u32 = wait.arg(1).arg(100).query_async(&mut redis).await.unwrap();
        assert_eq!(confirmed, u32::from(!stopped), "{id}: a stopped replica confirms nothing");
    }
}
