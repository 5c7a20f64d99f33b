//! What tokens allow: an application's roles, a person's scopes, and what only one of the two can do.

use annika_devkit::graph::{Settings, seed};
use serde_json::json;

use super::Graph;

fn plan() -> String {
    format!("/planner/plans/{}/tasks", seed::PLAN)
}

#[tokio::test]
async fn an_application_can_do_what_its_roles_say() {
    let mut graph = Graph::start().await;
    let control = graph.sim.control().clone();
    let mut with = |roles: &[&str]| {
        let app_roles = Some(roles.iter().map(|role| (*role).to_owned()).collect());
        control.set(Settings { app_roles, ..Settings::default() });
        graph.token = control.app_token();
    };
    with(&["Tasks.Read.All"]);
    assert_eq!(graph.get(&plan()).await.status, 200);
    let refused = graph.post("/planner/tasks", json!({"planId": seed::PLAN, "title": "T"})).await;
    assert_eq!((refused.status, refused.code()), (403, ""));
    let users = graph.get(&format!("/users/{}", seed::PERSON)).await;
    assert_eq!((users.status, users.code()), (403, "Authorization_RequestDenied"));
    assert_eq!(graph.get("/me").await.status, 400, "an application is nobody");

    let control = graph.sim.control().clone();
    let app_roles = Some(vec!["User.Read.All".to_owned(), "Group.Read.All".to_owned()]);
    control.set(Settings { app_roles, ..Settings::default() });
    graph.token = control.app_token();
    assert_eq!(graph.get(&plan()).await.status, 403);
    assert_eq!(graph.get(&format!("/groups/{}/planner/plans", seed::GROUP)).await.status, 403);
    let one = graph.get(&format!("/users/{}?$select=id,mail", seed::PERSON)).await;
    assert_eq!((one.status, one.body.get("displayName")), (200, None), "the directory heeds $select");
    assert_eq!(graph.get(&format!("/groups/{}", seed::GROUP)).await.status, 200);
}

#[tokio::test]
async fn a_person_has_scopes_and_a_me() {
    let mut graph = Graph::start().await;
    graph.token = graph.sim.control().person_token_for(seed::PERSON, &["Tasks.Read", "User.Read"]).unwrap();
    assert_eq!(graph.get("/me").await.body["id"], seed::PERSON);
    let mine = graph.get("/me/planner/tasks").await;
    assert_eq!(mine.body["value"].as_array().unwrap().len(), 2);
    assert_eq!(graph.get("/users").await.status, 403);
    let refused = graph.post("/planner/tasks", json!({"planId": seed::PLAN, "title": "T"})).await;
    assert_eq!(refused.status, 403);
    graph.token = graph.sim.control().person_token_for(seed::AUTHOR, &["Tasks.ReadWrite"]).unwrap();
    assert_eq!(graph.get("/me/planner/plans").await.body["value"][0]["id"], seed::PLAN, "shared with her");
    let made = graph.post("/planner/tasks", json!({"planId": seed::PLAN, "title": "T"})).await;
    assert_eq!((made.status, &made.body["createdBy"]["user"]["id"]), (201, &json!(seed::AUTHOR)));
}
