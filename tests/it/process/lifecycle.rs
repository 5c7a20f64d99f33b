//! Orphans, the periodic mode, a Graph without beta, and what is linked into the product.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use annika_devkit::functions_host::InvocationOutcome;
use annika_devkit::graph::seed;

use super::{Rig, within};

fn alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended; it waits for its parent.
    !state.is_empty() && !state.rsplit(") ").next().unwrap().starts_with('Z')
}

#[tokio::test]
async fn the_periodic_mode_runs_one_cycle_and_returns() {
    let rig = Rig::start_with(|options| {
        options.host.timers = false;
        options.env.push(("PLANNER_POLL_MODE".to_owned(), "periodic".to_owned()));
    })
    .await;
    rig.create("t", "in one cycle").await;
    assert!(rig.titled("in one cycle").is_empty(), "nothing runs before the timer");
    let start = Instant::now();
    let outcome = rig.host().fire("planner_poll").await.unwrap();
    assert!(matches!(&outcome, InvocationOutcome::Succeeded { logs } if !logs.is_empty()), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(rig.titled("in one cycle").len(), 1, "uploaded");
    assert!(rig.document(&format!("planner-{}", seed::TASK)).await.is_some(), "imported");
    rig.control()
        .person_patch(seed::PERSON, seed::TASK, serde_json::json!({"title": "seen in the next"}))
        .unwrap();
    let outcome = rig.host().fire("planner_poll").await.unwrap();
    assert!(matches!(outcome, InvocationOutcome::Succeeded { .. }), "{outcome:?}");
    let document = rig.document(&format!("planner-{}", seed::TASK)).await.unwrap();
    assert_eq!(document["title"], "seen in the next");
    rig.check(&["in one cycle", "seen in the next"]);
}

#[tokio::test]
async fn a_graph_without_beta_is_enough() {
    let rig = Rig::start_with(|options| options.graph.beta = false).await;
    rig.fire();
    rig.create("t", "by v1.0 alone").await;
    let task = rig.in_planner("by v1.0 alone", 10).await;
    within(10, "it is mapped", async || rig.mapped("t").await.is_some()).await;
    let planner_id = task["id"].as_str().unwrap();
    rig.control()
        .person_patch(seed::PERSON, planner_id, serde_json::json!({"percentComplete": 100}))
        .unwrap();
    rig.poll().await;
    within(15, "a person's edit comes down", async || {
        rig.document("t").await.is_some_and(|document| document["percent_complete"] == 1.0)
    })
    .await;
    assert!(rig.control().journal().iter().all(|entry| !entry.path.starts_with("/beta")));
    rig.check(&["by v1.0 alone"]);
}

#[tokio::test]
async fn a_host_that_stops_takes_its_handler_with_it() {
    let rig = Rig::start().await;
    rig.create("t", "before the host went").await;
    rig.in_planner("before the host went", 10).await;
    let pid = rig.host().handler_pid().unwrap();
    assert!(alive(pid));
    let Rig { stack, .. } = rig;
    let annika_devkit::stack::Stack { host, .. } = stack;
    host.stop().await;
    within(4, "the handler is gone with its host", async || !alive(pid)).await;
}

#[test]
fn the_devkit_is_never_linked_into_the_product() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-e", "normal", "-p", "annika", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("annika-sync ")), "{tree}");
    assert!(!tree.contains("devkit"), "the devkit is in the product");
    for unwanted in ["openssl v", "openssl-sys", "native-tls", "rsa v"] {
        assert!(!tree.lines().any(|line| line.starts_with(unwanted)), "{unwanted} is in the product");
    }
}
