//! The simulator on the wire: connections, faults that belong to them, headers, compression.

use std::{collections::BTreeMap, io::Write, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceExt;

use super::{
    answer::{Answer, GraphError},
    batch,
    clock::SimClock,
    entra::{self, Caller},
    fault::{Effect, Sight},
    journal::EntryKind,
    planner::Actor,
    simulator::{Inner, Received, tamper},
    switches::BatchThrottle,
    wire::Wire,
};

/// The largest body that is read.
const MOST_BYTES: usize = 8 << 20;

/// Why a connection closes without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulator closes this connection")]
struct Closed;

/// How a call ends.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With an answer.
    Answer(Answer),
    /// The connection closes.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing comes until the client leaves.
    Silence,
}

/// Serves connections until the task is dropped.
pub(super) async fn serve(listener: TcpListener, inner: Arc<Inner>, control: Router) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                tracing::warn!(%why, "the Graph simulator cannot accept a connection");
                SimClock::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if let Err(why) = stream.set_nodelay(true) {
            tracing::debug!(%why, "a connection keeps Nagle's algorithm");
        }
        let inner = Arc::clone(&inner);
        let control = control.clone();
        connections.spawn(async move {
            let wire = Wire::new(stream);
            let handle = wire.clone();
            let service = service_fn(move |request| {
                answer(Arc::clone(&inner), control.clone(), handle.clone(), request)
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(wire), service).await;
            if let Err(why) = served {
                tracing::debug!(%why, "a connection to the Graph simulator ended");
            }
        });
    }
}

async fn answer(
    inner: Arc<Inner>,
    control: Router,
    wire: Wire,
    request: Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    if request.uri().path().starts_with("/__sim") {
        return match control.oneshot(request.map(Body::new)).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        };
    }
    let gzip = header(&request, "accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
    let head = request.method() == http::Method::HEAD;
    let received = receive(&inner, request).await.map_err(|why| {
        tracing::debug!(%why, "a request to the Graph simulator could not be read");
        Closed
    })?;
    let client_id = received.header("client-request-id").map(str::to_owned);
    // A task of its own: once read, a request takes effect even if the client leaves.
    let working = Arc::clone(&inner);
    let outcome = tokio::spawn(async move { process(working, received).await }).await.map_err(|why| {
        tracing::error!(%why, "the Graph simulator failed in a request");
        Closed
    })?;
    match outcome {
        Outcome::Answer(answer) => Ok(respond(&inner, answer, client_id, gzip, head)),
        Outcome::Close => Err(Closed),
        Outcome::Reset => {
            wire.reset_at_end();
            Err(Closed)
        }
        Outcome::Silence => std::future::pending().await,
    }
}

