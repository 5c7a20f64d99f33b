//! The whole product on one machine: Redis, the Graph and Entra simulators, the Functions host and the handler.

use std::path::{Path, PathBuf};

use crate::{
    functions_host::{FunctionsHost, HostError, HostOptions},
    graph::{GraphOptions, GraphSimulator, SimError},
    redis_server::{RedisOptions, RedisServer, RedisServerError},
};

/// How the parts are to be started.
#[derive(Clone)]
pub struct StackOptions {
    /// The staged Functions app.
    pub app: PathBuf,
    /// Redis.
    pub redis: RedisOptions,
    /// Use this Redis instead of one of our own.
    pub redis_url: Option<String>,
    /// Microsoft Graph.
    pub graph: GraphOptions,
    /// What `PLANNER_PLANS` says.
    pub plans: String,
    /// The Functions host; its root and settings are filled in.
    pub host: HostOptions,
    /// More environment for the handler; wins.
    pub env: Vec<(String, String)>,
}

impl StackOptions {
    /// A stack around the staged app, with Microsoft's example plan.
    pub fn new(app: &Path) -> Self {
        Self {
            app: app.to_owned(),
            redis: RedisOptions::default(),
            redis_url: None,
            graph: GraphOptions { data: crate::graph::seed::example(), ..GraphOptions::default() },
            plans: crate::graph::seed::PLAN.to_owned(),
            host: HostOptions::default(),
            env: Vec::new(),
        }
    }
}

/// Why a stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisServerError),
    /// The simulators.
    #[error(transparent)]
    Graph(#[from] SimError),
    /// The host, or the handler under it.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Everything, running. Dropping it ends all of it.
pub struct Stack {
    /// The Functions host with the handler; first, so that it ends first.
    pub host: FunctionsHost,
    /// Graph and Entra.
    pub graph: GraphSimulator,
    /// Redis, unless somebody else's is used.
    pub redis: Option<RedisServer>,
    redis_url: String,
}

impl Stack {
    /// Starts every part.
    ///
    /// # Errors
    /// The first part that did not start.
    pub async fn start(options: StackOptions) -> Result<Self, StackError> {
        let (redis, redis_url) = match options.redis_url {
            Some(url) => (None, url),
            None => {
                let server = RedisServer::start(options.redis).await?;
                let url = server.url();
                (Some(server), url)
            }
        };
        let graph = GraphSimulator::start(options.graph).await?;
        let mut env = vec![
            ("REDIS_URL".to_owned(), redis_url.clone()),
            ("GRAPH_BASE_URL".to_owned(), graph.url()),
            ("ENTRA_BASE_URL".to_owned(), graph.entra_url()),
            ("IDENTITY_ENDPOINT".to_owned(), graph.identity_endpoint()),
            ("IDENTITY_HEADER".to_owned(), graph.identity_header()),
            ("AZURE_CLIENT_ID".to_owned(), graph.client_id()),
            ("PLANNER_PLANS".to_owned(), options.plans),
        ];
        env.extend(options.env);
        let mut host = options.host;
        host.root = options.app;
        host.env.extend(env);
        let host = FunctionsHost::start(host).await?;
        Ok(Self { host, graph, redis, redis_url })
    }

    /// The address of Redis.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }
}
