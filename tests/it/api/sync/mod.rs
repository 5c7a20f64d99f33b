//! `/api/sync/…`: what operators see.

mod actions;
mod erasure;

use std::collections::{BTreeMap, BTreeSet};

use annika::keys;
use annika_sync::{
    lens::{Field, Value as FieldValue},
    state::{Remote, TaskState},
    world::{Report, World},
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::TestApp;
use crate::planner::world;

/// What an engine of another process says of itself.
async fn published(app: &TestApp) {
    let mut report = Report { plans: 1, sweep_ms: Some(18), lease_since: Some(0), ..Report::default() };
    report.counters = BTreeMap::from([("uploads", 4), ("upload_requests", 5), ("conflicts", 2)]);
    for ms in [90, 120, 240, 2_000] {
        report.upload_lag.add(ms);
    }
    report.traffic.add(200, 0, annika_now());
    report.traffic.add(0, 1, annika_now());
    let lists = report.lists.entry("p".to_owned()).or_default();
    (lists.begun, lists.complete) = (4, 3);
    world(&app.server, Vec::new()).report(&report).await.unwrap();
}

fn annika_now() -> i64 {
    annika::clock::SystemClock::shared().now_ms()
}

#[tokio::test]
async fn the_status_is_silent_without_an_engine_and_tells_what_one_published() {
    let mut app = TestApp::start().await;
    let silent = app.get("/api/sync/status").await.json();
    assert_eq!(silent["status"], "silent");
    assert!(silent["reasons"].as_array().unwrap().iter().any(|reason| reason["code"] == "engine_silent"));
    let text = app.get("/api/sync/metrics").await.text;
    assert!(text.contains("annika_sync_engine_alive 0\n"), "{text}");
    assert!(!text.contains("upload_lag"), "nothing is made up: {text}");

    published(&app).await;
    let () = app.redis.hset(keys::sync_poll("p"), "total", 118).await.unwrap();
    let () = app.redis.hset(keys::sync_poll("p"), "temperature", "warm").await.unwrap();
    let () = app.redis.hset(keys::sync_orphans(), "task\np\nx", "{}").await.unwrap();
    let () = app.redis.zadd(keys::sync_due(), "late", annika_now() - 90_000).await.unwrap();
    let () = app.redis.zadd(keys::sync_due(), "leased", annika_now() + 90_000).await.unwrap();
    let status = app.get("/api/sync/status").await.json();
    assert_eq!(status["status"], "degraded", "credentials are missing: {status}");
    let backlog = &status["backlog"];
    assert_eq!(
        (&backlog["due"], &backlog["waiting"], &backlog["orphans_held"]),
        (&json!(1), &json!(2), &json!(1))
    );
    let age = backlog["age_s"].as_f64().unwrap();
    assert!((89.0..150.0).contains(&age), "{age}");
    let plan = &status["plans"][0];
    assert_eq!(
        (&plan["plan_id"], &plan["tasks"], &plan["complete_ratio"]),
        (&json!("p"), &json!(118), &json!(0.75))
    );
    assert_eq!(plan["schedule"], json!({"temperature": "warm"}));
    assert_eq!(status["graph_requests_per_synced_change"], 1.25);
    assert_eq!(
        (&status["upload_lag"]["p50_ms"], &status["upload_lag"]["p99_ms"]),
        (&json!(250), &json!(2_500))
    );
    assert_eq!(status["throttle_ratio"], 0.005);
}

#[tokio::test]
async fn the_metrics_are_prometheus_text() {
    let mut app = TestApp::start().await;
    published(&app).await;
    let () = app.redis.rpush(keys::sync_failed(), r#"{"task_id":"a"}"#).await.unwrap();
    let answer = app.get("/api/sync/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "annika_sync_engine_alive 1",
        "annika_sync_failed_tasks 1",
        "annika_sync_uploads_total 4",
        "annika_sync_conflicts_total 2",
        "annika_sync_losers_logged_total 0",
        "annika_sync_sweep_seconds 0.018",
        "annika_sync_throttle_ratio 0.005",
        "annika_sync_graph_requests_per_synced_change 1.25",
        "annika_sync_upload_lag_seconds_bucket{le=\"0.1\"} 1",
        "annika_sync_upload_lag_seconds_bucket{le=\"0.25\"} 3",
        "annika_sync_upload_lag_seconds_bucket{le=\"+Inf\"} 4",
        "annika_sync_upload_lag_seconds_count 4",
        "annika_sync_upload_lag_seconds_sum 2.45",
        "annika_sync_poll_complete_ratio{plan=\"p\"} 0.75",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line}\n{}", answer.text);
    }
    // Every sample follows the HELP and TYPE of its own family, each named once.
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in answer.text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family.to_owned()), "{family} comes twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(family), "{line}");
        } else {
            assert!(line.starts_with(family), "{line} is not of {family}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[tokio::test]
async fn pages_of_failed_tasks_leave_nobody_out_while_entries_leave() {
    let mut app = TestApp::start().await;
    let empty = app.get("/api/sync/failed").await.json();
    assert_eq!(empty, json!({"entries": [], "cursor": null}));
    let entry = |n: usize| json!({"task_id": format!("t{n}"), "code": "title_missing"}).to_string();
    for n in 0..7 {
        let () = app.redis.rpush(keys::sync_failed(), entry(n)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    for round in 0..10 {
        let query = cursor.as_str().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = app.get(&format!("/api/sync/failed?limit=2{query}")).await.json();
        seen.extend(
            page["entries"].as_array().unwrap().iter().map(|e| e["task_id"].as_str().unwrap().to_owned()),
        );
        cursor = page["cursor"].clone();
        if cursor.is_null() {
            break;
        }
        if round == 1 {
            // Two that were shown and one that was not.
            for n in [0, 2, 5] {
                let () = app.redis.lrem(keys::sync_failed(), 1, entry(n)).await.unwrap();
            }
        }
    }
    assert_eq!(seen, ["t0", "t1", "t2", "t3", "t4", "t6"]);
}

#[tokio::test]
async fn conflicts_and_the_log_come_newest_first() {
    let mut app = TestApp::start().await;
    for n in 0..3 {
        let fields = [
            ("task_id", format!("t{n}")),
            ("field", "title".into()),
            ("kept", "\"x\"".into()),
            ("lost", n.to_string()),
        ];
        let _: String = app.redis.xadd(keys::sync_conflicts(), "*", &fields).await.unwrap();
        let () = app
            .redis
            .lpush(keys::sync_log(), json!({"op": "update", "id": format!("t{n}")}).to_string())
            .await
            .unwrap();
    }
    let page = app.get("/api/sync/conflicts?limit=2").await.json();
    assert_eq!(page["entries"][0], json!({"task_id": "t2", "field": "title", "kept": "x", "lost": 2}));
    let next = app
        .get(&format!("/api/sync/conflicts?limit=2&cursor={}", page["cursor"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(
        (next["entries"][0]["task_id"].as_str(), next["entries"].as_array().unwrap().len()),
        (Some("t0"), 1)
    );
    assert!(next["cursor"].is_null());

    let page = app.get("/api/sync/log?limit=2").await.json();
    assert_eq!(page["entries"][0]["id"], "t2");
    // Another operation is logged meanwhile: nothing is shown twice, nothing left out.
    let () = app.redis.lpush(keys::sync_log(), r#"{"op":"update","id":"t3"}"#).await.unwrap();
    let next =
        app.get(&format!("/api/sync/log?limit=2&cursor={}", page["cursor"].as_str().unwrap())).await.json();
    assert_eq!(next, json!({"entries": [{"op": "update", "id": "t0"}], "cursor": null}));

    for list in ["failed", "log"] {
        assert_eq!(app.get(&format!("/api/sync/{list}?cursor=nonsense")).await.code(), "bad_cursor");
    }
    assert_eq!(app.get("/api/sync/conflicts?cursor=1-1%20%2B").await.code(), "bad_cursor");
    assert_eq!(app.get("/api/sync/conflicts?limit=0").await.code(), "invalid");
}

/// A task that both sides agreed on, and whose document an agent has changed since.
async fn changed_by_an_agent(app: &mut TestApp) {
    let fields = BTreeMap::from([
        (Field::Title, FieldValue::Text("Review plan".into())),
        (Field::Plan, FieldValue::Text("p".into())),
        (Field::Description, FieldValue::Null),
    ]);
    let mut state = TaskState {
        planner_id: Some("x".into()),
        base: fields.clone(),
        current: fields.clone(),
        ..TaskState::default()
    };
    state.remote =
        Some(Remote { etag: "W/\"1\"".into(), details_etag: Some("W/\"2\"".into()), fields: fields.clone() });
    state.remember_view("r1", &fields, annika_now() - 61_000);
    let record = serde_json::to_string(&state).unwrap();
    let () = app.redis.hset(keys::sync_state("agent-task-1"), "record", record).await.unwrap();
    let document = json!({"id": "agent-task-1", "title": "Review the plan", "plan_id": "p", "_sync": {"rev": "r1", "planner_id": "x"}});
    let () = app.redis.set(keys::task("agent-task-1"), document.to_string()).await.unwrap();
}

#[tokio::test]
async fn a_task_is_explained_without_touching_it() {
    let mut app = TestApp::start().await;
    changed_by_an_agent(&mut app).await;
    let before: Vec<u8> =
        redis::cmd("DUMP").arg(keys::sync_state("agent-task-1")).query_async(&mut app.redis).await.unwrap();
    let said = app.get("/api/sync/explain/agent-task-1").await.json();
    assert_eq!(
        (said["stamp"].as_str(), said["next"]["action"].as_str()),
        (Some("newest"), Some("update")),
        "{said}"
    );
    let title =
        said["fields"].as_array().unwrap().iter().find(|field| field["field"] == "title").unwrap().clone();
    assert_eq!(
        title,
        json!({"field": "title", "base": "Review plan", "local": "Review the plan", "remote": "Review plan", "changed": "local"})
    );
    let after: Vec<u8> =
        redis::cmd("DUMP").arg(keys::sync_state("agent-task-1")).query_async(&mut app.redis).await.unwrap();
    let size: u64 = redis::cmd("DBSIZE").query_async(&mut app.redis).await.unwrap();
    assert_eq!((before, 2), (after, size), "nothing was written");

    assert_eq!(app.get("/api/sync/explain/nobody").await.code(), "task_not_found");
    assert_eq!(app.get("/api/sync/explain/a:b").await.status, 422);
    let () = app.redis.hset(keys::sync_state("agent-task-1"), "record", "{no state").await.unwrap();
    assert_eq!(app.get("/api/sync/explain/agent-task-1").await.code(), "state_unreadable");
}

/// Names of the members of an object, at every depth; lists by their first element.
fn members(value: &Value, at: &str, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                names.insert(format!("{at}.{name}"));
                members(value, &format!("{at}.{name}"), names);
            }
        }
        Value::Array(list) => {
            if let Some(first) = list.first() {
                members(first, &format!("{at}[]"), names);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_examples_in_the_document_are_like_real_answers() {
    let mut app = TestApp::start().await;
    changed_by_an_agent(&mut app).await;
    published(&app).await;
    let () = app.redis.hset(keys::sync_throttle(), "pause_until", 1).await.unwrap();
    let document = app.get("/api/openapi.json").await.json();
    let open = ["counters", "throttle", "reasons", "plans", "intents", "views_age_s"];
    for (pattern, path) in [
        ("/api/sync/status", "/api/sync/status"),
        ("/api/sync/explain/{id}", "/api/sync/explain/agent-task-1"),
    ] {
        let example =
            &document["paths"][pattern]["get"]["responses"]["200"]["content"]["application/json"]["example"];
        let named = |value: &Value| {
            let mut names = BTreeSet::new();
            members(value, "", &mut names);
            names.retain(|name| !open.iter().any(|open| name.contains(&format!(".{open}."))));
            names
        };
        assert_eq!(named(example), named(&app.get(path).await.json()), "{pattern}");
    }
}
