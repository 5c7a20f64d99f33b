//! The drain: groups of due tasks, each taken through its steps until it is finished or has to wait.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt, StreamExt, future::join_all, pin_mut, stream::FuturesUnordered};

use super::{BATCH, Engine, Priority, guard::HELD_WAIT, memory::REBUILD_WAIT, outcome::After, task::Task};
use crate::{
    lens::{Document, Field, Value, same},
    mutants::{Mutant, removed},
    plan::{Action, Context, Step, plan},
    world::{
        Bequest, Claim, Claimed, Commit, CommitResult, Event, GraphOutcome, GraphRequest, Local, Plans,
        Quota, Snapshot, StoreError, World,
    },
};

/// Steps of one task in one claim; more means that something goes round in circles.
const ROUNDS: u32 = 10;
/// How long the drain sleeps at most when nothing is due.
const IDLE: Duration = Duration::from_secs(1);
/// How long a group that ran out of time or rounds is put down.
const PUT_DOWN: Duration = Duration::from_secs(5);

/// What is to be done about a task.
pub(super) struct Decision {
    pub step: Step,
    pub requests: Vec<GraphRequest>,
    /// The requests may not be sent now; for how long.
    pub hold: Option<Duration>,
    /// A deletion is on its way.
    deletes: bool,
}

impl Decision {
    /// Whether something is to be changed at Graph now.
    fn writes(&self) -> bool {
        self.hold.is_none() && self.requests.iter().any(GraphRequest::is_write)
    }

    /// Requests to pay for now. The read before a deletion pays for the deletion too: it may not wait then, or
    /// what was read would no longer be fresh.
    fn count(&self) -> u32 {
        if self.hold.is_some() {
            return 0;
        }
        match &self.step.action {
            Action::Delete { .. } | Action::DeleteLeft { .. } => 0,
            Action::GetLeft { .. } => u32::try_from(self.requests.len() + 1).unwrap_or(0),
            Action::Get { .. } if self.deletes => u32::try_from(self.requests.len() + 1).unwrap_or(0),
            _ => u32::try_from(self.requests.len()).unwrap_or(0),
        }
    }
}

impl<W: World> Engine<W> {
    pub(super) async fn drain_loop(&self) {
        let mut running = FuturesUnordered::new();
        let (mut urgent, mut low) = (0, 0);
        let mut plans = Plans::default();
        let mut plans_at = i64::MIN;
        loop {
            let mut idle = IDLE;
            let quota = if self.stopping() { Quota::each(0) } else { self.quota(urgent, low) };
            if !self.may_work() {
                idle = self.learn_epoch().await;
            } else if !quota.is_none() {
                let now = self.world.now_ms();
                // Just after the start the names of the categories are on their way. Tasks that waited for a plan to be
                // synced are due as soon as the poll has heard of it.
                let age = if plans.categories.len() < plans.synced.len() { 500 } else { 5_000 };
                if (now.saturating_sub(plans_at) > age || self.synced() != plans.synced)
                    && let Ok(read) = self.world.plans(false).await
                {
                    plans = read;
                    plans_at = now;
                }
                match self.world.claim(quota, self.claim_length()).await {
                    Ok(claimed) => {
                        idle = claimed.next_in.unwrap_or(IDLE).min(IDLE);
                        let groups = self.groups(claimed);
                        let found = !groups.is_empty();
                        for (claims, priority) in groups {
                            *if priority == Priority::Low { &mut low } else { &mut urgent } += 1;
                            running.push(self.work(claims, plans.clone(), priority));
                        }
                        if found {
                            continue;
                        }
                        if running.is_empty() {
                            self.drained();
                        }
                    }
                    Err(error) => self.store_failed("claim", &error),
                }
            }
            if self.stopping() && running.is_empty() {
                return;
            }
            let nap = self.world.sleep(idle.max(Duration::from_millis(2))).fuse();
            let mark = self.world.marked().fuse();
            pin_mut!(nap, mark);
            if running.is_empty() {
                futures::select_biased! { () = nap => {}, () = mark => {} }
            } else {
                futures::select_biased! {
                    ended = running.next() => match ended {
                        Some(Priority::Urgent) => urgent -= 1,
                        Some(Priority::Low) => low -= 1,
                        None => {}
                    },
                    () = nap => {},
                    () = mark => {}
                }
            }
        }
    }

