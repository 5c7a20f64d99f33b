//! Each of the guide's programs as it stands, against the whole product.

use super::{Scene, agents, clients, run};

/// The id in the program's last line, `done {id}`.
fn done(out: &str) -> String {
    let last = out.lines().last().unwrap_or_default();
    last.strip_prefix("done ").unwrap_or_else(|| panic!("the last line is no `done`:\n{out}")).to_owned()
}

async fn assert_in_planner(scene: &Scene, id: &str) {
    let task = scene.in_planner(id, "the change in Planner", |task| task["percentComplete"] == 50).await;
    assert_eq!(task["title"], "Call the venue");
    assert_eq!(task["dueDateTime"], "2026-12-01T10:00:00Z");
    assert_eq!(scene.copies("Call the venue"), 1, "one task in Planner");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_py() {
    let Some(packages) = clients::redis_py("guide::examples::redis_py") else { return };
    let scene = Scene::start().await;
    let mut python = scene.program("python3");
    python.arg("agent.py").env("PYTHONPATH", packages);
    let out = run(python).await;
    assert!(out.contains("annika:tasks:updates created"), "the program hears its own message:\n{out}");
    assert_in_planner(&scene, &done(&out)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ioredis() {
    let Some(packages) = clients::ioredis("guide::examples::ioredis") else { return };
    let scene = Scene::start().await;
    scene.link_node_modules(&packages);
    let mut node = scene.program("node");
    node.arg("agent.mjs");
    let out = run(node).await;
    assert!(out.contains("annika:tasks:updates updated"), "the program hears its own message:\n{out}");
    assert_in_planner(&scene, &done(&out)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        return annika_devkit::oracle::skip("guide::examples::curl", "there is no curl");
    }
    let scene = Scene::start().await;
    let mut sh = scene.program("sh");
    sh.arg(agents().join("agent.sh"));
    let out = run(sh).await;
    assert_in_planner(&scene, &done(&out)).await;
}
