//! Agents and people: what each of them had seen, and what is known from outside about every task.

mod agents;
pub mod families;
mod people;

use std::collections::{BTreeMap, BTreeSet};

use annika_sync::{
    lens::{self, Field, Value},
    state::TaskState,
    world::{Commit, Event, LocalWrite, Next},
};
use serde_json::{Map, Value as Json};

use super::{
    oracle::{Oracle, Told},
    planner::Planner,
    sim::{Rng, START, Shared, Sim},
    wire::PLANS,
};

/// A field whose values are followed: the names that documents use, and Planner's.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    pub documents: &'static [&'static str],
    pub planner: &'static str,
}

/// Fields of one text. Every text that is written is unique: `lineage:number`.
pub const TEXTS: [Followed; 3] = [
    Followed { documents: &["title"], planner: "title" },
    Followed { documents: &["bucket_id", "bucketId"], planner: "bucketId" },
    Followed { documents: &["description"], planner: "description" },
];
/// People of a task; each id is used once.
pub const ASSIGNEES: Followed =
    Followed { documents: &["assigned_to", "assignedTo"], planner: "assignments" };
/// Items of a task; each title is unique.
pub const CHECKLIST: Followed =
    Followed { documents: &["checklist_items", "checklistItems"], planner: "checklist" };

/// What is known about a task from outside, over both sides and all its copies.
#[derive(Debug, Default)]
pub struct Actors {
    numbers: u64,
    /// Lineage of each Planner task: who made it (`a1`, `h2`), from its first title.
    pub lineages: BTreeMap<String, String>,
    /// Lineage of each person that was assigned.
    people: BTreeMap<String, String>,
    /// Lineages that an agent deleted, and that a person deleted.
    pub by_agents: BTreeSet<String>,
    /// Lineages that an agent moved to another plan: they have two Planner tasks for a while.
    pub moved: BTreeSet<String>,
    pub by_people: BTreeSet<String>,
    /// Lineages that were deleted by somebody who had seen all of them, and that nobody has touched since.
    pub dead: BTreeSet<String>,
    /// Planner tasks that a person renamed before any document claimed them: which create made them is a guess.
    pub renamed: BTreeSet<String>,
    /// Lineages of creates that arrived when nobody waited for them any more, and when the task that a later send of
    /// the same id had made was deleted again: Planner no longer knows the id, so it makes a second task.
    pub late_twins: BTreeSet<String>,
    /// The details of a task as the engine last read them, and when, ms.
    pub details_read: BTreeMap<String, (i64, Json)>,
    /// Lineages of creates that took each other's tasks that way (the stated limit of creates without an id of ours).
    pub guessed: BTreeSet<String>,
    /// What the agent that writes child documents draws from; `None` = there is none in this play.
    pub families: Option<Rng>,
    children: u32,
    /// Which child document is which checklist item.
    pub item_keys: BTreeMap<String, String>,
    /// Items that an agent wrote into a parent when their documents were gone: they are plain items now.
    pub kept_items: BTreeSet<String>,
    /// Documents that were deleted, as agents may still have them.
    graves: Vec<(String, Json)>,
}

/// From a look at a task to the arrival of the deletion that it was for: how fresh it must be, and how late a request
/// may arrive, ms.
const LOOKED_MS: i64 = 5_000 + 41_000;

/// The lineage in a text.
fn prefix(value: &str) -> &str {
    value.split(':').next().unwrap_or_default()
}

/// How busy agents and people are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every few seconds, on few tasks.
    Dense,
    /// Office hours of a day that begins at midnight.
    Office,
}

impl Pace {
    /// Until the next act, ms.
    fn next(self, sim: &mut Sim, dense: u64, office: u64) -> i64 {
        if self == Self::Dense {
            return 500 + sim.rng.ms(dense);
        }
        let hour = (sim.now - START) / 3_600_000 % 24;
        let busy = if (8..18).contains(&hour) { 1 } else { 12 };
        10_000 + sim.rng.ms(office * busy)
    }
}

/// Everything that a JSON value says about a followed field: texts, ids of people, titles of items.
pub fn values(json: Option<&Json>, names: &[&str]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for value in names.iter().filter_map(|name| json?.get(name)) {
        match value {
            Json::String(text) => all.extend((!text.is_empty()).then(|| text.clone())),
            Json::Array(items) => all.extend(items.iter().filter_map(title).map(str::to_owned)),
            Json::Object(members) => all.extend(members.iter().map(|(key, item)| {
                let title = item.get("title").and_then(Json::as_str);
                title.unwrap_or(key).to_owned()
            })),
            _ => {}
        }
    }
    all
}

