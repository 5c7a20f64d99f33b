//! Planner: the sync engine as a task of this process, its listener, and how people see that it is well.
//!
//! An invocation of the timer only starts the engine and waits (continuous mode), or runs one cycle (periodic
//! mode). The engine itself lives in `annika_sync`; [`PlannerWorld`] is what is under it here.

mod commit;
mod health;
mod listener;
mod lists;
mod load;
mod plans;
mod run;
mod scripts;
mod sweep;
mod world;

pub use health::{Depths, Published};
pub use plans::PlanSources;
pub use run::{Planner, Status};
pub use scripts::{CLAIM, COMMIT, FREE, INGEST, LEASE, MARK_MANY, NOTE, OBSERVE, PACE, PAUSE};
pub use world::PlannerWorld;
