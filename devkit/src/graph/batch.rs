//! `$batch`: up to twenty operations in one request, each with its own status, headers and faults.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, GraphError},
    clock::SimClock,
    entra::Caller,
    fault::{Effect, Sight},
    http::{Outcome, finish, strike},
    journal::EntryKind,
    planner::Actor,
    simulator::{Inner, Received},
    switches::BatchThrottle,
};

const MOST_ITEMS: usize = 20;

struct Item {
    id: String,
    depends_on: Vec<String>,
    received: Received,
    untyped_body: bool,
}

/// Carries out a batch. Answers come in any order. A lost connection loses the whole batch's answer.
pub(super) async fn carry_out(inner: &Arc<Inner>, outer: &Received, caller: &Caller, batch: u64) -> Outcome {
    let items = match read(outer) {
        Ok(items) => items,
        Err(error) => return Outcome::Answer(inner.refuse(&error, outer)),
    };
    let mut statuses: BTreeMap<String, u16> = BTreeMap::new();
    let mut responses = Vec::new();
    let mut end = None;
    let (mut waits, mut slow_ms) = (Vec::new(), 0);
    for item in &items {
        let seq = inner.note(&item.received, EntryKind::Item, Some(&caller.actor), Some((batch, &item.id)));
        let failed = item.depends_on.iter().any(|id| statuses.get(id).is_none_or(|status| *status >= 400));
        let outcome = if failed {
            let error =
                GraphError::new(424, "FailedDependency", "A request that this one depends on failed.");
            Outcome::Answer(inner.refuse(&error, &item.received))
        } else {
            one(inner, item, caller, seq).await
        };
        match outcome {
            Outcome::Answer(answer) => {
                inner.close(seq, Some(&answer));
                statuses.insert(item.id.clone(), answer.status);
                waits.extend(answer.waits.iter().cloned());
                slow_ms = slow_ms.max(answer.slow_ms);
                responses.push(response(&item.id, answer));
            }
            other => {
                inner.close(seq, None);
                end = Some(other);
            }
        }
    }
    if let Some(end) = end {
        return end;
    }
    {
        let mut state = inner.state();
        for last in (1..responses.len()).rev() {
            let other = (state.rng.next_u64() % (last as u64 + 1)) as usize;
            responses.swap(last, other);
        }
    }
    Outcome::Answer(Answer { waits, slow_ms, ..Answer::json(200, json!({"responses": responses})) })
}

async fn one(inner: &Arc<Inner>, item: &Item, caller: &Caller, seq: u64) -> Outcome {
    let received = &item.received;
    inner.check_request(received, Some(&item.id));
    let person = matches!(caller.actor, Actor::Person(_));
    let sight = Sight { method: &received.method, path: &received.path, item: true, person, graph: true };
    let effect = inner.strike(seq, sight);
    let mut behind = None;
    match &effect {
        Some(Effect::Late { ms }) => SimClock::sleep(Duration::from_millis(*ms)).await,
        Some(Effect::Stale { ms }) => behind = Some(*ms),
        Some(effect @ Effect::Edit { .. }) if !effect.after() => inner.edit(effect),
        Some(effect) if !effect.after() => return strike(inner, received, effect, true),
        _ => {}
    }
    let by_item = inner.state().rules.switches.batch_throttle == BatchThrottle::Items;
    if by_item
        && !person
        && let Some(answer) = inner.throttled(received, true)
    {
        inner.state().findings.checked.scripted += 1;
        return Outcome::Answer(answer);
    }
    let answer = if item.untyped_body {
        inner.refuse(
            &GraphError::bad_request("Write requests must contain the Content-Type header declaration."),
            received,
        )
    } else if received.path.to_ascii_lowercase().contains("/$batch") {
        inner.refuse(&GraphError::bad_request("A batch cannot hold a batch."), received)
    } else {
        inner.operate(received, caller, behind)
    };
    inner.record(seq, &answer);
    finish(inner, received, Outcome::Answer(answer), effect.as_ref(), Some(&item.id))
}

/// The items, or the refusal of the whole batch.
fn read(outer: &Received) -> Result<Vec<Item>, GraphError> {
    let (version, call) = outer.call();
    let requests = call
        .object()?
        .get("requests")
        .and_then(Value::as_array)
        .filter(|requests| !requests.is_empty())
        .ok_or_else(|| {
            GraphError::bad_request("Invalid batch payload format: 'requests' is missing or empty.")
        })?;
    if requests.len() > MOST_ITEMS {
        return Err(GraphError::bad_request(format!(
            "The number of requests in a batch, {}, is over the maximum of {MOST_ITEMS}.",
            requests.len()
        )));
    }
    let mut items: Vec<Item> = Vec::new();
    for request in requests {
        let item = item(outer, &version, request)?;
        // Ids are compared without regard to letter case.
        if items.iter().any(|other| other.id.eq_ignore_ascii_case(&item.id)) {
            return Err(GraphError::bad_request(format!(
                "The id '{}' occurs more than once in the batch.",
                item.id
            )));
        }
        items.push(item);
    }
    for item in &items {
        if let Some(unknown) = item.depends_on.iter().find(|id| !items.iter().any(|other| other.id == **id)) {
            return Err(GraphError::bad_request(format!(
                "'dependsOn' names '{unknown}', which is not in the batch."
            )));
        }
    }
    Ok(items)
}

fn item(outer: &Received, version: &str, request: &Value) -> Result<Item, GraphError> {
    let text = |name: &str| {
        request
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| {
                GraphError::bad_request(format!("Invalid batch payload format: a request without '{name}'."))
            })
    };
    let (id, method, url) = (text("id")?, text("method")?.to_ascii_uppercase(), text("url")?);
    let mut headers = BTreeMap::new();
    for (name, value) in request.get("headers").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.as_str() {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
    }
    let depends_on = request.get("dependsOn").and_then(Value::as_array).into_iter().flatten();
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (url.as_str(), None),
    };
    let body = request.get("body").filter(|body| !body.is_null()).cloned();
    let untyped_body = body.is_some() && !headers.contains_key("content-type");
    Ok(Item {
        id,
        depends_on: depends_on.filter_map(Value::as_str).map(str::to_owned).collect(),
        untyped_body,
        received: Received {
            method,
            path: format!("/{version}/{}", path.trim_start_matches('/')),
            query,
            headers,
            body: body.map(Ok),
            origin: outer.origin.clone(),
        },
    })
}

/// An answer as an entry of `responses`. Binary and HTML bodies are base64 there.
fn response(id: &str, answer: Answer) -> Value {
    let mut headers = Map::new();
    headers.insert("Cache-Control".into(), json!(if answer.status >= 400 { "no-cache" } else { "private" }));
    for (name, value) in &answer.headers {
        headers.insert(name.clone(), json!(value));
    }
    let mut entry = json!({"id": id, "status": answer.status});
    match (answer.raw, answer.body) {
        (Some((kind, text)), _) => {
            use base64::Engine;
            headers.insert("Content-Type".into(), json!(kind));
            entry["body"] = json!(base64::engine::general_purpose::STANDARD.encode(text));
        }
        (None, Some(body)) => {
            headers.insert("Content-Type".into(), json!("application/json"));
            entry["body"] = body;
        }
        (None, None) => {}
    }
    entry["headers"] = Value::Object(headers);
    entry
}
