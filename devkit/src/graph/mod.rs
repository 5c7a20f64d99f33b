//! A Microsoft Graph and Entra for development: Planner's core with its entity tags, `$batch`, tokens,
//! scripted faults, a journal, and a check of every message against Microsoft's published schemas.
//!
//! ```no_run
//! # async fn demo() -> Result<(), annika_devkit::graph::SimError> {
//! use annika_devkit::graph::{GraphOptions, GraphSimulator};
//! let simulator = GraphSimulator::start(GraphOptions::example()).await?;
//! println!("GRAPH_BASE_URL={}", simulator.url());
//! # Ok(())
//! # }
//! ```

pub mod answer;
mod batch;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod conduct;
mod control;
mod control_http;
mod directory;
pub mod entra;
pub mod etag;
pub mod fault;
mod http;
pub mod journal;
pub mod order_hint;
mod permissions;
pub mod planner;
pub mod random;
pub mod schema;
pub mod seed;
mod simulator;
pub mod store;
pub mod switches;
mod throttle;
mod wire;

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};

pub use self::{
    answer::GraphError,
    control::{Control, NewTask, Settings},
    fault::{BodyForm, Effect, Fault, Level, Match, RetryAfter, When},
    journal::{Counts, Entry, EntryKind, Tally},
    planner::Limits,
    schema::{Checked, SchemaError, Side, Violation},
    seed::Seed,
    switches::Switches,
};
use self::{
    entra::{Entra, Registration},
    random::SimRng,
    schema::Oracle,
    simulator::Inner,
};

/// The simulator's tenant.
pub const TENANT_ID: &str = "84841066-274d-4ec0-a5c1-276be684bdd3";
/// The application that it knows.
pub const CLIENT_ID: &str = "95e27074-6c4a-447a-aa24-9d718a0b86fa";

/// How the simulator starts.
#[derive(Debug, Clone)]
pub struct GraphOptions {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The folder of oracles. Without it messages are not checked.
    pub oracles: Option<PathBuf>,
    /// Whether messages are wrong on purpose, to see that it is found: the tally counts their violations apart.
    pub provoked: bool,
    /// How long each HTTP request to Graph takes; its write takes effect half-way.
    pub latency: Duration,
    /// Whether `/beta` is served.
    pub beta: bool,
    /// The entries of a page of a list.
    pub page_size: usize,
    /// What the random numbers follow from.
    pub seed: u64,
    /// What is there at the start and after a reset.
    pub data: Seed,
    /// The service's limits.
    pub limits: Limits,
    /// What no published text settles.
    pub switches: Switches,
    /// More of them, as `name=value,…`: they win.
    pub more_switches: String,
}

impl Default for GraphOptions {
    fn default() -> Self {
        Self {
            port: 0,
            oracles: None,
            provoked: false,
            latency: Duration::ZERO,
            beta: true,
            page_size: 400,
            seed: 1,
            data: Seed::default(),
            limits: Limits::default(),
            switches: Switches::default(),
            more_switches: String::new(),
        }
    }
}

impl GraphOptions {
    /// Microsoft's example plan, checked against the oracles that `ANNIKA_ORACLES` names, if it is set, with the
    /// switches that `ANNIKA_GRAPH_SWITCHES` names.
    pub fn example() -> Self {
        let more_switches = std::env::var("ANNIKA_GRAPH_SWITCHES").unwrap_or_default();
        let oracles = std::env::var_os("ANNIKA_ORACLES").filter(|folder| !folder.is_empty());
        Self { oracles: oracles.map(PathBuf::from), data: seed::example(), more_switches, ..Self::default() }
    }
}

