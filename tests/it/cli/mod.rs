//! `annika sync …` as a process: what it prints, and how it exits.

use std::process::{Command, Output};

use annika::keys;
use annika_devkit::{
    graph::seed,
    redis_server::{RedisOptions, RedisServer},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};

use crate::process::Rig;

struct Shell {
    env: Vec<(String, String)>,
    _server: Option<RedisServer>,
}

impl Shell {
    async fn start() -> (Self, MultiplexedConnection) {
        let server = RedisServer::start(RedisOptions::default()).await.unwrap();
        let redis = server.connect().await.unwrap();
        (Self { env: vec![("REDIS_URL".into(), server.url())], _server: Some(server) }, redis)
    }

    /// Runs `annika` with these words; blocks, as a shell does.
    fn output(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annika"));
        command.args(line.split(' ')).env_clear().envs(self.env.iter().cloned());
        command.output().unwrap()
    }

    /// Exit code and stdout; stderr must be empty.
    fn run(&self, line: &str) -> (i32, String) {
        let output = self.output(line);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.is_empty(), "{line}: {stderr}");
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// As [`Shell::json`], while the simulators in this process go on.
    async fn beside(&self, line: &str) -> (i32, Value) {
        let (shell, line) = (Self { env: self.env.clone(), _server: None }, line.to_owned());
        tokio::task::spawn_blocking(move || shell.json(&line)).await.unwrap()
    }

    fn json(&self, line: &str) -> (i32, Value) {
        let (code, text) = self.run(&format!("{line} --json"));
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}")))
    }
}

#[tokio::test]
async fn the_status_is_a_table_or_json_and_exits_1_where_not_all_is_well() {
    let (shell, mut redis) = Shell::start().await;
    let () = redis.set(keys::config_default_plan_id(), "the-plan").await.unwrap();
    let (code, text) = shell.run("sync status");
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("status     silent\n")
            && text.contains("engine_silent")
            && text.contains("the-plan"),
        "{text}"
    );
    let (code, json) = shell.json("sync status");
    assert_eq!((code, json["status"].as_str()), (1, Some("silent")));
    assert!(json["reasons"][0]["code"].is_string(), "as over HTTP: {json}");
}

#[tokio::test]
async fn without_redis_there_is_no_answer_and_the_code_says_so() {
    let shell = Shell { env: vec![("REDIS_URL".into(), "redis://127.0.0.1:1".into())], _server: None };
    let output = shell.output("sync failed");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("redis_unavailable: "), "{output:?}");
    let output = shell.output("sync failed --json");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["code"], "redis_unavailable");
    let bad = Shell { env: vec![("REDIS_URL".into(), "http://x".into())], _server: None };
    assert_eq!(bad.output("sync status").status.code(), Some(2), "settings that are not valid");
    assert_eq!(shell.output("sync nonsense").status.code(), Some(2));
}

#[tokio::test]
async fn lists_are_tables_and_a_failed_task_is_explained_and_tried_again() {
    let (shell, mut redis) = Shell::start().await;
    assert_eq!(shell.run("sync failed"), (0, "None.\n".to_owned()));
    for n in 0..3 {
        let id = format!("t{n}");
        let entry =
            json!({"op": "create", "task_id": id, "code": "title_missing", "error": "a task needs a title"})
                .to_string();
        let () = redis.rpush(keys::sync_failed(), &entry).await.unwrap();
        let () = redis.hset(keys::sync_state(&id), "failed", &entry).await.unwrap();
    }
    let (code, text) = shell.run("sync failed --limit 2");
    assert_eq!(code, 0);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("task_id  op      code")
            && lines[1].starts_with("t0       create  title_missing"),
        "{text}"
    );
    let cursor = lines.last().unwrap().strip_prefix("more: --cursor ").expect("another page");
    let (_, rest) = shell.json(&format!("sync failed --cursor {cursor}"));
    assert_eq!((rest["entries"][0]["task_id"].as_str(), rest["cursor"].is_null()), (Some("t2"), true));
    let output = shell.output("sync failed --cursor nonsense");
    assert_eq!(output.status.code(), Some(1));

    assert_eq!(shell.json("sync retry t0 t1"), (0, json!({"tasks": 2})));
    assert_eq!(shell.json("sync retry t0 nobody").0, 1, "one of them is in no list");
    assert_eq!(shell.json("sync retry --all"), (0, json!({"tasks": 3})));

    let () = redis.set(keys::task("t0"), r#"{"id":"t0","title":"Review"}"#).await.unwrap();
    let (code, text) = shell.run("sync explain t0");
    assert_eq!(code, 0);
    assert!(
        text.contains("document   present") && text.contains("next       wait") && text.contains("Review"),
        "{text}"
    );
    let output = shell.output("sync explain nobody");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("task_not_found"));
}

