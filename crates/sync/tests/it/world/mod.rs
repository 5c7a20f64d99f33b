//! A world for the engine in memory: Planner and the store as models, faults from a seed.

pub mod oracle;
pub mod planner;
