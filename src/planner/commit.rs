//! One step of the engine as one call of the commit script: state, document, maps, caches, lists and messages.

use annika_sync::{
    lens::{Field, Value},
    state::TaskState,
    world::{Announce, Commit, CommitResult, DEBOUNCE, Event, FoundUser, Next, RemoteCopy, Unmapped},
};
use serde_json::{Value as Json, json};

use super::{
    lists,
    scripts::{COMMIT, Commands},
    sweep, users,
    world::millis,
};
use crate::{
    keys,
    store::{ScriptCall, StoreError},
    tasks::{index_entries, pending_entry},
};

/// Entries that the sync log keeps.
const LOG_LENGTH: i64 = 1_000;
/// Entries that the conflict stream keeps, about.
const CONFLICTS_LENGTH: i64 = 10_000;

/// The call that stores `commit`. `now` is in ms.
pub(super) fn call(commit: &Commit, now: i64) -> ScriptCall {
    let id = commit.id.as_str();
    let (expectation, expected) = match commit.write.as_ref() {
        None if commit.expect_absent => ("absent", &[][..]),
        None => ("none", &[][..]),
        Some(write) => match &write.expected {
            None => ("absent", &[][..]),
            Some(bytes) => ("exact", bytes.as_slice()),
        },
    };
    let (write, text) = match commit.write.as_ref().map(|write| &write.new) {
        None => ("none", Vec::new()),
        Some(None) => ("del", Vec::new()),
        Some(Some(document)) => ("put", document.bytes()),
    };
    let wanted = match (&commit.document, write) {
        (Some(document), _) => index_entries(document).join("\n"),
        (None, "del") => String::new(),
        (None, _) if commit.state.is_none() => String::new(),
        (None, _) => "-".to_owned(),
    };
    let (next, hint, delay) = match commit.next {
        // A create is begun only where there is room for what it will bring.
        Next::Hold if commit.durable => ("begin", commit.hint, 0),
        Next::Hold => ("hold", commit.hint, 0),
        Next::Done { hint } => ("done", hint, 0),
        Next::After(delay) => ("after", commit.hint, i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)),
    };
    let record = commit.state.as_ref().map(|state| serde_json::to_string(state).unwrap_or_default());
    let digest = commit.state.as_ref().and_then(sweep::known_as).filter(|_| commit.next != Next::Hold);
    let mut clear = Vec::new();
    if commit.clear_missed {
        clear.extend(["miss", "del"]);
    }
    if commit.clear_absent {
        clear.push("absent");
    }
    if matches!(&commit.state, Some(state) if !state.expires) {
        clear.push("aged");
    }
    if commit.settled.retry {
        clear.push("retry");
    }
    if commit.settled.guard.is_some() {
        clear.push("guard");
    }
    if commit.leaving.is_some() || commit.unmap.is_some() {
        // What a list showed last was the old task.
        clear.extend(["seen_etag", "absent"]);
    }
    let maps = commit.remote.as_ref().filter(|remote| remote.newly_mapped).map(|remote| &*remote.planner_id);
    if commit.settled.heir.is_some() {
        clear.push("heir");
    }
    let call = COMMIT
        .call()
        .key(keys::sync_state(id))
        .key(keys::sync_due())
        .key(keys::sync_pending())
        .key(keys::task(id))
        .key(keys::tasks_entries())
        .key(keys::sync_index())
        .key(keys::sync_failed())
        .key(keys::sync_rmap(maps.unwrap_or_default()))
        .arg(id)
        .arg(commit.fence.to_string())
        .arg(expectation)
        .arg(expected)
        .arg(write)
        .arg(&text)
        .arg(wanted)
        .arg(next)
        .arg(hint.to_string())
        .num(delay)
        .arg(pending_entry(id))
        .arg(record.unwrap_or_default())
        .arg(digest.unwrap_or_default())
        .arg(commit.state.as_ref().and_then(|state| failed_entry(id, state)).unwrap_or_default())
        .arg(clear.join("\n"))
        .num(millis(DEBOUNCE))
        .arg(if maps.is_some() { "1" } else { "" });
    commands(commit, &text, now).append_to(call)
}

