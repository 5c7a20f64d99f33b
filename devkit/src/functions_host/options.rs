//! How a host is to run.

use super::clock::{SharedClock, SystemClock};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// How a host is to run.
#[derive(Clone)]
pub struct HostOptions {
    /// The staged app.
    pub root: PathBuf,
    /// The port to listen on at 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Environment of host and handler; wins over everything else.
    pub env: Vec<(String, String)>,
    /// Whether the handler also inherits this process's environment, as the host's does.
    pub inherit_env: bool,
    /// Whether keys are asked for; false is core tools without `--enableAuth`.
    pub auth: bool,
    /// The host's key, which opens every function; made up where not given.
    pub function_key: Option<String>,
    /// Further keys, by function name.
    pub function_keys: BTreeMap<String, String>,
    /// The master key; made up where not given.
    pub master_key: Option<String>,
    /// Where schedule statuses are kept; a folder of this run's own where not given.
    pub status_dir: Option<PathBuf>,
    /// Whether timers fire by themselves.
    pub timers: bool,
    /// Whether functions in error are left out, as the host does, instead of refusing to start.
    pub tolerate_function_errors: bool,
    /// Whether a raw `#` in a request target is taken (.NET 10) or refused (.NET 8, on which the host runs).
    pub accept_hash: bool,
    /// The platform's front end gives up after so long without a response (230 s).
    pub front_end_timeout: Duration,
    /// The proxy gives up after so long a silence (240 s).
    pub activity_timeout: Duration,
    /// Whether an invocation whose answer the host never gets over really hangs until `functionTimeout`, after which
    /// the process is killed, as on the host; otherwise it is reported at once as `NeverCompleted`.
    pub hang_never_completed: bool,
    /// How long `stop` waits for running invocations before it kills the handler; the host waits up to 30 s.
    pub drain: Duration,
    /// Whether every line of handler and host is also printed.
    pub echo: bool,
    /// A file that every line of handler and host is written to; what it held goes.
    pub log_file: Option<PathBuf>,
    /// The port of a handler that runs already (under a debugger, say): nothing is started or killed.
    pub attach: Option<u16>,
    /// The clock by which timers fire.
    pub clock: SharedClock,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            root: PathBuf::new(),
            port: 0,
            env: Vec::new(),
            inherit_env: true,
            auth: true,
            function_key: None,
            function_keys: BTreeMap::new(),
            master_key: None,
            status_dir: None,
            timers: true,
            tolerate_function_errors: false,
            accept_hash: false,
            front_end_timeout: Duration::from_secs(230),
            activity_timeout: Duration::from_secs(240),
            hang_never_completed: false,
            drain: Duration::ZERO,
            echo: false,
            log_file: None,
            attach: None,
            clock: Arc::new(SystemClock),
        }
    }
}
