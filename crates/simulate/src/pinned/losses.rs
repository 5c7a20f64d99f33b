//! Redis loses what it held: all of it, what the sync remembers, or the documents.

use std::collections::BTreeMap;

use annika_sync::world::GuardLimits;
use serde_json::{Value as Json, json};

use super::{Play, play::CYCLES};
use crate::world::{
    checks::at_the_end,
    planner::By,
    sim::Sim,
    store::{Store, Stored},
};

/// Ten tasks of agents and five of people that both sides have, and what Planner shows of each.
fn filled(play: &mut Play) -> BTreeMap<String, Json> {
    play.with(|sim| {
        for n in 0..9 {
            let id = format!("b{n}");
            let text = json!({"id": id, "plan_id": "plan-a", "title": format!("{id}:1"), "description": format!("{id}:2")});
            let stored = Stored { bytes: text.to_string().into_bytes(), expires_at: None };
            sim.store.documents.insert(id.clone(), stored);
            sim.store.mark(&id, 0, sim.now);
        }
        for n in 0..5 {
            let body = json!({"title": format!("h{n}:1"), "planId": "plan-b"});
            let json = sim.planner.create(&body, By::Person, sim.now);
            sim.actors.task_created(&json);
        }
        sim.wake(0);
    });
    play.run(3 * CYCLES);
    assert_eq!(play.with(|sim| (sim.planner.tasks.len(), sim.store.documents.len())), (15, 15));
    let all = shown(play);
    assert!(all.values().filter(|task| task["hasDescription"] == true).count() == 9);
    all
}

/// What Planner shows of its tasks.
fn shown(play: &Play) -> BTreeMap<String, Json> {
    play.with(|sim| sim.planner.tasks.iter().map(|(id, task)| (id.clone(), task.json())).collect())
}

/// Redis forgets what `keep` does not take over.
fn lose(play: &Play, keep: impl FnOnce(&Store, &mut Store)) {
    play.with(|sim| {
        let lost = std::mem::take(&mut sim.store);
        keep(&lost, &mut sim.store);
        // What was published and counted stays so.
        sim.store.events = lost.events;
        sim.store.document_writes = lost.document_writes;
    });
}

fn titles(sim: &Sim) -> Vec<String> {
    let title = |stored: &Stored| -> Option<String> {
        let json: Json = serde_json::from_slice(&stored.bytes).ok()?;
        Some(json["title"].as_str()?.to_owned())
    };
    let mut titles: Vec<String> = sim.store.documents.values().filter_map(title).collect();
    titles.sort();
    titles
}

pub fn a_redis_that_lost_everything_imports_every_task_once_and_deletes_none() {
    let mut play = Play::new();
    let before = filled(&mut play);
    let (writes, documents) = play.with(|sim| (sim.graph_writes, titles(sim)));
    lose(&play, |_, _| {});
    play.run(6 * CYCLES);
    assert_eq!(shown(&play), before, "nothing changed in Planner");
    assert_eq!(play.with(|sim| sim.graph_writes), writes, "and nothing was sent");
    assert_eq!(play.with(|sim| titles(sim)), documents, "each task is one document again");
    let state = play.with(|sim| sim.store.epoch.clone()).unwrap_or_default();
    assert!(!state.is_empty() && !state.starts_with("rebuild:"), "{state}");
    // The memory is whole: an edit goes up, a deletion too.
    let id = play.with(|sim| sim.store.owners["PT0001"].clone());
    play.with(|sim| {
        sim.actors.by_agents.extend([id.clone(), "a1".to_owned()]);
        sim.store.documents.remove(&id);
        sim.store.mark_deleted(&id, 0, sim.now);
        sim.wake(0);
    });
    play.run(2 * CYCLES);
    assert_eq!(play.with(|sim| sim.planner.tasks.len()), 14);
    play.is_right();
}

pub fn a_redis_that_lost_what_the_sync_remembers_gives_every_document_its_task_back() {
    let mut play = Play::new();
    let before = filled(&mut play);
    let writes = play.with(|sim| sim.graph_writes);
    lose(&play, |lost, now| now.documents.clone_from(&lost.documents));
    // An edit of each side that the other had not seen, just after the loss.
    play.edit("title", "a1:7");
    play.with(|sim| sim.planner.edit("PT0002", &json!({"title": "b0:7"}), sim.now));
    play.run(6 * CYCLES);
    let after = shown(&play);
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>(),
        "no task more, none less"
    );
    for (id, task) in &after {
        let touched = id == "PT0001" || id == "PT0002";
        assert!(touched || before[id] == *task, "{id} is another one: {task}");
    }
    assert!(play.with(|sim| sim.graph_writes) - writes <= 1, "only the edit is sent");
    // Without the base nobody can tell who changed what: Planner's stands, and what does not is told.
    let stands = play.task()["title"] == "a1:7";
    assert!(stands || play.losers().contains(&json!("a1:7")), "{:?}", play.losers());
    let wrong = play.with(|sim| at_the_end(sim));
    let other = |wrong: &&String| stands || !wrong.contains("a1:7");
    assert_eq!(wrong.iter().filter(other).collect::<Vec<_>>(), [""; 0]);
}

pub fn a_redis_that_lost_its_documents_deletes_nothing_in_planner() {
    let mut play = Play::guarded(GuardLimits::default());
    let before = filled(&mut play);
    let writes = play.with(|sim| sim.graph_writes);
    lose(&play, |lost, now| {
        *now = lost.clone();
        now.documents.clear();
    });
    play.run(8 * CYCLES);
    assert_eq!(shown(&play), before, "the guard holds");
    assert_eq!(play.with(|sim| sim.graph_writes), writes);
    assert_eq!(play.with(|sim| sim.store.guards[0].1.len()), 15, "all of them wait for a person");
    // The person brings them back: the sync's memory is built anew.
    play.with(|sim| sim.store.epoch = None);
    play.run(8 * CYCLES);
    assert_eq!(shown(&play), before);
    assert_eq!(play.with(|sim| titles(sim).len()), 15, "every document is there again");
}
