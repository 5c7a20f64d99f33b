//! Contracts of the planner's scripts: `PlannerWorld` over a real Redis, looked at through a second connection.

mod aging;
mod children;
mod claims;
mod commit;
mod contracts;
mod foreign;
mod lists;
mod losses;
mod messages;
mod outages;
mod recovery;
mod replicas;
mod sweep;
mod waiting;

use std::{collections::HashMap, sync::Arc, time::Duration};

use annika::{
    app::http_client,
    clock::{SystemClock, SystemRng},
    config::{PlanSource, Settings},
    entra::Credentials,
    graph::GraphClient,
    keys,
    planner::{PlanSources, PlannerWorld},
    store::Store,
};
use annika_devkit::redis_server::{RedisOptions, RedisServer};
use annika_sync::{
    lens::Document,
    state::TaskState,
    world::{Claim, Commit, CommitResult, LocalWrite, Next, Notes, Quota, RemoteCopy, World},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::Value;

use crate::store::store_for;

/// A Redis of its own, a world over it, and the second pair of eyes.
pub struct Stage {
    pub server: RedisServer,
    pub world: PlannerWorld,
    pub redis: MultiplexedConnection,
}

impl Stage {
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    pub async fn start_with(options: RedisOptions) -> Self {
        let server = RedisServer::start(options).await.unwrap();
        let redis = server.connect().await.unwrap();
        let world = world(&server, Vec::new());
        Self { server, world, redis }
    }

    pub fn store(&self) -> Store {
        store_for(&self.server)
    }

    /// Another process's world over the same Redis.
    pub fn other_world(&self) -> PlannerWorld {
        world(&self.server, Vec::new())
    }

    /// Stores a document, marks it and claims it.
    pub async fn claimed(&mut self, id: &str, text: &str) -> Claim {
        let () = self.redis.set(keys::task(id), text).await.unwrap();
        self.claimed_missing(id).await
    }

    /// Marks a task and claims it.
    pub async fn claimed_missing(&mut self, id: &str) -> Claim {
        self.world.mark(&[id.to_owned()], Duration::ZERO).await.unwrap();
        let claims = self.world.claim(Quota::each(20), Duration::from_secs(60)).await.unwrap().claims;
        claims.into_iter().find(|claim| claim.id == id).expect("it is due")
    }

    pub async fn commit(&self, commit: Commit) -> CommitResult {
        self.world.commit(vec![commit]).await.unwrap().remove(0)
    }

    pub async fn text(&mut self, key: &str) -> Option<String> {
        self.redis.get(key).await.unwrap()
    }

    pub async fn list(&mut self, key: &str) -> Vec<String> {
        self.redis.lrange(key, 0, -1).await.unwrap()
    }

    pub async fn json_list(&mut self, key: &str) -> Vec<Value> {
        self.list(key).await.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// The tasks that wait, those of low priority last.
    pub async fn due(&mut self) -> Vec<String> {
        let urgent: Vec<String> = self.redis.zrange(keys::sync_due(), 0, -1).await.unwrap();
        let low: Vec<String> = self.redis.zrange(keys::sync_due_low(), 0, -1).await.unwrap();
        urgent.into_iter().chain(low).collect()
    }

    pub async fn field(&mut self, key: &str, field: &str) -> Option<String> {
        self.redis.hget(key, field).await.unwrap()
    }

    pub async fn exists(&mut self, key: &str) -> bool {
        self.redis.exists(key).await.unwrap()
    }

    /// Every key and its serialised value, to see that nothing was changed.
    pub async fn dump(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut names: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut self.redis).await.unwrap();
        names.sort();
        let mut dump = Vec::new();
        for name in names {
            let value: Vec<u8> = redis::cmd("DUMP").arg(&name).query_async(&mut self.redis).await.unwrap();
            dump.push((name, value));
        }
        dump
    }

    /// As if this much time had passed for the due-set.
    pub async fn let_time_pass(&mut self, ms: i64) {
        for id in self.due().await {
            let low: Option<f64> = self.redis.zscore(keys::sync_due_low(), &id).await.unwrap();
            let place = if low.is_some() { keys::sync_due_low() } else { keys::sync_due() };
            let _: f64 = self.redis.zincr(place, &id, -ms).await.unwrap();
            let lease: Option<i64> = self.redis.hget(keys::sync_state(&id), "lease_until").await.unwrap();
            if let Some(lease) = lease {
                let () = self.redis.hset(keys::sync_state(&id), "lease_until", lease - ms).await.unwrap();
            }
        }
    }
}

/// A world over `server`. Its Graph is a closed port: no test here may ask it.
pub fn world(server: &RedisServer, plans: Vec<PlanSource>) -> PlannerWorld {
    world_with_replicas(server, plans, 0)
}

/// The same; so many replicas must have an intent before it is sent.
pub fn world_with_replicas(server: &RedisServer, plans: Vec<PlanSource>, replicas: u32) -> PlannerWorld {
    let variables = HashMap::from([("GRAPH_BASE_URL", "http://127.0.0.1:1")]);
    let settings = Settings::read(&|name| variables.get(name).map(|value| (*value).to_owned())).unwrap();
    let (clock, rng, http) = (SystemClock::shared(), SystemRng::shared(), http_client().unwrap());
    let credentials = Arc::new(Credentials::new(&settings.entra, http.clone(), clock.clone(), rng.clone()));
    let graph = GraphClient::new(&settings.graph, credentials, http, clock.clone(), rng.clone());
    let plans = PlanSources::new(plans);
    PlannerWorld::new(store_for(server), graph, clock, rng, plans, Some("app".into()), replicas).unwrap()
}

/// A commit that finishes and changes nothing but the record.
pub fn done(claim: &Claim) -> Commit {
    Commit {
        id: claim.id.clone(),
        fence: claim.fence,
        hint: 1,
        had_create: false,
        state: Some(TaskState::default()),
        write: None,
        document: None,
        remote: None,
        unmap: None,
        leaving: None,
        left: None,
        clear_missed: false,
        clear_absent: false,
        settled: Notes::default(),
        durable: false,
        announce: None,
        expect_absent: false,
        tomb: None,
        left_parent: None,
        marks: Vec::new(),
        found_users: Vec::new(),
        last_copy: None,
        bequeathed: false,
        events: Vec::new(),
        next: Next::Done { hint: 1 },
    }
}

pub fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

/// Replaces `before` by `after`; either may be nothing.
pub fn write(before: Option<&str>, after: Option<&str>) -> LocalWrite {
    LocalWrite { expected: before.map(|text| text.as_bytes().to_vec()), new: after.map(document) }
}

pub fn mapped(planner_id: &str, plan: &str) -> RemoteCopy {
    RemoteCopy {
        left: None,
        planner_id: planner_id.to_owned(),
        plan: Some(plan.to_owned()),
        etag: "W/\"1\"".to_owned(),
        details_etag: Some("W/\"d1\"".to_owned()),
        json: Some(serde_json::json!({"id": planner_id, "title": "T"})),
        newly_mapped: true,
    }
}
