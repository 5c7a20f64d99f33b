//! `annika-dev`: the development tools as one command.

use annika_devkit::bench::{self, BenchArgs};
use clap::Parser;

#[derive(Parser)]
#[command(name = "annika-dev", about = "Annika's development tools")]
enum Command {
    /// Measure the product and print every figure beside its target.
    Bench(BenchArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Bench(args) => bench::run(args).await,
    }
}
