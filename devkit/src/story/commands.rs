//! `annika-dev demo` and `annika-dev run`: start everything, play the story, and end or stay up.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

use super::{Addresses, Break, Played, STEPS, StoryError, clock::Moment, hints::hints, play, shared_redis};
use crate::{
    functions_host::State,
    graph::GraphOptions,
    stack::{Stack, StackOptions},
};

/// What both commands start.
#[derive(Debug, Clone, clap::Args)]
pub struct AppArgs {
    /// The staged app (`make stage`).
    #[arg(long, default_value = "target/func-app")]
    pub app: PathBuf,
}

/// Arguments of `annika-dev demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// What to start.
    #[command(flatten)]
    pub app: AppArgs,
    /// Spoil the story on purpose: it then has to fail.
    #[arg(long = "break", env = "ANNIKA_DEMO_BREAK", value_enum)]
    pub spoil: Option<Break>,
    /// Where host and handler log.
    #[arg(long, default_value = "target/demo.log")]
    pub log: PathBuf,
}

/// Arguments of `annika-dev run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// What to start.
    #[command(flatten)]
    pub app: AppArgs,
    /// The port of the Functions host on 127.0.0.1; a taken one means the next free one.
    #[arg(long, env = "PORT", default_value_t = 7071)]
    pub port: u16,
    /// Use the Redis of REDIS_URL, if it is empty of `annika:*` keys or an earlier run has marked it as its own.
    #[arg(long)]
    pub use_redis: bool,
    /// The address of that Redis.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Where host and handler log.
    #[arg(long, default_value = "target/run.log")]
    pub log: PathBuf,
}

/// What a handler needs of the environment around it. Settings that somebody exported for something else (a Redis,
/// a tenant, a proxy) must not reach it.
const KEPT: [&str; 7] = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE"];

fn options(args: &AppArgs, log: &Path) -> anyhow::Result<StackOptions> {
    let app = &args.app;
    if !app.join("host.json").is_file() {
        bail!("there is no staged app in {}: run `make stage` first", app.display());
    }
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let mut options = StackOptions::new(app);
    options.graph = GraphOptions::example();
    options.host.inherit_env = false;
    options.host.log_file = Some(log.to_owned());
    let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    options.env.extend(kept);
    Ok(options)
}

fn addresses(stack: &Stack) -> Addresses {
    Addresses {
        handler: stack.host.url(),
        function_key: stack.host.function_key().to_owned(),
        redis: stack.redis_url().to_owned(),
        graph: stack.graph.url(),
    }
}

/// Starts everything, says so, and fires the timer once.
async fn start(options: StackOptions) -> anyhow::Result<Stack> {
    let began = Moment::now();
    let stack = Stack::start(options).await?;
    let redis = match &stack.redis {
        Some(server) => format!("{} on port {}", server.version(), server.port()),
        None => "that of REDIS_URL".to_owned(),
    };
    println!(
        "Started in {:.1} s: Redis ({redis}), Graph and Entra simulators ({}), Functions host with the handler ({}).",
        began.elapsed().as_secs_f64(),
        stack.graph.url(),
        stack.host.url()
    );
    // The run goes on until just after the next full minute; from then on the host's own timer takes over.
    let _runs_by_itself = stack.host.fire_detached("planner_poll")?;
    println!();
    Ok(stack)
}

fn report(played: &Played) {
    println!(
        "\nAll {} steps were observed, in {:.1} s. {} messages on the channels; Graph: {}.",
        STEPS.len(),
        played.took.as_secs_f64(),
        played.messages,
        played.checked
    );
}

/// Plays the story headless. An error means that it is not complete.
///
/// # Errors
/// What did not start, or the step that was not observed.
pub async fn demo(args: DemoArgs) -> anyhow::Result<()> {
    let stack = start(options(&args.app, &args.log)?).await?;
    let at = addresses(&stack);
    let ended = tokio::select! {
        played = play(&at, args.spoil) => played.map_err(anyhow::Error::from),
        signal = stop_signal() => Err(anyhow::anyhow!("stopped by {}", signal?)),
    };
    let healthy = healthy(&stack);
    stack.host.stop().await;
    let ended = ended.and_then(|played| healthy.map(|()| played));
    let played = ended.with_context(|| format!("the demo failed (log: {})", args.log.display()))?;
    report(&played);
    Ok(())
}

/// A host that started the handler again, or a handler that wrote errors, spoils a story that looked fine.
fn healthy(stack: &Stack) -> anyhow::Result<()> {
    match stack.host.error_lines().first() {
        None => Ok(()),
        Some(line) => bail!("host or handler reported an error: {}", line.text),
    }
}

/// Plays the story, then stays up until it is told to end.
///
/// # Errors
/// What did not start, or ended by itself.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let mut options = options(&args.app, &args.log)?;
    if args.use_redis {
        let url = args.redis_url.context("REDIS=use needs the address of a Redis in REDIS_URL")?;
        let removed = shared_redis::take(&url).await?;
        println!("Redis: that of REDIS_URL is used; {removed} keys of an earlier run were removed.");
        options.redis_url = Some(url);
    } else if args.redis_url.is_some() {
        println!("REDIS_URL is set and not touched: a Redis of our own is started (REDIS=use takes yours).");
    }
    options.host.port = free_from(args.port)?;
    if options.host.port != args.port {
        println!("Port {} is taken; the Functions host takes {}.", args.port, options.host.port);
    }
    let stack = start(options).await?;
    let at = addresses(&stack);
    let ended = tokio::select! {
        played = play(&at, None) => match played {
            Ok(played) => { report(&played); None }
            Err(why @ StoryError::Start(_)) => return Err(why.into()),
            Err(why) => { println!("\nThe story is not complete: {why}"); None }
        },
        signal = stop_signal() => Some(signal?),
    };
    let signal = match ended {
        Some(signal) => signal,
        None => {
            let log = std::path::absolute(&args.log).unwrap_or(args.log);
            let shared = stack.redis.is_none();
            print!("{}", hints(&at, shared, on_path("redis-cli"), &log.display().to_string()));
            let for_ever = Duration::from_secs(100 * 365 * 24 * 3600);
            tokio::select! {
                signal = stop_signal() => signal?,
                state = stack.host.wait_for(for_ever, |state| matches!(state, State::Stopped(_))) => match state {
                    Some(State::Stopped(why)) => bail!("the Functions host stopped: {why}"),
                    _ => bail!("the Functions host ended"),
                },
            }
        }
    };
    println!("\n{signal}: ending everything.");
    stack.host.stop().await;
    Ok(())
}

/// Waits for Ctrl-C, a request to end, or the end of the terminal; says which.
async fn stop_signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| "Ctrl-C"),
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = hangup.recv() => Ok("SIGHUP"),
    }
}

/// The port, or the next one above it that nobody uses.
fn free_from(port: u16) -> anyhow::Result<u16> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let last = port.saturating_add(100);
    (port..=last)
        .find(free)
        .with_context(|| format!("no port from {port} to {last} is free: choose one with PORT="))
}

fn on_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_means_the_next_free_one() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let found = free_from(port).unwrap();
        assert!(found > port && found <= port.saturating_add(100), "{found} after {port}");
    }
}