/// The plan whose categories should be read anew: the document uses a name that none of them has.
pub(super) fn plan_of_unknown_label(commit: &Commit) -> Option<String> {
    let unknown = |event: &Event| matches!(event, Event::LeftOut { code: "label_unknown", .. });
    let remote = commit.state.as_ref()?.remote.as_ref().filter(|_| commit.events.iter().any(unknown))?;
    match remote.fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => Some(plan.clone()),
        _ => None,
    }
}

/// Reads the script's reply.
pub(super) fn result(reply: Result<redis::Value, StoreError>) -> Result<CommitResult, StoreError> {
    let text: String =
        redis::from_redis_value(reply?).map_err(|error| StoreError::from(redis::RedisError::from(error)))?;
    match text.as_str() {
        "stored" => Ok(CommitResult::Stored),
        "again" => Ok(CommitResult::StoredDueAgain),
        "changed" => Ok(CommitResult::LocalChanged),
        "elsewhere" => Ok(CommitResult::MappedElsewhere),
        "lost" => Ok(CommitResult::LeaseLost),
        _ => Err(StoreError::other("the commit script answered in an unknown form")),
    }
}

/// The one entry of a task in the failed list; the same state gives the same text.
fn failed_entry(id: &str, state: &TaskState) -> Option<String> {
    let planner_id = state.planner_id.as_deref();
    if let Some(create) = state.create.as_ref().filter(|create| create.unresolved) {
        let entry = json!({"op": "create", "task_id": id, "planner_id": Json::Null, "code": "create_unresolved",
            "error": "the answer to a create was lost: the task is adopted when a list shows it, or sent again",
            "attempts": 1, "first_at": iso(create.sent_at), "retry_at": Json::Null});
        return Some(entry.to_string());
    }
    let failure = state.failure.as_ref()?;
    let op = if planner_id.is_some() { "update" } else { "create" };
    let retry_at = if failure.retry_at > 0 { Json::String(iso(failure.retry_at)) } else { Json::Null };
    let entry = json!({"op": op, "task_id": id, "planner_id": planner_id, "code": failure.code,
        "error": failure.message, "attempts": failure.attempts, "first_at": iso(failure.since), "retry_at": retry_at});
    Some(entry.to_string())
}

fn commands(commit: &Commit, text: &[u8], now: i64) -> Commands {
    let mut commands = Commands::default();
    let id = commit.id.as_str();
    if let Some(state) = &commit.state {
        match &state.create {
            Some(create) => {
                let open = serde_json::to_string(&create.attempts()).unwrap_or_default();
                commands.add(&[&"HSET", &keys::sync_creates(), &id, &open]);
            }
            None if commit.had_create => commands.add(&[&"HDEL", &keys::sync_creates(), &id]),
            None => {}
        }
    } else if commit.had_create {
        commands.add(&[&"HDEL", &keys::sync_creates(), &id]);
    }
    if let Some(note) = commit.settled.guard {
        commands.add(&[&"ZREM", &keys::sync_guard_held(note.direction().word()), &id]);
    }
    if let Some(unmapped) = &commit.unmap {
        unmap(&mut commands, id, unmapped);
        if commit.state.is_none() && !commit.bequeathed {
            let seconds = keys::SYNC_DEAD.ttl_s().unwrap_or_default().to_string();
            commands.add(&[&"SET", &keys::sync_dead(&unmapped.planner_id), &id, &"EX", &seconds]);
        }
    }
    if let Some(planner_id) = &commit.leaving {
        commands.add(&[&"if-own", &keys::sync_rmap(planner_id), &"2"]);
        commands.add(&[&"SET", &keys::sync_rmap(planner_id), &lists::left_by(id)]);
        commands.add(&[&"DEL", &keys::task_mapping_planner(planner_id)]);
    }
    if let Some(left) = &commit.left {
        leave(&mut commands, id, left);
    }
    if let Some(remote) = &commit.remote {
        map(&mut commands, id, remote, now);
    }
    bury(&mut commands, commit, now);
    if let Some(announce) = commit.announce {
        let last = commit.write.as_ref().and_then(|write| write.expected.as_deref()).unwrap_or(b"null");
        announce_write(&mut commands, id, announce, if text.is_empty() { last } else { text });
    }
    let planner_id = commit
        .remote
        .as_ref()
        .map(|remote| remote.planner_id.as_str())
        .or_else(|| commit.unmap.as_ref().map(|unmapped| unmapped.planner_id.as_str()))
        .or_else(|| commit.state.as_ref().and_then(|state| state.planner_id.as_deref()));
    if let Some(left) = &commit.left_parent {
        commands.add(&[&"SREM", &keys::sync_children(left), &id]);
    }
    if let Some(child) = commit.state.as_ref().and_then(|state| state.child.as_ref()) {
        commands.add(&[&"SADD", &keys::sync_children(&child.parent), &id]);
    }
    for other in &commit.marks {
        commands.add(&[&"mark", &keys::sync_state(other), &other, &pending_entry(other)]);
    }
    for found in &commit.found_users {
        remember_user(&mut commands, found);
    }
    for event in &commit.events {
        tell(&mut commands, id, planner_id, event, now);
    }
    commands
}

