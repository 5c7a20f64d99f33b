//! Random sessions: whatever is asked, answers fit the schemas, and the same seed gives the same journal.

use annika_devkit::graph::{Effect, Fault, GraphOptions, Level, Match, etag, random::SimRng, seed};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, options};

fn pick<T: Clone>(rng: &mut SimRng, list: &[T]) -> T {
    list[(rng.next_u64() % list.len() as u64) as usize].clone()
}

/// A body that is sometimes right, sometimes wrong.
fn body(rng: &mut SimRng) -> Value {
    let members = [
        ("title", vec![json!("a"), json!("b"), json!(""), json!(null), json!(7), json!("日本 \u{1F600}")]),
        ("percentComplete", vec![json!(0), json!(50), json!(100), json!(101), json!("1"), json!(0.5)]),
        ("priority", vec![json!(1), json!(9), json!(-1), json!(null)]),
        ("dueDateTime", vec![json!("2026-12-01T10:00:00Z"), json!(null), json!("2026-02-30T00:00:00Z")]),
        (
            "startDateTime",
            vec![json!("2026-11-01T10:00:00.1234567+02:00"), json!("2027-01-01T00:00:00Z"), json!(null)],
        ),
        ("bucketId", vec![json!(seed::BUCKET), json!(null), json!("x")]),
        ("orderHint", vec![json!(" !"), json!("85752723360752+ !"), json!("x"), json!(" a! b!")]),
        (
            "appliedCategories",
            vec![json!({"category3": true}), json!({"category3": false}), json!({"red": true}), json!(null)],
        ),
        (
            "assignments",
            vec![
                json!({seed::PERSON: null}),
                json!({seed::AUTHOR: {"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": " !"}}),
                json!({seed::AUTHOR: {}}),
                json!({"x": null}),
            ],
        ),
        ("colour", vec![json!("red")]),
        ("hasDescription", vec![json!(true)]),
        ("conversationThreadId", vec![json!("thread"), json!(null)]),
    ];
    let mut out = serde_json::Map::new();
    for _ in 0..=rng.next_u64() % 3 {
        let (name, values) = pick(rng, &members);
        out.insert(name.into(), pick(rng, &values));
    }
    Value::Object(out)
}

/// Plays so many random operations, and returns what the journal tells of them.
async fn session(seed_number: u64, steps: usize) -> Vec<String> {
    let graph = Graph::with(GraphOptions { seed: seed_number, page_size: 5, ..options() }).await;
    let control = graph.sim.control();
    let matching = Match { level: Level::Any, probability: Some(0.05), count: Some(0), ..Match::default() };
    control.fault(Fault { matching, effect: Effect::status(503) }).unwrap();
    let mut rng = SimRng::new(seed_number);
    for _ in 0..steps {
        let tasks = control.tasks(seed::PLAN);
        let task = if tasks.is_empty() { json!({"id": "gone"}) } else { pick(&mut rng, &tasks) };
        let id = task["id"].as_str().unwrap_or_default().to_owned();
        let path = format!("/planner/tasks/{id}");
        let current = task["@odata.etag"].as_str().unwrap_or_default().to_owned();
        let version = etag::parse(etag::Kind::Task, &current).unwrap_or(1);
        let older = etag::format(etag::Kind::Task, version.saturating_sub(1).max(1));
        let tag = pick(&mut rng, &[current.clone(), current, older, "*".to_owned()]);
        let mut new = body(&mut rng);
        new["planId"] = pick(&mut rng, &[json!(seed::PLAN), json!("x")]);
        let status = match rng.next_u64() % 7 {
            0 => graph.post("/planner/tasks", new).await.status,
            1 | 2 => graph.patch(&path, &tag, body(&mut rng)).await.status,
            3 => graph.get(&format!("/planner/plans/{}/tasks", seed::PLAN)).await.status,
            4 => graph.delete(&path, &tag).await.status,
            5 => {
                let edit =
                    control.person_create(seed::PERSON, json!({"planId": seed::PLAN, "title": "by hand"}));
                assert!(edit.is_ok(), "{edit:?}");
                201
            }
            _ => {
                let item = |id: &str, method: &str, body: Value| {
                    json!({"id": id, "method": method, "url": path, "body": body,
                           "headers": {"Content-Type": "application/json", "If-Match": tag}})
                };
                let requests = [item("1", "PATCH", body(&mut rng)), item("2", "PATCH", body(&mut rng))];
                graph.send(Method::POST, "/$batch", &[], Some(json!({"requests": requests}))).await.status
            }
        };
        assert!([200, 201, 204, 400, 404, 409, 412, 503].contains(&status), "{status}");
    }
    let told = |entry: annika_devkit::graph::Entry| {
        format!(
            "{} {} {:?} {:?} {:?} {}",
            entry.method, entry.path, entry.status, entry.etag, entry.id, entry.committed
        )
    };
    control.journal().into_iter().map(told).collect()
}

#[tokio::test]
async fn the_same_seed_gives_the_same_journal() {
    let first = session(11, 120).await;
    assert_eq!(first, session(11, 120).await);
    assert_ne!(first, session(12, 120).await);
    let committed = first.iter().filter(|line| line.ends_with("true")).count();
    assert!((20..first.len() - 20).contains(&committed), "{committed} of {}", first.len());
}