/// The simulator could not start, or was asked for something impossible.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The port is taken or not allowed.
    #[error("cannot listen on 127.0.0.1:{port}: {why}; choose another port, or 0 for a free one")]
    Listen {
        /// The port.
        port: u16,
        /// The system's answer.
        why: std::io::Error,
    },
    /// The published descriptions could not be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A fault's expression for paths is wrong.
    #[error("the fault's path is no regular expression: {0}")]
    Path(#[from] regex::Error),
    /// A switch that is not in the table.
    #[error(transparent)]
    Switch(#[from] switches::UnknownSwitch),
    /// Something named by a seed or a call is not there.
    #[error("there is no {what} '{id}' in the simulator; add it first")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// Graph refused an edit.
    #[error("Graph refused: {0}")]
    Refused(#[from] GraphError),
}

/// A running simulator; it ends when this is dropped.
#[derive(Debug)]
pub struct GraphSimulator {
    control: Control,
    server: JoinHandle<()>,
}

impl GraphSimulator {
    /// Starts a simulator on 127.0.0.1.
    pub async fn start(mut options: GraphOptions) -> Result<Self, SimError> {
        options.switches.add(&options.more_switches)?;
        let oracle = options.oracles.as_deref().map(Oracle::load).transpose()?;
        let refused = |why| SimError::Listen { port: options.port, why };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if oracle.is_none() {
            tracing::warn!("the Graph simulator checks no message: no folder of oracles was given");
        }
        // Secrets of a simulator, yet unlike from run to run when seeds differ.
        let mut rng = SimRng::new(options.seed ^ 0x5eed);
        let registration = Registration {
            tenant_id: TENANT_ID.into(),
            client_id: CLIENT_ID.into(),
            client_secret: format!("simulated-{}", rng.guid()),
            identity_header: rng.guid(),
        };
        let url = format!("http://{address}");
        let inner = Arc::new(Inner::new(options, Entra::new(registration), oracle, url));
        let control = Control::new(Arc::clone(&inner));
        control.load(&inner.options.data)?;
        let routes = control_http::router(control.clone());
        let server = tokio::spawn(http::serve(listener, inner, routes));
        Ok(Self { control, server })
    }

    /// What `GRAPH_BASE_URL` has to be; `/v1.0` is appended by clients.
    pub fn url(&self) -> String {
        self.control.inner.url.clone()
    }

    /// What `ENTRA_BASE_URL` has to be.
    pub fn entra_url(&self) -> String {
        self.url()
    }

    /// What `IDENTITY_ENDPOINT` has to be.
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.url())
    }

    /// What `IDENTITY_HEADER` has to be.
    pub fn identity_header(&self) -> String {
        self.control.inner.state().entra.registration.identity_header.clone()
    }

    /// What `AZURE_TENANT_ID` has to be.
    pub fn tenant_id(&self) -> String {
        TENANT_ID.into()
    }

    /// What `AZURE_CLIENT_ID` has to be.
    pub fn client_id(&self) -> String {
        CLIENT_ID.into()
    }

    /// What `AZURE_CLIENT_SECRET` has to be.
    pub fn client_secret(&self) -> String {
        self.control.inner.state().entra.registration.client_secret.clone()
    }

    /// The settings that point a client here: by managed identity, or by client credentials.
    pub fn environment(&self, managed_identity: bool) -> Vec<(&'static str, String)> {
        let mut settings = vec![("GRAPH_BASE_URL", self.url())];
        if managed_identity {
            settings.push(("IDENTITY_ENDPOINT", self.identity_endpoint()));
            settings.push(("IDENTITY_HEADER", self.identity_header()));
        } else {
            settings.push(("ENTRA_BASE_URL", self.entra_url()));
            settings.push(("AZURE_TENANT_ID", self.tenant_id()));
            settings.push(("AZURE_CLIENT_ID", self.client_id()));
            settings.push(("AZURE_CLIENT_SECRET", self.client_secret()));
        }
        settings
    }

    /// The simulator's control, also served under `/__sim/`.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Messages that did not fit Microsoft's descriptions.
    pub fn violations(&self) -> Vec<Violation> {
        self.control.violations()
    }

    /// Waits until the server ends, which it does only by a failure of its own.
    pub async fn wait(&mut self) {
        if let Err(why) = (&mut self.server).await {
            tracing::error!(%why, "the Graph simulator ended");
        }
    }
}

impl Drop for GraphSimulator {
    fn drop(&mut self) {
        let inner = &self.control.inner;
        let total = inner.state().findings.total();
        if total.on {
            let (violations, provoked) =
                if inner.options.provoked { (0, total.violations) } else { (total.violations, 0) };
            crate::oracle::messages(total.requests, total.answers, violations, provoked);
        }
        self.server.abort();
    }
}
