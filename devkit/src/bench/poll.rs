//! The steady poll: what it asks of Graph and of Redis when nothing has changed.
//!
//! Redis tells from outside: `total_reads_processed` of `INFO stats` grows by one for each batch of commands that
//! arrives on a connection, which is a round trip; `total_commands_processed` counts the commands in them.
//! What an idle engine asks anyway (lease, signals) is measured for as long a time and taken away.

use std::time::Duration;

use anyhow::Context;

use super::{
    clock::{now, pause, until},
    figure::Figure,
    scene::{LIMIT, LIST, Scene, route},
};
use crate::graph::seed;

/// Figures of Redis since its start.
#[derive(Clone, Copy, Debug)]
struct Counted {
    reads: u64,
    commands: u64,
}

async fn info(scene: &Scene, section: &str) -> anyhow::Result<String> {
    let mut redis = scene.redis.clone();
    Ok(redis::cmd("INFO").arg(section).query_async(&mut redis).await?)
}

async fn counted(scene: &Scene) -> anyhow::Result<Counted> {
    let text = info(scene, "stats").await?;
    let number = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("INFO has no {name}"))
    };
    Ok(Counted { reads: number("total_reads_processed")?, commands: number("total_commands_processed")? })
}

/// How often Redis has run a command.
pub(super) async fn calls(scene: &Scene, command: &str) -> anyhow::Result<u64> {
    let text = info(scene, "commandstats").await?;
    let head = format!("cmdstat_{command}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(head.as_str()));
    Ok(line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0))
}

/// How often the sweep has read the index.
async fn sweeps(scene: &Scene) -> anyhow::Result<u64> {
    calls(scene, "hscan").await
}

/// What Redis was asked between two counts, without the second count's own command.
fn between(before: Counted, after: Counted) -> (f64, f64) {
    let less = |a: u64, b: u64| a.saturating_sub(b).saturating_sub(1) as f64;
    (less(after.reads, before.reads), less(after.commands, before.commands))
}

/// What happened in a window of time.
struct Window {
    /// HTTP requests to Graph.
    requests: f64,
    reads: f64,
    commands: f64,
    seconds: f64,
}

/// Watches while `act` runs; again where a sweep, or the details of a regular poll, fell into the window.
async fn undisturbed(scene: &Scene, act: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Window> {
    const DETAILS: &str = "GET /planner/tasks/{id}/details";
    for _ in 0..20 {
        let (swept, tally) = (sweeps(scene).await?, scene.tally());
        let (before, start) = (counted(scene).await?, now());
        act().await?;
        let (reads, commands) = between(before, counted(scene).await?);
        let (seconds, after) = (start.elapsed().as_secs_f64(), scene.tally());
        if sweeps(scene).await? == swept && route(&after, DETAILS) == route(&tally, DETAILS) {
            return Ok(Window {
                requests: (after.requests - tally.requests) as f64,
                reads,
                commands,
                seconds,
            });
        }
    }
    anyhow::bail!("every window had a sweep or a regular poll in it")
}

/// What a poll needs of Redis, and the figures.
pub(super) struct Steady {
    round_trips: f64,
    pub figures: Vec<Figure>,
}

/// Measures the poll of the plan as it is; `small` is what a small plan's poll needed.
pub(super) async fn steady(scene: &Scene, quick: bool, small: Option<&Steady>) -> anyhow::Result<Steady> {
    scene.graph().set_latency(Duration::ZERO);
    scene.settle().await?;
    let tasks = scene.graph().tasks(seed::PLAN).len();
    let wanted = if quick { 3 } else { 5 };
    let polled = undisturbed(scene, async || {
        for _ in 0..wanted {
            let pages = scene.pages();
            scene.poll_now().await?;
            until("the poll", LIMIT, async || Ok((scene.pages() > pages).then_some(()))).await?;
            pause(Duration::from_millis(150)).await;
        }
        Ok(())
    })
    .await?;
    let idle = undisturbed(scene, async || {
        pause(Duration::from_secs(5)).await;
        Ok(())
    })
    .await?;
    let (polls, share) = (f64::from(wanted), polled.seconds / idle.seconds);
    let reads = (polled.reads - idle.reads * share) / polls;
    let commands = (polled.commands - idle.commands * share) / polls;
    let requests = polled.requests / polls;
    let page_size = scene.graph().settings().page_size.unwrap_or(tasks.max(1));
    let target = tasks.div_ceil(page_size.max(1));
    let round_trips = format!("steady poll of {tasks} tasks, round trips to Redis");
    let needed = format!("{reads:.1} ({commands:.1} commands)");
    let mut figures = vec![
        Figure::against(
            format!("steady poll of {tasks} tasks, HTTP requests to Graph"),
            format!("{requests:.1}"),
            &format!("⌈tasks/page⌉ = {target}"),
            requests <= target as f64 + 0.05,
        ),
        match small {
            None => Figure::plain(round_trips, needed),
            Some(small) => Figure::against(
                round_trips,
                needed,
                "O(1): at most 2 more than a small plan",
                reads <= small.round_trips + 2.0,
            ),
        },
    ];
    if !quick {
        figures.push(regular(scene, tasks, target).await?);
    }
    Ok(Steady { round_trips: reads, figures })
}

/// The poll that comes by itself twice a minute also reads some tasks' details.
async fn regular(scene: &Scene, tasks: usize, pages: usize) -> anyhow::Result<Figure> {
    let before = scene.tally();
    until("the next regular poll", LIMIT, async || {
        Ok((route(&scene.tally(), LIST) > route(&before, LIST)).then_some(()))
    })
    .await?;
    pause(Duration::from_secs(1)).await;
    let after = scene.tally();
    let requests = after.requests - before.requests;
    let items = after.sub_requests - before.sub_requests;
    let target = u64::try_from(pages)? + 1;
    Ok(Figure::against(
        format!("regular poll of {tasks} tasks with details, HTTP requests"),
        format!("{requests} ({items} sub-requests)"),
        &format!("≤ ⌈tasks/page⌉ + 1 = {target}"),
        requests <= target,
    ))
}
