//! Switches that take single rules out of the engine, so that the simulator can prove that it would notice.

/// A rule that can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mutant {
    /// Documents that nobody announced are not looked for.
    Sweep,
}

impl Mutant {
    /// Every switch.
    pub const ALL: [Mutant; 1] = [Mutant::Sweep];
}

#[cfg(feature = "mutants")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    static REMOVED: AtomicU8 = AtomicU8::new(u8::MAX);

    /// Takes a rule out, or puts all of them back.
    pub fn remove(rule: Option<super::Mutant>) {
        REMOVED.store(rule.map_or(u8::MAX, |rule| rule as u8), Ordering::Relaxed);
    }

    /// Whether this rule is taken out.
    pub fn removed(rule: super::Mutant) -> bool {
        REMOVED.load(Ordering::Relaxed) == rule as u8
    }
}

#[cfg(feature = "mutants")]
pub use switch::{remove, removed};

/// Whether this rule is taken out: never, without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
pub const fn removed(_: Mutant) -> bool {
    false
}
