//! People at Planner's own page: they always see what is there.

use serde_json::{Value as Json, json};

use super::{ASSIGNEES, CHECKLIST, Deleter, PLANS, TEXTS, families, has_seen_all, members, values};
use crate::world::{planner::By, sim::Sim};

/// One act, and the next one a little later.
pub fn act(sim: &mut Sim, end: i64) {
    let next = sim.pace.next(sim, 6_000, 240_000);
    if sim.now + next < end {
        sim.at(next, move |sim| act(sim, end));
    }
    let ids: Vec<String> = sim.planner.tasks.keys().cloned().collect();
    let Some(id) = sim.rng.pick(&ids).cloned() else { return };
    let lineage = sim.actors.lineages.get(&id).cloned().unwrap_or_default();
    match sim.rng.below(20) {
        0 => delete(sim, &id, lineage),
        1 => create(sim),
        2 => {
            let plan = *sim.rng.pick(&PLANS).expect("a plan");
            sim.note("person moves", |_| format!("{id} {plan}"));
            edit(sim, &id, &lineage, &json!({"planId": plan}));
        }
        3 | 4 => {
            let day = 1 + sim.rng.below(28);
            // Some re-open what an agent finished.
            let done = if sim.rng.chance(3_000) { 100 } else { sim.rng.below(100) };
            let body = json!({"percentComplete": done, "dueDateTime": format!("2025-12-{day:02}T15:00:00Z")});
            edit(sim, &id, &lineage, &body);
        }
        5 | 6 => assign(sim, &id, &lineage),
        7..=9 => check(sim, &id, &lineage),
        _ => {
            let field = *sim.rng.pick(&TEXTS).expect("a field");
            let value = sim.actors.text(&lineage);
            let in_details = field.planner == "description";
            let old = if in_details { sim.planner.details(&id) } else { sim.planner.get(&id) };
            let saw = values(old.as_ref(), &[field.planner]);
            sim.oracle.person_wrote(&value, saw);
            sim.wrote_in_planner(&value);
            let body = json!({ field.planner: value });
            if in_details { edit_details(sim, &id, &lineage, &body) } else { edit(sim, &id, &lineage, &body) }
        }
    }
}

fn edit(sim: &mut Sim, id: &str, lineage: &str, body: &Json) {
    let now = sim.now;
    sim.actors.dead.remove(lineage);
    if body.get("title").is_some() && !sim.store.owners.contains_key(id) {
        sim.actors.renamed.insert(id.to_owned());
    }
    sim.note("person edits", |_| format!("{id} {body}"));
    sim.planner.edit(id, body, now);
}

fn edit_details(sim: &mut Sim, id: &str, lineage: &str, body: &Json) {
    let now = sim.now;
    sim.actors.dead.remove(lineage);
    sim.note("person edits", |_| format!("{id} {body}"));
    sim.planner.edit_details(id, body, now);
}

fn delete(sim: &mut Sim, id: &str, lineage: String) {
    let now = sim.now;
    let owner = sim.store.owners.get(id).cloned();
    let seen = owner.is_some_and(|owner| has_seen_all(sim, Deleter::Person, &owner, id));
    sim.note("person deletes", |_| format!("{id} {seen}"));
    sim.actors.by_people.insert(lineage.clone());
    if seen {
        sim.actors.dead.insert(lineage);
    }
    sim.planner.remove(id, now);
}

fn create(sim: &mut Sim) {
    let now = sim.now;
    let new = format!("h{}", sim.actors.numbers);
    let title = sim.actors.text(&new);
    sim.oracle.person_wrote(&title, []);
    let plan = *sim.rng.pick(&PLANS).expect("a plan");
    let json = sim.planner.create(&json!({"title": title, "planId": plan}), By::Person, now);
    sim.note("person creates", |_| json["id"].to_string());
    sim.actors.task_created(&json);
}

/// Somebody more, or one of them no longer.
fn assign(sim: &mut Sim, id: &str, lineage: &str) {
    let there: Vec<String> = values(sim.planner.get(id).as_ref(), &[ASSIGNEES.planner]).into_iter().collect();
    let body = match sim.rng.pick(&there).cloned().filter(|_| sim.rng.chance(4_000)) {
        Some(gone) => {
            sim.oracle.removed(&gone);
            json!({"assignments": {gone: null}})
        }
        None => {
            let who = sim.actors.person(lineage);
            sim.oracle.person_wrote(&who, []);
            json!({"assignments": {who: {"orderHint": " !"}}})
        }
    };
    edit(sim, id, lineage, &body);
}

/// An item more, ticked, renamed, or removed.
fn check(sim: &mut Sim, id: &str, lineage: &str) {
    let details = sim.planner.details(id).unwrap_or_default();
    let items: Vec<(String, Json)> = members(&details, CHECKLIST.planner).into_iter().collect();
    let one = sim.rng.pick(&items).cloned();
    let body = match (sim.rng.below(4), one) {
        (1, Some((key, item))) => {
            let ticked = item["isChecked"].as_bool().unwrap_or(false);
            json!({"checklist": {key: {"isChecked": !ticked}}})
        }
        (2, Some((key, item))) => {
            let text = sim.actors.text(lineage);
            sim.oracle.person_wrote(&text, item["title"].as_str().map(str::to_owned));
            json!({"checklist": {key: {"title": text}}})
        }
        (3, Some((key, item))) => {
            sim.oracle.removed(item["title"].as_str().unwrap_or_default());
            families::took_off(sim, &key);
            json!({"checklist": {key: null}})
        }
        _ => {
            let (key, text) = (sim.actors.item(), sim.actors.text(lineage));
            sim.oracle.person_wrote(&text, []);
            json!({"checklist": {key: {"title": text, "isChecked": false}}})
        }
    };
    edit_details(sim, id, lineage, &body);
}
