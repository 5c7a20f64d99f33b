//! A world for the engine in memory: the store and Planner as models, virtual time, faults from a seed.
//!
//! `sim` holds the time, the events and the processes; `store` what Redis holds, with the semantics of the
//! production scripts; `planner` Planner and `graph` what Graph answers for it; `wire` is the engine's `World` between them, where requests are lost,
//! late, refused or answered to nobody; `actors` are the agents and people; `checks` what must hold at the end.

pub mod actors;
pub mod checks;
pub mod failover;
pub mod families;
pub mod faults;
pub mod graph;
pub mod lag;
pub mod oracle;
pub mod planner;
pub mod sim;
pub mod store;
pub mod wire;
