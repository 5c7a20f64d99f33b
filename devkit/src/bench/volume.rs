//! Many tasks: the first import, the sweep over what is known, and the poll of a tenant with many plans.

use std::{path::Path, time::Duration};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{
    clock::{now, pause, until},
    figure::{Figure, percentile, short},
    poll::calls,
    scene::{LIMIT, Limiter, Scene, route},
};
use crate::{
    graph::{Entry, EntryKind, NewTask, Seed, seed},
    stack::StackOptions,
};

/// How many tasks an import is compared at.
const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// Planner takes no more than 3,000 active tasks in a plan (9,000 in all): many of them lie in several.
const PER_PLAN: usize = 2_500;
/// The size of the tenant that the predecessor served (sync.md §0.2).
const PLANS: usize = 55;
const GROUPS: usize = 16;
const TASKS: usize = 764;

fn members(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}

fn task(plan: &str, n: usize) -> Map<String, Value> {
    let mut task = members(json!({
        "id": format!("benchtask{n:019}"), "title": format!("Task {n}"), "planId": plan, "percentComplete": n % 101,
    }));
    // One in ten has details, which lists do not show.
    if n.is_multiple_of(10) {
        task.insert("details".into(), json!({"description": format!("What task {n} is about.")}));
    }
    task
}

/// Where the n-th of many tasks is: Microsoft's example plan takes the first of them.
fn plan_of(n: usize) -> String {
    match n / PER_PLAN {
        0 => seed::PLAN.to_owned(),
        more => format!("benchvolume{more:017}"),
    }
}

/// Microsoft's example plan and as many others of its group as so many tasks need; the ids of all.
fn plans_for(count: usize) -> (Seed, String) {
    let mut data = seed::example();
    let plans: Vec<String> = (0..count).step_by(PER_PLAN).map(plan_of).collect();
    for plan in plans.iter().skip(1) {
        data.plans.push(members(json!({"id": plan, "title": "One more plan", "owner": seed::GROUP})));
    }
    (data, plans.join(","))
}

/// These plans with so many tasks more.
fn filled(count: usize) -> (Seed, String) {
    let (mut data, plans) = plans_for(count);
    data.tasks.extend((0..count).map(|n| task(&plan_of(n), n)));
    (data, plans)
}

/// A tenant as large as the predecessor's, and its plans by group.
fn tenant() -> (Seed, String) {
    let mut data = seed::example();
    // The example's plan is in none of the groups below, so its tasks are not synced.
    data.tasks.clear();
    let group = |n: usize| format!("00000000-0000-4000-8000-{n:012}");
    for n in 0..GROUPS {
        data.groups.push(members(json!({"id": group(n), "displayName": format!("Team {n}")})));
    }
    let plan = |n: usize| format!("benchplan{n:019}");
    for n in 0..PLANS {
        data.plans
            .push(members(json!({"id": plan(n), "title": format!("Plan {n}"), "owner": group(n % GROUPS)})));
    }
    data.tasks.extend((0..TASKS).map(|n| task(&plan(n % PLANS), n)));
    let plans = (0..GROUPS).map(|n| format!("group:{}", group(n))).collect::<Vec<_>>().join(",");
    (data, plans)
}

async fn scene(app: &Path, (data, plans): (Seed, String)) -> anyhow::Result<Scene> {
    let mut options = StackOptions::new(app);
    options.graph.data = data;
    options.plans = plans;
    Scene::with(options, Limiter::Raised).await
}

/// The first import of a few and of many tasks, and what is asked of what was imported.
pub(super) async fn all(app: &Path, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { 20 } else { 1 };
    let (few, many) = (FEW / scale, MANY / scale);
    let mut figures = Vec::new();
    let mut each = Vec::new();
    for count in [few, many] {
        let scene = scene(app, filled(count)).await?;
        let took = scene.imported_in;
        let per_task = took.as_secs_f64() / count as f64;
        each.push(per_task);
        let name = format!("first import of {count} tasks, one in ten with details");
        let value = format!("{} ({:.0} µs a task)", short(took), per_task * 1e6);
        figures.push(match each.as_slice() {
            [small, large] => {
                let ratio = large / small;
                Figure::against(
                    name,
                    format!("{value}, {ratio:.2} × that at {few}"),
                    "≤ 1.5 × a task at the smaller",
                    ratio <= 1.5,
                )
            }
            _ => Figure::plain(name, value),
        });
        if count == many {
            figures.push(quiet(&scene, count).await?);
            figures.extend(sweeps(&scene, count, quick).await?);
            figures.push(beside_an_import(app, many).await?);
        }
    }
    figures.extend(cycle(app).await?);
    Ok(figures)
}

/// After an import nothing is sent to Planner, and no document is written again.
async fn quiet(scene: &Scene, count: usize) -> anyhow::Result<Figure> {
    let before = scene.tally().committed;
    for _ in 0..2 {
        let pages = scene.pages();
        scene.poll_now().await?;
        until("a poll", LIMIT, async || Ok((scene.pages() > pages).then_some(()))).await?;
        scene.settle().await?;
    }
    let echoes = scene.tally().committed - before;
    Ok(Figure::against(
        format!("echo writes in two polls after the import of {count}"),
        echoes.to_string(),
        "0",
        echoes == 0,
    ))
}

