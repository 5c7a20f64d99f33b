//! A document that names a parent, through the running product: it is an item of its parent in Planner, both ways.

use annika::keys;
use annika_devkit::graph::seed;
use annika_sync::lens::child_key;
use redis::AsyncCommands;
use serde_json::json;

use super::{Rig, within};

#[tokio::test]
async fn a_child_document_is_an_item_of_its_parent_in_planner_and_edits_of_the_item_come_back() {
    let rig = Rig::start().await;
    rig.write("boss", &json!({"id": "boss", "title": "the parent", "plan_id": seed::PLAN})).await;
    let step = json!({"id": "boss-step", "parent_task_id": "boss", "title": "step one", "own": 1.5});
    rig.write("boss-step", &step).await;
    let id = rig.in_planner("the parent", 20).await["id"].as_str().unwrap().to_owned();
    let key = child_key("boss-step");
    let item = || rig.control().details(&id).unwrap()["checklist"][key.as_str()].clone();
    within(40, "the item", async || item()["title"] == "step one" && item()["isChecked"] == false).await;

    // A person renames and checks it.
    let edit = json!({"checklist": {key.as_str(): {"@odata.type": "#microsoft.graph.plannerChecklistItem",
        "title": "step uno", "isChecked": true}}});
    rig.control().person_patch_details(seed::PERSON, &id, edit).unwrap();
    rig.poll().await;
    within(40, "the person's edit", async || {
        let child = rig.document("boss-step").await.unwrap();
        child["title"] == "step uno" && child["percent_complete"] == json!(1.0) && child["own"] == json!(1.5)
    })
    .await;

    // An agent renames it back, and deletes it then.
    let mut child = rig.document("boss-step").await.unwrap();
    child["title"] = json!("step 1");
    rig.write("boss-step", &child).await;
    within(40, "the agent's name", async || item()["title"] == "step 1" && item()["isChecked"] == true).await;
    let mut redis = rig.redis.clone();
    let () = redis.del(keys::task("boss-step")).await.unwrap();
    let message = json!({"action": "deleted", "task_id": "boss-step", "source": "agent"}).to_string();
    let () = redis.publish(keys::tasks_updates(), message).await.unwrap();
    within(40, "no item", async || item().is_null()).await;
    rig.check(&["the parent", "step"]);
}
