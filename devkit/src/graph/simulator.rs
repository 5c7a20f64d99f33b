//! The simulator's heart: one operation after another on the store, noted in the journal and checked
//! against the published schemas.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    GraphOptions,
    answer::{Answer, GraphError},
    clock::SimClock,
    directory,
    entra::{Caller, Entra, Moment},
    etag::Kind,
    fault::{Effect, Faults, Sight},
    journal::{self, Entry, EntryKind, Journal},
    permissions,
    planner::{self, Actor, Call, Context, Rules},
    random::SimRng,
    schema::{Findings, Oracle, Side, Violation},
    store::{self, Store},
    switches::ErrorCode,
};

/// What changes while the simulator runs.
#[derive(Debug)]
pub(super) struct State {
    pub store: Store,
    pub rng: SimRng,
    pub rules: Rules,
    pub entra: Entra,
    pub faults: Faults,
    pub journal: Journal,
    pub findings: Findings,
    pub latency: Duration,
    pub offline: bool,
    pub beta: bool,
    /// When applications were told to wait, and until when, by `Retry-After` of an HTTP answer.
    pub wait: (u64, u64),
    /// Until when a throttle is on, and how long one lasts, in milliseconds.
    pub throttle: Option<(u64, u64)>,
    /// The same for items of batches, by method and path.
    pub item_wait: HashMap<(String, String), (u64, u64)>,
}

/// Everything that the server's tasks share.
#[derive(Debug)]
pub(super) struct Inner {
    pub options: GraphOptions,
    pub clock: SimClock,
    pub oracle: Option<Arc<Oracle>>,
    pub url: String,
    state: Mutex<State>,
}

/// An operation as it came, as an HTTP request or as an item of a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    pub method: String,
    /// The path with the version, undecoded.
    pub path: String,
    pub query: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Option<Result<Value, String>>,
    /// `http://host:port`, for links.
    pub origin: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The version (`v1.0`, `beta`) and the call behind it.
    pub fn call(&self) -> (String, Call) {
        let mut parts = self.path.trim_start_matches('/').splitn(2, '/');
        let version = parts.next().unwrap_or_default().to_owned();
        let rest = parts.next().unwrap_or_default();
        let query = self.query.as_deref().unwrap_or_default();
        let call = Call {
            method: self.method.clone(),
            path: format!("/{rest}"),
            segments: segments(rest),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            if_match: self.header("if-match").map(str::to_owned),
            representation: self.header("prefer").is_some_and(|prefer| {
                prefer.split(',').any(|wish| wish.trim().eq_ignore_ascii_case("return=representation"))
            }),
            body: self.body.clone(),
        };
        (version, call)
    }
}

/// The decoded segments; `tasks('id')` is two.
fn segments(path: &str) -> Vec<String> {
    let mut out = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
        match segment.split_once("('").and_then(|(name, key)| Some((name, key.strip_suffix("')")?))) {
            Some((name, key)) => out.extend([name.to_owned(), key.to_owned()]),
            None => out.push(segment),
        }
    }
    out
}

pub(super) fn actor_name(actor: &Actor) -> String {
    match actor {
        Actor::App(client) => format!("app:{client}"),
        Actor::Person(user) => format!("person:{user}"),
    }
}

