//! Which plans are listed when: each has its own time, which is in the store so that a successor goes on with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    time::Duration,
};

use serde_json::Value as Json;

use super::{BATCH, Engine, Priority, memory::UNKNOWN_WAIT, poll::keep_newest};
use crate::{
    blocks::Blocks,
    mutants::{Mutant, removed},
    schedule::Stretch,
    world::{KnownPlan, PlanList, PlanSchedule, Plans, StoreError, Turn, World},
};

/// While Graph is down, one plan is listed this often to see whether it is back.
const PROBE: Duration = Duration::from_secs(2);
/// However often a poll is asked for, a plan's list is not begun again within this time, ms.
const APART_MS: i64 = 2_000;
/// Which plans are synced is read again this often, ms.
const PLANS_MS: i64 = 5_000;
/// A list waits this long for the end of a pause before its next page; then it is given up.
const PAGE_PATIENCE: Duration = Duration::from_secs(60);

/// What the poll remembers between lists. Only the schedules must survive, and they are in the store too.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    plans: Plans,
    plans_at: Option<i64>,
    schedules: BTreeMap<String, PlanSchedule>,
    /// Plans that are to be listed before their regular time, and when, ms.
    soon: BTreeMap<String, i64>,
    /// Every plan is to be listed from this time on, ms.
    all_soon: Option<i64>,
    /// A person asked for all of them: those that are suspended, too.
    all_demanded: bool,
    /// Plans that are listed although they are suspended.
    demanded: BTreeSet<String>,
    /// What stands against plans.
    pub blocks: BTreeMap<String, Blocks>,
    /// When the last complete list of each plan was taken in, ms.
    completed: BTreeMap<String, i64>,
    /// How many known tasks the last complete list of a plan lacked.
    lacking: BTreeMap<String, usize>,
    /// What is wrong with the last list of a plan.
    pub incomplete: BTreeMap<String, String>,
}

impl Calendar {
    /// Every plan is wanted now.
    pub(super) fn want_all(&mut self, now: i64) {
        self.all_soon.get_or_insert(now);
    }

    /// The synced plans as last read.
    pub(super) fn synced(&self) -> &[String] {
        &self.plans.synced
    }

    /// Every plan is wanted now, by a person.
    pub(super) fn demand_all(&mut self, now: i64) {
        self.want_all(now);
        self.all_demanded = true;
    }

    /// A plan is wanted at this time, or before if it was wanted earlier.
    pub(super) fn want(&mut self, plan: &str, at: i64) {
        let soon = self.soon.entry(plan.to_owned()).or_insert(at);
        *soon = at.min(*soon);
    }

    /// When a plan is listed next, ms.
    fn at(&self, plan: &str) -> i64 {
        let schedule = self.schedules.get(plan).copied().unwrap_or_default();
        let suspended = self.blocks.get(plan).and_then(Blocks::suspended);
        if let Some(refused) = suspended.filter(|_| !self.demanded.contains(plan)) {
            // Where its time is over and no answer came, it waits like any other.
            return refused.until.max(schedule.next_at);
        }
        let soon = self.soon.get(plan).map(|soon| (*soon).max(schedule.begun_at + APART_MS));
        soon.map_or(schedule.next_at, |soon| soon.min(schedule.next_at))
    }

    /// Hands what is wanted of all plans to each of them.
    fn spread_wishes(&mut self) {
        let Some(at) = self.all_soon.take() else { return };
        let demanded = std::mem::take(&mut self.all_demanded);
        for plan in self.plans.synced.clone() {
            self.want(&plan, at);
            if demanded {
                self.demanded.insert(plan);
            }
        }
    }

    /// The plans that are due, longest due first, and when the next one is, ms.
    fn due(&self, now: i64) -> (Vec<String>, Option<i64>) {
        let mut times: Vec<(i64, &String)> =
            self.plans.synced.iter().map(|plan| (self.at(plan), plan)).collect();
        times.sort();
        let next = times.iter().map(|(at, _)| *at).find(|at| *at > now);
        let due = times.into_iter().filter(|(at, _)| *at <= now).map(|(_, plan)| plan.clone());
        (due.collect(), next)
    }

    /// Whether a wish waits that is due before this time, ms.
    fn is_wanted_before(&self, until: i64) -> bool {
        self.all_soon.is_some()
            || self.plans.synced.iter().any(|plan| self.soon.contains_key(plan) && self.at(plan) < until)
    }
}

/// Gives the further pages of lists their turn.
struct Pages<'a, W>(&'a Engine<W>);

