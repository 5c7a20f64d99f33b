//! What is remembered of each plan's last complete list, and what a new one changes.

use std::collections::BTreeMap;

use annika_sync::{
    state::TaskState,
    world::{Bequest, KnownPlan, Observation, PlanSchedule, SeenDetails},
};
use redis::{Cmd, Value};
use serde_json::Value as Json;

use super::scripts::{HOLD, KEEP, NOTE, OBSERVE};
use crate::{
    keys,
    store::{ScriptCall, Store, StoreError, command, read},
    tasks::pending_entry,
};

/// Prefix of the ids of imported tasks; the rest is Planner's id (sync.md correction 12).
const IMPORTED: &str = "planner-";
/// Tasks in one round trip.
const CHUNK: usize = 500;

/// What is remembered of `plans`, in their order. One round trip.
pub(super) async fn known(store: &Store, plans: &[String]) -> Result<Vec<KnownPlan>, StoreError> {
    let commands: Vec<Cmd> = plans
        .iter()
        .flat_map(|plan| {
            let mut poll = command("HMGET", &keys::sync_poll(plan));
            poll.arg("missing").arg("details_cursor");
            [command("HGETALL", &keys::sync_remote(plan)), poll]
        })
        .collect();
    let mut replies = store.pipeline(&commands).await.into_iter();
    let missing_reply = || Err(StoreError::other("a reply is missing"));
    let mut known = Vec::with_capacity(plans.len());
    for _ in plans {
        let etags: Vec<(String, String)> = read(replies.next().unwrap_or_else(missing_reply)?)?;
        let (missing, cursor): (Option<String>, Option<String>) =
            read(replies.next().unwrap_or_else(missing_reply)?)?;
        let missing: BTreeMap<String, u32> =
            missing.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let details_cursor = cursor.unwrap_or_default();
        known.push(KnownPlan { etags: etags.into_iter().collect(), missing, details_cursor });
    }
    Ok(known)
}

/// When `plans` were listed and are next, in their order. One round trip.
pub(super) async fn schedules(store: &Store, plans: &[String]) -> Result<Vec<PlanSchedule>, StoreError> {
    let reads: Vec<Cmd> = plans
        .iter()
        .map(|plan| {
            let mut get = command("HMGET", &keys::sync_poll(plan));
            get.arg(&["begun_at", "changed_at", "next_at", "requests", "failures"]);
            get
        })
        .collect();
    let schedule = |reply: Result<Value, StoreError>| {
        type Fields = (Option<i64>, Option<i64>, Option<i64>, Option<u32>, Option<u32>);
        let (begun_at, changed_at, next_at, requests, failures): Fields = read(reply?)?;
        Ok(PlanSchedule {
            begun_at: begun_at.unwrap_or(0),
            changed_at: changed_at.unwrap_or(0),
            next_at: next_at.unwrap_or(0),
            requests: requests.unwrap_or(0),
            failures: failures.unwrap_or(0),
        })
    };
    store.pipeline(&reads).await.into_iter().map(schedule).collect()
}

/// Remembers when plans were listed and are next. One round trip.
pub(super) async fn keep_schedules(
    store: &Store,
    schedules: &[(String, PlanSchedule)],
) -> Result<(), StoreError> {
    let keep = |(plan, schedule): &(String, PlanSchedule)| {
        let PlanSchedule { begun_at, changed_at, next_at, requests, failures } = *schedule;
        let call = KEEP.call().key(keys::sync_poll(plan));
        let call = call.arg("begun_at").num(begun_at).arg("changed_at").num(changed_at);
        let call = call.arg("next_at").num(next_at).arg("requests").num(requests.into());
        call.arg("failures").num(failures.into())
    };
    let calls: Vec<ScriptCall> = schedules.iter().map(keep).collect();
    for reply in store.run_many(&calls).await {
        reply?;
    }
    Ok(())
}

/// Stores what a complete list showed and marks what changed.
///
/// `epoch` is what the engine read last, see `same_epoch.lua`.
pub(super) async fn observe(
    store: &Store,
    observation: &Observation,
    now: i64,
    epoch: &str,
) -> Result<(), StoreError> {
    for tasks in observation.changed.chunks(CHUNK) {
        observe_tasks(store, &observation.plan, tasks, epoch).await?;
    }
    let reappeared = observation.reappeared.iter().map(|id| (id.as_str(), String::new()));
    let missing = observation.missing.iter().map(|(id, times)| (id.as_str(), times.to_string()));
    let notes: Vec<(&str, String)> = missing.chain(reappeared).collect();
    for notes in notes.chunks(CHUNK) {
        let forgotten = note(store, notes, "absent").await?;
        if !forgotten.is_empty() {
            let mut forget = command("HDEL", &keys::sync_remote(&observation.plan));
            forget.arg(&forgotten);
            store.command::<i64>(&forget).await?;
        }
    }
    if !observation.moved.is_empty() {
        let mut forget = command("HDEL", &keys::sync_remote(&observation.plan));
        forget.arg(&observation.moved);
        store.command::<i64>(&forget).await?;
    }
    let missing = serde_json::to_string(&observation.missing).unwrap_or_default();
    let total = i64::try_from(observation.total).unwrap_or(i64::MAX);
    let poll = KEEP.call().key(keys::sync_poll(&observation.plan));
    let poll = poll.arg("missing").arg(missing).arg("total").num(total);
    for reply in store.run_many(&[poll, hold(observation, now)]).await {
        reply?;
    }
    Ok(())
}