fn header<B>(request: &Request<B>, name: &str) -> Option<String> {
    request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

async fn receive(inner: &Inner, request: Request<Incoming>) -> Result<Received, axum::Error> {
    let (parts, body) = request.into_parts();
    let headers: BTreeMap<String, String> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let bytes =
        http_body_util::Limited::new(body, MOST_BYTES).collect().await.map_err(axum::Error::new)?.to_bytes();
    let form =
        headers.get("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let body = if form {
        let form: entra::Form = url::form_urlencoded::parse(&bytes).into_owned().collect();
        Some(Ok(serde_json::to_value(form).unwrap_or(Value::Null)))
    } else if bytes.is_empty() {
        None
    } else {
        Some(serde_json::from_slice(&bytes).map_err(|why| why.to_string()))
    };
    let origin = headers.get("host").map_or_else(|| inner.url.clone(), |host| format!("http://{host}"));
    Ok(Received {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers,
        body,
        origin,
    })
}

async fn process(inner: Arc<Inner>, received: Received) -> Outcome {
    if let Some(outcome) = tokens(&inner, &received).await {
        return outcome;
    }
    let is_batch = received.method == "POST" && received.path.to_ascii_lowercase().ends_with("/$batch");
    let kind = if is_batch { EntryKind::Batch } else { EntryKind::Request };
    let caller = inner.state().entra.check(received.header("authorization"), inner.clock.now_ms());
    let actor = caller.as_ref().ok().map(|caller| caller.actor.clone());
    let actor = actor.as_ref();
    let seq = inner.note(&received, kind, actor, None);
    let (offline, latency) = {
        let state = inner.state();
        (state.offline, state.latency)
    };
    if offline {
        inner.state().journal.update(seq, |entry| entry.fault = Some("offline".into()));
        inner.close(seq, None);
        return Outcome::Close;
    }
    inner.check_request(&received, None);
    let person = matches!(actor, Some(Actor::Person(_)));
    let sight = Sight { method: &received.method, path: &received.path, item: false, person, graph: true };
    let effect = inner.strike(seq, sight);
    SimClock::sleep(latency / 2).await;
    let outcome = carry_out(&inner, &received, caller, seq, is_batch, effect).await;
    SimClock::sleep(latency - latency / 2).await;
    let answer = match &outcome {
        Outcome::Answer(answer) => Some(answer),
        Outcome::Close | Outcome::Reset | Outcome::Silence => None,
    };
    if let Some(answer) = answer {
        inner.hold(&answer.waits);
    }
    inner.close(seq, answer);
    outcome
}

async fn carry_out(
    inner: &Arc<Inner>,
    received: &Received,
    caller: Result<Caller, GraphError>,
    seq: u64,
    is_batch: bool,
    effect: Option<Effect>,
) -> Outcome {
    let mut behind = None;
    match &effect {
        Some(Effect::Late { ms }) => SimClock::sleep(Duration::from_millis(*ms)).await,
        Some(Effect::Stale { ms }) => behind = Some(*ms),
        Some(effect @ Effect::Edit { .. }) if !effect.after() => inner.edit(effect),
        Some(effect) if !effect.after() => return strike(inner, received, effect, false),
        _ => {}
    }
    let person = matches!(&caller, Ok(Caller { actor: Actor::Person(_), .. }));
    let by_item = is_batch && inner.state().rules.switches.batch_throttle == BatchThrottle::Items;
    if !person
        && !by_item
        && let Some(answer) = inner.throttled(received, false)
    {
        inner.state().findings.checked.scripted += 1;
        return Outcome::Answer(answer);
    }
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => {
            let answer = inner.refuse(&error, received);
            inner.check_answer(received, &answer, None);
            return Outcome::Answer(answer);
        }
    };
    let outcome = if is_batch {
        batch::carry_out(inner, received, &caller, seq).await
    } else {
        let answer = inner.operate(received, &caller, behind);
        inner.record(seq, &answer);
        Outcome::Answer(answer)
    };
    finish(inner, received, outcome, effect.as_ref(), None)
}

/// The end of a call: the faults that strike after the write, and the check of the answer as it goes out.
pub(super) fn finish(
    inner: &Inner,
    received: &Received,
    outcome: Outcome,
    effect: Option<&Effect>,
    item: Option<&str>,
) -> Outcome {
    let mut answer = match outcome {
        Outcome::Answer(answer) => answer,
        other => return other,
    };
    match effect {
        Some(Effect::Tamper { set, remove, empty }) => tamper(&mut answer, set, remove, *empty),
        Some(Effect::Slow { ms }) => answer.slow_ms = *ms,
        Some(effect @ Effect::Edit { .. }) if effect.after() => inner.edit(effect),
        Some(Effect::Cut {}) => {
            let text = answer.body.as_ref().map(Value::to_string).unwrap_or_default();
            let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            answer.raw = Some(("application/json".into(), text[..half].to_owned()));
            answer.scripted = true;
        }
        Some(effect) if effect.after() => return strike(inner, received, effect, item.is_some()),
        _ => {}
    }
    inner.check_answer(received, &answer, item);
    Outcome::Answer(answer)
}

/// What a fault does to a call instead of an answer.
pub(super) fn strike(inner: &Inner, received: &Received, effect: &Effect, item: bool) -> Outcome {
    match effect {
        Effect::Drop { .. } => Outcome::Close,
        Effect::Reset { .. } => Outcome::Reset,
        Effect::Hang { .. } => Outcome::Silence,
        other => match inner.scripted(other, received, item) {
            Some(answer) => {
                inner.state().findings.checked.scripted += 1;
                Outcome::Answer(answer)
            }
            None => Outcome::Close,
        },
    }
}

