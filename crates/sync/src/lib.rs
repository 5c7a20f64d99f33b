//! The sync engine between Redis and Planner, pure: everything from outside comes through one trait.
//!
//! A task has three versions: the local document, Planner's copy, and the base they last agreed on.
//! [`plan`] decides from the three what to do next; [`engine`] does it through [`world::World`].
//! Nothing here knows Redis, HTTP or a real clock, so production and simulation run the same code.

pub mod blocks;
pub mod engine;
pub mod etag;
pub mod explain;
pub mod gauges;
pub mod lens;
pub mod limiter;
pub mod merge;
pub mod mutants;
pub mod plan;
pub mod schedule;
pub mod state;
pub mod world;
