//! What must hold at the end of documents that name a parent.

use std::collections::BTreeMap;

use annika_sync::lens::{self, Document, Field, Value};

use super::{
    actors::families::{is_child, on_the_list},
    sim::Sim,
};

/// The parent of a document that is to be an item.
pub fn parent_of(sim: &Sim, id: &str) -> Option<String> {
    let stored = sim.store.document(id, sim.now).filter(|_| is_child(id))?;
    let parent = lens::named_parent(&Document::parse(&stored.bytes).ok()?, id)?;
    sim.store.state(id).planner_id.is_none().then_some(parent)
}

/// Children that are not the one item of their parent that they should be, and items whose children are gone.
pub fn at_the_end(sim: &Sim) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut listed: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for task in sim.planner.tasks.keys() {
        on_the_list(sim, task).into_iter().for_each(|child| listed.entry(child).or_default().push(task));
    }
    let failed = |id: &str| sim.store.tasks.get(id).and_then(|task| task.failed.clone());
    for (key, child) in &sim.actors.item_keys {
        let tasks = listed.remove(child).unwrap_or_default();
        let Some(parent) = parent_of(sim, child) else {
            let owner = tasks.first().and_then(|task| sim.store.owners.get(*task));
            // A parent whose own time was up cannot be written: the item stays until the parent is back.
            let away = |owner: &String| sim.store.document(owner, sim.now).is_none();
            let waits = owner.is_none_or(|owner| failed(owner).is_some() || away(owner));
            if !tasks.is_empty() && !waits && !sim.actors.kept_items.contains(key) {
                wrong.push(format!("{child} is no child, and still an item of {tasks:?}"));
            }
            continue;
        };
        let there = sim.store.document(&parent, sim.now).is_some();
        let state = sim.store.state(&parent);
        match (there, failed(child)) {
            (true, Some(code)) if failed(&parent).is_none() => {
                wrong.push(format!("{child} is listed as failed with {parent} there: {code}"));
            }
            (_, Some(_)) => {}
            (false, None) if !state.expires => {
                wrong.push(format!("{child} does not say that {parent} is gone"))
            }
            (false, None) => {}
            (true, None) if failed(&parent).is_some() => {}
            (true, None) => match (tasks.as_slice(), state.planner_id.as_deref()) {
                ([task], Some(of)) if *task == of => wrong.extend(differs(sim, child, key, task)),
                (tasks, of) => wrong.push(format!("{child} is an item of {tasks:?}, not of {of:?}")),
            },
        }
    }
    wrong
}

/// Whether the task's list is what the children of this document say: an edit of a child is one of its parent.
pub fn agree(sim: &Sim, id: &str, task: &str) -> bool {
    let listed = on_the_list(sim, task);
    let is_own = |child: &str| parent_of(sim, child).as_deref() == Some(id);
    sim.actors.item_keys.iter().all(|(key, child)| match (is_own(child), listed.contains(child)) {
        (true, true) => differs(sim, child, key, task).is_none(),
        (own, on_the_list) => own == on_the_list,
    })
}

/// What a child and its item say differently.
fn differs(sim: &Sim, child: &str, key: &str, task: &str) -> Option<String> {
    let document = Document::parse(&sim.store.document(child, sim.now)?.bytes).ok()?;
    let said = lens::project(&document, None).ok()?.fields;
    let item = sim.planner.details(task)?["checklist"][key].clone();
    let title = item["title"].as_str().map(|title| Value::Text(title.into()));
    // A document that does not name its progress says nothing about it.
    let done = said.get(&Field::Percent).map(|percent| *percent == Value::Number(100));
    let same = said.get(&Field::Title) == title.as_ref()
        && done.is_none_or(|done| item["isChecked"].as_bool() == Some(done));
    (!same).then(|| format!("{child} and its item differ: {said:?} / {item}"))
}
