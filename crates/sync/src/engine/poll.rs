//! The poll: complete lists of every synced plan, compared with what the last ones showed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;

use super::{BATCH, Engine, Priority};
use crate::{
    etag,
    plan::{LISTS, is_held},
    world::{
        GraphOutcome, GraphRequest, KnownPlan, Observation, OpenCreate, PlanList, SeenDetails, StoreError,
        World,
    },
};

/// After a list lacked a known task, its plan is listed again this soon.
const SUSPICION: Duration = Duration::from_secs(8);
/// How long a create may take to be seen in a list before its plan is listed in the usual time only, ms.
const RECENT_MS: i64 = 120_000;
/// While some plan's list does not come, tasks that others lack may have moved there: for so long their absence is no
/// evidence, ms.
const UNLISTED_MS: i64 = 15 * 60_000;
/// While Graph is down, one plan is listed this often to see whether it is back.
const PROBE: Duration = Duration::from_secs(2);

impl<W: World> Engine<W> {
    pub(super) async fn poll_loop(&self) {
        let every = i64::try_from(self.settings.poll_every.as_millis()).unwrap_or(30_000).max(1);
        let mut next = self.world.now_ms();
        loop {
            let now = self.world.now_ms();
            let soon = self.shared().poll_soon;
            let due = soon.map_or(next, |soon| soon.min(next));
            let paused = self.pause_left();
            let wait = if let Some(pause) = paused {
                pause
            } else if self.graph_is_down() {
                self.probe().await;
                if self.graph_is_down() { PROBE } else { Duration::ZERO }
            } else if now >= due {
                {
                    self.shared().poll_soon = None;
                }
                let regular = now >= next;
                let answer = self.poll_once(regular).await;
                if regular {
                    next = (now / every + 1) * every;
                }
                match answer {
                    Ok(()) => Duration::ZERO,
                    Err(error) => {
                        self.store_failed("poll", &error);
                        self.shared().poll_soon = Some(self.world.now_ms() + 2_000);
                        Duration::from_secs(1)
                    }
                }
            } else {
                crate::plan::millis((due - now).min(1_000))
            };
            self.world.sleep(wait.clamp(Duration::from_millis(5), Duration::from_secs(1))).await;
            self.heed_signals().await;
        }
    }

    /// Lists one plan, only to see whether Graph answers.
    async fn probe(&self) {
        let Ok(plans) = self.world.plans(true).await else { return };
        let Some(plan) = plans.synced.first() else {
            self.graph_answered(true);
            return;
        };
        self.pace(1, Priority::Urgent).await;
        let (lists, _) = self.world.list(std::slice::from_ref(plan)).await;
        let answered = !matches!(lists.first(), None | Some(PlanList::Incomplete { answered: false, .. }));
        self.graph_answered(answered);
        if answered {
            let now = self.world.now_ms();
            self.shared().poll_soon = Some(now);
        }
    }

    /// Lists every synced plan once. A `regular` poll also reads the details of some tasks.
    pub(super) async fn poll_once(&self, regular: bool) -> Result<(), StoreError> {
        let plans = self.world.plans(true).await?;
        {
            let mut shared = self.shared();
            shared.report.plans = plans.synced.len();
            shared.report.problems.clone_from(&plans.problems);
            shared.unlisted.retain(|plan, _| plans.synced.contains(plan));
        }
        let wanted = plans.synced;
        let mut refused = BTreeMap::new();
        let mut complete = true;
        for chunk in wanted.chunks(BATCH) {
            if self.pause_left().is_some() {
                complete = false;
                break;
            }
            self.pace(u32::try_from(chunk.len()).unwrap_or(1), Priority::Low).await;
            // Before the lists: what is mapped while they are read cannot be missing from them.
            let mut known = BTreeMap::new();
            for plan in chunk {
                known.insert(plan.clone(), self.world.known(plan).await?);
            }
            let (lists, requests) = self.world.list(chunk).await;
            self.count("poll_requests", u64::from(requests));
            let silent = |list: &PlanList| matches!(list, PlanList::Incomplete { answered: false, .. });
            self.graph_answered(!lists.iter().all(silent));
            let open = self.world.open_creates().await?;
            for (plan, list) in chunk.iter().zip(&lists) {
                self.remember_places(plan, list);
            }
            for (plan, list) in chunk.iter().zip(lists) {
                complete &= self.take_list(plan, list, &known, &open, &mut refused).await?;
            }
        }
        self.set_refused(refused);
        if regular {
            self.rotate_details(&wanted).await?;
        }
        let now = self.world.now_ms();
        let mut shared = self.shared();
        if complete {
            shared.report.last_poll = Some(now);
        }
        drop(shared);
        self.count("polls", 1);
        Ok(())
    }

