//! The HTTP API over a real Redis; files mirror the URLs.

mod openapi;
mod sync;
mod tasks;
mod weather;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use annika::{
    app::App,
    clock::{Rng, SharedRng, SystemClock},
    config::Settings,
};
use annika_devkit::redis_server::{RedisOptions, RedisServer};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tower::ServiceExt;

/// The app draws two numbers when it is built; requests then count from 1.
const BEFORE_ONE: u64 = u64::MAX;

/// Random numbers that are the same in every run.
#[derive(Debug)]
struct CountingRng(AtomicU64);

impl Rng for CountingRng {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

pub struct TestApp {
    pub server: RedisServer,
    pub redis: MultiplexedConnection,
    router: Router,
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn code(&self) -> Value {
        self.json()["code"].clone()
    }

    /// Status and body as one text for snapshots.
    pub fn shown(&self) -> String {
        if self.text.is_empty() {
            return self.status.to_string();
        }
        format!("{}\n{}", self.status, serde_json::to_string_pretty(&self.json()).unwrap())
    }
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    pub async fn start_with(options: RedisOptions) -> Self {
        let server = RedisServer::start(options).await.unwrap();
        let redis = server.connect().await.unwrap();
        let rng: SharedRng = Arc::new(CountingRng(AtomicU64::new(BEFORE_ONE)));
        let address = server.url();
        let settings = Settings::read(&|name| (name == "REDIS_URL").then(|| address.clone())).unwrap();
        let app = App::new(settings, SystemClock::shared(), rng).unwrap();
        Self { server, redis, router: app.routes() }
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(parts.headers.contains_key("x-request-id"), "{method} {path}");
        if parts.status.is_client_error() || parts.status.is_server_error() {
            assert_eq!(parts.headers["content-type"], "application/problem+json", "{method} {path}: {text}");
            let problem: Value = serde_json::from_str(&text).unwrap();
            for member in ["type", "title", "status", "detail", "code", "instance"] {
                assert!(problem.get(member).is_some(), "{member} of {text}");
            }
        }
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_owned()).await
    }

    pub async fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], body.to_owned()).await
    }

    pub async fn patch(&self, path: &str, body: &str) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/merge-patch+json")], body.to_owned()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], Body::empty()).await
    }
}
