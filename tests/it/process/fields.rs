//! Labels, links, users' names and order between a document and Planner, through the running product.

use annika::keys;
use annika_devkit::graph::seed;
use redis::AsyncCommands;
use serde_json::json;

use super::{Rig, within};

const MEGAN: &str = "1e9955d2-6acd-45bf-86d3-b546fdc795eb";
const LEE: &str = "aaa27244-1db4-476a-a5cb-004607466324";
const REPORT: &str = "https://contoso.sharepoint.com/teams/x/Report%20v1.docx?web=1";

#[tokio::test]
async fn labels_links_names_and_order_reach_planner_and_come_back_as_agents_write_them() {
    let rig = Rig::start().await;
    let doc = json!({"id": "full", "title": "all fields", "plan_id": seed::PLAN,
        "labels": ["outdoors", "category5", "Mine"], "assigned_to": ["meganb@contoso.com", "Lee Gu", "Nobody"],
        "references": [{"url": REPORT, "alias": "Report", "type": "Word"}], "order": null});
    rig.write("full", &doc).await;
    let task = rig.in_planner("all fields", 20).await;
    let id = task["id"].as_str().unwrap().to_owned();
    let task = || rig.control().task(&id).unwrap();
    let key = "https%3A//contoso%2Esharepoint%2Ecom/teams/x/Report%2520v1%2Edocx?web=1";
    within(40, "labels, people and links", async || {
        let people = task()["assignments"].as_object().map(|map| map.len());
        task()["appliedCategories"] == json!({"category2": true, "category5": true})
            && people == Some(2)
            && rig.control().details(&id).unwrap()["references"][key]["alias"] == "Report"
    })
    .await;
    for user in [MEGAN, LEE] {
        assert!(task()["assignments"][user].is_object(), "{}", task()["assignments"]);
        let cached: String = rig.redis.clone().get(keys::graph_user(user)).await.unwrap();
        assert!(cached.contains("@contoso.com"));
    }
    let log: Vec<String> = rig.redis.clone().lrange(keys::sync_log(), 0, -1).await.unwrap();
    for code in ["label_unknown", "assignee_unresolved"] {
        assert_eq!(log.iter().filter(|entry| entry.contains(code)).count(), 1, "{code} once in {log:?}");
    }
    let lookups = || rig.control().journal().iter().filter(|entry| entry.path.contains("/users")).count();
    let (asked, document) = (lookups(), rig.document("full").await.unwrap());
    assert_eq!(asked, 3);
    assert_eq!(document["assigned_to"], doc["assigned_to"], "names stay as they are written");

    // A person takes a label and Megan off, adds a link, and moves the task.
    let person = json!({"appliedCategories": {"category2": false, "category6": true},
        "assignments": {MEGAN: null}, "orderHint": " 0!"});
    rig.control().person_patch(seed::PERSON, &id, person).unwrap();
    let link = json!({"references": {"https%3A//new%2Eexample/": {
        "@odata.type": "#microsoft.graph.plannerExternalReference", "alias": "New", "type": "Pdf"}}});
    rig.control().person_patch_details(seed::PERSON, &id, link).unwrap();
    rig.poll().await;
    within(40, "the person's edits come down", async || {
        let document = rig.document("full").await.unwrap();
        document["labels"] == json!(["category5", "Mine", "Needs equipment"])
            && document["assigned_to"] == json!(["Lee Gu", "Nobody"])
            && document["references"][1]
                == json!({"url": "https://new.example/", "alias": "New", "type": "Pdf"})
    })
    .await;
    assert_eq!(lookups(), asked, "nobody is looked up twice");

    // An agent removes the first link, and asks for a place behind the other tasks.
    let mut document = rig.document("full").await.unwrap();
    document["references"].as_array_mut().unwrap().remove(0);
    document["order"] = json!("8587094707721254251P] !");
    rig.write("full", &document).await;
    within(20, "the link is gone and the place taken", async || {
        let document = rig.document("full").await.unwrap();
        let details = rig.control().details(&id).unwrap();
        details["references"].as_object().map(|map| map.len()) == Some(1)
            && document["order"] == task()["orderHint"]
    })
    .await;
    assert!(task()["orderHint"].as_str().unwrap() > "8587094707721254251P]");
    rig.check(&["all fields", "Nobody", "meganb@contoso.com", "sharepoint"]);
}
