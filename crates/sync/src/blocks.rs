//! What keeps a plan from being listed, or from new tasks: lists that Graph refuses again and again, and Planner's
//! limits. Both are tried again by themselves, less often each time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mutants::{Mutant, removed};

/// Two refusals of a plan's list suspend it only when they are this far apart, ms: single ones are known to be wrong.
const APART_MS: i64 = 15_000;
/// While a new task is tried in a plan that was full, no other one is for so long at most, ms.
const TRIAL_MS: i64 = 60_000;

/// Which of Planner's limits are about one task and not about its plan (Graph's overview of Planner).
const OF_ONE_TASK: [&str; 5] = [
    "MaximumAssigneesInTasks",
    "MaximumChecklistItemsOnTask",
    "MaximumReferencesOnTask",
    "MaximumTasksAssignedToUser",
    "MaximumUsersSharedWithProject",
];

/// Whether Graph's error code names a limit that keeps every new task out of the plan.
pub fn is_plan_limit(code: &str) -> bool {
    code.starts_with("Maximum") && !OF_ONE_TASK.contains(&code)
}

/// How long a blocked plan is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The first time.
    pub first: Duration,
    /// It doubles each time, up to this.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first: Duration::from_mins(15), longest: Duration::from_hours(6) }
    }
}

impl Patience {
    /// How long after so many refusals, ms.
    fn after(self, times: u32) -> i64 {
        let wait = self.first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(self.longest);
        i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
    }

    /// How long the trial of a new task keeps others from being tried, ms.
    fn trial(self) -> i64 {
        TRIAL_MS.min(self.after(1) / 4)
    }
}

/// What stands against a plan; the store keeps it for the next engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Blocks {
    /// Its list is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// It takes no new tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Full>,
}

/// A plan whose last lists were refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// What Graph answered last.
    pub status: u16,
    /// When the first of these refusals came, ms.
    pub since: i64,
    /// Until when the plan is left alone, ms; 0 = it is not suspended yet.
    pub until: i64,
    /// How often it was suspended in a row.
    pub times: u32,
}

/// A plan that has reached one of Planner's limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Full {
    /// Planner's name of the limit.
    pub code: String,
    /// When a new task was first refused, ms.
    pub since: i64,
    /// Until when no new task is tried, ms.
    pub until: i64,
    /// How often one was refused in a row.
    pub times: u32,
    /// The task that stands in the failed list for all that wait.
    pub told: String,
}

impl Blocks {
    /// Graph refused the plan's list.
    pub fn list_refused(&mut self, status: u16, now: i64, patience: Patience) {
        if removed(Mutant::Suspension) {
            return;
        }
        let refused = self.refused.get_or_insert(Refused { since: now, ..Refused::default() });
        refused.status = status;
        let again = if refused.until == 0 { now - refused.since >= APART_MS } else { now >= refused.until };
        if again {
            refused.times += 1;
            refused.until = now + patience.after(refused.times);
        }
    }

    /// The suspension, where there is one. It ends with a list that comes, not with its time.
    pub fn suspended(&self) -> Option<&Refused> {
        self.refused.as_ref().filter(|refused| refused.until > 0)
    }

    /// Planner refused a new task of the plan; says whether this task is the one that is told of.
    pub fn create_refused(&mut self, code: &str, id: &str, now: i64, patience: Patience) -> bool {
        let full = self.full.get_or_insert(Full { since: now, told: id.to_owned(), ..Full::default() });
        code.clone_into(&mut full.code);
        // Those that were under way together are one refusal, and one that somebody asked for changes nothing.
        if full.times == 0 || now >= full.until - patience.trial() {
            full.times += 1;
            full.until = now + patience.after(full.times);
        }
        full.told == id
    }

    /// Whether a new task may be tried now; from then on it is the only one for a while. `early` = somebody asks for
    /// it before its time.
    pub fn try_create(&mut self, early: bool, now: i64, patience: Patience) -> bool {
        let Some(full) = self.full.as_mut() else { return true };
        if now < full.until && !early {
            return false;
        }
        full.until = full.until.max(now + patience.trial());
        true
    }

