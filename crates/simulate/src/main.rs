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
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plays schedules of the sync engine under faults, each from its seed.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Nothing goes wrong.
    #[arg(long)]
    no_faults: bool,
    /// Add an agent that writes documents that name a parent.
    #[arg(long)]
    families: bool,
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

#[derive(Subcommand)]
enum Command {
    /// Plays 24 hours of office work and prints what they were like.
    Day {
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Takes one rule after another out of the engine; something must notice each.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Only rules that random schedules or plays guard at once.
        #[arg(long)]
        strong: bool,
        /// Only this rule.
        #[arg(long)]
        only: Option<String>,
    },
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => simulate(cli),
        Some(Command::Day { seed }) => day(seed),
        #[cfg(feature = "mutants")]
        Some(Command::Mutants { strong, only }) => mutants(strong, only.as_deref()),
    }
}

fn simulate(cli: Cli) -> ExitCode {
    let faults: fn(u64) -> Faults = match (cli.no_faults, cli.families) {
        (false, false) => Faults::of,
        (false, true) => Faults::of_families,
        (true, false) => |_| Faults::default(),
        (true, true) => |_| Faults { families: true, ..Faults::default() },
    };
    if let Some(seed) = cli.seed {
        return one(seed, faults(seed), cli.trace);
    }
    let watch = Stopwatch::start();
    let (done, failing) = (AtomicU64::new(0), AtomicU64::new(0));
    let step = (cli.seeds / 20).max(1);
    let threads = cli.threads.unwrap_or_else(processors);
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

fn day(seed: u64) -> ExitCode {
    let watch = Stopwatch::start();
    let day = annika_simulate::day::play(seed);
    for (name, value) in &day.figures {
        println!("{name:<32} {value}");
    }
    println!("24 hours of seed {seed} in {:.1} s", watch.seconds());
    day.wrong.iter().for_each(|wrong| println!("wrong: {wrong}"));
    if day.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(feature = "mutants")]
fn mutants(strong: bool, only: Option<&str>) -> ExitCode {
    use annika_simulate::mutants::{guard, hunt, intact};
    use annika_sync::mutants::Mutant;

    let watch = Stopwatch::start();
    // Plays that fail are what is looked for: their panics are not news.
    std::panic::set_hook(Box::new(|_| {}));
    let broken = intact();
    if !broken.is_empty() {
        println!("these plays fail with every rule in place: {}", broken.join(", "));
        return ExitCode::FAILURE;
    }
    let chosen = Mutant::ALL.iter().copied().filter(|rule| {
        (!strong || guard(*rule).is_strong()) && only.is_none_or(|only| only == format!("{rule:?}"))
    });
    let (mut rules, mut survivors) = (0, Vec::new());
    println!("rule taken out | caught by | kind | seen as");
    for rule in chosen {
        rules += 1;
        match hunt(rule, processors()) {
            Some(caught) => println!(
                "{rule:?}: {} | {} | {} | {}",
                rule.rule(),
                caught.by,
                guard(rule).kind(),
                caught.seen_as.chars().take(160).collect::<String>()
            ),
            None => {
                println!("{rule:?}: {} | SURVIVED | {} |", rule.rule(), guard(rule).kind());
                survivors.push(format!("{rule:?}"));
            }
        }
    }
    println!("{rules} rules, {} survived {survivors:?}, in {:.0} s", survivors.len(), watch.seconds());
    if rules > 0 && survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
