//! The whole product for a measurement, with its engine running, and an agent's hand on it.

use std::{path::Path, time::Duration};

use anyhow::Context;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use super::clock::{now, pause, until};
use crate::{
    graph::{Control, Tally},
    stack::{Stack, StackOptions},
};

/// The script that the agents' guide ships.
pub(super) const UPDATE: &str = include_str!("../../../docs/agents/update.lua");
pub(super) const PENDING: &str = "annika:sync:pending";

/// How long anything may take that has to happen.
pub(super) const LIMIT: Duration = Duration::from_secs(180);

/// How fast the engine may ask Graph.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limiter {
    /// As it is without settings.
    Production,
    /// So high that it never waits.
    Raised,
}

impl Limiter {
    /// The setting, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => {
                "the whole product, limiter as in production (5 sub-requests/s at the start, burst 40)"
            }
            Self::Raised => {
                "the whole product, limiter raised (GRAPH_RATE_PER_SECOND, GRAPH_RATE_BURST, GRAPH_RATE_MAX = 100000)"
            }
        }
    }
}

/// The product, running.
pub(super) struct Scene {
    pub stack: Stack,
    pub redis: MultiplexedConnection,
    /// From the first invocation until everything in Planner was imported.
    pub imported_in: Duration,
    store: redis::Script,
    http: reqwest::Client,
}

impl Scene {
    /// Starts everything around Microsoft's example plan and waits for the first poll.
    pub async fn start(app: &Path, limiter: Limiter) -> anyhow::Result<Self> {
        Self::with(StackOptions::new(app), limiter).await
    }

    /// Starts everything as `options` say and waits for the first poll.
    pub async fn with(mut options: StackOptions, limiter: Limiter) -> anyhow::Result<Self> {
        if let Limiter::Raised = limiter {
            options.env = ["GRAPH_RATE_PER_SECOND", "GRAPH_RATE_BURST", "GRAPH_RATE_MAX"]
                .map(|name| (name.to_owned(), "100000".to_owned()))
                .into();
        }
        let stack = Stack::start(options).await?;
        let redis = stack.redis.as_ref().context("a Redis of our own")?.connect().await?;
        let mut scene = Self {
            stack,
            redis,
            imported_in: Duration::ZERO,
            store: redis::Script::new(UPDATE),
            http: http()?,
        };
        let start = now();
        // Dropping the handle leaves the invocation running.
        drop(scene.stack.host.fire_detached("planner_poll")?);
        until("the first poll", LIMIT, async || Ok((scene.pages() > 0).then_some(()))).await?;
        let tasks = u64::try_from(scene.in_planner())?;
        until("the first import", LIMIT, async || Ok((scene.known().await? >= tasks).then_some(()))).await?;
        scene.imported_in = start.elapsed();
        scene.settle().await?;
        Ok(scene)
    }

    pub fn graph(&self) -> &Control {
        self.stack.graph.control()
    }

    /// What the handler asked of Graph so far.
    pub fn tally(&self) -> Tally {
        self.graph().counts().app
    }

    /// How many tasks there are in Planner.
    fn in_planner(&self) -> usize {
        let snapshot = self.graph().snapshot();
        let plans = snapshot.get("plans").and_then(Value::as_array).cloned().unwrap_or_default();
        let tasks = |plan: &Value| {
            plan.get("id").and_then(Value::as_str).map_or(0, |id| self.graph().tasks(id).len())
        };
        plans.iter().map(tasks).sum()
    }

    /// How many documents were worked off at least once.
    pub async fn known(&self) -> anyhow::Result<u64> {
        let mut redis = self.redis.clone();
        Ok(redis::cmd("HLEN").arg("annika:sync:index").query_async(&mut redis).await?)
    }

    /// How many pages of plans were asked for.
    pub fn pages(&self) -> u64 {
        route(&self.tally(), LIST)
    }

    /// An agent's write, by the guide's script.
    pub async fn write(&self, id: &str, read: &str, text: &str) -> anyhow::Result<()> {
        let mut redis = self.redis.clone();
        let stored: i64 = self
            .store
            .key(format!("annika:tasks:{id}"))
            .key(PENDING)
            .arg(read)
            .arg(text)
            .arg(json!(id).to_string())
            .invoke_async(&mut redis)
            .await?;
        anyhow::ensure!(stored == 1, "the task {id} was written by somebody else");
        Ok(())
    }

    /// Reads a document.
    pub async fn read(&self, id: &str) -> anyhow::Result<String> {
        let mut redis = self.redis.clone();
        let text: Option<String> =
            redis::cmd("GET").arg(format!("annika:tasks:{id}")).query_async(&mut redis).await?;
        text.with_context(|| format!("there is no task {id}"))
    }

    /// An agent's change, as the guide has it.
    pub async fn update(&self, id: &str, edit: impl Fn(&mut Value)) -> anyhow::Result<()> {
        let read = self.read(id).await?;
        let mut document: Value = serde_json::from_str(&read)?;
        edit(&mut document);
        self.write(id, &read, &document.to_string()).await
    }

    /// An agent's deletion, told to everybody.
    pub async fn delete(&self, id: &str) -> anyhow::Result<()> {
        let mut redis = self.redis.clone();
        let message = json!({"action": "deleted", "task_id": id, "source": "agent"}).to_string();
        let mut both = redis::pipe();
        both.atomic().del(format!("annika:tasks:{id}")).publish("annika:tasks:updates", message);
        both.query_async::<()>(&mut redis).await?;
        Ok(())
    }

    /// The Planner id of a task, if it has one.
    pub async fn planner_id(&self, id: &str) -> anyhow::Result<Option<String>> {
        let mut redis = self.redis.clone();
        let map: Option<String> =
            redis::cmd("GET").arg(format!("annika:planner:id_map:{id}")).query_async(&mut redis).await?;
        let map: Option<Value> = map.map(|map| serde_json::from_str(&map)).transpose()?;
        Ok(map.and_then(|map| map.get("planner_id")?.as_str().map(str::to_owned)))
    }

    /// Asks for a poll.
    pub async fn poll_now(&self) -> anyhow::Result<()> {
        let url = format!("{}/api/sync/poll", self.stack.host.url());
        let key = self.stack.host.function_key();
        self.http.post(url).header("x-functions-key", key).send().await?.error_for_status()?;
        Ok(())
    }

    /// Waits until nothing waits to be synced.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let mut redis = self.redis.clone();
        let mut quiet = 0;
        until("everything is synced", LIMIT, async || {
            let (urgent, low): (u64, u64) = redis::pipe()
                .cmd("ZCARD")
                .arg("annika:sync:due")
                .cmd("ZCARD")
                .arg("annika:sync:due:low")
                .query_async(&mut redis)
                .await?;
            let waiting = urgent + low;
            quiet = if waiting == 0 { quiet + 1 } else { 0 };
            Ok((quiet >= 20).then_some(()))
        })
        .await?;
        pause(Duration::from_millis(200)).await;
        Ok(())
    }
}

/// The list of a plan's tasks, as the journal counts it.
pub(super) const LIST: &str = "GET /planner/plans/{id}/tasks";

pub(super) fn route(tally: &Tally, route: &str) -> u64 {
    tally.by_route.get(route).copied().unwrap_or(0)
}

fn http() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}
