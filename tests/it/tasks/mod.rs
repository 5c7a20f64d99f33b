//! The write path of tasks against a real server: what one write leaves behind, and what writers do to each other.

mod lists;
mod races;
mod redis_json;

use std::{sync::Arc, time::Duration};

use annika::{
    clock::SystemRng,
    keys,
    store::{Push, Store},
    tasks::{Precondition, TaskError, Tasks, pending_entry},
};
use annika_devkit::redis_server::{RedisOptions, RedisServer};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};

use crate::store::{start_with, store_for};

pub struct Stage {
    pub server: RedisServer,
    pub store: Store,
    pub tasks: Arc<Tasks>,
    pub redis: MultiplexedConnection,
}

pub async fn stage() -> Stage {
    stage_with(RedisOptions::default()).await
}

pub async fn stage_with(options: RedisOptions) -> Stage {
    let (server, store) = start_with(options).await;
    let redis = server.connect().await.unwrap();
    let tasks = Arc::new(Tasks::new(store.clone(), SystemRng::shared()));
    Stage { server, store, tasks, redis }
}

impl Stage {
    pub fn other_client(&self) -> Tasks {
        Tasks::new(store_for(&self.server), SystemRng::shared())
    }

    async fn text(&mut self, id: &str) -> Option<String> {
        self.redis.get(keys::task(id)).await.unwrap()
    }
}

async fn messages(store: &Store, count: usize, work: impl Future<Output = ()>) -> Vec<(String, Value)> {
    let mut subscription = store.subscribe(&[keys::tasks_updates(), keys::pubsub_tasks()]);
    assert_eq!(subscription.next().await, Some(Push::Reconnected));
    work.await;
    let mut messages = Vec::new();
    while messages.len() < count {
        match tokio::time::timeout(Duration::from_secs(10), subscription.next()).await.expect("a message") {
            Some(Push::Message { channel, payload }) => {
                messages.push((channel, serde_json::from_slice(&payload).unwrap()));
            }
            other => panic!("{other:?}"),
        }
    }
    messages
}

