//! `plan`: from a task's three versions to the next step. Pure; the rules are those of sync.md §1.3.5.

mod both;
mod child;
mod create;
mod gone;
mod leave;
mod resolve;
mod sendable;

pub(crate) use create::adopt;
pub use gone::ABSENT;
pub(crate) use resolve::closest;
use resolve::{Earlier, Resolution};
pub use resolve::{is_held, made_by};

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;

use crate::{
    etag,
    lens::{self, Document, Field, Fields, Names, Projection, Value},
    merge::Conflict,
    mutants::{Mutant, removed},
    state::{Failure, Remote, TaskState, digest},
    world::{Bequest, Direction, Event, Local, LocalWrite, Plans, Snapshot},
};

/// Two answers 404 or 403 count as two only when they are this far apart, ms.
pub const GONE_APART_MS: i64 = 15_000;
/// Complete lists that must lack a task, besides two answers of its own, before it counts as deleted.
pub(crate) const LISTS: u32 = 2;
/// How fresh Planner's whole copy must be for a DELETE, ms.
pub const FRESH_MS: i64 = 5_000;

/// What `plan` may look at besides the task.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// Milliseconds since 1970.
    pub now: i64,
    /// The stamp of the next document write.
    pub rev: String,
    /// Which plans are synced.
    pub plans: &'a Plans,
    /// Under which scenario creates carry an id of ours; `None` = they do not.
    pub scenario: Option<&'a str>,
    /// Since when the store's memory is built anew, ms: a document that went missing before that may have been lost,
    /// and its absence proves nothing. `None` = the memory is whole.
    pub rebuilding_since: Option<i64>,
}

/// What is to be done at Graph, or that nothing is.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Both sides agree, or nothing can be done until something changes.
    Finish,
    /// Look again after this long.
    Wait(Duration),
    /// Read Planner's side.
    Get {
        /// The task.
        task: bool,
        /// Its details.
        details: bool,
    },
    /// Look users up in the directory.
    FindUsers {
        /// Their names as the document writes them.
        names: Vec<String>,
    },
    /// Write the parent's document, in which this one's item stands.
    WriteParent {
        /// The bytes that must be there.
        expected: Vec<u8>,
        /// What is there afterwards.
        document: Document,
    },
    /// Create the task.
    Create {
        /// The body of the POST.
        body: Json,
    },
    /// Send what changed.
    Patch {
        /// For the task: ETag and body.
        task: Option<(String, Json)>,
        /// For its details: ETag and body.
        details: Option<(String, Json)>,
        /// The values, by field.
        changes: Fields,
    },
    /// Read the task, whole, that an agent moved to another plan, where it was before.
    GetLeft {
        /// Its id.
        planner_id: String,
    },
    /// Make people's edits of the old task edits of the new one.
    HandOver {
        /// For the task: ETag and body.
        task: Option<(String, Json)>,
        /// For its details: ETag and body.
        details: Option<(String, Json)>,
    },
    /// Delete that task.
    DeleteLeft {
        /// Its id.
        planner_id: String,
        /// ETag of the copy that was read.
        etag: String,
    },
    /// Delete Planner's copy.
    Delete {
        /// ETag of the copy that was read.
        etag: String,
    },
}

/// A deletion that a step is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// On which side: `Up` in Planner, `Down` the document.
    pub direction: Direction,
    /// An agent said that it deleted the task; else the deletion is inferred from an absence.
    pub stated: bool,
}