/// Keeps the document of a task that ends here: what we delete ourselves, or Planner's copy where an agent deleted
/// the document and nothing is kept of it yet.
fn bury(commands: &mut Commands, commit: &Commit, now: i64) {
    if commit.bequeathed {
        return;
    }
    let id = commit.id.as_str();
    let seconds = keys::SYNC_TOMB.ttl_s().unwrap_or_default();
    let last = commit.write.as_ref().filter(|write| write.new.is_none());
    let last = last.and_then(|write| write.expected.as_deref());
    if let Some(last) = last {
        commands.add(&[&"SET", &keys::sync_tomb(id), &last, &"EX", &seconds.to_string()]);
    }
    if let Some(tomb) = &commit.tomb {
        commands.add(&[&"SET", &keys::sync_tomb(id), &tomb.bytes(), &"EX", &seconds.to_string(), &"NX"]);
    }
    if last.is_none() && commit.tomb.is_none() {
        return;
    }
    if let Some(unmapped) = &commit.unmap {
        let direction = if last.is_some() { "down" } else { "up" };
        let copy = json!({"planner_id": unmapped.planner_id, "direction": direction, "deleted_at": iso(now),
            "task": commit.last_copy});
        commands.add(&[&"SET", &keys::sync_tomb_planner(id), &copy.to_string(), &"EX", &seconds.to_string()]);
    }
    let oldest = now - i64::from(seconds) * 1_000;
    commands.add(&[&"ZADD", &keys::sync_tombs(), &now.to_string(), &id]);
    commands.add(&[&"ZREMRANGEBYSCORE", &keys::sync_tombs(), &"-inf", &oldest.to_string()]);
    commands.add(&[&"EXPIRE", &keys::sync_tombs(), &seconds.to_string()]);
}

fn unmap(commands: &mut Commands, id: &str, unmapped: &Unmapped) {
    let planner_id = unmapped.planner_id.as_str();
    let steps = if unmapped.plan.is_some() { "3" } else { "2" };
    commands.add(&[&"if-own", &keys::sync_rmap(planner_id), &steps]);
    commands.add(&[
        &"DEL",
        &keys::sync_rmap(planner_id),
        &keys::planner_id_map(id),
        &keys::task_mapping(id),
        &keys::task_mapping_planner(planner_id),
        &keys::planner_etag(planner_id),
        &keys::planner_etag_details(planner_id),
        &keys::planner_task(planner_id),
        &keys::sync_last_upload(id),
    ]);
    let seconds = keys::SYNC_GONE.ttl_s().unwrap_or_default().to_string();
    commands.add(&[&"SET", &keys::sync_gone(planner_id), &id, &"EX", &seconds]);
    if let Some(plan) = &unmapped.plan {
        commands.add(&[&"HDEL", &keys::sync_remote(plan), &planner_id]);
    }
}

