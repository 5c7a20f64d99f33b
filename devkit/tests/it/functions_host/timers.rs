//! Timers firing by themselves, by a clock that the test moves.

use super::{
    staged::Staged,
    wire::{RawHandler, Reply, attached, eventually},
};
use annika_devkit::functions_host::{Cause, FunctionsHost, HostOptions, Ticks, VirtualClock};
use serde_json::{Value, json};
use std::sync::Arc;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn date(text: &str) -> Ticks {
    Ticks::parse(text).unwrap().0
}

fn options(staged: &Staged, handler: &RawHandler, clock: &Arc<VirtualClock>) -> HostOptions {
    HostOptions {
        timers: true,
        status_dir: Some(staged.root().join("../statuses")),
        clock: clock.clone(),
        ..attached(staged.options(), handler.port)
    }
}

/// The trigger object of the run with that number, once it has ended.
async fn run(host: &FunctionsHost, handler: &RawHandler, number: usize) -> Value {
    eventually(&format!("run {number}"), || {
        host.invocations().get(number).filter(|record| record.ended.is_some()).map(drop)
    })
    .await;
    let request = String::from_utf8(handler.requests()[number].clone()).unwrap();
    let body: Value =
        serde_json::from_str(request.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    body["Data"]["myTimer"].clone()
}

async fn stored(staged: &Staged, next: &str) -> Value {
    let file = staged.root().join("../statuses/tick.status.json");
    let read =
        || std::fs::read_to_string(&file).ok().filter(|text| text.contains(&format!("\"Next\":\"{next}")));
    serde_json::from_str(&eventually("the status", read).await).unwrap()
}

#[tokio::test]
async fn a_timer_fires_on_time_and_makes_up_for_one_missed_run() {
    let handler = RawHandler::start(|_, _| Reply::Bytes(ANSWER.to_vec())).await;
    let staged = Staged::new();
    staged.timer("tick", "%SCHEDULE%");
    let clock = VirtualClock::new(date("2026-03-15T10:20:30Z"));
    let mut with_schedule = options(&staged, &handler, &clock);
    with_schedule.env.push(("SCHEDULE".to_owned(), "0 * * * * *".to_owned()));
    let host = FunctionsHost::start(with_schedule.clone()).await.unwrap();
    clock.set(date("2026-03-15T10:21:00Z"));
    let first = run(&host, &handler, 0).await;
    assert_eq!(first["IsPastDue"], false);
    assert_eq!(first["ScheduleStatus"]["Last"], "0001-01-01T00:00:00+00:00");
    assert_eq!(stored(&staged, "2026-03-15T10:22:00").await["Last"], "2026-03-15T10:21:00+00:00");
    clock.set(date("2026-03-15T10:22:00.004Z"));
    let second = run(&host, &handler, 1).await;
    assert_eq!(second["ScheduleStatus"]["Last"], "2026-03-15T10:21:00+00:00");
    stored(&staged, "2026-03-15T10:23:00").await;
    host.stop().await;

    // Two ticks pass while no host runs: one run makes up for them.
    clock.set(date("2026-03-15T10:24:10Z"));
    let host = FunctionsHost::start(with_schedule).await.unwrap();
    clock.set(date("2026-03-15T10:24:10.001Z"));
    eventually("the late run", || (handler.requests().len() == 3).then_some(())).await;
    let record =
        eventually("its record", || host.invocations().pop().filter(|record| record.ended.is_some())).await;
    assert_eq!(record.cause, Cause::Schedule { is_past_due: true });
    assert_eq!(stored(&staged, "2026-03-15T10:25:00").await["Last"], "2026-03-15T10:24:10.001+00:00");
    assert_eq!((host.invocations().len(), handler.requests().len()), (1, 3));
    host.stop().await;
}

#[tokio::test]
async fn a_disabled_timer_only_fires_by_hand_and_no_timer_fires_when_switched_off() {
    let handler = RawHandler::start(|_, _| Reply::Bytes(ANSWER.to_vec())).await;
    let staged = Staged::new();
    staged.timer("tick", "0 * * * * *").timer("witness", "0 * * * * *");
    let clock = VirtualClock::new(date("2026-03-15T10:20:30Z"));
    let mut disabled = options(&staged, &handler, &clock);
    disabled.env.push(("AzureWebJobs.tick.Disabled".to_owned(), "true".to_owned()));
    let host = FunctionsHost::start(disabled.clone()).await.unwrap();
    clock.set(date("2026-03-15T10:21:00Z"));
    run(&host, &handler, 0).await;
    let names = |host: &FunctionsHost| {
        host.invocations().into_iter().map(|record| record.function).collect::<Vec<_>>()
    };
    assert_eq!(names(&host), ["witness"]);
    assert!(host.fire("tick").await.unwrap().succeeded());
    assert_eq!(names(&host), ["witness", "tick"]);
    host.stop().await;

    let host = FunctionsHost::start(HostOptions { timers: false, ..disabled }).await.unwrap();
    clock.set(date("2026-03-15T10:30:00Z"));
    assert!(host.fire("witness").await.unwrap().succeeded());
    assert_eq!(names(&host), ["witness"]);
    host.stop().await;
}

#[tokio::test]
async fn run_on_startup_and_no_monitor() {
    let handler = RawHandler::start(|_, _| Reply::Bytes(ANSWER.to_vec())).await;
    let staged = Staged::new();
    let binding = json!({"type": "timerTrigger", "direction": "in", "name": "myTimer", "schedule": "0 0 * * * *", "runOnStartup": true, "useMonitor": false});
    staged.function("tick", &json!({"bindings": [binding]}));
    let clock = VirtualClock::new(date("2026-03-15T10:20:30Z"));
    let host = FunctionsHost::start(options(&staged, &handler, &clock)).await.unwrap();
    clock.set(date("2026-03-15T10:20:30.001Z"));
    let info = run(&host, &handler, 0).await;
    assert_eq!(info, json!({"Schedule": {"AdjustForDST": true}, "ScheduleStatus": null, "IsPastDue": false}));
    assert!(!staged.root().join("../statuses/tick.status.json").exists());
    host.stop().await;
}
