//! Agents' writes and the HTTP API against raw Redis, in turns within one run.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::json;

use super::{
    clock::now,
    figure::{Figure, percentile, short},
    handler::Handler,
    scene::{PENDING, UPDATE},
    wire::{Connection, request, resp},
};
use crate::redis_server::{RedisOptions, RedisServer};

/// Connections of the throughput figures.
const MANY: usize = 16;
/// Turns that the compared things take.
const TURNS: usize = 5;

/// One operation on a connection; the number is unlike in every call.
type Operation<'a> = &'a (dyn Fn(&mut Connection, usize) -> anyhow::Result<()> + Sync);

/// What a load showed.
#[derive(Default)]
struct Load {
    times: Vec<Duration>,
    took: Duration,
}

impl Load {
    fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// `count` operations over `connections` connections, each of which waits for its answers.
fn load(port: u16, connections: usize, count: usize, operation: Operation<'_>) -> anyhow::Result<Load> {
    let each = count / connections;
    let start = now();
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(move || -> anyhow::Result<Vec<Duration>> {
                    let mut connection = Connection::open(port)?;
                    let mut times = Vec::with_capacity(each);
                    for _ in 0..each {
                        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                        let start = now();
                        operation(&mut connection, number)?;
                        times.push(start.elapsed());
                    }
                    Ok(times)
                })
            })
            .collect();
        let mut all = Vec::with_capacity(count);
        for thread in threads {
            let times = thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
            all.extend(times);
        }
        anyhow::Ok(all)
    })?;
    Ok(Load { times, took: start.elapsed() })
}

/// The median of what several turns showed.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn document(number: usize) -> String {
    json!({"id": format!("bench-{number}"), "title": "Review the launch plan", "status": "in_progress",
        "percent_complete": 0.5, "priority": "high", "plan_id": "xqQg5FS2LkCp935s-FIFm2QAFkHM",
        "bucket_id": "hsOf2dhOJkqyYYZEtdzDe2QAIUCR", "assigned_to": ["fbab97d0-4932-4511-b675-204639209557"],
        "due_date": "2026-12-01", "description": "Numbers first."})
    .to_string()
}

/// Every figure. `binary` is the handler.
pub(super) async fn all(binary: &Path, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let redis = RedisServer::start(RedisOptions::default()).await?;
    let handler = Handler::start(binary, &redis, "/api/tasks/none", "404").await?;
    let (redis_port, port) = (redis.port(), handler.port);
    let scale = if quick { 20 } else { 1 };
    let figures = tokio::task::spawn_blocking(move || {
        let mut figures = scripts(redis_port, 10_000 / scale)?;
        figures.extend(single(redis_port, port, 4_000 / scale)?);
        figures.extend(many(redis_port, port, 40_000 / scale)?);
        anyhow::Ok(figures)
    })
    .await?;
    // Both processes outlive the measurement.
    drop((handler, redis));
    figures
}

fn set(connection: &mut Connection, number: usize) -> anyhow::Result<()> {
    let key = format!("raw:{}", number % 10_000);
    connection.redis(&resp(&[b"SET", key.as_bytes(), document(number).as_bytes()])).map(drop)
}

fn get(connection: &mut Connection, _: usize) -> anyhow::Result<()> {
    connection.redis(&resp(&[b"GET", b"annika:tasks:bench-read"])).map(drop)
}

fn post(connection: &mut Connection, number: usize) -> anyhow::Result<()> {
    connection.http(&request("POST", "/api/tasks", &document(number)), "201")
}

fn read(connection: &mut Connection, _: usize) -> anyhow::Result<()> {
    connection.http(&request("GET", "/api/tasks/bench-read", ""), "200")
}

/// The guide's script against a raw SET of the same document, at one connection.
fn scripts(redis: u16, count: usize) -> anyhow::Result<Vec<Figure>> {
    let sha = Connection::open(redis)?.redis(&resp(&[b"SCRIPT", b"LOAD", UPDATE.as_bytes()]))?;
    let script = |connection: &mut Connection, number: usize| {
        let (key, id) = (format!("annika:tasks:script-{number}"), format!("\"script-{number}\""));
        let text = document(number);
        let words = ["EVALSHA", &sha, "2", &key, PENDING, "", &text, &id].map(str::as_bytes);
        let reply = connection.redis(&resp(&words))?;
        anyhow::ensure!(reply == "1", "the script answered {reply}");
        Ok(())
    };
    let (mut raw, mut scripted) = (Load::default(), Load::default());
    for _ in 0..TURNS {
        raw.times.extend(load(redis, 1, count / TURNS, &set)?.times);
        scripted.times.extend(load(redis, 1, count / TURNS, &script)?.times);
    }
    let (raw, scripted) = (percentile(&mut raw.times, 0.5), percentile(&mut scripted.times, 0.5));
    let ratio = scripted.as_secs_f64() / raw.as_secs_f64();
    Ok(vec![Figure::against(
        "agent write by script, p50 at 1 connection",
        format!("{} = {ratio:.2} × raw SET ({})", short(scripted), short(raw)),
        "≤ 2 × raw SET",
        ratio <= 2.0,
    )])
}

