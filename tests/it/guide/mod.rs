//! The agents' guide: what it shows is what runs, and what runs reaches Planner.

mod clients;
mod curl;
mod examples;
mod race;
mod text;

use annika_devkit::{
    graph::{GraphOptions, seed},
    stack::{Stack, StackOptions},
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

const DEADLINE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn agents() -> PathBuf {
    root().join("docs/agents")
}

/// The product around the real binary, with its sync running, and a folder with copies of the guide's files.
struct Scene {
    stack: Stack,
    files: tempfile::TempDir,
    _app: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let app = tempfile::tempdir().unwrap();
        let stage = app.path().join("func-app");
        let staged = tokio::process::Command::new("make")
            .args(["--no-print-directory", "stage"])
            .arg(format!("STAGE={}", stage.display()))
            .arg(format!("BIN={}", env!("CARGO_BIN_EXE_annika")))
            .current_dir(root())
            .output()
            .await
            .unwrap();
        assert!(staged.status.success(), "{}", String::from_utf8_lossy(&staged.stderr));
        let mut options = StackOptions::new(&stage);
        options.graph = GraphOptions::example();
        let stack = Stack::start(options).await.unwrap();
        drop(stack.host.fire_detached("planner_poll").unwrap());

        let files = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(agents()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), files.path().join(entry.file_name())).unwrap();
        }
        Self { stack, files, _app: app }
    }

    /// A program in the folder of copies, with the settings that the guide names.
    fn program(&self, name: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(name);
        command
            .current_dir(self.files.path())
            .env("REDIS_URL", self.stack.redis_url())
            .env("ANNIKA_URL", self.stack.host.url())
            .env("ANNIKA_KEY", self.stack.host.function_key())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Makes an installed package folder visible to the copies, as `npm install` beside them would.
    fn link_node_modules(&self, installed: &Path) {
        std::os::unix::fs::symlink(installed, self.files.path().join("node_modules")).unwrap();
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        self.stack.redis.as_ref().unwrap().connect().await.unwrap()
    }

    /// Planner's copy of a task, once it is there and fits.
    async fn in_planner(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut redis = self.redis().await;
        let mut seen = Value::Null;
        until(what, async || {
            let map: Option<String> = redis::cmd("GET")
                .arg(format!("annika:planner:id_map:{id}"))
                .query_async(&mut redis)
                .await
                .unwrap();
            let map: Value = serde_json::from_str(&map?).unwrap();
            seen = self.stack.graph.control().task(map["planner_id"].as_str()?)?;
            fits(&seen).then(|| seen.clone())
        })
        .await
    }

    /// Planner's copies of tasks with this title: one, whatever happened.
    fn copies(&self, title: &str) -> usize {
        self.stack.graph.control().tasks(seed::PLAN).iter().filter(|task| task["title"] == title).count()
    }
}

impl Drop for Scene {
    /// No message to or from Graph may break Microsoft's descriptions, in any test.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let violations = self.stack.graph.violations();
            assert!(violations.is_empty(), "{violations:#?}");
        }
    }
}

/// Polls until `found` answers something.
async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a program to its end and returns what it printed.
async fn run(mut command: tokio::process::Command) -> String {
    let output = tokio::time::timeout(2 * DEADLINE, command.output()).await.unwrap().unwrap();
    let (out, err) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{:?} ended with {}:\n{out}\n{err}", command.as_std(), output.status);
    out
}
