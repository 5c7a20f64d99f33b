//! `World`: everything the engine needs from outside, as one trait of semantic operations.
//!
//! Production puts Redis and Graph under it, simulation puts a model. The engine's futures suspend only
//! inside these calls. Each store call is one round trip, however many tasks it is about.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use crate::lens::{Categories, DayTime, Document};

use crate::blocks::Blocks;
use crate::gauges::{Histogram, Lists, Traffic};
use crate::state::Attempt;

mod memory;
mod request;
mod step;

pub use memory::*;
pub use request::*;
pub use step::*;

/// A store that could not answer. It says nothing about what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store did not answer: {message}")]
pub struct StoreError {
    /// Stable code (`redis_unavailable`, `redis_full`, …).
    pub code: &'static str,
    /// What it said.
    pub message: String,
}

/// A task that is ours to work on until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Annika's id of the task.
    pub id: String,
    /// Rises with every claim; the store refuses a commit with an older one.
    pub fence: u64,
    /// Nobody waits for it: it was marked by an import or by a look at details.
    pub low: bool,
}

/// The most tasks that one call of [`World::claim`] may take, of each priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tasks that somebody waits for.
    pub urgent: usize,
    /// Tasks that nobody waits for.
    pub low: usize,
}

impl Quota {
    /// As many of each.
    pub fn each(most: usize) -> Self {
        Self { urgent: most, low: most }
    }

    /// Nothing may be taken.
    pub fn is_none(self) -> bool {
        self.urgent == 0 && self.low == 0
    }
}

/// What one call of [`World::claim`] gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The tasks, the urgent ones first, longest due first.
    pub claims: Vec<Claim>,
    /// Tasks whose claims ran out again and again (`CLAIMS_LOST` times or more): they are due later, and not claimed.
    pub put_off: Vec<String>,
    /// How long until the next task of a priority that was asked for is due.
    pub next_in: Option<Duration>,
}

/// A task whose claims ran out this often in a row is suspected of killing its engine: it is claimed alone.
pub const SUSPECTED: u32 = 2;
/// A task whose claims ran out this often in a row is put off, for longer each time.
pub const CLAIMS_LOST: u32 = 5;
/// How long a task that was marked while it was worked on waits for further edits to share its next request.
pub const DEBOUNCE: Duration = Duration::from_millis(200);

/// One page of the sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepPage {
    /// Known tasks whose document is not the one that was worked off.
    pub changed: Vec<String>,
    /// Known tasks whose key is gone.
    pub missing: Vec<String>,
    /// Documents looked at.
    pub read: usize,
    /// Where to go on; `None` = that was all.
    pub next: Option<String>,
}

/// One slice of the discovery of keys that nobody announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Ids that are not known.
    pub ids: Vec<String>,
    /// Where to go on; `None` = that was all, or all that one part may cost.
    pub next: Option<String>,
    /// With no `next`: the key space is large, and the part after this one has not been looked at yet.
    pub rest: bool,
}

/// An open create: its outcome is not stored yet, and unexplained tasks of our own may be its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCreate {
    /// Annika's id.
    pub id: String,
    /// What was sent, oldest first; never empty.
    pub attempts: Vec<Attempt>,
}

impl OpenCreate {
    /// When it was sent last, ms.
    pub fn sent_at(&self) -> i64 {
        self.attempts.last().map_or(0, |attempt| attempt.sent_at)
    }
}

/// Which plans are synced, and where a task goes that names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plans {
    /// The ids, in the order of the settings.
    pub synced: Vec<String>,
    /// For documents that name no plan.
    pub default: Option<String>,
    /// The plans of some group are not known yet: a plan that is not among these may still be synced.
    pub unread: bool,
    /// What is wrong with the settings or the groups they name; empty = nothing.
    pub problems: Vec<String>,
    /// The time of day that stands for a whole day in Planner.
    pub day_time: DayTime,
    /// The names of the categories of those plans whose details were read.
    pub categories: BTreeMap<String, Arc<Categories>>,
}

/// How fast Graph is asked, as it was found out: what a successor goes on with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Sub-requests a second.
    pub per_second: f64,
    /// HTTP requests at a time.
    pub concurrency: usize,
    /// Graph has throttled before: the rate grows slowly.
    pub throttled: bool,
}

