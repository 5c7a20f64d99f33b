//! Plays one sequence: draws a call, lets a client make it, and holds what happened against the promise.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use annika::{
    clock::SystemRng,
    keys,
    planner::{GUARD, PlannerWorld, RELEASE, RESTORE},
    store::{ScriptCall, Store},
    tasks::{Precondition, TaskError, Tasks, index_entries, pending_entry},
};
use annika_devkit::{
    graph::random::SimRng,
    redis_server::{RedisOptions, RedisServer},
};
use annika_sync::{
    state::TaskState,
    world::{Commit, CommitResult, Observation, Pace, Quota, SeenDetails, World},
};
use redis::aio::MultiplexedConnection;
use serde_json::json;

use super::{
    calls::{Call, Draw, Held, IDS, PLAN, PLANNER_IDS},
    keyspace::Keyspace,
    promises::Step,
};
use crate::{
    planner::{document, world},
    store::{eventually, store_for},
};

const CALLS: usize = 30;
const UPDATE: &str = include_str!("../../../../docs/agents/update.lua");
/// Lets time pass for what is due and claimed.
const PASS: &str = r"
for _, set in ipairs({KEYS[1], KEYS[1] .. ':low'}) do
  for _, id in ipairs(redis.call('ZRANGE', set, 0, -1)) do
    redis.call('ZINCRBY', set, -ARGV[2], id)
    local lease = redis.pcall('HGET', ARGV[1] .. id, 'lease_until')
    if type(lease) == 'string' then redis.call('HINCRBY', ARGV[1] .. id, 'lease_until', -ARGV[2]) end
  end
end";

struct Client {
    world: PlannerWorld,
    tasks: Tasks,
    store: Store,
    held: Vec<Held>,
    /// Its name in leases, once seen.
    name: Option<String>,
}

/// What kind of sequence it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    Fair,
    /// Some key is of another type.
    Spoiled,
    /// Redis is full at times.
    Full,
}

/// A server and its clients; each sequence begins with an empty server.
pub struct Theatre {
    server: RedisServer,
    redis: MultiplexedConnection,
    clients: Vec<Client>,
    /// Calls so far, by name.
    pub counts: BTreeMap<String, usize>,
    story: Vec<String>,
    weather: Weather,
    spoiled: Option<String>,
    full: bool,
}

/// How a call ended, as far as the promises are concerned.
#[derive(Debug)]
enum Outcome {
    Done,
    /// Nothing may have changed.
    Refused(String),
    Claimed(annika_sync::world::Claimed),
    Committed(CommitResult),
    Stored {
        text: String,
    },
    Deleted,
    Ingested(usize),
    Leased(bool),
    Updated(bool),
    Words(Vec<String>),
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn observation() -> Observation {
    Observation {
        plan: PLAN.to_owned(),
        begun_at: 1,
        changed: Vec::new(),
        missing: BTreeMap::new(),
        moved: Vec::new(),
        reappeared: Vec::new(),
        held: Vec::new(),
        total: 1,
    }
}

impl Theatre {
    pub async fn open(module: &Path) -> Self {
        let args = vec!["--loadmodule".to_owned(), module.to_str().unwrap().to_owned()];
        let options = RedisOptions { appendonly: true, args, ..RedisOptions::default() };
        let server = RedisServer::start(options).await.unwrap();
        let redis = server.connect().await.unwrap();
        let client = || Client {
            world: world(&server, Vec::new()),
            tasks: Tasks::new(store_for(&server), SystemRng::shared()),
            held: Vec::new(),
            store: store_for(&server),
            name: None,
        };
        let clients = (0..4).map(|_| client()).collect();
        Self {
            redis,
            clients,
            server,
            counts: BTreeMap::new(),
            story: Vec::new(),
            weather: Weather::Fair,
            spoiled: None,
            full: false,
        }
    }

    pub fn version(&self) -> &str {
        self.server.version()
    }

