//! The commands that ask one question or do one thing, and their answers as text.

use annika_sync::world::Direction;
use serde_json::{Value as Json, json};

use super::{Page, Side};
use crate::{
    api,
    cli::{
        answer::{Answer, Failed},
        table::{cell, table},
    },
    planner::{Blocked, Explained, Lag, Overview, PlanView, Planner, Records, Restored, Retry},
};

pub(super) async fn status(planner: &Planner, now: i64) -> Result<Answer, Failed> {
    let overview = planner.overview().await?;
    let well = overview.status == "healthy";
    Ok(Answer { text: overview_text(&overview, now), json: api::sync_status(&overview), well })
}

fn overview_text(overview: &Overview, now: i64) -> String {
    let ago = |at: &Option<String>| {
        let at = at.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", duration(now - at.as_millisecond())))
    };
    let mut text = format!("status     {}\n", overview.status);
    for (code, detail) in &overview.reasons {
        text.push_str(&format!("           {code}: {detail}\n"));
    }
    text.push_str(&format!(
        "engine     health {}, complete poll {}, sweep {} ({})\n",
        ago(&overview.published_at),
        ago(&overview.last_successful_sync),
        ago(&overview.last_sweep),
        overview.sweep_ms.map_or_else(|| "-".to_owned(), duration),
    ));
    let backlog = &overview.backlog;
    text.push_str(&format!(
        "backlog    {} due (oldest {:.1} s), {} waiting, {} failed, {} open creates, {} held orphans\n",
        backlog.due,
        backlog.age_s,
        backlog.waiting,
        backlog.failed,
        backlog.open_creates,
        backlog.orphans_held
    ));
    text.push_str(&format!(
        "tasks      {} known; a new document that nobody announces is found within {} s\n",
        backlog.known_tasks, backlog.discovery_bound_seconds
    ));
    text.push_str(&format!("uploads    {}\n", lag_text(&overview.upload_lag)));
    text.push_str(&format!("downloads  {}\n", lag_text(&overview.download_lag)));
    text.push_str(&format!(
        "Graph      {} requests per change, {:.1} % throttled in five minutes\n",
        overview
            .graph_requests_per_synced_change
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        overview.throttle_ratio * 100.0
    ));
    text.push_str(&format!(
        "deletions  held: {} in Planner, {} of documents\n",
        overview.guard.planner.held, overview.guard.redis.held
    ));
    if let Some(rebuild) = &overview.rebuild {
        text.push_str(&format!(
            "rebuild    {} documents read, {} claimed, round {} of 2\n",
            rebuild.documents,
            rebuild.claimed,
            (rebuild.rounds + 1).min(2)
        ));
    }
    let rows: Vec<Vec<String>> = overview
        .plans
        .iter()
        .map(|plan| {
            vec![
                plan.plan_id.clone(),
                ago(&plan.last_list),
                plan.tasks.map_or_else(|| "-".to_owned(), |tasks| tasks.to_string()),
                plan.complete_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0)),
                hindered(plan),
                plan.schedule
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["plan", "last list", "tasks", "whole", "", ""], &rows));
    }
    text
}

