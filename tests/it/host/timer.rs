//! What a timer's run is told, from the forms that a real host sends.

use annika::host::{Envelope, RetryContext, TimerInvocation};
use serde_json::{Value, json};
use std::path::Path;

fn read(body: &[u8]) -> TimerInvocation {
    TimerInvocation::read("tick", "id-1", &Envelope::decode(body).unwrap(), Default::default())
}

fn read_json(body: &Value) -> TimerInvocation {
    read(body.to_string().as_bytes())
}

#[test]
fn a_full_envelope_is_read_whole() {
    let run = read_json(&json!({
        "Data": {"myTimer": {
            "Schedule": {"AdjustForDST": true},
            "ScheduleStatus": {"Last": "2026-10-01T00:00:00.0012+00:00", "Next": "2026-10-01T02:05:00+02:00",
                "LastUpdated": "2026-10-01T00:00:00.0012+00:00"},
            "IsPastDue": true, "New": {"Field": [1]}}},
        "Metadata": {"myTimer": "\"in\"", "sys": {"MethodName": "tick"},
            "RetryContext": {"RetryCount": 1, "MaxRetryCount": 2, "Exception": {"ClassName": "x"}}}}));
    let status = run.schedule_status.unwrap();
    assert_eq!(status.next.unwrap().to_string(), "2026-10-01T00:05:00Z");
    assert_eq!(status.last.unwrap().to_string(), "2026-10-01T00:00:00.0012Z");
    assert!(run.is_past_due);
    assert_eq!(run.input.as_deref(), Some("in"));
    assert_eq!(run.retry, Some(RetryContext { count: 1, max_count: 2 }));
    assert_eq!((run.function.as_str(), run.invocation_id.as_str()), ("tick", "id-1"));
}

#[test]
fn every_part_may_be_missing_and_the_zero_date_is_none() {
    for body in [
        json!({}),
        json!({"Data": {}}),
        json!({"Data": {"t": null}}),
        json!({"Data": {"t": {"ScheduleStatus": null}}}),
    ] {
        let run = read_json(&body);
        assert!(
            run.schedule_status.is_none() && !run.is_past_due && run.retry.is_none() && run.input.is_none(),
            "{body}"
        );
    }
    let zero = "0001-01-01T00:00:00+00:00";
    let run = read_json(
        &json!({"Data": {"t": {"ScheduleStatus": {"Last": zero, "Next": "soon"}, "IsPastDue": "True"}}}),
    );
    assert_eq!(run.schedule_status, Some(Default::default()));
    assert!(run.is_past_due);
}

#[test]
fn a_timer_that_was_encoded_twice_is_read() {
    let timer = json!({"IsPastDue": true}).to_string();
    assert!(read_json(&json!({"Data": {"t": timer}})).is_past_due);
    assert!(read_json(&json!({"Data": {"t": Value::String(timer).to_string()}})).is_past_due);
}

/// The body of a recorded request, its chunks joined.
fn recorded_body(file: &Path) -> Vec<u8> {
    let text = std::fs::read(file).unwrap();
    let text = String::from_utf8(text).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        return body.as_bytes().to_vec();
    }
    let mut rest = body.as_bytes();
    let mut joined = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            return joined;
        }
        joined.extend_from_slice(&rest[end + 1..end + 1 + size]);
        rest = &rest[end + 1 + size + 1..];
    }
}

#[test]
fn what_a_real_host_sent_is_understood() {
    let Some(oracles) = annika_devkit::oracle::path("what_a_real_host_sent_is_understood") else { return };
    let folder = oracles.join("golden/real-host");
    let mut files = std::collections::BTreeSet::new();
    let mut run = |name: &str| {
        files.insert(name.to_owned());
        read(&recorded_body(&folder.join(name)))
    };

    let first = run("timer-first-run-monitor.http").schedule_status.unwrap();
    assert!(first.last.is_none() && first.last_updated.is_none());
    assert_eq!(first.next.unwrap().to_string(), "2026-11-25T15:26:00Z");
    assert!(run("timer-second-run-monitor.http").schedule_status.unwrap().last.is_some());
    assert!(run("timer-no-monitor.http").schedule_status.is_none());
    assert!(run("timer-sub-minute.http").schedule_status.is_none());
    assert!(run("timer-past-due.http").is_past_due);
    assert_eq!(run("timer-manual-admin-input.http").input.as_deref(), Some("in"));
    assert_eq!(run("timer-retry-attempt-0.http").retry, Some(RetryContext { count: 0, max_count: 2 }));
    let again: Value =
        serde_json::from_slice(&std::fs::read(folder.join("timer-retry-attempt-1.json")).unwrap()).unwrap();
    assert_eq!(read_json(&again["body"]).retry, Some(RetryContext { count: 1, max_count: 2 }));
    for name in
        ["timer-run-on-startup.http", "timer-core-tools-content-length.http", "timer-timespan-monitor.http"]
    {
        assert!(run(name).retry.is_none(), "{name}");
    }
    // Each of them, and the retried one.
    let read = files.len() + 1;
    annika_devkit::oracle::golden("real-host/timer-*, as the product reads them", read, read, "");
}
