//! What development needs around the handler: host emulator, Graph and Entra simulators, Redis launcher, scenarios.

pub mod bench;
pub mod chaos_proxy;
pub mod functions_host;
pub mod graph;
pub mod oracle;
pub mod redis_server;
pub mod stack;
pub mod story;
