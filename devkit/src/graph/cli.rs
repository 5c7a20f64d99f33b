//! `annika-dev graph`: the simulator by itself, until it is stopped.

use std::{path::PathBuf, time::Duration};

use super::{
    GraphOptions, GraphSimulator, Seed, seed,
    switches::{self, Switches},
};

/// How `annika-dev graph` starts the simulator.
#[derive(Debug, Clone, clap::Args)]
pub struct GraphArgs {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The folder of oracles; without it messages are not checked.
    #[arg(long, env = "ANNIKA_ORACLES")]
    pub oracles: Option<PathBuf>,
    /// How long each HTTP request to Graph takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Entries in a page of a list.
    #[arg(long, default_value_t = 400)]
    pub page_size: usize,
    /// What the random numbers follow from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Serve no /beta.
    #[arg(long)]
    pub no_beta: bool,
    /// Start without Microsoft's example plan.
    #[arg(long)]
    pub empty: bool,
    /// Print the points that no published text settles, with their possible values, and end.
    #[arg(long)]
    pub switches: bool,
    /// Set such points: `name=value,name=value`.
    #[arg(long = "set", env = "ANNIKA_GRAPH_SWITCHES", value_parser = Switches::parse, default_value = "")]
    pub set: Switches,
}

impl From<&GraphArgs> for GraphOptions {
    fn from(args: &GraphArgs) -> Self {
        Self {
            port: args.port,
            oracles: args.oracles.clone().filter(|folder| !folder.as_os_str().is_empty()),
            latency: Duration::from_millis(args.latency_ms),
            beta: !args.no_beta,
            page_size: args.page_size,
            seed: args.seed,
            data: if args.empty { Seed::default() } else { seed::example() },
            switches: args.set,
            ..Self::default()
        }
    }
}

/// Runs the simulator and prints the settings that point a client at it.
pub async fn run(args: GraphArgs) -> anyhow::Result<()> {
    if args.switches {
        print!("{}", switches::table());
        return Ok(());
    }
    let options = GraphOptions::from(&args);
    let checked = options.oracles.is_some();
    let mut simulator = GraphSimulator::start(options).await?;
    for (name, value) in
        simulator.environment(false).into_iter().chain(simulator.environment(true).into_iter().skip(1))
    {
        println!("{name}={value}");
    }
    println!("PLANNER_PLANS={}", seed::PLAN);
    println!("# page: {}/__sim/", simulator.url());
    if !checked {
        println!("# messages are not checked: set ANNIKA_ORACLES to check them");
    }
    tokio::select! {
        () = simulator.wait() => anyhow::bail!("the simulator ended by itself"),
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
    }
}
