//! An agent that writes documents that name a parent: each is to be one checklist item of that task.
//!
//! It acts where a play asks for it, and draws from a stream of its own.

use std::collections::BTreeSet;

use annika_sync::lens::child_key;
use serde_json::{Value as Json, json};

use super::{CHECKLIST, TEXTS, agents, members, values};
use crate::world::{
    families::parent_of,
    sim::{Rng, Sim},
};

/// The documents that are items, by how their ids begin.
const MARK: char = 'c';

/// What the agent draws from.
pub fn stream(seed: u64) -> Rng {
    Rng::new(seed ^ 0xfa_111e5)
}

/// Whether the document was written to be an item.
pub fn is_child(id: &str) -> bool {
    id.starts_with(MARK)
}

/// Acts until then, ms.
pub fn begin(sim: &mut Sim, end: i64) {
    if sim.actors.families.is_some() {
        sim.at(2_500, move |sim| act(sim, end));
    }
}

fn act(sim: &mut Sim, end: i64) {
    let Some(mut rng) = sim.actors.families.clone() else { return };
    let next = 1_000 + rng.ms(9_000);
    if sim.now + next < end {
        sim.at(next, move |sim| act(sim, end));
    }
    let there: Vec<String> = sim.store.documents.keys().filter(|id| is_child(id)).cloned().collect();
    let one = rng.pick(&there).cloned();
    match (rng.below(10), one) {
        (0, Some(id)) => delete(sim, &id),
        (1, Some(id)) => let_go(sim, &id),
        (2..=4, Some(id)) => tick(sim, &id, &mut rng),
        (5..=8, Some(id)) => rename(sim, &id, &mut rng),
        _ if there.len() < 4 => adopt(sim, &mut rng),
        _ => {}
    }
    sim.actors.families = Some(rng);
}

/// A document of one more child; its parent need not be there (yet).
fn adopt(sim: &mut Sim, rng: &mut Rng) {
    sim.actors.children += 1;
    let id = format!("{MARK}{}", sim.actors.children);
    let parent = format!("a{}", rng.below(3));
    sim.actors.item_keys.insert(child_key(&id), id.clone());
    let title = sim.actors.text(&id);
    sim.note("agent writes a child", |_| format!("{id} of {parent}"));
    agents::write(sim, &id, &json!({}), json!({"id": id, "parent_task_id": parent, "title": title}), None);
}

fn rename(sim: &mut Sim, id: &str, rng: &mut Rng) {
    let Some(read) = agents::document(sim, id) else { return };
    let mut doc = read.clone();
    doc["title"] = sim.actors.text(id).into();
    if rng.chance(1_500) {
        doc.as_object_mut().expect("an object").remove("_sync");
    }
    let id = id.to_owned();
    let think = if rng.chance(5_000) { rng.ms(20_000) } else { 0 };
    sim.at(think, move |sim| agents::write(sim, &id, &read, doc, None));
}

fn tick(sim: &mut Sim, id: &str, rng: &mut Rng) {
    let Some(mut doc) = agents::document(sim, id) else { return };
    let read = doc.clone();
    doc.as_object_mut().expect("an object").remove("percent_complete");
    doc["percentComplete"] = if rng.chance(6_000) { 100.into() } else { rng.below(100).into() };
    agents::write(sim, id, &read, doc, None);
}

/// The child is to be a task of its own.
fn let_go(sim: &mut Sim, id: &str) {
    let Some(read) = agents::document(sim, id) else { return };
    if read.get("parent_task_id").is_none_or(Json::is_null) {
        return;
    }
    let mut doc = read.clone();
    doc["parent_task_id"] = Json::Null;
    // Its title tells from now on whose task it is.
    doc["title"] = sim.actors.text(id).into();
    sim.note("agent lets a child go", |_| id.to_owned());
    agents::write(sim, id, &read, doc, None);
}

fn delete(sim: &mut Sim, id: &str) {
    for value in values(agents::document(sim, id).as_ref(), TEXTS[0].documents) {
        sim.oracle.removed(&value);
    }
    agents::delete(sim, id);
}

/// An agent writes or deletes a child: that is an edit of its parent, and nobody who deletes the parent had seen it.
pub fn touched(sim: &mut Sim, texts: &[Option<&Json>]) {
    for parent in texts.iter().flatten().filter_map(|text| text["parent_task_id"].as_str()) {
        let lineage = sim.actors.of_document(parent);
        sim.actors.dead.remove(&lineage);
    }
}

/// An agent writes a document: items in it whose documents are gone, or no items any more, are nobody's from now on.
/// An item under another title than its own document has is a race of two agents about one text.
pub fn wrote_items(sim: &mut Sim, doc: &Json) {
    if sim.actors.families.is_none() {
        return;
    }
    let lists = CHECKLIST.documents.iter().filter_map(|name| doc.get(name)?.as_array());
    let items: Vec<&Json> = lists.flatten().collect();
    for item in &items {
        let child =
            item.get("id").and_then(Json::as_str).and_then(|key| sim.actors.item_keys.get(key)).cloned();
        let Some(child) = child else { continue };
        for title in values(agents::document(sim, &child).as_ref(), TEXTS[0].documents) {
            if item.get("title").and_then(Json::as_str) != Some(&title)
                && sim.actors.of_value(&title) == child
            {
                sim.oracle.removed(&title);
            }
        }
    }
    let keys = items.iter().filter_map(|item| item.get("id").and_then(Json::as_str));
    let orphans: Vec<String> = keys
        .filter(|key| sim.actors.item_keys.get(*key).is_some_and(|child| parent_of(sim, child).is_none()))
        .map(str::to_owned)
        .collect();
    sim.actors.kept_items.extend(orphans);
}

/// A person takes an item off the list: its document is to go too.
pub fn took_off(sim: &mut Sim, key: &str) {
    if let Some(child) = sim.actors.item_keys.get(key).cloned() {
        sim.actors.by_people.insert(child);
    }
}

/// The children whose item is on the list of this task in Planner.
pub fn on_the_list(sim: &Sim, task: &str) -> BTreeSet<String> {
    let items = members(&sim.planner.details(task).unwrap_or_default(), CHECKLIST.planner);
    items.keys().filter_map(|key| sim.actors.item_keys.get(key).cloned()).collect()
}
