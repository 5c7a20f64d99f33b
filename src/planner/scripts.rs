//! The scripts of the sync engine's store, each beside its header comment in `lua/`.

use std::time::Duration;

use crate::{
    keys,
    store::{Script, ScriptCall},
    tasks::pending_entry,
};

macro_rules! marking {
    ($file:literal) => {
        concat!(include_str!("../tasks/lua/mark.lua"), include_str!(concat!("lua/", $file)))
    };
}

macro_rules! in_epoch {
    ($file:literal) => {
        concat!(include_str!("lua/same_epoch.lua"), marking!($file))
    };
}

/// Takes due tasks.
pub static CLAIM: Script = Script::new("planner/claim", 6, in_epoch!("claim.lua"));
/// Makes tasks due.
pub static MARK_MANY: Script = Script::new("planner/mark_many", 5, marking!("mark_many.lua"));
/// Stores what a list showed.
pub static OBSERVE: Script = Script::new("planner/observe", 5, in_epoch!("observe.lua"));
/// Writes one field of a task's state and marks it.
pub static NOTE: Script = Script::new("planner/note", 5, marking!("note.lua"));
/// Keeps tasks that open creates may have made.
pub static HOLD: Script = Script::new("planner/hold", 3, include_str!("lua/hold.lua"));
/// Takes in what others queued.
pub static INGEST: Script = Script::new("planner/ingest", 4, marking!("ingest.lua"));
/// One step of one task.
pub static COMMIT: Script = Script::new(
    "planner/commit",
    6,
    concat!(
        include_str!("../tasks/lua/mark.lua"),
        include_str!("../tasks/lua/index.lua"),
        include_str!("lua/commit.lua")
    ),
);
/// Takes, renews or gives back a lease.
pub static LEASE: Script = Script::new("planner/lease", 3, include_str!("lua/lease.lua"));
/// Frees what the last holder of the engine's lease had claimed.
pub static FREE: Script = Script::new("planner/free", 2, marking!("free.lua"));
/// Replaces the epoch.
pub static EPOCH: Script = Script::new("planner/epoch", 2, include_str!("lua/epoch.lua"));
/// Gives a document its Planner task back.
pub static RECLAIM: Script = Script::new("planner/reclaim", 1, include_str!("lua/reclaim.lua"));
/// Says which inferred deletions may go through.
pub static GUARD: Script = Script::new("planner/guard", 2, marking!("guard.lua"));
/// Confirms held deletions.
pub static RELEASE: Script = Script::new("planner/release", 1, include_str!("lua/release.lua"));
/// Brings a deleted task's document back.
pub static RESTORE: Script = Script::new(
    "planner/restore",
    3,
    concat!(
        include_str!("../tasks/lua/mark.lua"),
        include_str!("../tasks/lua/index.lua"),
        include_str!("lua/restore.lua")
    ),
);
/// Writes fields of a hash, also where Redis is full.
pub static KEEP: Script = Script::new("planner/keep", 1, include_str!("lua/keep.lua"));
/// Publishes the engine's health, also where Redis is full.
pub static HEALTH: Script = Script::new("planner/health", 1, include_str!("lua/health.lua"));
/// Keeps the pace for the next engine.
pub static PACE: Script = Script::new("planner/pace", 2, include_str!("lua/pace.lua"));
/// Takes the document of a completed task out of Redis.
pub static AGE: Script = Script::new(
    "planner/age",
    2,
    concat!(include_str!("../tasks/lua/index.lua"), include_str!("lua/age.lua")),
);
/// Raises the shared pause.
pub static PAUSE: Script = Script::new("planner/pause", 2, include_str!("lua/pause.lua"));

/// When marked tasks fall due.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// After this time.
    After(Duration),
    /// Within this time and not before half of it is over, all that are marked about now at one instant: what is said
    /// in one breath then fills whole batches. Each on its own, the first few would go in batches of one or two.
    Together(Duration),
}

impl When {
    /// Now.
    pub const NOW: Self = Self::After(Duration::ZERO);

    /// Delay and slot, as `mark_many` takes them.
    fn millis(self) -> (i64, i64) {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::After(delay) => (millis(delay), 0),
            Self::Together(linger) => (millis(linger), millis(linger / 2)),
        }
    }
}

/// The call that makes `ids` due; `reason` is one of the script's.
pub(super) fn mark_call(ids: &[String], reason: &str, when: When) -> ScriptCall {
    let (delay, slot) = when.millis();
    let call = MARK_MANY
        .call()
        .key(keys::sync_due())
        .key(keys::sync_pending())
        .num(delay)
        .num(slot)
        .arg(keys::sync_state(""))
        .arg(reason);
    ids.iter().fold(call, |call, id| call.arg(id).arg(pending_entry(id)))
}

/// The call that makes `ids` due at once because their documents changed.
pub(crate) fn mark_changed(ids: &[String]) -> ScriptCall {
    mark_call(ids, "changed", When::NOW)
}

/// The words of commands that `commit` runs, each command with its length in front.
#[derive(Debug, Default)]
pub(super) struct Commands(Vec<Vec<Vec<u8>>>);

impl Commands {
    /// Adds a command.
    pub fn add(&mut self, words: &[&dyn AsRef<[u8]>]) {
        self.0.push(words.iter().map(|word| word.as_ref().to_vec()).collect());
    }

    /// Appends all of them to a call.
    pub fn append_to(self, call: ScriptCall) -> ScriptCall {
        self.0.into_iter().fold(call, |call, words| {
            let call = call.num(i64::try_from(words.len()).unwrap_or(i64::MAX));
            words.into_iter().fold(call, |call, word| call.arg(word))
        })
    }
}
