//! What a person can do when something went wrong: bring a task back, try a failed one again, confirm deletions.

use annika::{
    keys,
    planner::{GUARD, Restored, Retry, guarded, rebuild, release, restore, retry_failed, tombs},
};
use annika_sync::{
    state::{Failure, TaskState},
    world::{CommitResult, Direction, GuardNote, Next, Unmapped, World},
};
use redis::AsyncCommands;

use super::{Stage, document, done, mapped, write};

const A: &str = r#"{"title":"A","mine":[1.0],"_sync":{"rev":"r1","planner_id":"P-1","etag":"e"}}"#;

impl Stage {
    /// Deletes a mapped task's document on behalf of Planner, as the engine does.
    async fn deleted(&mut self, id: &str) {
        let claim = self.claimed(id, A).await;
        let mut commit = done(&claim);
        commit.document = Some(document(A));
        commit.remote = Some(mapped("P-1", "plan"));
        assert_eq!(self.commit(commit).await, CommitResult::Stored);
        let claim = self.claimed_missing(id).await;
        let mut commit = done(&claim);
        commit.next = Next::Done { hint: 2 };
        commit.state = None;
        commit.write = Some(write(Some(A), None));
        commit.unmap = Some(Unmapped { planner_id: "P-1".into(), plan: None });
        assert_eq!(self.commit(commit).await, CommitResult::Stored);
    }