    /// Remembers where a complete list showed which task, and which plans could not be listed since when.
    fn remember_places(&self, plan: &str, list: &PlanList) {
        let now = self.world.now_ms();
        let mut shared = self.shared();
        let PlanList::Complete { tasks, .. } = list else {
            shared.unlisted.entry(plan.to_owned()).or_insert(now);
            return;
        };
        shared.unlisted.remove(plan);
        shared.places.retain(|_, place| place != plan);
        let ids = tasks.iter().filter_map(|task| task.get("id").and_then(Json::as_str));
        shared.places.extend(ids.map(|id| (id.to_owned(), plan.to_owned())));
    }

    fn count_list(&self, plan: &str, list: &PlanList) {
        let now = self.world.now_ms();
        let mut shared = self.shared();
        let lists = shared.report.lists.entry(plan.to_owned()).or_default();
        lists.begun += 1;
        if matches!(list, PlanList::Complete { .. }) {
            lists.complete += 1;
            lists.last_complete = Some(now);
        }
    }

    /// A task that another plan shows is not missing; where it is remembered there, it has left this plan.
    fn take_out_moved(&self, observation: &mut Observation, known: &BTreeMap<String, KnownPlan>) {
        let now = self.world.now_ms();
        let shared = self.shared();
        let unlisted = shared.unlisted.values().any(|since| now - since < UNLISTED_MS);
        let Observation { plan, missing, moved, .. } = observation;
        missing.retain(|id, times| {
            let Some(place) = shared.places.get(id).filter(|place| *place != plan) else {
                *times -= u32::from(unlisted && *times > 0);
                return *times > 0;
            };
            // Some list must go on expecting it, or its deletion would never be noticed.
            if known.get(place).is_some_and(|there| there.etags.contains_key(id)) {
                moved.push(id.clone());
            }
            false
        });
    }

    async fn take_list(
        &self,
        plan: &str,
        list: PlanList,
        known: &BTreeMap<String, KnownPlan>,
        open: &[OpenCreate],
        refused: &mut BTreeMap<String, u16>,
    ) -> Result<bool, StoreError> {
        self.count_list(plan, &list);
        match list {
            PlanList::Complete { tasks, begun_at } => {
                let nothing = KnownPlan::default();
                let own = known.get(plan).unwrap_or(&nothing);
                let mut observation =
                    compare(plan, begun_at, tasks, own, open, self.world.application_id().as_deref());
                observation.bring_in_moved(known);
                observation.changed.retain(|task| !is_outdated(task, known));
                self.take_out_moved(&mut observation, known);
                let now = self.world.now_ms();
                let held = !observation.held.is_empty();
                let of_plan = || open.iter().filter(|create| create.plan == plan);
                let recent = held && of_plan().any(|create| now - create.sent_at < RECENT_MS);
                if recent || observation.missing.values().any(|times| *times < LISTS) {
                    let at = now + i64::try_from(SUSPICION.as_millis()).unwrap_or(0);
                    self.shared().poll_soon.get_or_insert(at);
                }
                self.world.observe(observation).await?;
                if held {
                    let creates: Vec<String> = of_plan().map(|create| create.id.clone()).collect();
                    self.world.mark(&creates, Duration::ZERO).await?;
                }
                Ok(true)
            }
            PlanList::Refused { status, retry_after } => {
                if status == 429 || (status == 503 && retry_after.is_some()) {
                    self.throttled(retry_after).await;
                } else {
                    tracing::warn!(plan, status, "Graph refused the list of a plan");
                    refused.insert(plan.to_owned(), status);
                }
                Ok(false)
            }
            PlanList::Incomplete { reason, retry_after, .. } => {
                self.count("incomplete_lists", 1);
                tracing::warn!(plan, reason, "the list of a plan is incomplete and says nothing");
                self.shared()
                    .report
                    .problems
                    .push(format!("the list of plan {plan} is incomplete: {reason}"));
                if retry_after.is_some() {
                    self.throttled(retry_after).await;
                }
                Ok(false)
            }
        }
    }

