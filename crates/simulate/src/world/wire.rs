//! The engine's `World` over the models. On the way calls are delayed, lost, answered to nobody, or late:
//! what was sent arrives even when its sender is dead.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use annika_sync::{
    blocks::Blocks,
    engine::EPOCH_CHANGED,
    lens::{Categories, Document},
    world::{
        Bequest, Claimed, Commit, CommitResult, Discovered, GraphOutcome, GraphRequest, GuardQuestion,
        KnownPlan, Observation, OpenCreate, Pace, PlanList, PlanSchedule, Plans, PollsWanted, Quota,
        Reclaimed, Report, SeenDetails, Signals, Snapshot, StoreError, Stored, SweepPage, Turn, World,
    },
};
use serde_json::Value as Json;

use super::{
    graph::{serve, serve_list},
    planner::APP,
    sim::{Answer, Shared, Sim},
};

pub const PLANS: [&str; 2] = ["plan-a", "plan-b"];
/// How long the client waits for Graph, ms.
const TIMEOUT_MS: i64 = 10_000;
/// How long it waits for the store, ms.
const STORE_TIMEOUT_MS: i64 = 1_000;

/// One process's way to the world.
pub struct Wire {
    sim: Shared,
    process: usize,
    holder: u64,
    /// The number of the next claim; it stays where the answer was lost.
    claim: AtomicU64,
    /// The epoch as this process read it; `None` = it has not read it.
    epoch: Arc<Mutex<Option<Option<String>>>>,
}

/// What becomes of a call.
enum Fate {
    Answered,
    NotArrived,
    ReplyLost,
    Late,
}

fn fate(sim: &mut Sim, chance: u64) -> Fate {
    if !sim.rng.chance(chance) {
        return Fate::Answered;
    }
    match sim.rng.below(4) {
        0 => Fate::NotArrived,
        1 => Fate::Late,
        _ => Fate::ReplyLost,
    }
}

/// What people called the categories of both plans.
pub fn categories() -> Categories {
    let named = [("category1", "Red team"), ("category2", "Blue")];
    Categories::from_names(named.into_iter().map(|(key, name)| (key.to_owned(), name.to_owned())).collect())
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Wire {
    pub fn new(sim: Shared, process: usize) -> Self {
        let life = sim.lock().lives[process];
        let holder = (process as u64) << 32 | life;
        Self { sim, process, holder, claim: AtomicU64::new(1), epoch: Arc::default() }
    }

    fn believed(&self) -> Option<Option<String>> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn believe(&self, epoch: Option<String>) {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
    }

    /// A call of the store.
    fn store<T: Send + 'static>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut Sim) -> T + Send + 'static,
    ) -> Answer<Stored<T>> {
        let answer = Answer::default();
        let given = answer.clone();
        let mut sim = self.sim.lock();
        let chance = sim.faults.store;
        let fate = fate(&mut sim, chance);
        let there = match fate {
            Fate::Late => STORE_TIMEOUT_MS + sim.rng.ms(2_000),
            _ => sim.rng.ms(3),
        };
        if !matches!(fate, Fate::Answered) {
            let failed = answer.clone();
            sim.note("store fault", |_| name.to_owned());
            sim.at(STORE_TIMEOUT_MS, move |_| {
                failed.give(Err(StoreError { code: "redis_unavailable", message: name.to_owned() }));
            });
        }
        if !matches!(fate, Fate::NotArrived) {
            sim.at(there, move |sim| {
                let result = effect(sim);
                let back = sim.rng.ms(3);
                if matches!(fate, Fate::Answered) {
                    sim.at(back, move |_| given.give(Ok(result)));
                }
            });
        }
        answer
    }

    async fn wait(&self, ms: i64) {
        let answer = Answer::default();
        let given = answer.clone();
        self.sim.lock().at(ms, move |_| given.give(()));
        answer.await;
    }

    /// A call of Graph, which may have to arrive late, ms; `None` = unknown.
    fn call<T: Send + 'static>(
        &self,
        late: Option<i64>,
        effect: impl FnOnce(&mut Sim) -> T + Send + 'static,
    ) -> Answer<Option<T>> {
        let answer = Answer::default();
        let given = answer.clone();
        let mut sim = self.sim.lock();
        let chance = sim.faults.graph;
        let fate = if late.is_some() { Fate::Late } else { fate(&mut sim, chance) };
        let there = match (&fate, late) {
            (_, Some(ms)) => ms,
            (Fate::Late, None) => 1_000 + sim.rng.ms(40_000),
            _ => 20 + sim.rng.ms(150),
        };
        if !matches!(fate, Fate::Answered) {
            let failed = answer.clone();
            sim.note("graph fault", |_| String::new());
            sim.at(TIMEOUT_MS, move |_| failed.give(None));
        }
        if !matches!(fate, Fate::NotArrived) {
            sim.at(there, move |sim| {
                let result = effect(sim);
                let back = 20 + sim.rng.ms(150);
                if matches!(fate, Fate::Answered) {
                    sim.at(back, move |_| given.give(Some(result)));
                }
            });
        }
        answer
    }
}

