//! The sync engine between Redis and Planner, pure: everything from outside comes through one trait.

pub mod lens;
