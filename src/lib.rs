//! Annika: a Redis-first Microsoft 365 backend for AI agents, as one Azure Functions custom handler.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod entra;
pub mod entry;
pub mod erasure;
pub mod error;
pub mod graph;
pub mod host;
pub mod keys;
pub mod planner;
pub mod retry;
pub mod store;
pub mod tasks;
pub mod telemetry;