impl Inner {
    pub fn new(options: GraphOptions, entra: Entra, oracle: Option<Arc<Oracle>>, url: String) -> Self {
        let mut findings = Findings::default();
        findings.checked.on = oracle.is_some();
        let state = State {
            store: Store::default(),
            rng: SimRng::new(options.seed),
            rules: Rules {
                page_size: options.page_size,
                limits: options.limits.clone(),
                switches: options.switches,
                ..Rules::default()
            },
            entra,
            faults: Faults::default(),
            journal: Journal::default(),
            findings,
            latency: options.latency,
            offline: false,
            beta: options.beta,
            wait: (0, 0),
            throttle: None,
            item_wait: HashMap::new(),
        };
        Self { options, clock: SimClock::new(), oracle, url, state: Mutex::new(state) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn moment(&self) -> Moment {
        let text = self.clock.timestamp().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        Moment { ms: self.clock.now_ms(), text, trace: self.state().rng.guid() }
    }

    /// The date in an error: it has no zone.
    fn error_date(&self) -> String {
        self.clock.timestamp().strftime("%Y-%m-%dT%H:%M:%S").to_string()
    }

    /// A refusal as an answer, with ids of its own.
    pub fn refuse(&self, error: &GraphError, received: &Received) -> Answer {
        let (request_id, codes) = {
            let mut state = self.state();
            (state.rng.guid(), state.rules.switches.error_code)
        };
        let client = received.header("client-request-id").unwrap_or(&request_id).to_owned();
        let unknown = GraphError::new(error.status, "UnknownError", "");
        let error = if error.code.is_empty() && codes == ErrorCode::Unknown { &unknown } else { error };
        Answer::error(error, &self.error_date(), &request_id, &client)
    }

    /// Opens an entry in the journal.
    pub fn note(
        &self,
        received: &Received,
        kind: EntryKind,
        actor: Option<&Actor>,
        item: Option<(u64, &str)>,
    ) -> u64 {
        let wanted =
            ["if-match", "prefer", "client-request-id", "user-agent", "content-type", "accept-encoding"];
        let headers = received
            .headers
            .iter()
            .filter(|(name, _)| wanted.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let fields = match &received.body {
            Some(Ok(Value::Object(members))) => members.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let at_ms = self.clock.elapsed_ms();
        let mut state = self.state();
        let app = !matches!(actor, Some(Actor::Person(_)));
        let told = match kind {
            EntryKind::Item => {
                let place = (received.method.clone(), received.path.clone());
                state.item_wait.get(&place).copied()
            }
            EntryKind::Token => None,
            _ => Some(state.wait),
        };
        let told = told.filter(|(_, until)| app && at_ms < *until);
        state.journal.open(Entry {
            seq: 0,
            at_ms,
            done_ms: None,
            kind,
            actor: actor.map(actor_name),
            method: received.method.clone(),
            path: received.path.clone(),
            query: received.query.clone(),
            headers,
            fields,
            status: None,
            etag: None,
            id: None,
            batch: item.map(|(batch, _)| batch),
            item: item.map(|(_, id)| id.to_owned()),
            body: journal::digest(&received.body),
            code: None,
            early: told.is_some(),
            told_ms: told.map(|(from, _)| at_ms.saturating_sub(from)),
            fault: None,
            committed: false,
        })
    }

    /// Closes an entry with what was answered; `None` if the connection was closed instead.
    pub fn close(&self, seq: u64, answer: Option<&Answer>) {
        let at_ms = self.clock.elapsed_ms();
        let code = answer.and_then(|answer| answer.body.as_ref()?.pointer("/error/code")?.as_str());
        let mut state = self.state();
        state.journal.update(seq, |entry| entry.code = code.map(str::to_owned));
        state.journal.close(seq, at_ms, answer.map(|answer| answer.status));
    }

    /// The fault that a call meets, noted in its entry.
    pub fn strike(&self, seq: u64, sight: Sight<'_>) -> Option<Effect> {
        let mut state = self.state();
        let State { faults, rng, .. } = &mut *state;
        let effect = faults.strike(sight, rng)?;
        state.journal.update(seq, |entry| entry.fault = Some(effect.name()));
        Some(effect)
    }

    /// Carries out one operation on the store; `behind_ms` is how old a state a fault lets it read.
    pub fn operate(&self, received: &Received, caller: &Caller, behind_ms: Option<u64>) -> Answer {
        let (version, call) = received.call();
        let now = self.clock.stamp();
        let actor = &caller.actor;
        let ms = self.clock.elapsed_ms();
        let result = {
            let mut state = self.state();
            let State { store, rng, rules, beta, .. } = &mut *state;
            if version == "v1.0" || (version == "beta" && *beta) {
                let base = format!("{}/{version}", received.origin);
                store.now = store::Moment { ms, stamp: now.clone(), actor: actor.identity() };
                let mut context = Context { store, rng, rules, actor, now, base: &base, behind_ms };
                permissions::check(&call, caller).and_then(|()| route(&mut context, &call))
            } else {
                Err(GraphError::bad_request("Invalid version."))
            }
        };
        match result {
            Ok(Answer { refusal: Some(error), headers, .. }) => {
                let mut answer = self.refuse(&error, received);
                answer.headers.extend(headers);
                answer
            }
            Ok(answer) => answer,
            Err(error) => self.refuse(&error, received),
        }
    }

    /// Notes in the journal what an operation did.
    pub fn record(&self, seq: u64, answer: &Answer) {
        self.state().journal.update(seq, |entry| {
            entry.etag.clone_from(&answer.etag);
            entry.id.clone_from(&answer.id);
            entry.committed = answer.committed;
        });
    }

    /// Checks a request against the slice.
    pub fn check_request(&self, received: &Received, item: Option<&str>) {
        let Some(oracle) = &self.oracle else { return };
        let (_, call) = received.call();
        let mut found = match &call.body {
            Some(Err(why)) => vec![format!("the body is no JSON: {why}")],
            _ => Vec::new(),
        };
        let body = call.body.as_ref().and_then(|body| body.as_ref().ok());
        found.extend(oracle.request(
            &call.method,
            &call.segments,
            call.query.keys(),
            call.if_match.is_some(),
            body,
        ));
        self.found(Side::Request, received, item, found);
    }

    /// Checks an answer against the strict schemas.
    pub fn check_answer(&self, received: &Received, answer: &Answer, item: Option<&str>) {
        let Some(oracle) = &self.oracle else { return };
        if answer.scripted {
            self.state().findings.checked.scripted += 1;
            return;
        }
        let (_, call) = received.call();
        // What was not asked for cannot be missed.
        let whole = !call.query.contains_key("$select");
        let found = oracle.answer(&call.method, &call.segments, answer.status, answer.body.as_ref(), whole);
        self.found(Side::Answer, received, item, found);
    }

    fn found(&self, side: Side, received: &Received, item: Option<&str>, found: Vec<String>) {
        let at_ms = self.clock.elapsed_ms();
        let mut state = self.state();
        match side {
            Side::Request => state.findings.checked.requests += 1,
            Side::Answer => state.findings.checked.answers += 1,
        }
        state.findings.add(found.into_iter().map(|what| Violation {
            side,
            at_ms,
            method: received.method.clone(),
            path: received.path.clone(),
            item: item.map(str::to_owned),
            what,
        }));
    }

    /// One operation from inside the process, as if it had come over HTTP: noted and checked, no faults.
    pub fn direct(
        &self,
        actor: &Actor,
        method: &str,
        path: &str,
        if_match: Option<String>,
        body: Option<Value>,
    ) -> Answer {
        let mut headers = BTreeMap::from([("prefer".to_owned(), "return=representation".to_owned())]);
        if let Some(tag) = if_match {
            headers.insert("if-match".into(), tag);
        }
        let received = Received {
            method: method.to_owned(),
            path: format!("/v1.0{path}"),
            query: None,
            headers,
            body: body.map(Ok),
            origin: self.url.clone(),
        };
        let seq = self.note(&received, EntryKind::Request, Some(actor), None);
        self.check_request(&received, None);
        let answer = self.operate(&received, &Caller::trusted(actor.clone()), None);
        self.record(seq, &answer);
        self.check_answer(&received, &answer, None);
        self.close(seq, Some(&answer));
        answer
    }

    /// A person's edit of a task as it is now; a failure is logged, for the call goes on all the same.
    pub fn edit(&self, effect: &Effect) {
        let Effect::Edit { user, task, body, details, .. } = effect else { return };
        let person = Actor::Person(user.as_deref().unwrap_or(super::seed::PERSON).to_owned());
        let path = format!("/planner/tasks/{task}");
        let tag = |kind| self.state().store.find(kind, task).map(super::store::Entity::etag);
        let mut answers = Vec::new();
        if let Some(body) = body {
            answers.push(self.direct(&person, "PATCH", &path, tag(Kind::Task), Some(body.clone())));
        }
        if let Some(body) = details {
            let path = format!("{path}/details");
            answers.push(self.direct(&person, "PATCH", &path, tag(Kind::TaskDetails), Some(body.clone())));
        }
        if body.is_none() && details.is_none() {
            answers.push(self.direct(&person, "DELETE", &path, tag(Kind::Task), None));
        }
        for answer in answers.iter().filter(|answer| answer.status >= 400) {
            tracing::warn!(status = answer.status, task, "a scripted edit was refused");
        }
    }
}

/// Finds what answers a call: Planner, the directory, or nothing.
fn route(context: &mut Context<'_>, call: &Call) -> Result<Answer, GraphError> {
    let is = |place: usize, name: &str| {
        call.segments.get(place).is_some_and(|segment| segment.eq_ignore_ascii_case(name))
    };
    match call.segments.first() {
        None => Ok(Answer::json(200, json!({"value": []}))),
        Some(_) if is(0, "planner") => planner::handle(context, call, &call.segments[1..]),
        Some(_) if ["users", "groups", "me", "organization"].iter().any(|set| is(0, set)) => {
            directory::handle(context, call)
        }
        Some(segment) => Err(GraphError::no_segment(segment)),
    }
}

/// Changes an answer as a `tamper` fault says.
pub(super) fn tamper(answer: &mut Answer, set: &BTreeMap<String, Value>, remove: &[String], empty: bool) {
    if empty {
        answer.body = None;
        return;
    }
    let Some(body) = &mut answer.body else { return };
    for (pointer, value) in set {
        let Some((parent, name)) = pointer.rsplit_once('/') else { continue };
        if let Some(Value::Object(members)) = body.pointer_mut(parent) {
            members.insert(name.replace("~1", "/").replace("~0", "~"), value.clone());
        }
    }
    for pointer in remove {
        let Some((parent, name)) = pointer.rsplit_once('/') else { continue };
        if let Some(Value::Object(members)) = body.pointer_mut(parent) {
            members.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
    }
}