impl<W: World> Turn for Pages<'_, W> {
    fn next_page(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async {
            if let Some(pause) = self.0.pause_left() {
                if pause > PAGE_PATIENCE {
                    return false;
                }
                self.0.world.sleep(pause).await;
            }
            self.0.pace(1, Priority::Low).await;
            self.0.pause_left().is_none() && !self.0.stopping()
        })
    }
}

impl<W: World> Engine<W> {
    pub(super) async fn poll_loop(&self) {
        let every = self.tick();
        let mut rotate_at = self.world.now_ms();
        loop {
            if !self.may_work() || self.round_waits() {
                self.world.sleep(UNKNOWN_WAIT).await;
                continue;
            }
            let mut wait = if let Some(pause) = self.pause_left() {
                pause
            } else if self.graph_is_down() {
                self.probe().await;
                if self.graph_is_down() { PROBE } else { Duration::ZERO }
            } else {
                match self.poll_due(i64::MAX, 0).await {
                    Ok(next) => crate::plan::millis(next.unwrap_or(i64::MAX) - self.world.now_ms()),
                    Err(error) => {
                        self.store_failed("poll", &error);
                        Duration::from_secs(1)
                    }
                }
            };
            let now = self.world.now_ms();
            if now >= rotate_at {
                rotate_at = (now.div_euclid(every) + 1) * every;
                if let Err(error) = self.rotate_details().await {
                    self.store_failed("rotate_details", &error);
                }
                wait = Duration::ZERO;
            }
            self.world.sleep(wait.clamp(Duration::from_millis(5), Duration::from_secs(1))).await;
            self.heed_signals().await;
        }
    }

    /// Lists what is due, and what somebody asked for within the next moments; then looks at some details.
    /// For the periodic mode.
    pub(super) async fn poll_once(&self, until: i64) -> Result<(), StoreError> {
        // The next cycle may be a minute away: what is due before that is due now.
        let mut ahead = self.tick();
        loop {
            self.poll_due(until, std::mem::take(&mut ahead)).await?;
            let now = self.world.now_ms();
            let wanted = self.shared().calendar.is_wanted_before(now + APART_MS + 1);
            if !wanted || now >= until || self.pause_left().is_some() || self.graph_is_down() {
                break;
            }
            self.world.sleep(Duration::from_millis(100)).await;
        }
        self.rotate_details().await
    }

    /// The usual interval, ms.
    fn tick(&self) -> i64 {
        i64::try_from(self.settings.poll_every.as_millis()).unwrap_or(30_000).max(1)
    }

    /// Forgets the schedules: another process may have gone on with them.
    pub(super) fn forget_schedules(&self) {
        let mut shared = self.shared();
        shared.calendar.schedules.clear();
        shared.calendar.plans_at = None;
    }

    /// The synced plans as last read.
    pub(super) fn synced(&self) -> Vec<String> {
        self.shared().calendar.plans.synced.clone()
    }

    /// Lists one plan, only to see whether Graph answers.
    async fn probe(&self) {
        let Ok(plans) = self.world.plans(true).await else { return };
        let Some(plan) = plans.synced.first() else {
            self.graph_answered(true);
            return;
        };
        self.pace(1, Priority::Urgent).await;
        let (lists, _) = self.world.list(std::slice::from_ref(plan), &Pages(self)).await;
        let answered = !matches!(lists.first(), None | Some(PlanList::Incomplete { answered: false, .. }));
        self.graph_answered(answered);
        if answered {
            let now = self.world.now_ms();
            self.shared().calendar.want_all(now);
        }
    }