/// Why a plan is not listed, or takes no new tasks: since when, until when, and the code.
fn hindered(plan: &PlanView) -> String {
    let blocked = |word: &str, blocked: &Option<Blocked>| {
        let Blocked { since, until, code } = blocked.as_ref()?;
        Some(format!("{word} since {since} until {until} ({code})"))
    };
    let refused = plan.refused.map(|status| format!("refused with {status}"));
    let all = [blocked("suspended", &plan.suspended), blocked("full", &plan.full), refused];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn lag_text(lag: &Lag) -> String {
    let bound = |ms: Option<u64>| {
        ms.map_or_else(|| "-".to_owned(), |ms| duration(i64::try_from(ms).unwrap_or(i64::MAX)))
    };
    if lag.count == 0 {
        return "none yet".to_owned();
    }
    format!("{}, half within {}, 99 of 100 within {}", lag.count, bound(lag.p50_ms), bound(lag.p99_ms))
}

/// A length of time in its two largest units.
fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let s = ms / 1_000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

pub(super) async fn once(planner: &Planner) -> Result<Answer, Failed> {
    let ran = planner.once().await?;
    let report = planner.report();
    let count = |name: &str| report.counters.get(name).copied().unwrap_or(0);
    let names = ["uploads", "downloads", "deletes", "conflicts", "polls", "sweeps", "graph_requests"];
    let counters: serde_json::Map<String, Json> =
        names.iter().map(|name| ((*name).to_owned(), Json::from(count(name)))).collect();
    let text = if ran {
        let shown: Vec<String> =
            names.iter().map(|name| format!("{} {}", count(name), name.replace('_', " "))).collect();
        format!("One cycle has run: {}.\n", shown.join(", "))
    } else {
        "Another process has the sync; it does what there is to do.\n".to_owned()
    };
    let complete = ran && report.last_poll.is_some();
    let problems = &report.problems;
    let text = if ran && !complete {
        format!(
            "{text}Not every plan could be listed.\n{}",
            problems.iter().map(|p| format!("  {p}\n")).collect::<String>()
        )
    } else {
        text
    };
    let status = match (ran, complete) {
        (true, true) => "done",
        (true, false) => "incomplete",
        (false, _) => "runs_elsewhere",
    };
    let json = json!({"status": status, "counters": counters, "problems": problems});
    Ok(Answer { text, json, well: complete })
}

pub(super) async fn retry(planner: &Planner, ids: &[String], all: bool) -> Result<Answer, Failed> {
    let tasks = planner.retry_failed(if all { Retry::All } else { Retry::Tasks(ids) }).await?;
    let text = format!("{tasks} failed tasks are tried again.\n");
    // Of tasks that were named and are not in the list the caller should hear.
    let well = all || tasks == ids.len() as u64;
    Ok(Answer { text, json: json!({"tasks": tasks}), well })
}

pub(super) async fn restore(planner: &Planner, id: &str) -> Result<Answer, Failed> {
    let (status, text, well) = match planner.restore(id).await? {
        Restored::Restored => ("restored", "The document is back; the task is made in Planner again.", true),
        Restored::AlreadyThere => {
            ("already_there", "There is a document of this id; nothing was changed.", true)
        }
        Restored::Unknown => ("unknown", "Nothing is kept under this id.", false),
    };
    Ok(Answer { text: format!("{text}\n"), json: json!({"status": status}), well })
}

pub(super) async fn release(planner: &Planner, side: Side) -> Result<Answer, Failed> {
    let direction = match side {
        Side::Planner => Direction::Up,
        Side::Redis => Direction::Down,
    };
    let tasks = planner.release(direction).await?;
    let text = format!("{tasks} held deletions are confirmed; each task can be restored for 30 days.\n");
    Ok(Answer { text, json: json!({"tasks": tasks}), well: true })
}

pub(super) async fn explain(planner: &Planner, id: &str) -> Result<Answer, Failed> {
    let explained = planner.explain(id).await?;
    let json = serde_json::to_value(&explained).unwrap_or_default();
    Ok(Answer { text: explained_text(&explained, &json), json, well: true })
}

fn explained_text(explained: &Explained, json: &Json) -> String {
    let task = &explained.task;
    let mut text = format!(
        "task       {}\nPlanner    {}\ndocument   {}{}, stamp {}\n",
        task.task_id,
        task.planner_id.as_deref().unwrap_or("-"),
        task.document,
        if task.expires { " (expires)" } else { "" },
        cell(json.get("stamp")),
    );
    if let Some(due) = &explained.schedule.due_at {
        text.push_str(&format!("due        {due}\n"));
    }
    if let Some(waiting) = task.waiting_ms {
        text.push_str(&format!("waits for  {}\n", duration(waiting)));
    }
    if let Some(failure) = &task.failure {
        text.push_str(&format!(
            "failure    {} ({} times): {}\n",
            failure.code, failure.attempts, failure.message
        ));
    }
    if let Some(create) = &task.create {
        text.push_str(&format!(
            "create     sent to plan {} {} s ago, outcome unknown\n",
            create.plan, create.age_s
        ));
    }
    for intent in &task.intents {
        text.push_str(&format!(
            "intent     {} = {}, sent {} s ago\n",
            intent.field, intent.value, intent.age_s
        ));
    }
    if explained.schedule.restorable {
        text.push_str("deleted    within 30 days: `annika sync restore` brings it back\n");
    }
    let rows: Vec<Vec<String>> = task
        .fields
        .iter()
        .map(|field| {
            let shown = |value| cell(Some(value));
            vec![
                field.field.to_owned(),
                field.changed.to_owned(),
                shown(&field.base),
                shown(&field.local),
                shown(&field.remote),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["field", "changed", "agreed", "document", "Planner"], &rows));
    }
    text.push_str(&format!("\nnext       {}\n", task.next.action));
    for why in &task.next.why {
        text.push_str(&format!("           {why}\n"));
    }
    text
}

pub(super) async fn failed(planner: &Planner, page: &Page) -> Result<Answer, Failed> {
    let records = planner.failed(page.cursor.as_deref(), page.limit.into()).await?;
    Ok(records_answer(&records, &["task_id", "op", "code", "attempts", "first_at", "retry_at", "error"]))
}

pub(super) async fn conflicts(planner: &Planner, page: &Page) -> Result<Answer, Failed> {
    let records = planner.conflicts(page.cursor.as_deref(), page.limit.into()).await?;
    Ok(records_answer(&records, &["at", "task_id", "field", "loser", "kept", "lost"]))
}

pub(super) async fn log(planner: &Planner, page: &Page) -> Result<Answer, Failed> {
    let records = planner.log(page.cursor.as_deref(), page.limit.into()).await?;
    Ok(records_answer(&records, &["at", "id", "op", "direction", "fields", "requests", "ms", "outcome"]))
}

pub(super) async fn tombs(planner: &Planner, page: &Page) -> Result<Answer, Failed> {
    let records = planner.deleted(page.cursor.as_deref(), page.limit.into()).await?;
    Ok(records_answer(&records, &["deleted_at", "id", "direction", "title", "planner_id"]))
}

fn records_answer(records: &Records, columns: &[&str]) -> Answer {
    let rows: Vec<Vec<String>> = records
        .entries
        .iter()
        .map(|entry| columns.iter().map(|column| cell(entry.get(*column))).collect())
        .collect();
    let mut text = if rows.is_empty() { "None.\n".to_owned() } else { table(columns, &rows) };
    if let Some(cursor) = &records.cursor {
        text.push_str(&format!("\nmore: --cursor {cursor}\n"));
    }
    Answer { text, json: json!({"entries": records.entries, "cursor": records.cursor}), well: true }
}
