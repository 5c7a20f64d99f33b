//! Fair weather: agents create, people edit, both delete. Everything that has to wait waits side by side.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Missed,
    agent::{EVENTS, SYNC, UPDATES},
    clock::Moment,
    planner::Unseen,
    script::Step,
    stage::{Act, Stage},
};
use crate::graph::seed;

/// What is only made ready for a step has to be there as soon as what is announced.
const READY: Duration = Duration::from_secs(5);

/// Somebody who can be made an assignee: Megan Bowen of the example.
const MEGAN: &str = "1e9955d2-6acd-45bf-86d3-b546fdc795eb";

/// The example's tasks come to Redis at the first poll.
pub(super) async fn import(stage: &Stage) -> Result<(), Missed> {
    let began = Moment::now();
    stage.tell("the timer planner_poll has been fired once; the sync starts");
    stage
        .observe(Step::Import, began, async || {
            for (planner_id, title) in [(seed::TASK, "Update client list"), (seed::OTHER_TASK, "Testing")] {
                let (id, document) = stage.agent.document_of(planner_id).await?;
                same(&document, "title", &json!(title)).map_err(|why| format!("annika:tasks:{id}: {why}"))?;
            }
            Ok(())
        })
        .await
}

/// Everything that neither breaks Planner nor takes a minute.
pub(super) async fn fair_weather(stage: &Stage) -> Result<(), Missed> {
    futures::try_join!(
        by_http(stage),
        by_publish(stage),
        by_set_alone(stage),
        person_assigns(stage),
        person_creates(stage),
        person_deletes(stage),
        at_once(stage),
        told_delete(stage),
    )?;
    Ok(())
}

async fn by_http(stage: &Stage) -> Result<(), Missed> {
    let id = stage.id("launch");
    let document = json!({
        "id": id, "title": "Plan the launch", "plan_id": stage.plan, "bucket_id": seed::BUCKET,
        "description": "Numbers first.", "due_date": "2027-03-01", "priority": "high",
        "percent_complete": 0.25, "assigned_to": [seed::PERSON],
        "checklist_items": [{"title": "Budget", "checked": true}, {"title": "Guests", "checked": false}],
    });
    stage.tell("agent:  POST /api/tasks  \"Plan the launch\", with assignee, date, description, checklist");
    let began = Moment::now();
    create(stage, Step::CreateHttp, &document).await?;
    let planner_id = stage
        .observe(Step::CreateHttp, began, async || {
            let task = stage.planner.titled(&stage.plan, "Plan the launch").await?;
            same(&task, "bucketId", &json!(seed::BUCKET))?;
            same(&task, "percentComplete", &json!(25))?;
            same(&task, "priority", &json!(3))?;
            starts(&task, "dueDateTime", "2027-03-01")?;
            assigned(&task, seed::PERSON)?;
            let id = text(&task, "id")?;
            let details = stage.planner.details(&id).await?;
            same(&details, "description", &json!("Numbers first."))?;
            let items = details["checklist"].as_object().map_or(0, serde_json::Map::len);
            if items == 2 { Ok(id) } else { Err(format!("the checklist has {items} items, not 2")) }
        })
        .await?;
    stage
        .observe(Step::CreateTold, Moment::now(), async || {
            let hears = |channel, members| stage.agent.has_heard(channel, &members);
            hears(UPDATES, json!({"action": "created", "task_id": id, "source": "agent"}))?;
            hears(EVENTS, json!({"type": "task_created", "id": id}))?;
            hears(
                SYNC,
                json!({"status": "synced", "task_id": id, "planner_id": planner_id, "direction": "up"}),
            )
        })
        .await?;

    stage.tell("person: renames \"Plan the launch\" and moves its date, in Planner");
    let began = Moment::now();
    let edit = json!({"title": "Plan the launch party", "dueDateTime": "2027-03-08T10:00:00Z"});
    stage.planner.edit(&planner_id, &edit).await.or_miss(stage, Step::PersonEdits)?;
    stage
        .observe(Step::PersonEdits, began, async || {
            let document = self::document(stage, &id).await?;
            same(&document, "title", &json!("Plan the launch party"))?;
            starts(&document, "due_date", "2027-03-08")?;
            // What the person did not touch is as the agent wrote it.
            same(&document, "description", &json!("Numbers first."))
        })
        .await?;
    stage
        .observe(Step::EditTold, Moment::now(), async || {
            let hears = |channel, members| stage.agent.has_heard(channel, &members);
            hears(UPDATES, json!({"action": "updated", "task_id": id, "source": "planner"}))?;
            hears(EVENTS, json!({"type": "task_updated", "id": id}))?;
            hears(SYNC, json!({"status": "synced", "task_id": id, "direction": "down"}))
        })
        .await
}

