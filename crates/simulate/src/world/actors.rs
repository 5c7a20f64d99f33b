//! Agents and people, and what each of them had seen.

use std::collections::{BTreeMap, BTreeSet};

use annika_sync::world::{Commit, LocalWrite, Next};
use serde_json::{Value as Json, json};

use super::{
    oracle::Oracle,
    planner::By,
    sim::{Shared, Sim},
    store::Stored,
    wire::PLANS,
};

/// Field as documents spell it, and as Planner does. Values of these are unique: `lineage:number`.
pub const TEXTS: [(&str, &str); 3] =
    [("title", "title"), ("bucket_id", "bucketId"), ("description", "description")];
const PEOPLE: [&str; 3] = [
    "fbab97d0-4932-4511-b675-204639209557",
    "48d31887-5fad-4d73-a9f5-3c356e68a038",
    "6463a5ce-2119-4198-9f2a-628761df4a62",
];

/// What is known about a task from outside, over both sides and all its copies.
#[derive(Debug, Default)]
pub struct Actors {
    numbers: u64,
    /// Lineage of each Planner task: who made it (`a1`, `h2`), from its first title.
    pub lineages: BTreeMap<String, String>,
    /// Lineages that an agent deleted, and that a person deleted.
    pub by_agents: BTreeSet<String>,
    pub by_people: BTreeSet<String>,
}

/// The lineage in a value.
pub fn lineage(value: &str) -> &str {
    value.split(':').next().unwrap_or_default()
}

pub fn text<'a>(json: Option<&'a Json>, name: &str) -> Option<&'a str> {
    json?.get(name)?.as_str().filter(|text| !text.is_empty())
}

impl Actors {
    fn value(&mut self, lineage: &str) -> String {
        self.numbers += 1;
        format!("{lineage}:{}", self.numbers)
    }

    pub fn task_created(&mut self, json: &Json) {
        let id = json["id"].as_str().unwrap_or_default().to_owned();
        self.lineages.insert(id, lineage(json["title"].as_str().unwrap_or_default()).to_owned());
    }

    /// The lineage of a document: its own number, or that of the Planner task it was imported from.
    pub fn of_document(&self, id: &str) -> String {
        match id.strip_prefix("planner-") {
            Some(planner_id) => self.lineages.get(planner_id).cloned().unwrap_or_default(),
            None => id.to_owned(),
        }
    }

    pub fn may_delete_in_planner(&self, planner_id: &str) -> bool {
        self.lineages.get(planner_id).is_some_and(|lineage| self.by_agents.contains(lineage))
    }