/// The old task of one that was moved is gone. The maps of the task itself are those of its new one.
fn leave(commands: &mut Commands, id: &str, left: &Unmapped) {
    let planner_id = left.planner_id.as_str();
    let steps = if left.plan.is_some() { "3" } else { "2" };
    commands.add(&[&"if-own", &keys::sync_rmap(planner_id), &steps]);
    commands.add(&[
        &"DEL",
        &keys::sync_rmap(planner_id),
        &keys::task_mapping_planner(planner_id),
        &keys::planner_etag(planner_id),
        &keys::planner_etag_details(planner_id),
        &keys::planner_task(planner_id),
    ]);
    let seconds = keys::SYNC_GONE.ttl_s().unwrap_or_default().to_string();
    commands.add(&[&"SET", &keys::sync_gone(planner_id), &id, &"EX", &seconds]);
    if let Some(plan) = &left.plan {
        commands.add(&[&"HDEL", &keys::sync_remote(plan), &planner_id]);
    }
}

fn map(commands: &mut Commands, id: &str, remote: &RemoteCopy, now: i64) {
    let planner_id = remote.planner_id.as_str();
    if remote.newly_mapped || remote.left.is_some() {
        let mapping = json!({"annika_id": id, "planner_id": planner_id, "plan_id": remote.plan, "created_at": iso(now)});
        let mapping = mapping.to_string();
        commands.add(&[&"SET", &keys::sync_rmap(planner_id), &id]);
        commands.add(&[&"SET", &keys::planner_id_map(id), &mapping]);
        commands.add(&[&"SET", &keys::task_mapping(id), &mapping]);
        commands.add(&[&"SET", &keys::task_mapping_planner(planner_id), &mapping]);
        // The task lives: what was kept of an earlier deletion must not come back over it.
        commands.add(&[
            &"DEL",
            &keys::sync_dead(planner_id),
            &keys::sync_tomb(id),
            &keys::sync_tomb_planner(id),
        ]);
        commands.add(&[&"ZREM", &keys::sync_tombs(), &id]);
        if let Some(plan) = &remote.plan {
            commands.add(&[&"HDEL", &keys::sync_orphans(), &lists::held_field(plan, planner_id)]);
        }
    }
    commands.add(&[&"SET", &keys::planner_etag(planner_id), &remote.etag]);
    if let Some(etag) = &remote.details_etag {
        commands.add(&[&"SET", &keys::planner_etag_details(planner_id), etag]);
    }
    if let Some(plan) = &remote.plan {
        commands.add(&[&"HSET", &keys::sync_remote(plan), &planner_id, &remote.etag]);
    }
    if let Some(left) = &remote.left {
        commands.add(&[&"HDEL", &keys::sync_remote(left), &planner_id]);
    }
    if let Some(json) = &remote.json {
        let seconds = keys::PLANNER_TASK.ttl_s().unwrap_or_default().to_string();
        commands.add(&[&"SET", &keys::planner_task(planner_id), &json.to_string(), &"EX", &seconds]);
    }
}