/// What the map says of a Planner task that a task was before it was moved to another plan: no task's, and not to be
/// imported.
pub(super) fn left_by(id: &str) -> String {
    format!("{LEFT}{id}")
}

fn is_left(owner: Option<&str>) -> bool {
    owner.is_some_and(|owner| owner.starts_with(LEFT))
}

/// No id of a task begins with it.
const LEFT: char = '~';

pub(super) async fn owners(store: &Store, planner_ids: &[&str]) -> Result<Vec<Option<String>>, StoreError> {
    let gets: Vec<Cmd> = planner_ids.iter().map(|id| command("GET", &keys::sync_rmap(id))).collect();
    store.pipeline(&gets).await.into_iter().map(|reply| read(reply?)).collect()
}

/// The tasks that are known to be in a plan.
pub(super) async fn tasks_of(store: &Store, plan: &str) -> Result<Vec<String>, StoreError> {
    let planner_ids: Vec<String> = store.command(&command("HKEYS", &keys::sync_remote(plan))).await?;
    let mut ids = Vec::new();
    for chunk in planner_ids.chunks(CHUNK) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        ids.extend(owners(store, &chunk).await?.into_iter().flatten());
    }
    Ok(ids)
}

async fn observe_tasks(store: &Store, plan: &str, tasks: &[Json], epoch: &str) -> Result<(), StoreError> {
    let text = |task: &Json, name: &str| task.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let planner_ids: Vec<String> = tasks.iter().map(|task| text(task, "id")).collect();
    let ids: Vec<&str> = planner_ids.iter().map(String::as_str).collect();
    let owners = owners(store, &ids).await?;
    let unknown: Vec<&str> =
        ids.iter().zip(&owners).filter(|(_, owner)| owner.is_none()).map(|(id, _)| *id).collect();
    let mut dead = dead(store, &unknown).await?.into_iter();
    let seconds = i64::from(keys::PLANNER_TASK.ttl_s().unwrap_or_default());
    let calls: Vec<_> = tasks
        .iter()
        .zip(planner_ids.iter().zip(owners))
        .filter(|(_, (_, owner))| !is_left(owner.as_deref()))
        .map(|(task, (planner_id, owner))| {
            let former = if owner.is_none() { dead.next().flatten() } else { None };
            let id = owner.clone().or(former).unwrap_or_else(|| format!("{IMPORTED}{planner_id}"));
            let state = TaskState { planner_id: Some(planner_id.clone()), ..TaskState::default() };
            OBSERVE
                .call()
                .key(keys::sync_rmap(planner_id))
                .key(keys::planner_task(planner_id))
                .key(keys::sync_state(&id))
                .key(keys::sync_due())
                .key(keys::sync_pending())
                .key(keys::sync_remote(plan))
                .key(keys::sync_gone(planner_id))
                .key(keys::sync_epoch())
                .arg(owner.unwrap_or_default())
                .arg(&id)
                .arg(planner_id)
                .arg(text(task, "@odata.etag"))
                .arg(task.to_string())
                .num(seconds)
                .arg(pending_entry(&id))
                .arg(serde_json::to_string(&state).unwrap_or_default())
                .arg(epoch)
        })
        .collect();
    for reply in store.run_many(&calls).await {
        reply?;
    }
    Ok(())
}

/// Writes one state field of each Planner task's task and marks it; says which Planner ids are no task's.
async fn note(store: &Store, notes: &[(&str, String)], field: &str) -> Result<Vec<String>, StoreError> {
    let ids: Vec<&str> = notes.iter().map(|(id, _)| *id).collect();
    let owners = owners(store, &ids).await?;
    let mut calls = Vec::new();
    let mut unknown = Vec::new();
    for ((planner_id, value), owner) in notes.iter().zip(owners) {
        match owner {
            owner if is_left(owner.as_deref()) => {}
            Some(owner) => calls.push(note_call(planner_id, &owner, field, value, "").arg("")),
            None => unknown.push((*planner_id).to_owned()),
        }
    }
    for reply in store.run_many(&calls).await {
        reply?;
    }
    Ok(unknown)
}

