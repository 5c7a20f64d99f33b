//! Whether the store still remembers: the epoch, the claims of a rebuild, and the guard against mass deletions.

use super::Direction;

/// One slice of the claims at the beginning of a rebuild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Documents that were read.
    pub documents: u64,
    /// Documents whose Planner task is theirs again.
    pub claimed: u64,
    /// Where to go on; `None` = that was all.
    pub next: Option<String>,
}

/// From how many inferred deletions on the guard stops them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLimits {
    /// Up to this many in 24 hours are never too many.
    pub min: u32,
    /// Nor are this many per cent of the known tasks; 100 = the guard never stops anything.
    pub percent: u32,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self { min: 5, percent: 5 }
    }
}

/// Asks whether tasks may be deleted whose deletion nobody stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardQuestion {
    /// On which side: `Up` in Planner, `Down` the documents.
    pub direction: Direction,
    /// The tasks.
    pub ids: Vec<String>,
    /// The limits.
    pub limits: GuardLimits,
    /// How many tasks the last look at the other side missed.
    pub missing: usize,
    /// Of how many.
    pub of: usize,
}

/// How far a rebuild has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildProgress {
    /// When it began, ms.
    pub since: i64,
    /// Documents that were read for their Planner ids.
    pub documents: u64,
    /// Documents whose Planner task is theirs again.
    pub claimed: u64,
    /// Every document was read.
    pub documents_done: bool,
    /// Plans that the current round has listed.
    pub plans_listed: usize,
    /// Complete rounds of lists, of two.
    pub rounds: u32,
}