/// Answers requests for tokens and discovery documents; `None` if it is none of them.
async fn tokens(inner: &Arc<Inner>, received: &Received) -> Option<Outcome> {
    let segments: Vec<&str> = received.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let host = received.origin.trim_start_matches("http://");
    match segments.as_slice() {
        ["common", "discovery", "instance"] => {
            return Some(Outcome::Answer(entra::instance_discovery(
                &received.origin,
                host,
                super::TENANT_ID,
            )));
        }
        [tenant, "v2.0", ".well-known", "openid-configuration"] => {
            return Some(Outcome::Answer(entra::openid_configuration(&received.origin, tenant)));
        }
        [_, "discovery", "v2.0", "keys"] => {
            return Some(Outcome::Answer(Answer::json(200, serde_json::json!({"keys": []}))));
        }
        [_, "oauth2", "v2.0", "token"] | ["msi", "token"] => {}
        _ => return None,
    }
    let seq = inner.note(received, EntryKind::Token, None, None);
    let sight =
        Sight { method: &received.method, path: &received.path, item: false, person: false, graph: false };
    let effect = inner.strike(seq, sight);
    match &effect {
        Some(Effect::Late { ms }) => SimClock::sleep(Duration::from_millis(*ms)).await,
        Some(
            effect @ (Effect::Status { .. }
            | Effect::Drop { .. }
            | Effect::Reset { .. }
            | Effect::Hang { .. }
            | Effect::Throttle { .. }),
        ) => {
            let outcome = strike(inner, received, effect, true);
            inner.close(seq, if let Outcome::Answer(answer) = &outcome { Some(answer) } else { None });
            return Some(outcome);
        }
        _ => {}
    }
    let now = inner.moment();
    let answer = {
        let mut state = inner.state();
        let super::simulator::State { entra, rng, .. } = &mut *state;
        match (received.method.as_str(), segments.as_slice()) {
            ("POST", [tenant, "oauth2", ..]) => {
                let form = match &received.body {
                    Some(Ok(body)) => serde_json::from_value(body.clone()).unwrap_or_default(),
                    _ => entra::Form::new(),
                };
                entra.client_credentials(tenant, &form, &now, rng)
            }
            ("GET", ["msi", "token"]) => {
                let query = received.query.as_deref().unwrap_or_default();
                let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                entra.managed_identity(&query, received.header("x-identity-header"), &now, rng)
            }
            _ => Answer { status: 405, ..Answer::default() },
        }
    };
    inner.close(seq, Some(&answer));
    Some(Outcome::Answer(answer))
}

/// A body in ten pieces over so many milliseconds.
fn slowly(bytes: Bytes, ms: u64) -> Body {
    let piece = bytes.len().div_ceil(10).max(1);
    let pieces = futures::stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        SimClock::sleep(Duration::from_millis(ms / 10)).await;
        let next = rest.split_to(piece.min(rest.len()));
        Some((Ok::<_, Closed>(next), rest))
    });
    Body::from_stream(pieces)
}

/// The answer on the wire, with the headers that Graph always sends.
fn respond(
    inner: &Inner,
    answer: Answer,
    client_id: Option<String>,
    gzip: bool,
    head: bool,
) -> Response<Body> {
    let request_id = answer
        .body
        .as_ref()
        .and_then(|body| body.pointer("/error/innerError/request-id")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| inner.state().rng.guid());
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let client_id = client_id.unwrap_or_else(|| request_id.clone());
    let cache = if answer.status >= 400 { "no-cache" } else { "private" };
    let kind =
        "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
    let diagnostic = r#"{"ServerInfo":{"DataCenter":"Simulator","Slice":"E","Ring":"1","ScaleUnit":"000","RoleInstance":"SIM"}}"#;
    let mut headers = vec![
        ("request-id", request_id.clone()),
        ("client-request-id", client_id),
        ("cache-control", cache.to_owned()),
        ("strict-transport-security", "max-age=31536000".to_owned()),
        ("x-ms-ags-diagnostic", diagnostic.to_owned()),
        ("odata-version", "4.0".to_owned()),
        ("x-tasks-correlationid", request_id),
        ("date", inner.clock.timestamp().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
    ];
    let mut bytes = match (answer.raw, answer.body) {
        (Some((kind, text)), _) => {
            headers.push(("content-type", kind));
            Bytes::from(text)
        }
        (None, Some(body)) => {
            headers.push(("content-type", kind.to_owned()));
            Bytes::from(body.to_string())
        }
        (None, None) => Bytes::new(),
    };
    if gzip && bytes.len() > 256 {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        if let Ok(packed) = encoder.write_all(&bytes).and_then(|()| encoder.finish()) {
            bytes = Bytes::from(packed);
            headers.push(("content-encoding", "gzip".to_owned()));
            headers.push(("vary", "Accept-Encoding".to_owned()));
        }
    }
    let own = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in headers.iter().map(|(name, value)| (*name, value.as_str())).chain(own) {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    if !head {
        *response.body_mut() =
            if answer.slow_ms > 0 { slowly(bytes, answer.slow_ms) } else { Body::from(bytes) };
    }
    response
}
