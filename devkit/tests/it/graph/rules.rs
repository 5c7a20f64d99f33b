//! What Planner refuses, and how: entity tags, conflicts, values, limits.

use annika_devkit::graph::{GraphOptions, Limits, NewTask, Settings, etag, seed};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, options};

fn task_path() -> String {
    format!("/planner/tasks/{}", seed::TASK)
}

#[tokio::test]
async fn a_write_needs_the_right_tag() {
    let graph = Graph::start().await;
    let (path, body) = (task_path(), json!({"title": "B"}));
    let missing = graph.send(Method::PATCH, &path, &[], Some(body.clone())).await;
    assert_eq!((missing.status, missing.code()), (412, ""));
    assert_eq!(missing.message(), "The If-Match header must be specified for this kind of request.");
    assert_eq!(graph.send(Method::DELETE, &path, &[], None).await.status, 412);
    let details = graph.get(&format!("{path}/details")).await.etag();
    let future = etag::format(etag::Kind::Task, 99);
    for tag in ["*", "nonsense", "W/\\\"JzEt\\\"", &details, &future] {
        let wrong = graph.patch(&path, tag, body.clone()).await;
        assert_eq!((wrong.status, wrong.code()), (412, ""), "{tag}");
        assert_eq!(wrong.message(), "The If-Match header contains an invalid value.");
    }
    let tag = graph.get(&path).await.etag();
    assert_eq!(graph.patch(&format!("{path}/details"), &tag, json!({"description": "x"})).await.status, 412);
    assert_eq!(graph.get(&path).await.etag(), tag, "nothing was changed");
}

#[tokio::test]
async fn an_older_version_is_merged_unless_the_same_property_changed() {
    let other = "1e9955d2-6acd-45bf-86d3-b546fdc795eb";
    let assign = |user: &str| json!({"assignments": {user: {"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": " !"}}});
    let unassign = |user: &str| json!({"assignments": {user: null}});
    let cases: [(Value, Value, u16); 8] = [
        (json!({"title": "X"}), json!({"title": "Y"}), 409),
        (json!({"title": "X"}), json!({"percentComplete": 50}), 200),
        (json!({"title": "X"}), json!({"percentComplete": 50, "title": "Y"}), 409),
        (assign(other), assign(other), 409),
        (assign(other), unassign(seed::PERSON), 200),
        (unassign(seed::PERSON), assign(seed::PERSON), 409),
        (
            json!({"appliedCategories": {"category1": true}}),
            json!({"appliedCategories": {"category2": true}}),
            200,
        ),
        (
            json!({"appliedCategories": {"category1": true}}),
            json!({"appliedCategories": {"category1": false}}),
            409,
        ),
    ];
    for (first, second, status) in cases {
        let graph = Graph::start().await;
        let old = graph.get(&task_path()).await.etag();
        let person = graph.sim.control().person_patch(seed::PERSON, seed::TASK, first.clone());
        assert!(person.is_ok(), "{person:?}");
        let reply = graph.patch(&task_path(), &old, second.clone()).await;
        assert_eq!(reply.status, status, "{first} then {second}: {:?}", reply.body);
        graph.sim.control().switch("stale", "pre412").unwrap();
        if status == 409 {
            assert_eq!(graph.patch(&task_path(), &old, second).await.status, 412);
        }
    }
}

#[tokio::test]
async fn a_version_out_of_the_window_is_refused() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    control.set(Settings { history_window: Some(3), ..Settings::default() });
    let old = graph.get(&task_path()).await.etag();
    for number in 0..4 {
        control.person_patch(seed::PERSON, seed::TASK, json!({"title": format!("{number}")})).unwrap();
    }
    assert_eq!(graph.patch(&task_path(), &old, json!({"percentComplete": 10})).await.status, 412);
}