/// The scripts that hand out or import tasks refuse under another epoch than the one that was read.
fn same_epoch(sim: &Sim, believed: Option<&Option<String>>) -> Stored<()> {
    match believed {
        Some(epoch) if *epoch != sim.store.epoch => {
            Err(StoreError { code: EPOCH_CHANGED, message: "another epoch".to_owned() })
        }
        _ => Ok(()),
    }
}

fn kind(result: CommitResult) -> &'static str {
    match result {
        CommitResult::Stored => "stored",
        CommitResult::StoredDueAgain => "stored, due again",
        CommitResult::LocalChanged => "document moved",
        CommitResult::MappedElsewhere => "mapped elsewhere",
        CommitResult::LeaseLost => "lease lost",
        CommitResult::Failed => "commit failed",
    }
}

impl World for Wire {
    fn now_ms(&self) -> i64 {
        let sim = self.sim.lock();
        sim.now + sim.clocks[self.process]
    }

    fn random(&self) -> u64 {
        self.sim.lock().rng.draw()
    }

    async fn sleep(&self, duration: Duration) {
        self.wait(ms(duration)).await;
    }

    fn marked(&self) -> impl Future<Output = ()> + Send {
        let (sim, process) = (self.sim.clone(), self.process);
        poll_fn(move |context| {
            let mut sim = sim.lock();
            let heard = &mut sim.heard[process];
            if std::mem::take(&mut heard.0) {
                return Poll::Ready(());
            }
            heard.1 = Some(context.waker().clone());
            Poll::Pending
        })
    }

    async fn hold_lease(&self, length: Duration) -> Stored<bool> {
        let holder = self.holder;
        self.store("hold_lease", move |sim| sim.store.hold_lease(holder, ms(length), sim.now)).await
    }

    async fn release_lease(&self) -> Stored<()> {
        let holder = self.holder;
        self.store("release_lease", move |sim| {
            sim.store.hold_lease(holder, 0, sim.now);
        })
        .await
    }

    async fn epoch(&self) -> Stored<Option<String>> {
        let epoch = self.store("epoch", |sim| sim.store.epoch.clone()).await?;
        self.believe(epoch.clone());
        Ok(epoch)
    }

    async fn set_epoch(&self, from: Option<&str>, to: &str) -> Stored<bool> {
        let (from, new) = (from.map(str::to_owned), to.to_owned());
        let set = self
            .store("set_epoch", move |sim| {
                let holds = sim.store.epoch == from;
                if holds {
                    sim.store.epoch = Some(new);
                }
                holds
            })
            .await?;
        if set {
            self.believe(Some(to.to_owned()));
        }
        Ok(set)
    }

    async fn reclaim(&self, _cursor: Option<String>) -> Stored<Reclaimed> {
        self.store("reclaim", |sim| sim.store.reclaim(sim.now)).await
    }

    async fn owners(&self, planner_ids: &[String]) -> Stored<Vec<Option<String>>> {
        let ids = planner_ids.to_vec();
        self.store("owners", move |sim| ids.iter().map(|id| sim.store.owners.get(id).cloned()).collect())
            .await
    }

