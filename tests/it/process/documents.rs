//! Documents of every kind: malformed ones stop nothing else, expiring ones are never a deletion.

use annika::keys;
use annika_devkit::graph::seed;
use redis::AsyncCommands;
use serde_json::json;

use super::{Rig, within};

#[tokio::test]
async fn a_malformed_document_stands_in_the_failed_list_until_it_is_fixed_and_stops_nothing_else() {
    let rig = Rig::start().await;
    let mut redis = rig.redis.clone();
    let announce = |id: &str| json!({"action": "created", "task_id": id, "source": "agent"}).to_string();
    let bad: [(&str, &str); 5] = [
        ("cut", r#"{"id":"cut","title":"half"#),
        ("array", "[1,2]"),
        ("twice", r#"{"title":"a","title":"b"}"#),
        ("number", r#"{"id":"number","title":7}"#),
        ("dates", r#"{"id":"dates","title":"due when","due_date":"the day after"}"#),
    ];
    for (id, text) in bad {
        let () = redis.set(keys::task(id), text).await.unwrap();
        let () = redis.publish(keys::tasks_updates(), announce(id)).await.unwrap();
    }
    let () = redis.rpush(keys::task("list"), "x").await.unwrap();
    let () = redis.publish(keys::tasks_updates(), announce("list")).await.unwrap();
    let good = json!({"id": "good", "title": "good among bad", "plan_id": seed::PLAN}).to_string();
    let () = redis.set(keys::task("good"), good).await.unwrap();
    let () = redis.publish(keys::tasks_updates(), announce("good")).await.unwrap();
    rig.in_planner("good among bad", 10).await;
    within(15, "all six are listed", async || rig.failed().await.len() == 6).await;
    let listed = rig.failed().await;
    super::say(&format!("malformed documents: {listed:?}"));
    for (_, code) in &listed {
        assert!(!code.is_empty());
    }
    let texts: Vec<String> = redis.lrange(keys::sync_failed(), 0, -1).await.unwrap();
    for text in &texts {
        let entry: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(entry["error"].as_str().is_some_and(|error| !error.is_empty()), "{entry}");
    }
    let ready = rig.get("/api/health/ready").await;
    assert_eq!((ready.status, &ready.json["failed"]), (200, &json!(6)));
    assert!(rig.reasons().await.contains(&"tasks_failed".to_owned()));

    for (id, _) in bad {
        let text = json!({"id": id, "title": format!("{id} is fixed"), "plan_id": seed::PLAN}).to_string();
        let () = redis.set(keys::task(id), text).await.unwrap();
        let () = redis.publish(keys::tasks_updates(), announce(id)).await.unwrap();
    }
    let () = redis.del(keys::task("list")).await.unwrap();
    let text = json!({"id": "list", "title": "list is fixed", "plan_id": seed::PLAN}).to_string();
    let () = redis.set(keys::task("list"), text).await.unwrap();
    let () = redis.publish(keys::tasks_updates(), announce("list")).await.unwrap();
    for id in ["cut", "array", "twice", "number", "dates", "list"] {
        rig.in_planner(&format!("{id} is fixed"), 15).await;
    }
    within(10, "the list is empty again", async || rig.failed().await.is_empty()).await;
    within(10, "readiness is content", async || rig.reasons().await.is_empty()).await;
    rig.check(&["good among bad", "is fixed", "due when", "the day after"]);
}

#[tokio::test]
async fn a_document_that_expires_is_no_deletion_and_one_that_is_deleted_is() {
    let rig = Rig::start().await;
    let mut redis = rig.redis.clone();
    for (id, seconds) in [("short", Some(4_u64)), ("kept", None)] {
        let text = json!({"id": id, "title": format!("{id} lived"), "plan_id": seed::PLAN}).to_string();
        let () = match seconds {
            Some(seconds) => redis.set_ex(keys::task(id), text, seconds).await.unwrap(),
            None => redis.set(keys::task(id), text).await.unwrap(),
        };
        let message = json!({"action": "created", "task_id": id, "source": "agent"}).to_string();
        let () = redis.publish(keys::tasks_updates(), message).await.unwrap();
        rig.in_planner(&format!("{id} lived"), 10).await;
    }
    within(10, "both are mapped", async || {
        rig.mapped("short").await.is_some() && rig.mapped("kept").await.is_some()
    })
    .await;
    let ttl: i64 = redis.pttl(keys::task("short")).await.unwrap();
    assert!(ttl <= 4_000, "the sync's stamp keeps the expiry: {ttl}");
    within(10, "it expires", async || rig.document("short").await.is_none()).await;
    // Hints that its key is gone, as many as a deletion would need.
    let () = redis.del(keys::task("kept")).await.unwrap();
    for id in ["short", "kept"] {
        let () = redis.publish(keys::tasks_updates(), format!(r#"{{"task_id":"{id}"}}"#)).await.unwrap();
    }
    let deleted = json!({"action": "deleted", "task_id": "kept", "source": "agent"}).to_string();
    let () = redis.publish(keys::tasks_updates(), deleted).await.unwrap();
    within(40, "the deletion goes up", async || rig.titled("kept lived").is_empty()).await;
    assert_eq!(rig.titled("short lived").len(), 1, "an expired document deletes nothing");
    rig.check(&["short lived", "kept lived"]);
}
