//! Completed tasks leave Redis after some days, and Redis alone.

use std::time::Duration;

use annika::{keys, planner::PlannerWorld};
use annika_sync::{
    lens::{Field, Fields, Value},
    plan::ABSENT,
    state::{Failure, Remote, TaskState, digest},
    world::{CommitResult, Local, Next, SweepPage, World},
};
use redis::AsyncCommands;

use super::{Stage, document, done, mapped, world};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const COMPLETED: &str = r#"{"id":"t","title":"T","percent_complete":1.0}"#;

fn aging_world(stage: &Stage) -> PlannerWorld {
    world(&stage.server, Vec::new()).with_completed_ttl(Some(1))
}

/// What is agreed about a task of this progress.
fn agreed(percent: i64, text: &str) -> TaskState {
    let base = Fields::from([(Field::Percent, Value::Number(percent))]);
    let remote = Remote { etag: "W/\"1\"".into(), details_etag: None, fields: base.clone() };
    TaskState {
        planner_id: Some("P".into()),
        base,
        remote: Some(remote),
        seen: Some(digest(text.as_bytes())),
        ..TaskState::default()
    }
}

/// Stores a document and finishes it with this state, as the engine does.
async fn settled(stage: &mut Stage, id: &str, text: &str, state: TaskState) {
    let claim = stage.claimed(id, text).await;
    let mut commit = done(&claim);
    commit.state = Some(state);
    commit.document = Some(document(text));
    // Each has a Planner task of its own: one that is another task's is refused.
    commit.remote = Some(mapped(&format!("P-{id}"), "plan"));
    let hint: u64 = stage.redis.hget(keys::sync_state(id), "hint").await.unwrap();
    commit.hint = hint;
    commit.next = Next::Done { hint };
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
}

/// As if the completed tasks that are noted had been so for longer.
async fn days_pass(stage: &mut Stage, days: i64) {
    let noted: Vec<(String, String)> = stage.redis.hgetall(keys::sync_aging()).await.unwrap();
    for (id, note) in noted {
        let (at, digest) = note.split_once(':').unwrap();
        let at = at.parse::<i64>().unwrap() - days * DAY_MS;
        let () = stage.redis.hset(keys::sync_aging(), id, format!("{at}:{digest}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_completed_task_leaves_redis_and_its_absence_says_nothing() {
    let mut stage = Stage::start().await;
    settled(&mut stage, "t", COMPLETED, agreed(100, COMPLETED)).await;
    let world = aging_world(&stage);
    world.sweep_page(None).await.unwrap();
    world.sweep_page(None).await.unwrap();
    assert!(stage.text(&keys::task("t")).await.is_some(), "its days are not over");
    days_pass(&mut stage, 2).await;
    // Another process without the setting leaves it alone.
    stage.world.sweep_page(None).await.unwrap();
    assert!(stage.text(&keys::task("t")).await.is_some());

    let page = world.sweep_page(None).await.unwrap();
    assert_eq!(stage.text(&keys::task("t")).await, None);
    assert_eq!(page, SweepPage { read: 1, ..SweepPage::default() }, "nothing is missing or changed");
    assert_eq!(stage.field(keys::sync_index(), "t").await.as_deref(), Some(ABSENT));
    assert_eq!(stage.field(keys::tasks_entries(), "t").await, None, "it stands in no list");
    assert!(stage.exists(&keys::sync_rmap("P-t")).await, "a list that shows it imports nothing");
    assert!(stage.due().await.is_empty());
    assert!(!stage.exists(keys::sync_aging()).await);
    let snapshot = world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert!(snapshot.local == Local::Missing && snapshot.state.expires, "no evidence of a deletion");
}

#[tokio::test]
async fn a_document_that_an_agent_writes_again_counts_again() {
    let mut stage = Stage::start().await;
    settled(&mut stage, "t", COMPLETED, agreed(100, COMPLETED)).await;
    let world = aging_world(&stage);
    world.sweep_page(None).await.unwrap();
    days_pass(&mut stage, 2).await;
    world.sweep_page(None).await.unwrap();
    assert_eq!(stage.text(&keys::task("t")).await, None);

    settled(&mut stage, "t", COMPLETED, agreed(100, COMPLETED)).await;
    let () = stage.redis.del(keys::task("t")).await.unwrap();
    let snapshot = world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert!(!snapshot.state.expires, "this time somebody deleted it");
    assert_eq!(world.sweep_page(None).await.unwrap().missing, ["t"]);
}

#[tokio::test]
async fn what_is_open_changed_failing_or_only_in_redis_stays() {
    let mut stage = Stage::start().await;
    let world = aging_world(&stage);
    let failing = Failure {
        code: "x".into(),
        message: String::new(),
        since: 0,
        digest: String::new(),
        retry_at: 0,
        attempts: 1,
    };
    let cases = [
        ("open-in-planner", COMPLETED, agreed(50, COMPLETED)),
        ("reopened", r#"{"id":"t","title":"T","percent_complete":0.5}"#, agreed(100, "")),
        ("failing", COMPLETED, TaskState { failure: Some(failing), ..agreed(100, COMPLETED) }),
        ("unmapped", COMPLETED, TaskState { planner_id: None, ..agreed(100, COMPLETED) }),
        ("marked", COMPLETED, agreed(100, COMPLETED)),
        ("changed", COMPLETED, agreed(100, COMPLETED)),
        ("leaves", COMPLETED, agreed(100, COMPLETED)),
    ];
    for (id, text, mut state) in cases {
        state.seen = Some(digest(text.as_bytes()));
        settled(&mut stage, id, text, state).await;
    }
    world.sweep_page(None).await.unwrap();
    days_pass(&mut stage, 2).await;
    stage.world.mark(&["marked".to_owned()], Duration::ZERO).await.unwrap();
    let () =
        stage.redis.set(keys::task("changed"), r#"{"id":"changed","percent_complete":1.0}"#).await.unwrap();
    world.sweep_page(None).await.unwrap();
    let mut left: Vec<String> =
        redis::cmd("KEYS").arg(keys::task("*")).query_async(&mut stage.redis).await.unwrap();
    left.sort();
    let expected =
        ["changed", "failing", "marked", "open-in-planner", "reopened", "unmapped"].map(keys::task);
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_change_begins_the_days_anew_and_an_old_completion_is_old_at_once() {
    let mut stage = Stage::start().await;
    let world = aging_world(&stage);
    settled(&mut stage, "t", COMPLETED, agreed(100, COMPLETED)).await;
    world.sweep_page(None).await.unwrap();
    days_pass(&mut stage, 2).await;
    let renamed = r#"{"id":"t","title":"renamed","percent_complete":1.0}"#;
    settled(&mut stage, "t", renamed, agreed(100, renamed)).await;
    world.sweep_page(None).await.unwrap();
    assert!(stage.text(&keys::task("t")).await.is_some(), "it was changed today");

    let old = r#"{"id":"o","title":"O","percent_complete":1.0,"completed_at":"2020-01-01T00:00:00Z"}"#;
    settled(&mut stage, "o", old, agreed(100, old)).await;
    world.sweep_page(None).await.unwrap();
    assert_eq!(stage.text(&keys::task("o")).await, None);
}