    fn claim_length(&self) -> Duration {
        if removed(Mutant::TaskLease) { Duration::from_hours(24) } else { self.settings.task_lease }
    }

    /// How many tasks to claim while so many groups are under way: as many as can have a request each well within
    /// their lease. The two priorities have places of their own, so that neither waits for the other's groups.
    fn quota(&self, urgent: usize, low: usize) -> Quota {
        let within = self.settings.task_lease / 4;
        let places = self.shared().limiter.concurrency();
        let open = |taken: usize, places: usize, priority| {
            if taken < places { self.room(within, priority).min(BATCH) } else { 0 }
        };
        Quota {
            urgent: open(urgent, places, Priority::Urgent),
            low: open(low, (places / 2).max(1), Priority::Low),
        }
    }

    /// The claims as groups to work on, each of one priority.
    fn groups(&self, claimed: Claimed) -> Vec<(Vec<Claim>, Priority)> {
        for id in &claimed.put_off {
            self.count("tasks_put_off", 1);
            tracing::error!(
                task_id = id,
                code = "task_put_off",
                "the claims of a task ran out again and again without a result; it is put off"
            );
        }
        let (low, urgent): (Vec<Claim>, Vec<Claim>) = claimed.claims.into_iter().partition(|claim| claim.low);
        [(urgent, Priority::Urgent), (low, Priority::Low)]
            .into_iter()
            .filter(|(claims, _)| !claims.is_empty())
            .collect()
    }

    /// Works off what is due until nothing is or the time is up. For the periodic mode.
    pub(super) async fn drain_until(&self, until: i64) -> Result<(), StoreError> {
        let plans = self.world.plans(false).await?;
        while self.world.now_ms() < until {
            let mut groups = Vec::new();
            let mut next_in = None;
            let places = self.shared().limiter.concurrency();
            while groups.len() < places {
                let Quota { urgent, low } = self.quota(0, 0);
                let quota = Quota { urgent: urgent.max(1), low: low.max(1) };
                let claimed = self.world.claim(quota, self.claim_length()).await?;
                next_in = claimed.next_in;
                let found = self.groups(claimed);
                if found.is_empty() {
                    break;
                }
                let work = |(claims, priority)| self.work(claims, plans.clone(), priority);
                groups.extend(found.into_iter().map(work));
            }
            if groups.is_empty() {
                match next_in {
                    Some(wait) if wait <= Duration::from_millis(500) => self.world.sleep(wait).await,
                    _ => return Ok(()),
                }
            }
            join_all(groups).await;
        }
        Ok(())
    }

    /// Takes a group of claimed tasks through their steps.
    async fn work(&self, claims: Vec<Claim>, plans: Plans, priority: Priority) -> Priority {
        if let Err(error) = self.work_through(claims, &plans, priority).await {
            self.store_failed("drain", &error);
            self.world.sleep(Duration::from_secs(1)).await;
        }
        priority
    }

    async fn work_through(
        &self,
        claims: Vec<Claim>,
        plans: &Plans,
        priority: Priority,
    ) -> Result<(), StoreError> {
        let ids: Vec<String> = claims.iter().map(|claim| claim.id.clone()).collect();
        let mut snapshots: BTreeMap<String, Snapshot> = self
            .world
            .load(&ids)
            .await?
            .into_iter()
            .map(|snapshot| (snapshot.id.clone(), snapshot))
            .collect();
        let started = self.world.now_ms();
        self.count("claims", ids.len() as u64);
        let mut tasks: Vec<Task> = claims
            .into_iter()
            .filter_map(|claim| {
                let snapshot = snapshots.remove(&claim.id)?;
                Some(Task::new(claim, snapshot, started))
            })
            .collect();
        self.load_creates(&mut tasks).await?;
        let half = i64::try_from(self.settings.task_lease.as_millis() / 2).unwrap_or(i64::MAX);
        for round in 1..=ROUNDS {
            if tasks.is_empty() {
                break;
            }
            let last = round == ROUNDS || self.world.now_ms() - started > half;
            tasks = self.round(tasks, plans, last, priority).await?;
        }
        Ok(())
    }

