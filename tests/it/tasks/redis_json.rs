//! Documents that are RedisJSON values: read, changed and deleted as they are, and never required.

use annika::{
    keys,
    tasks::{Filter, Precondition},
};
use annika_devkit::redis_server::{RedisOptions, redis_json_module};
use redis::AsyncCommands;

use super::{Stage, stage_with};

async fn with_module() -> (tempfile::TempDir, Stage) {
    let folder = tempfile::tempdir().unwrap();
    let module = redis_json_module(folder.path()).unwrap();
    let args = vec!["--loadmodule".to_owned(), module.to_str().unwrap().to_owned()];
    (folder, stage_with(RedisOptions { args, ..RedisOptions::default() }).await)
}

impl Stage {
    async fn json(&mut self, words: &[&str]) -> Option<String> {
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut self.redis).await.unwrap()
    }
}

#[tokio::test]
async fn a_redis_json_document_is_read_changed_and_deleted_and_keeps_type_and_expiry() {
    let (_folder, mut stage) = with_module().await;
    let key = keys::task("t");
    stage.json(&["JSON.SET", &key, "$", r#"{"id":"t","title":"A","list":[]}"#]).await;
    let () = stage.redis.expire(&key, 500).await.unwrap();
    assert_eq!(stage.tasks.get("t").await.unwrap().bytes(), br#"{"id":"t","title":"A","list":[]}"#);
    let etag = stage.tasks.get("t").await.unwrap().etag();
    stage.tasks.patch("t", br#"{"title":"B"}"#, &Precondition::Matches(vec![etag])).await.unwrap();
    let changed = r#"{"id":"t","title":"B","list":[]}"#;
    assert_eq!(stage.json(&["JSON.GET", &key]).await.as_deref(), Some(changed));
    let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut stage.redis).await.unwrap();
    assert_eq!(kind, "ReJSON-RL");
    let ttl: i64 = stage.redis.ttl(&key).await.unwrap();
    assert!((490..=500).contains(&ttl), "{ttl}");
    stage.tasks.delete("t", &Precondition::None).await.unwrap();
    let tomb: String = stage.redis.get(keys::sync_tomb("t")).await.unwrap();
    assert_eq!(tomb, changed);
    assert_eq!(stage.json(&["JSON.GET", &key]).await, None);
}

#[tokio::test]
async fn lists_and_mappings_mix_strings_and_redis_json() {
    let (_folder, mut stage) = with_module().await;
    for id in ["a", "b", "c"] {
        stage.tasks.create(format!(r#"{{"id":"{id}","title":"T"}}"#).as_bytes(), None).await.unwrap();
    }
    let () = stage.redis.del(keys::task("b")).await.unwrap();
    stage.json(&["JSON.SET", &keys::task("b"), ".", r#"{"id":"b","title":"J"}"#]).await;
    let page = stage.tasks.list(&Filter::default(), None, 10).await.unwrap();
    let ids: Vec<&str> = page.tasks.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert!(page.unreadable.is_empty());
    stage.json(&["JSON.SET", &keys::planner_id_map("a"), "$", r#"{"planner_id":"P-1","version":1}"#]).await;
    assert_eq!(stage.tasks.mapping("a").await.unwrap().unwrap().planner_id, "P-1");
}
