//! Settings by section: each field names the environment variable that it is read from.
//!
//! Nothing here reads the process's environment by itself: [`Settings::read`] takes a lookup, so a test passes a
//! map. A variable that is set to the empty string counts as not set, as the Functions portal leaves it.

mod error;
mod identity;
mod planner;

pub use crate::store::RedisSettings;
pub use error::{SettingError, SettingsError};
pub use identity::{ClientSecretSettings, EntraSettings, ManagedIdentitySettings};
pub use planner::{PlanSource, PlannerSettings, PollMode};

use error::Reader;
use url::{Host, Url};

/// The port that the handler listens on when no Functions host started it.
pub const DEVELOPMENT_PORT: u16 = 9071;

/// Every setting of the product.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the handler listens.
    pub host: HostSettings,
    /// The Redis that holds all state.
    /// Read from `REDIS_URL`, else from `REDIS_HOST`, `REDIS_PORT`, `REDIS_PASSWORD` and `REDIS_DB`.
    pub redis: RedisSettings,
    /// Microsoft Graph.
    pub graph: GraphSettings,
    /// Credentials for Microsoft Entra.
    pub entra: EntraSettings,
    /// What is synchronised, and when.
    pub planner: PlannerSettings,
    /// Logs.
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// Reads every section through `lookup`, which answers the value of an environment variable.
    ///
    /// # Errors
    /// [`SettingsError`] with every variable that breaks its rule. A missing credential or plan is none: agents
    /// are served without them.
    pub fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(lookup);
        let settings = Self {
            host: HostSettings::read(&mut reader),
            redis: redis(&mut reader, lookup),
            graph: GraphSettings::read(&mut reader),
            entra: EntraSettings::read(&mut reader),
            planner: PlannerSettings::read(&mut reader),
            telemetry: TelemetrySettings::read(&mut reader),
        };
        reader.finish(settings)
    }

    /// Reads every section from the process's environment.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(&|name| std::env::var(name).ok())
    }
}

/// Where the handler listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// TCP port on 127.0.0.1. Read from `FUNCTIONS_CUSTOMHANDLER_PORT`, else from the older
    /// `FUNCTIONS_HTTPWORKER_PORT`, else [`DEVELOPMENT_PORT`].
    pub port: u16,
    /// A Functions host started this process: one of the two variables is set. Then the parent is watched.
    pub started_by_host: bool,
}

impl HostSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        for name in ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"] {
            if let Some(value) = reader.text(name) {
                let port = match value.trim().parse::<u16>() {
                    Ok(port) if port > 0 => port,
                    _ => {
                        reader.reject(name, "must be a TCP port from 1 to 65535");
                        DEVELOPMENT_PORT
                    }
                };
                return Self { port, started_by_host: true };
            }
        }
        Self { port: DEVELOPMENT_PORT, started_by_host: false }
    }
}

/// Microsoft Graph.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphSettings {
    /// Scheme, host and port of Graph; `/v1.0` is appended. https, or plain http to a loopback address. Read from
    /// `GRAPH_BASE_URL`, default `https://graph.microsoft.com`.
    pub base_url: Url,
    /// Sub-requests a second that the engine starts with. Read from `GRAPH_RATE_PER_SECOND`, default 5.
    pub rate_per_second: f64,
    /// Sub-requests that may be sent at once after a pause. Read from `GRAPH_RATE_BURST`, default 40.
    pub rate_burst: u32,
    /// The rate that the engine may climb to, in sub-requests a second; never below the starting rate. Read from
    /// `GRAPH_RATE_MAX`, default 100 or the starting rate if that is higher.
    pub rate_max: f64,
}

impl GraphSettings {
    /// The public Graph.
    pub const DEFAULT_BASE_URL: &'static str = "https://graph.microsoft.com";

    fn read(reader: &mut Reader<'_>) -> Self {
        const BASE: &str = "GRAPH_BASE_URL";
        let text = reader.text(BASE).unwrap_or_else(|| Self::DEFAULT_BASE_URL.to_owned());
        let base_url = reader.origin(BASE, &text, false).unwrap_or_else(loopback_placeholder);
        let rate_per_second = reader.positive_number("GRAPH_RATE_PER_SECOND", 5.0);
        let rate_burst = reader.positive_integer("GRAPH_RATE_BURST", 40);
        let rate_max = reader.positive_number("GRAPH_RATE_MAX", rate_per_second.max(100.0));
        if rate_max < rate_per_second {
            reader.reject("GRAPH_RATE_MAX", "must not be below GRAPH_RATE_PER_SECOND");
        }
        Self { base_url, rate_per_second, rate_burst, rate_max }
    }
}

/// The store reads its own section; what it refuses is told with the rest.
fn redis(reader: &mut Reader<'_>, lookup: &dyn Fn(&str) -> Option<String>) -> RedisSettings {
    match RedisSettings::from_lookup(lookup) {
        Ok(settings) => settings,
        Err(error) => {
            reader.reject(error.variable, error.rule);
            #[expect(clippy::expect_used, reason = "constants, never handed out after an error")]
            RedisSettings::from_parts("127.0.0.1", 6379, None, 0).expect("a valid address")
        }
    }
}

/// What stands in for an address that was refused: the settings are never handed out then.
fn loopback_placeholder() -> Url {
    #[expect(clippy::expect_used, reason = "a constant, parsed in a test")]
    Url::parse("http://127.0.0.1/").expect("a valid address")
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Which log lines are written: levels, each alone or for a target (`annika=debug,info`). Read from `RUST_LOG`,
    /// default [`TelemetrySettings::DEFAULT`].
    pub filter: String,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { filter: Self::DEFAULT.to_owned() }
    }
}

impl TelemetrySettings {
    /// Everything from `info` on, but for the SDK's line at each request for a token.
    pub const DEFAULT: &'static str = "info,azure_identity=warn,azure_core=warn";

    fn read(reader: &mut Reader<'_>) -> Self {
        const NAME: &str = "RUST_LOG";
        let filter = reader.text(NAME).unwrap_or_else(|| Self::DEFAULT.to_owned());
        if filter.parse::<tracing_subscriber::filter::Targets>().is_err() {
            reader.reject(NAME, "must be a log filter such as `info` or `annika=debug,info`");
        }
        Self { filter }
    }
}

/// Whether `url` leads to this machine: 127.0.0.0/8, ::1 or `localhost`.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests;
