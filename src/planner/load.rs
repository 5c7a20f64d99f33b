//! Reading tasks for the engine: document, state, Planner's copy; everything of a group in one or two round trips.

use std::collections::BTreeMap;

use annika_sync::{
    lens::{self, Document},
    state::TaskState,
    world::{Direction, GuardNote, Inheritance, Local, Notes, OpenCreate, Parent, Snapshot},
};
use redis::Value;

use super::{inheritance, lists, users};
use crate::{
    keys,
    store::{Store, StoreError, StoreErrorKind, command, read},
    tasks,
};

/// What `PTTL` answers where there is no key.
const NO_KEY: i64 = -2;
/// What every member that names a parent has in its own name.
const PARENT: &[u8] = b"parent";
/// Commands for each task in the first round trip.
const READS: usize = 4;
/// Children that a parent makes due at a time: five times as many as it can have items. Of more than these, those that
/// are left out look at their parent by themselves, later.
const CHILDREN: usize = 100;

/// The snapshots of `ids`. A task whose state cannot be read is told and left out: it stops no other.
pub(super) async fn snapshots(store: &Store, ids: &[String]) -> Result<Vec<Snapshot>, StoreError> {
    let mut commands = Vec::with_capacity(ids.len() * READS + 1);
    commands.push(redis::cmd("TIME"));
    for id in ids {
        commands.push(tasks::bounded_get(&keys::task(id)));
        commands.push(command("PTTL", &keys::task(id)));
        let mut state = command("HMGET", &keys::sync_state(id));
        state.arg(&["record", "hint", "del", "miss", "absent", "recheck", "seen_etag", "retry", "guard"]);
        state.arg(&["heir", "marked_at", "aged"]);
        commands.push(state);
        commands.push(command("SRANDMEMBER", &keys::sync_children(id)).arg(CHILDREN).clone());
    }
    let mut replies = store.pipeline(&commands).await.into_iter();
    let missing = || Err(StoreError::other("a reply is missing"));
    let (seconds, micros): (i64, i64) = read(replies.next().unwrap_or_else(missing)?)?;
    let now = seconds * 1_000 + micros / 1_000;
    let mut snapshots = Vec::with_capacity(ids.len());
    for id in ids {
        let document = replies.next().unwrap_or_else(missing);
        let ttl = replies.next().unwrap_or_else(missing);
        let state = replies.next().unwrap_or_else(missing);
        let children = replies.next().unwrap_or_else(missing);
        let local = local(store, id, document, ttl?).await?;
        match state {
            Err(error) if error.kind == StoreErrorKind::WrongType => unreadable(id, "another type"),
            Err(error) => return Err(error),
            Ok(state) => match snapshot(id, local, state, now) {
                Ok(mut snapshot) => {
                    snapshot.children = read(children?)?;
                    snapshots.push(snapshot);
                }
                Err(error) => unreadable(id, &error.message),
            },
        }
    }
    complete(store, &mut snapshots).await?;
    Ok(snapshots)
}

fn unreadable(id: &str, why: &str) {
    tracing::error!(
        task_id = id,
        code = "state_unreadable",
        "the sync's state of a task cannot be read, and the task is left alone: {why}"
    );
}

async fn local(
    store: &Store,
    id: &str,
    document: Result<Value, StoreError>,
    ttl: Value,
) -> Result<Local, StoreError> {
    let ttl = read::<i64>(ttl)?;
    let (is_there, expires) = (ttl != NO_KEY, ttl >= 0);
    let text = match document {
        Ok(value) => read::<Option<Vec<u8>>>(value)?.filter(|_| is_there),
        Err(error) if error.kind == StoreErrorKind::WrongType => {
            match tasks::texts(store, &[keys::task(id)]).await.pop() {
                Some(Ok(text)) => text,
                Some(Err(error)) if error.kind == StoreErrorKind::WrongType => {
                    return Ok(Local::Unreadable {
                        code: "wrong_type",
                        message: "the key of this task holds another type than a string or a RedisJSON value"
                            .to_owned(),
                    });
                }
                Some(Err(error)) => return Err(error),
                None => return Err(StoreError::other("a reply is missing")),
            }
        }
        Err(error) => return Err(error),
    };
    Ok(text.map_or(Local::Missing, |bytes| Local::Present { bytes, expires }))
}

type StateReply = (
    Option<Vec<u8>>,
    Option<u64>,
    Option<String>,
    Option<u32>,
    Option<u32>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
);

