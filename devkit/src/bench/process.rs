//! The handler as a process: how soon it answers, how much memory it takes, how large it is.

use std::path::Path;

use anyhow::Context;

use super::{
    figure::{Figure, percentile, short},
    handler::Handler,
    scene::Scene,
};
use crate::redis_server::{RedisOptions, RedisServer};

const MIB: f64 = 1024.0 * 1024.0;

/// Exec to the first answers, and the file's size.
pub(super) async fn start_and_size(binary: &Path, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let redis = RedisServer::start(RedisOptions::default()).await?;
    let runs = if quick { 3 } else { 20 };
    let mut figures = Vec::new();
    // `GET /` is what the host waits for; a task that is not there takes a round trip to Redis.
    for (name, path, status) in [
        ("exec → first answer (GET /)", "/", "200"),
        ("exec → first answer out of Redis (GET /api/tasks/none)", "/api/tasks/none", "404"),
    ] {
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            times.push(Handler::start(binary, &redis, path, status).await?.started_in);
        }
        let (best, median) = (percentile(&mut times, 0.0), percentile(&mut times, 0.5));
        let value = format!("median {}, best {} of {runs}", short(median), short(best));
        figures.push(Figure::against(name, value, "≤ 30 ms", median.as_millis() <= 30));
    }
    let size = std::fs::metadata(binary)?.len() as f64 / MIB;
    figures.push(Figure::against(
        "size of the binary",
        format!("{size:.1} MiB"),
        "≤ 15 MB",
        size * MIB <= 15e6,
    ));
    Ok(figures)
}

/// What the handler holds after its first poll.
pub(super) async fn idle_memory(scene: &Scene) -> anyhow::Result<Figure> {
    let pid = scene.stack.host.handler_pid().context("the handler runs")?;
    let output =
        tokio::process::Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output().await?;
    let kib: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("ps -o rss=")?;
    let mib = kib / 1024.0;
    Ok(Figure::against(
        "idle RSS after the first poll",
        format!("{mib:.1} MiB"),
        "≤ 20 MB",
        mib * MIB <= 20e6,
    ))
}