    /// Reads the details ETags of the next few tasks of one plan: an edit of the details alone may leave the
    /// task's ETag as it was (graph.md §1.8, unproven).
    async fn rotate_details(&self, plans: &[String]) -> Result<(), StoreError> {
        if plans.is_empty() || self.graph_is_down() || self.pause_left().is_some() {
            return Ok(());
        }
        let turn = {
            let mut shared = self.shared();
            shared.rotations = shared.rotations.wrapping_add(1);
            shared.rotations
        };
        let Some(plan) = plans.get(turn % plans.len()) else { return Ok(()) };
        let known = self.world.known(plan).await?;
        let after = known.etags.keys().filter(|id| **id > known.details_cursor);
        let mut ids: Vec<String> = after.take(BATCH).cloned().collect();
        if ids.len() < BATCH {
            let wrapped: Vec<String> =
                known.etags.keys().filter(|id| !ids.contains(id)).take(BATCH - ids.len()).cloned().collect();
            ids.extend(wrapped);
        }
        // Optional work: never ahead of what agents and people wait for.
        if ids.is_empty() || self.room(Duration::ZERO, Priority::Low) < ids.len() {
            return Ok(());
        }
        self.pace(u32::try_from(ids.len()).unwrap_or(1), Priority::Low).await;
        let requests = ids.iter().map(|id| GraphRequest::GetDetails { planner_id: id.clone() }).collect();
        let outcomes = self.world.graph(requests).await;
        self.batch_answered(&outcomes);
        self.count("poll_requests", ids.len() as u64);
        let mut seen = Vec::new();
        let mut throttled = None;
        for (id, outcome) in ids.iter().zip(outcomes) {
            match outcome {
                GraphOutcome::Answer { status: 200, body: Some(body), .. } => {
                    if let Some(etag) = body.get("@odata.etag").and_then(Json::as_str) {
                        let fields = crate::lens::planner::fields(&Json::Null, Some(&body));
                        let empty =
                            fields.iter().all(|(field, value)| !field.is_details() || value.is_empty());
                        seen.push(SeenDetails { planner_id: id.clone(), etag: etag.to_owned(), empty });
                    }
                }
                GraphOutcome::Answer { status: 429, retry_after, .. } => throttled = Some(retry_after),
                _ => {}
            }
        }
        if let Some(retry_after) = throttled {
            self.throttled(retry_after).await;
        }
        self.world.recheck_details(&seen).await?;
        let cursor = ids.last().cloned().unwrap_or_default();
        self.world.rotated(plan, &cursor).await
    }
}

impl Observation {
    /// A task that is remembered in another plan has come from there: it explains no open create.
    fn bring_in_moved(&mut self, known: &BTreeMap<String, KnownPlan>) {
        let moved = |task: &Json| {
            let id = task.get("id").and_then(Json::as_str).unwrap_or_default();
            known.values().any(|plan| plan.etags.contains_key(id))
        };
        let (moved, held) = std::mem::take(&mut self.held).into_iter().partition(moved);
        self.held = held;
        self.changed.extend::<Vec<Json>>(moved);
    }
}

/// Whether another plan's list showed a newer version: this one is from before the task moved.
fn is_outdated(task: &Json, known: &BTreeMap<String, KnownPlan>) -> bool {
    let text = |name: &str| task.get(name).and_then(Json::as_str).unwrap_or_default();
    let (id, seen) = (text("id"), text("@odata.etag"));
    known.values().filter_map(|plan| plan.etags.get(id)).any(|newest| etag::is_older(seen, newest))
}