/// Tells agents of a document that the engine wrote; the text goes in as it is.
fn announce_write(commands: &mut Commands, id: &str, announce: Announce, text: &[u8]) {
    let json_id = Json::from(id).to_string();
    let word = announce.word();
    let mut update = format!(r#"{{"action":"{word}","task_id":{json_id},"task":"#).into_bytes();
    update.extend_from_slice(text);
    update.extend_from_slice(br#","source":"planner"}"#);
    commands.add(&[&"PUBLISH", &keys::tasks_updates(), &update]);
    let mut event = format!(r#"{{"type":"task_{word}","id":{json_id},"data":"#).into_bytes();
    event.extend_from_slice(text);
    event.push(b'}');
    commands.add(&[&"PUBLISH", &keys::pubsub_tasks(), &event]);
}

/// Keeps what the directory said about a name: a user for a day, that there is none for some minutes.
fn remember_user(commands: &mut Commands, found: &FoundUser) {
    let key = keys::directory_name(&users::name_hash(&found.name));
    let id = found.user.as_ref().and_then(|user| user.get("id")).and_then(Json::as_str);
    let seconds = match id {
        Some(_) => keys::DIRECTORY_NAME.ttl_s().unwrap_or_default(),
        None => users::UNKNOWN_S,
    };
    commands.add(&[&"SET", &key, &id.unwrap_or_default().to_ascii_lowercase(), &"EX", &seconds.to_string()]);
    if let (Some(id), Some(user)) = (id, &found.user) {
        let seconds = keys::GRAPH_USER.ttl_s().unwrap_or_default().to_string();
        commands.add(&[&"SET", &keys::graph_user(id), &user.to_string(), &"EX", &seconds]);
    }
}

/// Publishes what became of a task, and logs it.
fn tell(commands: &mut Commands, id: &str, planner_id: Option<&str>, event: &Event, now: i64) {
    let at = iso(now);
    let (message, mut entry) = match event {
        Event::Synced { direction, op, fields, requests, ms } => {
            if *direction == annika_sync::world::Direction::Up {
                let seconds = now.div_euclid(1_000).to_string();
                commands.add(&[&"SET", &keys::sync_last_upload(id), &seconds]);
            }
            let word = direction.word();
            (
                json!({"status": "synced", "direction": word, "fields": fields}),
                json!({"op": op, "direction": word, "fields": fields, "requests": requests, "ms": ms, "outcome": "success"}),
            )
        }
        Event::Conflict { field, kept, lost, loser } => {
            commands.add(&[
                &"XADD",
                &keys::sync_conflicts(),
                &"MAXLEN",
                &"~",
                &CONFLICTS_LENGTH.to_string(),
                &"*",
                &"task_id",
                &id,
                &"planner_id",
                &planner_id.unwrap_or_default(),
                &"field",
                field,
                &"kept",
                &kept.to_string(),
                &"lost",
                &lost.to_string(),
                &"loser",
                loser,
                &"at",
                &at,
            ]);
            let direction = if *loser == "agent" { "down" } else { "up" };
            (
                json!({"status": "conflict", "direction": direction, "fields": [field], "field": field,
                    "kept": kept, "lost": lost}),
                json!({"op": "conflict", "field": field, "loser": loser, "outcome": "conflict"}),
            )
        }
        Event::Deleted { direction } => (
            json!({"status": "deleted", "direction": direction.word(), "fields": []}),
            json!({"op": "delete", "direction": direction.word(), "outcome": "success"}),
        ),
        Event::Restored => (
            json!({"status": "restored", "direction": "down", "fields": []}),
            json!({"op": "restore", "outcome": "success"}),
        ),
        Event::LeftOut { field, code, values } => (
            json!({"status": "left_out", "direction": "up", "fields": [field], "code": code, "values": values}),
            json!({"op": "left_out", "field": field, "code": code, "outcome": "left_out"}),
        ),
        Event::Failed { code, message } => (
            json!({"status": "failed", "direction": "up", "fields": [], "code": code, "error": message}),
            json!({"op": "sync", "outcome": "failed", "code": code}),
        ),
    };
    let mut message = message;
    message["task_id"] = Json::from(id);
    message["planner_id"] = Json::from(planner_id);
    message["at"] = Json::from(at.as_str());
    entry["id"] = Json::from(id);
    entry["planner_id"] = Json::from(planner_id);
    entry["at"] = Json::from(at);
    commands.add(&[&"PUBLISH", &keys::tasks_sync(), &message.to_string()]);
    commands.add(&[&"LPUSH", &keys::sync_log(), &entry.to_string()]);
    commands.add(&[&"LTRIM", &keys::sync_log(), &"0", &(LOG_LENGTH - 1).to_string()]);
}

/// A moment as people write it, in UTC.
pub(super) fn iso(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default()
}
