//! From Redis to Planner: how soon a single write arrives, and how fast many do.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use serde_json::json;

use super::{
    clock::{now, pause, until},
    figure::{Figure, percentile, short},
    scene::{LIMIT, LIST, Scene, route},
};
use crate::graph::{EntryKind, Tally};

/// What the predecessor needed, from its own bench.
const PREDECESSOR: &str = "(predecessor: p50 3.16 s)";

/// How long each HTTP request to Graph takes where many tasks are sent.
const LATENCY: Duration = Duration::from_millis(100);

fn document(id: &str, n: usize) -> String {
    json!({"id": id, "title": format!("Task {n}"), "status": "not_started", "percent_complete": 0.0,
        "priority": "normal", "due_date": "2026-12-01", "created_by": "bench"})
    .to_string()
}

/// When an agent wrote what, on the simulator's clock.
struct Write {
    id: String,
    at_ms: u64,
    create: bool,
}

/// Single writes with nothing else to do: message → request arrives at Graph. In turns a create and an update of the
/// task before.
pub(super) async fn single_writes(scene: &Scene, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let (count, every) = if quick { (10, 500) } else { (200, 760) };
    scene.graph().set_latency(Duration::ZERO);
    let seq = scene.graph().journal().last().map_or(0, |entry| entry.seq);
    let start = now();
    let mut writes: Vec<Write> = Vec::with_capacity(count);
    for n in 0..count {
        // Not in step with the engine's own seconds.
        pause(Duration::from_millis(every + u64::try_from(n * 37 % 29)?)).await;
        let id = format!("bench-single-{}", n / 2);
        let create = n % 2 == 0;
        let at_ms = scene.graph().now_ms();
        if create {
            scene.write(&id, "", &document(&id, n)).await?;
        } else {
            scene.update(&id, |task| task["percent_complete"] = json!(0.5)).await?;
        }
        writes.push(Write { id, at_ms, create });
    }
    let spread = start.elapsed();
    scene.settle().await?;

    // Planner id and method → when it arrived.
    let mut arrived: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    for entry in scene.graph().journal_since(seq) {
        if entry.kind == EntryKind::Batch {
            continue;
        }
        let (Some(id), Some(method)) =
            (entry.id, ["POST", "PATCH"].into_iter().find(|method| *method == entry.method))
        else {
            continue;
        };
        arrived.entry((id, method)).or_insert(entry.at_ms);
    }
    let (mut creates, mut updates) = (Vec::new(), Vec::new());
    for write in &writes {
        let planner_id = scene.planner_id(&write.id).await?;
        let planner_id = planner_id.with_context(|| format!("{} is not in Planner", write.id))?;
        let (method, samples) = if write.create { ("POST", &mut creates) } else { ("PATCH", &mut updates) };
        let at =
            arrived.get(&(planner_id, method)).with_context(|| format!("no {method} of {}", write.id))?;
        samples.push(Duration::from_millis(at.saturating_sub(write.at_ms)));
    }
    let mut all: Vec<Duration> = creates.iter().chain(&updates).copied().collect();
    let seconds = spread.as_secs();
    let (p50, p99) = (percentile(&mut all, 0.5), percentile(&mut all, 0.99));
    let each = |samples: &mut Vec<Duration>| {
        format!("p50 {}, p99 {}", short(percentile(samples, 0.5)), short(percentile(samples, 0.99)))
    };
    Ok(vec![
        Figure::against(
            format!("publish → request at Graph, {count} single writes over {seconds} s, p50"),
            format!("{} {PREDECESSOR}", short(p50)),
            "≤ 250 ms",
            p50 <= Duration::from_millis(250),
        ),
        Figure::against("the same, p99", short(p99), "≤ 1 s", p99 <= Duration::from_secs(1)),
        Figure::plain("of these the creates", each(&mut creates)),
        Figure::plain("of these the updates", each(&mut updates)),
    ])
}

/// Everything but the polls' lists.
fn without_lists(tally: &Tally) -> u64 {
    tally.sub_requests - route(tally, LIST)
}

/// What was sent between two tallies: sub-requests other than lists, HTTP requests without the polls' own.
struct Sent {
    sub_requests: u64,
    requests: u64,
}

fn sent(before: &Tally, after: &Tally) -> Sent {
    let lists = route(after, LIST) - route(before, LIST);
    Sent {
        sub_requests: without_lists(after) - without_lists(before),
        // A poll of one plan is one HTTP request.
        requests: (after.requests - before.requests).saturating_sub(lists),
    }
}

/// Many creates at once.
pub(super) async fn creates(scene: &Scene, count: usize) -> anyhow::Result<Vec<Figure>> {
    scene.graph().set_latency(LATENCY);
    let before = scene.tally();
    let start = now();
    for n in 0..count {
        let id = format!("bench-many-{n}");
        scene.write(&id, "", &document(&id, n)).await?;
    }
    let written = start.elapsed();
    let wanted = before.committed + u64::try_from(count)?;
    until(
        "all creates are in Planner",
        LIMIT,
        async || Ok((scene.tally().committed >= wanted).then_some(())),
    )
    .await?;
    let took = start.elapsed();
    scene.settle().await?;
    let sent = sent(&before, &scene.tally());
    let rate = count as f64 / took.as_secs_f64();
    let each = sent.sub_requests as f64 / count as f64;
    Ok(vec![
        Figure::against(
            format!("{count} creates at {} ms per HTTP request", LATENCY.as_millis()),
            format!("{rate:.0} tasks/s ({} after the first write; predecessor: 3.34/s)", short(took)),
            "≥ 300 tasks/s",
            rate >= 300.0,
        ),
        Figure::plain("their agent's side, one script call each", short(written)),
        Figure::against("Graph sub-requests per create", format!("{each:.2}"), "≤ 1.1", each <= 1.1),
        Figure::plain(
            "HTTP requests per 100 creates",
            format!("{:.1}", sent.requests as f64 * 100.0 / count as f64),
        ),
    ])
}

/// Many updates at once, each of a task that [`creates`] made.
pub(super) async fn updates(scene: &Scene, count: usize) -> anyhow::Result<Vec<Figure>> {
    scene.graph().set_latency(LATENCY);
    let before = scene.tally();
    let start = now();
    for n in 0..count {
        scene
            .update(&format!("bench-many-{n}"), |task| {
                task["title"] = json!(format!("Task {n} of {count}, changed"));
            })
            .await?;
    }
    let wanted = before.committed + u64::try_from(count)?;
    until(
        "all updates are in Planner",
        LIMIT,
        async || Ok((scene.tally().committed >= wanted).then_some(())),
    )
    .await?;
    let took = start.elapsed();
    scene.settle().await?;
    let sent = sent(&before, &scene.tally());
    let each = sent.sub_requests as f64 / count as f64;
    let requests = sent.requests as f64 * 100.0 / count as f64;
    Ok(vec![
        Figure::plain(
            format!("{count} updates at {} ms per HTTP request", LATENCY.as_millis()),
            format!("{:.0} tasks/s", count as f64 / took.as_secs_f64()),
        ),
        Figure::against(
            format!("Graph sub-requests per update ({count} at once)"),
            format!("{each:.2} (predecessor: 3)"),
            "≤ 1.1",
            each <= 1.1,
        ),
        Figure::against(
            format!("HTTP requests per 100 updates ({count} at once)"),
            format!("{requests:.1}"),
            "≤ 8",
            requests <= 8.0,
        ),
    ])
}
