//! Staged apps for the tests, with the Python handler beside them.

use annika_devkit::functions_host::HostOptions;
use serde_json::{Value, json};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A staged app in a folder of its own.
pub struct Staged {
    folder: TempDir,
}

impl Staged {
    /// An app with a host.json and an executable handler, but no functions yet.
    pub fn new() -> Self {
        let staged = Self { folder: tempfile::tempdir().unwrap() };
        staged.host_json(&json!({}));
        let handler = staged.root().join("handler");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/functions_host/handler.py");
        std::fs::write(&handler, format!("#!/bin/sh\nexec python3 {script} \"$@\"\n")).unwrap();
        staged.mode(0o755);
        staged
    }

    /// The app's root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    /// Where the handler writes down what it received.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("received.log")
    }

    /// Writes host.json with the given top-level members over the usual ones.
    pub fn host_json(&self, members: &Value) {
        let mut file = json!({
            "version": "2.0",
            "extensions": {"http": {"routePrefix": ""}},
            "customHandler": {
                "enableProxyingHttpRequest": true,
                "description": {"defaultExecutablePath": "handler", "arguments": ["one", "two words"]},
            },
        });
        for (name, value) in members.as_object().unwrap() {
            file[name] = value.clone();
        }
        std::fs::create_dir_all(self.root()).unwrap();
        std::fs::write(self.root().join("host.json"), file.to_string()).unwrap();
    }

    /// The mode of the handler's file.
    pub fn mode(&self, mode: u32) {
        std::fs::set_permissions(self.root().join("handler"), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Adds an HTTP function.
    pub fn http(&self, name: &str, route: &str, methods: &[&str], auth_level: &str) -> &Self {
        self.function(name, &http_json(route, methods, auth_level))
    }

    /// Adds a timer function.
    pub fn timer(&self, name: &str, schedule: &str) -> &Self {
        self.function(name, &json!({"bindings": [timer_binding(schedule)]}))
    }

    /// Adds a function by its whole function.json.
    pub fn function(&self, name: &str, file: &Value) -> &Self {
        write_function(&self.root().join(name), file);
        self
    }

    /// Options to run the app: nothing inherited but PATH, no keys, no timers by themselves.
    pub fn options(&self) -> HostOptions {
        let mut env = vec![("HANDLER_LOG".to_owned(), self.log_file().display().to_string())];
        env.extend(std::env::var("PATH").map(|path| ("PATH".to_owned(), path)));
        HostOptions {
            root: self.root(),
            env,
            inherit_env: false,
            auth: false,
            timers: false,
            ..HostOptions::default()
        }
    }

    fn log_lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
    }

    /// What the handler received, the readiness calls left out.
    pub fn received(&self) -> Vec<Value> {
        let lines = self.log_lines().into_iter();
        lines.filter(|line| line["line"].is_string() && line["line"] != "GET / HTTP/1.1").collect()
    }

    /// How many handler processes started.
    pub fn starts(&self) -> usize {
        self.log_lines().iter().filter(|line| line["started"].is_u64()).count()
    }

    /// Options with one more variable for the handler.
    pub fn options_with(&self, name: &str, value: &str) -> HostOptions {
        let mut options = self.options();
        options.env.push((name.to_owned(), value.to_owned()));
        options
    }
}

/// A timer's binding.
pub fn timer_binding(schedule: &str) -> Value {
    json!({"type": "timerTrigger", "direction": "in", "name": "myTimer", "schedule": schedule})
}

/// A whole function.json of an HTTP function; no methods means all.
pub fn http_json(route: &str, methods: &[&str], auth_level: &str) -> Value {
    let mut trigger = json!({"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": auth_level, "route": route});
    if !methods.is_empty() {
        trigger["methods"] = json!(methods);
    }
    json!({"bindings": [trigger, {"type": "http", "direction": "out", "name": "res"}]})
}

/// Writes a function's folder.
pub fn write_function(folder: &Path, file: &Value) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("function.json"), file.to_string()).unwrap();
}