#[tokio::test]
async fn a_new_task_is_stored_marked_listed_and_published_in_one_step() {
    let mut stage = stage().await;
    let text =
        r#"{"id":"t-1", "title" : "A","ratio":1.0,"big":123456789012345678901,"list":[],"plan_id":"P"}"#;
    let tasks = stage.tasks.clone();
    let heard = messages(&stage.store, 2, async {
        let before = stage.store.round_trips();
        tasks.create(text.as_bytes(), None).await.unwrap();
        assert!(stage.store.round_trips() - before <= 2, "one call, and one to load the script");
    })
    .await;
    assert_eq!(stage.text("t-1").await.as_deref(), Some(text), "the writer's bytes");
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        heard,
        [
            (
                "annika:tasks:updates".to_owned(),
                json!({"action": "created", "task_id": "t-1", "task": document, "source": "agent"})
            ),
            (
                "annika:pubsub:tasks".to_owned(),
                json!({"type": "task_created", "id": "t-1", "data": document})
            ),
        ]
    );
    let hint: String = stage.redis.hget(keys::sync_state("t-1"), "hint").await.unwrap();
    assert_eq!(hint, "1");
    let due: Vec<String> = stage.redis.zrange(keys::sync_due(), 0, -1).await.unwrap();
    assert_eq!(due, ["t-1"]);
    let pending: Vec<String> = stage.redis.lrange(keys::sync_pending(), 0, -1).await.unwrap();
    assert_eq!(pending, [r#"{"op":"sync","task_id":"t-1","source":"annika"}"#]);
    assert_eq!(pending, [pending_entry("t-1")]);
    let entries: String = stage.redis.hget(keys::tasks_entries(), "t-1").await.unwrap();
    let lists = ["all", "plan:P", "status:not_started"].map(keys::tasks_index);
    assert_eq!(entries, lists.join("\n"));
}

#[tokio::test]
async fn a_second_write_counts_a_hint_and_adds_no_second_pending_entry() {
    let mut stage = stage().await;
    stage.tasks.create(br#"{"id":"t","title":"A"}"#, None).await.unwrap();
    stage.tasks.patch("t", br#"{"title":"B"}"#, &Precondition::None).await.unwrap();
    let hint: i64 = stage.redis.hget(keys::sync_state("t"), "hint").await.unwrap();
    let pending: i64 = stage.redis.llen(keys::sync_pending()).await.unwrap();
    assert_eq!((hint, pending), (2, 1));
}

#[tokio::test]
async fn a_patch_that_changes_nothing_writes_nothing() {
    let mut stage = stage().await;
    stage.tasks.create(br#"{"id":"t","title":"A"}"#, None).await.unwrap();
    stage.tasks.patch("t", br#"{"title":"A","gone":null}"#, &Precondition::None).await.unwrap();
    let hint: i64 = stage.redis.hget(keys::sync_state("t"), "hint").await.unwrap();
    assert_eq!(hint, 1);
}

#[tokio::test]
async fn a_deleted_task_leaves_its_last_text_for_30_days_and_a_mark() {
    let mut stage = stage().await;
    let text = r#"{"id":"t","title":"A","plan_id":"P"}"#;
    stage.tasks.create(text.as_bytes(), None).await.unwrap();
    let tasks = stage.tasks.clone();
    let heard =
        messages(&stage.store, 2, async { tasks.delete("t", &Precondition::None).await.unwrap() }).await;
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(heard[0].1, json!({"action": "deleted", "task_id": "t", "task": document, "source": "agent"}));
    assert_eq!(heard[1].1, json!({"type": "task_deleted", "id": "t", "data": document}));
    assert_eq!(stage.text("t").await, None);
    let tomb: String = stage.redis.get(keys::sync_tomb("t")).await.unwrap();
    assert_eq!(tomb, text);
    let ttl: i64 = stage.redis.ttl(keys::sync_tomb("t")).await.unwrap();
    assert!((2_591_990..=2_592_000).contains(&ttl), "{ttl}");
    let deleted: String = stage.redis.hget(keys::sync_state("t"), "del").await.unwrap();
    assert_eq!(deleted, "1");
    let listed: bool =
        stage.redis.exists(&[keys::tasks_index("all"), keys::tasks_index("plan:P")]).await.unwrap();
    assert!(!listed, "it stands in no list");
    // Again is no error; what never was, is.
    stage.tasks.delete("t", &Precondition::None).await.unwrap();
    let never = stage.tasks.delete("never", &Precondition::None).await;
    assert_eq!(never, Err(TaskError::NotFound("never".to_owned())));
    // A new task of the same id is no deleted one.
    stage.tasks.create(text.as_bytes(), None).await.unwrap();
    let deleted: bool = stage.redis.hexists(keys::sync_state("t"), "del").await.unwrap();
    assert!(!deleted);
}

#[tokio::test]
async fn a_document_keeps_the_expiry_that_an_agent_gave_it() {
    let mut stage = stage().await;
    let () = stage.redis.set_ex(keys::task("t"), r#"{"id":"t","title":"A"}"#, 500).await.unwrap();
    stage.tasks.patch("t", br#"{"title":"B"}"#, &Precondition::None).await.unwrap();
    let ttl: i64 = stage.redis.ttl(keys::task("t")).await.unwrap();
    assert!((490..=500).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_stays_untouched() {
    let mut stage = stage().await;
    let () = stage.redis.rpush(keys::task("t"), "x").await.unwrap();
    let kind = |error| match error {
        TaskError::Store(error) => error.kind.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(stage.tasks.get("t").await.unwrap_err()), "redis_wrong_type");
    let put = stage.tasks.replace("t", br#"{"title":"A"}"#, &Precondition::None).await;
    assert_eq!(kind(put.unwrap_err()), "redis_wrong_type");
    assert_eq!(kind(stage.tasks.delete("t", &Precondition::None).await.unwrap_err()), "redis_wrong_type");
    let length: i64 = stage.redis.llen(keys::task("t")).await.unwrap();
    assert_eq!(length, 1);
    let marked: bool = stage.redis.exists(keys::sync_due()).await.unwrap();
    assert!(!marked, "nothing was marked");
}

#[tokio::test]
async fn a_full_redis_refuses_writes_whole_and_lets_reads_and_deletes_go_on() {
    let mut stage = stage().await;
    stage.tasks.create(br#"{"id":"t","title":"A"}"#, None).await.unwrap();
    let () = stage.redis.set_options("filler", "x".repeat(1000), redis::SetOptions::default()).await.unwrap();
    let _: () =
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).query_async(&mut stage.redis).await.unwrap();
    let full = |error| matches!(error, TaskError::Store(error) if error.kind.code() == "redis_full");
    assert!(full(stage.tasks.create(br#"{"id":"u","title":"A"}"#, Some("key")).await.unwrap_err()));
    assert!(full(stage.tasks.patch("t", br#"{"title":"B"}"#, &Precondition::None).await.unwrap_err()));
    assert_eq!(stage.text("t").await.as_deref(), Some(r#"{"id":"t","title":"A"}"#));
    let marked: Vec<String> = stage.redis.zrange(keys::sync_due(), 0, -1).await.unwrap();
    assert_eq!(marked, ["t"], "a refused write leaves no mark");
    assert_eq!(stage.tasks.get("t").await.unwrap().bytes(), br#"{"id":"t","title":"A"}"#);
    stage.tasks.delete("t", &Precondition::None).await.unwrap();
    assert_eq!(stage.text("t").await, None);
    let tomb: bool = stage.redis.exists(keys::sync_tomb("t")).await.unwrap();
    assert!(tomb, "a delete can be undone even then");
}

#[tokio::test]
async fn a_mapping_is_read_under_either_name() {
    let mut stage = stage().await;
    assert_eq!(stage.tasks.mapping("t").await.unwrap(), None);
    let () = stage.redis.set(keys::task_mapping("t"), r#"{"planner_id":"P-2"}"#).await.unwrap();
    assert_eq!(stage.tasks.mapping("t").await.unwrap().unwrap().planner_id, "P-2");
    let () = stage.redis.set(keys::planner_id_map("t"), "P-1").await.unwrap();
    assert_eq!(stage.tasks.mapping("t").await.unwrap().unwrap().planner_id, "P-1");
    let () = stage.redis.set(keys::planner_id_map("t"), "{").await.unwrap();
    assert!(stage.tasks.mapping("t").await.is_err(), "what cannot be read is no absence");
}