    /// The calls of the sequence so far.
    pub fn story(&self) -> String {
        self.story.join("\n")
    }

    async fn tell(&mut self, words: &[&str]) {
        let _: redis::Value =
            redis::cmd(words[0]).arg(&words[1..]).query_async(&mut self.redis).await.unwrap();
    }

    pub async fn play(&mut self, seed: u64) {
        let mut random = SimRng::new(seed);
        self.story = vec![format!("seed {seed}")];
        self.set_full(false).await;
        self.tell(&["FLUSHALL"]).await;
        for client in &mut self.clients {
            client.held.clear();
        }
        self.weather = match random.next_u64() % 8 {
            0 => Weather::Spoiled,
            1 => Weather::Full,
            _ => Weather::Fair,
        };
        self.spoiled = None;
        let clients = 2 + usize::try_from(random.next_u64() % 3).unwrap();
        let crash = random.chance(0.1).then(|| usize::try_from(random.next_u64()).unwrap() % CALLS);
        for n in 0..CALLS {
            let before = Keyspace::read(&mut self.redis).await;
            let client = usize::try_from(random.next_u64()).unwrap() % clients;
            let mut held = std::mem::take(&mut self.clients[client].held);
            let rough = self.weather != Weather::Fair;
            let mut call = Draw { random: &mut random, now: &before, rough }.next(&mut held);
            self.clients[client].held = held;
            if Some(n) == crash {
                let during = (!rough && random.chance(0.5)).then(|| Box::new(call));
                call = Call::Crash { during };
            } else if self.weather == Weather::Full && random.chance(0.15) {
                call = Call::Full(!self.full);
            } else if self.weather == Weather::Spoiled && self.spoiled.is_none() && n > 8 {
                self.spoil(&mut random).await;
                continue;
            }
            self.step(client, call, before, &mut random).await;
        }
    }

    /// Puts a value of another type under a key.
    async fn spoil(&mut self, random: &mut SimRng) {
        let id = IDS[usize::try_from(random.next_u64()).unwrap() % IDS.len()];
        let choices = [keys::sync_state(id), keys::sync_state(id), keys::task(id), keys::task(id)];
        let key = choices[usize::try_from(random.next_u64()).unwrap() % choices.len()].clone();
        self.story.push(format!("{key} is a set now"));
        self.tell(&["DEL", &key]).await;
        self.tell(&["SADD", &key, "another type"]).await;
        self.spoiled = Some(key);
    }

    async fn set_full(&mut self, full: bool) {
        self.tell(&["CONFIG", "SET", "maxmemory", if full { "1" } else { "0" }]).await;
        self.full = full;
    }

    async fn step(&mut self, client: usize, call: Call, before: Keyspace, random: &mut SimRng) {
        self.story.push(format!("client {client}: {call:?}"));
        *self.counts.entry(name(&call).to_owned()).or_default() += 1;
        let from = now();
        let outcome = match &call {
            Call::Crash { during } => return self.crash(client, during.as_deref(), before, random).await,
            Call::Plain(commands) => {
                for words in commands {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    self.tell(&words).await;
                }
                return;
            }
            Call::TimePasses { ms } => {
                let ms = ms.to_string();
                return self.tell(&["EVAL", PASS, "1", keys::sync_due(), &keys::sync_state(""), &ms]).await;
            }
            Call::Full(full) => return self.set_full(*full).await,
            Call::Update { .. } => self.update(&call).await,
            _ => make(&self.clients[client], &call).await,
        };
        let to = now();
        self.story.push(format!("    {outcome:?}"));
        let after = Keyspace::read(&mut self.redis).await;
        let step = Step { before: &before, after: &after, from, to };
        if self.weather == Weather::Spoiled {
            self.check_spoiled(&step, &call, &outcome);
        } else {
            self.check(client, &step, &call, &outcome);
            after.check(&IDS);
        }
        if let Outcome::Claimed(claimed) = outcome {
            let ids: Vec<String> = claimed.claims.iter().map(|claim| claim.id.clone()).collect();
            let snapshots = self.clients[client].world.load(&ids).await.unwrap();
            for claim in claimed.claims {
                let snapshot = snapshots.iter().find(|snapshot| snapshot.id == claim.id).cloned();
                self.clients[client].held.extend(snapshot.map(|snapshot| Held { claim, snapshot }));
            }
        }
        if matches!(call, Call::Lease { .. })
            && matches!(outcome_lease(&self.story), Some(true))
            && let Some(name) = after.text(&keys::sync_lock("engine"))
            && self.clients[client].name.is_none()
        {
            self.clients[client].name = Some(name.to_owned());
        }
    }