    /// Reads which plans are synced, and the schedules of those that are new.
    async fn read_plans(&self) -> Result<(), StoreError> {
        let now = self.world.now_ms();
        let is_fresh = {
            let calendar = &self.shared().calendar;
            calendar.plans_at.is_some_and(|at| now - at < PLANS_MS)
        };
        if is_fresh {
            return Ok(());
        }
        let plans = self.world.plans(true).await?;
        let unknown: Vec<String> = {
            let shared = self.shared();
            let known = &shared.calendar.schedules;
            plans.synced.iter().filter(|plan| !known.contains_key(*plan)).cloned().collect()
        };
        let schedules = if unknown.is_empty() { Vec::new() } else { self.world.schedules(&unknown).await? };
        let tick = self.tick();
        let mut shared = self.shared();
        for (plan, mut schedule) in unknown.into_iter().zip(schedules) {
            if schedule.changed_at == 0 {
                schedule.changed_at = now;
            }
            // A clock that stood elsewhere, or settings of another time, must not keep a plan waiting.
            schedule.next_at = schedule.next_at.min(now + 10 * tick);
            schedule.begun_at = schedule.begun_at.min(now);
            shared.calendar.schedules.insert(plan, schedule);
        }
        // What waits for its plan to be synced is found by the sweep.
        shared.sweep_soon |= plans.synced != shared.calendar.plans.synced;
        let synced: BTreeSet<&String> = plans.synced.iter().collect();
        let calendar = &mut shared.calendar;
        calendar.schedules.retain(|plan, _| synced.contains(plan));
        calendar.soon.retain(|plan, _| synced.contains(plan));
        calendar.completed.retain(|plan, _| synced.contains(plan));
        calendar.lacking.retain(|plan, _| synced.contains(plan));
        calendar.incomplete.retain(|plan, _| synced.contains(plan));
        calendar.blocks.retain(|plan, _| synced.contains(plan));
        calendar.demanded.retain(|plan| synced.contains(plan));
        shared.waiting.retain(|plan, _| synced.contains(plan));
        shared.report.refused_plans.retain(|plan, _| synced.contains(plan));
        shared.unlisted.retain(|plan, _| synced.contains(plan));
        // What others lack may be in a plan that this engine has not listed yet.
        for plan in &plans.synced {
            if !shared.calendar.completed.contains_key(plan) {
                shared.unlisted.entry(plan.clone()).or_insert(now);
            }
        }
        shared.report.plans = plans.synced.len();
        shared.calendar.plans = plans;
        shared.calendar.plans_at = Some(now);
        shared.tell_problems();
        Ok(())
    }

    /// Lists the plans that are due within `ahead` ms, twenty at a time, until `until`; says when the next one is, ms.
    async fn poll_due(&self, until: i64, ahead: i64) -> Result<Option<i64>, StoreError> {
        self.read_plans().await?;
        let now = self.world.now_ms();
        let (due, next) = {
            let mut shared = self.shared();
            shared.calendar.spread_wishes();
            shared.calendar.due(now + ahead)
        };
        for chunk in due.chunks(BATCH) {
            if self.pause_left().is_some() || self.world.now_ms() >= until {
                return Ok(Some(now));
            }
            self.pace(u32::try_from(chunk.len()).unwrap_or(1), Priority::Low).await;
            self.poll_plans(chunk).await?;
            self.count("polls", 1);
        }
        self.advance_round().await?;
        if due.is_empty() && next.is_none() {
            // No plan is synced: that is as complete as it gets.
            self.shared().report.last_poll = Some(now);
        }
        Ok(if due.is_empty() { next.or(Some(now + PLANS_MS)) } else { Some(now) })
    }

    /// How many synced plans were listed, or refused, since then; and whether all of them were.
    pub(super) fn listed_since(&self, since: i64) -> (usize, bool) {
        let shared = self.shared();
        let calendar = &shared.calendar;
        let is_listed = |plan: &&String| {
            let begun = calendar.schedules.get(*plan).map_or(0, |schedule| schedule.begun_at);
            let completed = calendar.completed.get(*plan).copied().unwrap_or(0);
            let refused = shared.report.refused_plans.contains_key(*plan);
            calendar.blocks.get(*plan).is_some_and(|blocks| blocks.suspended().is_some())
                || (begun >= since && (completed >= begun || refused))
        };
        let listed = calendar.plans.synced.iter().filter(is_listed).count();
        let known = calendar.plans_at.is_some() && !calendar.plans.unread;
        (listed, known && listed == calendar.plans.synced.len())
    }

    /// Remembers how many known tasks the lists lack that no other list shows.
    fn note_lacks(&self, plans: &[String], lists: &[PlanList], known: &BTreeMap<String, KnownPlan>) {
        let mut shared = self.shared();
        let shared = &mut *shared;
        for (plan, list) in plans.iter().zip(lists) {
            let (Some(known), PlanList::Complete { tasks, .. }) = (known.get(plan), list) else { continue };
            let ids: BTreeSet<&str> =
                tasks.iter().filter_map(|task| task.get("id").and_then(Json::as_str)).collect();
            let lacks = |id: &&String| !ids.contains(id.as_str()) && !shared.places.contains_key(*id);
            let lacking = known.etags.keys().filter(lacks).count();
            shared.calendar.lacking.insert(plan.clone(), lacking);
        }
        let of = known.values().map(|plan| plan.etags.len()).sum();
        shared.missed.down = (shared.calendar.lacking.values().sum(), of);
    }

