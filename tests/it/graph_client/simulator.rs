//! The client against the Graph simulator, which checks every message against Microsoft's own descriptions.

use annika::{
    app::App,
    clock::{SystemClock, SystemRng},
    graph::{ListOutcome, Outcome, planner},
};
use annika_devkit::{
    graph::{Effect, Fault, GraphOptions, GraphSimulator, When, seed},
    oracle,
};
use serde_json::{Value, json};
use std::collections::HashMap;

async fn start(page_size: usize) -> (GraphSimulator, App) {
    let oracles = oracle::path("graph_client::simulator");
    let options = GraphOptions { oracles, page_size, data: seed::example(), ..GraphOptions::default() };
    let simulator = GraphSimulator::start(options).await.unwrap();
    let variables: HashMap<&'static str, String> = simulator.environment(false).into_iter().collect();
    let settings = crate::fake::settings(&variables);
    let app = App::new(settings, SystemClock::shared(), SystemRng::shared()).unwrap();
    (simulator, app)
}

fn body(outcome: &Outcome, status: u16) -> Value {
    match outcome {
        Outcome::Answer(answer) if answer.status == status => answer.body.clone().unwrap_or_default(),
        other => panic!("{status}, not {other:?}"),
    }
}

fn etag(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Answer(answer) => answer.etag.as_deref().unwrap(),
        other => panic!("an answer, not {other:?}"),
    }
}

#[tokio::test]
async fn a_task_lives_its_whole_life_in_batches() {
    let (simulator, app) = start(400).await;
    let task = |title: &str| planner::create_task(json!({"planId": seed::PLAN, "title": title}));
    let created = app.graph.batch(vec![task("a"), task("b"), planner::get_plan(seed::PLAN)]).await;
    let ids: Vec<String> =
        created[..2].iter().map(|o| body(o, 201)["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(body(&created[2], 200)["id"], seed::PLAN);

    let details = app.graph.batch(ids.iter().map(|id| planner::get_details(id)).collect()).await;
    let changes = vec![
        planner::update_task(&ids[0], etag(&created[0]), json!({"percentComplete": 50})),
        planner::update_details(&ids[1], etag(&details[1]), json!({"description": "what to do"})),
        planner::update_task(
            &ids[1],
            etag(&details[1]),
            json!({"title": "the details' ETag is not the task's"}),
        ),
    ];
    let changed = app.graph.batch(changes).await;
    assert_eq!(body(&changed[0], 200)["percentComplete"], 50);
    assert_ne!(etag(&changed[0]), etag(&created[0]));
    assert_eq!(body(&changed[1], 200)["description"], "what to do");
    assert!(
        matches!(&changed[2], Outcome::Answer(answer) if [400, 412].contains(&answer.status)),
        "{:?}",
        changed[2]
    );

    let deleted = app.graph.send(planner::delete_task(&ids[0], etag(&changed[0]))).await;
    body(&deleted, 204);
    let gone = app.graph.send(planner::get_task(&ids[0])).await;
    assert!(matches!(&gone, Outcome::Answer(answer) if [403, 404].contains(&answer.status)), "{gone:?}");
    assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
}

#[tokio::test]
async fn lists_are_whole_over_pages_and_a_lost_create_is_in_doubt() {
    let (simulator, app) = start(2).await;
    for title in ["a", "b", "c"] {
        body(&app.graph.send(planner::create_task(json!({"planId": seed::PLAN, "title": title}))).await, 201);
    }
    let there = || simulator.control().tasks(seed::PLAN).len();
    let ListOutcome::Complete(tasks) = app.graph.plan_tasks(seed::PLAN).await else { panic!("whole") };
    assert!(tasks.len() == there() && tasks.len() > 4, "{}", tasks.len());
    let plans = app.graph.group_plans(seed::GROUP).await;
    assert!(
        matches!(plans, ListOutcome::Complete(plans) if plans.iter().any(|plan| plan["id"] == seed::PLAN))
    );

    let before = there();
    simulator.control().fault(Fault::on("/planner/tasks", Effect::Drop { when: When::After })).unwrap();
    let lost = app.graph.send(planner::create_task(json!({"planId": seed::PLAN, "title": "lost"}))).await;
    assert!(matches!(lost, Outcome::Unknown(_)), "{lost:?}");
    assert_eq!(there(), before + 1, "it did happen, and once");
    assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
}