    /// A clock that stood elsewhere must not keep a plan blocked.
    pub fn clamp(&mut self, now: i64, patience: Patience) {
        let latest = now + i64::try_from(patience.longest.as_millis()).unwrap_or(i64::MAX);
        if let Some(refused) = self.refused.as_mut() {
            refused.until = refused.until.min(latest);
        }
        if let Some(full) = self.full.as_mut() {
            full.until = full.until.min(latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn patience() -> Patience {
        Patience::default()
    }

    #[test]
    fn two_refusals_apart_suspend_and_each_further_one_doubles_up_to_six_hours() {
        let mut blocks = Blocks::default();
        blocks.list_refused(403, 0, patience());
        blocks.list_refused(403, APART_MS - 1, patience());
        assert_eq!(blocks.suspended(), None, "two refusals of one moment are one");
        blocks.list_refused(403, APART_MS, patience());
        let mut waits = Vec::new();
        let mut now = APART_MS;
        for _ in 0..7 {
            let until = blocks.suspended().expect("suspended").until;
            waits.push((until - now) / MINUTE);
            blocks.list_refused(403, now + 1, patience());
            assert_eq!(blocks.suspended().expect("suspended").until, until, "asked for before its time");
            now = until;
            blocks.list_refused(404, now, patience());
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 360, 360]);
        assert_eq!(blocks.suspended().map(|refused| (refused.status, refused.since)), Some((404, 0)));
    }

    #[test]
    fn a_full_plan_is_tried_by_one_task_a_period() {
        let mut blocks = Blocks::default();
        assert!(blocks.try_create(false, 0, patience()), "nothing stands against it");
        assert!(blocks.create_refused("MaximumTasksInProject", "a", 0, patience()));
        assert!(!blocks.create_refused("MaximumTasksInProject", "b", 50, patience()), "only one is told of");
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..6 {
            let until = blocks.full.as_ref().expect("full").until;
            waits.push((until - now) / MINUTE);
            assert!(!blocks.try_create(false, until - 1, patience()));
            assert!(blocks.try_create(false, until, patience()));
            assert!(!blocks.try_create(false, until + 1, patience()), "one at a time");
            now = until + 100;
            blocks.create_refused("MaximumTasksInProject", "b", now, patience());
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 360]);
        let until = blocks.full.as_ref().expect("full").until;
        assert!(blocks.try_create(true, now + 1, patience()), "somebody asks");
        blocks.create_refused("MaximumTasksInProject", "a", now + 2, patience());
        assert_eq!(blocks.full.as_ref().map(|full| full.until), Some(until), "and lengthens nothing");
    }

    #[test]
    fn a_trial_without_an_answer_is_followed_by_another() {
        let mut blocks = Blocks::default();
        blocks.create_refused("MaximumTasksInProject", "a", 0, patience());
        assert!(blocks.try_create(false, 15 * MINUTE, patience()));
        assert!(blocks.try_create(false, 16 * MINUTE, patience()));
    }

    #[test]
    fn limits_of_one_task_say_nothing_about_its_plan() {
        assert!(is_plan_limit("MaximumTasksInProject") && is_plan_limit("MaximumActiveTasksInProject"));
        assert!(!is_plan_limit("MaximumAssigneesInTasks") && !is_plan_limit("Forbidden"));
    }

    #[test]
    fn a_clock_that_stood_elsewhere_blocks_no_plan_for_ever() {
        let mut blocks = Blocks::default();
        blocks.list_refused(403, i64::MAX / 4, patience());
        blocks.list_refused(403, i64::MAX / 4 + APART_MS, patience());
        blocks.clamp(0, patience());
        assert_eq!(blocks.suspended().map(|refused| refused.until), Some(360 * MINUTE));
    }
}