    /// The agents' script, as the guide tells them to run it.
    async fn update(&mut self, call: &Call) -> Outcome {
        let Call::Update { id, read, text, entry } = call else { unreachable!() };
        assert!(entry.contains(&format!("\"{id}\"")));
        let reply: redis::RedisResult<i64> = redis::cmd("EVAL")
            .arg(UPDATE)
            .arg(2)
            .arg(keys::task(id))
            .arg(keys::sync_pending())
            .arg(read)
            .arg(text)
            .arg(format!("\"{id}\""))
            .query_async(&mut self.redis)
            .await;
        match reply {
            Ok(stored) => Outcome::Updated(stored == 1),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }

    fn check(&self, client: usize, step: &Step<'_>, call: &Call, outcome: &Outcome) {
        if let Outcome::Refused(why) = outcome {
            let planned = matches!(
                call,
                Call::Create { .. }
                    | Call::Replace { .. }
                    | Call::Patch { .. }
                    | Call::Delete { .. }
                    | Call::Update { .. }
            );
            assert!(planned && (self.full || !why.contains("out of memory")), "{why}");
            let needs_memory = !matches!(call, Call::Delete { .. });
            assert!(
                needs_memory || !why.contains("out of memory"),
                "a full Redis lets deletions through: {why}"
            );
            return step.nothing_changed();
        }
        match (call, outcome) {
            (
                Call::Create { id, .. } | Call::Replace { id, .. } | Call::Patch { id, .. },
                Outcome::Stored { text },
            ) => {
                step.document_stored(id, text);
            }
            (Call::Delete { id }, Outcome::Deleted) if step.before.document(id).is_some() => {
                step.document_deleted(id)
            }
            (Call::Create { .. } | Call::Patch { .. } | Call::Delete { .. }, _) => step.nothing_changed(),
            (Call::Mark { ids, delay }, _) => {
                ids.iter().for_each(|id| step.marked(id, *delay));
                step.others_are_untouched(&ids.iter().map(String::as_str).collect::<Vec<_>>());
            }
            (Call::Missing { ids }, _) => {
                for id in ids {
                    step.marked(id, 0);
                    let missed = |keyspace: &Keyspace| keyspace.number(&keys::sync_state(id), "miss");
                    assert_eq!(missed(step.after), missed(step.before) + 1);
                }
            }
            (Call::Claim { limit, lease }, Outcome::Claimed(claimed)) => {
                step.claimed(claimed, *limit, *lease)
            }
            (Call::Commit(commit), Outcome::Committed(CommitResult::Failed)) if self.full => {
                let makes =
                    |write: &annika_sync::world::LocalWrite| write.expected.is_none() && write.new.is_some();
                assert!(commit.write.as_ref().is_some_and(makes), "only a new document needs room");
                step.nothing_changed();
            }
            (Call::Commit(commit), Outcome::Committed(result)) => step.committed(commit, *result),
            (Call::Ingest, Outcome::Ingested(taken)) => step.ingested(*taken),
            (Call::Observe { planner_id, etag }, _) => step.observed(planner_id, etag, PLAN),
            (Call::Absent { planner_id, times }, _) => step.absent(planner_id, *times),
            (Call::Recheck { planner_id, etag, empty }, _) => step.rechecked(planner_id, etag, *empty),
            (Call::Lease { length }, Outcome::Leased(held)) => {
                let mut names: Vec<&str> = Vec::new();
                names.extend(self.clients[client].name.as_deref());
                let key = keys::sync_lock("engine");
                // Seen for the first time: it is nobody else's.
                let others: Vec<&str> =
                    self.clients.iter().filter_map(|client| client.name.as_deref()).collect();
                let fresh =
                    step.after.text(&key).filter(|name| names.is_empty() && !others.contains(name) && *held);
                step.leased(names.first().copied().or(fresh).unwrap_or("nobody's name"), *held, *length);
            }
            (Call::Pause { until }, _) => step.paused(*until),
            (Call::Pace { per_second }, _) => {
                step.paced(self.clients[client].name.as_deref().unwrap_or("nobody's name"), *per_second);
            }
            (Call::Guard { ids, .. }, Outcome::Words(words)) => step.guarded(ids, words),
            (Call::Release, Outcome::Words(ids)) => step.released(ids),
            (Call::Restore { id, read }, Outcome::Words(words)) => step.restored(id, read, &words[0]),
            (Call::Update { id, read, text, entry }, Outcome::Updated(stored)) => {
                step.updated(id, read, text, entry, *stored);
            }
            _ => panic!("{call:?} ended with {outcome:?}"),
        }
    }

    /// Where a key is of another type, a call does all of its work or none, and never writes over that key.
    fn check_spoiled(&self, step: &Step<'_>, call: &Call, outcome: &Outcome) {
        // Taking the engine's lease is two scripts: the lease, and freeing what its last holder had.
        let one_script = !matches!(call, Call::Lease { .. });
        if one_script && matches!(outcome, Outcome::Refused(_) | Outcome::Committed(CommitResult::Failed)) {
            step.nothing_changed();
        }
        if let Some(key) = &self.spoiled {
            let task_of_key = matches!(call, Call::Commit(commit) if keys::sync_state(&commit.id) == *key);
            assert!(step.after.item(key) == step.before.item(key) || task_of_key, "{key} was written over");
        }
    }

    /// kill -9, perhaps in the middle of a call, and a new start: what was answered is still there.
    async fn crash(&mut self, client: usize, during: Option<&Call>, before: Keyspace, random: &mut SimRng) {
        let delay = Duration::from_micros(random.next_u64() % 1_500);
        let from = now();
        let outcome = match during {
            None | Some(Call::Plain(_) | Call::TimePasses { .. } | Call::Update { .. }) => {
                self.server.restart().await.unwrap();
                None
            }
            Some(call) => {
                let kill = async {
                    tokio::time::sleep(delay).await;
                    self.server.restart().await.unwrap();
                };
                let (outcome, ()) = tokio::join!(make(&self.clients[client], call), kill);
                Some(outcome)
            }
        };
        let to = now();
        self.redis = self.server.connect().await.unwrap();
        for client in &self.clients {
            eventually("a client is back", || async {
                client.world.signals().await.is_ok()
                    && client.store.ping().await.is_ok()
                    && !matches!(client.tasks.get("nothing").await, Err(TaskError::Store(_)))
            })
            .await;
        }
        self.story.push(format!("    crash after {delay:?}: {outcome:?}"));
        let after = Keyspace::read(&mut self.redis).await;
        let step = Step { before: &before, after: &after, from, to };
        match (during, &outcome) {
            (None, _) | (_, None) => step.nothing_changed(),
            // Without an answer, or with one that came after a repetition, it may have happened or not.
            (_, Some(Outcome::Refused(_) | Outcome::Committed(_) | Outcome::Leased(_))) => {}
            (Some(call), Some(outcome)) => self.check(client, &step, call, outcome),
        }
        if self.weather != Weather::Spoiled {
            after.check(&IDS);
        }
    }
}

/// Whether the last call took a lease.
fn outcome_lease(story: &[String]) -> Option<bool> {
    story.last().map(|line| line.contains("Leased(true)"))
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Create { .. } => "create",
        Call::Replace { .. } => "replace",
        Call::Patch { .. } => "patch",
        Call::Delete { .. } => "delete",
        Call::Update { .. } => "update",
        Call::Mark { .. } => "mark",
        Call::Missing { .. } => "missing",
        Call::Claim { .. } => "claim",
        Call::Commit(_) => "commit",
        Call::Ingest => "ingest",
        Call::Observe { .. } => "observe",
        Call::Absent { .. } => "absent",
        Call::Recheck { .. } => "recheck",
        Call::Lease { length: 0 } => "give the lease back",
        Call::Lease { .. } => "lease",
        Call::Pause { .. } => "pause",
        Call::Pace { .. } => "pace",
        Call::Guard { .. } => "guard",
        Call::Release => "release",
        Call::Restore { .. } => "restore",
        Call::Plain(_) => "an agent's own commands",
        Call::TimePasses { .. } => "time passes",
        Call::Crash { during: None } => "kill -9",
        Call::Crash { .. } => "kill -9 in a call",
        Call::Full(_) => "full, or no longer",
    }
}

async fn make(client: &Client, call: &Call) -> Outcome {
    let (world, tasks) = (&client.world, &client.tasks);
    let stored = |result: Result<(), annika_sync::world::StoreError>| match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Refused(error.to_string()),
    };
    match call {
        Call::Create { text, key, .. } => match tasks.create(text.as_bytes(), key.as_deref()).await {
            Ok(created) if created.replayed => Outcome::Done,
            Ok(created) => Outcome::Stored { text: text_of(&created.document) },
            Err(error) => Outcome::Refused(error.to_string()),
        },
        Call::Replace { id, text, condition } => {
            let condition = if *condition { Precondition::Exists } else { Precondition::None };
            match tasks.replace(id, text.as_bytes(), &condition).await {
                Ok(replaced) => Outcome::Stored { text: text_of(&replaced.document) },
                Err(error) => Outcome::Refused(error.to_string()),
            }
        }
        Call::Patch { id, patch } => match tasks.patch(id, patch.as_bytes(), &Precondition::None).await {
            Ok(patched) => Outcome::Stored { text: text_of(&patched) },
            Err(error) => Outcome::Refused(error.to_string()),
        },
        Call::Delete { id } => match tasks.delete(id, &Precondition::None).await {
            Ok(()) => Outcome::Deleted,
            Err(error) => Outcome::Refused(error.to_string()),
        },
        Call::Mark { ids, delay } => {
            stored(world.mark(ids, Duration::from_millis(u64::try_from(*delay).unwrap())).await)
        }
        Call::Missing { ids } => stored(world.mark_missing(ids).await.map(|_| ())),
        Call::Claim { limit, lease } => {
            match world
                .claim(Quota::each(*limit), Duration::from_millis(u64::try_from(*lease).unwrap()))
                .await
            {
                Ok(claimed) => Outcome::Claimed(claimed),
                Err(error) => Outcome::Refused(error.to_string()),
            }
        }
        Call::Commit(commit) => commit_one(world, commit).await,
        Call::Ingest => match world.ingest_pending().await {
            Ok(taken) => Outcome::Ingested(taken),
            Err(error) => Outcome::Refused(error.to_string()),
        },
        Call::Observe { planner_id, etag } => {
            let task = json!({"id": planner_id, "@odata.etag": etag, "title": "T", "planId": PLAN});
            stored(world.observe(Observation { changed: vec![task], ..observation() }).await)
        }
        Call::Absent { planner_id, times } => {
            let missing = BTreeMap::from([((*planner_id).to_owned(), *times)]);
            stored(world.observe(Observation { missing, ..observation() }).await)
        }
        Call::Recheck { planner_id, etag, empty } => {
            assert!(PLANNER_IDS.contains(planner_id));
            let seen =
                SeenDetails { planner_id: (*planner_id).to_owned(), etag: etag.clone(), empty: *empty };
            stored(world.recheck_details(&[seen]).await)
        }
        Call::Lease { length: 0 } => match world.release_lease().await {
            Ok(()) => Outcome::Leased(false),
            Err(error) => Outcome::Refused(error.to_string()),
        },
        Call::Lease { length } => {
            match world.hold_lease(Duration::from_millis(u64::try_from(*length).unwrap())).await {
                Ok(held) => Outcome::Leased(held),
                Err(error) => Outcome::Refused(error.to_string()),
            }
        }
        Call::Pause { until } => stored(world.pause_until(*until).await),
        Call::Pace { per_second } => {
            let pace = Pace { per_second: f64::from(*per_second), concurrency: 3, throttled: false };
            stored(world.keep_pace(pace).await)
        }
        Call::Guard { ids, missing } => {
            let call = GUARD
                .call()
                .key(keys::sync_guard("up"))
                .key(keys::sync_guard_held("up"))
                .key(keys::sync_index())
                .arg("up")
                .num(GUARD_WINDOW)
                .num(GUARD_LEAST)
                .num(50)
                .num(*missing)
                .num(10)
                .arg(keys::sync_state(""));
            script(client, ids.iter().fold(call, |call, id| call.arg(id))).await
        }
        Call::Release => {
            let call = RELEASE.call().key(keys::sync_guard("up")).key(keys::sync_guard_held("up"));
            script(client, call.arg("up").arg(keys::sync_state(""))).await
        }
        Call::Restore { id, read } => script(client, restore(id, read)).await,
        Call::Update { .. }
        | Call::Plain(_)
        | Call::TimePasses { .. }
        | Call::Crash { .. }
        | Call::Full(_) => {
            unreachable!("not a client's call")
        }
    }
}

