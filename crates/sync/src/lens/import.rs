//! A new document for a task that was made in Planner.

use serde_json::{Value as Json, json};

use super::document::Document;
use super::field::{Field, Value};
use super::planner;
use super::references;
use super::spelling::{Progress, priority_word};
use super::time;

/// The document for a Planner task, in snake_case. Description, checklist and links are in it only if the details were
/// read: a document says nothing about what is not known. Whole days (10:00 UTC) are written as a date. Labels are
/// left to [`super::render_with`], which knows their names.
pub fn import(annika_id: &str, planner_task: &Json, details: Option<&Json>) -> Document {
    let fields = planner::fields(planner_task, details);
    let text = |field| match fields.get(&field) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let number = |field| match fields.get(&field) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    };
    let time = |field| match fields.get(&field) {
        Some(Value::Time(time)) => time::whole_day(time).unwrap_or(time).into(),
        _ => Json::Null,
    };
    let mut doc = Document::empty();
    let mut add = |name: &str, value: Json| doc.set(name, &value);
    add("id", annika_id.into());
    add("title", text(Field::Title).unwrap_or("Untitled Task").into());
    let percent = number(Field::Percent).unwrap_or(0);
    add("status", Progress::of_percent(percent).word().into());
    add("percent_complete", (percent as f64 / 100.0).into());
    add("priority", priority_word(number(Field::Priority).unwrap_or(5)).into());
    let assignees = match fields.get(&Field::Assignees) {
        Some(Value::Set(ids)) => ids.iter().map(String::as_str).collect(),
        _ => json!([]),
    };
    add("assigned_to", assignees);
    add("start_date", time(Field::Start));
    add("due_date", time(Field::Due));
    if let Some(details) = details {
        add("description", text(Field::Description).unwrap_or_default().into());
        add("checklist_items", checklist(details));
        if let Some(Value::References(links)) = fields.get(&Field::References)
            && let Some(links) = references::write(None, links)
        {
            doc.set_raw("references", links);
        }
    }
    let mut add = |name: &str, value: Json| doc.set(name, &value);
    for (name, field) in [("bucket_id", Field::Bucket), ("plan_id", Field::Plan)] {
        if let Some(id) = text(field) {
            add(name, id.into());
        }
    }
    if let Some(hint) = text(Field::Order) {
        add("order", hint.into());
    }
    add("source", "planner".into());
    for (name, member) in
        [("external_id", "id"), ("created_at", "createdDateTime"), ("completed_at", "completedDateTime")]
    {
        if let Some(value) = planner_task.get(member).filter(|value| value.is_string()) {
            add(name, value.clone());
        }
    }
    doc
}

/// The items in Planner's order.
fn checklist(details: &Json) -> Json {
    let mut items: Vec<_> = planner::checklist_entries(details).collect();
    let hint = |item: &Json| item.get("orderHint").and_then(Json::as_str).unwrap_or_default().to_owned();
    items.sort_by_key(|(_, _, entry)| hint(entry));
    items
        .into_iter()
        .map(|(id, item, _)| json!({"id": id, "title": item.title, "checked": item.checked}))
        .collect()
}
