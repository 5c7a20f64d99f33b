//! What a commit publishes and logs: the exact forms that agents rely on.

use std::time::Duration;

use annika::{
    keys,
    store::{Push, Subscription},
};
use annika_sync::{
    state::TaskState,
    world::{Announce, Commit, CommitResult, Direction, Event, World},
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Stage, document, done, mapped, write};

const A: &str = r#"{"id":"t","title":"A","n":1.0}"#;

async fn heard(subscription: &mut Subscription, count: usize) -> Vec<(String, String)> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match tokio::time::timeout(Duration::from_secs(10), subscription.next()).await.expect("a message") {
            Some(Push::Message { channel, payload }) => {
                heard.push((channel, String::from_utf8(payload.to_vec()).unwrap()));
            }
            Some(Push::Reconnected) => {}
            other => panic!("{other:?}"),
        }
    }
    heard
}

async fn listening(stage: &Stage) -> Subscription {
    let channels = [keys::tasks_updates(), keys::pubsub_tasks(), keys::tasks_sync()];
    let mut subscription = stage.store().subscribe(&channels);
    assert_eq!(subscription.next().await, Some(Push::Reconnected));
    subscription
}

#[tokio::test]
async fn a_document_that_the_engine_wrote_is_announced_as_planners_with_its_exact_text() {
    for (announce, word, before, after) in [
        (Announce::Created, "created", None, Some(A)),
        (Announce::Updated, "updated", Some(r#"{"id":"t"}"#), Some(A)),
        (Announce::Deleted, "deleted", Some(A), None),
    ] {
        let mut stage = Stage::start().await;
        let mut subscription = listening(&stage).await;
        let claim = match before {
            Some(text) => stage.claimed("t", text).await,
            None => stage.claimed_missing("t").await,
        };
        let mut commit = done(&claim);
        commit.write = Some(write(before, after));
        commit.document = after.map(document);
        commit.announce = Some(announce);
        assert_eq!(stage.commit(commit).await, CommitResult::Stored);
        let update = format!(r#"{{"action":"{word}","task_id":"t","task":{A},"source":"planner"}}"#);
        let event = format!(r#"{{"type":"task_{word}","id":"t","data":{A}}}"#);
        let expected = [(keys::tasks_updates().to_owned(), update), (keys::pubsub_tasks().to_owned(), event)];
        assert_eq!(heard(&mut subscription, 2).await, expected);
    }
}

/// Commits `event` for a mapped task; answers the message and the log entry without their moments.
async fn told(event: Event) -> (Value, Value, Stage) {
    let mut stage = Stage::start().await;
    let mut subscription = listening(&stage).await;
    let claim = stage.claimed("t", A).await;
    let state = TaskState { planner_id: Some("P-1".into()), ..TaskState::default() };
    let commit = Commit {
        state: Some(state),
        events: vec![event],
        remote: Some(mapped("P-1", "L-1")),
        ..done(&claim)
    };
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    let (channel, text) = heard(&mut subscription, 1).await.remove(0);
    assert_eq!(channel, keys::tasks_sync());
    let mut message: Value = serde_json::from_str(&text).unwrap();
    let mut entry = stage.json_list(keys::sync_log()).await.remove(0);
    for json in [&mut message, &mut entry] {
        let at = json.as_object_mut().unwrap().remove("at").unwrap();
        assert!(at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{at}");
    }
    (message, entry, stage)
}

#[tokio::test]
async fn synced_says_which_way_and_which_fields() {
    let event =
        |direction| Event::Synced { direction, op: "update", fields: vec!["title"], requests: 1, ms: 7 };
    let (message, entry, mut stage) = told(event(Direction::Up)).await;
    let expected = json!({"status": "synced", "task_id": "t", "planner_id": "P-1", "direction": "up",
        "fields": ["title"]});
    assert_eq!(message, expected);
    let logged = json!({"op": "update", "id": "t", "planner_id": "P-1", "direction": "up", "fields": ["title"],
        "requests": 1, "ms": 7, "outcome": "success"});
    assert_eq!(entry, logged);
    let uploaded: i64 = stage.redis.get(keys::sync_last_upload("t")).await.unwrap();
    let now: (i64, i64) = redis::cmd("TIME").query_async(&mut stage.redis).await.unwrap();
    assert!((now.0 - 30..=now.0).contains(&uploaded), "Unix seconds: {uploaded}");

    let (message, _, mut stage) = told(event(Direction::Down)).await;
    assert_eq!(message["direction"], "down");
    assert!(!stage.exists(&keys::sync_last_upload("t")).await);
}

#[tokio::test]
async fn a_conflict_names_the_field_and_both_values_and_is_kept_in_the_stream() {
    let event = Event::Conflict { field: "title", kept: json!("P"), lost: json!("A"), loser: "agent" };
    let (message, _, mut stage) = told(event).await;
    let expected = json!({"status": "conflict", "task_id": "t", "planner_id": "P-1", "direction": "down",
        "fields": ["title"], "field": "title", "kept": "P", "lost": "A"});
    assert_eq!(message, expected);
    let length: i64 = stage.redis.xlen(keys::sync_conflicts()).await.unwrap();
    assert_eq!(length, 1);
}

#[tokio::test]
async fn failed_deleted_and_restored_are_told_with_every_agreed_member() {
    let failed = Event::Failed { code: "title_missing".into(), message: "a task needs a title".into() };
    let cases = [
        (
            failed,
            json!({"status": "failed", "direction": "up", "code": "title_missing", "error": "a task needs a title"}),
        ),
        (Event::Deleted { direction: Direction::Down }, json!({"status": "deleted", "direction": "down"})),
        (Event::Restored, json!({"status": "restored", "direction": "down"})),
    ];
    for (event, mut expected) in cases {
        let (message, entry, _) = told(event).await;
        expected["task_id"] = json!("t");
        expected["planner_id"] = json!("P-1");
        expected["fields"] = json!([]);
        assert_eq!(message, expected);
        for member in ["op", "id", "planner_id", "outcome"] {
            assert!(entry.get(member).is_some(), "{member} of {entry}");
        }
    }
}

#[tokio::test]
async fn an_id_with_quotes_stays_json() {
    let id = r#"a"b\c"#;
    let mut stage = Stage::start().await;
    let mut subscription = listening(&stage).await;
    let claim = stage.claimed(id, "{}").await;
    let mut commit = done(&claim);
    commit.write = Some(write(Some("{}"), Some(A)));
    commit.announce = Some(Announce::Updated);
    commit.events = vec![Event::Restored];
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    let messages = heard(&mut subscription, 3).await;
    let ids: Vec<Value> = messages
        .iter()
        .map(|(_, text)| serde_json::from_str::<Value>(text).unwrap())
        .map(|json| json.get("task_id").unwrap_or(&json["id"]).clone())
        .collect();
    assert_eq!(ids, [id, id, id]);
}

#[tokio::test]
async fn the_log_is_bounded_and_newest_first() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let failed = |n: usize| Event::Failed { code: format!("c{n}"), message: String::new() };
    let commit = Commit { events: (0..1_100).map(failed).collect(), ..done(&claim) };
    assert_eq!(stage.world.commit(vec![commit]).await.unwrap(), [CommitResult::Stored]);
    let log = stage.json_list(keys::sync_log()).await;
    assert_eq!((log.len(), &log[0]["code"]), (1_000, &json!("c1099")));
}
