//! Kill runs: two handlers over one Redis, and for some seconds anything may die or stand still at any moment.
//!
//! Agents write, edit and delete, people edit in Planner; meanwhile handlers are killed (-9) or stand still past
//! their leases and wake up as zombies, Redis is killed and comes back from its append-only file, and the network is
//! bad. Then everything is well again, and what everybody wanted must be on both sides, once.
//! `make kill-runs RUNS=20` plays more of them; `SEED=n` says from which on.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use annika::keys;
use annika_devkit::{
    chaos_proxy::storm,
    functions_host::FunctionsHost,
    graph::{random::SimRng, seed},
    redis_server::RedisOptions,
};
use redis::{AsyncCommands, AsyncConnectionConfig, aio::MultiplexedConnection};
use serde_json::{Value, json};

use super::{Rig, say, within};

const TASKS: usize = 16;
/// A host gives up when its handler has died three times.
const KILLS: usize = 2;
const STEPS: usize = 40;
/// Longer than the leases of these runs.
const STANDSTILL: Duration = Duration::from_millis(3_500);
/// In the end each task is settled within this.
const SETTLED: u64 = 240;

struct Run {
    seed: u64,
    random: SimRng,
    rig: Rig,
    second: FunctionsHost,
    redis: MultiplexedConnection,
    /// What an agent said last and was told that it is stored: title, or `None` for a deleted task.
    wanted: BTreeMap<usize, Option<String>>,
    kills: [usize; 2],
    standstills: usize,
    restarts: usize,
    storms: usize,
}

fn id(n: usize) -> String {
    format!("run-{n:02}")
}

fn signal(pid: u32, name: &str) {
    // It may be dead already.
    let _ = Command::new("kill").args(["-s", name, &pid.to_string()]).output().unwrap();
}

impl Run {
    async fn start(seed: u64) -> Self {
        let leases = [("PLANNER_LEASE_SECONDS", "2"), ("PLANNER_TASK_LEASE_SECONDS", "2")];
        let rig = Rig::start_with(|options| {
            options.proxied = true;
            options.graph.seed = seed;
            options.graph.latency = Duration::from_millis(150);
            options.redis = RedisOptions { appendonly: true, ..RedisOptions::default() };
            options.env.extend(leases.map(|(name, value)| (name.to_owned(), value.to_owned())));
        })
        .await;
        let second = rig.another_host_with(&leases).await;
        let redis = rig.redis.clone();
        let run = Self {
            seed,
            random: SimRng::new(seed),
            rig,
            second,
            redis,
            wanted: BTreeMap::new(),
            kills: [0, 0],
            standstills: 0,
            restarts: 0,
            storms: 0,
        };
        run.fire();
        within(30, "the first poll", async || {
            run.rig.document(&format!("planner-{}", seed::TASK)).await.is_some()
        })
        .await;
        run
    }

    fn hosts(&self) -> [&FunctionsHost; 2] {
        [self.rig.host(), &self.second]
    }

