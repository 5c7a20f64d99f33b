//! The devkit's own tests, as one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]
#![allow(clippy::disallowed_methods, reason = "tests run against real processes in real time")]

#[cfg(test)]
mod chaos_proxy;
mod functions_host;
mod golden_files;
mod graph;
mod redis_server;
