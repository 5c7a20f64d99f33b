//! The real binary under the Functions-host emulator, with a Redis and the simulators of its own.

mod children;
mod documents;
mod failover;
mod fields;
mod full;
mod handover;
mod hosting;
mod kill;
mod kill_runs;
mod lifecycle;
mod network;
mod outages;
mod places;
mod session;
mod staging;
mod switches;
mod uploads;
mod weather;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use annika::keys;
use annika_devkit::{
    functions_host::{FunctionsHost, HostOptions, Source},
    graph::{Control, GraphOptions, seed},
    stack::{Stack, StackOptions},
};
use redis::{AsyncCommands, AsyncConnectionConfig, aio::MultiplexedConnection};
use serde_json::{Value, json};

/// Lays the Functions app flat into `folder`, as `make stage` does; the binary is linked.
pub fn stage_app(folder: &Path) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(folder).unwrap();
    for file in ["host.json", "local.settings.json"] {
        fs::copy(root.join(file), folder.join(file)).unwrap();
    }
    for function in fs::read_dir(root.join("functions")).unwrap() {
        let function = function.unwrap();
        let target = folder.join(function.file_name());
        fs::create_dir_all(&target).unwrap();
        fs::copy(function.path().join("function.json"), target.join("function.json")).unwrap();
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_annika"), folder.join("annika")).unwrap();
}

/// What a Functions host gives a handler, and nothing of this machine's own settings.
pub fn host_options(root: &Path) -> HostOptions {
    HostOptions { root: root.to_owned(), inherit_env: false, ..HostOptions::default() }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<String>,
    pub json: Value,
}

/// Everything, running.
pub struct Rig {
    pub stack: Stack,
    pub redis: MultiplexedConnection,
    http: reqwest::Client,
    app: tempfile::TempDir,
    // Apart, since a test may take the stack away.
    _messages: Messages,
}

impl Rig {
    /// Everything started, the timer fired once as at the first minute.
    pub async fn start() -> Self {
        let rig = Self::start_with(|_| {}).await;
        rig.fire();
        rig
    }

    /// Everything started; nothing fired.
    pub async fn start_with(change: impl FnOnce(&mut StackOptions)) -> Self {
        let app = tempfile::tempdir().unwrap();
        stage_app(&app.path().join("app"));
        let mut options = StackOptions::new(&app.path().join("app"));
        options.graph = GraphOptions::example();
        options.host = host_options(&options.app);
        change(&mut options);
        let stack = Stack::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        // A machine that runs every test at once is slow to answer.
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        let client = stack.redis.as_ref().unwrap().client().unwrap();
        let redis = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let _messages = Messages(stack.graph.control().clone());
        Self { stack, redis, http, app, _messages }
    }

    /// Another host with a handler of its own, for the same Redis and Graph; with credentials and the plan.
    pub async fn another_host(&self) -> FunctionsHost {
        self.another_host_with(&[]).await
    }

    /// The same, with more environment.
    pub async fn another_host_with(&self, env: &[(&str, &str)]) -> FunctionsHost {
        let mut options = host_options(&self.app.path().join("app"));
        let graph = self.stack.graph.environment(true).into_iter();
        options.env.extend(graph.map(|(name, value)| (name.to_owned(), value)));
        options.env.push(("AZURE_CLIENT_ID".to_owned(), self.stack.graph.client_id()));
        options.env.push(("REDIS_URL".to_owned(), self.stack.redis_url().to_owned()));
        options.env.push(("PLANNER_PLANS".to_owned(), seed::PLAN.to_owned()));
        options.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        FunctionsHost::start(options).await.unwrap()
    }

    pub fn control(&self) -> &Control {
        self.stack.graph.control()
    }

    pub fn host(&self) -> &FunctionsHost {
        &self.stack.host
    }

    /// Fires the timer, as the host does at a tick, and does not wait for its end.
    pub fn fire(&self) {
        // The run ends with the next tick, or with the handler; both are in the emulator's records.
        drop(self.host().fire_detached("planner_poll").unwrap());
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let url = format!("{}{path}", self.host().url());
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .header("x-functions-key", self.host().function_key());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let text = answer.text().await.unwrap();
        Reply { status, retry_after, json: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None).await
    }

    /// Creates a task over HTTP.
    pub async fn create(&self, id: &str, title: &str) {
        let task = json!({"id": id, "title": title, "plan_id": seed::PLAN});
        let reply = self.send("POST", "/api/tasks", Some(task)).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }

    /// An agent's write past the API: a document, and the message about it.
    pub async fn write(&self, id: &str, document: &Value) {
        let mut redis = self.redis.clone();
        let () = redis.set(keys::task(id), document.to_string()).await.unwrap();
        let message = json!({"action": "updated", "task_id": id, "source": "agent"}).to_string();
        let () = redis.publish(keys::tasks_updates(), message).await.unwrap();
    }

    /// Asks for a poll.
    pub async fn poll(&self) {
        assert_eq!(self.send("POST", "/api/sync/poll", None).await.status, 202);
    }

    /// The codes of the reasons for which readiness is degraded.
    pub async fn reasons(&self) -> Vec<String> {
        let ready = self.get("/api/health/ready").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let reasons = ready.json["reasons"].as_array().unwrap();
        let codes: Vec<String> =
            reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ready.json["status"], if codes.is_empty() { "ready" } else { "degraded" });
        codes
    }

    /// Planner's tasks with this title.
    pub fn titled(&self, title: &str) -> Vec<Value> {
        self.control().tasks(seed::PLAN).into_iter().filter(|task| task["title"] == title).collect()
    }

    /// Waits until Planner has exactly one task with this title.
    pub async fn in_planner(&self, title: &str, seconds: u64) -> Value {
        within(seconds, &format!("'{title}' in Planner"), async || !self.titled(title).is_empty()).await;
        let found = self.titled(title);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    pub async fn document(&self, id: &str) -> Option<Value> {
        let text: Option<String> = self.redis.clone().get(keys::task(id)).await.unwrap();
        text.map(|text| serde_json::from_str(&text).unwrap())
    }

    /// The failed list: task id and code.
    pub async fn failed(&self) -> Vec<(String, String)> {
        let texts: Vec<String> = self.redis.clone().lrange(keys::sync_failed(), 0, -1).await.unwrap();
        let read = |text: &String| {
            let entry: Value = serde_json::from_str(text).unwrap();
            let member = |name: &str| entry[name].as_str().unwrap().to_owned();
            (member("task_id"), member("code"))
        };
        texts.iter().map(read).collect()
    }

    /// Which Planner task a task is.
    pub async fn mapped(&self, id: &str) -> Option<String> {
        let text: Option<String> = self.redis.clone().get(keys::planner_id_map(id)).await.unwrap();
        let map: Value = serde_json::from_str(&text?).unwrap();
        Some(map["planner_id"].as_str().unwrap().to_owned())
    }

    /// What every session must leave behind: messages that fit Microsoft's descriptions, logs in order, no
    /// secrets in them. `titles` are words of people's text.
    pub fn check(&self, titles: &[&str]) {
        self.check_messages();
        self.check_logs(titles);
    }

    pub fn check_messages(&self) {
        let checked = self.control().checked();
        assert_eq!(checked.on, std::env::var_os("ANNIKA_ORACLES").is_some());
        assert!(!checked.on || checked.requests > 0, "{checked:?}");
        assert_eq!(self.control().violations().len(), 0, "{:#?}", self.control().violations());
    }

    pub fn check_logs(&self, titles: &[&str]) {
        let lines = self.host().log();
        let graph = &self.stack.graph;
        let mut secrets = vec![
            self.host().function_key().to_owned(),
            self.host().master_key().to_owned(),
            graph.identity_header(),
            graph.client_secret(),
            "eyJ".to_owned(),
        ];
        secrets.extend(titles.iter().map(|title| (*title).to_owned()));
        let mut handlers = 0;
        for line in lines {
            assert_ne!(line.source, Source::Stderr, "{}", line.text);
            if line.source != Source::Stdout {
                continue;
            }
            handlers += 1;
            let json: Value =
                serde_json::from_str(&line.text).unwrap_or_else(|e| panic!("{e}: {}", line.text));
            assert!(json["message"].is_string() && json["level"].is_string(), "{json}");
            assert_ne!(json["code"], "panic", "{json}");
            for secret in &secrets {
                assert!(!line.text.contains(secret.as_str()), "a secret stands in {}", line.text);
            }
        }
        assert!(handlers > 0, "the handler said nothing");
    }
}

/// What a test leaves behind when it ends.
struct Messages(Control);

impl Drop for Messages {
    /// No message to or from Graph may break Microsoft's descriptions, and the handler behaves as a client of Graph
    /// has to, in any test.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let violations = self.0.violations();
            assert!(violations.is_empty(), "{violations:#?}");
            let breaches = self.0.breaches();
            assert!(breaches.is_empty(), "{breaches:#?}");
        }
    }
}

/// Calls `probe` until it answers true; panics with the story so far after so many seconds.
pub async fn within(seconds: u64, what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !probe().await {
        assert!(start.elapsed() < Duration::from_secs(seconds), "{what}: not within {seconds} s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes past the test harness, so that figures are seen.
pub fn say(line: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
