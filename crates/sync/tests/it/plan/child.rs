//! Documents that name a parent: one checklist item each, in the parent's document and so in Planner.

use annika_sync::{
    lens::child_key,
    plan::Action,
    state::{TaskState, digest},
    world::{Event, Local, Parent},
};
use serde_json::{Value as Json, json};

use super::bench::{Bench, PLAN};

const CHILD: &str = "Task-CV1-1-2";

/// A task and a document that names it.
struct Family {
    parent: Bench,
    child: Bench,
}

impl Family {
    fn new(child: Json) -> Self {
        let mut parent = Bench::synced(json!({"id": "agent-task-1", "title": "parent", "plan_id": PLAN,
            "checklist_items": [{"id": "95e27074-6c4a-447a-aa24-9d718a0b86fa", "title": "a person's", "checked": false}]}));
        parent.children = vec![CHILD.to_owned()];
        let mut bench = Bench::new(CHILD);
        bench.set(child);
        Self { parent, child: bench }
    }

    fn usual() -> Self {
        let mut family = Self::new(
            json!({"id": CHILD, "parent_task_id": "agent-task-1", "title": "step one", "own": 1.0}),
        );
        family.settle();
        family.child.forget_the_past();
        family.parent.forget_the_past();
        family
    }

    /// Both until nothing is written any more.
    fn settle(&mut self) {
        for _ in 0..10 {
            let before = (self.parent.doc.clone(), self.child.doc.clone(), self.child.state.clone());
            self.parent.settle();
            self.child.parent = Some(self.worked_off(self.parent.doc.clone()));
            self.turn_of_the_child();
            if let Some(Parent { local: Local::Present { bytes, .. }, .. }) = &self.child.parent {
                self.parent.doc = Some(bytes.clone());
            }
            if before == (self.parent.doc.clone(), self.child.doc.clone(), self.child.state.clone()) {
                return;
            }
        }
        panic!("no rest: {:?} {:?}", self.parent.state, self.child.state);
    }

    fn turn_of_the_child(&mut self) {
        for _ in 0..20 {
            match self.child.step().action {
                Action::Finish => return,
                Action::Wait(_) if self.child.state.failure.is_some() => return,
                Action::Wait(wait) => {
                    self.child.now += i64::try_from(wait.as_millis()).expect("short");
                    if !wait.is_zero() {
                        return;
                    }
                }
                action => self.child.perform(&action),
            }
        }
        panic!("no rest: {:?}", self.child.state);
    }

    /// The parent with this document, of which nothing is left to do.
    fn worked_off(&self, document: Option<Vec<u8>>) -> Parent {
        let mut state = self.parent.state.clone();
        state.seen = document.as_deref().map(digest);
        let there = document.map(|bytes| Local::Present { bytes, expires: false });
        Parent { id: "agent-task-1".to_owned(), local: there.unwrap_or(Local::Missing), state }
    }

    fn in_planner(&self) -> Json {
        self.parent.details()["checklist"][child_key(CHILD)].clone()
    }

    fn items(&self) -> usize {
        self.parent.details()["checklist"].as_object().map_or(0, serde_json::Map::len)
    }

    fn person(&mut self, item: Json) {
        self.parent.person_details(json!({"checklist": {child_key(CHILD): item}}));
        self.settle();
    }
}

#[test]
fn a_document_that_names_a_parent_becomes_one_item_of_it_and_no_task() {
    let mut family = Family::usual();
    assert_eq!(family.in_planner(), json!({"title": "step one", "isChecked": false}));
    assert_eq!((family.items(), family.child.creates, family.child.planner.tasks.len()), (2, 0, 0));
    // As if everything but the documents had been forgotten in between: the key is the same.
    family.child.state = TaskState::default();
    family.settle();
    assert_eq!((family.items(), family.child.conflicts().len()), (2, 0));
}

#[test]
fn what_an_agent_changes_in_the_child_is_in_planner() {
    let mut family = Family::usual();
    family.child.agent(&[("title", json!("step 1")), ("status", json!("completed"))]);
    family.settle();
    assert_eq!(family.in_planner(), json!({"title": "step 1", "isChecked": true}));
    family.child.agent(&[("status", json!("in_progress"))]);
    family.settle();
    assert_eq!(family.in_planner()["isChecked"], false);
    assert_eq!(family.child.document()["status"], "in_progress", "an open item says nothing of half-way");
    assert!(family.child.conflicts().is_empty(), "{:?}", family.child.conflicts());
}

