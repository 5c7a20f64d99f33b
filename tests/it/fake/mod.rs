//! A scripted HTTP server that stands in for Graph and Entra, and a clock that never waits.

use annika::{
    app::App,
    clock::{Clock, SystemRng},
    config::Settings,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One request that the fake received.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query as they stood in the request line.
    pub target: String,
    pub headers: HeaderMap,
    pub body: String,
    /// How many requests with this target came before.
    pub before: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The server. It ends with the test's runtime.
pub struct Fake {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Answers what `script` says.
    pub async fn start(script: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
        let record = Arc::clone(&seen);
        let script = Arc::new(script);
        let router = Router::new().fallback(move |request: Request<Body>| {
            let (record, script) = (Arc::clone(&record), Arc::clone(&script));
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let target = parts.uri.path_and_query().unwrap().to_string();
                let mut all = record.lock().unwrap();
                let request = Seen {
                    method: parts.method.to_string(),
                    before: all.iter().filter(|one| one.target == target).count(),
                    target,
                    headers: parts.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                all.push(request.clone());
                drop(all);
                script(&request)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen }
    }

    /// A Graph with an Entra in front: tokens `token-1`, `token-2` … of an hour; the rest as `script` says.
    pub async fn graph(script: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let issued = AtomicI64::new(0);
        Self::start(move |seen| {
            if seen.target.ends_with("/oauth2/v2.0/token") {
                token(&format!("token-{}", issued.fetch_add(1, Ordering::SeqCst) + 1), 3600)
            } else {
                script(seen)
            }
        })
        .await
    }

    /// Every request so far whose target contains `part`.
    pub fn seen(&self, part: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.target.contains(part)).cloned().collect()
    }
}

/// Entra's answer to client credentials.
pub fn token(secret: &str, seconds: i64) -> Response {
    answer(200, &json!({"token_type": "Bearer", "expires_in": seconds, "access_token": secret}))
}

/// A JSON answer.
pub fn answer(status: u16, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::from_u16(status).unwrap(), headers, body.to_string()).into_response()
}

/// A JSON answer with one more header.
pub fn answer_with(status: u16, name: &'static str, value: &str, body: &Value) -> Response {
    let mut response = answer(status, body);
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// An app whose Entra and Graph are `url`, with a client secret.
pub fn app(url: &str, clock: Arc<TestClock>) -> App {
    let mut variables = secret_variables();
    variables.extend([("GRAPH_BASE_URL", url.to_owned()), ("ENTRA_BASE_URL", url.to_owned())]);
    App::new(settings(&variables), clock, SystemRng::shared()).unwrap()
}

pub fn secret_variables() -> HashMap<&'static str, String> {
    HashMap::from([
        ("AZURE_TENANT_ID", "contoso.example".to_owned()),
        ("AZURE_CLIENT_ID", "the-app".to_owned()),
        ("AZURE_CLIENT_SECRET", "s3cret".to_owned()),
    ])
}

pub fn settings(variables: &HashMap<&'static str, String>) -> Settings {
    Settings::read(&|name| variables.get(name).cloned()).unwrap()
}

/// The machine's time plus what a test adds; a sleep is noted and over at once.
#[derive(Debug, Default)]
pub struct TestClock {
    ahead_ms: AtomicI64,
    slept: Mutex<Vec<Duration>>,
}

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap().clone()
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        i64::try_from(real).unwrap() + self.ahead_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.now_ms()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.slept.lock().unwrap().push(duration);
        self.advance(duration);
        Box::pin(std::future::ready(()))
    }
}