    /// Imports need to know which creates are open now: a failover after the list was read may have taken back that a
    /// create's task was known.
    async fn load_creates(&self, tasks: &mut [Task]) -> Result<(), StoreError> {
        if tasks.iter().any(Task::is_import) {
            let open = self.world.open_creates().await?;
            for task in tasks.iter_mut().filter(|task| task.is_import()) {
                task.snapshot.open_creates.clone_from(&open);
            }
        }
        Ok(())
    }

    /// One step of every task: decide, store, send, and take in the answers.
    ///
    /// In the `last` round what needs no request is finished, the rest put down.
    async fn round(
        &self,
        tasks: Vec<Task>,
        plans: &Plans,
        last: bool,
        priority: Priority,
    ) -> Result<Vec<Task>, StoreError> {
        let decided_at = self.world.now_ms();
        let mut decided = self.decide(&tasks, plans, last);
        self.pace(decided.iter().map(Decision::count).sum(), priority).await;
        // Before intents are stored: what takes time now would take it between an intent and its request.
        if decided.iter().any(Decision::writes) && !self.world.ready().await {
            self.graph_answered(false);
        }
        if self.world.now_ms() != decided_at {
            // Times go into intents, and evidence has an age: what was decided before the wait is decided anew.
            decided = self.decide(&tasks, plans, last);
        }
        let mut tasks = tasks;
        self.try_full_plans(&tasks, &mut decided);
        self.guard_deletions(&mut tasks, &mut decided).await?;
        self.spend_budget(&tasks, &decided);
        let now = self.world.now_ms();
        let mut sending = Vec::new();
        let mut commits = Vec::new();
        let mut waiting = Vec::new();
        let bequests: Vec<Bequest> =
            decided.iter().filter_map(|decision| decision.step.bequest.clone()).collect();
        for (mut task, Decision { step, requests, hold, .. }) in tasks.into_iter().zip(decided) {
            if let Some(wait) = hold {
                commits.push(task.pause(wait));
                waiting.push(None);
                continue;
            }
            let writes = requests.iter().any(GraphRequest::is_write);
            let commit = task.commit(&step, now);
            if requests.is_empty() || writes || commit.write.is_some() || !commit.events.is_empty() {
                commits.push(commit);
                waiting.push(Some((task, step, requests)));
            } else {
                task.adopt_step(&step);
                sending.push((task, step, requests));
            }
        }
        let stored_at = self.world.now_ms();
        if !bequests.is_empty() {
            self.world.bequeath(&bequests).await?;
        }
        let results = if commits.is_empty() { Vec::new() } else { self.world.commit(commits).await? };
        let mut again = Vec::new();
        let mut gave_way = Vec::new();
        let mut on = Vec::new();
        for (entry, result) in waiting.into_iter().zip(results) {
            let Some((mut task, step, requests)) = entry else { continue };
            if matches!(result, CommitResult::Stored | CommitResult::StoredDueAgain) {
                self.weigh(&task, &step);
            }
            match result {
                CommitResult::Stored | CommitResult::StoredDueAgain if !requests.is_empty() => {
                    task.was_stored(&step);
                    task.adopt_step(&step);
                    sending.push((task, step, requests));
                }
                CommitResult::Stored | CommitResult::StoredDueAgain
                    if matches!(step.action, Action::WriteParent { .. }) =>
                {
                    task.adopt_step(&step);
                    if self.write_parent(&mut task, &step.action).await? {
                        on.push(task);
                    } else {
                        again.push((task.pause(Duration::ZERO), task));
                    }
                }
                CommitResult::Stored | CommitResult::StoredDueAgain => self.settled(&task, &step),
                CommitResult::LocalChanged => again.push((task.pause(Duration::ZERO), task)),
                CommitResult::MappedElsewhere => gave_way.push(task.give_way(now)),
                CommitResult::LeaseLost => self.count("leases_lost", 1),
                CommitResult::Failed => self.count("commits_failed", 1),
            }
        }
        if !again.is_empty() {
            self.count("documents_moved", again.len() as u64);
            gave_way.extend(self.put_down(again).await?);
        }
        self.give_way(gave_way).await?;
        on.extend(self.send(sending, stored_at).await);
        Ok(on)
    }

