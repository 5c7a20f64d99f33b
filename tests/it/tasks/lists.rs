//! Lists through the indexes: filters, pages, and documents that moved behind the index's back.

use std::collections::BTreeSet;

use annika::{
    keys,
    tasks::{Filter, Precondition, TaskError, Tasks, index_entries},
};
use annika_sync::lens::Document;
use redis::AsyncCommands;

use super::stage;

const ANNA: &str = "fbab97d0-4932-4511-b675-204639209557";

async fn all(tasks: &Tasks, filter: &Filter, limit: usize) -> (Vec<String>, usize) {
    let (mut ids, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = tasks.list(filter, cursor.as_deref(), limit).await.unwrap();
        assert!(page.tasks.len() <= limit);
        ids.extend(page.tasks.into_iter().map(|(id, _)| id));
        pages += 1;
        cursor = page.cursor;
        if cursor.is_none() {
            return (ids, pages);
        }
    }
}

fn plan(plan: &str) -> Filter {
    Filter { plan: Some(plan.to_owned()), ..Filter::default() }
}

#[tokio::test]
async fn filters_find_tasks_and_follow_their_changes() {
    let stage = stage().await;
    let tasks = &stage.tasks;
    let documents = [
        format!(r#"{{"id":"a","title":"A","plan_id":"P","assigned_to":["{ANNA}"],"percent_complete":0.5}}"#),
        format!(r#"{{"id":"b","title":"B","planId":"P","assignedTo":["{ANNA}"],"percentComplete":100}}"#),
        r#"{"id":"c","title":"C","plan_id":"Q","status":"Blocked","assigned_to":"Bob"}"#.to_owned(),
    ];
    for document in &documents {
        tasks.create(document.as_bytes(), None).await.unwrap();
    }
    let anna = Filter { assignee: Some(ANNA.to_uppercase()), ..Filter::default() };
    let done = Filter { status: Some("completed".into()), ..Filter::default() };
    let doing =
        Filter { plan: Some("P".into()), assignee: Some(ANNA.into()), status: Some("in_progress".into()) };
    let blocked = Filter { status: Some("blocked".into()), ..Filter::default() };
    let bob = Filter { assignee: Some("bob".into()), ..Filter::default() };
    for (filter, expected) in [
        (Filter::default(), vec!["a", "b", "c"]),
        (plan("P"), vec!["a", "b"]),
        (anna.clone(), vec!["a", "b"]),
        (done.clone(), vec!["b"]),
        (doing, vec!["a"]),
        (blocked, vec!["c"]),
        (bob, vec!["c"]),
        (plan("nobody's"), vec![]),
    ] {
        assert_eq!(all(tasks, &filter, 10).await.0, expected, "{filter:?}");
    }
    tasks
        .patch("a", br#"{"plan_id":"Q","percent_complete":1,"assigned_to":[]}"#, &Precondition::None)
        .await
        .unwrap();
    assert_eq!(all(tasks, &plan("P"), 10).await.0, ["b"]);
    assert_eq!(all(tasks, &plan("Q"), 10).await.0, ["a", "c"]);
    assert_eq!(all(tasks, &done, 10).await.0, ["a", "b"]);
    assert_eq!(all(tasks, &anna, 10).await.0, ["b"]);
    tasks.delete("b", &Precondition::None).await.unwrap();
    assert_eq!(all(tasks, &done, 10).await.0, ["a"]);
}

#[tokio::test]
async fn pages_show_every_task_once_in_the_order_of_ids() {
    let stage = stage().await;
    let mut expected = BTreeSet::new();
    for number in 0..57 {
        let plan = if number % 3 == 0 { "P" } else { "Q" };
        let id = format!("t-{number}");
        let document = format!(r#"{{"id":"{id}","title":"T","plan_id":"{plan}"}}"#);
        stage.tasks.create(document.as_bytes(), None).await.unwrap();
        if plan == "P" {
            expected.insert(id);
        }
    }
    for limit in [1, 7, 19, 20, 200] {
        let (ids, pages) = all(&stage.tasks, &plan("P"), limit).await;
        assert_eq!(ids, expected.iter().cloned().collect::<Vec<_>>(), "limit {limit}");
        assert!(pages <= 19 / limit + 1, "{pages} pages of {limit}");
    }
    assert_eq!(all(&stage.tasks, &Filter::default(), 10).await.0.len(), 57);
}

#[tokio::test]
async fn one_page_looks_at_a_bounded_part_of_an_index() {
    let mut stage = stage().await;
    for number in 0..60 {
        let document = format!(r#"{{"id":"t-{number:02}","title":"T","plan_id":"P"}}"#);
        stage.tasks.create(document.as_bytes(), None).await.unwrap();
        // An agent moves it with a plain SET; the index does not know yet.
        let moved = document.replace("\"P\"", "\"Q\"");
        let () = stage.redis.set(keys::task(&format!("t-{number:02}")), moved).await.unwrap();
    }
    let before = stage.store.round_trips();
    let page = stage.tasks.list(&plan("P"), None, 5).await.unwrap();
    assert!(page.tasks.is_empty(), "a stale index shows nothing wrong");
    assert!(page.cursor.is_some(), "and the list goes on");
    assert!(stage.store.round_trips() - before <= 8);
    assert!(all(&stage.tasks, &plan("P"), 5).await.0.is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_stops_nothing() {
    let mut stage = stage().await;
    for id in ["a", "b", "c", "d"] {
        stage.tasks.create(format!(r#"{{"id":"{id}","title":"T"}}"#).as_bytes(), None).await.unwrap();
    }
    let () = stage.redis.set(keys::task("b"), "{broken").await.unwrap();
    let () = stage.redis.del(keys::task("c")).await.unwrap();
    let () = stage.redis.del(keys::task("d")).await.unwrap();
    let () = stage.redis.sadd(keys::task("d"), "x").await.unwrap();
    let page = stage.tasks.list(&Filter::default(), None, 10).await.unwrap();
    assert_eq!(page.tasks.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a"]);
    let unreadable: Vec<_> = page.unreadable.iter().map(|(id, code)| (id.as_str(), *code)).collect();
    assert_eq!(unreadable, [("b", "document_not_json"), ("d", "redis_wrong_type")]);
}

#[tokio::test]
async fn a_cursor_belongs_to_its_list() {
    let stage = stage().await;
    for id in ["a", "b"] {
        let document = format!(r#"{{"id":"{id}","title":"T","plan_id":"P"}}"#);
        stage.tasks.create(document.as_bytes(), None).await.unwrap();
    }
    let cursor = stage.tasks.list(&plan("P"), None, 1).await.unwrap().cursor.unwrap();
    assert!(stage.tasks.list(&plan("P"), Some(&cursor), 1).await.is_ok());
    for (filter, cursor) in [(plan("Q"), cursor.as_str()), (plan("P"), "nonsense"), (plan("P"), "e30")] {
        assert_eq!(stage.tasks.list(&filter, Some(cursor), 1).await.unwrap_err(), TaskError::BadCursor);
    }
}

#[test]
fn the_status_list_is_the_one_that_the_lens_decides_for() {
    for (document, lists) in [
        (r#"{"title":"T"}"#, vec!["not_started"]),
        (r#"{"title":"T","status":"done"}"#, vec!["completed", "done"]),
        (r#"{"title":"T","status":"in_progress","percent_complete":1}"#, vec!["completed"]),
        (r#"{"title":"T","status":" Blocked ","percent_complete":0.5}"#, vec!["blocked", "in_progress"]),
        (r#"{"title":"T","status":"blocked"}"#, vec!["blocked"]),
        (r#"{"title":"T","percentComplete":"x"}"#, vec![]),
    ] {
        let entries = index_entries(&Document::parse(document.as_bytes()).unwrap());
        let prefix = keys::tasks_index("status:");
        let found: Vec<_> = entries.iter().filter_map(|entry| entry.strip_prefix(&prefix)).collect();
        assert_eq!(found, lists, "{document}");
    }
}

#[test]
fn values_in_index_keys_cannot_leave_their_line() {
    let document =
        Document::parse(br#"{"title":"T","plan_id":"a\nannika:tasks:x","status":"x\ty"}"#).unwrap();
    for entry in index_entries(&document) {
        assert!(!entry.contains('\n') && !entry.contains('\t'), "{entry}");
        assert_eq!(keys::find(&entry).unwrap().pattern, keys::TASKS_INDEX.pattern);
    }
}