/// The text of an element of a list.
fn title(item: &Json) -> Option<&str> {
    item.as_str().or_else(|| item.get("title")?.as_str())
}

impl Actors {
    fn text(&mut self, lineage: &str) -> String {
        self.numbers += 1;
        format!("{lineage}:{}", self.numbers)
    }

    /// A user id that nobody was assigned under before.
    fn person(&mut self, lineage: &str) -> String {
        self.numbers += 1;
        let id = format!("{:08x}-0000-4000-8000-{:012x}", self.numbers, self.numbers);
        self.people.insert(id.clone(), lineage.to_owned());
        id
    }

    /// A checklist item's id, as Planner's own page makes them.
    fn item(&mut self) -> String {
        self.numbers += 1;
        format!("{:08x}-1111-4000-8000-{:012x}", self.numbers, self.numbers)
    }

    pub fn task_created(&mut self, json: &Json) {
        let id = json["id"].as_str().unwrap_or_default().to_owned();
        self.lineages.insert(id, prefix(json["title"].as_str().unwrap_or_default()).to_owned());
    }

    pub fn late_twin(&mut self, json: &Json) {
        self.late_twins.insert(prefix(json["title"].as_str().unwrap_or_default()).to_owned());
    }

    /// What a person wrote into the details of a task between the engine's last look at it and its deletion, at the
    /// end of a move. A DELETE is held to the ETag of the task, which an edit of its details does not move: the look
    /// just before it makes that moment short, and nothing makes it none.
    pub fn unread_details(&self, planner_id: &str, details: Option<&Json>, now: i64) -> BTreeSet<String> {
        let names = [TEXTS[2].planner, CHECKLIST.planner];
        match self.details_read.get(planner_id) {
            Some((at, read)) if now - at <= LOOKED_MS => {
                let known = values(Some(read), &names);
                values(details, &names).difference(&known).cloned().collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// The lineage that a value was made for.
    pub fn of_value<'a>(&'a self, value: &'a str) -> &'a str {
        self.people.get(value).map_or_else(|| prefix(value), String::as_str)
    }

    /// The lineage of a document: its own number, or that of the Planner task it was imported from.
    pub fn of_document(&self, id: &str) -> String {
        match id.strip_prefix("planner-") {
            Some(planner_id) => self.lineages.get(planner_id).cloned().unwrap_or_default(),
            None => id.to_owned(),
        }
    }

    /// Whether Planner holds the task a second time: it was moved to another plan.
    pub fn has_another<'a>(&self, planner_id: &str, mut live: impl Iterator<Item = &'a String>) -> bool {
        let of = self.lineages.get(planner_id);
        live.any(|id| id != planner_id && self.lineages.get(id) == of)
    }

    /// What all tasks in Planner say that the document is or was: one that is being moved is there twice.
    pub fn moved_values(&self, planner: &Planner, id: &str, name: &str) -> BTreeSet<String> {
        let of = self.of_document(id);
        let own = planner.tasks.keys().filter(|id| self.lineages.get(*id) == Some(&of));
        own.flat_map(|id| {
            let (task, details) = (planner.get(id), planner.details(id));
            values(task.as_ref(), &[name])
                .into_iter()
                .chain(values(details.as_ref(), &[name]))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// Whether a person deleted the task: perhaps the new one of a task that was being moved.
    pub fn person_deleted(&self, planner_id: &str) -> bool {
        self.lineages.get(planner_id).is_some_and(|of| self.by_people.contains(of))
    }

    pub fn may_delete_in_planner(&self, planner_id: &str) -> bool {
        self.lineages.get(planner_id).is_some_and(|lineage| self.by_agents.contains(lineage))
    }

    /// What the engine merges and stores reaches its history; what it only reads while it waits, or merges in vain
    /// because the document has moved on, does not.
    pub fn merged(&self, commit: &Commit, oracle: &mut Oracle) {
        let merged = commit.state.as_ref().is_some_and(|state| {
            state.planner_id.is_some() && !state.need_get && !state.need_details && state.gone.is_none()
        }) && !matches!(commit.next, Next::After(_));
        let bytes = commit.write.as_ref().and_then(|write| write.expected.clone());
        if merged
            && let Some(bytes) = bytes.or_else(|| commit.document.as_ref().map(|document| document.bytes()))
        {
            oracle.reached(&serde_json::from_slice(&bytes).unwrap_or_default());
        }
    }

    /// What the engine says and shows with this commit.
    pub fn told(&self, commit: &Commit, oracle: &mut Oracle) {
        let write = commit.write.as_ref();
        let merged = write.and_then(|write| write.expected.clone());
        let merged = merged.or_else(|| commit.document.as_ref().map(|document| document.bytes()));
        let merged: Json = merged.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let stamp = merged["_sync"]["rev"].as_str();
        for event in &commit.events {
            if let Event::Conflict { field, kept: Json::String(kept), lost: Json::String(lost), .. } = event {
                let (id, kept, lost) = (commit.id.clone(), kept.clone(), lost.clone());
                oracle.tell(Told { id, field, kept, lost, is_justified: false }, stamp);
            }
        }
        let anew = commit.state.is_none() || commit.events.contains(&Event::Restored);
        let new = write.and_then(|write| write.new.as_ref()).map(|new| new.bytes());
        let new: Json = new.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        oracle.stamped(&commit.id, &new, anew);
    }

    /// A document that the engine deletes was deleted by a person, or by an agent before another put it back.
    pub fn after_commit(&mut self, commit: &Commit) -> Option<String> {
        if let Some(remote) = commit.remote.as_ref().filter(|remote| remote.newly_mapped)
            && self.renamed.contains(&remote.planner_id)
        {
            let made_by = self.lineages.get(&remote.planner_id).cloned().unwrap_or_default();
            let owner = self.of_document(&commit.id);
            if made_by != owner {
                self.guessed.extend([made_by, owner]);
            }
        }
        let Some(LocalWrite { new: None, expected }) = &commit.write else { return None };
        let lineage = self.of_document(&commit.id);
        self.bury(&commit.id, expected.as_deref());
        (!self.by_people.contains(&lineage) && !self.by_agents.contains(&lineage))
            .then(|| format!("the document {} was deleted, though nobody deleted it", commit.id))
    }

    /// Some agent has read the document that is gone now.
    fn bury(&mut self, id: &str, bytes: Option<&[u8]>) {
        if let Some(json) = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()) {
            self.graves.push((id.to_owned(), json));
        }
    }
}

/// Agents and people act until then, ms after the start.
pub fn begin(sim: &Shared, until: i64) {
    let mut sim = sim.lock();
    let end = sim.now + until;
    for number in 0..3 {
        let delay = sim.rng.ms(5_000);
        sim.at(delay, move |sim| agents::create(sim, number));
    }
    let agents = if sim.pace == Pace::Office { 3 } else { 1 };
    for agent in 0..agents {
        sim.at(3_000 + agent, move |sim| agents::act(sim, end));
    }
    sim.at(4_000, move |sim| people::act(sim, end));
    families::begin(&mut sim, end);
}

/// Whether document and task say the same in everything that is followed, and belong together.
fn agree(sim: &Sim, id: &str, planner_id: &str) -> bool {
    let mut wrong = Vec::new();
    let state = sim.store.state(id);
    let there = sim.store.document(id, sim.now).is_some_and(|stored| stored.expires_at.is_none());
    super::checks::same(sim, id, planner_id, &mut wrong);
    // Of a move that is under way there are two tasks.
    let of = sim.actors.lineages.get(planner_id);
    let mut all = sim.planner.tasks.keys().filter(|id| sim.actors.lineages.get(*id) == of);
    there && !state.expires && wrong.is_empty() && all.all(|id| knows_persons(sim, &state, id))
}

/// Whether the engine knows what people wrote last. Where an agent and a person have set the same value on their own
/// (both took the same one off, a moment ago), both sides agree by chance: nobody has seen the other's edit.
fn knows_persons(sim: &Sim, state: &TaskState, planner_id: &str) -> bool {
    let (task, details) = (sim.planner.get(planner_id), sim.planner.details(planner_id));
    let there = lens::planner::fields(&task.unwrap_or_default(), details.as_ref());
    let by_persons = sim.planner.written_by_persons(planner_id);
    let known = |field: Field, value: &Value| {
        let base = state.base.get(&field).unwrap_or(&Value::Null);
        lens::same(field, base, value) || state.intents.iter().any(|sent| sent.value == *value)
    };
    let followed = [
        ("title", Field::Title),
        ("percentComplete", Field::Percent),
        ("dueDateTime", Field::Due),
        ("bucketId", Field::Bucket),
        ("planId", Field::Plan),
        ("assignments", Field::Assignees),
        ("description", Field::Description),
        ("checklist", Field::Checklist),
    ];
    followed
        .into_iter()
        .filter(|(name, _)| by_persons.contains(name))
        .all(|(_, field)| known(field, there.get(&field).unwrap_or(&Value::Null)))
}

fn members(json: &Json, name: &str) -> Map<String, Json> {
    json.get(name).and_then(Json::as_object).cloned().unwrap_or_default()
}
