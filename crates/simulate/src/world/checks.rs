//! What must hold when faults and edits are over.

use std::collections::{BTreeMap, BTreeSet};

use annika_sync::{
    lens::{self, Document, Field, Names, Value, project_with},
    world::Event,
};

use super::{
    actors::{ASSIGNEES, values},
    families,
    oracle::{Told, texts},
    sim::Sim,
    wire::categories,
};

/// Everything that is wrong.
pub fn at_the_end(sim: &Sim) -> Vec<String> {
    let mut wrong = sim.violations.clone();
    let mut live: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in sim.planner.tasks.keys() {
        let of = sim.actors.lineages.get(id).map_or("", String::as_str);
        live.entry(of).or_default().push(id);
    }
    let mut documents: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for id in sim.store.documents.keys() {
        if sim.store.document(id, sim.now).is_none() || families::parent_of(sim, id).is_some() {
            continue;
        }
        documents.entry(sim.actors.of_document(id)).or_default().push(id);
    }
    let lineages: BTreeSet<String> =
        live.keys().map(|of| (*of).to_owned()).chain(documents.keys().cloned()).collect();
    let beyond = |of: &String| sim.actors.guessed.contains(of) || sim.actors.late_twins.contains(of);
    for of in lineages.iter().filter(|of| !beyond(of)) {
        let tasks = live.get(of.as_str()).cloned().unwrap_or_default();
        let docs = documents.get(of).cloned().unwrap_or_default();
        if tasks.len() > 1 {
            wrong.push(format!("{of}: {} tasks in Planner: {tasks:?}", tasks.len()));
        }
        if docs.len() > 1 {
            wrong.push(format!("{of}: {} documents: {docs:?}", docs.len()));
        }
        let listed = docs.first().and_then(|id| sim.store.tasks.get(*id)?.failed.clone());
        match (tasks.first(), docs.first()) {
            _ if listed.is_some() => {}
            (Some(task), Some(doc)) => same(sim, doc, task, &mut wrong),
            // A document that had a time to live says nothing by its absence.
            (Some(task), None) if expired(sim, task) => {}
            (Some(task), None) => wrong.push(format!("{of}: {task} has no document")),
            (None, Some(doc)) => wrong.push(format!("{of}: {doc} is not in Planner")),
            (None, None) => {}
        }
    }
    for of in sim.actors.dead.iter().filter(|of| !beyond(of)) {
        if live.contains_key(of.as_str()) || documents.contains_key(of) {
            wrong.push(format!("{of} came back, though whoever deleted it had seen all of it"));
        }
    }
    for (id, task) in &sim.store.tasks {
        let mapped = sim.store.state(id).planner_id.is_some_and(|id| sim.planner.tasks.contains_key(&id));
        let code = task.failed.as_ref().filter(|code| *code != "create_unresolved");
        if let Some(code) = code.filter(|_| !mapped && sim.store.document(id, sim.now).is_none()) {
            wrong.push(format!("{id} is gone and still listed as failed: {code}"));
        }
    }
    wrong.extend(sim.store.creates.keys().map(|id| format!("the create of {id} is still open")));
    wrong.extend(lost(sim));
    wrong.extend(no_conflicts(sim));
    wrong.extend(families::at_the_end(sim));
    wrong
}

/// Values that lost against one that their own authors had meant to replace. A bucket may have to: it stays in its plan.
/// So may what a person wrote into the new task of a move, after something else had come to the old one.
/// So may a child: the parent's document says something about its item, too.
/// After a failover the engine may not know what it had sent itself: that is then a conflict, and is told.
fn no_conflicts(sim: &Sim) -> Vec<String> {
    if ["failover", "agent writes a child"].iter().any(|what| sim.tally.contains_key(what)) {
        return Vec::new();
    }
    let moved = |id: &str| sim.actors.moved.contains(&sim.actors.of_document(id));
    let told = sim.oracle.told.iter().filter(|told| !told.is_justified && !moved(&told.id));
    told.filter(|told| told.field != Field::Bucket.name() && sim.oracle.knew(&told.lost, &told.kept))
        .map(|Told { id, field, kept, lost, .. }| {
            format!("{id}: {field} {lost} lost against {kept}, which it replaces")
        })
        .collect()
}

fn expired(sim: &Sim, task: &str) -> bool {
    sim.store.owners.get(task).is_some_and(|owner| sim.store.state(owner).expires)
}

/// What differs between a document and the task that it should be mapped to.
pub fn same(sim: &Sim, doc: &str, task: &str, wrong: &mut Vec<String>) {
    let Some(stored) = sim.store.document(doc, sim.now) else { return };
    let state = sim.store.state(doc);
    if state.planner_id.as_deref() != Some(task) {
        wrong.push(format!("{doc} is mapped to {:?}, not {task}", state.planner_id));
        return;
    }
    if sim.store.owners.get(task).map(String::as_str) != Some(doc) {
        wrong.push(format!("{task} is mapped to {:?}, not {doc}", sim.store.owners.get(task)));
    }
    let Ok(document) = Document::parse(&stored.bytes) else {
        wrong.push(format!("{doc} cannot be read"));
        return;
    };
    let names = Names {
        categories: Some(categories().into()),
        former: state.labels.clone(),
        users: Default::default(),
    };
    let local =
        project_with(&document, Some(&state.base), &names).map(|said| said.fields).unwrap_or_default();
    let (Some(json), Some(details)) = (sim.planner.get(task), sim.planner.details(task)) else { return };
    let remote = lens::planner::fields(&json, Some(&details));
    // A place that Planner cannot take (that of a task before this one) stays in the document alone.
    let left_out = |field: &Field| {
        let told = |(id, event): &(String, Event)| {
            id == doc && matches!(event, Event::LeftOut { field: told, .. } if *told == field.name())
        };
        *field == Field::Order && sim.store.events.iter().any(told)
    };
    for (field, value) in local.iter().filter(|(field, _)| !left_out(field)) {
        let other = remote.get(field).unwrap_or(&Value::Null);
        if !lens::same(*field, value, other) {
            wrong.push(format!("{doc} and {task} differ in {}: {value:?} / {other:?}", field.name()));
        }
    }
    for (field, value) in &remote {
        if !value.is_empty() && field.is_nullable() && !local.contains_key(field) {
            wrong.push(format!("{doc} lacks {}", field.name()));
        }
    }
}

/// Values that vanished, of tasks that nobody deleted and that are not waiting for a person.
fn lost(sim: &Sim) -> Vec<String> {
    let (mut standing, mut losers) = (BTreeSet::new(), BTreeSet::new());
    for id in sim.planner.tasks.keys() {
        let task = sim.planner.get(id);
        task.iter().for_each(|json| texts(json, &mut standing));
        standing.extend(values(task.as_ref(), &[ASSIGNEES.planner]));
        sim.planner.details(id).iter().for_each(|json| texts(json, &mut standing));
    }
    for (_, event) in &sim.store.events {
        if let Event::Conflict { lost, .. } = event {
            texts(lost, &mut losers);
        }
    }
    let failed: BTreeSet<String> = sim
        .store
        .tasks
        .iter()
        .filter(|(_, task)| task.failed.is_some())
        .map(|(id, _)| sim.actors.of_document(id))
        .collect();
    let about = |value: &str| {
        let of = sim.actors.of_value(value);
        !sim.actors.guessed.contains(of)
            && !sim.actors.by_agents.contains(of)
            && !sim.actors.by_people.contains(of)
            && !failed.contains(of)
    };
    sim.oracle.lost(&standing, &losers, about).into_iter().map(|value| format!("{value} is lost")).collect()
}