/// The HTTP API against raw Redis at one connection.
fn single(redis: u16, handler: u16, count: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut sets, mut posts, mut gets, mut reads) = (vec![], vec![], vec![], vec![]);
    let document = document(0).replace("bench-0", "bench-read");
    Connection::open(redis)?.redis(&resp(&[b"SET", b"annika:tasks:bench-read", document.as_bytes()]))?;
    for _ in 0..TURNS {
        sets.extend(load(redis, 1, count / TURNS, &set)?.times);
        posts.extend(load(handler, 1, count / TURNS, &post)?.times);
        gets.extend(load(redis, 1, count / TURNS, &get)?.times);
        reads.extend(load(handler, 1, count / TURNS, &read)?.times);
    }
    let [set, post, get, read] =
        [&mut sets, &mut posts, &mut gets, &mut reads].map(|times| percentile(times, 0.5));
    let times = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    Ok(vec![
        Figure::against(
            "POST /api/tasks, p50 at 1 connection",
            format!("{} = {:.2} × raw SET ({})", short(post), times(post, set), short(set)),
            "≤ 3 × raw SET",
            times(post, set) <= 3.0,
        ),
        Figure::plain(
            "GET /api/tasks/{id}, p50 at 1 connection",
            format!("{} = {:.2} × raw GET ({})", short(read), times(read, get), short(get)),
        ),
    ])
}

/// The HTTP API against `redis-benchmark` at 16 connections; where that is missing, against a loop of our own.
fn many(redis: u16, handler: u16, count: usize) -> anyhow::Result<Vec<Figure>> {
    let benchmark = |test: &str| official(redis, test, count);
    let own = official(redis, "get", 1_000).is_none();
    let (mut sets, mut posts, mut gets, mut reads) = (vec![], vec![], vec![], vec![]);
    for _ in 0..TURNS {
        sets.push(match benchmark("set") {
            Some(rate) => rate,
            None => load(redis, MANY, count, &set)?.per_second(),
        });
        posts.push(load(handler, MANY, count / 4, &post)?.per_second());
        gets.push(match benchmark("get") {
            Some(rate) => rate,
            None => load(redis, MANY, count, &get)?.per_second(),
        });
        reads.push(load(handler, MANY, count / 2, &read)?.per_second());
    }
    let [set, post, get, read] = [&mut sets, &mut posts, &mut gets, &mut reads].map(|rates| median(rates));
    let by = if own { "own loop" } else { "redis-benchmark" };
    let figure = |what: &str, rate: f64, than: f64, verb: &str, share: f64| {
        Figure::against(
            format!("{what}, throughput at {MANY} connections"),
            format!("{rate:.0}/s = {:.2} × {by} {verb} ({than:.0}/s)", rate / than),
            &format!("≥ {share:.2} × {by} {verb}"),
            rate >= share * than,
        )
    };
    Ok(vec![
        figure("POST /api/tasks", post, set, "SET", 0.25),
        figure("GET /api/tasks/{id}", read, get, "GET", 0.40),
    ])
}

/// Operations a second by `redis-benchmark`, if it is there, with texts as long as our documents.
fn official(port: u16, test: &str, count: usize) -> Option<f64> {
    let (port, count, connections) = (port.to_string(), count.to_string(), MANY.to_string());
    let size = document(12_345).len().to_string();
    let output = std::process::Command::new("redis-benchmark")
        .args(["-p", &port, "-n", &count, "-c", &connections, "-d", &size, "-t", test, "-r", "10000", "-q"])
        .output()
        .ok()?;
    // The last line of a progress that is drawn over itself: `SET: 81234.56 requests per second, p50=…`
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (before, _) = text.rsplit_once(" requests per second")?;
    before.rsplit([' ', '\r']).next()?.parse().ok()
}
