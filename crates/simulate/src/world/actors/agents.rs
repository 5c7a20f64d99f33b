//! Agents of every habit: they read, think, and write whole documents, with or without telling anybody.

use serde_json::{Value as Json, json};

use super::{ASSIGNEES, CHECKLIST, Deleter, PLANS, Pace, TEXTS, families, has_seen_all, values};
use crate::world::{oracle::Write, sim::Sim, store::Stored};

/// What an agent changes in a document.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// One of the texts.
    Text(usize),
    Progress,
    Assignees,
    Checklist,
    /// The plan that it is in.
    Plan,
}

/// How an agent writes.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// It drops what it does not know, the stamp too.
    strips: bool,
    /// The document is to vanish by itself after so long, ms.
    expires: Option<i64>,
}

pub fn create(sim: &mut Sim, number: u32) {
    let id = format!("a{number}");
    let plan = *sim.rng.pick(&PLANS).expect("a plan");
    let mut doc = json!({"id": id, "plan_id": plan});
    for field in TEXTS {
        if field.planner == "title" || sim.rng.chance(6_000) {
            doc[field.documents[0]] = sim.actors.text(&id).into();
        }
    }
    if sim.rng.chance(3_000) {
        let (person, item) = (sim.actors.person(&id), sim.actors.text(&id));
        doc["assigned_to"] = json!([person]);
        doc["checklist_items"] = json!([item]);
    }
    write(sim, &id, &json!({}), doc, None);
}

pub(super) fn document(sim: &Sim, id: &str) -> Option<Json> {
    serde_json::from_slice(&sim.store.document(id, sim.now)?.bytes).ok()
}

/// One act, and the next one a little later.
pub fn act(sim: &mut Sim, end: i64) {
    let next = sim.pace.next(sim, 5_000, 180_000);
    if sim.now + next < end {
        sim.at(next, move |sim| act(sim, end));
    }
    let ids: Vec<String> = sim.store.documents.keys().filter(|id| !families::is_child(id)).cloned().collect();
    let Some(id) = sim.rng.pick(&ids).cloned() else { return };
    let Some(read) = document(sim, &id) else { return };
    if sim.pace == Pace::Office && sim.rng.chance(500) {
        let number = 100 + u32::try_from(sim.rng.below(1_000_000)).expect("small");
        create(sim, number);
    }
    match sim.rng.below(40) {
        0 | 1 => delete(sim, &id),
        2 => put_back(sim),
        3..=5 if sim.store.state(&id).planner_id.is_some() => {
            let lineage = sim.actors.of_document(&id);
            let field = *sim.rng.pick(&TEXTS).expect("a field");
            let value = sim.actors.text(&lineage);
            write(sim, &id, &json!({}), json!({ field.documents[0]: value }), None);
        }
        draw => {
            let change = match draw {
                6..=9 => Change::Progress,
                10..=13 => Change::Assignees,
                14..=18 => Change::Checklist,
                19 => Change::Plan,
                _ => Change::Text(usize::try_from(sim.rng.below(TEXTS.len() as u64)).expect("an index")),
            };
            let think = if sim.rng.chance(5_000) { sim.rng.ms(20_000) } else { 0 };
            let expires = sim.rng.chance(200).then(|| 5_000 + sim.rng.ms(40_000));
            let habit = Habit { strips: sim.rng.chance(1_500), expires };
            sim.at(think, move |sim| edit(sim, &id, &read, change, habit));
        }
    }
}