    /// The timer of both hosts; a host whose handler is dead at the moment has nothing to fire.
    fn fire(&self) {
        for host in self.hosts() {
            drop(host.fire_detached("planner_poll"));
        }
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.random.next_u64() % u64::try_from(n).unwrap()).unwrap()
    }

    /// An agent's own write, straight into Redis: a document, and a message that may be lost.
    async fn write(&mut self, n: usize, title: Option<String>) {
        let (id, key) = (id(n), keys::task(&id(n)));
        let stored: redis::RedisResult<()> = match &title {
            Some(title) => {
                // As the guide says: what is read is edited, so that the stamp stays.
                let text: Option<String> = self.redis.get(&key).await.unwrap();
                let mut task: Value = match text {
                    Some(text) => serde_json::from_str(&text).unwrap(),
                    None => json!({"id": id, "plan_id": seed::PLAN}),
                };
                task["title"] = Value::from(title.as_str());
                self.redis.set(&key, task.to_string()).await
            }
            None => self.redis.del(&key).await,
        };
        stored.unwrap();
        self.wanted.insert(n, title);
        let action = if self.wanted[&n].is_some() { "updated" } else { "deleted" };
        let message = json!({"task_id": id, "action": action, "source": "agent"}).to_string();
        let _: usize = self.redis.publish(keys::tasks_updates(), message).await.unwrap();
    }

    async fn step(&mut self, n: usize) {
        let fresh = self.wanted.len();
        match self.below(12) {
            0..4 if fresh < TASKS => self.write(fresh, Some(format!("run {} task {fresh}", self.seed))).await,
            4 | 5 if fresh > 0 => {
                let task = self.below(fresh);
                if self.wanted[&task].is_some() {
                    self.write(task, Some(format!("run {} task {task} edit {n}", self.seed))).await;
                }
            }
            6 | 7 => {
                let which = self.below(2);
                if self.kills[which] < KILLS
                    && let Some(pid) = self.hosts()[which].handler_pid()
                {
                    signal(pid, "KILL");
                    self.kills[which] += 1;
                }
            }
            8 => {
                let pid = {
                    let which = self.below(2);
                    self.hosts()[which].handler_pid()
                };
                if let Some(pid) = pid {
                    self.standstills += 1;
                    signal(pid, "STOP");
                    tokio::spawn(async move {
                        tokio::time::sleep(STANDSTILL).await;
                        signal(pid, "CONT");
                    });
                }
            }
            9 if self.restarts < 2 => {
                self.restarts += 1;
                let server = self.rig.stack.redis.as_ref().unwrap();
                server.restart().await.unwrap();
                let patient =
                    AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
                let client = server.client().unwrap();
                self.redis = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
                self.rig.redis = self.redis.clone();
            }
            10 => {
                self.storms += 1;
                let gusts = storm(self.random.next_u64(), 2);
                let stack = &self.rig.stack;
                let proxy = if self.storms.is_multiple_of(2) { &stack.to_graph } else { &stack.to_redis };
                proxy.as_ref().unwrap().play(&gusts).await;
            }
            _ => {}
        }
        let pause = Duration::from_millis(u64::try_from(50 + self.below(350)).unwrap());
        tokio::time::sleep(pause).await;
        // The hosts' ticks come often here, so that a handler that was started again soon has its engine.
        if n.is_multiple_of(5) {
            self.fire();
        }
    }

    /// Agents that delete do so where all is well: a deletion may race with an edit, and then the edit wins.
    async fn deletions(&mut self) {
        for n in (0..self.wanted.len()).step_by(5) {
            self.write(n, None).await;
        }
    }

    /// The tasks that are not yet as their agents wanted them, in Planner and in Redis.
    async fn unsettled(&self) -> Vec<usize> {
        let tasks = self.rig.control().tasks(seed::PLAN);
        let mut unsettled = Vec::new();
        for (n, wanted) in &self.wanted {
            let of = |task: &&Value| {
                let title = task["title"].as_str().unwrap();
                let name = format!("run {} task {n}", self.seed);
                title == name || title.starts_with(&format!("{name} "))
            };
            let there: Vec<&Value> = tasks.iter().filter(of).collect();
            assert!(there.len() <= 1, "run {}: a duplicate: {there:?}", self.seed);
            let in_planner = there.first().map(|task| task["title"].as_str().unwrap());
            let in_redis = match wanted {
                Some(title) => {
                    self.rig.document(&id(*n)).await.is_some_and(|document| document["title"] == *title)
                }
                None => true,
            };
            if in_planner != wanted.as_deref() || !in_redis {
                unsettled.push(*n);
            }
        }
        unsettled
    }

    /// Waits until nothing is unsettled, while the host's ticks go on. What is not in time is told whole.
    async fn settle(&self, what: &str) {
        let start = Instant::now();
        let mut tick = start + Duration::from_secs(30);
        loop {
            let unsettled = self.unsettled().await;
            if unsettled.is_empty() {
                return;
            }
            let now = Instant::now();
            if now > start + Duration::from_secs(SETTLED) {
                let story = self.story(&unsettled).await;
                panic!("run {}: {what}: not within {SETTLED} s:\n{story}", self.seed);
            }
            if now >= tick {
                tick = now + Duration::from_secs(30);
                self.fire();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What is known of tasks that did not settle: what was wanted, what the engine says of each, what failed, and
    /// what the handlers said last.
    async fn story(&self, unsettled: &[usize]) -> String {
        let mut lines = Vec::new();
        for n in unsettled {
            lines.push(format!("task {n}: wanted {:?}", self.wanted[n]));
            lines.push(format!("  in Redis: {:?}", self.rig.document(&id(*n)).await));
            let explained = self.rig.get(&format!("/api/sync/explain/{}", id(*n))).await;
            lines.push(format!("  explained: {:#}", explained.json));
        }
        lines.push(format!("failed: {:?}", self.rig.failed().await));
        let log: Vec<String> = self.redis.clone().lrange(keys::sync_log(), 0, 199).await.unwrap();
        lines.extend(log.iter().rev().map(|entry| format!("log: {entry}")));
        let conflicts = self.rig.get("/api/sync/conflicts?limit=200").await;
        lines.push(format!("conflicts: {}", conflicts.json));
        lines.push(format!("health: {:#}", self.rig.get("/api/sync/status").await.json));
        for (n, host) in self.hosts().into_iter().enumerate() {
            let log = host.log();
            let said = log.iter().rev().take(60).rev().map(|line| format!("host {n}: {}", line.text));
            lines.extend(said);
        }
        lines.join("\n")
    }
}

async fn one(seed: u64) {
    let mut run = Run::start(seed).await;
    for n in 0..STEPS {
        run.step(n).await;
    }
    let start = Instant::now();
    for host in run.hosts() {
        if let Some(pid) = host.handler_pid() {
            signal(pid, "CONT");
        }
    }
    let ready = async || {
        let live = run.hosts().map(|host| host.handler_pid().is_some());
        live == [true, true] && run.rig.get("/api/health/live").await.status == 200
    };
    within(60, &format!("run {seed}: both handlers are there again"), ready).await;
    run.fire();
    run.settle("every task is as it was wanted").await;
    run.deletions().await;
    run.settle("what was deleted is gone").await;
    let settled = start.elapsed();
    let open: usize = run.rig.redis.clone().llen(keys::sync_failed()).await.unwrap();
    let documents: Vec<String> =
        redis::cmd("KEYS").arg(keys::task("planner-*")).query_async(&mut run.redis).await.unwrap();
    assert_eq!(documents.len(), 2, "run {seed}: none of our own tasks was imported as another's");
    run.rig.check(&[&format!("run {seed} task")]);
    say(&format!(
        "kill run {seed}: {} tasks, {} kills, {} standstills, {} restarts of Redis, {} storms: lost 0, duplicate 0, \
         {open} in the failed list; settled {:.1} s after the last fault",
        run.wanted.len(),
        run.kills.iter().sum::<usize>(),
        run.standstills,
        run.restarts,
        run.storms,
        settled.as_secs_f64()
    ));
    run.second.stop().await;
}

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_standstills_restarts_and_storms_lose_nothing_and_make_nothing_twice() {
    let (first, runs) = (setting("ANNIKA_KILL_SEED", 1), setting("ANNIKA_KILL_RUNS", 3));
    let start = Instant::now();
    let seeds: Vec<u64> = (first..first + runs).collect();
    // A few side by side: each spends its time waiting for leases and ticks.
    for group in seeds.chunks(3) {
        futures::future::join_all(group.iter().map(|seed| one(*seed))).await;
    }
    say(&format!(
        "kill runs: {runs} from seed {first}, lost 0, duplicate 0, in {:.1} s",
        start.elapsed().as_secs_f64()
    ));
}
