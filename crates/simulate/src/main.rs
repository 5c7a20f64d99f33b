//! Plays seeds and says which of them failed: `make simulate`.

use std::process::ExitCode;

use annika_simulate::{
    play::{faults, run},
    world::sim::Faults,
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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let faults = if cli.no_faults { |_| Faults::default() } else { faults };
    let run = run(cli.from..cli.from + cli.seeds, threads, faults, |_, _| {});
    for (what, n) in &run.tally {
        println!("{n:>10}  {what}");
    }
    for (seed, wrong) in &run.failed {
        println!("seed {seed}: {}", wrong.join("; "));
    }
    println!("{} schedules, {} failing", cli.seeds, run.failed.len());
    if run.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
