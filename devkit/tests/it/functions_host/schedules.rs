//! Timers: schedules, the stored status, the listener over time.

use super::golden::{Tally, load, vectors};
use annika_devkit::functions_host::{
    Fired, Listener, Schedule, ScheduleStatus, Settings, Ticks, check_at_start, resolve_settings,
};
use serde_json::{Value, json};

fn date(text: &str) -> Ticks {
    Ticks::parse(text).unwrap_or_else(|| panic!("{text} is no date")).0
}

fn shown(date: Ticks) -> String {
    format!("{}Z", date.iso())
}

#[test]
fn timer_schedules() {
    let name = "timer-schedules.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        let expression = row["expression"].as_str().unwrap();
        let from = date(row["from"].as_str().unwrap());
        let settings: Option<Settings> =
            row.get("settings").map(|settings| serde_json::from_value(settings.clone()).unwrap());
        let resolved = settings.as_ref().map(|settings| resolve_settings(expression, settings));
        let parsed = match resolved.clone() {
            Some(Err(message)) => Err(message),
            Some(Ok(text)) => Schedule::parse(&text).map_err(|why| why.to_string()),
            None => Schedule::parse(expression).map_err(|why| why.to_string()),
        };
        let mut expected = row.clone();
        for field in ["note", "settings", "next_error", "cron_parser_message"] {
            expected.as_object_mut().unwrap().remove(field);
        }
        if expression.is_empty() {
            // The host never gets as far as the schedule: its binder wants a value.
            tally.skip("an empty schedule fails in the binder, not in the schedule");
            continue;
        }
        let mut got = json!({"expression": expression, "from": row["from"]});
        if let Some(Ok(text)) = &resolved {
            got["resolved"] = json!(text);
        }
        match parsed {
            Err(message) => {
                got["error"] = json!(true);
                got["message"] = json!(message);
            }
            Ok(schedule) => {
                match &schedule {
                    Schedule::Cron(cron) => {
                        got["kind"] = json!("cron");
                        got["fields"] = json!(if cron.six_fields { 6 } else { 5 });
                    }
                    Schedule::Constant(_) => got["kind"] = json!("timespan"),
                }
                got["canonical"] = json!(schedule.canonical());
                got["use_monitor_after_create"] = json!(schedule.allows_monitor(from));
                let mut at = from;
                let mut next = Vec::new();
                while next.len() < 5
                    && let Some(following) = schedule.next_after(at)
                {
                    next.push(shown(following));
                    at = following;
                }
                if !next.is_empty() {
                    got["next"] = json!(next);
                }
            }
        }
        tally.check(expression, &got, &expected);
    }
    tally.finish();
}

#[test]
fn cron_reasons() {
    let name = "timer-schedules.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(&format!("{name}, the cron parser's reasons"));
    for row in vectors(&file) {
        let Some(reason) = row["cron_parser_message"].as_str() else { continue };
        let text = row["resolved"].as_str().or_else(|| row["expression"].as_str()).unwrap();
        let got = Schedule::parse(text).map_err(|why| why.cron_reason().to_owned());
        tally.check(text, &got.err(), &Some(reason.to_owned()));
    }
    tally.finish();
}

fn stored(row: &Value, field: &str) -> Result<Option<ScheduleStatus>, String> {
    row[field].as_str().map(ScheduleStatus::parse).transpose().map(Option::flatten)
}

#[test]
fn timer_monitor() {
    let name = "timer-monitor.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        let case = format!("{} {}", row["case"], row["expression"]);
        let schedule = Schedule::parse(row["expression"].as_str().unwrap()).unwrap();
        let now = date(row["now"].as_str().unwrap());
        if let Some(stays) = row["monitor_stays_on"].as_bool() {
            tally.check(&case, &schedule.allows_monitor(now), &stays);
            continue;
        }
        match stored(&row, "stored_before") {
            Err(_) => tally.check(&case, &row["error"].is_string(), &true),
            Ok(before) => {
                let check = check_at_start(&schedule, now, before);
                let after = if check.changed {
                    check.status.json()
                } else {
                    row["stored_before"].as_str().unwrap().to_owned()
                };
                #[expect(clippy::cast_precision_loss, reason = "spans of days have few digits")]
                let late = check.past_due_by.0 as f64 / 1e7;
                let got = json!([check.past_due_by > Ticks::ZERO, late, check.changed, after]);
                let expected = ["is_past_due", "past_due_by_seconds", "status_written", "stored_after"]
                    .map(|field| row[field].clone());
                tally.check(&case, &got, &json!(expected));
            }
        }
    }
    tally.finish();
}

#[test]
fn timer_listener() {
    let name = "timer-listener.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        let flag = |field: &str| row[field].as_bool().unwrap();
        let schedule = Schedule::parse(row["expression"].as_str().unwrap()).unwrap();
        let start = date(row["start"].as_str().unwrap());
        let mut listener =
            Listener::new(schedule, flag("use_monitor_configured"), flag("run_on_startup"), start);
        let mut kept = row["stored_before"].clone();
        let before = if listener.monitored() { stored(&row, "stored_before").unwrap() } else { None };
        let (wait, store) = listener.start(start, before);
        let mut keep = |store: Option<ScheduleStatus>| {
            if let Some(status) = store {
                kept = json!(status.json());
            }
            kept.clone()
        };
        #[expect(clippy::cast_precision_loss, reason = "waits have few digits")]
        let milliseconds = |wait: Ticks| json!(wait.0 as f64 / 1e4);
        let mut got = vec![json!([listener.monitored(), keep(store), milliseconds(wait)])];
        let mut expected =
            vec![json!([row["monitor_in_use"], row["stored_after_start"], row["first_timer_ms"]])];
        for event in row["events"].as_array().unwrap() {
            let fired = date(event["timer_fires_at"].as_str().unwrap());
            let ended = date(event["run_ends_at"].as_str().unwrap());
            let (info, wait, store) = match listener.fire(fired) {
                Fired::Wait(wait) => (Value::Null, wait, None),
                Fired::Run(run) => {
                    let (wait, store) = listener.end(fired, ended);
                    (json!(run.info), wait, store)
                }
            };
            got.push(json!([info, keep(store), milliseconds(wait)]));
            expected.push(json!([
                event.get("timer_info").unwrap_or(&Value::Null),
                event["stored_after"],
                event["next_timer_ms"]
            ]));
        }
        tally.check(&row["case"].to_string(), &got, &expected);
    }
    tally.finish();
}