#[test]
fn what_a_person_changes_in_the_item_is_in_the_child() {
    let mut family = Family::usual();
    let marked = family.parent.children_marked;
    family.person(json!({"title": "step uno", "isChecked": true}));
    let document = family.child.document();
    assert_eq!((document["title"].clone(), document["status"].clone()), (json!("step uno"), Json::Null));
    assert_eq!((document["percent_complete"].clone(), document["own"].clone()), (json!(1.0), json!(1.0)));
    assert!(family.parent.children_marked > marked, "the child is told");
    family.person(json!({"isChecked": false}));
    assert_eq!(family.child.document()["percent_complete"], 0.0, "re-opened");
    let (written, told) = (family.child.document_writes, family.parent.children_marked);
    family.settle();
    assert_eq!((family.child.document_writes, family.parent.children_marked), (written, told), "at rest");
}

#[test]
fn both_changed_the_title_and_the_persons_stands() {
    let mut family = Family::usual();
    family.child.agent(&[("title", json!("the agent's"))]);
    family.person(json!({"title": "the person's"}));
    assert_eq!(family.child.document()["title"], "the person's");
    assert_eq!(family.in_planner()["title"], "the person's");
    assert_eq!(family.child.conflicts(), [("title", json!("the agent's"), "agent")]);
}

#[test]
fn a_deleted_child_takes_its_item_along() {
    let mut family = Family::usual();
    family.child.delete();
    family.settle();
    assert_eq!((family.items(), family.in_planner()), (1, Json::Null));
    assert!(family.child.forgotten);
}

#[test]
fn an_item_that_a_person_removes_takes_its_document_along_and_one_that_an_agent_drops_comes_back() {
    let mut family = Family::usual();
    family.parent.agent(&[("checklist_items", json!([]))]);
    family.settle();
    assert_eq!(
        (family.items(), family.in_planner()["title"].clone()),
        (1, json!("step one")),
        "the document is there"
    );
    // The bench takes every reply for lost: until a read says otherwise, an empty list may be our own write.
    family.parent.now += 600_000;
    family.parent.state.need_get = true;
    family.settle();
    family.person(Json::Null);
    assert_eq!((family.child.doc.clone(), family.items()), (None, 0));
    let deleted = |event: &Event| matches!(event, Event::Deleted { .. });
    assert_eq!(family.child.events.iter().filter(|event| deleted(event)).count(), 1);
    // An operator brings the document back.
    family.child.set(json!({"id": CHILD, "parent_task_id": "agent-task-1", "title": "step one"}));
    family.settle();
    assert_eq!((family.items(), family.in_planner()["title"].clone()), (1, json!("step one")));
    assert!(family.child.doc.is_some());
}

#[test]
fn an_edit_that_the_person_did_not_see_beats_the_removal() {
    let mut family = Family::usual();
    family.child.agent(&[("title", json!("still needed"))]);
    family.person(Json::Null);
    assert_eq!(family.in_planner()["title"], "still needed");
    assert_eq!(family.child.document()["title"], "still needed");
}

#[test]
fn a_child_without_a_parent_waits_and_says_why() {
    let mut family = Family::new(json!({"id": CHILD, "parentTaskId": "agent-task-1", "title": "early"}));
    let parent = family.parent.doc.take();
    family.child.parent =
        Some(Parent { id: "agent-task-1".to_owned(), local: Local::Missing, state: TaskState::default() });
    family.child.settle();
    assert_eq!(family.child.failures(), ["parent_missing"]);
    let waits_for = family.child.state.child.as_ref().map(|child| child.parent.as_str());
    assert_eq!(waits_for, Some("agent-task-1"), "the parent tells it of its arrival");
    family.parent.doc = parent;
    family.child.now += 60_000;
    family.settle();
    assert_eq!((family.in_planner()["title"].clone(), family.child.failures().len()), (json!("early"), 1));
    assert!(family.child.state.failure.is_none());
    let mut family =
        Family::new(json!({"id": CHILD, "parent_task_id": CHILD, "title": "no child of itself"}));
    family.settle();
    assert_eq!(family.child.creates, 1, "it is a task");
}

