//! What the binary does: parse, build `App`, serve.
//!
//! It lives in the library because generic code is compiled into every crate that runs it: a runtime in `main.rs` put
//! the whole sync engine into the binary a second time.

use crate::{
    app::App,
    cli::{Cli, Command, erasure, sync},
    clock::{SystemClock, SystemRng},
    config::{Settings, TelemetrySettings},
    doctor,
    host::{self, DRAIN, Ending},
    telemetry,
};
use clap::Parser;
use std::process::ExitCode;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or(Command::Serve);
    // A command without an answer says so with a code of its own.
    let failed = if command.is_for_people() { ExitCode::from(2) } else { ExitCode::FAILURE };
    run(command).unwrap_or_else(|error| {
        tracing::error!(code = "start_failed", "annika could not start: {error:#}");
        failed
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let settings = Settings::from_env();
    let logs = settings.as_ref().map(|settings| settings.telemetry.clone());
    let logs = logs.unwrap_or_else(|_| TelemetrySettings::default());
    if command.is_for_people() {
        telemetry::start_beside_answers(&logs)?;
    } else {
        telemetry::start(&logs)?;
    }
    let settings = settings?;
    // One thread: an instance of Flex Consumption has one core or less (up to 2 GB), and workers beside each other hand
    // every request to and fro between the connection, Redis and the connection again.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let app = App::new(settings, SystemClock::shared(), SystemRng::shared())?;
        match command {
            Command::Serve => Ok(ExitCode::from(serve(app).await?.exit_code())),
            Command::Doctor => Ok(doctor::run(&app).await),
            Command::Sync(args) => Ok(sync::run(&app, &args).await),
            Command::ErasePerson(args) => Ok(erasure::run(&app, &args).await),
        }
    });
    // What did not end within the drain ends with the process.
    runtime.shutdown_background();
    code
}

/// Serves until there is a reason to end, then drains.
async fn serve(app: App) -> anyhow::Result<Ending> {
    let host = &app.settings.host;
    let ending = host::ending(host.started_by_host, app.clock.clone())?;
    let triggers = app.triggers();
    let router = host::router(app.routes(), triggers.clone());
    let listener = host::listen(host.port)?;
    tracing::info!(
        port = host.port,
        version = env!("CARGO_PKG_VERSION"),
        "listening on 127.0.0.1:{}",
        host.port
    );

    let mut server = tokio::spawn(host::serve(listener, router, app.drain.clone()));
    let ending = tokio::select! {
        ending = ending => ending,
        ended = &mut server => {
            tracing::error!(code = Ending::ServerFailed.code(), "the server ended by itself: {ended:?}");
            Ending::ServerFailed
        }
    };
    app.drain.cancel();
    let drained = async {
        triggers.drained().await;
        app.planner.drained().await;
        if ending != Ending::ServerFailed
            && let Err(error) = server.await
        {
            tracing::error!(code = "server_panicked", "the server did not end in order: {error}");
        }
    };
    let complete = tokio::select! {
        () = drained => true,
        () = app.clock.sleep(DRAIN) => false,
    };
    tracing::info!(code = ending.code(), exit_code = ending.exit_code(), complete, "drained, exiting");
    Ok(ending)
}
