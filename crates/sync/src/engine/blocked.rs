//! Plans that are blocked: whose list Graph refuses, or that take no new tasks. Their tasks wait, and go on as soon as
//! the plan does.

use std::time::Duration;

use super::{Engine, drain::Decision, task::Task};
use crate::{
    blocks::{Blocks, is_plan_limit},
    lens::{Field, Fields, Value},
    mutants::{Mutant, removed},
    plan::{Action, Step},
    state::digest,
    world::{Local, StoreError, World},
};

/// A task that waits for its plan is looked at again this often; it costs no request.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// Tasks that are remembered to wait for one plan; others find out by themselves.
const MOST_WAITING: usize = 10_000;

/// A list that is refused like this says that the plan is closed to us, or gone.
fn is_closed(status: u16) -> bool {
    matches!(status, 403 | 404 | 410)
}

impl<W: World> Engine<W> {
    /// Reads what stands against plans, as the last engine left it.
    pub(super) async fn read_blocks(&self) -> Result<(), StoreError> {
        let mut blocks = self.world.blocks().await?;
        let now = self.world.now_ms();
        blocks.values_mut().for_each(|blocks| blocks.clamp(now, self.settings.patience));
        let mut shared = self.shared();
        shared.calendar.blocks = blocks;
        shared.tell_blocks();
        Ok(())
    }

    /// The synced plans that are not suspended.
    pub(super) fn open_plans(&self) -> Vec<String> {
        let shared = self.shared();
        let suspended = |plan: &String| {
            shared.calendar.blocks.get(plan).is_some_and(|blocks| blocks.suspended().is_some())
        };
        shared.calendar.synced().iter().filter(|plan| !suspended(plan)).cloned().collect()
    }

    /// What a list says about whether its plan may be listed at all.
    pub(super) async fn note_access(
        &self,
        plan: &str,
        came: bool,
        refused: Option<u16>,
    ) -> Result<(), StoreError> {
        let now = self.world.now_ms();
        let patience = self.settings.patience;
        let changed = self.change_blocks(plan, |blocks| match refused {
            _ if came => blocks.refused = None,
            Some(status) if is_closed(status) => blocks.list_refused(status, now, patience),
            _ => {}
        });
        let Some((before, after)) = changed else { return Ok(()) };
        match (before.suspended(), after.suspended()) {
            (Some(_), None) => tracing::info!(plan_id = plan, "a suspended plan is listed again"),
            (_, Some(refused)) => tracing::warn!(
                plan_id = plan,
                status = refused.status,
                times = refused.times,
                code = "plan_suspended",
                "Graph refuses the list of a plan again and again: the plan and its tasks wait"
            ),
            (None, None) => {}
        }
        self.world.keep_blocks(plan, &after).await?;
        if before.suspended().is_some() && after.suspended().is_none() {
            self.go_on(plan).await?;
        }
        Ok(())
    }

    /// Changes what stands against a plan; what it was before and is now, where that differs.
    fn change_blocks(&self, plan: &str, change: impl FnOnce(&mut Blocks)) -> Option<(Blocks, Blocks)> {
        let mut shared = self.shared();
        let blocks = shared.calendar.blocks.entry(plan.to_owned()).or_default();
        let before = blocks.clone();
        change(blocks);
        let after = blocks.clone();
        shared.tell_blocks();
        (before != after).then_some((before, after))
    }

    /// Makes the tasks due that waited for this plan.
    async fn go_on(&self, plan: &str) -> Result<(), StoreError> {
        let waiting = self.shared().waiting.remove(plan).unwrap_or_default();
        if waiting.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = waiting.into_iter().collect();
        self.world.mark(&ids, Duration::ZERO).await
    }

    /// For how long a task has to wait for a plan that is blocked until then, ms; it is told when that ends before.
    fn wait_for(&self, plan: &str, id: &str, until: i64) -> Duration {
        let jitter = self.world.random() % 1_000;
        let left =
            crate::plan::millis(until - self.world.now_ms()).clamp(Duration::from_secs(5), LONGEST_WAIT);
        let mut shared = self.shared();
        let waiting = shared.waiting.entry(plan.to_owned()).or_default();
        if waiting.len() < MOST_WAITING {
            waiting.insert(id.to_owned());
        }
        left + Duration::from_millis(jitter)
    }

