//! `annika-dev host`: the emulator on the command line.

use super::{FunctionsHost, HostOptions, State};
use std::{path::PathBuf, time::Duration};

/// Arguments of `annika-dev host`.
#[derive(Clone, Debug, clap::Args)]
pub struct HostArgs {
    /// The staged app.
    #[arg(long, default_value = "target/func-app")]
    pub root: PathBuf,
    /// The port to listen on at 127.0.0.1; a taken one means the next free one, 0 any free one.
    #[arg(long, env = "PORT", default_value_t = 7071)]
    pub port: u16,
    /// Ask for keys, as in Azure; core tools does not unless told to.
    #[arg(long)]
    pub enable_auth: bool,
    /// The key that opens every function; made up where not given.
    #[arg(long, env = "FUNCTIONS_HOST_KEY", hide_env_values = true)]
    pub function_key: Option<String>,
    /// The master key; made up where not given.
    #[arg(long, env = "FUNCTIONS_MASTER_KEY", hide_env_values = true)]
    pub master_key: Option<String>,
    /// Where schedule statuses are kept between runs.
    #[arg(long)]
    pub status_dir: Option<PathBuf>,
    /// Do not fire timers by themselves.
    #[arg(long)]
    pub no_timers: bool,
}

/// Runs the host until Ctrl+C, or until it shuts down by its own rules.
///
/// # Errors
/// What the host refuses, or why it shut down.
pub async fn run(args: HostArgs) -> anyhow::Result<()> {
    let options = HostOptions {
        root: args.root,
        port: free_from(args.port),
        auth: args.enable_auth,
        function_key: args.function_key,
        master_key: args.master_key,
        status_dir: args.status_dir,
        timers: !args.no_timers,
        drain: Duration::from_secs(10),
        echo: true,
        ..HostOptions::default()
    };
    let host = FunctionsHost::start(options).await?;
    println!("[host] listening on {}", host.url());
    if args.enable_auth {
        println!("[host] function key {}", host.function_key());
        println!("[host] master key   {}", host.master_key());
    }
    for function in host.functions() {
        match function.http() {
            Some(http) => {
                let methods = if http.methods.is_empty() {
                    "ANY".to_owned()
                } else {
                    http.methods.join(",").to_ascii_uppercase()
                };
                println!("[host] {}: [{methods}] {}/{}", function.name, host.url(), http.template.text());
            }
            None => println!("[host] {}: timerTrigger", function.name),
        }
    }
    let for_ever = Duration::from_secs(100 * 365 * 24 * 3600);
    tokio::select! {
        stopped = host.wait_for(for_ever, |state| matches!(state, State::Stopped(_))) => match stopped {
            Some(State::Stopped(reason)) => anyhow::bail!(reason),
            _ => Ok(()),
        },
        signal = tokio::signal::ctrl_c() => {
            signal?;
            host.stop().await;
            Ok(())
        }
    }
}

/// The port, or the next one above it that nobody uses.
fn free_from(port: u16) -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (port..port.saturating_add(50)).find(free).unwrap_or(port)
}
