//! Annika: a Redis-first Microsoft 365 backend for AI agents, as one Azure Functions custom handler.

pub mod api;
pub mod clock;
pub mod error;
pub mod keys;
pub mod store;
pub mod tasks;