async fn by_publish(stage: &Stage) -> Result<(), Missed> {
    let (id, title) = (stage.id("press-kit"), "Draft the press kit");
    let document =
        json!({"id": id, "title": title, "plan_id": stage.plan, "percent_complete": 0.5, "mood": "calm"});
    stage.tell("agent:  SET annika:tasks:press-kit…  and PUBLISH annika:tasks:updates");
    let began = Moment::now();
    set(stage, Step::CreateRaw, &document, true).await?;
    let planner_id = stage
        .observe(Step::CreateRaw, began, async || {
            let task = stage.planner.titled(&stage.plan, title).await?;
            same(&task, "percentComplete", &json!(50))?;
            text(&task, "id")
        })
        .await?;
    stage.tell("person: completes \"Draft the press kit\"");
    let began = Moment::now();
    let edit = json!({"percentComplete": 100});
    stage.planner.edit(&planner_id, &edit).await.or_miss(stage, Step::PersonCompletes)?;
    stage
        .observe(Step::PersonCompletes, began, async || {
            let document = self::document(stage, &id).await?;
            same(&document, "mood", &json!("calm"))?;
            match document["percent_complete"].as_f64() {
                Some(1.0) => Ok(()),
                _ => Err(format!("percent_complete is {}", document["percent_complete"])),
            }
        })
        .await
}

async fn by_set_alone(stage: &Stage) -> Result<(), Missed> {
    let title = "Book the venue";
    let document = json!({"id": stage.id("venue"), "title": title, "plan_id": stage.plan});
    stage.tell("agent:  SET annika:tasks:venue…  and not a word to anybody");
    let began = Moment::now();
    set(stage, Step::CreateSilent, &document, false).await?;
    let look = async || stage.planner.titled(&stage.plan, title).await.map(|_| ());
    stage.observe(Step::CreateSilent, began, look).await
}

async fn person_assigns(stage: &Stage) -> Result<(), Missed> {
    stage.tell("person: assigns \"Update client list\" to Megan Bowen too");
    let began = Moment::now();
    let assignment = json!({"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": " !"});
    let edit = json!({"assignments": {MEGAN: assignment}});
    stage.planner.edit(seed::TASK, &edit).await.or_miss(stage, Step::PersonAssigns)?;
    stage
        .observe(Step::PersonAssigns, began, async || {
            let (_, document) = stage.agent.document_of(seed::TASK).await?;
            let list = document["assigned_to"].as_array().cloned().unwrap_or_default();
            match list.contains(&json!(MEGAN)) && list.contains(&json!(seed::PERSON)) && list.len() == 2 {
                true => Ok(()),
                false => Err(format!("assigned_to is {}", document["assigned_to"])),
            }
        })
        .await
}

async fn person_creates(stage: &Stage) -> Result<(), Missed> {
    stage.tell("person: makes a task \"Thank the guests\"");
    let began = Moment::now();
    let body = json!({"planId": stage.plan, "bucketId": seed::OTHER_BUCKET, "title": "Thank the guests"});
    let task = stage.planner.create(&body).await.or_miss(stage, Step::PersonCreates)?;
    let planner_id = text(&task, "id").or_miss(stage, Step::PersonCreates)?;
    stage
        .observe(Step::PersonCreates, began, async || {
            let (id, document) = stage.agent.document_of(&planner_id).await?;
            same(&document, "title", &json!("Thank the guests"))?;
            same(&document, "bucket_id", &json!(seed::OTHER_BUCKET))?;
            stage.agent.has_heard(UPDATES, &json!({"action": "created", "task_id": id, "source": "planner"}))
        })
        .await
}

async fn person_deletes(stage: &Stage) -> Result<(), Missed> {
    let (id, planner_id) = ready(stage, Step::PersonDeletes, "fax", "Fax the invitations").await?;
    stage.tell("person: deletes \"Fax the invitations\"");
    let began = Moment::now();
    stage.planner.delete(&planner_id).await.or_miss(stage, Step::PersonDeletes)?;
    stage
        .observe(Step::PersonDeletes, began, async || match stage.agent.document(&id).await? {
            None => Ok(()),
            Some(_) => Err(format!("annika:tasks:{id} is still there")),
        })
        .await?;
    stage
        .observe(Step::DeleteTold, Moment::now(), async || {
            let hears = |channel, members| stage.agent.has_heard(channel, &members);
            hears(UPDATES, json!({"action": "deleted", "task_id": id, "source": "planner"}))?;
            hears(EVENTS, json!({"type": "task_deleted", "id": id}))?;
            hears(
                SYNC,
                json!({"status": "deleted", "task_id": id, "planner_id": planner_id, "direction": "down"}),
            )
        })
        .await
}

