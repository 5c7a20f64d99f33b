//! `POST /api/sync/erase-person`: nothing of the person is left in any key, and nothing else is changed.

use std::collections::BTreeMap;

use annika::keys;
use annika_sync::{
    lens::{Field, Value as FieldValue},
    state::{Remote, TaskState, digest},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};

use crate::api::{Answer, TestApp};

const ID: &str = "fbab97d0-4932-4511-b675-204639209557";
const MAIL: &str = "alexw@contoso.com";
const DOCUMENT: &str = r#"{"id":"t","title":"T","assigned_to":["fbab97d0-4932-4511-b675-204639209557","other"],"created_by":"alexw@contoso.com","n":1.0,"_sync":{"rev":"r1","planner_id":"P"}}"#;

async fn erase(app: &TestApp, body: Value) -> Answer {
    app.post("/api/sync/erase-person", &body.to_string()).await
}

/// Everything that stands in Redis, as text.
async fn everything(redis: &mut MultiplexedConnection) -> BTreeMap<String, String> {
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query_async(redis).await.unwrap();
    let mut all = BTreeMap::new();
    for name in names {
        let kind: String = redis::cmd("TYPE").arg(&name).query_async(redis).await.unwrap();
        let value: redis::Value = match kind.as_str() {
            "string" => redis.get(&name).await.unwrap(),
            "hash" => redis::cmd("HGETALL").arg(&name).query_async(redis).await.unwrap(),
            "list" => redis.lrange(&name, 0, -1).await.unwrap(),
            "set" => redis.smembers(&name).await.unwrap(),
            "zset" => redis.zrange(&name, 0, -1).await.unwrap(),
            _ => redis.xrange_all::<_, redis::Value>(&name).await.unwrap(),
        };
        all.insert(name, shown(&value));
    }
    all
}

fn shown(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::Array(list) | redis::Value::Set(list) => {
            list.iter().map(shown).collect::<Vec<_>>().join("\n")
        }
        redis::Value::Map(map) => {
            map.iter().map(|(a, b)| format!("{}={}", shown(a), shown(b))).collect::<Vec<_>>().join("\n")
        }
        other => format!("{other:?}"),
    }
}