/// The polls that somebody asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollsWanted {
    /// Of every plan.
    pub all: bool,
    /// Of these plans.
    pub plans: Vec<String>,
}

/// What other processes want the engine to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// Until when all of our processes leave Graph alone, ms.
    pub paused_until: i64,
    /// The store forgets them when they are read.
    pub polls: PollsWanted,
    /// The pace that the last engine had found.
    pub pace: Option<Pace>,
}

/// Results of store calls.
pub type Stored<T> = Result<T, StoreError>;

/// What the engine reports after each round, for health and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Counters since the process began, by name.
    pub counters: BTreeMap<&'static str, u64>,
    /// When the last complete poll of every plan ended, ms.
    pub last_poll: Option<i64>,
    /// When the last whole sweep ended, ms.
    pub last_sweep: Option<i64>,
    /// Graph has not answered since, ms.
    pub graph_down_since: Option<i64>,
    /// Plans that are synced.
    pub plans: usize,
    /// Plans whose list was refused, with the status, and that are not suspended.
    pub refused_plans: BTreeMap<String, u16>,
    /// What stands against plans, where anything does.
    pub blocks: BTreeMap<String, Blocks>,
    /// Problems with the settings.
    pub problems: Vec<String>,
    /// From the first mark of a change until Planner had it.
    pub upload_lag: Histogram,
    /// From the list that showed a change until the document had it.
    pub download_lag: Histogram,
    /// Requests to Graph of the last minutes.
    pub traffic: Traffic,
    /// Lists by plan.
    pub lists: BTreeMap<String, Lists>,
    /// How long the last whole sweep took, ms.
    pub sweep_ms: Option<i64>,
    /// Since when this process has the engine's lease, ms.
    pub lease_since: Option<i64>,
    /// How far the rebuild has come, while one runs.
    pub rebuild: Option<RebuildProgress>,
}

/// Everything from outside.
pub trait World: Send + Sync {
    /// Milliseconds since 1970. Compared only with what this process read before, and with Graph's creation times.
    fn now_ms(&self) -> i64;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
    /// Completes when this process heard of a mark since the last call.
    fn marked(&self) -> impl Future<Output = ()> + Send;

    /// Takes or renews the engine's lease. `false` = another process has it.
    fn hold_lease(&self, length: Duration) -> impl Future<Output = Stored<bool>> + Send;
    /// Gives the engine's lease back.
    fn release_lease(&self) -> impl Future<Output = Stored<()>> + Send;

    /// Reads the epoch; `None` = it is proven that there is none. From now on the store refuses to hand out or import
    /// tasks under another one, with the code [`crate::engine::EPOCH_CHANGED`].
    fn epoch(&self) -> impl Future<Output = Stored<Option<String>>> + Send;
    /// Replaces the epoch `from` (`None` = there is none), and takes the new one for the one that was read. `false` =
    /// it is another one by now.
    fn set_epoch(&self, from: Option<&str>, to: &str) -> impl Future<Output = Stored<bool>> + Send;
    /// Gives documents the Planner tasks back that their stamps, their ids or the seed maps name; the first claim
    /// of a Planner task stands.
    fn reclaim(&self, cursor: Option<String>) -> impl Future<Output = Stored<Reclaimed>> + Send;
    /// Which tasks these Planner tasks are, in their order.
    fn owners(&self, planner_ids: &[String]) -> impl Future<Output = Stored<Vec<Option<String>>>> + Send;
    /// Tells the owners of Planner tasks that other documents had them before.
    fn bequeath(&self, bequests: &[Bequest]) -> impl Future<Output = Stored<()>> + Send;
    /// Which of these tasks may be deleted, in their order. What may not is held for a person.
    fn permit(&self, question: GuardQuestion) -> impl Future<Output = Stored<Vec<bool>>> + Send;

