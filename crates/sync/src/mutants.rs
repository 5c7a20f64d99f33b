//! Switches that take single rules out of the engine, so that the simulator can prove that it would notice.

macro_rules! mutants {
    ($($name:ident: $rule:literal,)*) => {
        /// A rule that can be taken out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Mutant {
            $(#[doc = $rule] $name,)*
        }

        impl Mutant {
            /// Every switch.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),*];

            /// The rule in words.
            pub fn rule(self) -> &'static str {
                match self {
                    $(Mutant::$name => $rule,)*
                }
            }
        }
    };
}

mutants! {
    ChangedOnly: "a PATCH carries only what changed",
    BaseAfterAnswer: "the base moves only after Planner's answer",
    ThreeWay: "three-way merge: both sides count",
    Sweep: "documents that nobody announced are looked for",
    MergedEtag: "a PATCH carries the ETag of the copy that was merged",
    DeleteEtag: "a DELETE carries the ETag of the copy that was read",
    TaskLease: "a claim ends by itself",
    CompleteLists: "only complete lists say anything",
    ReadBeforeAbsence: "a task that a list lacks is read before it counts as gone",
    SecondAnswer: "one 404 is no proof",
    LastWord: "the last word before a deletion is the task's own",
    ListEvidence: "404s count only when lists lack the task too",
    ClosedPlan: "a 403 counts only with a list from after it",
    UnlistedPlans: "a list proves no absence while another plan cannot be listed",
    CreateIntent: "a create is stored before it is sent",
    DurableIntent: "a create is on a replica before it is sent",
    SendDeadline: "a create is not sent long after its intent was stored",
    Settle: "a create is sent again only when what was sent must have arrived",
    CreatedWith: "what a create could not carry is no edit that beats a deletion",
    HeldOrphans: "a task of our own that nobody claims is not imported while a create is open",
    SyncRev: "the stamp tells what an agent had read",
    Views: "an old stamp's unchanged value is no opinion",
    SilentIsCurrent: "a document that is silent about a field means its last local value",
    OlderOfTwo: "of two values that a stale document says, the one that was replaced before is no edit",
    UnseenChange: "an edit on an old stamp is a conflict with a change that it had not seen",
    History: "a stale value without a stamp does not count",
    EtagOrder: "the newest ETag wins",
    OwnEcho: "a write of unknown outcome is no remote change",
    IntentsKept: "intents outlive a step that has nothing to do",
    DefiniteRefusal: "a refused write is no write of unknown outcome",
    EarlierWrites: "a refused write says nothing of one before it, whose outcome is not known",
    CompareAndSet: "a document is written only over the bytes that were read",
    Fence: "a commit with an old fence is refused",
    HintCompare: "a mark during work makes the task due again",
    SecondSweep: "one sweep that misses a document is no deletion",
    FreshRead: "Planner's side is read whole just before a DELETE",
    EditBeatsDelete: "an edit that the deleter had not seen brings the task back",
    SaidByDocument: "a value that the document said was seen by whoever deleted it",
    ExpiryIsNoDeletion: "a document that had a time to live is not deleted in Planner",
    ExpectAbsent: "a document that is back keeps its Planner task",
    SawNone: "a document that is back as it was hears of what happened while it was away",
    MappedElsewhere: "a Planner task belongs to one document",
    WayBack: "a move whose new task is gone goes back only to an old one that is there",
    GoneList: "a task that was just deleted is not imported from an old list",
    OldList: "a list that was begun minutes ago says nothing",
    FormerId: "a document whose map was lost finds its task by its stamp",
    CompleteFromBase: "a re-created task has all its last values",
    RestoredUnseen: "what a restored document holds was seen by nobody",
    ElementMerge: "sets are merged element by element",
    RotationTurn: "a plan keeps its turn of the rotation over details until there is room for it",
    ThrottlePause: "Graph is left alone while it throttles",
    Suspension: "a plan whose list is refused again is left alone, and so are its tasks",
    FullPlan: "a plan that is full gets no new tasks but one to try",
    RetryBudget: "repeats are a small part of the requests",
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
