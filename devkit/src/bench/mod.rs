//! `annika-dev bench`: every figure of docs/BENCHMARKS.md, measured from outside and printed beside its target.
//!
//! Nothing here calls the product's code: Graph is watched in the simulator's journal, Redis by its own figures,
//! the handler as a process. What is compared is measured in turns within one run.

mod clock;
mod figure;
mod handler;
mod poll;
mod process;
mod scene;
mod throughput;
mod upload;
mod volume;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;

use self::{
    figure::Figure,
    scene::{Limiter, Scene},
};
use crate::redis_server::{RedisOptions, RedisServer};

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// From an agent's message to the request at Graph, one write at a time; idle memory.
    Latency,
    /// Many creates and updates at once; the steady poll.
    Upload,
    /// The first import of many tasks, the sweep over them, and a tenant with many plans.
    Volume,
    /// Start and size of the handler.
    Process,
    /// Agents' writes and the HTTP API against raw Redis.
    Throughput,
}

/// Arguments of `annika-dev bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// The staged app with the handler to measure.
    #[arg(long, default_value = "target/func-app")]
    pub app: PathBuf,
    /// The cargo profile that the handler was built with; printed with the figures.
    #[arg(long, default_value = "dev")]
    pub profile: String,
    /// Measure only these.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Fewer and shorter: says whether the bench works, not how fast anything is.
    #[arg(long, env = "BENCH_QUICK", value_parser = clap::builder::FalseyValueParser::new())]
    pub quick: bool,
}

/// Measures and prints.
///
/// # Errors
/// When a part does not start, or something does not happen within its deadline. A target that is missed is no error.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    let binary = args.app.join("annika");
    anyhow::ensure!(binary.is_file(), "there is no {}; run `make stage` or `make bench`", binary.display());
    // Absolute, because the host starts it in its own folder.
    let app = std::path::absolute(&args.app).context("the staged app's path")?;
    heading(&args).await?;
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let mut figures = Vec::new();
    let (handler, app) = (app.join("annika"), app.as_path());
    if wanted(Part::Process) {
        let measured = process::start_and_size(&handler, args.quick).await?;
        print(&mut figures, Part::Process, "the handler alone, Redis present", measured);
    }
    if wanted(Part::Throughput) {
        let measured = throughput::all(&handler, args.quick).await?;
        print(&mut figures, Part::Throughput, "the handler alone, no engine; compared in turns", measured);
    }
    if wanted(Part::Latency) {
        print(&mut figures, Part::Latency, Limiter::Production.name(), latency(app, args.quick).await?);
    }
    if wanted(Part::Upload) {
        print(&mut figures, Part::Upload, Limiter::Raised.name(), upload(app, args.quick).await?);
    }
    if wanted(Part::Volume) {
        print(&mut figures, Part::Volume, Limiter::Raised.name(), volume::all(app, args.quick).await?);
    }
    println!("\n{}", figure::markdown(&figures));
    let missed = figures.iter().filter(|figure| figure.met == Some(false)).count();
    println!("{} figures, {missed} beyond their target", figures.len());
    Ok(())
}

async fn latency(app: &Path, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scene = Scene::start(app, Limiter::Production).await?;
    let mut figures = vec![process::idle_memory(&scene).await?];
    figures.extend(upload::single_writes(&scene, quick).await?);
    Ok(figures)
}

async fn upload(app: &Path, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scene = Scene::start(app, Limiter::Raised).await?;
    let small = poll::steady(&scene, quick, None).await?;
    let tasks = if quick { 100 } else { 500 };
    let mut figures = Vec::new();
    for latency_ms in if quick { vec![100] } else { vec![0, 100, 250] } {
        figures.extend(upload::many(&scene, tasks, latency_ms).await?);
    }
    upload::fill(&scene, tasks).await?;
    let large = poll::steady(&scene, quick, Some(&small)).await?;
    figures.extend(small.figures);
    figures.extend(large.figures);
    Ok(figures)
}

/// What was measured where.
async fn heading(args: &BenchArgs) -> anyhow::Result<()> {
    let redis = RedisServer::start(RedisOptions::default()).await?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let devkit = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!(
        "handler: {} (profile {}); bench and simulators: profile {devkit}",
        args.app.display(),
        args.profile
    );
    println!("{cores} cores, {}, simulators without checks, loopback", redis.version());
    if args.quick {
        println!("BENCH_QUICK: a smoke run; the figures mean nothing");
    }
    Ok(())
}

fn print(all: &mut Vec<Figure>, part: Part, conditions: &str, figures: Vec<Figure>) {
    let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let heading = format!("`make bench ONLY={name}`: {conditions}");
    println!("\n{heading}");
    for mut figure in figures {
        println!("  {figure}");
        figure.heading.clone_from(&heading);
        all.push(figure);
    }
}
