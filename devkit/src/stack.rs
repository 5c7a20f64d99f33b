//! The whole product on one machine: Redis, the Graph and Entra simulators, the Functions host and the handler.

use std::path::{Path, PathBuf};

use crate::{
    chaos_proxy::ChaosProxy,
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
    /// Whether the handler reaches Redis and Graph through proxies that can make the network bad.
    pub proxied: bool,
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
            proxied: false,
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
    /// The proxies.
    #[error("a proxy did not start: {0}")]
    Proxy(#[from] std::io::Error),
}

/// Everything, running. Dropping it ends all of it.
pub struct Stack {
    /// The Functions host with the handler; first, so that it ends first.
    pub host: FunctionsHost,
    /// Graph and Entra.
    pub graph: GraphSimulator,
    /// Redis, unless somebody else's is used.
    pub redis: Option<RedisServer>,
    /// The handler's way to Redis, where it is proxied.
    pub to_redis: Option<ChaosProxy>,
    /// The handler's way to Graph, where it is proxied.
    pub to_graph: Option<ChaosProxy>,
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
        let (mut to_redis, mut to_graph) = (None, None);
        let (mut redis_url, mut graph_url) = (redis_url, graph.url());
        if options.proxied {
            to_redis = Some(in_front_of(&mut redis_url).await?);
            to_graph = Some(in_front_of(&mut graph_url).await?);
        }
        let mut env = vec![
            ("REDIS_URL".to_owned(), redis_url.clone()),
            ("GRAPH_BASE_URL".to_owned(), graph_url),
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
        Ok(Self { host, graph, redis, to_redis, to_graph, redis_url })
    }

    /// The address of Redis.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }
}

/// A proxy in front of the port that `url` names, which is replaced by the proxy's own.
async fn in_front_of(url: &mut String) -> std::io::Result<ChaosProxy> {
    let parsed = reqwest::Url::parse(url).map_err(std::io::Error::other)?;
    let port = parsed.port().ok_or_else(|| std::io::Error::other("an address without a port"))?;
    let proxy = ChaosProxy::start(port).await?;
    *url = url.replacen(&format!(":{port}"), &format!(":{}", proxy.port()), 1);
    Ok(proxy)
}