#[tokio::test]
async fn a_deleted_task_comes_back_and_held_deletions_are_confirmed() {
    let (shell, mut redis) = Shell::start().await;
    assert_eq!(shell.json("sync restore t"), (1, json!({"status": "unknown"})));
    let () = redis.set(keys::sync_tomb("t"), r#"{"id":"t","title":"Review"}"#).await.unwrap();
    let () = redis.zadd(keys::sync_tombs(), "t", 1_764_064_800_000_i64).await.unwrap();
    assert!(shell.run("sync tombs").1.contains("2025-11-25T10:00:00Z  t"), "{}", shell.run("sync tombs").1);
    assert_eq!(shell.json("sync restore t"), (0, json!({"status": "restored"})));
    assert_eq!(shell.json("sync restore t"), (0, json!({"status": "already_there"})));
    let text: String = redis.get(keys::task("t")).await.unwrap();
    assert!(text.contains("Review"));

    let () = redis.zadd(keys::sync_guard_held("up"), "t", 1_764_064_800_000_i64).await.unwrap();
    assert_eq!(shell.json("sync release redis"), (0, json!({"tasks": 0})));
    assert_eq!(shell.json("sync release planner"), (0, json!({"tasks": 1})));
}

#[tokio::test]
async fn a_rebuild_is_asked_for_and_without_an_engine_says_that_none_runs() {
    let (shell, mut redis) = Shell::start().await;
    let () = redis.set(keys::sync_epoch(), "an epoch").await.unwrap();
    assert_eq!(shell.json("sync rebuild --no-wait"), (0, json!({"status": "accepted"})));
    assert!(!redis.exists::<_, bool>(keys::sync_epoch()).await.unwrap());
    let (code, json) = shell.json("sync rebuild");
    assert_eq!((code, json["status"].as_str()), (1, Some("no_engine")));
}

/// The settings of the handler under the emulator, for a command beside it.
fn rig_env(rig: &Rig) -> Vec<(String, String)> {
    let graph = rig.stack.graph.environment(true).into_iter();
    let mut env: Vec<(String, String)> = graph.map(|(name, value)| (name.to_owned(), value)).collect();
    env.push(("AZURE_CLIENT_ID".into(), rig.stack.graph.client_id()));
    env.push(("REDIS_URL".into(), rig.stack.redis_url().to_owned()));
    env.push(("PLANNER_PLANS".into(), seed::PLAN.into()));
    env
}

#[tokio::test]
async fn one_cycle_runs_here_and_now_unless_another_process_has_the_sync() {
    let rig = Rig::start_with(|options| options.host.timers = false).await;
    let shell = Shell { env: rig_env(&rig), _server: None };
    rig.create("t", "by one cycle").await;
    let (code, json) = shell.beside("sync once").await;
    assert_eq!((code, json["status"].as_str()), (0, Some("done")), "{json}");
    assert!(json["counters"]["uploads"].as_u64() >= Some(1), "{json}");
    assert_eq!(rig.titled("by one cycle").len(), 1);
    let (_, explained) = shell.beside("sync explain t").await;
    assert_eq!(explained["next"]["action"], "nothing", "{explained}");

    let () = rig.redis.clone().set(keys::sync_lock("engine"), "another").await.unwrap();
    let (code, json) = shell.beside("sync once").await;
    assert_eq!((code, json["status"].as_str()), (1, Some("runs_elsewhere")));
}

#[tokio::test]
async fn a_completed_task_ages_out_of_redis_only_and_comes_back_when_a_person_changes_it() {
    let rig = Rig::start_with(|options| options.host.timers = false).await;
    let mut shell = Shell { env: rig_env(&rig), _server: None };
    shell.env.push(("TASKS_COMPLETED_TTL_DAYS".into(), "30".into()));
    let task = json!({"id": "t", "title": "done long ago", "percent_complete": 1.0, "plan_id": seed::PLAN});
    assert_eq!(rig.send("POST", "/api/tasks", Some(task)).await.status, 201);
    let mut redis = rig.redis.clone();
    for round in 0..4 {
        let ran = shell.beside("sync once").await;
        assert_eq!(ran.0, 0, "{ran:?}");
        let planner_id =
            rig.titled("done long ago").first().map(|task| task["id"].as_str().unwrap().to_owned());
        match round {
            0 => {
                assert_eq!(rig.titled("done long ago").len(), 1);
                let note = format!("0:{}", sha(&redis.get::<_, Vec<u8>>(keys::task("t")).await.unwrap()));
                let () = redis.hset(keys::sync_aging(), "t", note).await.unwrap();
            }
            1 => {
                assert!(rig.document("t").await.is_none(), "it left Redis");
                assert_eq!(rig.get("/api/tasks/t").await.status, 404);
                assert_eq!(rig.titled("done long ago").len(), 1, "and Planner has it");
            }
            2 => {
                assert!(rig.document("t").await.is_none(), "the next poll imports nothing");
                assert_eq!(rig.titled("done long ago").len(), 1);
                let id = planner_id.unwrap();
                rig.control().person_patch(seed::PERSON, &id, json!({"percentComplete": 50})).unwrap();
            }
            _ => {
                let document = rig.document("t").await.expect("a person reopened it");
                assert_eq!(document["percent_complete"], 0.5);
            }
        }
    }
    rig.check(&["done long ago"]);
}

fn sha(bytes: &[u8]) -> String {
    annika_sync::state::digest(bytes)
}

#[tokio::test]
async fn an_erased_person_does_not_come_back_and_planner_changes_only_where_asked() {
    let rig = Rig::start_with(|options| options.host.timers = false).await;
    let shell = Shell { env: rig_env(&rig), _server: None };
    let id = format!("planner-{}", seed::TASK);
    let assigned = |rig: &Rig| {
        rig.control().task(seed::TASK).unwrap()["assignments"].get(seed::PERSON).is_some_and(|a| !a.is_null())
    };
    assert_eq!(shell.beside("sync once").await.0, 0);
    assert!(
        rig.document(&id).await.unwrap()["assigned_to"].as_array().unwrap().contains(&json!(seed::PERSON))
    );
    assert!(assigned(&rig));

    let (code, report) = shell.beside(&format!("erase-person {}", seed::PERSON)).await;
    assert_eq!((code, &report["found_in_directory"]), (0, &json!(true)), "{report}");
    assert!(!rig.document(&id).await.unwrap().to_string().contains(seed::PERSON));
    // Another change of the same task brings everything of it but the person.
    rig.control().person_patch(seed::PERSON, seed::TASK, json!({"title": "changed after that"})).unwrap();
    for _ in 0..2 {
        assert_eq!(shell.beside("sync once").await.0, 0);
    }
    let document = rig.document(&id).await.unwrap();
    assert_eq!(document["title"], "changed after that");
    assert!(!document.to_string().contains(seed::PERSON), "{document}");
    assert!(assigned(&rig), "nothing was unassigned in Planner");
    rig.check(&["changed after that"]);
}

#[tokio::test]
async fn erasing_in_planner_too_unassigns_there_and_then_forgets() {
    let rig = Rig::start_with(|options| options.host.timers = false).await;
    let shell = Shell { env: rig_env(&rig), _server: None };
    let id = format!("planner-{}", seed::TASK);
    assert_eq!(shell.beside("sync once").await.0, 0);
    let (code, report) = shell.beside(&format!("erase-person {} --in-planner", seed::PERSON)).await;
    assert_eq!(code, 1, "it waits for Planner: {report}");
    assert!(report["busy"].as_array().unwrap().contains(&json!(id)), "{report}");
    assert_eq!(shell.beside("sync once").await.0, 0);
    let task = rig.control().task(seed::TASK).unwrap();
    assert!(task["assignments"].get(seed::PERSON).is_none_or(serde_json::Value::is_null), "{task}");
    let (code, report) = shell.beside(&format!("erase-person {} --in-planner", seed::PERSON)).await;
    assert_eq!((code, &report["complete"]), (0, &json!(true)), "{report}");
    assert!(!rig.document(&id).await.unwrap().to_string().contains(seed::PERSON));
}