/// The agent changes what it read a while ago, and writes all of it.
fn edit(sim: &mut Sim, id: &str, read: &Json, change: Change, habit: Habit) {
    let lineage = sim.actors.of_document(id);
    let mut doc = read.clone();
    match change {
        Change::Text(field) => {
            let field = TEXTS[field];
            let value = sim.actors.text(&lineage);
            put(sim, &mut doc, field.documents, value.into(), true);
        }
        Change::Progress => {
            let percent = if sim.rng.chance(3_000) { 100 } else { sim.rng.below(100) };
            // The snake_case member is a fraction.
            if doc.get("percent_complete").is_some() && sim.rng.chance(5_000) {
                doc["percent_complete"] = (f64::from(u32::try_from(percent).expect("small")) / 100.0).into();
            } else {
                doc["percentComplete"] = percent.into();
            }
            let day = format!("2025-12-{:02}", 1 + sim.rng.below(28));
            put(sim, &mut doc, &["due_date", "dueDate"], day.into(), true);
        }
        Change::Assignees => assign(sim, &mut doc, &lineage),
        Change::Plan => {
            let plan = *sim.rng.pick(&PLANS).expect("a plan");
            sim.note("agent moves", |_| format!("{id} {plan}"));
            sim.actors.moved.insert(lineage.clone());
            sim.oracle.excuse(values(Some(read), TEXTS[1].documents));
            put(sim, &mut doc, &["plan_id", "planId"], plan.into(), false);
        }
        Change::Checklist => check(sim, &mut doc, &lineage),
    }
    if habit.strips {
        doc.as_object_mut().expect("an object").remove("_sync");
    }
    write(sim, id, read, doc, habit.expires);
}

/// Writes a member as the document spells it, as the agent itself does, or (`beside`) under both names.
fn put(sim: &mut Sim, doc: &mut Json, names: &[&str], value: Json, beside: bool) {
    let there: Vec<&str> = names.iter().copied().filter(|name| doc.get(name).is_some()).collect();
    let own = *sim.rng.pick(names).expect("a name");
    let name = if sim.rng.chance(8_000) { there.first().copied().unwrap_or(own) } else { own };
    if !(beside && sim.rng.chance(5_000)) {
        let members = doc.as_object_mut().expect("an object");
        names.iter().for_each(|name| drop(members.remove(*name)));
    }
    doc[name] = value;
}

fn list(doc: &Json, names: &[&str]) -> Vec<Json> {
    names.iter().find_map(|name| doc.get(name)?.as_array().cloned()).unwrap_or_default()
}

fn assign(sim: &mut Sim, doc: &mut Json, lineage: &str) {
    let mut people = list(doc, ASSIGNEES.documents);
    if !people.is_empty() && sim.rng.chance(4_000) {
        people.remove(usize::try_from(sim.rng.below(people.len() as u64)).expect("an index"));
    } else {
        people.push(sim.actors.person(lineage).into());
    }
    put(sim, doc, ASSIGNEES.documents, people.into(), false);
}

fn check(sim: &mut Sim, doc: &mut Json, lineage: &str) {
    let mut items = list(doc, CHECKLIST.documents);
    let at = usize::try_from(sim.rng.below(1 + items.len() as u64)).expect("an index");
    match (sim.rng.below(4), items.get_mut(at)) {
        (1, Some(Json::Object(item))) => {
            let name = ["checked", "isChecked", "is_checked", "completed"]
                .into_iter()
                .find(|name| item.contains_key(*name));
            let name = name.unwrap_or("checked");
            let ticked = item.get(name).and_then(Json::as_bool).unwrap_or(false);
            item.insert(name.to_owned(), (!ticked).into());
        }
        (2, Some(Json::Object(item))) => {
            let text = sim.actors.text(lineage);
            let old = item.insert("title".to_owned(), text.clone().into());
            sim.oracle.renamed(&text, old.as_ref().and_then(Json::as_str));
        }
        (3, Some(_)) => drop(items.remove(at)),
        _ => {
            let text = sim.actors.text(lineage);
            items.push(if sim.rng.chance(5_000) {
                text.into()
            } else {
                json!({"title": text, "checked": false})
            });
        }
    }
    put(sim, doc, CHECKLIST.documents, items.into(), false);
}

pub(super) fn delete(sim: &mut Sim, id: &str) {
    let event = sim.rng.chance(6_000);
    let lineage = sim.actors.of_document(id);
    let planner_id = sim.store.state(id).planner_id;
    let seen = planner_id.is_some_and(|planner_id| has_seen_all(sim, Deleter::Agent, id, &planner_id));
    sim.note("agent deletes", |_| format!("{id} event={event} seen={seen}"));
    sim.actors.by_agents.insert(lineage.clone());
    if seen {
        sim.actors.dead.insert(lineage);
    }
    families::touched(sim, &[document(sim, id).as_ref()]);
    let gone = sim.store.documents.remove(id);
    sim.actors.bury(id, gone.as_ref().map(|stored| stored.bytes.as_slice()));
    if event {
        tell(sim, id, true);
    }
}