/// What the guard's scripts note about a task.
fn guard_note(text: &str) -> Option<GuardNote> {
    let (note, word) = text.split_once(':')?;
    let direction =
        [Direction::Up, Direction::Down].into_iter().find(|direction| direction.word() == word)?;
    match note {
        "held" => Some(GuardNote::Held(direction)),
        "released" => Some(GuardNote::Released(direction)),
        _ => None,
    }
}

/// `now` is Redis's clock in ms, by which marks are dated.
fn snapshot(id: &str, local: Local, state: Value, now: i64) -> Result<Snapshot, StoreError> {
    let reply: StateReply = read(state)?;
    let (record, hint, deleted, missed, absent, recheck, seen_etag, retry, guard, heir, marked_at, aged) =
        reply;
    let notes = Notes { retry: retry.is_some(), guard: guard.as_deref().and_then(guard_note), heir };
    let mut state = match record {
        None => TaskState::default(),
        Some(record) => {
            serde_json::from_slice(&record).map_err(|error| StoreError::other(error.to_string()))?
        }
    };
    // A document that was taken out because the task is completed has run out of time: it was not deleted.
    state.expires |= aged.is_some() && local == Local::Missing;
    Ok(Snapshot {
        id: id.to_owned(),
        local,
        state,
        observed: None,
        observed_etag: seen_etag,
        waited_ms: marked_at.map(|at| (now - at).max(0)),
        hint: hint.unwrap_or(0),
        delete_event: deleted.is_some(),
        missed_sweeps: missed.unwrap_or(0),
        absent_lists: absent.unwrap_or(0),
        recheck_details: recheck.is_some(),
        notes,
        stamp_owner: None,
        inheritance: Inheritance::None,
        tomb: None,
        orphans: Vec::new(),
        clean_since: BTreeMap::new(),
        open_creates: Vec::new(),
        users: BTreeMap::new(),
        users_unanswered: false,
        children: Vec::new(),
        parent: None,
    })
}

/// What only some tasks need: Planner's copy, the owner of a stamp, the tasks that may explain an open create.
async fn complete(store: &Store, snapshots: &mut [Snapshot]) -> Result<(), StoreError> {
    enum Want {
        Observed,
        Owner(String),
        User(String),
        Tomb,
        /// Three replies: document, time to live, state.
        Parent(String),
    }
    let mut commands = Vec::new();
    let mut wants = Vec::new();
    for (index, snapshot) in snapshots.iter().enumerate() {
        if let Some(planner_id) = &snapshot.state.planner_id {
            let known = snapshot.state.remote.as_ref().map(|remote| remote.etag.as_str());
            let gone = matches!(snapshot.local, Local::Missing) || snapshot.state.gone.is_some();
            if gone && snapshot.state.base.is_empty() && snapshot.state.current.is_empty() {
                commands.push(command("GET", &keys::sync_tomb(&snapshot.id)));
                wants.push((index, Want::Tomb));
            }
            if snapshot.observed_etag.as_deref().is_some_and(|seen| Some(seen) != known) || gone {
                commands.push(command("GET", &keys::planner_task(planner_id)));
                wants.push((index, Want::Observed));
            }
        } else if snapshot.state.create.is_none()
            && let Some(planner_id) = claimed_id(snapshot)
        {
            commands.push(command("GET", &keys::sync_rmap(&planner_id)));
            wants.push((index, Want::Owner(planner_id)));
        }
    }
    for (index, snapshot) in snapshots.iter().enumerate() {
        for name in users::names(&snapshot.local) {
            commands.push(command("GET", &keys::directory_name(&users::name_hash(&name))));
            wants.push((index, Want::User(name)));
        }
    }
    for (index, snapshot) in snapshots.iter().enumerate() {
        if let Some(parent) = parent_of(snapshot) {
            commands.push(tasks::bounded_get(&keys::task(&parent)));
            commands.push(command("PTTL", &keys::task(&parent)));
            let mut state = command("HMGET", &keys::sync_state(&parent));
            commands.push(state.arg("record").arg("aged").clone());
            wants.push((index, Want::Parent(parent)));
        }
    }
    // These two are taken off the end.
    let open = snapshots.iter().any(|snapshot| snapshot.state.create.is_some());
    if open {
        commands.push(command("HGETALL", keys::sync_orphans()));
        commands.push(command("HGETALL", keys::sync_creates()));
    }
    if commands.is_empty() {
        return Ok(());
    }
    let mut replies = store.pipeline(&commands).await;
    if open {
        let mut missing = || replies.pop().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
        let creates = read_creates(missing()?)?;
        let (orphans, clean) = lists::read_held(missing()?)?;
        for snapshot in snapshots.iter_mut().filter(|snapshot| snapshot.state.create.is_some()) {
            snapshot.orphans.clone_from(&orphans);
            snapshot.clean_since.clone_from(&clean);
            snapshot.open_creates.clone_from(&creates);
        }
    }
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Err(StoreError::other("a reply is missing")));
    for (index, want) in wants {
        let reply = next();
        let Some(snapshot) = snapshots.get_mut(index) else { continue };
        match want {
            Want::Observed => {
                let text: Option<Vec<u8>> = read(reply?)?;
                snapshot.observed = text.and_then(|text| serde_json::from_slice(&text).ok());
            }
            Want::User(name) => {
                if let Some(id) = read::<Option<String>>(reply?)? {
                    snapshot.users.insert(name, Some(id).filter(|id| !id.is_empty()));
                }
            }
            Want::Tomb => snapshot.tomb = read(reply?)?,
            Want::Parent(id) => {
                let (ttl, record) = (next(), next());
                let local = local(store, &id, reply, ttl?).await?;
                let (record, aged): (Option<Vec<u8>>, Option<String>) = read(record?)?;
                let state = record.map(|record| serde_json::from_slice::<TaskState>(&record)).transpose();
                match state {
                    Ok(state) => {
                        let mut state = state.unwrap_or_default();
                        state.expires |= aged.is_some() && local == Local::Missing;
                        snapshot.parent = Some(Parent { id, local, state });
                    }
                    Err(error) => unreadable(&id, &error.to_string()),
                }
            }
            Want::Owner(planner_id) => {
                let owner: Option<String> = read(reply?)?;
                snapshot.stamp_owner = owner.filter(|owner| *owner != snapshot.id);
                if let (Some(owner), Some(rev)) = (&snapshot.stamp_owner, stamped_rev(snapshot)) {
                    snapshot.inheritance = inheritance::of(store, &planner_id, owner, &rev).await?;
                }
            }
        }
    }
    Ok(())
}

