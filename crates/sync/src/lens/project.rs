//! From a task document to its canonical fields.

use serde_json::value::RawValue;

use super::assignees;
use super::checklist;
use super::document::Document;
use super::field::{Field, Fields, Value, same};
use super::labels;
use super::names::Names;
use super::problem::{DocumentError, FieldProblem};
use super::references;
use super::spelling::{Progress, canonical_priority, is_order_hint, members_in};
use super::time;

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// The canonical values. A missing field is one that the document says nothing about.
    pub fields: Fields,
    /// Values that lost against another spelling of the same field that changed too: field, member, value.
    pub losers: Vec<(Field, String, Value)>,
    /// What cannot be expressed in Planner and stays as it is: names that are no users', unknown priority words,
    /// labels that are no category's, elements of `references` that are no links, an `order` that is no text.
    pub unresolved: Vec<(Field, String)>,
    /// Fields whose members contradict each other. Render the agreed value and store the document even if nothing
    /// else changed: a stale member would look like an edit the next time.
    pub disagreeing: Vec<Field>,
}

/// What one member says about its field.
#[derive(Debug, PartialEq)]
pub(crate) enum Reading {
    /// Nothing: `null` where Planner knows no empty value, or a blank title.
    Silent,
    /// A canonical value.
    Says(Value),
    /// A word that Planner has no place for.
    Unknown(String),
}

/// Reads the document's fields.
///
/// Where two spellings of one field (or `status` and a percent member) contradict each other, the one that differs
/// from `base` counts; if both do, snake_case before camelCase and percent before status, and the other stands in
/// [`Projection::losers`]. Without a base, empty and 0 % count as unchanged.
///
/// Old checklist ids of Planner are no GUIDs; they are recognised by standing in `base`. Where nothing was agreed yet
/// but Planner's values are known, pass those.
///
/// # Errors
/// [`DocumentError::Field`] with the first member that cannot be read, and the rule it breaks.
pub fn project(doc: &Document, base: Option<&Fields>) -> Result<Projection, DocumentError> {
    project_with(doc, base, &Names::default())
}

/// [`project`], with what the names in the document stand for.
///
/// # Errors
/// As [`project`].
pub fn project_with(
    doc: &Document,
    base: Option<&Fields>,
    names: &Names,
) -> Result<Projection, DocumentError> {
    let mut problems = Vec::new();
    let projection = read(doc, base, names, &mut problems);
    match problems.into_iter().next() {
        Some(problem) => Err(problem.into()),
        None => Ok(projection),
    }
}

/// The plan that a document names.
pub fn named_plan(doc: &Document) -> Option<String> {
    let read = |name: &&str| match read_member(Field::Plan, name, doc.get(name)?) {
        Ok(Reading::Says(Value::Text(plan))) => Some(plan),
        _ => None,
    };
    members_in(doc, Field::Plan).iter().find_map(read)
}

/// The task that a document names as its parent, unless that is itself.
pub fn named_parent(doc: &Document, id: &str) -> Option<String> {
    let read = |name: &str| serde_json::from_str::<String>(doc.get(name)?.get()).ok();
    let parent = ["parent_task_id", "parentTaskId"].into_iter().find_map(read)?;
    Some(parent.trim().to_owned()).filter(|parent| !parent.is_empty() && parent != id)
}

/// The texts among a document's assignees that are no object ids: names for the directory.
pub fn assignee_names(doc: &Document) -> Vec<String> {
    assignees::read(doc, None, &Default::default()).map(|said| said.names).unwrap_or_default()
}

