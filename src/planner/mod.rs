//! Planner: the sync engine as a task of this process, its listener, and how people see that it is well.
//!
//! An invocation of the timer only starts the engine and waits (continuous mode), or runs one cycle (periodic
//! mode). The engine itself lives in `annika_sync`; [`PlannerWorld`] is what is under it here.

mod aging;
mod blocks;
mod categories;
mod commit;
mod epoch;
mod exchange;
mod failed;
mod guard;
mod health;
mod inheritance;
mod inspect;
mod listener;
mod lists;
mod load;
mod overdue;
mod plans;
mod reclaim;
mod remedies;
mod run;
mod scripts;
mod signals;
mod sweep;
mod tombs;
mod upkeep;
mod users;
mod world;

pub use blocks::Blocked;
pub use epoch::rebuild;
pub use failed::{Retry, retry_failed};
pub use guard::{Guarded, guarded, release};
pub use health::{Depths, Lag, Listed, Published, Rebuild};
pub use inspect::{
    Backlog, Explained, Guard, InspectError, Overview, PlanView, RebuildPhase, RebuildState, Record, Records,
    Schedule,
};
pub use plans::PlanSources;
pub use run::{Planner, Status};
pub(crate) use scripts::mark_changed;
pub use scripts::{
    AGE, CLAIM, COMMIT, EPOCH, FREE, GUARD, HOLD, INGEST, KEEP, LEASE, MARK_MANY, NOTE, OBSERVE, PACE, PAUSE,
    RECLAIM, RELEASE, RESTORE,
};
pub use tombs::{Restored, Tomb, Tombs, restore, tombs};
pub use world::PlannerWorld;
