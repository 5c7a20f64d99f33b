//! Plays seeds and says which of them failed: `make simulate`.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use annika_simulate::{
    play::{play, run, trace},
    stopwatch::Stopwatch,
    world::faults::Faults,
};
use clap::Parser;

/// Plays schedules of the sync engine under faults, each from its seed.
#[derive(Parser)]
struct Cli {
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Nothing goes wrong.
    #[arg(long)]
    no_faults: bool,
    /// Plays only this one.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Prints everything that happens in the one seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plays every seed twice: the second time must be the same as the first.
    #[arg(long)]
    twice: bool,
    /// Seeds played at a time; without it, one a processor.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let faults = if cli.no_faults { |_| Faults::default() } else { Faults::of };
    if let Some(seed) = cli.seed {
        return one(seed, faults(seed), cli.trace);
    }
    let watch = Stopwatch::start();
    let (done, failing) = (AtomicU64::new(0), AtomicU64::new(0));
    let step = (cli.seeds / 20).max(1);
    let threads = cli.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let run = run(cli.from..cli.from + cli.seeds, threads, faults, cli.twice, |seed, wrong| {
        if !wrong.is_empty() {
            failing.fetch_add(1, Ordering::Relaxed);
            eprintln!("seed {seed} failed: {}", wrong.join("; "));
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done % step == 0 {
            let failing = failing.load(Ordering::Relaxed);
            let rate = watch.rate(done);
            eprintln!("{done} of {} schedules, {failing} failing, {rate:.0}/s", cli.seeds);
        }
    });
    for (what, n) in &run.tally {
        println!("{n:>10}  {what}");
    }
    for (seed, wrong) in &run.failed {
        println!("seed {seed}: {}", wrong.join("; "));
    }
    println!(
        "{} schedules, {} failing, in {:.1} s ({:.0}/s){}",
        cli.seeds,
        run.failed.len(),
        watch.seconds(),
        watch.rate(cli.seeds),
        if cli.twice { "; each played twice with the same trace" } else { "" }
    );
    if run.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays one seed; with `verbose`, every line of it goes to stderr.
fn one(seed: u64, faults: Faults, verbose: bool) -> ExitCode {
    println!("seed {seed}: {faults:?}");
    let played = if verbose { trace(seed, faults) } else { play(seed, faults) };
    match played {
        Ok(played) => {
            for (what, n) in &played.tally {
                println!("{n:>10}  {what}");
            }
            println!("seed {seed}: nothing is wrong; trace {:016x}", played.trace);
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            wrong.iter().for_each(|wrong| println!("seed {seed}: {wrong}"));
            ExitCode::FAILURE
        }
    }
}