/// Reads what can be read and collects the problems.
pub(crate) fn read(
    doc: &Document,
    base: Option<&Fields>,
    names: &Names,
    problems: &mut Vec<FieldProblem>,
) -> Projection {
    let mut projection = Projection::default();
    for field in Field::ALL {
        let agreed = base.and_then(|base| base.get(&field));
        let outcome = match field {
            Field::Assignees => read_assignees(doc, agreed, names, &mut projection),
            Field::Percent => read_percent(doc, agreed, names, &mut projection, problems),
            _ => read_spellings(doc, field, agreed, names, &mut projection, problems),
        };
        match outcome {
            Ok(Some(value)) => {
                projection.fields.insert(field, value);
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    projection
}

fn read_assignees(
    doc: &Document,
    base: Option<&Value>,
    names: &Names,
    projection: &mut Projection,
) -> Result<Option<Value>, FieldProblem> {
    let base = match base {
        Some(Value::Set(ids)) => Some(ids),
        _ => None,
    };
    let said = assignees::read(doc, base, &names.users)?;
    for name in said.names {
        let name = (Field::Assignees, name);
        if !projection.unresolved.contains(&name) {
            projection.unresolved.push(name);
        }
    }
    let losers =
        said.losers.into_iter().map(|(name, ids)| (Field::Assignees, name.to_owned(), Value::Set(ids)));
    projection.losers.extend(losers);
    if said.contradiction {
        projection.disagreeing.push(Field::Assignees);
    }
    Ok(said.value.map(Value::Set))
}

fn read_percent(
    doc: &Document,
    base: Option<&Value>,
    names: &Names,
    projection: &mut Projection,
    problems: &mut Vec<FieldProblem>,
) -> Result<Option<Value>, FieldProblem> {
    let agreed = match base {
        Some(Value::Number(percent)) => *percent,
        _ => 0,
    };
    let number = match read_spellings(doc, Field::Percent, base, names, projection, problems)? {
        Some(Value::Number(percent)) => Some(percent),
        _ => None,
    };
    let progress = status(doc);
    let percent = match (number, progress) {
        (None, None) => return Ok(None),
        (Some(percent), None) => percent,
        (None, Some(progress)) if progress == Progress::of_percent(agreed) => agreed,
        (None, Some(progress)) => progress.percent(),
        (Some(percent), Some(progress)) if progress == Progress::of_percent(percent) => percent,
        (Some(percent), Some(progress)) => {
            if !projection.disagreeing.contains(&Field::Percent) {
                projection.disagreeing.push(Field::Percent);
            }
            let status_changed = progress != Progress::of_percent(agreed);
            if status_changed && percent == agreed {
                progress.percent()
            } else {
                if status_changed {
                    let lost = Value::Number(progress.percent());
                    projection.losers.push((Field::Percent, "status".to_owned(), lost));
                }
                percent
            }
        }
    };
    Ok(Some(Value::Number(percent)))
}

/// What the document's `status` says about progress.
pub(crate) fn status(doc: &Document) -> Option<Progress> {
    Progress::of_word(&serde_json::from_str::<String>(doc.get("status")?.get()).ok()?)
}

fn read_spellings(
    doc: &Document,
    field: Field,
    base: Option<&Value>,
    names: &Names,
    projection: &mut Projection,
    problems: &mut Vec<FieldProblem>,
) -> Result<Option<Value>, FieldProblem> {
    let mut said: Vec<(&str, Value)> = Vec::new();
    let mut disagree = false;
    for name in members_in(doc, field) {
        let Some(raw) = doc.get(name) else { continue };
        if field == Field::Checklist && raw.get() != "null" {
            let agreed = match base {
                Some(Value::Checklist(items)) => Some(items),
                _ => None,
            };
            match checklist::read(name, raw, agreed) {
                Ok((items, contradiction)) => {
                    disagree |= contradiction;
                    said.push((name, Value::Checklist(items)));
                }
                Err(problem) => problems.push(problem),
            }
            continue;
        }
        let mut unknown = Vec::new();
        let open = match field {
            Field::Labels => labels::read(raw, names, &mut unknown).map(Value::Set),
            Field::References => {
                let agreed = match base {
                    Some(Value::References(links)) => Some(links),
                    _ => None,
                };
                references::read(raw, agreed, &mut unknown).map(Value::References)
            }
            _ => None,
        };
        projection.unresolved.extend(unknown.into_iter().map(|what| (field, what)));
        if matches!(field, Field::Labels | Field::References) {
            said.extend(open.map(|value| (name, value)));
            continue;
        }
        match read_member(field, name, raw) {
            Ok(Reading::Says(value)) => said.push((name, value)),
            Ok(Reading::Unknown(word)) => projection.unresolved.push((field, word)),
            Ok(Reading::Silent) => {}
            Err(problem) => problems.push(problem),
        }
    }
    let unchanged = match field {
        Field::Percent => Some(Value::Number(0)),
        field if field.is_nullable() => Some(Value::Null),
        _ => None,
    };
    let unchanged = base.or(unchanged.as_ref());
    let changed = |value: &Value| unchanged.is_none_or(|unchanged| !same(field, value, unchanged));
    let Some(winner) = said.iter().position(|(_, value)| changed(value)).or((!said.is_empty()).then_some(0))
    else {
        return Ok(None);
    };
    let (_, value) = said.swap_remove(winner);
    for (name, other) in said {
        if !same(field, &other, &value) {
            disagree = true;
            if changed(&other) {
                projection.losers.push((field, name.to_owned(), other));
            }
        }
    }
    if disagree {
        projection.disagreeing.push(field);
    }
    Ok(Some(value))
}

/// Reads one member of a field that is plain: not the assignees, the checklist, the labels or the references.
pub(crate) fn read_member(field: Field, name: &str, raw: &RawValue) -> Result<Reading, FieldProblem> {
    if raw.get() == "null" {
        return Ok(match field {
            Field::Checklist => Reading::Says(Value::Checklist(Default::default())),
            field if field.is_nullable() => Reading::Says(Value::Null),
            _ => Reading::Silent,
        });
    }
    match field {
        Field::Percent => percent(name, raw),
        Field::Priority => priority(name, raw),
        Field::Start | Field::Due => {
            let text = text(name, raw, "a date (YYYY-MM-DD) or a date-time (RFC 3339)")?;
            if text.trim().is_empty() {
                return Ok(Reading::Says(Value::Null));
            }
            match time::canonical(&text) {
                Some(time) => Ok(Reading::Says(Value::Time(time))),
                None => Err(FieldProblem::new(
                    name,
                    "date",
                    "must be a date (YYYY-MM-DD) or a date-time (RFC 3339)",
                )),
            }
        }
        Field::Description => {
            let text = text(name, raw, "a text")?;
            Ok(Reading::Says(if text.is_empty() { Value::Null } else { Value::Text(text) }))
        }
        Field::Order => Ok(match serde_json::from_str::<String>(raw.get()) {
            Ok(text) if text.trim().is_empty() && !is_order_hint(&text) => Reading::Silent,
            Ok(text) => Reading::Says(Value::Text(text)),
            // Agents number their tasks, too: that is theirs.
            Err(_) => Reading::Unknown(raw.get().to_owned()),
        }),
        Field::Title
        | Field::Bucket
        | Field::Plan
        | Field::Assignees
        | Field::Checklist
        | Field::Labels
        | Field::References => {
            let text = text(name, raw, "a text")?;
            Ok(if text.trim().is_empty() { Reading::Silent } else { Reading::Says(Value::Text(text)) })
        }
    }
}

fn text(name: &str, raw: &RawValue, expected: &str) -> Result<String, FieldProblem> {
    serde_json::from_str(raw.get()).map_err(|_| FieldProblem::wrong_type(name, expected))
}

fn number(raw: &RawValue) -> Option<f64> {
    let text = raw.get();
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// `percent_complete` is a fraction up to 1 and per cent above; `percentComplete` is always per cent.
fn percent(name: &str, raw: &RawValue) -> Result<Reading, FieldProblem> {
    let number = number(raw).ok_or_else(|| FieldProblem::wrong_type(name, "a number"))?;
    let (percent, range) = match name {
        "percentComplete" => (number, "must be between 0 and 100"),
        _ if number <= 1.0 => {
            (number * 100.0, "must be between 0 and 1, or above 1 and up to 100 for per cent")
        }
        _ => (number, "must be between 0 and 1, or above 1 and up to 100 for per cent"),
    };
    if !(0.0..=100.0).contains(&percent) {
        return Err(FieldProblem::new(name, "range", range));
    }
    Ok(Reading::Says(Value::Number(percent.round() as i64)))
}

fn priority(name: &str, raw: &RawValue) -> Result<Reading, FieldProblem> {
    if let Ok(word) = serde_json::from_str::<String>(raw.get()) {
        return Ok(match canonical_priority(&word) {
            Some(word) => Reading::Says(Value::Text(word.to_owned())),
            None if word.trim().is_empty() => Reading::Silent,
            None => Reading::Unknown(word),
        });
    }
    match number(raw) {
        None => Err(FieldProblem::wrong_type(name, "urgent, high, normal, low or a whole number")),
        Some(number) if number.fract() == 0.0 && (0.0..=10.0).contains(&number) => {
            Ok(Reading::Says(Value::Number(number as i64)))
        }
        Some(_) => Err(FieldProblem::new(name, "range", "must be a whole number from 0 to 10")),
    }
}
