//! The Graph simulator over real HTTP. In every test each message is checked against Microsoft's schemas
//! when `ANNIKA_ORACLES` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod batch;
mod conduct;
mod control;
mod delta;
mod faults;
mod golden;
mod permissions;
mod planner;
mod random;
mod rules;
mod schema;
mod switches;
mod tokens;

use annika_devkit::graph::{GraphOptions, GraphSimulator, Side};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A simulator with Microsoft's example, and a client with an app's token.
pub struct Graph {
    pub sim: GraphSimulator,
    pub http: reqwest::Client,
    pub token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn etag(&self) -> String {
        self.body["@odata.etag"].as_str().expect("an entity tag").to_owned()
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().expect("an error code")
    }
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// These tests ask for what is wrong on purpose.
pub fn options() -> GraphOptions {
    GraphOptions { provoked: true, ..GraphOptions::example() }
}

impl Graph {
    pub async fn start() -> Self {
        Self::with(options()).await
    }

    pub async fn with(options: GraphOptions) -> Self {
        let sim = GraphSimulator::start(options).await.unwrap();
        let token = sim.control().app_token();
        Self { sim, http: client(), token }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> reqwest::Result<Reply> {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}/v1.0{path}", self.sim.url()) };
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        assert!(status != StatusCode::NO_CONTENT || body.is_null(), "204 with a body");
        Ok(Reply { status: status.as_u16(), headers, body })
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// PATCH that asks for the entity.
    pub async fn patch(&self, path: &str, tag: &str, body: Value) -> Reply {
        let headers = [("If-Match", tag), ("Prefer", "return=representation")];
        self.send(Method::PATCH, path, &headers, Some(body)).await
    }

    pub async fn delete(&self, path: &str, tag: &str) -> Reply {
        self.send(Method::DELETE, path, &[("If-Match", tag)], None).await
    }
}

impl Drop for Graph {
    /// No answer of the simulator may break Microsoft's schemas, in any test.
    fn drop(&mut self) {
        let wrong: Vec<_> =
            self.sim.violations().into_iter().filter(|found| found.side == Side::Answer).collect();
        if !std::thread::panicking() {
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }
}
