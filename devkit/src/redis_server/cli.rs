//! `annika-dev redis`: a server of one's own, until it is stopped.

use super::{RedisOptions, RedisServer};

/// Arguments of `annika-dev redis`.
#[derive(Debug, Clone, clap::Args)]
pub struct RedisArgs {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Keep every write in an append-only file.
    #[arg(long)]
    pub appendonly: bool,
    /// Start it, say what it is, and stop.
    #[arg(long)]
    pub version: bool,
}

/// Runs the server and prints its address as a setting.
///
/// # Errors
/// What did not start.
pub async fn run(args: RedisArgs) -> anyhow::Result<()> {
    let options = RedisOptions { port: args.port, appendonly: args.appendonly, ..RedisOptions::default() };
    let server = RedisServer::start(options).await?;
    if args.version {
        println!("{}", server.version());
        return Ok(());
    }
    println!("REDIS_URL={}", server.url());
    println!("# {}", server.version());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
