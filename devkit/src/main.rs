//! `annika-dev`: the development tools as one command.

use std::process::ExitCode;

use annika_devkit::{bench, functions_host, graph, redis_server, story};
use clap::{Parser, Subcommand};

/// What development needs around Annika's handler.
#[derive(Parser)]
#[command(name = "annika-dev", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A Redis or Valkey server of one's own, until Ctrl-C.
    Redis(redis_server::cli::RedisArgs),
    /// The simulators of Microsoft Graph and Entra, until Ctrl-C.
    Graph(graph::cli::GraphArgs),
    /// The emulator of the Functions host with the staged app, until Ctrl-C.
    Host(functions_host::cli::HostArgs),
    /// Everything together: plays the story, then stays up until Ctrl-C.
    Run(story::commands::RunArgs),
    /// Everything together: plays the story; exit code 0 only if every step was observed.
    Demo(story::commands::DemoArgs),
    /// Measures the product and prints every figure beside its target.
    Bench(bench::BenchArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Redis(args) => redis_server::cli::run(args).await,
        Command::Graph(args) => graph::cli::run(args).await,
        Command::Host(args) => functions_host::cli::run(args).await,
        Command::Run(args) => story::commands::run(args).await,
        Command::Demo(args) => story::commands::demo(args).await,
        Command::Bench(args) => bench::run(args).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("annika-dev: {why:#}");
            ExitCode::FAILURE
        }
    }
}
