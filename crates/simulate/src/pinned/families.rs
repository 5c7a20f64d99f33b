//! Documents that are checklist items of another one, while that one is away.

use annika_sync::lens::child_key;
use serde_json::{Value as Json, json};

use super::{Play, play::CYCLES};

fn child(title: &str) -> Json {
    json!({"id": "c1", "parent_task_id": "a1", "title": title})
}

/// The title of the child's item, in whichever task there is.
fn item(play: &Play) -> Option<String> {
    play.with(|sim| {
        let task = sim.planner.tasks.keys().next()?.clone();
        let item = sim.planner.details(&task)?["checklist"][child_key("c1")].clone();
        item["title"].as_str().map(str::to_owned)
    })
}

fn failure(play: &Play) -> Option<String> {
    play.with(|sim| sim.store.state("c1").failure.map(|failure| failure.code))
}

pub fn a_child_goes_on_as_soon_as_its_parent_is_back() {
    let mut play = Play::new();
    let parent = play.document().unwrap_or_default();
    play.delete(true);
    play.run(CYCLES);
    // It is tried again and again, and after each time more rarely.
    for title in ["c1:1", "c1:2", "c1:3"] {
        play.put("c1", &child(title));
        play.run(2_000);
        assert_eq!(failure(&play).as_deref(), Some("parent_missing"));
    }
    let mut parent = parent;
    parent.as_object_mut().into_iter().for_each(|members| drop(members.remove("_sync")));
    play.put("a1", &parent);
    play.run(CYCLES);
    assert_eq!((item(&play).as_deref(), failure(&play)), (Some("c1:3"), None));
}

pub fn a_child_that_goes_while_its_parent_is_away_leaves_no_item() {
    for stays in [true, false] {
        let mut play = Play::new();
        play.put("c1", &child("c1:1"));
        play.run(CYCLES);
        assert_eq!(item(&play).as_deref(), Some("c1:1"));
        let parent = play.document().unwrap_or_default();
        play.delete(false);
        if stays {
            play.put("c1", &json!({"id": "c1", "plan_id": "plan-a", "title": "c1:2"}));
        } else {
            play.with(|sim| {
                sim.store.documents.remove("c1");
                sim.store.mark_deleted("c1", 0, sim.now);
            });
        }
        play.run(2_000);
        play.put("a1", &parent);
        play.run(2 * CYCLES);
        assert_eq!(item(&play), None, "stays: {stays}");
        assert_eq!(play.tasks().len(), 1 + usize::from(stays));
    }
}

pub fn a_parent_that_the_sync_brings_back_tells_its_children() {
    let mut play = Play::new();
    play.person(&json!({"title": "a1:3"}));
    // Whoever deletes it has not seen the person's edit.
    play.delete(false);
    play.put("c1", &child("c1:1"));
    play.until("the child has missed its parent", |sim| sim.store.state("c1").failure.is_some());
    play.run(CYCLES);
    assert_eq!(play.document().map(|document| document["title"].clone()), Some("a1:3".into()));
    assert_eq!((item(&play).as_deref(), failure(&play)), (Some("c1:1"), None));
}