/// The next step of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The state to store before the action.
    pub state: TaskState,
    /// Forget the task altogether.
    pub forget: bool,
    /// The document write that goes with it.
    pub write: Option<LocalWrite>,
    /// Planner id whose mapping ends.
    pub unmap: Option<String>,
    /// The document is no longer an item of the parent that the claim began with.
    pub left_parent: bool,
    /// The documents that are items of this task become due.
    pub tells_children: bool,
    /// Missed sweeps and delete events are settled.
    pub clear_missed: bool,
    /// Absent lists are settled.
    pub clear_absent: bool,
    /// What to say.
    pub events: Vec<Event>,
    /// Fields whose values came down.
    pub downloaded: Vec<Field>,
    /// It deletes the task on one side, or begins to.
    pub deletion: Option<Deletion>,
    /// Another document's Planner task that this one wants back.
    pub bequest: Option<Bequest>,
    /// The task goes on under another id.
    pub bequeathed: bool,
    /// What to do at Graph.
    pub action: Action,
}

impl Step {
    pub(crate) fn new(state: TaskState, action: Action) -> Self {
        Self {
            state,
            forget: false,
            write: None,
            unmap: None,
            left_parent: false,
            tells_children: false,
            clear_missed: false,
            clear_absent: false,
            events: Vec::new(),
            downloaded: Vec::new(),
            deletion: None,
            bequest: None,
            bequeathed: false,
            action,
        }
    }

    fn forget(mut self) -> Self {
        self.forget = true;
        self
    }

    /// Whether a document appears where there was none.
    pub(crate) fn brings_document(&self) -> bool {
        self.write.as_ref().is_some_and(|write| write.expected.is_none() && write.new.is_some())
    }

    /// The step after which nothing is left of a task that both sides have lost.
    pub(crate) fn forgotten(state: TaskState, unmap: Option<String>) -> Self {
        let mut step = Self::new(state, Action::Finish).forget();
        step.unmap = unmap;
        step
    }
}

/// The document side, readable.
struct Here {
    bytes: Vec<u8>,
    document: Document,
    projection: Projection,
    names: Names,
    digest: String,
}

/// How many names are looked up at a time.
const LOOKUPS: usize = 20;
/// A longer text is nobody's name (Graph's limit for display names).
const LONGEST_NAME: usize = 256;
/// How soon a directory that did not answer is asked again.
const DIRECTORY_WAIT: Duration = Duration::from_secs(60);

impl Here {
    /// The lookup without which it is not known whom the document means.
    fn lookup(&self, snapshot: &Snapshot) -> Option<Action> {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (field, name) in &self.projection.unresolved {
            let folded = lens::folded(name);
            let unknown = !snapshot.users.contains_key(&folded);
            if *field == Field::Assignees && unknown && !folded.is_empty() && name.len() <= LONGEST_NAME {
                names.entry(folded).or_insert_with(|| name.trim().to_owned());
            }
        }
        let names: Vec<String> = names.into_values().take(LOOKUPS).collect();
        (!names.is_empty()).then_some(Action::FindUsers { names })
    }
}

/// What names stand for in this task's document.
fn names(
    state: &TaskState,
    snapshot: &Snapshot,
    context: &Context<'_>,
    document: Option<&Document>,
) -> Names {
    let of = |fields: &Fields| match fields.get(&Field::Plan) {
        Some(Value::Text(plan)) => Some(plan.clone()),
        _ => None,
    };
    let plan = state.remote.as_ref().and_then(|remote| of(&remote.fields)).or_else(|| of(&state.base));
    let plan = plan.or_else(|| document.and_then(lens::named_plan)).or_else(|| context.plans.default.clone());
    let found = snapshot.users.iter().filter_map(|(name, id)| Some((name.clone(), id.clone()?)));
    Names {
        categories: plan.and_then(|plan| context.plans.categories.get(&plan).cloned()),
        former: state.labels.clone(),
        users: found.collect(),
    }
}

