//! A whole session: what agents and people do to a task in both directions, and what the logs say of it.

use annika::keys;
use annika_devkit::graph::seed;
use redis::AsyncCommands;
use serde_json::json;

use super::{Rig, within};

#[tokio::test]
async fn a_session_moves_tasks_both_ways_and_logs_no_key_no_token_and_no_text() {
    let rig = Rig::start().await;
    let mut redis = rig.redis.clone();
    // An agent, over HTTP and with a plain SET that nobody announces but the pending list.
    rig.create("http", "Quarterly zebra report").await;
    let text =
        json!({"id": "raw", "title": "Raw walrus memo", "plan_id": seed::PLAN, "percent_complete": 0.5});
    let () = redis.set(keys::task("raw"), text.to_string()).await.unwrap();
    let () = redis.rpush(keys::sync_pending(), r#"{"task_id":"raw","operation":"create"}"#).await.unwrap();
    let () = redis.publish(keys::tasks_updates(), r#"{"action":"created","task_id":"raw"}"#).await.unwrap();
    let http = rig.in_planner("Quarterly zebra report", 10).await;
    let raw = rig.in_planner("Raw walrus memo", 10).await;
    assert_eq!(raw["percentComplete"], 50);

    // A person.
    let (http, raw) = (http["id"].as_str().unwrap(), raw["id"].as_str().unwrap());
    within(10, "both are mapped", async || {
        rig.mapped("http").await.is_some() && rig.mapped("raw").await.is_some()
    })
    .await;
    rig.control().person_patch(seed::PERSON, http, json!({"title": "Zebra, final"})).unwrap();
    rig.poll().await;
    within(10, "the new title comes down", async || {
        rig.document("http").await.is_some_and(|document| document["title"] == "Zebra, final")
    })
    .await;
    // Both sides at once, different fields.
    rig.control().person_patch(seed::PERSON, http, json!({"percentComplete": 100})).unwrap();
    let patch = json!({"description": "the walrus said so"});
    assert_eq!(rig.send("PATCH", "/api/tasks/http", Some(patch)).await.status, 200);
    rig.poll().await;
    within(15, "both changes are on both sides", async || {
        let document = rig.document("http").await.unwrap();
        let details = rig.control().details(http).unwrap();
        document["percent_complete"] == 1.0 && details["description"] == "the walrus said so"
    })
    .await;
    assert_eq!(rig.control().task(http).unwrap()["percentComplete"], 100);

    // Deletions, each way.
    rig.control().person_delete(seed::PERSON, raw).unwrap();
    assert_eq!(rig.send("DELETE", "/api/tasks/http", None).await.status, 204);
    within(15, "the agent's deletion goes up", async || rig.control().task(http).is_none()).await;
    rig.poll().await;
    within(60, "the person's deletion comes down", async || rig.document("raw").await.is_none()).await;
    // Asked for with the key in the address, as curl users do, and for what is not there.
    let key = rig.host().function_key().to_owned();
    assert_eq!(rig.get(&format!("/api/tasks?code={key}")).await.status, 200);
    assert_eq!(rig.get(&format!("/api/tasks/none?code={key}")).await.status, 404);
    let bad = rig.send("POST", "/api/tasks", Some(json!({"title": ""}))).await;
    assert_eq!(bad.status, 422);

    assert!(rig.failed().await.is_empty());
    assert_eq!(rig.host().error_lines().len(), 0, "{:?}", rig.host().error_lines());
    rig.check(&["zebra", "Zebra", "walrus", "Update client list", seed::PERSON]);
}