#[tokio::test]
async fn wrong_values_are_400_and_change_nothing() {
    let graph = Graph::start().await;
    let before = graph.get(&task_path()).await;
    let assignment = |value: Value| json!({"assignments": {"1e9955d2-6acd-45bf-86d3-b546fdc795eb": value}});
    for body in [
        json!({"title": null}),
        json!({"title": ""}),
        json!({"title": 5}),
        json!({"percentComplete": 101}),
        json!({"percentComplete": -1}),
        json!({"percentComplete": 0.5}),
        json!({"percentComplete": "50"}),
        json!({"priority": 11}),
        json!({"dueDateTime": "2026-12-01"}),
        json!({"dueDateTime": "soon"}),
        json!({"startDateTime": "2026-12-02T00:00:00Z", "dueDateTime": "2026-12-01T00:00:00Z"}),
        json!({"orderHint": "9223370550899070129"}),
        json!({"assigneePriority": before.body["assigneePriority"]}),
        json!({"colour": "red"}),
        json!({"id": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"planId": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"bucketId": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"bucketId": "short"}),
        json!({"appliedCategories": {"category26": true}}),
        json!({"appliedCategories": {"category1": null}}),
        assignment(json!({"orderHint": " !"})),
        assignment(json!({"@odata.type": "#microsoft.taskServices.assignment", "orderHint": " !"})),
        assignment(json!({"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": "x"})),
        json!({"assignments": {"alexw@contoso.com": {"@odata.type": "#microsoft.graph.plannerAssignment"}}}),
        json!([]),
    ] {
        let reply = graph.patch(&task_path(), &before.etag(), body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {:?}", reply.body);
        assert!(!reply.message().is_empty());
    }
    let details = format!("{}/details", task_path());
    let tag = graph.get(&details).await.etag();
    let item = |key: &str, kind: &str| {
        json!({kind: {key: {"@odata.type": match kind {
            "checklist" => "#microsoft.graph.plannerChecklistItem",
            _ => "#microsoft.graph.plannerExternalReference",
        }}}})
    };
    for body in [
        item("1", "checklist"),
        item("https://contoso.com", "references"),
        json!({"previewType": "big"}),
        json!({"notes": "x"}),
        json!({"checklist": null}),
    ] {
        assert_eq!(graph.patch(&details, &tag, body.clone()).await.status, 400, "{body}");
    }
    let after = graph.get(&task_path()).await;
    assert_eq!(after.body, before.body);
    for body in [json!({"title": "x"}), json!({"planId": seed::PLAN}), json!({"planId": "x", "title": "x"})] {
        assert_eq!(graph.post("/planner/tasks", body.clone()).await.status, 400, "{body}");
    }
    let raw = graph.http.post(format!("{}/v1.0/planner/tasks", graph.sim.url())).bearer_auth(&graph.token);
    assert_eq!(raw.body("{\"title\":").send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn read_only_members_are_ignored_in_a_write() {
    let graph = Graph::start().await;
    let before = graph.get(&task_path()).await;
    let body = json!({
        "id": seed::TASK, "planId": seed::PLAN, "title": "B", "hasDescription": false, "checklistItemCount": 9,
        "createdDateTime": "2020-01-01T00:00:00Z", "completedDateTime": "2020-01-01T00:00:00Z",
    });
    let after = graph.patch(&task_path(), &before.etag(), body).await;
    assert_eq!((after.status, &after.body["title"]), (200, &json!("B")));
    for name in ["hasDescription", "checklistItemCount", "createdDateTime", "completedDateTime"] {
        assert_eq!(after.body[name], before.body[name], "{name}");
    }
}

#[tokio::test]
async fn unknown_paths_and_ids_are_refused() {
    let graph = Graph::with(GraphOptions { beta: false, ..options() }).await;
    for (path, status) in [
        ("/planner/tasks/short", 400),
        ("/planner/tasks/AAAAAAAAAAAAAAAAAAAAAAAAAAAA", 404),
        ("/planner/rosters", 400),
        ("/planner/tasks/AAAAAAAAAAAAAAAAAAAAAAAAAAAA/colour", 400),
        ("/colours", 400),
        ("/users/nobody", 404),
        ("/me", 400),
    ] {
        assert_eq!(graph.get(path).await.status, status, "{path}");
    }
    let unknown = graph.get("/colours").await;
    assert_eq!(
        (unknown.code(), unknown.message()),
        ("BadRequest", "Resource not found for the segment 'colours'.")
    );
    let put = graph.send(Method::PUT, &task_path(), &[], Some(json!({}))).await;
    assert_eq!(put.status, 405);
    let beta = format!("{}/beta{}", graph.sim.url(), task_path());
    assert_eq!(graph.get(&beta).await.status, 400);
    graph.sim.control().set(Settings { beta: Some(true), ..Settings::default() });
    assert_eq!(graph.get(&beta).await.status, 200);
}

#[tokio::test]
async fn limits_are_403_with_their_name() {
    let mut limits = Limits::none();
    for (name, most) in [
        ("MaximumActiveTasksInProject", 3),
        ("MaximumTasksInProject", 4),
        ("MaximumBucketsInProject", 3),
        ("MaximumAssigneesInTasks", 1),
        ("MaximumChecklistItemsOnTask", 1),
        ("MaximumProjectsOwnedByUser", 1),
        ("MaximumUsersSharedWithProject", 3),
        ("MaximumProjectsSharedWithUser", 1),
        ("MaximumReferencesOnTask", 1),
    ] {
        limits.0.insert(name.into(), most);
    }
    let graph = Graph::with(GraphOptions { limits, ..options() }).await;
    let task = |percent: u8| json!({"planId": seed::PLAN, "title": "T", "percentComplete": percent});
    assert_eq!(graph.post("/planner/tasks", task(0)).await.status, 201);
    let fourth = graph.post("/planner/tasks", task(0)).await;
    assert_eq!((fourth.status, fourth.code()), (403, "MaximumActiveTasksInProject"));
    assert_eq!(fourth.message(), "The request exceeded allowed limits.");
    assert_eq!(graph.post("/planner/tasks", task(100)).await.status, 201);
    assert_eq!(graph.post("/planner/tasks", task(100)).await.code(), "MaximumTasksInProject");
    let bucket = json!({"planId": seed::PLAN, "name": "B"});
    assert_eq!(graph.post("/planner/buckets", bucket.clone()).await.status, 201);
    assert_eq!(graph.post("/planner/buckets", bucket).await.code(), "MaximumBucketsInProject");
    let tag = graph.get(&task_path()).await.etag();
    let second = json!({"assignments": {"1e9955d2-6acd-45bf-86d3-b546fdc795eb": {"@odata.type": "#microsoft.graph.plannerAssignment"}}});
    assert_eq!(graph.patch(&task_path(), &tag, second).await.code(), "MaximumAssigneesInTasks");
    let details = format!("{}/details", task_path());
    let tag = graph.get(&details).await.etag();
    let item = json!({"checklist": {"96724e5b-f33b-4fcc-9b43-8b6e6f1c2337": {"@odata.type": "#microsoft.graph.plannerChecklistItem"}}});
    assert_eq!(graph.patch(&details, &tag, item).await.code(), "MaximumChecklistItemsOnTask");
    let link = |url: &str| json!({"references": {url: {"@odata.type": "#microsoft.graph.plannerExternalReference"}}});
    let second = graph.patch(&details, &tag, link("https%3A//contoso%2Ecom")).await;
    assert_eq!(second.code(), "MaximumReferencesOnTask");

    let plan = json!({"title": "P", "container": {"containerId": seed::GROUP, "type": "group"}});
    let own = graph.post("/planner/plans", plan.clone()).await;
    assert_eq!(own.status, 201);
    assert_eq!(graph.post("/planner/plans", plan).await.code(), "MaximumProjectsOwnedByUser");
    let share = |users: &[&str]| json!({"sharedWith": users.iter().map(|user| ((*user).to_owned(), json!(true))).collect::<serde_json::Map<_, _>>()});
    let of = |plan: &str| format!("/planner/plans/{plan}/details");
    let (own, example) = (of(own.body["id"].as_str().unwrap()), of(seed::PLAN));
    let tag = graph.get(&own).await.etag();
    assert_eq!(graph.patch(&own, &tag, share(&[seed::AUTHOR])).await.code(), "MaximumProjectsSharedWithUser");
    assert_eq!(graph.patch(&own, &tag, share(&[seed::PERSON])).await.status, 200);
    let tag = graph.get(&example).await.etag();
    let crowd = share(&["1e9955d2-6acd-45bf-86d3-b546fdc795eb", "e396de0e-4812-4fcb-9f9e-0358744df343"]);
    assert_eq!(graph.patch(&example, &tag, crowd).await.code(), "MaximumUsersSharedWithProject");
    let back = json!({"sharedWith": {seed::AUTHOR: false}});
    assert_eq!(graph.patch(&example, &tag, back).await.status, 200, "to take back is no sharing");
}

#[tokio::test]
async fn ids_and_order_follow_from_the_seed() {
    let first = Graph::with(GraphOptions { seed: 7, ..options() }).await;
    let second = Graph::with(GraphOptions { seed: 7, ..options() }).await;
    let third = Graph::with(GraphOptions { seed: 8, ..options() }).await;
    let add = |graph: &Graph| {
        let task = NewTask { plan: seed::PLAN.into(), title: "T".into(), ..NewTask::default() };
        graph.sim.control().add_task(task).unwrap()
    };
    let (one, two, three) = (add(&first), add(&second), add(&third));
    // The token that each harness asks for draws from the same source.
    assert_eq!(one, two);
    assert_ne!(one, three);
}