/// Decides the next step.
pub fn plan(snapshot: &Snapshot, context: &Context<'_>) -> Step {
    let mut state = snapshot.state.clone();
    // While Graph is away nothing can be learned about a write: its intent outlives the usual time.
    let read_at = state.full_at;
    state.intents.retain(|intent| context.now - intent.at <= crate::state::INTENT_MS || read_at <= intent.at);
    state.drop_arrived();
    if removed(Mutant::IntentsKept) && !state.need_get {
        state.intents.clear();
    }
    let news = take_in_observed(&mut state, snapshot);
    state.need_details |= snapshot.recheck_details && state.planner_id.is_some();
    match resolve::resolve(&mut state, snapshot, context) {
        Resolution::Step(step) => *step,
        Resolution::Nothing(earlier) if earlier.open => {
            resolve::keep_open(go_on(state, snapshot, context, earlier, news), snapshot)
        }
        Resolution::Nothing(earlier) => go_on(state, snapshot, context, earlier, news),
        Resolution::Answered(left) => {
            let step = go_on(state, snapshot, context, Earlier::default(), news);
            resolve::watch(step, snapshot, left)
        }
    }
}

/// The next step of a task whose create, if it had one, may be left alone. `earlier`: what was sent for it; `news`: a
/// list has shown the task otherwise than it was.
fn go_on(
    mut state: TaskState,
    snapshot: &Snapshot,
    context: &Context<'_>,
    earlier: Earlier,
    news: bool,
) -> Step {
    let here = match read_local(&mut state, snapshot, context) {
        Ok(here) => here,
        Err(problem) => {
            if standing(&state, &problem.digest, context.now) {
                return Step::new(state, Action::Finish);
            }
            return fail(state, problem, context.now);
        }
    };
    if let Some(step) = create::bequeath(&state, snapshot, here.as_ref()) {
        return step;
    }
    if let Some(failure) = state.failure.clone() {
        // A deletion that Graph refuses is parked under no digest.
        let digest = here.as_ref().map_or("", |here| here.digest.as_str());
        let stands = failure.digest == digest
            && (failure.retry_at == 0 || context.now < failure.retry_at)
            && !news
            && snapshot.absent_lists == 0
            && !(failure.code == gone::NOT_LISTED && gone::is_listed(&state, context))
            && !child::waits_for_parent(&failure.code);
        if failure.digest != digest {
            // Another document is tried at once, and as often as any.
            state.attempts = 0;
        }
        if stands {
            let action = match failure.retry_at {
                0 => Action::Finish,
                at if failure.code == gone::NOT_LISTED => {
                    Action::Wait(millis(at - context.now).min(gone::SETTINGS_WAIT))
                }
                at => Action::Wait(millis(at - context.now)),
            };
            return Step::new(state, action);
        }
        // What was news is none at the next look, should this one be cut short.
        if let Some(failure) = state.failure.as_mut().filter(|it| !child::waits_for_parent(&it.code)) {
            failure.retry_at = failure.retry_at.clamp(1, context.now.max(1));
        }
    }
    if state.planner_id.is_none() {
        return create::unmapped(state, snapshot, here, earlier, context);
    }
    if let Some(step) = gone::check(&mut state, snapshot, here.as_ref(), context) {
        return step;
    }
    if state.need_get || state.remote.is_none() {
        return Step::new(state, Action::Get { task: true, details: true });
    }
    if let Some(step) = create::outside(&state, snapshot, here.as_ref(), context) {
        return step;
    }
    if state.need_details {
        return Step::new(state, Action::Get { task: false, details: true });
    }
    match here {
        None => gone::without_document(state, snapshot, context),
        Some(here) => match here.lookup(snapshot) {
            Some(lookup) => Step::new(state, lookup),
            None => {
                let mut step = both::merge_sides(state, snapshot, &here, earlier.attempts, context);
                if matches!(step.action, Action::Finish) {
                    tell_children(&mut step, snapshot, &here);
                }
                if snapshot.users_unanswered && matches!(step.action, Action::Finish) {
                    step.action = Action::Wait(DIRECTORY_WAIT);
                }
                step
            }
        },
    }
}

