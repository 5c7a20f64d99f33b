//! The rules that the API holds task documents and ids to.

use super::document::Document;
use super::field::{Field, Fields, Value};
use super::names::Names;
use super::problem::FieldProblem;
use super::project::read;
use super::spelling::{canonical_priority, members_in};
use super::time;

/// The longest task id, in bytes.
const MAX_ID_BYTES: usize = 256;

/// Ids that would make the task's key equal a channel's name (`annika:tasks:updates`, `annika:tasks:sync`).
const RESERVED_IDS: [&str; 2] = ["updates", "sync"];

/// Checks a document that a client wants to store.
///
/// # Errors
/// Every broken rule: a title is required and not blank; types, dates, ranges, words and the shape of the checklist
/// must be readable; the due date must not lie before the start; an `id` in the document must be a valid one.
pub fn validate(doc: &Document) -> Result<(), Vec<FieldProblem>> {
    let mut problems = Vec::new();
    match doc.get("title").map(|raw| serde_json::from_str::<Option<String>>(raw.get())) {
        Some(Ok(Some(title))) if !title.trim().is_empty() => {}
        Some(Err(_)) => {}
        None => problems.push(FieldProblem::new("title", "required", "is required")),
        Some(Ok(_)) => problems.push(FieldProblem::new("title", "required", "must not be blank")),
    }
    let projection = read(doc, None, &Names::default(), &mut problems);
    if let Some(raw) = doc.get("priority")
        && let Ok(word) = serde_json::from_str::<String>(raw.get())
        && canonical_priority(&word).is_none()
    {
        problems.push(FieldProblem::new(
            "priority",
            "enum",
            "must be urgent, high (important), normal (medium), low, or a whole number from 0 to 10",
        ));
    }
    if let Some(raw) = doc.get("status")
        && !raw.get().starts_with('"')
        && raw.get() != "null"
    {
        problems.push(FieldProblem::wrong_type("status", "a text"));
    }
    if let Some(raw) = doc.get("id") {
        match serde_json::from_str::<String>(raw.get()) {
            Ok(id) => problems.extend(valid_id(&id).err()),
            Err(_) => problems.push(FieldProblem::wrong_type("id", "a text")),
        }
    }
    if let Err(mut problem) = dates_in_order(&projection.fields) {
        problem.field = members_in(doc, Field::Due).first().copied().unwrap_or("due_date").to_owned();
        problems.push(problem);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Checks that a task does not start after it is due, which Planner answers with 400.
///
/// # Errors
/// The rule `order` for the field `due`.
pub fn dates_in_order(fields: &Fields) -> Result<(), FieldProblem> {
    match (fields.get(&Field::Start), fields.get(&Field::Due)) {
        (Some(Value::Time(start)), Some(Value::Time(due))) if time::before(due, start) => {
            Err(FieldProblem::new(Field::Due.name(), "order", "must not lie before the start"))
        }
        _ => Ok(()),
    }
}

/// Checks a task id: it becomes the last part of the key `annika:tasks:{id}`.
///
/// # Errors
/// The rule `id` for the field `id`.
pub fn valid_id(id: &str) -> Result<(), FieldProblem> {
    let message = if id.is_empty() {
        "must not be empty".to_owned()
    } else if id.len() > MAX_ID_BYTES {
        format!("must have at most {MAX_ID_BYTES} bytes")
    } else if id.chars().any(char::is_control) {
        "must not contain control characters".to_owned()
    } else if id.trim() != id {
        "must not begin or end with a blank".to_owned()
    } else if id.contains(':') {
        "must not contain a colon, which separates the parts of a key".to_owned()
    } else if RESERVED_IDS.contains(&id) {
        "is reserved: a channel has this name".to_owned()
    } else {
        return Ok(());
    };
    Err(FieldProblem::new("id", "id", message))
}