fn note_call(
    planner_id: &str,
    owner: &str,
    field: &str,
    value: &str,
    etag: &str,
) -> crate::store::ScriptCall {
    NOTE.call()
        .key(keys::sync_rmap(planner_id))
        .key(keys::sync_state(owner))
        .key(keys::sync_due())
        .key(keys::sync_pending())
        .key(keys::planner_etag_details(planner_id))
        .arg(owner)
        .arg(field)
        .arg(value)
        .arg(pending_entry(owner))
        .arg(etag)
}

/// Notes for the owners of Planner tasks that other documents had them before.
pub(super) async fn bequeath(store: &Store, bequests: &[Bequest]) -> Result<(), StoreError> {
    let call =
        |bequest: &Bequest| note_call(&bequest.planner_id, &bequest.owner, "heir", &bequest.heir, "").arg("");
    let calls: Vec<_> = bequests.iter().map(call).collect();
    for reply in store.run_many(&calls).await {
        reply?;
    }
    Ok(())
}

/// For Planner tasks without a task: the deleted task that each was, where nothing of that id is there by now.
async fn dead(store: &Store, planner_ids: &[&str]) -> Result<Vec<Option<String>>, StoreError> {
    let gets: Vec<Cmd> = planner_ids.iter().map(|id| command("GET", &keys::sync_dead(id))).collect();
    let mut found = Vec::with_capacity(planner_ids.len());
    for reply in store.pipeline(&gets).await {
        let id: Option<String> = read(reply?)?;
        let free = match &id {
            None => false,
            Some(id) => {
                let mut record = command("HEXISTS", &keys::sync_state(id));
                record.arg("record");
                let mut there = false;
                for reply in store.pipeline(&[command("EXISTS", &keys::task(id)), record]).await {
                    there |= read::<bool>(reply?)?;
                }
                !there
            }
        };
        found.push(id.filter(|_| free));
    }
    Ok(found)
}

/// Marks the tasks whose stored details ETag is another one, or that have none stored and details with content.
pub(super) async fn recheck_details(store: &Store, seen: &[SeenDetails]) -> Result<(), StoreError> {
    let ids: Vec<&str> = seen.iter().map(|seen| seen.planner_id.as_str()).collect();
    let owners = owners(store, &ids).await?;
    let calls: Vec<_> = seen
        .iter()
        .zip(owners)
        .filter(|(_, owner)| !is_left(owner.as_deref()))
        .filter_map(|(seen, owner)| {
            let empty = if seen.empty { "empty" } else { "" };
            Some(note_call(&seen.planner_id, &owner?, "recheck", "1", &seen.etag).arg(empty))
        })
        .collect();
    for reply in store.run_many(&calls).await {
        reply?;
    }
    Ok(())
}

/// The field of a held task in the hash of those; a script writes it.
pub(super) fn held_field(plan: &str, planner_id: &str) -> String {
    format!("{HELD}{plan}\n{planner_id}")
}

/// Whether a field of the hash of held tasks is such a task.
pub(in crate::planner) fn is_held_task(field: &str) -> bool {
    field.starts_with(HELD)
}

const HELD: &str = "task\n";
const SINCE: &str = "since\n";

/// What is known for open creates: the held tasks of all plans, and since when a plan's lists held none.
pub(super) fn read_held(reply: redis::Value) -> Result<(Vec<Json>, BTreeMap<String, i64>), StoreError> {
    let fields: Vec<(String, Vec<u8>)> = read(reply)?;
    let (mut tasks, mut clean) = (Vec::new(), BTreeMap::new());
    for (field, value) in fields {
        let broken = |error: serde_json::Error| StoreError::other(error.to_string());
        if field.starts_with(HELD) {
            tasks.push(serde_json::from_slice(&value).map_err(broken)?);
        } else if let Some(plan) = field.strip_prefix(SINCE) {
            clean.insert(plan.to_owned(), serde_json::from_slice(&value).map_err(broken)?);
        }
    }
    Ok((tasks, clean))
}

/// The call that keeps the tasks that may belong to open creates; the engine marks those creates.
fn hold(observation: &Observation, now: i64) -> ScriptCall {
    let call = HOLD
        .call()
        .key(keys::sync_orphans())
        .keys(observation.held.iter().map(|task| keys::sync_gone(planner_id(task))))
        .arg(&observation.plan)
        .num(observation.begun_at)
        .num(i64::from(keys::SYNC_ORPHANS.ttl_s().unwrap_or_default()));
    if !observation.held.is_empty() {
        tracing::info!(
            plan_id = observation.plan,
            held = observation.held.len(),
            at = now,
            "tasks of ours that no document claims are held"
        );
    }
    observation.held.iter().fold(call, |call, task| call.arg(planner_id(task)).arg(task.to_string()))
}

fn planner_id(task: &Json) -> &str {
    task.get("id").and_then(Json::as_str).unwrap_or_default()
}