/// The documents that are items of this task hear of its document as it is now, once.
fn tell_children(step: &mut Step, snapshot: &Snapshot, here: &Here) {
    let now = match step.write.as_ref().and_then(|write| write.new.as_ref()) {
        Some(written) => digest(&written.bytes()),
        None => here.digest.clone(),
    };
    if !snapshot.children.is_empty() && step.state.children_told.as_ref() != Some(&now) {
        step.state.children_told = Some(now);
        step.tells_children = true;
    }
}

pub(crate) fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Takes Planner's copy from the last list into the state; says whether it was news.
fn take_in_observed(state: &mut TaskState, snapshot: &Snapshot) -> bool {
    if state.planner_id.is_none() {
        return false;
    }
    // A task that moved to another plan goes on under another id: what a list said of the old one is not about it.
    let own = |json: &&Json| is_of(json, state.planner_id.as_deref());
    let observed = snapshot.observed.as_ref().filter(own);
    let news = observed.is_some_and(|json| observe(state, json));
    let unseen = match (&snapshot.observed_etag, &state.remote) {
        (Some(seen), Some(remote)) => seen != &remote.etag && !etag::is_older(seen, &remote.etag),
        (Some(_), None) => true,
        (None, _) => false,
    };
    // The cached copy may be older than what the list showed: a commit in between stored its own.
    state.need_get |= unseen;
    news || unseen
}

/// Whether Graph sent this for the task of that id.
pub(crate) fn is_of(json: &Json, planner_id: Option<&str>) -> bool {
    planner_id.is_some() && json.get("id").and_then(Json::as_str) == planner_id
}

/// Takes a task as Graph sent it into the state, unless the state holds it or a newer one.
pub fn observe(state: &mut TaskState, json: &Json) -> bool {
    let Some(seen) = json.get("@odata.etag").and_then(Json::as_str) else { return false };
    if let Some(remote) = &state.remote
        && (remote.etag == seen || (etag::is_older(seen, &remote.etag) && !removed(Mutant::EtagOrder)))
    {
        return false;
    }
    let details = json.get("details").filter(|details| details.is_object());
    let mut fields = lens::planner::fields(json, details);
    let old = state.remote.take();
    let mut details_etag =
        details.and_then(|details| details.get("@odata.etag")).and_then(Json::as_str).map(str::to_owned);
    let known = old.as_ref().and_then(|old| old.details_etag.as_deref());
    let outdated = details.is_some() && !is_news(details_etag.as_deref(), known);
    if details.is_none() || outdated {
        match &old {
            Some(old) if old.fields.contains_key(&Field::Description) => {
                details_etag.clone_from(&old.details_etag);
                for field in Field::ALL.iter().filter(|field| field.is_details()) {
                    if let Some(value) = old.fields.get(field) {
                        fields.insert(*field, value.clone());
                    }
                }
                state.need_details |= details.is_none();
            }
            _ if outdated => {}
            _ if says_no_details(json) => {
                fields.extend(no_details());
            }
            _ => state.need_details = true,
        }
    }
    if old.is_some() {
        // A DELETE of ours that is still on its way names an older ETag: it will be refused.
        state.deleting = None;
    }
    state.remote = Some(Remote { etag: seen.to_owned(), details_etag, fields });
    true
}

/// Whether details under the ETag `seen` may say more than what is held under `known`.
///
/// A write that was answered without the new ETag leaves the ETag that it was sent with: a read that still shows that
/// one lags behind the write, and is no person's edit.
pub(crate) fn is_news(seen: Option<&str>, known: Option<&str>) -> bool {
    match (seen, known) {
        (Some(seen), Some(known)) => seen != known && !etag::is_older(seen, known),
        _ => true,
    }
}

/// Whether the task itself says that its details hold neither text nor items nor links.
fn says_no_details(json: &Json) -> bool {
    let none = |name: &str| json.get(name).and_then(Json::as_i64) == Some(0);
    json.get("hasDescription").and_then(Json::as_bool) == Some(false)
        && none("checklistItemCount")
        && none("referenceCount")
}

