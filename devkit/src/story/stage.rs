//! Where the story plays: the two sides as seen from outside, the screen, and what was observed so far.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    Addresses, Missed,
    agent::Agent,
    clock::{self, Moment, pause},
    planner::{Planner, Unseen},
    script::{STEPS, Step},
};

/// Between two looks at what is expected soon, and at what may take half a minute.
const OFTEN: Duration = Duration::from_millis(50);
const NOW_AND_THEN: Duration = Duration::from_millis(250);

/// The stage.
pub(super) struct Stage {
    pub(super) agent: Agent,
    pub(super) planner: Planner,
    pub(super) plan: String,
    /// Makes ids unlike those of earlier runs.
    pub(super) run: String,
    began: Moment,
    observed: Mutex<BTreeMap<Step, Duration>>,
    /// Titles of the tasks that agents made.
    made: Mutex<Vec<String>>,
}

impl Stage {
    /// Connects to both sides.
    pub(super) async fn open(at: &Addresses) -> Result<Self, Unseen> {
        Ok(Self {
            agent: Agent::start(&at.handler, &at.function_key, &at.redis).await?,
            planner: Planner::log_in(&at.graph, crate::graph::seed::PERSON).await?,
            plan: crate::graph::seed::PLAN.to_owned(),
            run: clock::stamp(),
            began: Moment::now(),
            observed: Mutex::default(),
            made: Mutex::default(),
        })
    }

    /// An id for a task of this run.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{name}-{}", self.run)
    }

    /// Says what somebody does.
    pub(super) fn tell(&self, what: &str) {
        self.print("->", what);
    }

    fn print(&self, sign: &str, what: &str) {
        let line = format!("{:>7.2} s  {sign:<4} {what}\n", self.began.elapsed().as_secs_f64());
        // A closed screen must not end the story: its exit code still counts.
        let _best_effort = std::io::stdout().write_all(line.as_bytes());
    }

    /// Looks until `look` sees what the step is about, or its deadline has passed since `since`.
    pub(super) async fn observe<T>(
        &self,
        step: Step,
        since: Moment,
        look: impl AsyncFn() -> Result<T, Unseen>,
    ) -> Result<T, Missed> {
        let seen = self.until(step, step.deadline(), since, look).await?;
        self.passed(step, since.elapsed(), "");
        Ok(seen)
    }

    /// Looks until `look` sees what `step` needs; not within `deadline` since `since` means that it was missed.
    pub(super) async fn until<T>(
        &self,
        step: Step,
        deadline: Duration,
        since: Moment,
        look: impl AsyncFn() -> Result<T, Unseen>,
    ) -> Result<T, Missed> {
        let between = if deadline > Duration::from_secs(15) { NOW_AND_THEN } else { OFTEN };
        let mut last = "nothing was seen".to_owned();
        loop {
            let left = deadline.saturating_sub(since.elapsed());
            // A look that hangs must not outlive the deadline.
            let seen = tokio::select! {
                biased;
                seen = look() => seen,
                () = pause(left) => return Err(self.missed_within(step, deadline, last)),
            };
            match seen {
                Ok(_) if since.elapsed() > deadline => {
                    let last = "it came, but too late".to_owned();
                    return Err(self.missed_within(step, deadline, last));
                }
                Ok(seen) => return Ok(seen),
                Err(why) => last = why,
            }
            pause(between).await;
        }
    }

    /// Notes that a step was observed, `more` about it on the same line.
    pub(super) fn passed(&self, step: Step, took: Duration, more: &str) {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).insert(step, took);
        let line = format!(
            "{:>2}/{}  {}{}{more}   [{:.2} s of {} s]",
            step.number(),
            STEPS.len(),
            step.text(),
            if more.is_empty() { "" } else { ": " },
            took.as_secs_f64(),
            step.deadline().as_secs()
        );
        self.print("ok", &line);
    }

    /// A step that was not observed.
    pub(super) fn missed(&self, step: Step, last: String) -> Missed {
        self.missed_within(step, step.deadline(), last)
    }

    /// A step of which something was not observed within `deadline`, which may be that of its preparation.
    fn missed_within(&self, step: Step, deadline: Duration, last: String) -> Missed {
        let line = format!(
            "{:>2}/{}  {}   [not within {} s]",
            step.number(),
            STEPS.len(),
            step.text(),
            deadline.as_secs()
        );
        self.print("FAIL", &line);
        Missed { step, within: deadline, last }
    }

    /// What was observed, and how long each took.
    pub(super) fn observed(&self) -> BTreeMap<Step, Duration> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers that an agent made a task of this title.
    pub(super) fn made(&self, title: &str) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(title.to_owned());
    }

    /// The titles of all tasks that agents made.
    pub(super) fn all_made(&self) -> Vec<String> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time since the story began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Does something once and says where it failed: an act that is refused is a step that cannot be observed.
pub(super) trait Act<T> {
    /// `step` was not reached if this failed.
    fn or_miss(self, stage: &Stage, step: Step) -> Result<T, Missed>;
}

impl<T> Act<T> for Result<T, Unseen> {
    fn or_miss(self, stage: &Stage, step: Step) -> Result<T, Missed> {
        self.map_err(|why| stage.missed(step, why))
    }
}