    /// Writes the item of a document into its parent's; says whether the parent still was what had been read.
    async fn write_parent(&self, task: &mut Task, action: &Action) -> Result<bool, StoreError> {
        let Action::WriteParent { expected, document } = action else { return Ok(false) };
        let Some(parent) = task.snapshot.parent.as_mut() else { return Ok(false) };
        let written = self.world.replace(&parent.id, expected, document).await?;
        if written {
            parent.local = Local::Present { bytes: document.bytes(), expires: false };
        }
        Ok(written)
    }

    /// What is to be done about each task, as things stand.
    fn decide(&self, tasks: &[Task], plans: &Plans, last: bool) -> Vec<Decision> {
        let now = self.world.now_ms();
        let rebuilding_since = self.rebuilding_since();
        let application = self.world.application_id();
        let mut repeats = 0;
        let mut decide = |task: &Task| {
            let scenario = self.settings.external_id.as_deref();
            let context = Context { now, rev: self.rev(), plans, scenario, rebuilding_since };
            let step = match task.held(application.as_deref()) {
                Some(planner_id) => Step::forgotten(task.snapshot.state.clone(), Some(planner_id)),
                None if task.forget => task.last_step(),
                None => plan(&task.snapshot, &context),
            };
            let (step, waits) = self.while_rebuilding(task, step);
            let requests = requests_of(&step, task.planner_id(&step.state), self.settings.send_deadline);
            let goes_on = matches!(step.action, Action::WriteParent { .. });
            let blocked = waits.or_else(|| self.held_by_plan(task, &step, !requests.is_empty()));
            let hold = if blocked.is_some() {
                blocked
            } else if last && (goes_on || !requests.is_empty()) {
                self.count("rounds_exhausted", 1);
                Some(PUT_DOWN)
            } else {
                let writes = requests.iter().any(GraphRequest::is_write);
                let hold = self.hold_back(&requests, writes);
                hold.or_else(|| self.not_yet(task).filter(|_| !requests.is_empty()))
                    .or_else(|| self.over_budget(task, requests.len(), &mut repeats))
            };
            let gone = matches!(task.snapshot.local, Local::Missing);
            let deletes = gone && (task.snapshot.delete_event || task.snapshot.missed_sweeps > 0);
            Decision { step, requests, hold, deletes }
        };
        tasks.iter().map(&mut decide).collect()
    }

    /// What a rebuild makes of a step, and how long the step has to wait for it.
    fn while_rebuilding(&self, task: &Task, step: Step) -> (Step, Option<Duration>) {
        let allowed = self.allowed();
        let ends = step.deletion.is_some() || step.unmap.is_some();
        if !allowed.deletions && ends && !task.forget {
            return (step, Some(REBUILD_WAIT));
        }
        let (Action::Create { .. }, Some(create)) = (&step.action, &step.state.create) else {
            return (step, None);
        };
        let again = step.state.dead_id.is_some() && !allowed.deletions;
        if again || !allowed.creates {
            return (step, Some(REBUILD_WAIT));
        }
        match self.claim_twin(&task.claim.id, create) {
            Some(state) => (Step::new(state, Action::Get { task: true, details: true }), None),
            None => (step, None),
        }
    }

    /// Holds the deletions that are too many.
    async fn guard_deletions(&self, tasks: &mut [Task], decided: &mut [Decision]) -> Result<(), StoreError> {
        let (mut at, mut asked) = (Vec::new(), Vec::new());
        for (index, (task, decision)) in tasks.iter().zip(decided.iter()).enumerate() {
            if let (Some(deletion), None, false) = (decision.step.deletion, decision.hold, task.permitted) {
                at.push(index);
                asked.push((task.claim.id.as_str(), deletion));
            }
        }
        let answers = if asked.is_empty() { Vec::new() } else { self.permitted(&asked).await? };
        for (index, permitted) in at.into_iter().zip(answers) {
            if let (Some(task), Some(decision)) = (tasks.get_mut(index), decided.get_mut(index)) {
                task.permitted = permitted;
                decision.hold = (!permitted).then_some(HELD_WAIT);
            }
        }
        Ok(())
    }

