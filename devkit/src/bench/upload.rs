//! From Redis to Planner: how soon a single write arrives, and how fast many do.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use serde_json::json;

use super::{
    clock::{now, pause, until},
    figure::{Figure, percentile, short},
    scene::{LIMIT, LIST, Scene, route},
};
use crate::graph::{EntryKind, NewTask, Tally, seed};

/// What the predecessor needed, from its own bench.
const PREDECESSOR: &str = "(predecessor: p50 3.16 s)";

/// How long each HTTP request to Graph takes where a rate has a target, ms.
const LATENCY_MS: u64 = 100;

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

/// A rate of tasks. Only the one at 100 ms per HTTP request has a target.
fn rate(what: &str, count: usize, latency_ms: u64, took: Duration, target: Option<f64>) -> Figure {
    let rate = count as f64 / took.as_secs_f64();
    let name = format!("{count} {what} at {latency_ms} ms per HTTP request");
    match target.filter(|_| latency_ms == LATENCY_MS) {
        Some(target) => Figure::against(
            name,
            format!("{rate:.0} tasks/s ({} after the first; predecessor: 3.34/s)", short(took)),
            &format!("≥ {target:.0} tasks/s"),
            rate >= target,
        ),
        None => Figure::plain(name, format!("{rate:.0} tasks/s")),
    }
}

/// Waits until Graph has committed `count` writes more than `before`, and everything is settled.
async fn committed(scene: &Scene, what: &str, before: &Tally, count: usize) -> anyhow::Result<()> {
    let wanted = before.committed + u64::try_from(count)?;
    until(what, LIMIT, async || Ok((scene.tally().committed >= wanted).then_some(()))).await
}

/// Writes beyond those that were wanted: what comes back from Planner must not be sent to it again.
fn echoes(before: &Tally, after: &Tally, count: usize) -> u64 {
    (after.committed - before.committed).saturating_sub(count as u64)
}

/// Many creates, updates and deletions at once, each task of its own.
pub(super) async fn many(scene: &Scene, count: usize, latency_ms: u64) -> anyhow::Result<Vec<Figure>> {
    scene.graph().set_latency(Duration::from_millis(latency_ms));
    let id = |n: usize| format!("bench-many-{latency_ms}-{n}");
    let mut figures = Vec::new();
    let mut echo = 0;

    let (before, start) = (scene.tally(), now());
    for n in 0..count {
        scene.write(&id(n), "", &document(&id(n), n)).await?;
    }
    let written = start.elapsed();
    committed(scene, "all creates are in Planner", &before, count).await?;
    let took = start.elapsed();
    scene.settle().await?;
    let after = scene.tally();
    echo += echoes(&before, &after, count);
    figures.push(rate("creates", count, latency_ms, took, Some(300.0)));
    if latency_ms == LATENCY_MS {
        figures.push(Figure::plain("their agent's side, one script call each", short(written)));
        figures.extend(shares("create", count, &sent(&before, &after), Some(1.1), None));
    }

    for some in [100.min(count), count] {
        let (before, start) = (scene.tally(), now());
        for n in 0..some {
            scene
                .update(&id(n), |task| {
                    task["title"] = json!(format!("Task {n} of {some}, changed"));
                })
                .await?;
        }
        committed(scene, "all updates are in Planner", &before, some).await?;
        let took = start.elapsed();
        scene.settle().await?;
        let after = scene.tally();
        echo += echoes(&before, &after, some);
        if latency_ms == LATENCY_MS || some == count {
            figures.push(rate("updates", some, latency_ms, took, None));
        }
        if latency_ms == LATENCY_MS {
            figures.extend(shares("update", some, &sent(&before, &after), Some(1.1), Some(8.0)));
        }
    }

    let (before, start) = (scene.tally(), now());
    for n in 0..count {
        scene.delete(&id(n)).await?;
    }
    committed(scene, "all deletions are in Planner", &before, count).await?;
    let took = start.elapsed();
    scene.settle().await?;
    let after = scene.tally();
    echo += echoes(&before, &after, count);
    figures.push(rate("deletions", count, latency_ms, took, None));
    if latency_ms == LATENCY_MS {
        // The task and its details are read once more before a deletion, which nobody could undo in Planner.
        figures.extend(shares("deletion", count, &sent(&before, &after), Some(3.1), None));
    }
    figures.push(Figure::against(
        format!("echo writes after all these at {latency_ms} ms"),
        echo.to_string(),
        "0",
        echo == 0,
    ));
    Ok(figures)
}

/// Requests per task.
fn shares(
    what: &str,
    count: usize,
    sent: &Sent,
    sub_requests: Option<f64>,
    requests: Option<f64>,
) -> Vec<Figure> {
    let figure = |name: String, value: f64, digits: usize, target: Option<f64>| match target {
        Some(target) => {
            Figure::against(name, format!("{value:.digits$}"), &format!("≤ {target}"), value <= target)
        }
        None => Figure::plain(name, format!("{value:.digits$}")),
    };
    vec![
        figure(
            format!("Graph sub-requests per {what} ({count} at once)"),
            sent.sub_requests as f64 / count as f64,
            2,
            sub_requests,
        ),
        figure(
            format!("HTTP requests per 100 {what}s ({count} at once)"),
            sent.requests as f64 * 100.0 / count as f64,
            1,
            requests,
        ),
    ]
}

/// Puts tasks into Planner and waits until all are imported.
pub(super) async fn fill(scene: &Scene, count: usize) -> anyhow::Result<()> {
    scene.graph().set_latency(Duration::ZERO);
    let wanted = scene.known().await? + u64::try_from(count)?;
    for n in 0..count {
        let title = format!("Found in Planner {n}");
        scene.graph().add_task(NewTask {
            plan: seed::PLAN.to_owned(),
            title,
            members: Default::default(),
        })?;
    }
    scene.poll_now().await?;
    until("what was found is imported", LIMIT, async || Ok((scene.known().await? >= wanted).then_some(())))
        .await?;
    scene.settle().await
}
