//! The simulator of schedules: the real engine over a world in memory with virtual time and seeded faults.

#![allow(missing_docs, reason = "a tool for tests; what stands here is named for what it is")]
#![allow(clippy::expect_used, reason = "a defect of the simulated world ends the run")]

pub mod day;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod pinned;
pub mod play;
pub mod stopwatch;
pub mod world;