    async fn bequeath(&self, bequests: &[Bequest]) -> Stored<()> {
        let bequests = bequests.to_vec();
        self.store("bequeath", move |sim| {
            bequests.iter().for_each(|bequest| sim.store.note_heir(bequest, sim.now));
        })
        .await
    }

    async fn permit(&self, question: GuardQuestion) -> Stored<Vec<bool>> {
        self.store("permit", move |sim| sim.store.permit(&question, sim.now)).await
    }

    async fn mark(&self, ids: &[String], delay: Duration) -> Stored<()> {
        let (ids, process) = (ids.to_vec(), self.process);
        self.store("mark", move |sim| {
            ids.iter().for_each(|id| sim.store.mark(id, ms(delay), sim.now));
            sim.wake(process);
        })
        .await
    }

    async fn mark_missing(&self, ids: &[String]) -> Stored<usize> {
        let (ids, process) = (ids.to_vec(), self.process);
        self.store("mark_missing", move |sim| {
            sim.wake(process);
            ids.iter().filter(|id| sim.store.mark_missing(id, sim.now)).count()
        })
        .await
    }

    async fn ingest_pending(&self) -> Stored<usize> {
        let process = self.process;
        self.store("ingest_pending", move |sim| {
            let pending = std::mem::take(&mut sim.store.pending);
            pending.iter().for_each(|id| sim.store.mark(id, 0, sim.now));
            if !pending.is_empty() {
                sim.wake(process);
            }
            pending.len()
        })
        .await
    }

    async fn claim(&self, quota: Quota, lease: Duration) -> Stored<Claimed> {
        let (holder, number, epoch) = (self.holder, self.claim.load(Ordering::Relaxed), self.believed());
        let claimed = self
            .store("claim", move |sim| {
                same_epoch(sim, epoch.as_ref())?;
                Ok(sim.store.claim(holder, number, quota, ms(lease), sim.now))
            })
            .await??;
        self.claim.store(number + 1, Ordering::Relaxed);
        Ok(claimed)
    }