    /// Asks the guard about deletions in Planner; at least 2, or 10 % of the known tasks, are many.
    async fn ask(&self, ids: &[&str], missing: i64, of: i64) -> Vec<i64> {
        let call = GUARD
            .call()
            .key(keys::sync_guard("up"))
            .key(keys::sync_guard_held("up"))
            .key(keys::sync_index())
            .arg("up")
            .num(60_000)
            .num(2)
            .num(10)
            .num(missing)
            .num(of)
            .arg(keys::sync_state(""));
        let call = ids.iter().fold(call, |call, id| call.arg(id));
        redis::from_redis_value(self.store().run(&call).await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_deleted_task_is_listed_and_comes_back_once_without_its_dead_planner_id() {
    let mut stage = Stage::start().await;
    stage.deleted("t").await;
    let page = tombs(&stage.store(), 0, 10).await.unwrap();
    let [tomb] = &page.tombs[..] else { panic!("{page:?}") };
    assert_eq!((tomb.id.as_str(), tomb.title.as_deref(), page.total), ("t", Some("A"), 1));

    assert_eq!(restore(&stage.store(), "t").await, Ok(Restored::Restored));
    let text = stage.text(&keys::task("t")).await.unwrap();
    assert_eq!(text, r#"{"title":"A","mine":[1.0]}"#, "as it was, unknown members too");
    let record = stage.field(&keys::sync_state("t"), "record").await.unwrap();
    let state: TaskState = serde_json::from_str(&record).unwrap();
    assert_eq!((state.planner_id, state.dead_id.as_deref()), (None, Some("P-1")));
    assert_eq!(stage.due().await, ["t"], "and the engine will look at it");
    assert!(tombs(&stage.store(), 0, 10).await.unwrap().tombs.is_empty());

    assert_eq!(restore(&stage.store(), "t").await, Ok(Restored::AlreadyThere));
    assert_eq!(stage.text(&keys::task("t")).await.unwrap(), text, "a second call changes nothing");
    assert_eq!(restore(&stage.store(), "never").await, Ok(Restored::Unknown));
}

#[tokio::test]
async fn a_deletion_that_has_not_reached_planner_is_called_off() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let state = TaskState { planner_id: Some("P-1".into()), ..TaskState::default() };
    let mut commit = done(&claim);
    commit.document = Some(document(A));
    commit.remote = Some(mapped("P-1", "plan"));
    commit.state = Some(state);
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    let tasks = annika::tasks::Tasks::new(stage.store(), annika::clock::SystemRng::shared());
    tasks.delete("t", &annika::tasks::Precondition::None).await.unwrap();
    assert_eq!(tombs(&stage.store(), 0, 10).await.unwrap().total, 1, "a deletion by the API is listed, too");

    assert_eq!(restore(&stage.store(), "t").await, Ok(Restored::Restored));
    assert_eq!(stage.text(&keys::task("t")).await.as_deref(), Some(A), "the stamp still holds");
    assert_eq!(stage.field(&keys::sync_state("t"), "del").await, None);
}

#[tokio::test]
async fn only_failed_tasks_are_tried_again() {
    let mut stage = Stage::start().await;
    for id in ["good", "bad", "worse"] {
        let claim = stage.claimed(id, A).await;
        let mut commit = done(&claim);
        if id != "good" {
            let failure = Failure {
                code: "title_missing".into(),
                message: String::new(),
                since: 0,
                digest: String::new(),
                retry_at: 0,
                attempts: 1,
            };
            commit.state = Some(TaskState { failure: Some(failure), ..TaskState::default() });
        }
        assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    }
    let some = ["good".to_owned(), "bad".to_owned(), "unknown".to_owned()];
    assert_eq!(retry_failed(&stage.store(), Retry::Tasks(&some)).await, Ok(1));
    assert_eq!(stage.due().await, ["bad"]);
    assert_eq!(retry_failed(&stage.store(), Retry::All).await, Ok(2));
    assert_eq!(stage.due().await, ["bad", "worse"]);
    let snapshot = stage.world.load(&["worse".to_owned()]).await.unwrap().remove(0);
    assert!(snapshot.notes.retry, "the engine is told");

    let claims = stage
        .world
        .claim(annika_sync::world::Quota::each(20), std::time::Duration::from_secs(60))
        .await
        .unwrap()
        .claims;
    let claim = claims.into_iter().find(|claim| claim.id == "worse").unwrap();
    let mut commit = done(&claim);
    commit.next = Next::Done { hint: snapshot.hint };
    commit.settled = snapshot.notes;
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    let snapshot = stage.world.load(&["worse".to_owned()]).await.unwrap().remove(0);
    assert!(!snapshot.notes.retry, "once");
}

#[tokio::test]
async fn too_many_deletions_are_held_until_a_person_confirms_exactly_those() {
    let mut stage = Stage::start().await;
    assert_eq!(stage.ask(&["a", "b"], 2, 50).await, [1, 1]);
    assert_eq!(stage.ask(&["b"], 1, 50).await, [1], "the same one is counted once");
    assert_eq!(stage.ask(&["c"], 1, 50).await, [0], "the third within the window is one too many");
    assert_eq!(stage.ask(&["d", "e"], 1, 50).await, [0, 0]);
    let [(_, up), (_, down)] = guarded(&stage.store(), i64::MAX / 2).await.unwrap();
    assert_eq!((up.held, down.held, up.since_ms.is_some()), (3, 0, true));
    let note = stage.world.load(&["c".to_owned()]).await.unwrap().remove(0).notes.guard;
    assert_eq!(note, Some(GuardNote::Held(Direction::Up)));

    assert_eq!(release(&stage.store(), Direction::Down).await, Ok(0), "the other side");
    assert_eq!(release(&stage.store(), Direction::Up).await, Ok(3));
    assert_eq!(stage.due().await, ["c", "d", "e"]);
    assert_eq!(stage.ask(&["c", "d", "e"], 3, 50).await, [1, 1, 1]);
    assert_eq!(stage.ask(&["f", "g", "h"], 3, 50).await, [0, 0, 0], "later ones are counted anew");
}

#[tokio::test]
async fn a_side_that_is_suddenly_empty_and_a_sweep_that_misses_many_hold_the_first_deletion() {
    let stage = Stage::start().await;
    assert_eq!(stage.ask(&["a"], 2, 2).await, [0], "all of them");
    let stage = Stage::start().await;
    assert_eq!(stage.ask(&["a"], 3, 100).await, [0], "more are missing than may be deleted");
    let stage = Stage::start().await;
    assert_eq!(stage.ask(&["a"], 1, 1).await, [1], "the last task of one may be deleted");
}

#[tokio::test]
async fn deletions_of_more_than_a_day_ago_do_not_count() {
    let mut stage = Stage::start().await;
    assert_eq!(stage.ask(&["a", "b"], 2, 50).await, [1, 1]);
    for id in ["a", "b"] {
        let _: f64 = stage.redis.zincr(keys::sync_guard("up"), id, -60_001).await.unwrap();
    }
    assert_eq!(stage.ask(&["c", "d"], 2, 50).await, [1, 1]);
    let ttl: i64 = stage.redis.pttl(keys::sync_guard("up")).await.unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn the_share_counts_where_it_is_more_than_the_least_number() {
    let mut stage = Stage::start().await;
    for n in 0..40 {
        let () = stage.redis.hset(keys::sync_index(), format!("t-{n}"), "x").await.unwrap();
    }
    assert_eq!(stage.ask(&["a", "b", "c", "d"], 4, 40).await, [1, 1, 1, 1], "ten per cent of forty");
    assert_eq!(stage.ask(&["e"], 1, 40).await, [0]);
}

#[tokio::test]
async fn a_rebuild_takes_the_epoch_away() {
    let mut stage = Stage::start().await;
    let () = stage.redis.set(keys::sync_epoch(), "e").await.unwrap();
    rebuild(&stage.store()).await.unwrap();
    assert!(!stage.exists(keys::sync_epoch()).await);
    rebuild(&stage.store()).await.unwrap();
}