    /// Makes tasks due after `delay`.
    fn mark(&self, ids: &[String], delay: Duration) -> impl Future<Output = Stored<()>> + Send;
    /// Counts one sweep that did not find these documents, and makes them due; says of how many no agent said that it
    /// deleted them.
    fn mark_missing(&self, ids: &[String]) -> impl Future<Output = Stored<usize>> + Send;
    /// Turns what others pushed to `annika:sync:pending` into marks; says how many.
    fn ingest_pending(&self) -> impl Future<Output = Stored<usize>> + Send;
    /// Takes due tasks for `lease`. Where the answer to a call was lost, the next call gives the same tasks again.
    fn claim(&self, quota: Quota, lease: Duration) -> impl Future<Output = Stored<Claimed>> + Send;
    /// Reads tasks, in any order. One that cannot be read is left out, and to its lease.
    fn load(&self, ids: &[String]) -> impl Future<Output = Stored<Vec<Snapshot>>> + Send;
    /// Stores steps; each is atomic, they are independent.
    fn commit(&self, commits: Vec<Commit>) -> impl Future<Output = Stored<Vec<CommitResult>>> + Send;

    /// Writes the document of another task than the claimed one, as an agent would: if it still is what is expected,
    /// and with a mark. Says whether it was.
    fn replace(
        &self,
        id: &str,
        expected: &[u8],
        document: &Document,
    ) -> impl Future<Output = Stored<bool>> + Send;

    /// Compares one page of known tasks with their documents.
    fn sweep_page(&self, cursor: Option<String>) -> impl Future<Output = Stored<SweepPage>> + Send;
    /// Looks for documents that are not known.
    fn discover(&self, cursor: Option<String>) -> impl Future<Output = Stored<Discovered>> + Send;

    /// Which plans are synced now. With `ask`, Graph is asked for the plans of groups where that is due.
    fn plans(&self, ask: bool) -> impl Future<Output = Stored<Plans>> + Send;
    /// Lists the tasks of plans; first pages share a batch, each further one waits for its turn. Also says how many
    /// sub-requests it took.
    fn list(&self, plans: &[String], turn: &dyn Turn) -> impl Future<Output = (Vec<PlanList>, u32)> + Send;
    /// What is remembered of plans, in their order.
    fn known(&self, plans: &[String]) -> impl Future<Output = Stored<Vec<KnownPlan>>> + Send;
    /// When plans were listed and are next, in their order.
    fn schedules(&self, plans: &[String]) -> impl Future<Output = Stored<Vec<PlanSchedule>>> + Send;
    /// Remembers that.
    fn keep_schedules(&self, schedules: &[(String, PlanSchedule)])
    -> impl Future<Output = Stored<()>> + Send;
    /// What stands against plans, where anything does.
    fn blocks(&self) -> impl Future<Output = Stored<BTreeMap<String, Blocks>>> + Send;
    /// Remembers what stands against a plan, or that nothing does.
    fn keep_blocks(&self, plan: &str, blocks: &Blocks) -> impl Future<Output = Stored<()>> + Send;
    /// Creates that were begun and whose outcome is not stored.
    fn open_creates(&self) -> impl Future<Output = Stored<Vec<OpenCreate>>> + Send;
    /// Stores what a complete list showed and marks what changed; a commit's newer ETag wins.
    fn observe(&self, observation: Observation) -> impl Future<Output = Stored<()>> + Send;
    /// Marks the tasks whose stored details ETag is another one, or that have none stored and details with content.
    fn recheck_details(&self, seen: &[SeenDetails]) -> impl Future<Output = Stored<()>> + Send;

    /// Remembers how far the rotation over a plan's details came.
    fn rotated(&self, plan: &str, cursor: &str) -> impl Future<Output = Stored<()>> + Send;

    /// Fetches what a request needs before it can leave (a token). `false` = it cannot be had now.
    fn ready(&self) -> impl Future<Output = bool> + Send;
    /// Sends up to 20 requests in one HTTP request. The outcomes are in the order of the requests.
    fn graph(&self, requests: Vec<GraphRequest>) -> impl Future<Output = Vec<GraphOutcome>> + Send;
    /// Id of our own application at Entra, where it is known.
    fn application_id(&self) -> Option<String>;
    /// What other processes want this one to know.
    fn signals(&self) -> impl Future<Output = Stored<Signals>> + Send;
    /// Keeps the pace for the next engine. Nothing happens where another process has the engine's lease by now.
    fn keep_pace(&self, pace: Pace) -> impl Future<Output = Stored<()>> + Send;
    /// Makes all of our processes leave Graph alone until then, ms.
    fn pause_until(&self, until: i64) -> impl Future<Output = Stored<()>> + Send;

    /// Publishes health.
    fn report(&self, report: &Report) -> impl Future<Output = Stored<()>> + Send;
}
