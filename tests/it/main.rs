//! Annika's tests, as one binary; folders mirror the URLs and the domains.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]
#![allow(clippy::disallowed_methods, reason = "tests run against real processes in real time")]

mod api;
mod cli;
mod docs;
mod entra;
mod fake;
mod functions;
mod graph_client;
mod guide;
mod host;
mod keys;
mod planner;
mod process;
mod store;
mod tasks;
