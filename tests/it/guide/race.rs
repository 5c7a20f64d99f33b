//! Two agents and a person at one task at once: no edit is lost.

use annika_devkit::graph::seed;
use serde_json::{Value, json};
use std::collections::BTreeSet;

use super::{Scene, clients, run, until};

const EDITS: usize = 100;

/// Every edit adds to one list (a member that the product does not know), the last one sets a field of the task.
/// Both clients meet inside their first edit, so that both have read the same text and one of them must lose.
/// They print how often their edit was called.
const PYTHON: &str = r#"
import sys
from agent import r, update
task_id, edits, calls = sys.argv[1], int(sys.argv[2]), 0
def edit(n):
    def apply(task):
        global calls
        calls += 1
        if calls == 1:
            r.incr("race:read")
            r.blpop("race:go", 30)
        task.setdefault("log", []).append(f"python-{n}")
        if n == edits:
            task["title"] = "Call the venue again"
    return apply
for n in range(1, edits + 1):
    update(task_id, edit(n))
print(calls)
"#;
const NODE: &str = r#"
import { redis, update } from "./agent.mjs";
const [id, edits] = [process.argv[2], Number(process.argv[3])];
let calls = 0;
for (let n = 1; n <= edits; n++) {
  await update(id, async (task) => {
    if (++calls === 1) {
      await redis.incr("race:read");
      await redis.blpop("race:go", 30);
    }
    (task.log ??= []).push(`node-${n}`);
    if (n === edits) task.priority = "urgent";
  });
}
console.log(calls);
await redis.quit();
"#;

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_and_a_person_lose_no_edit() {
    let test = "guide::race::two_agents_and_a_person_lose_no_edit";
    let Some(python_packages) = clients::redis_py(test) else { return };
    let Some(node_packages) = clients::ioredis(test) else { return };
    let scene = Scene::start().await;
    scene.link_node_modules(&node_packages);
    std::fs::write(scene.files.path().join("race.py"), PYTHON).unwrap();
    std::fs::write(scene.files.path().join("race.mjs"), NODE).unwrap();

    let id = "agent-task-race";
    let mut redis = scene.redis().await;
    let document = json!({"id": id, "title": "Call the venue", "number": 12345678901234567_u64});
    let _: () = redis::pipe()
        .set(format!("annika:tasks:{id}"), document.to_string())
        .publish("annika:tasks:updates", json!({"action": "created", "task_id": id}).to_string())
        .query_async(&mut redis)
        .await
        .unwrap();
    let planner_id =
        scene.in_planner(id, "the task in Planner", |_| true).await["id"].as_str().unwrap().to_owned();

    let mut python = scene.program("python3");
    python.args(["race.py", id, &EDITS.to_string()]).env("PYTHONPATH", python_packages);
    let mut node = scene.program("node");
    node.args(["race.mjs", id, &EDITS.to_string()]);
    let mut agents = tokio::spawn(async { tokio::join!(run(python), run(node)) });
    until("both clients have read the task", async || {
        let read: Option<u8> = redis::cmd("GET").arg("race:read").query_async(&mut redis).await.unwrap();
        (read == Some(2)).then_some(())
    })
    .await;
    let _: () = redis::cmd("RPUSH").arg("race:go").arg(&["1", "2"]).query_async(&mut redis).await.unwrap();

    let http = reqwest::Client::new();
    let poll = format!("{}/api/sync/poll", scene.stack.host.url());
    let mut percent = 0;
    // The person goes on until the agents have ended, and once more after that.
    let mut calls = None;
    while calls.is_none() {
        calls = tokio::select! {
            calls = &mut agents => Some(calls.unwrap()),
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => None,
        };
        percent = (percent + 1).min(99);
        let edit = json!({"percentComplete": percent});
        scene.stack.graph.control().person_patch(seed::PERSON, &planner_id, edit).unwrap();
        let asked =
            http.post(&poll).header("x-functions-key", scene.stack.host.function_key()).send().await.unwrap();
        assert_eq!(asked.status(), 202);
    }

    let (python, node) = calls.unwrap();
    let calls: usize = [python, node].iter().map(|out| out.trim().parse::<usize>().unwrap()).sum();
    assert!(calls > 2 * EDITS, "at least one edit was made again on the fresh document: {calls}");

    let task = scene
        .in_planner(id, "all edits in Planner", |task| {
            task["title"] == "Call the venue again"
                && task["priority"] == 1
                && task["percentComplete"] == percent
        })
        .await;
    assert_eq!(task["id"], planner_id.as_str());
    let document: Value = until("the person's edit in Redis", async || {
        let text: String =
            redis::cmd("GET").arg(format!("annika:tasks:{id}")).query_async(&mut redis).await.unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        (document["percent_complete"].as_f64() == Some(f64::from(percent) / 100.0)).then_some(document)
    })
    .await;
    assert_eq!(document["title"], "Call the venue again");
    assert_eq!(document["priority"], "urgent");
    let log: Vec<String> = serde_json::from_value(document["log"].clone()).unwrap();
    let expected: BTreeSet<String> =
        (1..=EDITS).flat_map(|n| [format!("python-{n}"), format!("node-{n}")]).collect();
    assert_eq!(log.len(), expected.len(), "every edit once");
    assert_eq!(log.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(scene.copies("Call the venue again"), 1, "one task in Planner");
}