    /// What the engine merges reaches its history; what it only reads while it waits does not.
    pub fn before_commit(&self, commit: &Commit, oracle: &mut Oracle) {
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

    /// A document that the engine deletes was deleted by a person.
    pub fn after_commit(&self, commit: &Commit) -> Option<String> {
        let deletes = matches!(&commit.write, Some(LocalWrite { new: None, .. }));
        let lineage = self.of_document(&commit.id);
        (deletes && !self.by_people.contains(&lineage))
            .then(|| format!("the document {} was deleted, though no person deleted it", commit.id))
    }
}

/// Agents and people act until then, ms after the start.
pub fn begin(sim: &Shared, until: i64) {
    let mut sim = sim.lock();
    let end = sim.now + until;
    for number in 0..3 {
        let delay = sim.rng.ms(5_000);
        sim.at(delay, move |sim| create(sim, number));
    }
    sim.at(3_000, move |sim| agent(sim, end));
    sim.at(4_000, move |sim| person(sim, end));
}

fn create(sim: &mut Sim, number: u32) {
    let id = format!("a{number}");
    let plan = *sim.rng.pick(&PLANS).expect("a plan");
    let mut doc = json!({"id": id, "plan_id": plan});
    for (name, _) in TEXTS {
        if name == "title" || sim.rng.chance(6_000) {
            doc[name] = sim.actors.value(&id).into();
        }
    }
    write(sim, &id, &json!({}), doc);
}

fn document(sim: &Sim, id: &str) -> Option<Json> {
    serde_json::from_slice(&sim.store.document(id, sim.now)?.bytes).ok()
}

/// SET, perhaps PUBLISH.
fn write(sim: &mut Sim, id: &str, read: &Json, doc: Json) {
    let before = document(sim, id);
    let stamped = doc.get("_sync").is_some();
    let planner_id = sim.store.state(id).planner_id.unwrap_or_default();
    let (task, details) = (sim.planner.get(&planner_id), sim.planner.details(&planner_id));
    for (name, in_planner) in TEXTS {
        let (read, wrote) = (text(Some(read), name), text(Some(&doc), name));
        sim.oracle.agent_wrote(read, wrote, text(before.as_ref(), name), stamped);
        if !stamped {
            let there = text(task.as_ref(), in_planner).or(text(details.as_ref(), in_planner));
            sim.oracle.blind(read, wrote, there);
        }
    }
    let bytes = doc.to_string().into_bytes();
    sim.note("agent writes", |_| format!("{id} {doc}"));
    sim.store.documents.insert(id.to_owned(), Stored { bytes, expires_at: None });
    publish(sim, id, false);
}

fn publish(sim: &mut Sim, id: &str, deleted: bool) {
    if sim.rng.chance(3_000) {
        return;
    }
    for process in 0..sim.heard.len() {
        if sim.rng.chance(1_000) {
            continue;
        }
        let (id, delay) = (id.to_owned(), 1 + sim.rng.ms(20));
        sim.at(delay, move |sim| {
            if deleted {
                sim.store.mark_deleted(&id, 100, sim.now);
            } else {
                sim.store.mark(&id, 100, sim.now);
            }
            sim.wake(process);
        });
    }
}

fn agent(sim: &mut Sim, end: i64) {
    let next = 500 + sim.rng.ms(5_000);
    if sim.now + next < end {
        sim.at(next, move |sim| agent(sim, end));
    }
    let ids: Vec<String> = sim.store.documents.keys().cloned().collect();
    let Some(id) = sim.rng.pick(&ids).cloned() else { return };
    let Some(read) = document(sim, &id) else { return };
    let lineage = sim.actors.of_document(&id);
    match sim.rng.below(20) {
        0 => {
            let event = sim.rng.chance(6_000);
            sim.note("agent deletes", |_| format!("{id} {event}"));
            sim.actors.by_agents.insert(lineage);
            sim.store.documents.remove(&id);
            if event {
                publish(sim, &id, true);
            }
        }
        1 | 2 if sim.store.state(&id).planner_id.is_some() => {
            let (name, _) = *sim.rng.pick(&TEXTS).expect("a field");
            let value = sim.actors.value(&lineage);
            write(sim, &id, &json!({}), json!({ name: value }));
        }
        3..=5 => {
            let mut doc = read.clone();
            doc["percentComplete"] = sim.rng.below(101).into();
            doc["assigned_to"] = json!([sim.rng.pick(&PEOPLE)]);
            doc["due_date"] = format!("2025-12-{:02}", 1 + sim.rng.below(28)).into();
            write(sim, &id, &read, doc);
        }
        _ => {
            let think = if sim.rng.chance(5_000) { sim.rng.ms(20_000) } else { 0 };
            let strips = sim.rng.chance(1_500);
            sim.at(think, move |sim| {
                let mut doc = read.clone();
                let (name, _) = *sim.rng.pick(&TEXTS).expect("a field");
                doc[name] = sim.actors.value(&lineage).into();
                if strips {
                    doc.as_object_mut().expect("an object").remove("_sync");
                }
                write(sim, &id, &read, doc);
            });
        }
    }
}

fn person(sim: &mut Sim, end: i64) {
    let next = 500 + sim.rng.ms(6_000);
    if sim.now + next < end {
        sim.at(next, move |sim| person(sim, end));
    }
    let now = sim.now;
    let ids: Vec<String> = sim.planner.tasks.keys().cloned().collect();
    let Some(id) = sim.rng.pick(&ids).cloned() else { return };
    let lineage = sim.actors.lineages.get(&id).cloned().unwrap_or_default();
    match sim.rng.below(20) {
        0 => {
            sim.note("person deletes", |_| id.clone());
            sim.actors.by_people.insert(lineage);
            sim.planner.remove(&id, now);
        }
        1 => {
            let new = format!("h{}", sim.actors.numbers);
            let title = sim.actors.value(&new);
            sim.oracle.person_wrote(&title, None);
            let plan = *sim.rng.pick(&PLANS).expect("a plan");
            let json = sim.planner.create(&json!({"title": title, "planId": plan}), By::Person, now);
            sim.note("person creates", |_| json["id"].to_string());
            sim.actors.task_created(&json);
        }
        2 => {
            let plan = *sim.rng.pick(&PLANS).expect("a plan");
            sim.note("person moves", |_| format!("{id} {plan}"));
            sim.planner.edit(&id, &json!({"planId": plan}), now);
        }
        3..=5 => {
            let day = 1 + sim.rng.below(28);
            let who = *sim.rng.pick(&PEOPLE).expect("a person");
            let gone = sim.rng.chance(3_000);
            let body = json!({"percentComplete": sim.rng.below(101), "dueDateTime": format!("2025-12-{day:02}T15:00:00Z"),
                "assignments": {who: if gone { Json::Null } else { json!({"orderHint": " !"}) }}});
            sim.note("person edits", |_| format!("{id} {body}"));
            sim.planner.edit(&id, &body, now);
        }
        _ => {
            let (_, name) = *sim.rng.pick(&TEXTS).expect("a field");
            let value = sim.actors.value(&lineage);
            let body = json!({ name: value });
            let old = if name == "description" { sim.planner.details(&id) } else { sim.planner.get(&id) };
            sim.oracle.person_wrote(&value, text(old.as_ref(), name));
            sim.note("person edits", |_| format!("{id} {body}"));
            if name == "description" {
                sim.planner.edit_details(&id, &body, now);
            } else {
                sim.planner.edit(&id, &body, now);
            }
        }
    }
}
