//! How a client makes its calls: through the world and the tasks, or as the script itself.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use annika::{
    erasure, keys,
    planner::{AGE, GUARD, HOLD, PlannerWorld, RELEASE, RESTORE},
    store::{ScriptCall, Store},
    tasks::{Precondition, Tasks, index_entries, pending_entry},
};
use annika_sync::{
    state::{TaskState, digest},
    world::{Commit, CommitResult, Observation, Pace, Quota, SeenDetails, World},
};
use serde_json::json;

use super::calls::{Call, Erase, Held, PLAN, PLANNER_IDS};
use crate::planner::document;

/// One of those that call.
pub struct Client {
    pub world: PlannerWorld,
    pub tasks: Tasks,
    pub store: Store,
    pub held: Vec<Held>,
    /// Its name in leases, once seen.
    pub name: Option<String>,
}

/// How a call ended, as far as the promises are concerned.
#[derive(Debug)]
pub enum Outcome {
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

/// Milliseconds of this machine's clock, which is the server's too.
pub fn now() -> i64 {
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

/// Makes a client's call.
pub async fn make(client: &Client, call: &Call) -> Outcome {
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
        Call::Age { id, read, digest } => {
            let call = AGE
                .call()
                .key(keys::task(id))
                .key(keys::sync_state(id))
                .key(keys::sync_due())
                .key(keys::sync_index())
                .key(keys::tasks_entries())
                .key(keys::sync_aging());
            script(client, call.arg(id).arg(read).arg(digest).arg("absent")).await
        }
        Call::Hold { begun, tasks } => {
            let gone = tasks.iter().map(|id| keys::sync_gone(id));
            let call =
                HOLD.call().key(keys::sync_orphans()).keys(gone).arg(PLAN).num(*begun).num(HOLD_SECONDS);
            let task = |id: &str| json!({"id": id, "begun": begun}).to_string();
            script(client, tasks.iter().fold(call, |call, id| call.arg(id).arg(task(id)))).await
        }
        Call::Swap { kind, key, field, read, text } => {
            let call = erasure::SWAP.call().key(key).arg(kind).arg(field);
            script(client, call.arg(read).arg(text)).await
        }
        Call::Erase(erase) => script(client, erase_call(erase)).await,
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

/// How long these sequences keep what is held, seconds.
pub const HOLD_SECONDS: i64 = 500;

fn erase_call(erase: &Erase) -> ScriptCall {
    let (old, new) = (digest(erase.read.as_bytes()), digest(erase.text.as_bytes()));
    let wanted = match erase.text.as_str() {
        "" => "-".to_owned(),
        text => index_entries(&document(text)).join("\n"),
    };
    erasure::TASK
        .call()
        .key(keys::task(erase.id))
        .key(keys::sync_state(erase.id))
        .key(keys::tasks_entries())
        .key(keys::sync_index())
        .arg(erase.id)
        .arg(&erase.read)
        .arg(&erase.text)
        .arg(&erase.record)
        .arg(&erase.new_record)
        .arg(wanted)
        .arg(old)
        .arg(new)
        .num(now())
        .arg(format!("\"{}\"", erase.id))
        .arg(keys::tasks_updates())
}

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