#[test]
fn a_parent_that_cannot_be_read_is_not_taken_for_none() {
    let mut family = Family::usual();
    family.child.parent = Some(Parent {
        id: "agent-task-1".to_owned(),
        local: Local::Unreadable { code: "wrong_type", message: "a list".to_owned() },
        state: family.parent.state.clone(),
    });
    family.child.agent(&[("title", json!("step 1"))]);
    family.child.settle();
    assert_eq!(family.child.failures(), ["parent_unreadable"]);
    family.child.delete();
    assert!(matches!(family.child.step().action, Action::Wait(_)), "its item could not be taken out");
    assert!(!family.child.forgotten);
}

#[test]
fn the_twenty_first_item_fails_and_the_parent_is_synced() {
    let items: Vec<Json> = (0..20).map(|n| json!({"title": format!("item {n}")})).collect();
    let mut family = Family::new(json!({"id": CHILD, "parent_task_id": "agent-task-1", "title": "too many"}));
    family.parent.agent(&[("checklist_items", json!(items))]);
    family.settle();
    assert_eq!(family.child.failures(), ["checklist_full"]);
    assert_eq!((family.items(), family.in_planner()), (20, Json::Null));
    family.parent.agent(&[("checklist_items", json!(items[..5]))]);
    family.child.now += 60_000;
    family.settle();
    assert_eq!((family.items(), family.in_planner()["title"].clone()), (6, json!("too many")));
}

#[test]
fn a_child_that_is_let_go_becomes_a_task_of_its_own() {
    let mut family = Family::usual();
    family.child.agent(&[("parent_task_id", Json::Null), ("plan_id", json!(PLAN))]);
    family.settle();
    assert_eq!((family.items(), family.child.creates), (1, 1));
    assert_eq!(family.child.task()["title"], "step one");
}

#[test]
fn the_children_of_a_deleted_parent_stay_and_say_so_until_it_is_back() {
    let mut family = Family::usual();
    let text = family.parent.doc.clone();
    let stays = family.child.doc.clone();
    family.parent.delete();
    family.settle();
    assert!(family.parent.forgotten, "the parent is deleted on both sides");
    assert_eq!((family.child.doc.clone(), family.child.failures()), (stays, vec!["parent_missing"]));
    family.parent.doc = text;
    family.child.now += 60_000;
    family.settle();
    assert_eq!((family.items(), family.in_planner()["title"].clone()), (2, json!("step one")));
    assert!(family.child.state.failure.is_none());
    // Now it is let go while its parent is away.
    family.parent.delete();
    family.child.agent(&[("parent_task_id", Json::Null), ("plan_id", json!(PLAN))]);
    family.settle();
    assert_eq!(family.child.creates, 1, "it is a task of its own");
}

#[test]
fn a_parent_that_left_redis_because_it_is_completed_is_not_missed_until_the_child_has_news() {
    let mut family = Family::usual();
    family.parent.doc = None;
    family.parent.state.expires = true;
    family.settle();
    assert!(family.child.failures().is_empty() && family.child.doc.is_some());
    family.child.agent(&[("title", json!("news"))]);
    family.settle();
    assert_eq!(family.child.failures(), ["parent_missing"], "its news cannot go up");
    family.child.delete();
    assert!(matches!(family.child.step().action, Action::Wait(_)), "its item is still in Planner");
}

#[test]
fn a_removal_that_an_edit_has_answered_takes_nothing_along_later() {
    let mut family = Family::usual();
    family.child.agent(&[("title", json!("still needed"))]);
    family.parent.now += 600_000;
    family.parent.state.need_get = true;
    family.parent.settle();
    family.parent.person_details(json!({"checklist": {child_key(CHILD): null}}));
    family.parent.settle();
    let state = family.parent.state.clone();
    assert_eq!(state.removed_items.len(), 1, "the person's removal is remembered");
    let parent = |bytes: &[u8]| Parent {
        id: "agent-task-1".to_owned(),
        local: Local::Present { bytes: bytes.to_vec(), expires: false },
        state: state.clone(),
    };
    let before = family.parent.doc.clone().expect("a document");
    family.child.parent = Some(parent(&before));
    family.child.settle();
    assert_ne!(family.child.parent, Some(parent(&before)), "it is put back");
    // An agent that had read the parent before writes it, and the parent's own turn has not come yet.
    family.child.parent = Some(parent(&before));
    let step = family.child.step();
    assert!(matches!(step.action, Action::WriteParent { .. }), "{step:?}");
    assert!(family.child.doc.is_some());
}

