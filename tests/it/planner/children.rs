//! Documents that name a parent, in a real Redis: what the engine reads of the family and writes into it.

use annika::keys;
use annika_devkit::{
    oracle,
    redis_server::{RedisOptions, redis_json_module},
};
use annika_sync::{
    plan::{Action, Context, plan},
    state::{Child, TaskState},
    world::{CommitResult, Local, Next, Plans, Snapshot, World},
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Stage, document, done};

const PARENT: &str = r#"{"id":"p","title":"parent","mine":1.0}"#;
const CHILD: &str = r#"{"id":"c","parent_task_id":"p","title":"step"}"#;

impl Stage {
    async fn loaded(&self, id: &str) -> Snapshot {
        self.world.load(&[id.to_owned()]).await.unwrap().remove(0)
    }

    async fn children(&mut self) -> Vec<String> {
        self.redis.smembers(keys::sync_children("p")).await.unwrap()
    }

    /// The write into the parent's document that the child's snapshot leads to, done.
    async fn put_into_parent(&self) -> bool {
        let (snapshot, plans) = (self.loaded("c").await, Plans::default());
        let context =
            Context { now: 1, rev: "r".to_owned(), plans: &plans, scenario: None, rebuilding_since: None };
        let step = plan(&snapshot, &context);
        let Action::WriteParent { expected, document } = step.action else { panic!("{:?}", step.action) };
        self.world.replace("p", &expected, &document).await.unwrap()
    }
}

fn text(local: &Local) -> Value {
    let Local::Present { bytes, .. } = local else { panic!("{local:?}") };
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test]
async fn of_a_crowd_of_children_a_bounded_number_is_read() {
    let mut stage = Stage::start().await;
    let () = stage.redis.set(keys::task("p"), PARENT).await.unwrap();
    let names: Vec<String> = (0..1_000).map(|n| format!("c{n}")).collect();
    let () = stage.redis.sadd(keys::sync_children("p"), &names).await.unwrap();
    let read = stage.loaded("p").await.children;
    assert_eq!(read.len(), 100);
    assert!(read.iter().all(|name| names.contains(name)));
}

#[tokio::test]
async fn a_child_is_loaded_with_its_parent_and_a_parent_with_its_children() {
    let mut stage = Stage::start().await;
    let () = stage.redis.set(keys::task("p"), PARENT).await.unwrap();
    let claim = stage.claimed("c", CHILD).await;
    let parent = stage.loaded("c").await.parent.unwrap();
    assert_eq!((parent.id.as_str(), text(&parent.local)["title"].clone()), ("p", json!("parent")));
    assert!(stage.loaded("p").await.children.is_empty());

    let child = Child { parent: "p".to_owned(), key: "k".to_owned(), put_back: None };
    let mut commit = done(&claim);
    commit.state = Some(TaskState { child: Some(child), ..TaskState::default() });
    commit.next = Next::Hold;
    assert_eq!(stage.commit(commit.clone()).await, CommitResult::Stored);
    assert_eq!(stage.loaded("p").await.children, ["c"]);
    // Also without the document it is known whose item it was.
    let () = stage.redis.del(keys::task("c")).await.unwrap();
    let snapshot = stage.loaded("c").await;
    assert_eq!((snapshot.local, snapshot.parent.map(|parent| parent.id)), (Local::Missing, Some("p".into())));
    let () = stage.redis.del(keys::task("p")).await.unwrap();
    assert_eq!(stage.loaded("c").await.parent.map(|parent| parent.local), Some(Local::Missing));
    let () = stage.redis.rpush(keys::task("p"), "x").await.unwrap();
    let local = stage.loaded("c").await.parent.unwrap().local;
    assert!(matches!(local, Local::Unreadable { code: "wrong_type", .. }), "{local:?}");

    (commit.state, commit.left_parent, commit.next) = (None, Some("p".into()), Next::Done { hint: 1 });
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    assert!(stage.children().await.is_empty());
}

#[tokio::test]
async fn the_item_is_written_into_the_parent_that_was_read_and_the_parent_is_due() {
    let mut stage = Stage::start().await;
    let () = stage.redis.set(keys::task("p"), PARENT).await.unwrap();
    let () = stage.redis.set(keys::task("c"), CHILD).await.unwrap();
    let other = document(r#"{"id":"p","title":"moved on"}"#);
    assert!(!stage.world.replace("p", br#"{"id":"p"}"#, &other).await.unwrap(), "another text stands there");
    assert_eq!((stage.text(&keys::task("p")).await.as_deref(), stage.due().await.len()), (Some(PARENT), 0));
    assert!(stage.put_into_parent().await);
    let parent = text(&stage.loaded("p").await.local);
    assert_eq!(parent["checklist_items"][0]["title"], "step");
    assert_eq!(stage.due().await, ["p"]);
    let written = stage.text(&keys::task("p")).await.unwrap();
    assert!(written.contains(r#""mine":1.0"#), "{written}");
}

#[tokio::test]
async fn a_parent_that_is_a_redisjson_value_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let module = match redis_json_module(folder.path()) {
        Ok(module) => module,
        Err(why) => return oracle::skip("a_parent_that_is_a_redisjson_value_stays_one", &why.to_string()),
    };
    let args = vec!["--loadmodule".to_owned(), module.display().to_string()];
    let mut stage = Stage::start_with(RedisOptions { args, ..RedisOptions::default() }).await;
    let key = keys::task("p");
    let _: redis::Value =
        redis::cmd("JSON.SET").arg(&key).arg("$").arg(PARENT).query_async(&mut stage.redis).await.unwrap();
    let () = stage.redis.set(keys::task("c"), CHILD).await.unwrap();
    assert!(stage.put_into_parent().await);
    let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut stage.redis).await.unwrap();
    assert_eq!(kind, "ReJSON-RL");
    let parent = stage.loaded("c").await.parent.unwrap();
    assert_eq!(text(&parent.local)["checklist_items"][0]["title"], "step");
}
