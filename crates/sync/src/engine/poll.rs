//! The poll: complete lists of plans, compared with what the last ones showed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;

use super::Engine;
use crate::{
    etag,
    mutants::{Mutant, removed},
    plan::{LISTS, is_held},
    world::{KnownPlan, Observation, OpenCreate, PlanList, StoreError, World},
};

/// After a list lacked a known task, its plan is listed again this soon.
const SUSPICION: Duration = Duration::from_secs(8);
/// How long a create may take to be seen in a list before its plan is listed in the usual time only, ms.
const RECENT_MS: i64 = 120_000;
/// While some plan's list does not come, tasks that others lack may have moved there: for so long their absence is no
/// evidence, ms.
const UNLISTED_MS: i64 = 15 * 60_000;
/// For so long a deletion is remembered for lists that still show the task (`annika:sync:gone:{planner_id}`, a minute
/// more), ms.
const OLDEST_LIST_MS: i64 = 4 * 60_000;

impl<W: World> Engine<W> {
    /// Remembers where a complete list showed which task, and which plans could not be listed since when.
    pub(super) fn remember_places(&self, plan: &str, list: &PlanList) {
        let now = self.world.now_ms();
        let mut shared = self.shared();
        let PlanList::Complete { tasks, .. } = list else {
            shared.unlisted.entry(plan.to_owned()).or_insert(now);
            return;
        };
        shared.unlisted.remove(plan);
        shared.listed.insert(plan.to_owned());
        shared.places.retain(|_, place| place != plan);
        let ids = tasks.iter().filter_map(|task| task.get("id").and_then(Json::as_str));
        shared.places.extend(ids.map(|id| (id.to_owned(), plan.to_owned())));
    }

    /// What lists showed long ago, before another process had the lease, is no news of where tasks are.
    pub(super) fn forget_places(&self) {
        let mut shared = self.shared();
        shared.places.clear();
        shared.unlisted.clear();
        shared.listed.clear();
    }

