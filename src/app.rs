//! `App`: every service, wired once. Only `main`, the API and the host's edge see it; services take what they need.

use crate::{
    clock::{SharedClock, SharedRng},
    config::Settings,
    entra::Credentials,
    graph::GraphClient,
    host::Triggers,
};
use axum::Router;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Every service of the process.
#[derive(Debug, Clone)]
pub struct App {
    /// The settings it was built from.
    pub settings: Arc<Settings>,
    /// Time.
    pub clock: SharedClock,
    /// Randomness.
    pub rng: SharedRng,
    /// Tokens.
    pub credentials: Arc<Credentials>,
    /// Microsoft Graph.
    pub graph: GraphClient,
    /// Cancelled when the process begins to drain.
    pub drain: CancellationToken,
}

impl App {
    /// Wires every service. Nothing is connected yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(settings: Settings, clock: SharedClock, rng: SharedRng) -> reqwest::Result<Self> {
        let http = http_client()?;
        let credentials =
            Arc::new(Credentials::new(&settings.entra, http.clone(), clock.clone(), rng.clone()));
        let graph =
            GraphClient::new(&settings.graph, Arc::clone(&credentials), http, clock.clone(), rng.clone());
        let drain = CancellationToken::new();
        Ok(Self { settings: Arc::new(settings), clock, rng, credentials, graph, drain })
    }

    /// The trigger table.
    pub fn triggers(&self) -> Triggers {
        Triggers::new(self.drain.clone())
    }

    /// The HTTP routes.
    pub fn routes(&self) -> Router {
        Router::new()
    }
}

/// The one HTTP client of the process: it holds the connections and the time-outs.
///
/// It follows no redirects and uses no proxy: requests carry tokens, which go to the address they are for.
///
/// # Errors
/// When the TLS trust store cannot be read.
pub fn http_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .gzip(true)
        .user_agent(concat!("annika/", env!("CARGO_PKG_VERSION")))
        .build()
}
