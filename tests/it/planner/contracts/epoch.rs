//! The two scripts of a loss, raced by several clients: each promises that one of them wins, whole.

use annika::{
    keys,
    planner::{EPOCH, RECLAIM},
    store::Store,
};
use redis::AsyncCommands;

use crate::planner::Stage;

async fn number(store: &Store, script: &'static annika::store::Script, keys: &[&str], args: &[&[u8]]) -> i64 {
    redis::from_redis_value(store.call(script, keys, args).await.unwrap()).unwrap()
}

#[tokio::test]
async fn of_several_engines_that_saw_the_same_epoch_one_replaces_it() {
    let mut stage = Stage::start().await;
    for round in 0..20 {
        let read: Option<String> = stage.redis.get(keys::sync_epoch()).await.unwrap();
        let read = read.unwrap_or_default();
        let race = (0..4).map(|client| {
            let (store, read) = (stage.store(), read.clone());
            async move {
                let new = format!("{round}-{client}");
                let args = [read.as_bytes(), new.as_bytes()];
                let won = number(&store, &EPOCH, &[keys::sync_epoch()], &args).await;
                (won, new)
            }
        });
        let results = futures::future::join_all(race).await;
        let winners: Vec<&str> =
            results.iter().filter(|(won, _)| *won == 1).map(|(_, new)| new.as_str()).collect();
        let stands: String = stage.redis.get(keys::sync_epoch()).await.unwrap();
        assert_eq!(winners, [stands.as_str()]);
    }
    let () = stage.redis.del(keys::sync_epoch()).await.unwrap();
    assert_eq!(
        number(&stage.store(), &EPOCH, &[keys::sync_epoch()], &[b"19-0", b"x"]).await,
        0,
        "a wipe shows"
    );
    assert!(!stage.redis.exists::<_, bool>(keys::sync_epoch()).await.unwrap());
}

#[tokio::test]
async fn a_full_redis_does_not_keep_a_rebuild_from_ending() {
    let mut stage = Stage::start().await;
    let () = stage.redis.set(keys::sync_epoch(), "rebuild:1").await.unwrap();
    let _: redis::Value =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).query_async(&mut stage.redis).await.unwrap();
    assert_eq!(number(&stage.store(), &EPOCH, &[keys::sync_epoch()], &[b"rebuild:1", b"whole"]).await, 1);
    let stands: String = stage.redis.get(keys::sync_epoch()).await.unwrap();
    assert_eq!(stands, "whole");
}

#[tokio::test]
async fn of_several_documents_that_claim_a_planner_task_one_gets_it_with_its_record() {
    let mut stage = Stage::start().await;
    for round in 0..20 {
        let map = keys::sync_rmap(&format!("P-{round}"));
        let race = (0..4).map(|client| {
            let (store, map) = (stage.store(), map.clone());
            async move {
                let id = format!("t-{round}-{client}");
                let state = keys::sync_state(&id);
                let keys = [map.as_str(), state.as_str()];
                let won = number(&store, &RECLAIM, &keys, &[id.as_bytes(), b"{}"]).await;
                let again = number(&store, &RECLAIM, &keys, &[id.as_bytes(), b"{\"other\":1}"]).await;
                assert_eq!(won, again, "a repeated claim is answered the same");
                (won, id)
            }
        });
        let results = futures::future::join_all(race).await;
        let owner: String = stage.redis.get(&map).await.unwrap();
        for (won, id) in &results {
            assert_eq!(*won == 1, *id == owner);
            let record: Option<String> = stage.redis.hget(keys::sync_state(id), "record").await.unwrap();
            assert_eq!(
                record.as_deref(),
                (*won == 1).then_some("{}"),
                "the first record stands, and no other"
            );
        }
        assert_eq!(results.iter().filter(|(won, _)| *won == 1).count(), 1);
    }
}