/// An agent that still has an old copy writes it again.
fn put_back(sim: &mut Sim) {
    let graves = sim.actors.graves.clone();
    let Some((id, old)) = sim.rng.pick(&graves).cloned() else { return };
    if sim.store.document(&id, sim.now).is_none() {
        sim.note("agent puts back", |_| id.clone());
        write(sim, &id, &old.clone(), old, None);
    }
}

/// SET, perhaps with EX, perhaps PUBLISH.
pub(super) fn write(sim: &mut Sim, id: &str, read: &Json, doc: Json, expires: Option<i64>) {
    let before = document(sim, id);
    let stamped = doc.get("_sync").is_some();
    let planner_id = sim.store.state(id).planner_id.unwrap_or_default();
    let (task, details) = (sim.planner.get(&planner_id), sim.planner.details(&planner_id));
    let lineage = sim.actors.of_document(id);
    sim.actors.dead.remove(&lineage);
    families::touched(sim, &[before.as_ref(), Some(&doc)]);
    for (field, set) in
        TEXTS.iter().map(|field| (field, false)).chain([(&ASSIGNEES, true), (&CHECKLIST, true)])
    {
        let of = |json: Option<&Json>| values(json, field.documents);
        let mut in_planner = values(task.as_ref(), &[field.planner]);
        in_planner.extend(values(details.as_ref(), &[field.planner]));
        in_planner.extend(sim.actors.moved_values(&sim.planner, id, field.planner));
        let named = field.documents.iter().any(|name| doc.get(name).is_some());
        let write =
            Write { read: of(Some(read)), wrote: of(Some(&doc)), replaced: of(before.as_ref()), stamped };
        if set {
            if named || before.is_some() {
                sim.oracle.agent_wrote_set(&write, &in_planner, named);
            }
        } else {
            sim.wrote_in_redis(&write);
            sim.oracle.agent_wrote(&write);
            if !stamped {
                sim.oracle.blind(&write, &in_planner);
            }
        }
    }
    families::wrote_items(sim, &doc);
    let bytes = doc.to_string().into_bytes();
    sim.note("agent writes", |_| format!("{id} {doc}"));
    let expires_at = expires.map(|after| sim.now + after);
    sim.store.documents.insert(id.to_owned(), Stored { bytes, expires_at });
    if let Some(after) = expires {
        let id = id.to_owned();
        sim.at(after, move |sim| expire(sim, &id, expires_at));
    }
    tell(sim, id, false);
}

/// The document's time is up, unless somebody wrote it anew.
fn expire(sim: &mut Sim, id: &str, at: Option<i64>) {
    let gone = sim.store.documents.get(id).filter(|stored| stored.expires_at == at);
    let Some(json) = gone.and_then(|stored| serde_json::from_slice::<Json>(&stored.bytes).ok()) else {
        return;
    };
    sim.note("document expired", |_| id.to_owned());
    sim.oracle.forget(&json);
    sim.store.documents.remove(id);
    if !sim.store.state(id).expires {
        // Nobody has seen that it had a time to live: it looks like a deletion.
        let lineage = sim.actors.of_document(id);
        sim.actors.by_agents.insert(lineage);
    }
}

/// PUBLISH or a push to the pending list; three in ten tell nobody, and not every process hears it.
fn tell(sim: &mut Sim, id: &str, deleted: bool) {
    match sim.rng.below(10) {
        0..=2 => return,
        3 if !deleted => {
            sim.store.pending.push(id.to_owned());
            return;
        }
        _ => {}
    }
    sim.told_of_writes();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_both_spellings_and_all_shapes_are_found() {
        let doc =
            json!({"bucket_id": "a1:1", "bucketId": "a1:2", "checklist_items": ["a1:3", {"title": "a1:4"}]});
        assert_eq!(values(Some(&doc), TEXTS[1].documents).len(), 2);
        assert_eq!(values(Some(&doc), CHECKLIST.documents).len(), 2);
    }
}
