//! `App`: every service, wired once. Only `main`, the API and the host's edge see it; services take what they need.

use crate::{
    api::{self, ApiState},
    clock::{SharedClock, SharedRng},
    config::Settings,
    entra::Credentials,
    erasure::Erasure,
    graph::GraphClient,
    host::Triggers,
    planner::{PlanSources, Planner, PlannerWorld},
    store::{Store, StoreError},
    tasks::Tasks,
};
use annika_sync::limiter::Rate;
use axum::Router;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long one call may walk over the keys to erase a person, ms; well below the time-outs of callers.
const ERASE_MS: u64 = 20_000;

/// Why the app cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The HTTP client: the system's TLS certificates cannot be read.
    #[error("the HTTP client could not be built: {0}")]
    Http(#[from] reqwest::Error),
    /// The address of Redis.
    #[error("Redis could not be set up: {0}")]
    Store(#[from] StoreError),
}

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
    /// Redis; it is connected by its first use, so a Redis that is away stops no start.
    pub store: Store,
    /// Task documents.
    pub tasks: Arc<Tasks>,
    /// Erases people.
    pub erasure: Erasure,
    /// The sync with Planner.
    pub planner: Planner,
    /// Cancelled when the process begins to drain.
    pub drain: CancellationToken,
}

impl App {
    /// Wires every service. Nothing is connected yet. Needs a Tokio runtime around it.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn new(settings: Settings, clock: SharedClock, rng: SharedRng) -> Result<Self, AppError> {
        let http = http_client()?;
        let credentials =
            Arc::new(Credentials::new(&settings.entra, http.clone(), clock.clone(), rng.clone()));
        let graph =
            GraphClient::new(&settings.graph, Arc::clone(&credentials), http, clock.clone(), rng.clone());
        let store = Store::new(settings.redis.clone(), clock.clone())?;
        let tasks = Arc::new(Tasks::new(store.clone(), rng.clone()));
        let erasure = Erasure::new(store.clone(), graph.clone(), clock.clone(), ERASE_MS);
        let drain = CancellationToken::new();
        let world = PlannerWorld::new(
            store.clone(),
            graph.clone(),
            clock.clone(),
            rng.clone(),
            PlanSources::new(settings.planner.plans.clone()).with_day_time(settings.planner.due_time.clone()),
            settings.entra.application_id().map(str::to_owned),
            settings.planner.replicas,
        )?
        .with_completed_ttl(settings.planner.completed_ttl_days);
        let engine = engine_settings(&settings);
        let planner = Planner::new(world, engine, settings.planner.poll_mode, clock.clone(), drain.clone());
        Ok(Self {
            settings: Arc::new(settings),
            clock,
            rng,
            credentials,
            graph,
            store,
            tasks,
            erasure,
            planner,
            drain,
        })
    }

    /// The trigger table.
    pub fn triggers(&self) -> Triggers {
        let planner = self.planner.clone();
        Triggers::new(self.drain.clone()).timer("planner_poll", move |run| planner.clone().timer(run))
    }

    /// The HTTP routes.
    pub fn routes(&self) -> Router {
        api::router(ApiState {
            tasks: Arc::clone(&self.tasks),
            erasure: self.erasure.clone(),
            planner: self.planner.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            rng: self.rng.clone(),
        })
    }
}

fn engine_settings(settings: &Settings) -> annika_sync::engine::Settings {
    let graph = &settings.graph;
    let rate = Rate { start: graph.rate_per_second, max: graph.rate_max, burst: f64::from(graph.rate_burst) };
    let guard = annika_sync::world::GuardLimits {
        min: settings.planner.delete_guard_min,
        percent: settings.planner.delete_guard_percent,
    };
    let (lease, task_lease) = (settings.planner.lease, settings.planner.task_lease);
    annika_sync::engine::Settings {
        rate,
        lease,
        renew: lease / 3,
        task_lease,
        guard,
        external_id: settings.planner.external_id.clone(),
        ..annika_sync::engine::Settings::default()
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
        // Shorter than servers keep an idle connection: a request that meets its end would be in doubt.
        .pool_idle_timeout(Duration::from_secs(20))
        .no_proxy()
        .gzip(true)
        .user_agent(concat!("annika/", env!("CARGO_PKG_VERSION")))
        .build()
}