    /// Why these requests may not be sent now: for how long.
    fn hold_back(&self, requests: &[GraphRequest], writes: bool) -> Option<Duration> {
        if requests.is_empty() {
            return None;
        }
        if let Some(pause) = self.pause_left() {
            return Some(pause + Duration::from_millis(self.world.random() % 250));
        }
        (writes && self.graph_is_down()).then(|| Duration::from_millis(2_000 + self.world.random() % 3_000))
    }

    /// Sends the requests, twenty to a batch, and takes in the outcomes.
    async fn send(&self, sending: Vec<(Task, Step, Vec<GraphRequest>)>, stored_at: i64) -> Vec<Task> {
        if sending.is_empty() {
            return Vec::new();
        }
        let deadline = i64::try_from(self.settings.send_deadline.as_millis()).unwrap_or(i64::MAX);
        let late = self.world.now_ms() - stored_at > deadline && !removed(Mutant::SendDeadline);
        let mut batches: Vec<Vec<GraphRequest>> = vec![Vec::new()];
        for (_, _, requests) in &sending {
            let full = batches.last().is_some_and(|batch| batch.len() + requests.len() > BATCH);
            if full {
                batches.push(Vec::new());
            }
            if let Some(batch) = batches.last_mut() {
                batch.extend(requests.iter().cloned());
            }
        }
        let outcomes: Vec<GraphOutcome> = if late {
            self.count("send_deadlines_missed", 1);
            let reason = "the send deadline had passed".to_owned();
            batches.concat().iter().map(|_| GraphOutcome::NotSent { reason: reason.clone() }).collect()
        } else {
            self.count("graph_http", batches.len() as u64);
            join_all(batches.into_iter().map(|batch| self.world.graph(batch))).await.concat()
        };
        let heard = outcomes.iter().any(|outcome| matches!(outcome, GraphOutcome::Answer { .. }));
        if !late {
            self.graph_answered(heard);
            self.batch_answered(&outcomes);
        }
        let mut outcomes = outcomes.into_iter();
        let mut tasks = Vec::new();
        let mut pauses = Vec::new();
        for (mut task, step, requests) in sending {
            let own: Vec<GraphOutcome> = outcomes.by_ref().take(requests.len()).collect();
            task.requests += u32::try_from(requests.len()).unwrap_or(0);
            match self.take_outcome(&mut task, &step.action, own).await {
                After::Plan => tasks.push(task),
                After::Wait(wait) => pauses.push((task.pause(wait), task)),
            }
        }
        let put_down = async {
            let gave_way = self.put_down(pauses).await?;
            self.give_way(gave_way).await
        };
        if let Err(error) = put_down.await {
            self.store_failed("commit", &error);
        }
        tasks
    }

    /// Puts tasks down as they are. Returns the commits of those whose Planner task is another document's.
    async fn put_down(&self, pauses: Vec<(Commit, Task)>) -> Result<Vec<Commit>, StoreError> {
        if pauses.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.world.now_ms();
        let (commits, tasks): (Vec<Commit>, Vec<Task>) = pauses.into_iter().unzip();
        let results = self.world.commit(commits).await?;
        let elsewhere = |(mut task, result): (Task, CommitResult)| {
            (result == CommitResult::MappedElsewhere).then(|| task.give_way(now))
        };
        Ok(tasks.into_iter().zip(results).filter_map(elsewhere).collect())
    }

    /// Stores what becomes of tasks whose Planner task is another document's.
    async fn give_way(&self, commits: Vec<Commit>) -> Result<(), StoreError> {
        if commits.is_empty() {
            return Ok(());
        }
        self.count("mapped_elsewhere", commits.len() as u64);
        self.world.commit(commits).await.map(|_| ())
    }