#[test]
fn a_child_that_vanished_in_a_rebuild_comes_back_and_one_that_vanished_later_is_a_deletion_to_be_guarded() {
    let mut family = Family::usual();
    family.child.rebuilding_since = Some(family.child.now + 1);
    family.child.doc = None;
    family.settle();
    let document = family.child.document();
    assert_eq!(
        (document["title"].clone(), document["parent_task_id"].clone()),
        (json!("step one"), json!("agent-task-1"))
    );
    assert_eq!(family.items(), 2);
    family.child.rebuilding_since = None;
    family.child.doc = None;
    for (sweeps, deletion) in [(1, None), (2, Some(false))] {
        family.child.missed_sweeps = sweeps;
        let step = family.child.step();
        assert_eq!(step.deletion.map(|deletion| deletion.stated), deletion, "after {sweeps}: {step:?}");
    }
}

/// An agent wrote the parent as it had read it long before, and the parent's own turn has not come yet.
fn stale_parent(family: &Family, checklist: &Json) -> Parent {
    let mut document: Json =
        serde_json::from_slice(family.parent.doc.as_deref().expect("a document")).expect("JSON");
    document["checklist_items"] = checklist.clone();
    let local = Local::Present { bytes: document.to_string().into_bytes(), expires: false };
    Parent { local, ..family.worked_off(family.parent.doc.clone()) }
}

#[test]
fn what_stands_in_a_parent_that_has_not_had_its_turn_is_neither_an_edit_nor_a_removal() {
    let mut family = Family::usual();
    let old = family.parent.document()["checklist_items"].clone();
    family.child.agent(&[("title", json!("step 1"))]);
    family.settle();
    family.child.parent = Some(stale_parent(&family, &old));
    let step = family.child.step();
    assert!(matches!(step.action, Action::Wait(_)) && step.write.is_none(), "{step:?}");
    family.settle();
    assert_eq!(
        (family.child.document()["title"].clone(), family.in_planner()["title"].clone()),
        (json!("step 1"), json!("step 1"))
    );

    family.child.delete();
    for list in [&old, &json!([])] {
        family.child.parent = Some(stale_parent(&family, list));
        let step = family.child.step();
        assert!(
            matches!(step.action, Action::Wait(_)) && !step.forget,
            "the merge may put it back: {step:?}"
        );
    }
    family.settle();
    assert_eq!((family.items(), family.child.forgotten), (1, true));
}

#[test]
fn an_old_tick_that_a_stale_agent_writes_is_no_edit_and_is_corrected() {
    let mut family = Family::usual();
    let old = family.child.document();
    family.child.agent(&[("status", json!("completed"))]);
    family.settle();
    family.person(json!({"isChecked": false, "title": "the person's"}));
    let mut stale = old;
    stale["status"] = json!("not_started");
    family.child.set(stale);
    family.settle();
    assert_eq!(family.in_planner(), json!({"title": "the person's", "isChecked": false}));
    assert_eq!(family.child.document()["title"], "the person's", "the document says what Planner says");
}

#[test]
fn an_item_that_an_agent_dropped_from_the_parent_while_the_answer_was_lost_deletes_no_document() {
    let mut family = Family::usual();
    family.parent.agent(&[("checklist_items", json!([]))]);
    family.parent.settle();
    // A person adds one: what Planner shows now is nothing that was ever sent.
    family.parent.person_details(json!({"checklist": {"7f1c2d3e-6c4a-447a-aa24-9d718a0b86fa":
        {"title": "new", "isChecked": false}}}));
    family.parent.settle();
    assert!(family.parent.state.removed_items.is_empty(), "{:?}", family.parent.state.removed_items);
    family.settle();
    assert!(family.child.doc.is_some());
    assert_eq!(family.in_planner()["title"], "step one");
}