    /// Lists plans that share a batch, takes their lists in, and says when they are next.
    async fn poll_plans(&self, plans: &[String]) -> Result<(), StoreError> {
        let begun_at = self.world.now_ms();
        {
            let mut shared = self.shared();
            for plan in plans {
                shared.calendar.soon.remove(plan);
                shared.calendar.demanded.remove(plan);
                // Also if what follows fails: never twice within a moment.
                shared.calendar.schedules.entry(plan.clone()).or_default().begun_at = begun_at;
            }
        }
        // Before the lists: what is mapped while they are read cannot be missing from them. Of every plan: a task
        // that is new in one may have come from any other.
        let every = self.synced();
        self.note_unlisted(&every);
        let known = self.world.known(&every).await?;
        let known: BTreeMap<_, _> = every.into_iter().zip(known).collect();
        let (mut lists, requests) = self.world.list(plans, &Pages(self)).await;
        if removed(Mutant::CompleteLists) {
            let empty = PlanList::Complete { tasks: Vec::new(), begun_at };
            lists
                .iter_mut()
                .filter(|list| !matches!(list, PlanList::Complete { .. }))
                .for_each(|list| list.clone_from(&empty));
        }
        keep_newest(&mut lists);
        self.count("poll_requests", u64::from(requests));
        let silent = |list: &PlanList| matches!(list, PlanList::Incomplete { answered: false, .. });
        self.graph_answered(!lists.iter().all(silent));
        let open = self.world.open_creates().await?;
        for (plan, list) in plans.iter().zip(&lists) {
            self.remember_places(plan, list);
        }
        self.note_lacks(plans, &lists, &known);
        let shares = shares(&lists, requests);
        let mut kept = Vec::with_capacity(plans.len());
        for ((plan, list), requests) in plans.iter().zip(lists).zip(shares) {
            let answered = !silent(&list);
            let mut refused = BTreeMap::new();
            let taken = self.take_list(plan, list, &known, &open, &mut refused).await?;
            let refused = refused.get(plan).copied();
            self.note_access(plan, taken.is_some(), refused).await?;
            let schedule = self.note_list(plan, taken, answered, requests, refused);
            kept.push((plan.clone(), schedule));
        }
        {
            let now = self.world.now_ms();
            let mut shared = self.shared();
            let completed = &shared.calendar.completed;
            let all = shared.calendar.plans.synced.iter().map(|plan| completed.get(plan).copied());
            if let Some(oldest) = all.collect::<Option<Vec<i64>>>().and_then(|all| all.into_iter().min()) {
                shared.report.last_poll = Some(oldest);
            }
            shared.tell_problems();
            let stretch = shared.stretch(self.settings.poll_every, now);
            for (plan, schedule) in &mut kept {
                schedule.next_at = stretch.next(plan, schedule, self.settings.poll_every, now);
                shared.calendar.schedules.insert(plan.clone(), *schedule);
            }
        }
        self.world.keep_schedules(&kept).await
    }

    /// What a list says about its plan's schedule. `taken`: it was complete, and whether it showed a change.
    fn note_list(
        &self,
        plan: &str,
        taken: Option<bool>,
        answered: bool,
        requests: u32,
        refused: Option<u16>,
    ) -> PlanSchedule {
        let now = self.world.now_ms();
        let pause = self.pause_left();
        let mut shared = self.shared();
        match refused {
            Some(status) => shared.report.refused_plans.insert(plan.to_owned(), status),
            None if taken.is_some() => shared.report.refused_plans.remove(plan),
            None => None,
        };
        let calendar = &mut shared.calendar;
        let mut schedule = calendar.schedules.get(plan).copied().unwrap_or_default();
        match taken {
            Some(changed) => {
                schedule.failures = 0;
                schedule.requests = requests;
                if changed {
                    schedule.changed_at = now;
                }
                calendar.completed.insert(plan.to_owned(), now);
                calendar.incomplete.remove(plan);
            }
            None => match pause {
                // It was throttled: no fault of this plan, and it comes first when the pause ends.
                Some(pause) => {
                    let pause = i64::try_from(pause.as_millis()).unwrap_or(0);
                    calendar.want(plan, now + pause);
                }
                None if answered => schedule.failures = schedule.failures.saturating_add(1),
                // Silence says nothing about the plan, and the probe finds its end.
                None => {}
            },
        }
        schedule
    }
}