async fn at_once(stage: &Stage) -> Result<(), Missed> {
    let (id, planner_id) = ready(stage, Step::Both, "budget", "Agree the budget").await?;
    stage.tell(
        "both:   a person renames \"Agree the budget\" while an agent sets its progress and description",
    );
    let began = Moment::now();
    let (title, edit) = ("Agree the budget by May", json!({"percent_complete": 0.75, "description": "12 k"}));
    let rename = json!({"title": title});
    let path = format!("/api/tasks/{id}");
    let person = stage.planner.edit(&planner_id, &rename);
    let agent = stage.agent.call(Method::PATCH, &path, Some(&edit));
    let (person, agent) = futures::join!(person, agent);
    person.or_miss(stage, Step::Both)?;
    expect(agent, StatusCode::OK).or_miss(stage, Step::Both)?;
    stage
        .observe(Step::Both, began, async || {
            let task = stage.planner.task(&planner_id).await?;
            same(&task, "title", &json!(title)).map_err(|why| format!("in Planner {why}"))?;
            same(&task, "percentComplete", &json!(75)).map_err(|why| format!("in Planner {why}"))?;
            let details = stage.planner.details(&planner_id).await?;
            same(&details, "description", &json!("12 k")).map_err(|why| format!("in Planner {why}"))?;
            let document = self::document(stage, &id).await?;
            same(&document, "title", &json!(title)).map_err(|why| format!("in Redis {why}"))?;
            same(&document, "description", &json!("12 k")).map_err(|why| format!("in Redis {why}"))?;
            match document["percent_complete"].as_f64() {
                Some(0.75) => Ok(()),
                _ => Err(format!("in Redis percent_complete is {}", document["percent_complete"])),
            }
        })
        .await
}

async fn told_delete(stage: &Stage) -> Result<(), Missed> {
    let (id, planner_id) = ready(stage, Step::DelTold, "band", "Hire a band").await?;
    stage.tell("agent:  DEL annika:tasks:band…  and PUBLISH");
    let began = Moment::now();
    stage.agent.del(&id).await.or_miss(stage, Step::DelTold)?;
    stage.agent.publish("deleted", &id, &Value::Null).await.or_miss(stage, Step::DelTold)?;
    stage.observe(Step::DelTold, began, async || stage.planner.absent(&planner_id).await).await
}

/// Takes a minute: two sweeps have to miss the document.
pub(super) async fn silent_delete(stage: &Stage) -> Result<(), Missed> {
    let (id, planner_id) = ready(stage, Step::DelSilent, "doves", "Release doves").await?;
    stage.tell("agent:  DEL annika:tasks:doves…  and not a word to anybody");
    let began = Moment::now();
    stage.agent.del(&id).await.or_miss(stage, Step::DelSilent)?;
    stage.observe(Step::DelSilent, began, async || stage.planner.absent(&planner_id).await).await
}

/// Makes a task by raw Redis that another step needs, and waits until it is in Planner.
async fn ready(stage: &Stage, step: Step, name: &str, title: &str) -> Result<(String, String), Missed> {
    let id = stage.id(name);
    let document = json!({"id": id, "title": title, "plan_id": stage.plan});
    let began = Moment::now();
    set(stage, step, &document, true).await?;
    let look = async || {
        let planner_id = text(&stage.planner.titled(&stage.plan, title).await?, "id")?;
        stage.agent.has_heard(SYNC, &json!({"status": "synced", "task_id": id, "planner_id": planner_id}))?;
        Ok(planner_id)
    };
    let planner_id = stage.until(step, READY, began, look).await?;
    Ok((id, planner_id))
}

/// An agent creates by HTTP.
pub(super) async fn create(stage: &Stage, step: Step, document: &Value) -> Result<(), Missed> {
    stage.made(document["title"].as_str().unwrap_or_default());
    let answer = stage.agent.call(Method::POST, "/api/tasks", Some(document)).await;
    expect(answer, StatusCode::CREATED).or_miss(stage, step).map(|_| ())
}

/// An agent creates by raw Redis, and says so or not.
pub(super) async fn set(stage: &Stage, step: Step, document: &Value, say: bool) -> Result<(), Missed> {
    stage.made(document["title"].as_str().unwrap_or_default());
    let id = document["id"].as_str().unwrap_or_default();
    stage.agent.set(id, document).await.or_miss(stage, step)?;
    if say {
        stage.agent.publish("created", id, document).await.or_miss(stage, step)?;
    }
    Ok(())
}

/// The document of a task that has to be there.
pub(super) async fn document(stage: &Stage, id: &str) -> Result<Value, Unseen> {
    stage.agent.document(id).await?.ok_or_else(|| format!("there is no annika:tasks:{id}"))
}

/// The answer's body if it has this status.
pub(super) fn expect(
    answer: Result<(StatusCode, Value), Unseen>,
    wanted: StatusCode,
) -> Result<Value, Unseen> {
    match answer? {
        (status, body) if status == wanted => Ok(body),
        (status, body) => Err(format!("the product answers {status} {body}")),
    }
}

pub(super) fn text(value: &Value, member: &str) -> Result<String, Unseen> {
    value[member].as_str().map(str::to_owned).ok_or_else(|| format!("{member} is {}", value[member]))
}

pub(super) fn same(value: &Value, member: &str, wanted: &Value) -> Result<(), Unseen> {
    if value[member] == *wanted { Ok(()) } else { Err(format!("{member} is {}", value[member])) }
}

fn starts(value: &Value, member: &str, wanted: &str) -> Result<(), Unseen> {
    match value[member].as_str() {
        Some(text) if text.starts_with(wanted) => Ok(()),
        _ => Err(format!("{member} is {}", value[member])),
    }
}

fn assigned(task: &Value, user: &str) -> Result<(), Unseen> {
    match task["assignments"].get(user) {
        Some(assignment) if !assignment.is_null() => Ok(()),
        _ => Err(format!("assignments are {}", task["assignments"])),
    }
}