/// How long the sweep takes, with the product's own keys and with many of others.
async fn sweeps(scene: &Scene, count: usize, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for foreign in [0_usize, if quick { 1_000 } else { 100_000 }] {
        let mut redis = scene.redis.clone();
        for chunk in (0..foreign).collect::<Vec<_>>().chunks(1_000) {
            let mut pipe = redis::pipe();
            for n in chunk {
                pipe.set(format!("other:application:{n}"), "x").ignore();
            }
            pipe.query_async::<()>(&mut redis).await?;
        }
        let took = sweep(scene).await?;
        let name = match foreign {
            0 => format!("sweep of {count} unchanged tasks"),
            foreign => format!("the same beside {foreign} keys of others"),
        };
        figures.push(Figure::against(name, short(took), "≤ 100 ms", took <= Duration::from_millis(100)));
    }
    Ok(figures)
}

/// From the first page of the index to the last slice of the key space, as Redis counts its commands. The parts of a
/// large key space that follow a second apart are not the sweep's.
async fn sweep(scene: &Scene) -> anyhow::Result<Duration> {
    let pages = async || calls(scene, "hscan").await;
    let rest = pages().await?;
    until("a sweep", LIMIT, async || Ok((pages().await? > rest).then_some(()))).await?;
    let start = now();
    let (mut last, mut seen) = (0, start);
    while seen.elapsed() < Duration::from_millis(300) {
        // Redis counts for us instead of working while it is asked.
        pause(Duration::from_millis(2)).await;
        let more = pages().await? + calls(scene, "scan").await?;
        if more > last {
            (last, seen) = (more, now());
        }
    }
    Ok(seen.duration_since(start))
}

/// Single writes of an agent while many tasks are imported.
async fn beside_an_import(app: &Path, count: usize) -> anyhow::Result<Figure> {
    let scene = scene(app, plans_for(count)).await?;
    let seq = scene.graph().journal().last().map_or(0, |entry| entry.seq);
    for n in 0..count {
        let plan = plan_of(n);
        let members = task(&plan, n);
        let title = members.get("title").and_then(Value::as_str).unwrap_or_default().to_owned();
        scene.graph().add_task(NewTask { plan, title, members })?;
    }
    let known = scene.known().await?;
    scene.poll_now().await?;
    until("the import begins", LIMIT, async || Ok((scene.known().await? > known).then_some(()))).await?;
    let mut writes = Vec::new();
    for n in 0..20 {
        let id = format!("bench-beside-{n}");
        let at_ms = scene.graph().now_ms();
        let document = json!({"id": id, "title": format!("Beside {n}"), "plan_id": seed::PLAN});
        scene.write(&id, "", &document.to_string()).await?;
        writes.push((id, at_ms));
        pause(Duration::from_millis(40)).await;
    }
    let during = scene.known().await? < known + u64::try_from(count)?;
    scene.settle().await?;
    let mut waits = Vec::new();
    let journal = scene.graph().journal_since(seq);
    for (id, at_ms) in writes {
        let planner_id = scene.planner_id(&id).await?.with_context(|| format!("{id} is not in Planner"))?;
        let created = |entry: &&Entry| entry.kind != EntryKind::Batch && entry.method == "POST";
        let arrived = journal.iter().filter(created).find(|entry| entry.id.as_ref() == Some(&planner_id));
        let arrived = arrived.with_context(|| format!("no POST of {id}"))?;
        waits.push(Duration::from_millis(arrived.at_ms.saturating_sub(at_ms)));
    }
    let (p50, longest) = (percentile(&mut waits, 0.5), percentile(&mut waits, 1.0));
    let name = format!("publish → Graph of 20 writes beside the import of {count}, p50");
    let value = format!("{} (longest {})", short(p50), short(longest));
    Ok(match during {
        true => Figure::against(name, value, "≤ 1 s", p50 <= Duration::from_secs(1)),
        false => Figure::plain(name, format!("{value}, but the import had ended")),
    })
}

/// One poll of every plan of a tenant like the predecessor's.
async fn cycle(app: &Path) -> anyhow::Result<Vec<Figure>> {
    let scene = scene(app, tenant()).await?;
    scene.graph().set_latency(Duration::from_millis(100));
    let before = scene.tally();
    let start = now();
    scene.poll_now().await?;
    let lists = route(&before, super::scene::LIST) + PLANS as u64;
    until("a poll of every plan", LIMIT, async || Ok((scene.pages() >= lists).then_some(()))).await?;
    let took = start.elapsed();
    let after = scene.tally();
    let requests = after.requests - before.requests;
    Ok(vec![
        Figure::against(
            format!("a poll of {PLANS} plans with {TASKS} tasks at 100 ms per HTTP request"),
            format!("{} (predecessor: mean 125 s)", short(took)),
            "≤ 5 s",
            took <= Duration::from_secs(5),
        ),
        Figure::against(
            "its HTTP requests to Graph",
            requests.to_string(),
            &format!("≤ ⌈{PLANS}/20⌉ + 1 = {}", PLANS.div_ceil(20) + 1),
            requests <= PLANS.div_ceil(20) as u64 + 1,
        ),
    ])
}