impl super::Shared {
    /// Puts what is wrong with settings and lists into the report.
    fn tell_problems(&mut self) {
        let lists = self
            .calendar
            .incomplete
            .iter()
            .map(|(plan, reason)| format!("the list of plan {plan} is incomplete: {reason}"));
        self.report.problems = self.calendar.plans.problems.iter().cloned().chain(lists).collect();
        self.tell_blocks();
    }

    fn stretch(&mut self, every: Duration, now: i64) -> Stretch {
        let ratio = self.limiter.throttle_ratio(now);
        Stretch::needed(self.calendar.schedules.values(), every, self.limiter.per_second(), ratio, now)
    }
}

/// How many of the sub-requests each list took: one for its first page, the others by the number of its tasks.
fn shares(lists: &[PlanList], requests: u32) -> Vec<u32> {
    let tasks = |list: &PlanList| match list {
        PlanList::Complete { tasks, .. } => tasks.len(),
        _ => 0,
    };
    let all: usize = lists.iter().map(tasks).sum();
    let further = usize::try_from(requests).unwrap_or(0).saturating_sub(lists.len());
    let share = |list: &PlanList| {
        let further = if all == 0 { 0 } else { (further * tasks(list)).div_ceil(all) };
        u32::try_from(further + 1).unwrap_or(u32::MAX)
    };
    lists.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Refused;

    fn calendar() -> Calendar {
        let plans = Plans { synced: vec!["a".into(), "b".into()], ..Plans::default() };
        let schedule = |begun_at, next_at| PlanSchedule { begun_at, next_at, ..PlanSchedule::default() };
        let schedules =
            BTreeMap::from([("a".into(), schedule(9_000, 30_000)), ("b".into(), schedule(5_000, 20_000))]);
        Calendar { plans, schedules, ..Calendar::default() }
    }

    #[test]
    fn each_plan_has_its_own_time() {
        let calendar = calendar();
        assert_eq!(calendar.due(19_999), (vec![], Some(20_000)));
        assert_eq!(calendar.due(20_000), (vec!["b".into()], Some(30_000)));
        assert_eq!(calendar.due(30_000), (vec!["b".into(), "a".into()], None));
    }

    #[test]
    fn a_wish_concerns_one_plan_or_all_and_comes_no_sooner_than_two_seconds_after_the_last_list() {
        let mut one = calendar();
        one.want("a", 10_000);
        one.want("a", 12_000);
        assert_eq!(one.due(10_999), (vec![], Some(11_000)));
        assert_eq!(one.due(11_000).0, ["a"], "two seconds after 9 s, and not put off by the second wish");
        let mut all = calendar();
        all.want_all(10_000);
        assert!(all.is_wanted_before(10_001));
        all.spread_wishes();
        assert_eq!(all.due(10_000).0, ["b"]);
        assert_eq!(all.due(11_000).0, ["b", "a"], "longest due first");
        assert!(all.is_wanted_before(11_001) && !calendar().is_wanted_before(i64::MAX));
    }

    #[test]
    fn a_suspended_plan_waits_for_its_time_or_for_a_person() {
        let mut calendar = calendar();
        let refused = Refused { status: 403, since: 1, until: 500_000, times: 1 };
        calendar.blocks.insert("a".into(), Blocks { refused: Some(refused), full: None });
        calendar.want("a", 10_000);
        calendar.want_all(10_000);
        calendar.spread_wishes();
        assert_eq!(calendar.due(499_999), (vec!["b".into()], Some(500_000)), "hints do not hurry it");
        assert_eq!(calendar.due(500_000).0, ["b", "a"]);
        if let Some(schedule) = calendar.schedules.get_mut("a") {
            schedule.next_at = 530_000;
        }
        assert_eq!(
            calendar.due(500_000).1,
            Some(530_000),
            "its turn came, and no answer: the next one is its own"
        );
        calendar.demand_all(20_000);
        calendar.spread_wishes();
        assert_eq!(calendar.due(20_000).0, ["b", "a"], "a person asks");
    }

    #[test]
    fn pages_are_shared_out_by_the_number_of_tasks() {
        let list = |n: usize| PlanList::Complete { tasks: vec![serde_json::Value::Null; n], begun_at: 0 };
        let refused = PlanList::Refused { status: 403, retry_after: None };
        assert_eq!(shares(&[list(900), list(90), refused], 14), [11, 2, 1]);
        assert_eq!(shares(&[list(0)], 1), [1]);
    }
}