/// The stamp of a document that names a Planner task.
fn stamped_rev(snapshot: &Snapshot) -> Option<String> {
    let Local::Present { bytes, .. } = &snapshot.local else { return None };
    let stamp = Document::parse(bytes).ok()?.sync_stamp()?;
    (!stamp.planner_id.is_empty()).then_some(stamp.rev)
}

/// The task of which a document is, or wants to be, an item.
fn parent_of(snapshot: &Snapshot) -> Option<String> {
    if let Some(child) = &snapshot.state.child {
        return Some(child.parent.clone());
    }
    let Local::Present { bytes, .. } = &snapshot.local else { return None };
    // Few documents name a parent: the others are not read twice for this.
    let may_name = bytes.windows(PARENT.len()).any(|window| window == PARENT);
    let document = may_name.then(|| Document::parse(bytes).ok()).flatten()?;
    lens::named_parent(&document, &snapshot.id)
}

/// The Planner id that an unmapped document claims to have.
fn claimed_id(snapshot: &Snapshot) -> Option<String> {
    let Local::Present { bytes, .. } = &snapshot.local else { return None };
    let stamp = Document::parse(bytes).ok()?.sync_stamp();
    let stamped = stamp.map(|stamp| stamp.planner_id).filter(|id| !id.is_empty());
    stamped.or_else(|| snapshot.id.strip_prefix("planner-").map(str::to_owned))
}

/// Every create whose outcome is not stored.
pub(super) async fn open_creates(store: &Store) -> Result<Vec<OpenCreate>, StoreError> {
    read_creates(store.command(&command("HGETALL", keys::sync_creates())).await?)
}

/// An entry that cannot be read is an error: without it a task that is being created would be imported.
fn read_creates(reply: Value) -> Result<Vec<OpenCreate>, StoreError> {
    let entries: Vec<(String, Vec<u8>)> = read(reply)?;
    let open = |(id, text): (String, Vec<u8>)| {
        let attempts = serde_json::from_slice(&text).map_err(|error| StoreError::other(error.to_string()))?;
        Ok(OpenCreate { id, attempts })
    };
    entries.into_iter().map(open).collect()
}