/// The person everywhere that they can be.
async fn seeded(app: &mut TestApp) {
    let redis = &mut app.redis;
    let user = json!({"id": ID, "displayName": "Alex Wilber", "userPrincipalName": MAIL, "mail": MAIL});
    let () = redis.set(keys::graph_user(ID), user.to_string()).await.unwrap();
    let () = redis.set(keys::graph_user("other"), r#"{"id":"other","displayName":"Other"}"#).await.unwrap();
    let token = keys::token_user(ID, "Mail.Read");
    let () = redis.set(&token, r#"{"token":"secret"}"#).await.unwrap();
    let () = redis.sadd(keys::tokens_active(), &[token.as_str(), "annika:tokens:agent:x"]).await.unwrap();

    let people = FieldValue::Set([ID.to_owned(), "other".to_owned()].into());
    let fields = BTreeMap::from([(Field::Title, FieldValue::Text("T".into())), (Field::Assignees, people)]);
    let mut state = TaskState {
        planner_id: Some("P".into()),
        base: fields.clone(),
        current: fields.clone(),
        ..TaskState::default()
    };
    state.remote = Some(Remote { etag: "e".into(), details_etag: None, fields });
    state.seen = Some(digest(DOCUMENT.as_bytes()));
    state.rev = Some("r1".into());
    let () = redis.set(keys::task("t"), DOCUMENT).await.unwrap();
    let () =
        redis.hset(keys::sync_state("t"), "record", serde_json::to_string(&state).unwrap()).await.unwrap();
    let () = redis.hset(keys::sync_index(), "t", digest(DOCUMENT.as_bytes())).await.unwrap();
    let () = redis.set(keys::task("u"), format!(r#"{{"id":"u","title":"Ask {MAIL}"}}"#)).await.unwrap();
    let () = redis.set(keys::task("v"), r#"{"id":"v","title":"Of nobody","n":1.0}"#).await.unwrap();

    let cached = json!({"id": "P", "assignments": {ID: {}}, "createdBy": {"user": {"id": ID, "displayName": "Alex Wilber"}}});
    let () = redis.set_ex(keys::planner_task("P"), cached.to_string(), 3_600).await.unwrap();
    let () = redis.set_ex(keys::sync_tomb("dead"), DOCUMENT, 3_600).await.unwrap();
    let () = redis.hset(keys::sync_orphans(), "task\nplan\nP", cached.to_string()).await.unwrap();
    let failed = json!({"task_id": "u", "code": "x", "error": format!("{MAIL} is no user id")}).to_string();
    let () = redis.rpush(keys::sync_failed(), &["{\"task_id\":\"v\"}", failed.as_str()]).await.unwrap();
    let () = redis.hset(keys::sync_state("u"), "failed", &failed).await.unwrap();
    let () = redis
        .lpush(
            keys::teams_chats_history(),
            json!({"from": {"user": {"id": ID}}, "text": "hello"}).to_string(),
        )
        .await
        .unwrap();
    for lost in [json!([ID]), json!(["other"])] {
        let _: String = redis
            .xadd(
                keys::sync_conflicts(),
                "*",
                &[("field", "assignees".to_owned()), ("lost", lost.to_string())],
            )
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn nothing_of_the_person_is_left_and_nothing_else_is_changed() {
    let mut app = TestApp::start().await;
    seeded(&mut app).await;
    let before = everything(&mut app.redis).await;
    let report = erase(&app, json!({"person": MAIL.to_uppercase()})).await.json();
    assert_eq!((&report["complete"], &report["cursor"]), (&json!(true), &Value::Null), "{report}");
    assert_eq!(report["mentioned_in"], json!(["u"]), "a title is Planner's too");
    let erased = |pattern: &str| report["erased"][pattern].as_u64().unwrap_or(0);
    for pattern in [
        "annika:tasks:{task_id}",
        "annika:sync:state:{annika_id}",
        "annika:graph:users:{user_id}",
        "annika:tokens:user:{user_id}:{scope*}",
        "annika:planner:tasks:{planner_id}",
        "annika:sync:tomb:{annika_id}",
        "annika:sync:orphans",
        "annika:sync:failed",
        "annika:sync:conflicts",
        "annika:teams:chats:history",
    ] {
        assert_eq!(erased(pattern), 1, "{pattern}: {report}");
    }

    let after = everything(&mut app.redis).await;
    for (key, text) in &after {
        let found = [ID, MAIL, "alex wilber"]
            .iter()
            .any(|name| format!("{key} {text}").to_lowercase().contains(name));
        assert_eq!(found, key == "annika:tasks:u", "{key}: {text}");
    }
    for key in [keys::task("v"), keys::graph_user("other")] {
        assert_eq!(after[&key], before[&key]);
    }
    let document = &after["annika:tasks:t"];
    assert_eq!(
        document,
        r#"{"id":"t","title":"T","assigned_to":["other"],"created_by":null,"n":1.0,"_sync":{"rev":"r1","planner_id":"P"}}"#
    );
    // The sweep sees no edit, the engine an agreement, and the failed list and its task the same entry.
    assert!(after[keys::sync_index()].ends_with(&digest(document.as_bytes())));
    let said = app.get("/api/sync/explain/t").await.json();
    assert!(said["fields"].as_array().unwrap().iter().all(|field| field["changed"] == "same"), "{said}");
    assert_eq!(said["next"]["send"], json!([]));
    let entry: String = app.redis.hget(keys::sync_state("u"), "failed").await.unwrap();
    assert!(after[keys::sync_failed()].lines().any(|line| line == entry), "{entry}");
    let ttl: i64 = app.redis.ttl(keys::planner_task("P")).await.unwrap();
    assert!(ttl > 3_000, "lives stay as they were");

    let again = erase(&app, json!({"person": ID})).await.json();
    let total: u64 = again["erased"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((total, &again["complete"]), (0, &json!(true)), "{again}");
}

#[tokio::test]
async fn a_task_that_an_engine_works_on_is_named_and_left_for_the_next_call() {
    let mut app = TestApp::start().await;
    seeded(&mut app).await;
    let () = app.redis.hset(keys::sync_state("t"), "lease_until", i64::MAX / 2).await.unwrap();
    let report = erase(&app, json!({"person": ID})).await.json();
    assert_eq!((&report["complete"], report["busy"][0].as_str()), (&json!(false), Some("t")));
    assert_eq!(app.redis.get::<_, String>(keys::task("t")).await.unwrap(), DOCUMENT);
    let () = app.redis.hdel(keys::sync_state("t"), "lease_until").await.unwrap();
    assert_eq!(erase(&app, json!({"person": ID})).await.json()["complete"], true);
    assert!(!app.redis.get::<_, String>(keys::task("t")).await.unwrap().contains(ID));
}

#[tokio::test]
async fn only_a_name_of_somebody_is_taken() {
    let app = TestApp::start().await;
    for body in
        [json!({}), json!({"person": ""}), json!({"person": "a b c"}), json!({"person": "x", "all": true})]
    {
        assert_eq!(erase(&app, body.clone()).await.status, 422, "{body}");
    }
    assert_eq!(app.post("/api/sync/erase-person", "").await.code(), "body_not_json");
}
