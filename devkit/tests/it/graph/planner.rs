//! Plans, buckets, tasks and details: reading, paging, writing, deleting.

use std::collections::BTreeSet;

use annika_devkit::graph::{GraphOptions, NewTask, seed};
use reqwest::Method;
use serde_json::json;

use super::{Graph, options};

#[tokio::test]
async fn the_example_reads_as_microsoft_prints_it() {
    let graph = Graph::start().await;
    let plan = graph.get(&format!("/planner/plans/{}", seed::PLAN)).await;
    assert_eq!((plan.status, &plan.body["id"]), (200, &json!("xqQg5FS2LkCp935s-FIFm2QAFkHM")));
    assert_eq!(plan.body["owner"], seed::GROUP);
    assert_eq!(plan.body["container"]["containerId"], seed::GROUP);

    let plans = graph.get(&format!("/groups/{}/planner/plans", seed::GROUP)).await;
    assert_eq!(plans.body["value"][0]["id"], seed::PLAN);
    let buckets = graph.get(&format!("/planner/plans/{}/buckets", seed::PLAN)).await;
    assert_eq!(buckets.body["@odata.count"], 2);
    assert_eq!(buckets.body["value"][0]["id"], seed::BUCKET);
    let tasks = graph.get(&format!("/planner/plans/{}/tasks", seed::PLAN)).await;
    assert_eq!(tasks.body["value"][0]["title"], "Update client list");
    assert!(
        tasks.body["@odata.context"]
            .as_str()
            .unwrap()
            .ends_with(&format!("planner/plans('{}')/tasks", seed::PLAN))
    );
    assert_eq!(tasks.body["value"][0]["checklistItemCount"], 1);
    let details = graph.get(&format!("/planner/tasks/{}/details", seed::TASK)).await;
    assert!(
        details.body["references"]["https%3A//developer%2Emicrosoft%2Ecom/en-us/graph/graph-explorer"]
            .is_object()
    );
    assert_ne!(details.etag(), tasks.body["value"][0]["@odata.etag"]);
    let names = graph.get(&format!("/planner/plans/{}/details", seed::PLAN)).await;
    assert_eq!(names.body["categoryDescriptions"]["category5"], "Needs materials");
    let in_bucket = graph.get(&format!("/planner/buckets/{}/tasks", seed::BUCKET)).await;
    assert_eq!(in_bucket.body["value"].as_array().unwrap().len(), 1);
    let user = graph.get(&format!("/users/{}", seed::PERSON)).await;
    assert_eq!(user.body["displayName"], "Alex Wilber");
    assert_eq!(graph.get("/users/ALEXW@contoso.com").await.body["id"], seed::PERSON);
    assert_eq!(graph.get(&format!("/groups/{}", seed::GROUP)).await.body["displayName"], "Contoso marketing");
    let filtered = graph.get(&format!("/planner/tasks?$filter=planId eq '{}'", seed::PLAN)).await;
    assert_eq!(filtered.body["@odata.count"], 2);
    assert_eq!(graph.get("/planner/tasks").await.status, 400);
}

