//! Two handlers of one app side by side, as at every restart of the host: one engine, and no task twice.

use std::{process::Command, time::Duration};

use annika_devkit::functions_host::{FunctionsHost, Source};

use super::{Rig, say, within};

const TASKS: usize = 60;

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn said(host: &FunctionsHost, what: &str) -> bool {
    host.log().iter().any(|line| line.source == Source::Stdout && line.text.contains(what))
}

fn title(n: usize) -> String {
    format!("handed over {n:02}")
}

/// The first process stands still in the middle of its work for longer than its lease, and then goes on.
#[tokio::test]
async fn an_engine_that_stood_still_and_its_successor_make_no_task_twice() {
    let rig = Rig::start_with(|options| options.graph.latency = Duration::from_millis(300)).await;
    rig.fire();
    within(10, "the first engine runs", async || said(rig.host(), "the Planner sync starts")).await;
    let second = rig.another_host().await;
    drop(second.fire_detached("planner_poll").unwrap());
    for n in 0..TASKS {
        rig.create(&format!("h-{n}"), &title(n)).await;
    }
    let count = || (0..TASKS).filter(|n| !rig.titled(&title(*n)).is_empty()).count();
    within(20, "the middle of the work", async || count() >= 20).await;
    let first = rig.host().handler_pid().unwrap();
    signal(first, "STOP");
    let before = count();
    assert!(before < TASKS, "there is something left to do");

    within(50, "the second engine settles the rest", async || {
        let failed = rig.failed().await;
        for n in 0..TASKS {
            let id = format!("h-{n}");
            if rig.mapped(&id).await.is_none() && !failed.iter().any(|(failed, _)| *failed == id) {
                return false;
            }
        }
        true
    })
    .await;
    signal(first, "CONT");
    within(20, "the first one sees that another has the work", async || {
        said(rig.host(), "engine_lease_lost")
    })
    .await;
    assert_eq!(rig.get("/api/tasks/h-0").await.status, 200, "it goes on serving agents");
    // Whatever it had under way is answered by now; every task is there once.
    let open = async || rig.control().journal().iter().all(|entry| entry.done_ms.is_some());
    within(20, "nothing is under way", open).await;
    rig.poll().await;
    within(30, "what Planner has is adopted", async || {
        let failed = rig.failed().await;
        (0..TASKS).all(|n| {
            let listed = failed.iter().any(|(id, _)| *id == format!("h-{n}"));
            !listed || rig.titled(&title(n)).is_empty()
        })
    })
    .await;
    let failed = rig.failed().await;
    for n in 0..TASKS {
        let found = rig.titled(&title(n)).len();
        assert!(found <= 1, "{} is {found} times in Planner", title(n));
        let listed = failed.contains(&(format!("h-{n}"), "create_unresolved".to_owned()));
        assert!(rig.mapped(&format!("h-{n}")).await.is_some() || listed, "{} is lost", title(n));
    }
    say(&format!(
        "handover: {before} of {TASKS} done at the standstill; {} unresolved in the end",
        failed.len()
    ));
    rig.check(&["handed over"]);
    second.stop().await;
}
