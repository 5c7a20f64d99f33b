//! Logs: one JSON object a line on stdout, with keys and tokens masked whatever was logged.
//!
//! Never stderr: the Functions host takes every line there for an error (host source `WorkerProcess`).

mod mask;
mod writer;

pub use mask::mask;
pub use writer::{MAX_LINE_BYTES, MaskedLines, MaskedWriter};

use crate::config::TelemetrySettings;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
};

/// Starts logging to stdout for the whole process, and turns panics into log lines.
///
/// # Errors
/// When logging was started before.
pub fn start(settings: &TelemetrySettings) -> Result<(), tracing::dispatcher::SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(settings, MaskedLines::new(std::io::stdout)))?;
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without a text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(code = "panic", place, "panic: {message}");
    }));
    Ok(())
}

/// Starts logging to stderr for a command whose answer is on stdout: errors only, unless `settings` names another
/// filter than the usual one.
///
/// # Errors
/// When logging was started before.
pub fn start_beside_answers(
    settings: &TelemetrySettings,
) -> Result<(), tracing::dispatcher::SetGlobalDefaultError> {
    let usual = *settings == TelemetrySettings::default();
    let settings = if usual { TelemetrySettings { filter: "error".to_owned() } } else { settings.clone() };
    tracing::subscriber::set_global_default(subscriber(&settings, MaskedLines::new(std::io::stderr)))
}

/// A subscriber that writes JSON lines to `writer`.
pub fn subscriber<W>(
    settings: &TelemetrySettings,
    writer: W,
) -> impl tracing::Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The settings were checked when they were read.
    let filter = settings.filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .log_internal_errors(false)
        .with_max_level(LevelFilter::TRACE)
        .with_writer(writer)
        .finish()
        .with(filter)
}