#[tokio::test]
async fn every_answer_has_graphs_headers() {
    let graph = Graph::start().await;
    let path = format!("/planner/tasks/{}", seed::TASK);
    let reply = graph
        .send(Method::GET, &path, &[("client-request-id", "11111111-2222-4333-8444-555555555555")], None)
        .await;
    assert_eq!(reply.headers["client-request-id"], "11111111-2222-4333-8444-555555555555");
    for name in
        ["request-id", "date", "strict-transport-security", "x-ms-ags-diagnostic", "x-tasks-correlationid"]
    {
        assert!(reply.headers.contains_key(name), "{name}");
    }
    assert_eq!(reply.headers["cache-control"], "private");
    assert_eq!(reply.headers["odata-version"], "4.0");
    assert!(
        reply.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/json;odata.metadata=minimal")
    );
    let lost = graph.get("/planner/tasks/AAAAAAAAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!((lost.status, lost.headers["cache-control"].to_str().unwrap()), (404, "no-cache"));
    let inner = &lost.body["error"]["innerError"];
    assert_eq!(inner["request-id"], lost.headers["request-id"].to_str().unwrap());
    assert!(!inner["date"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_task_is_made_changed_and_deleted() {
    let graph = Graph::start().await;
    let made = graph
        .post(
            "/planner/tasks",
            json!({
                "planId": seed::PLAN, "bucketId": seed::BUCKET, "title": "Write the brief",
                "dueDateTime": "2026-12-01T11:00:00+01:00",
                "assignments": {seed::PERSON: {"@odata.type": "microsoft.graph.plannerAssignment", "orderHint": " !"}},
            }),
        )
        .await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    assert_eq!(made.body["dueDateTime"], "2026-12-01T10:00:00Z");
    assert_eq!(made.body["priority"], 5);
    assert_eq!(made.body["createdBy"]["application"]["id"], graph.sim.client_id());
    assert!(made.body["createdBy"]["user"]["id"].is_null());
    assert_eq!(made.body["assignments"][seed::PERSON]["@odata.type"], "#microsoft.graph.plannerAssignment");
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 28);
    let path = format!("/planner/tasks/{id}");

    let done = graph.patch(&path, &made.etag(), json!({"percentComplete": 100})).await;
    assert_eq!(
        (done.status, done.headers["preference-applied"].to_str().unwrap()),
        (200, "return=representation")
    );
    assert_eq!(done.headers["etag"].to_str().unwrap(), done.etag());
    assert!(done.body["completedDateTime"].is_string() && done.body["completedBy"].is_object());
    let quiet = graph
        .send(Method::PATCH, &path, &[("If-Match", &done.etag())], Some(json!({"percentComplete": 50})))
        .await;
    assert_eq!(quiet.status, 204);
    let now = graph.get(&path).await;
    assert!(now.body["completedDateTime"].is_null() && now.body["completedBy"].is_null());

    assert_eq!(graph.delete(&path, &made.etag()).await.status, 412, "an old version is not deleted");
    assert_eq!(graph.delete(&path, &now.etag()).await.status, 204);
    assert_eq!(graph.get(&path).await.status, 404);
    graph.sim.control().switch("missing", "forbidden403").unwrap();
    assert_eq!(graph.get(&path).await.status, 403);
}

#[tokio::test]
async fn details_show_in_the_task() {
    let graph = Graph::start().await;
    let task_path = format!("/planner/tasks/{}", seed::OTHER_TASK);
    let path = format!("{task_path}/details");
    let (task, details) = (graph.get(&task_path).await, graph.get(&path).await);
    let item = "96724e5b-f33b-4fcc-9b43-8b6e6f1c2337";
    let changed = graph
        .patch(
            &path,
            &details.etag(),
            json!({
                "description": "text", "previewType": "checklist",
                "checklist": {item: {"@odata.type": "#microsoft.graph.plannerChecklistItem", "title": "one"}},
                "references": {"https%3A//contoso%2Ecom/a b": {
                    "@odata.type": "#microsoft.graph.plannerExternalReference", "alias": "A", "type": "Pdf",
                }},
            }),
        )
        .await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    assert_eq!(changed.body["checklist"][item]["isChecked"], false);
    assert!(changed.body["checklist"][item]["orderHint"].is_string());
    let shown = graph.get(&task_path).await;
    assert_ne!(shown.etag(), task.etag());
    for (name, value) in [
        ("hasDescription", json!(true)),
        ("checklistItemCount", json!(1)),
        ("activeChecklistItemCount", json!(1)),
        ("referenceCount", json!(1)),
        ("previewType", json!("checklist")),
    ] {
        assert_eq!(shown.body[name], value, "{name}");
    }
    // A change of the text that the task does not show leaves the task's version alone.
    let again = graph.patch(&path, &changed.etag(), json!({"description": "other"})).await;
    assert_eq!(graph.get(&task_path).await.etag(), shown.etag());
    let gone = graph.patch(&path, &again.etag(), json!({"checklist": {item: null}, "description": ""})).await;
    assert_eq!(gone.body["checklist"], json!({}));
    assert_eq!(graph.get(&task_path).await.body["hasDescription"], false);
}

#[tokio::test]
async fn pages_hold_every_task_once_while_tasks_come_and_go() {
    let graph = Graph::with(GraphOptions { page_size: 7, ..options() }).await;
    let control = graph.sim.control();
    let add = |title: String| {
        control.add_task(NewTask { plan: seed::PLAN.into(), title, ..NewTask::default() }).unwrap()
    };
    let stay: BTreeSet<String> = (0..40).map(|number| add(format!("task {number}"))).collect();
    let mut seen = Vec::new();
    let mut next = format!("/planner/plans/{}/tasks", seed::PLAN);
    for page in 0.. {
        let reply = graph.get(&next).await;
        let ids = reply.body["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let Some(link) = reply.body["@odata.nextLink"].as_str() else { break };
        assert!(link.starts_with(&graph.sim.url()), "{link}");
        next = link.to_owned();
        if page == 1 {
            control.person_delete(seed::PERSON, &seen[0]).unwrap();
            add("late".into());
        }
    }
    let once: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(once.len(), seen.len(), "no task twice");
    assert!(stay.is_subset(&once), "no task is left out");
    assert_eq!(graph.get(&format!("/planner/plans/{}/tasks?$skiptoken=x", seed::PLAN)).await.status, 400);
}

#[tokio::test]
async fn plans_and_buckets_have_a_life_of_their_own() {
    let graph = Graph::start().await;
    let plan = graph
        .post(
            "/planner/plans",
            json!({"title": "P", "container": {"containerId": seed::GROUP, "type": "group"}}),
        )
        .await;
    assert_eq!(plan.status, 201, "{:?}", plan.body);
    let id = plan.body["id"].as_str().unwrap().to_owned();
    let bucket = graph.post("/planner/buckets", json!({"name": "B", "planId": id, "orderHint": " !"})).await;
    assert_eq!(bucket.status, 201, "{:?}", bucket.body);
    let bucket_id = bucket.body["id"].as_str().unwrap().to_owned();
    let task = graph.post("/planner/tasks", json!({"planId": id, "bucketId": bucket_id, "title": "T"})).await;
    let task_path = format!("/planner/tasks/{}", task.body["id"].as_str().unwrap());
    let elsewhere = json!({"planId": seed::PLAN, "bucketId": bucket_id, "title": "T"});
    assert_eq!(graph.post("/planner/tasks", elsewhere).await.status, 400, "a bucket of another plan");

    let path = format!("/planner/buckets/{bucket_id}");
    let renamed = graph.patch(&path, &bucket.etag(), json!({"name": "C"})).await;
    assert_eq!(renamed.body["name"], "C");
    assert_eq!(graph.delete(&path, &renamed.etag()).await.status, 204);
    let homeless = graph.get(&task_path).await;
    assert!(homeless.body["bucketId"].is_null());
    assert_ne!(homeless.etag(), task.etag());

    let names = graph.get(&format!("/planner/plans/{id}/details")).await;
    let shared = json!({"sharedWith": {seed::PERSON: true}, "categoryDescriptions": {"category3": "Red"}});
    let named = graph.patch(&format!("/planner/plans/{id}/details"), &names.etag(), shared).await;
    assert_eq!(named.body["categoryDescriptions"]["category3"], "Red");
    let alone = graph
        .patch(
            &format!("/planner/plans/{id}/details"),
            &named.etag(),
            json!({"sharedWith": {seed::PERSON: false}}),
        )
        .await;
    assert_eq!(alone.body["sharedWith"], json!({}));

    let plan = graph.patch(&format!("/planner/plans/{id}"), &plan.etag(), json!({"title": "Q"})).await;
    assert_eq!(graph.delete(&format!("/planner/plans/{id}"), &plan.etag()).await.status, 204);
    assert_eq!(graph.get(&task_path).await.status, 404, "a plan takes its tasks along");
}

#[tokio::test]
async fn board_formats_have_tags_and_hints_of_their_own() {
    let graph = Graph::start().await;
    for (part, body) in [
        ("assignedToTaskBoardFormat", json!({"orderHintsByAssignee": {seed::PERSON: " !"}})),
        ("bucketTaskBoardFormat", json!({"orderHint": " !"})),
        ("progressTaskBoardFormat", json!({"orderHint": " !"})),
    ] {
        let path = format!("/planner/tasks/{}/{part}", seed::TASK);
        let format = graph.get(&path).await;
        assert_eq!(format.status, 200, "{part} {:?}", format.body);
        let changed = graph.patch(&path, &format.etag(), body).await;
        assert_eq!(changed.status, 200, "{part} {:?}", changed.body);
        assert_ne!(changed.etag(), format.etag());
    }
}

#[tokio::test]
async fn a_task_with_an_id_of_its_creators_is_made_once_in_beta_and_not_at_all_in_v1() {
    let graph = Graph::start().await;
    let body = |id: &str, title: &str| {
        json!({"planId": seed::PLAN, "title": title, "creationSource": {
            "@odata.type": "#microsoft.graph.plannerExternalTaskSource", "contextScenarioId": "org.example",
            "externalContextId": "org.example", "externalObjectId": id, "displayLinkType": "none"}})
    };
    let beta = format!("{}/beta/planner/tasks", graph.sim.url());
    let made = graph.send(Method::POST, &beta, &[], Some(body("a", "first"))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let again = graph.send(Method::POST, &beta, &[], Some(body("a", "second"))).await;
    assert_eq!((again.status, &again.body["id"]), (201, &made.body["id"]));
    assert_eq!(again.body["title"], "first", "the task that is there is answered as it is");
    let other = graph.send(Method::POST, &beta, &[], Some(body("b", "first"))).await;
    assert_ne!(other.body["id"], made.body["id"]);
    // Once it is deleted, the id is free.
    let path = format!("/planner/tasks/{}", made.body["id"].as_str().unwrap());
    assert_eq!(graph.send(Method::DELETE, &path, &[("If-Match", &made.etag())], None).await.status, 204);
    let anew = graph.send(Method::POST, &beta, &[], Some(body("a", "third"))).await;
    assert_eq!((anew.status, &anew.body["title"]), (201, &json!("third")));
    assert_ne!(anew.body["id"], made.body["id"]);
    // The version without it does not know the member; nor can a client name a source of Microsoft's own.
    assert_eq!(graph.send(Method::POST, "/planner/tasks", &[], Some(body("c", "x"))).await.status, 400);
    let mut wrong = body("d", "x");
    wrong["creationSource"]["@odata.type"] = json!("#microsoft.graph.plannerTeamsPublicationInfo");
    assert_eq!(graph.send(Method::POST, &beta, &[], Some(wrong)).await.status, 400);
    let mut nameless = body("e", "x");
    nameless["creationSource"]["externalObjectId"] = json!(null);
    assert_eq!(graph.send(Method::POST, &beta, &[], Some(nameless)).await.status, 400);
}