    /// A task has come to rest; counts what that was.
    fn settled(&self, task: &Task, step: &Step) {
        self.count("settled", 1);
        let lag = task.snapshot.waited_ms.map(|waited| waited + self.world.now_ms() - task.started);
        if !task.uploaded.is_empty() || task.op == "create" {
            self.count("uploads", 1);
            self.count("upload_requests", u64::from(task.requests));
            if let Some(lag) = lag {
                self.shared().report.upload_lag.add(lag);
            }
        }
        if !step.downloaded.is_empty() {
            self.count("downloads", 1);
            if let Some(lag) = lag {
                self.shared().report.download_lag.add(lag);
            }
        }
    }

    /// Counts what a stored step says about conflicts, and writes that changed nothing.
    fn weigh(&self, task: &Task, step: &Step) {
        let conflicts = step.events.iter().filter(|event| matches!(event, Event::Conflict { .. })).count();
        self.count("conflicts", conflicts as u64);
        if is_echo(task, step) {
            self.count("echo_writes", 1);
        }
    }
}

/// Whether a step writes what is there already: values that Planner has, or a document that differs in its stamp
/// alone and had a stamp for the same Planner task.
fn is_echo(task: &Task, step: &Step) -> bool {
    if let (Action::Patch { changes, .. }, Some(remote)) = (&step.action, &step.state.remote) {
        let known = |field: &Field| remote.fields.get(field).unwrap_or(&Value::Null);
        if changes.iter().all(|(field, value)| same(*field, value, known(field))) {
            return true;
        }
    }
    let (Some(write), Local::Present { bytes, .. }) = (&step.write, &task.snapshot.local) else {
        return false;
    };
    let (Some(new), Ok(old)) = (&write.new, Document::parse(bytes)) else { return false };
    let planner_id = |document: &Document| document.sync_stamp().map(|stamp| stamp.planner_id);
    step.downloaded.is_empty()
        && planner_id(&old) == planner_id(new)
        && old.without_stamp().bytes() == new.without_stamp().bytes()
}

/// The requests that an action needs, in the order in which the outcome is read.
fn requests_of(step: &Step, planner_id: String, deadline: Duration) -> Vec<GraphRequest> {
    match &step.action {
        Action::Finish | Action::Wait(_) | Action::WriteParent { .. } => Vec::new(),
        Action::Get { task, details } => {
            let task = task.then(|| GraphRequest::GetTask { planner_id: planner_id.clone() });
            let details = details.then_some(GraphRequest::GetDetails { planner_id });
            task.into_iter().chain(details).collect()
        }
        Action::FindUsers { names } => {
            names.iter().map(|name| GraphRequest::FindUsers { name: name.clone() }).collect()
        }
        Action::Create { body } => {
            let create = step.state.create.as_ref();
            let sent_at = create.map_or(0, |create| create.sent_at);
            vec![GraphRequest::CreateTask {
                body: body.clone(),
                beta: create.is_some_and(|create| create.external_id.is_some()),
                not_after: sent_at + i64::try_from(deadline.as_millis()).unwrap_or(0),
            }]
        }
        Action::Patch { task, details, .. } | Action::HandOver { task, details } => {
            let task = task.as_ref().map(|(etag, body)| GraphRequest::PatchTask {
                planner_id: planner_id.clone(),
                etag: if removed(Mutant::MergedEtag) { "*".to_owned() } else { etag.clone() },
                body: body.clone(),
            });
            let details = details.as_ref().map(|(etag, body)| GraphRequest::PatchDetails {
                planner_id,
                etag: etag.clone(),
                body: body.clone(),
            });
            task.into_iter().chain(details).collect()
        }
        Action::GetLeft { planner_id } => vec![
            GraphRequest::GetTask { planner_id: planner_id.clone() },
            GraphRequest::GetDetails { planner_id: planner_id.clone() },
        ],
        Action::DeleteLeft { planner_id, etag } => {
            vec![GraphRequest::DeleteTask { planner_id: planner_id.clone(), etag: etag.clone() }]
        }
        Action::Delete { .. } if removed(Mutant::DeleteEtag) => {
            vec![GraphRequest::DeleteTask { planner_id, etag: "*".to_owned() }]
        }
        Action::Delete { etag } => vec![GraphRequest::DeleteTask { planner_id, etag: etag.clone() }],
    }
}
