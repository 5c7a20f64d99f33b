//! Plays one sequence: draws a call, lets a client make it, and holds what happened against the promise.

use std::{collections::BTreeMap, path::Path, time::Duration};

use annika::{
    clock::SystemRng,
    keys,
    tasks::{TaskError, Tasks},
};
use annika_devkit::{
    graph::random::SimRng,
    redis_server::{RedisOptions, RedisServer},
};
use annika_sync::world::{CommitResult, Next, World};
use redis::aio::MultiplexedConnection;

use super::{
    calls::{Call, Draw, Held, IDS, PLAN},
    clients::{Client, Outcome, make, now},
    keyspace::Keyspace,
    promises::Step,
};
use crate::{
    planner::world,
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
        let lock = keys::sync_lock("engine");
        if matches!(outcome, Outcome::Leased(true)) && before.text(&lock) != after.text(&lock) {
            // Then the last holder's claims are freed.
            *self.counts.entry("take the lease".to_owned()).or_default() += 1;
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
                let begins = commit.durable && commit.next == Next::Hold;
                let needs_room = begins || commit.write.as_ref().is_some_and(makes);
                assert!(needs_room, "only a new document and a begun create need room");
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
            (Call::Age { id, read, digest }, Outcome::Words(words)) => step.aged(id, read, digest, &words[0]),
            (Call::Hold { begun, tasks }, Outcome::Words(words)) => step.held(*begun, tasks, &words[0]),
            (Call::Swap { kind, key, field, read, text }, Outcome::Words(words)) => {
                step.swapped([kind, key, field, read, text], &words[0]);
            }
            (Call::Erase(erase), Outcome::Words(words)) => step.erased(erase, &words[0]),
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
        Call::Age { .. } => "age",
        Call::Hold { .. } => "hold",
        Call::Swap { .. } => "swap",
        Call::Erase(_) => "erase",
        Call::Plain(_) => "an agent's own commands",
        Call::TimePasses { .. } => "time passes",
        Call::Crash { during: None } => "kill -9",
        Call::Crash { .. } => "kill -9 in a call",
        Call::Full(_) => "full, or no longer",
    }
}
