//! Redis goes away while tasks are claimed: what Graph answered is stored when it is back.

use std::time::Duration;

use annika::keys;
use annika_devkit::redis_server::RedisOptions;
use annika_sync::world::{CommitResult, Next, World};
use redis::AsyncCommands;

use super::{Stage, done, mapped};

#[tokio::test]
async fn a_commit_and_a_load_wait_for_a_redis_that_comes_back_soon() {
    let options = RedisOptions {
        appendonly: true,
        args: vec!["--appendfsync".into(), "always".into()],
        ..RedisOptions::default()
    };
    let mut stage = Stage::start_with(options).await;
    for durable in [true, false] {
        let claim = stage.claimed("t", r#"{"title":"A"}"#).await;
        let hint = stage.world.load(&["t".to_owned()]).await.unwrap()[0].hint;
        let mut commit = done(&claim);
        (commit.durable, commit.hint, commit.next) = (durable, hint, Next::Done { hint });
        commit.remote = Some(mapped("P-1", "L-1"));
        let other = ["u".to_owned()];
        // Both connections are known to be lost before the commit is tried.
        stage.server.kill9();
        let back = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            stage.server.restart().await.unwrap();
        };
        let (results, snapshots, ()) =
            tokio::join!(stage.world.commit(vec![commit]), stage.world.load(&other), back);
        assert_eq!(results.unwrap(), [CommitResult::Stored], "durable: {durable}");
        assert_eq!(snapshots.unwrap().len(), 1);
        stage.redis = stage.server.connect().await.unwrap();
        let map: bool = stage.redis.exists(keys::planner_id_map("t")).await.unwrap();
        assert!(map && stage.due().await.is_empty());
    }
}