/// The details of a task that has none.
pub(crate) fn no_details() -> Fields {
    Fields::from([
        (Field::Description, Value::Null),
        (Field::Checklist, Value::Checklist(Default::default())),
        (Field::References, Value::References(Default::default())),
    ])
}

/// Why a document cannot be worked on.
pub(crate) struct Problem {
    pub code: String,
    pub message: String,
    pub digest: String,
    pub retry_after_ms: i64,
}

fn standing(state: &TaskState, digest: &str, now: i64) -> bool {
    state
        .failure
        .as_ref()
        .is_some_and(|failure| failure.digest == digest && (failure.retry_at == 0 || now < failure.retry_at))
}

fn read_local(
    state: &mut TaskState,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Option<Here>, Problem> {
    let (bytes, expires) = match &snapshot.local {
        Local::Missing => return Ok(None),
        Local::Unreadable { code, message } => {
            return Err(Problem {
                code: (*code).to_owned(),
                message: message.clone(),
                digest: (*code).to_owned(),
                retry_after_ms: 0,
            });
        }
        Local::Present { bytes, expires } => (bytes, *expires),
    };
    state.expires = expires;
    let digest = digest(bytes);
    let problem = |error: lens::DocumentError| Problem {
        code: error.code().to_owned(),
        message: error.to_string(),
        digest: digest.clone(),
        retry_after_ms: 0,
    };
    let document = Document::parse(bytes).map_err(problem)?;
    let base = state.planner_id.is_some().then_some(&state.base);
    let names = names(state, snapshot, context, Some(&document));
    let projection = lens::project_with(&document, base, &names).map_err(problem)?;
    Ok(Some(Here { bytes: bytes.clone(), document, projection, names, digest }))
}

/// The step that parks a task until its document changes (or its time comes).
pub(crate) fn fail(mut state: TaskState, problem: Problem, now: i64) -> Step {
    let Problem { code, message, digest, retry_after_ms } = problem;
    let (since, attempts) = match &state.failure {
        Some(old) if old.code == code => (old.since, old.attempts + 1),
        _ => (now, 1),
    };
    // What only the settings can change is looked at often: it asks nothing of Graph.
    let doublings = if retry_after_ms < PATIENT_MS { 0 } else { attempts.saturating_sub(1).min(5) };
    let wait = (retry_after_ms << doublings).min(6 * 3_600_000);
    let again = attempts > 1 && state.failure.as_ref().is_some_and(|old| old.digest == digest);
    let retry_at = if retry_after_ms == 0 { 0 } else { now + wait };
    state.seen = Some(digest.clone());
    state.failure =
        Some(Failure { code: code.clone(), message: message.clone(), since, digest, retry_at, attempts });
    let action = if retry_at == 0 { Action::Finish } else { Action::Wait(millis(wait)) };
    let mut step = Step::new(state, action);
    if !again {
        step.events.push(Event::Failed { code, message });
    }
    step
}

/// Retries after a shorter time than this do not double, ms.
const PATIENT_MS: i64 = 60_000;

/// Whether a value is as good as none.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::Set(set) => set.is_empty(),
        Value::Checklist(items) => items.is_empty(),
        Value::References(links) => links.is_empty(),
        Value::Number(_) | Value::Time(_) => false,
    }
}

pub(crate) fn conflict_event(conflict: &Conflict, names: &Names) -> Event {
    let shown = |value: &Value| match (conflict.field, value, &names.categories) {
        (Field::Labels, Value::Set(keys), Some(categories)) => {
            keys.iter().map(|key| categories.label(key)).collect()
        }
        _ => value.shown(),
    };
    let loser = match conflict.loser {
        crate::merge::Loser::Local => "agent",
        crate::merge::Loser::Remote => "planner",
    };
    Event::Conflict {
        field: conflict.field.name(),
        kept: shown(&conflict.kept),
        lost: shown(&conflict.lost),
        loser,
    }
}