    /// Notes which of the synced plans have not been listed yet: what other lists lack may have moved there.
    pub(super) fn note_unlisted(&self, synced: &[String]) {
        let now = self.world.now_ms();
        let mut shared = self.shared();
        let shared = &mut *shared;
        shared.unlisted.retain(|plan, _| synced.contains(plan));
        for plan in synced.iter().filter(|plan| !shared.listed.contains(*plan)) {
            shared.unlisted.entry(plan.clone()).or_insert(now);
        }
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
        // Another process may have been refused its list, and this one not: engines take turns in the periodic mode.
        let refused = shared.calendar.blocks.values().filter_map(|blocks| blocks.refused.as_ref());
        let refused = refused.map(|refused| &refused.since);
        let unlisted = shared.unlisted.values().chain(refused).any(|since| now - since < UNLISTED_MS);
        let unlisted = unlisted && !removed(Mutant::UnlistedPlans);
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

    /// Whether a list was begun so long ago that tasks which it shows may have been deleted without a trace since.
    fn is_old(&self, begun_at: i64) -> bool {
        self.world.now_ms() - begun_at > OLDEST_LIST_MS && !removed(Mutant::OldList)
    }

    /// Takes a list in; says whether a complete one showed a change.
    pub(super) async fn take_list(
        &self,
        plan: &str,
        list: PlanList,
        known: &BTreeMap<String, KnownPlan>,
        open: &[OpenCreate],
        refused: &mut BTreeMap<String, u16>,
    ) -> Result<Option<bool>, StoreError> {
        self.count_list(plan, &list);
        match list {
            PlanList::Complete { begun_at, .. } if self.is_old(begun_at) => {
                self.count("old_lists", 1);
                tracing::warn!(plan, "the list of a plan took too long and says nothing");
                self.shared().calendar.incomplete.insert(plan.to_owned(), "took too long".into());
                Ok(None)
            }
            PlanList::Complete { tasks, begun_at } => {
                let nothing = KnownPlan::default();
                let own = known.get(plan).unwrap_or(&nothing);
                let mut observation =
                    compare(plan, begun_at, tasks, own, open, self.world.application_id().as_deref());
                observation.bring_in_moved(known);
                self.keep_given(&mut observation.changed);
                self.hold_unclaimed(plan, &mut observation.changed).await?;
                observation.changed.retain(|task| !is_outdated(task, known));
                self.take_out_moved(&mut observation, known);
                let now = self.world.now_ms();
                let held = !observation.held.is_empty();
                let recent = held && open.iter().any(|create| now - create.sent_at() < RECENT_MS);
                if recent || observation.missing.values().any(|times| *times <= LISTS) {
                    let at = now + i64::try_from(SUSPICION.as_millis()).unwrap_or(0);
                    self.shared().calendar.want(plan, at);
                }
                let changed = !observation.changed.is_empty() || !observation.missing.is_empty() || held;
                self.world.observe(observation).await?;
                if held {
                    // A person may have moved it: it can be the work of a create in another plan (sync.md F3).
                    let creates: Vec<String> = open.iter().map(|create| create.id.clone()).collect();
                    self.world.mark(&creates, Duration::ZERO).await?;
                }
                Ok(Some(changed))
            }
            PlanList::Refused { status, retry_after } => {
                if status == 429 || (status == 503 && retry_after.is_some()) {
                    self.throttled(retry_after).await;
                } else {
                    tracing::warn!(plan, status, "Graph refused the list of a plan");
                    refused.insert(plan.to_owned(), status);
                }
                Ok(None)
            }
            PlanList::Incomplete { reason, retry_after, .. } => {
                self.count("incomplete_lists", 1);
                tracing::warn!(plan, reason, "the list of a plan is incomplete and says nothing");
                self.shared().calendar.incomplete.insert(plan.to_owned(), reason);
                if retry_after.is_some() {
                    self.throttled(retry_after).await;
                }
                Ok(None)
            }
        }
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

/// Of a task that moved while the plans were listed, two lists may show a version each: the newer one counts.
pub(super) fn keep_newest(lists: &mut [PlanList]) {
    fn text<'a>(task: &'a Json, name: &str) -> &'a str {
        task.get(name).and_then(Json::as_str).unwrap_or_default()
    }
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for list in lists.iter() {
        let PlanList::Complete { tasks, .. } = list else { continue };
        for task in tasks {
            let (id, seen) = (text(task, "id"), text(task, "@odata.etag"));
            if newest.get(id).is_none_or(|other| etag::is_older(other, seen)) {
                newest.insert(id.to_owned(), seen.to_owned());
            }
        }
    }
    for list in lists {
        let PlanList::Complete { tasks, .. } = list else { continue };
        tasks.retain(|task| {
            let other = newest.get(text(task, "id"));
            other.is_none_or(|other| !etag::is_older(text(task, "@odata.etag"), other))
        });
    }
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
    use crate::{lens::Fields, state::Attempt};

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

    /// Seed 2255: a person moved a new task between the two lists of one poll.
    #[test]
    fn of_two_lists_that_show_a_task_the_newer_counts() {
        let list = |etag: &str| PlanList::Complete {
            tasks: vec![task("a", etag), task(etag, "W/\"YQ==\"")],
            begun_at: 0,
        };
        let (old, new) = ("W/\"Yg==\"", "W/\"Yw==\"");
        for lists in [[old, new], [new, old]] {
            let mut lists = lists.map(list);
            keep_newest(&mut lists);
            let shown: Vec<usize> = lists
                .iter()
                .map(|list| match list {
                    PlanList::Complete { tasks, .. } => tasks.len(),
                    _ => 0,
                })
                .collect();
            assert_eq!(shown.iter().sum::<usize>(), 3);
            let both = lists.iter().find_map(|list| match list {
                PlanList::Complete { tasks, .. } if tasks.len() == 2 => tasks.first(),
                _ => None,
            });
            assert_eq!(both.and_then(|task| task["@odata.etag"].as_str()), Some(new));
        }
    }

    #[test]
    fn a_new_task_of_ours_is_held_while_a_create_is_open() {
        let sent_at = "2026-11-25T10:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        let open = |sent_at| OpenCreate {
            id: "x".into(),
            attempts: vec![Attempt { fields: Fields::new(), sent_at }],
        };
        let (later, open) = (open(sent_at + 3_600_000), open(sent_at));
        let list = vec![task("n", "1")];
        let known = KnownPlan::default();
        let held = compare("p", 0, list.clone(), &known, std::slice::from_ref(&open), Some("app"));
        assert_eq!((held.held.len(), held.changed.len()), (1, 0));
        let imported = compare("p", 0, list.clone(), &known, &[later], Some("app"));
        assert_eq!((imported.held.len(), imported.changed.len()), (0, 1));
        let person = compare("p", 0, list, &known, &[open], Some("another app"));
        assert_eq!((person.held.len(), person.changed.len()), (0, 1));
    }
}
