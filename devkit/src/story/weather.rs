//! Foul weather, and the reckoning: Planner goes away and comes back; then nothing is there twice.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Missed,
    agent::form,
    chapters::{create, document, expect, same, set, text},
    clock::{Moment, pause},
    planner::Unseen,
    script::Step,
    stage::{Act, Stage},
};

/// How long Planner stays away after that: long enough for uploads to be tried.
const AWAY: Duration = Duration::from_secs(2);
/// What "agents notice nothing" means for four calls.
const UNNOTICED: Duration = Duration::from_secs(2);

/// Planner goes away; agents edit and create; it comes back.
pub(super) async fn away_and_back(stage: &Stage) -> Result<(), Missed> {
    let (edited, created, silent) = (stage.id("launch"), stage.id("flowers"), stage.id("parking"));
    let last = stage.planner.journal(0).await.or_miss(stage, Step::Away)?;
    let last = last.last().map_or(0, |entry| entry.seq);
    stage.tell("planner: goes away; every connection to it closes without an answer");
    stage.planner.set_away(true).await.or_miss(stage, Step::Away)?;
    if stage.planner.tasks(&stage.plan).await.is_ok() {
        return Err(stage.missed(Step::Away, "Planner still answers".to_owned()));
    }
    let began = Moment::now();
    stage.tell("agent:  PATCH of a task; the product finds out that Planner is away, and readiness says so");
    let path = format!("/api/tasks/{edited}");
    let patch = json!({"percent_complete": 0.5});
    let calls = Moment::now();
    expect(stage.agent.call(Method::PATCH, &path, Some(&patch)).await, StatusCode::OK)
        .or_miss(stage, Step::Away)?;
    let mut took = calls.elapsed();
    // Creates come only now: one whose answer was lost takes minutes to be resolved (`create_unresolved`), and the
    // first write that meets an outage is such a write.
    let look = async || {
        let ready = expect(stage.agent.call(Method::GET, "/api/health/ready", None).await, StatusCode::OK)?;
        match ready.to_string().contains("graph_unreachable") {
            true => Ok(()),
            false => Err(format!("readiness does not say graph_unreachable: {ready}")),
        }
    };
    stage.until(Step::Away, Step::Away.deadline(), began, look).await?;
    stage.tell("agent:  POST of another task, SET + PUBLISH of a third");
    let calls = Moment::now();
    let flowers = json!({"id": created, "title": "Order flowers", "plan_id": stage.plan});
    create(stage, Step::Away, &flowers).await?;
    let parking = json!({"id": silent, "title": "Reserve parking", "plan_id": stage.plan});
    set(stage, Step::Away, &parking, true).await?;
    expect(stage.agent.call(Method::GET, &format!("/api/tasks/{created}"), None).await, StatusCode::OK)
        .or_miss(stage, Step::Away)?;
    took += calls.elapsed();
    if took > UNNOTICED {
        return Err(stage.missed(Step::Away, format!("four calls of agents took {took:?}")));
    }
    // None of this may have reached Planner.
    let journal = stage.planner.journal(last).await.or_miss(stage, Step::Away)?;
    if journal.iter().any(|entry| entry.committed && entry.method == "POST") {
        return Err(stage.missed(Step::Away, "a task was made in a Planner that is away".to_owned()));
    }
    let more = format!("four calls took {:.0} ms", took.as_secs_f64() * 1_000.0);
    stage.passed(Step::Away, began.elapsed(), &more);
    pause(AWAY).await;

    stage.tell("planner: is back");
    stage.planner.set_away(false).await.or_miss(stage, Step::Back)?;
    let began = Moment::now();
    stage
        .observe(Step::Back, began, async || {
            stage.planner.titled(&stage.plan, "Order flowers").await?;
            stage.planner.titled(&stage.plan, "Reserve parking").await?;
            let task = stage.planner.titled(&stage.plan, "Plan the launch party").await?;
            same(&task, "percentComplete", &json!(50))
        })
        .await
}

/// A person's edit comes at once when somebody asks for a poll.
pub(super) async fn poll_now(stage: &Stage) -> Result<(), Missed> {
    let id = stage.id("launch");
    let task =
        stage.planner.titled(&stage.plan, "Plan the launch party").await.or_miss(stage, Step::PollNow)?;
    let planner_id = text(&task, "id").or_miss(stage, Step::PollNow)?;
    stage.tell("person: sets the priority of \"Plan the launch party\" to urgent; somebody asks for a poll");
    let began = Moment::now();
    stage.planner.edit(&planner_id, &json!({"priority": 1})).await.or_miss(stage, Step::PollNow)?;
    expect(stage.agent.call(Method::POST, "/api/sync/poll", None).await, StatusCode::ACCEPTED)
        .or_miss(stage, Step::PollNow)?;
    stage
        .observe(Step::PollNow, began, async || {
            same(&document(stage, &id).await?, "priority", &json!("urgent"))
        })
        .await
}

/// No title twice on either side, and one request for each task that agents made.
pub(super) async fn no_duplicates(stage: &Stage) -> Result<(), Missed> {
    let began = Moment::now();
    let made = stage.all_made();
    let look = async || {
        once("Planner", stage.planner.tasks(&stage.plan).await?)?;
        once("Redis", documents(stage).await?)?;
        let creates = stage.planner.journal(0).await?.into_iter().filter(|entry| {
            let ours = entry.actor.as_deref().is_some_and(|actor| actor.starts_with("app:"));
            ours && entry.committed && entry.method == "POST" && entry.path.ends_with("/planner/tasks")
        });
        match creates.count() {
            count if count == made.len() => Ok(()),
            count => Err(format!("{count} tasks were made in Planner for {} of agents", made.len())),
        }
    };
    stage.until(Step::NoDuplicates, Step::NoDuplicates.deadline(), began, look).await?;
    stage.passed(Step::NoDuplicates, began.elapsed(), &format!("{} tasks of agents", made.len()));
    Ok(())
}

/// Every task of the plan, as the product lists them.
async fn documents(stage: &Stage) -> Result<Vec<Value>, Unseen> {
    let mut documents = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/tasks?limit=200&plan={}&cursor={cursor}", stage.plan);
        let page = expect(stage.agent.call(Method::GET, &path, None).await, StatusCode::OK)?;
        documents.extend(page["tasks"].as_array().cloned().unwrap_or_default());
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(documents),
        }
    }
}

fn once(place: &str, tasks: Vec<Value>) -> Result<(), Unseen> {
    let mut titles: BTreeMap<String, usize> = BTreeMap::new();
    for task in tasks {
        *titles.entry(text(&task, "title")?).or_default() += 1;
    }
    match titles.into_iter().find(|(_, count)| *count > 1) {
        None => Ok(()),
        Some((title, count)) => Err(format!("{title:?} is in {place} {count} times")),
    }
}

/// Every message that was heard has its documented form.
pub(super) fn forms(stage: &Stage) -> Result<usize, Missed> {
    let began = Moment::now();
    let heard = stage.agent.heard();
    if let Some(why) = heard.iter().find_map(|heard| form(heard).err()) {
        return Err(stage.missed(Step::Forms, why));
    }
    stage.passed(Step::Forms, began.elapsed(), &format!("{} messages", heard.len()));
    Ok(heard.len())
}