/// What the guard of these sequences lets through, and for how long it counts it, ms.
pub const GUARD_LEAST: i64 = 2;
const GUARD_WINDOW: i64 = 60_000;

fn restore(id: &str, read: &str) -> ScriptCall {
    let read_as = if read.starts_with('{') { read } else { "{}" };
    RESTORE
        .call()
        .key(keys::task(id))
        .key(keys::sync_state(id))
        .key(keys::sync_due())
        .key(keys::sync_pending())
        .key(keys::tasks_entries())
        .key(keys::sync_tomb(id))
        .key(format!("{}:planner", keys::sync_tomb(id)))
        .key(keys::sync_tombs())
        .arg(id)
        .arg(read)
        .arg(read_as)
        .arg(serde_json::to_string(&TaskState::default()).unwrap())
        .arg(pending_entry(id))
        .arg(index_entries(&document(read_as)).join("\n"))
        .arg(format!("\"{id}\""))
        .arg(keys::tasks_updates())
        .arg(keys::pubsub_tasks())
}

/// Runs a script that is not reached through a task's own calls.
async fn script(client: &Client, call: ScriptCall) -> Outcome {
    match client.store.run(&call).await {
        Ok(redis::Value::Array(words)) => {
            Outcome::Words(words.into_iter().map(|word| redis::from_redis_value(word).unwrap()).collect())
        }
        Ok(word) => Outcome::Words(vec![redis::from_redis_value(word).unwrap()]),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

fn text_of(document: &annika_sync::lens::Document) -> String {
    String::from_utf8(document.bytes()).unwrap()
}

async fn commit_one(world: &PlannerWorld, commit: &Commit) -> Outcome {
    match world.commit(vec![commit.clone()]).await {
        Ok(results) => Outcome::Committed(results[0]),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}