/// What a complete list says against what is known.
fn compare(
    plan: &str,
    begun_at: i64,
    tasks: Vec<Json>,
    known: &KnownPlan,
    open: &[OpenCreate],
    application: Option<&str>,
) -> Observation {
    let total = tasks.len();
    let mut observation = Observation { plan: plan.to_owned(), begun_at, total, ..Observation::default() };
    let mut listed = std::collections::BTreeSet::new();
    for task in tasks {
        let Some(id) = task.get("id").and_then(Json::as_str).map(str::to_owned) else { continue };
        let seen = task.get("@odata.etag").and_then(Json::as_str).unwrap_or_default();
        if known.missing.contains_key(&id) {
            observation.reappeared.push(id.clone());
        }
        match known.etags.get(&id) {
            Some(old) if old == seen || etag::is_older(seen, old) => {}
            Some(_) => observation.changed.push(task),
            None if is_held(&task, open, application) => observation.held.push(task),
            None => observation.changed.push(task),
        }
        listed.insert(id);
    }
    observation.missing = known
        .etags
        .keys()
        .filter(|id| !listed.contains(*id))
        .map(|id| (id.clone(), known.missing.get(id).copied().unwrap_or(0) + 1))
        .collect();
    observation
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(id: &str, etag: &str) -> Json {
        json!({"id": id, "@odata.etag": etag, "title": id, "createdDateTime": "2026-11-25T10:00:00Z",
               "createdBy": {"application": {"id": "app"}}})
    }

    #[test]
    fn an_unchanged_list_says_nothing() {
        let known = KnownPlan { etags: BTreeMap::from([("a".into(), "1".into())]), ..KnownPlan::default() };
        let seen = compare("p", 0, vec![task("a", "1")], &known, &[], None);
        assert_eq!(seen, Observation { plan: "p".into(), total: 1, ..Observation::default() });
    }

    #[test]
    fn absence_counts_up_and_reappearance_is_told() {
        let known = KnownPlan {
            etags: BTreeMap::from([("a".into(), "1".into()), ("b".into(), "1".into())]),
            missing: BTreeMap::from([("a".into(), 1), ("b".into(), 3)]),
            ..KnownPlan::default()
        };
        let seen = compare("p", 0, vec![task("b", "1")], &known, &[], None);
        assert_eq!(seen.missing, BTreeMap::from([("a".into(), 2)]));
        assert_eq!(seen.reappeared, vec!["b".to_owned()]);
    }

    #[test]
    fn what_came_from_another_plan_is_not_held_and_not_taken_from_an_older_list() {
        let of = |etag: &str| KnownPlan {
            etags: BTreeMap::from([("a".to_owned(), etag.to_owned())]),
            ..KnownPlan::default()
        };
        let known = BTreeMap::from([("q".to_owned(), of("W/\"Yg==\""))]);
        let held = vec![task("a", "W/\"Yw==\""), task("b", "W/\"Yw==\"")];
        let mut seen = Observation { plan: "p".into(), held, ..Observation::default() };
        seen.bring_in_moved(&known);
        let ids = |tasks: &[Json]| tasks.iter().map(|task| task["id"].to_string()).collect::<String>();
        assert_eq!((ids(&seen.changed).as_str(), ids(&seen.held).as_str()), ("\"a\"", "\"b\""));
        assert!(!is_outdated(&task("a", "W/\"Yw==\""), &known));
        assert!(is_outdated(&task("a", "W/\"YQ==\""), &known));
    }

    #[test]
    fn a_new_task_of_ours_is_held_while_a_create_is_open() {
        let open =
            OpenCreate { id: "x".into(), plan: "p".into(), sent_at: 1_764_064_800_000, title: "t".into() };
        let sent_at = "2026-11-25T10:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        let open = OpenCreate { sent_at, ..open };
        let list = vec![task("n", "1")];
        let known = KnownPlan::default();
        let held = compare("p", 0, list.clone(), &known, std::slice::from_ref(&open), Some("app"));
        assert_eq!((held.held.len(), held.changed.len()), (1, 0));
        let later = OpenCreate { sent_at: sent_at + 3_600_000, ..open.clone() };
        let imported = compare("p", 0, list.clone(), &known, &[later], Some("app"));
        assert_eq!((imported.held.len(), imported.changed.len()), (0, 1));
        let person = compare("p", 0, list, &known, &[open], Some("another app"));
        assert_eq!((person.held.len(), person.changed.len()), (0, 1));
    }
}