    /// Why this step has to wait for its plan: for how long.
    pub(super) fn held_by_plan(&self, task: &Task, step: &Step, asks: bool) -> Option<Duration> {
        if let Some(plan) = create_plan(step) {
            let until = {
                let shared = self.shared();
                let blocks = shared.calendar.blocks.get(plan)?;
                let full = blocks.full.as_ref().filter(|_| !removed(Mutant::FullPlan));
                let now = self.world.now_ms();
                let full = full.filter(|full| now < full.until && !is_asked_for(task, &full.told));
                blocks.suspended().map(|refused| refused.until).or(full.map(|full| full.until))
            };
            return until.map(|until| self.wait_for(plan, &task.claim.id, until));
        }
        let asks = asks && !matches!(step.action, Action::FindUsers { .. });
        if !asks && step.deletion.is_none() && step.unmap.is_none() {
            return None;
        }
        let plan = plan_of(task, step)?;
        let until = self.shared().calendar.blocks.get(&plan)?.suspended()?.until;
        Some(self.wait_for(&plan, &task.claim.id, until))
    }

    /// Of the new tasks of a plan that was full, lets one be tried.
    pub(super) fn try_full_plans(&self, tasks: &[Task], decided: &mut [Decision]) {
        if removed(Mutant::FullPlan) {
            return;
        }
        let now = self.world.now_ms();
        for (task, decision) in tasks.iter().zip(decided) {
            let Some(plan) = create_plan(&decision.step).filter(|_| decision.hold.is_none()) else {
                continue;
            };
            let until = {
                let mut shared = self.shared();
                let Some(blocks) = shared.calendar.blocks.get_mut(plan) else { continue };
                let asked = blocks.full.as_ref().is_some_and(|full| is_asked_for(task, &full.told));
                if blocks.try_create(asked, now, self.settings.patience) {
                    continue;
                }
                blocks.full.as_ref().map_or(now, |full| full.until)
            };
            decision.hold = Some(self.wait_for(plan, &task.claim.id, until));
        }
    }

    /// Planner refused a new task because its plan is full; `None` = the task is the one that is told of, else for how
    /// long it waits.
    pub(super) async fn plan_is_full(
        &self,
        plan: &str,
        code: &str,
        id: &str,
    ) -> Result<Option<Duration>, StoreError> {
        let (now, patience) = (self.world.now_ms(), self.settings.patience);
        let (mut told, mut until) = (true, now);
        let changed = self.change_blocks(plan, |blocks| {
            told = blocks.create_refused(code, id, now, patience);
            until = blocks.full.as_ref().map_or(now, |full| full.until);
        });
        // The one that is told of waits for the plan, too.
        let wait = self.wait_for(plan, id, until);
        if let Some((_, after)) = changed {
            tracing::warn!(
                plan_id = plan,
                code,
                "a plan takes no new tasks: those that wait are tried later"
            );
            self.world.keep_blocks(plan, &after).await?;
        }
        Ok((!told).then_some(wait))
    }

    /// Planner took a new task.
    pub(super) async fn plan_has_room(&self, plan: &str) -> Result<(), StoreError> {
        let changed = self.change_blocks(plan, |blocks| blocks.full = None);
        let Some((_, after)) = changed else { return Ok(()) };
        tracing::info!(plan_id = plan, "a plan that was full takes new tasks again");
        self.world.keep_blocks(plan, &after).await?;
        self.go_on(plan).await
    }
}

impl super::Shared {
    /// Puts what stands against plans into the report.
    pub(super) fn tell_blocks(&mut self) {
        let blocks = self.calendar.blocks.iter().filter(|(_, blocks)| {
            // A single refusal of a list is told of as such.
            blocks.suspended().is_some() || blocks.full.is_some()
        });
        self.report.blocks = blocks.map(|(plan, blocks)| (plan.clone(), blocks.clone())).collect();
        let suspended =
            |plan: &String| self.calendar.blocks.get(plan).is_some_and(|blocks| blocks.suspended().is_some());
        self.report.refused_plans.retain(|plan, _| !suspended(plan));
    }
}

/// A person wants the task to be tried again, or the document of the task that is told of has changed.
fn is_asked_for(task: &Task, told: &str) -> bool {
    let edited = || match (&task.snapshot.local, &task.snapshot.state.failure) {
        (Local::Present { bytes, .. }, Some(failure)) => {
            is_plan_limit(&failure.code) && failure.digest != digest(bytes)
        }
        _ => false,
    };
    task.snapshot.notes.retry || (task.claim.id == told && edited())
}

/// The plan that a step makes a task in.
fn create_plan(step: &Step) -> Option<&str> {
    match (&step.action, &step.state.create) {
        (Action::Create { .. }, Some(create)) => Some(&create.plan),
        _ => None,
    }
}

fn named(fields: &Fields) -> Option<String> {
    match fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => Some(plan.clone()),
        _ => None,
    }
}

/// The plan that a step is about.
fn plan_of(task: &Task, step: &Step) -> Option<String> {
    if let Action::GetLeft { .. } | Action::DeleteLeft { .. } = step.action {
        return step.state.leaving.as_ref()?.plan.clone();
    }
    let state = &step.state;
    let known = state.remote.as_ref().and_then(|remote| named(&remote.fields)).or_else(|| named(&state.base));
    known.or_else(|| task.listed_in())
}