    async fn load(&self, ids: &[String]) -> Stored<Vec<Snapshot>> {
        let ids = ids.to_vec();
        let read = move |sim: &mut Sim| -> Vec<Snapshot> {
            ids.iter().map(|id| sim.store.snapshot(id, sim.now)).collect()
        };
        let mut snapshots = self.store("load", read).await?;
        self.store("load", move |sim| {
            snapshots.iter_mut().for_each(|snapshot| sim.store.complete(snapshot, sim.now));
            snapshots
        })
        .await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Stored<Vec<CommitResult>> {
        let holder = self.holder;
        self.store("commit", move |sim| {
            let mut results = Vec::new();
            for commit in &commits {
                match sim.store.commit(commit, holder, sim.now) {
                    Ok(result) => {
                        sim.note("commit", |_| {
                            let state = commit.state.as_ref();
                            format!(
                                "{} {result:?} {:?} wrote={} {:?} gone={:?}",
                                commit.id,
                                commit.next,
                                commit.write.is_some(),
                                commit.events,
                                state.and_then(|state| state.gone.clone())
                            )
                        });
                        *sim.tally.entry(kind(result)).or_default() += 1;
                        if matches!(result, CommitResult::Stored | CommitResult::StoredDueAgain) {
                            sim.actors.told(commit, &mut sim.oracle);
                            sim.actors.merged(commit, &mut sim.oracle);
                            if commit.durable {
                                sim.replicate();
                            }
                            if let Some(new) = commit.write.as_ref().and_then(|write| write.new.as_ref()) {
                                sim.arrived_in_redis(&new.bytes());
                            }
                            let wrong = sim.actors.after_commit(commit);
                            wrong.into_iter().for_each(|wrong| sim.violation(wrong));
                        }
                        results.push(result);
                    }
                    Err(wrong) => {
                        sim.violation(wrong);
                        results.push(CommitResult::LeaseLost);
                    }
                }
            }
            results
        })
        .await
    }

    async fn replace(&self, id: &str, expected: &[u8], document: &Document) -> Stored<bool> {
        let (id, expected, document, process) =
            (id.to_owned(), expected.to_vec(), document.clone(), self.process);
        self.store("replace", move |sim| {
            let written = sim.store.replace(&id, &expected, &document, sim.now);
            sim.wake(process);
            written
        })
        .await
    }

    async fn sweep_page(&self, _cursor: Option<String>) -> Stored<SweepPage> {
        let read = |sim: &mut Sim| {
            sim.sweeps += 1;
            sim.store.sweep(sim.now)
        };
        self.store("sweep_page", read).await
    }

    async fn discover(&self, _cursor: Option<String>) -> Stored<Discovered> {
        let part = |sim: &mut Sim| match sim.parts_before.checked_sub(1) {
            Some(left) => {
                sim.parts_before = left;
                Discovered { rest: true, ..Discovered::default() }
            }
            None => Discovered { ids: sim.store.unknown(sim.now), ..Discovered::default() },
        };
        self.store("discover", part).await
    }

    async fn plans(&self, _ask: bool) -> Stored<Plans> {
        let synced: Vec<String> = PLANS.iter().map(|plan| (*plan).to_owned()).collect();
        let default = synced.first().cloned();
        let categories = PLANS.iter().map(|plan| ((*plan).to_owned(), Arc::new(categories()))).collect();
        self.store("plans", move |_| Plans { synced, default, categories, ..Plans::default() }).await
    }

    async fn list(&self, plans: &[String], _turn: &dyn Turn) -> (Vec<PlanList>, u32) {
        let begun_at = self.now_ms();
        let wanted = plans.to_vec();
        let requests = u32::try_from(wanted.len()).expect("few");
        let lists = self
            .call(None, move |sim| {
                wanted.iter().map(|plan| serve_list(sim, plan, begun_at)).collect::<Vec<_>>()
            })
            .await;
        let unknown = || {
            plans
                .iter()
                .map(|_| PlanList::Incomplete {
                    reason: "no answer".into(),
                    answered: false,
                    retry_after: None,
                })
                .collect()
        };
        (lists.unwrap_or_else(unknown), requests)
    }

    async fn known(&self, plans: &[String]) -> Stored<Vec<KnownPlan>> {
        let plans = plans.to_vec();
        let read = move |sim: &mut Sim| -> Vec<KnownPlan> {
            plans.iter().map(|plan| sim.store.plans.get(plan).cloned().unwrap_or_default()).collect()
        };
        self.store("known", read).await
    }

    async fn schedules(&self, plans: &[String]) -> Stored<Vec<PlanSchedule>> {
        let plans = plans.to_vec();
        let read = move |sim: &mut Sim| -> Vec<PlanSchedule> {
            plans.iter().map(|plan| sim.store.schedules.get(plan).copied().unwrap_or_default()).collect()
        };
        self.store("schedules", read).await
    }

    async fn keep_schedules(&self, schedules: &[(String, PlanSchedule)]) -> Stored<()> {
        let schedules = schedules.to_vec();
        self.store("keep_schedules", move |sim| sim.store.schedules.extend(schedules)).await
    }

    async fn blocks(&self) -> Stored<BTreeMap<String, Blocks>> {
        Ok(self.sim.lock().store.blocks.clone())
    }

    async fn keep_blocks(&self, plan: &str, blocks: &Blocks) -> Stored<()> {
        // Where it gets lost, the next list or the next create says it again.
        self.sim.lock().store.blocks.insert(plan.to_owned(), blocks.clone());
        Ok(())
    }

    async fn open_creates(&self) -> Stored<Vec<OpenCreate>> {
        self.store("open_creates", |sim| sim.store.creates.values().cloned().collect()).await
    }

    async fn observe(&self, observation: Observation) -> Stored<()> {
        let Observation { plan, begun_at, changed, missing, moved, reappeared, held, .. } = observation;
        let name = |json: &Json| json["id"].as_str().unwrap_or_default().to_owned();
        let read = move |sim: &mut Sim| -> Vec<(Json, Option<String>)> {
            let owner = |json: &Json| sim.store.owners.get(&name(json)).cloned();
            changed.into_iter().map(|json| (owner(&json), json)).map(|(owner, json)| (json, owner)).collect()
        };
        let changed = self.store("observe", read).await?;
        let (to, process, epoch) = (plan.clone(), self.process, self.believed());
        self.store("observe", move |sim| {
            same_epoch(sim, epoch.as_ref())?;
            for (json, owner) in &changed {
                sim.store.observe(&to, json, owner.as_ref(), sim.now);
                sim.note("observe", |_| format!("{} {owner:?} {}", json["id"], json["@odata.etag"]));
            }
            Ok(())
        })
        .await??;
        let notes: Vec<(String, u32)> =
            missing.clone().into_iter().chain(reappeared.into_iter().map(|id| (id, 0))).collect();
        let owners = self
            .store("observe", move |sim| {
                let owner = |(id, times): (String, u32)| (sim.store.owners.get(&id).cloned(), id, times);
                notes.into_iter().map(owner).collect::<Vec<_>>()
            })
            .await?;
        self.store("observe", move |sim| {
            for (owner, planner_id, times) in owners {
                match owner {
                    Some(owner) => {
                        sim.note("absent", |_| format!("{planner_id:?} {owner} from {plan}: {times}"));
                        sim.store.note_absent(&planner_id, &owner, times, sim.now);
                    }
                    None => {
                        sim.store.plans.entry(plan.clone()).or_default().etags.remove(&planner_id);
                    }
                }
            }
            let known = sim.store.plans.entry(plan.clone()).or_default();
            moved.iter().for_each(|id| {
                known.etags.remove(id);
            });
            let held = held.iter().map(|json| (name(json), json.clone())).collect();
            sim.store.hold(&plan, begun_at, held, sim.now);
            sim.store.plans.entry(plan).or_default().missing = missing;
            sim.wake(process);
        })
        .await
    }

    async fn recheck_details(&self, seen: &[SeenDetails]) -> Stored<()> {
        let seen = seen.to_vec();
        self.store("recheck_details", move |sim| {
            seen.iter().for_each(|seen| sim.store.note_recheck(seen, sim.now));
        })
        .await
    }

    async fn rotated(&self, plan: &str, cursor: &str) -> Stored<()> {
        let (plan, cursor) = (plan.to_owned(), cursor.to_owned());
        self.store("rotated", move |sim| sim.store.plans.entry(plan).or_default().details_cursor = cursor)
            .await
    }

    async fn ready(&self) -> bool {
        let (slow, ready) = {
            let mut sim = self.sim.lock();
            let chance = sim.faults.token;
            let slow = sim.rng.chance(chance);
            (if slow { sim.rng.ms(20_000) } else { 0 }, !slow || sim.rng.chance(7_000))
        };
        if slow > 0 {
            self.sim.lock().note("slow token", |_| slow.to_string());
            self.wait(slow).await;
        }
        ready
    }

    async fn graph(&self, requests: Vec<GraphRequest>) -> Vec<GraphOutcome> {
        let count = requests.len();
        let writes = requests.iter().any(GraphRequest::is_write);
        let late = if writes { self.sim.lock().late_next_write.take() } else { None };
        let outcomes = self.call(late, move |sim| serve(sim, &requests)).await;
        let unknown = GraphOutcome::Unknown { reason: "no answer".to_owned() };
        outcomes.unwrap_or_else(|| vec![unknown; count])
    }

    fn application_id(&self) -> Option<String> {
        Some(APP.to_owned())
    }

    async fn signals(&self) -> Stored<Signals> {
        self.store("signals", |sim| Signals {
            paused_until: sim.store.pause_until,
            polls: PollsWanted { all: std::mem::take(&mut sim.store.poll_wanted), plans: Vec::new() },
            pace: sim.store.pace,
        })
        .await
    }

    async fn keep_pace(&self, pace: Pace) -> Stored<()> {
        let holder = self.holder;
        self.store("keep_pace", move |sim| sim.store.keep_pace(holder, pace, sim.now)).await
    }

    async fn pause_until(&self, until: i64) -> Stored<()> {
        self.store("pause_until", move |sim| sim.store.pause_until = sim.store.pause_until.max(until)).await
    }

    async fn report(&self, _report: &Report) -> Stored<()> {
        self.store("report", |_| ()).await
    }
}
