//! From canonical fields back into a document, in the document's own spelling.

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::assignees;
use super::checklist;
use super::document::Document;
use super::field::{Field, Fields, Value, same};
use super::labels;
use super::names::Names;
use super::project::{Reading, read_member, status};
use super::raw;
use super::references;
use super::spelling::{Progress, members, members_in, new_member, priority_number, priority_word};
use super::time;

/// Writes the target's values into the document: each member that says something else is written in the way it is
/// spelled, a field without a member gets one, and everything else keeps its bytes. A field that is empty in the
/// target and absent in the document stays absent; an empty value of a field that Planner knows no empty value for
/// (title, percent, priority, bucket, plan) is ignored.
///
/// Stays untouched: a member that cannot be read, an unknown priority word, an unknown `status` word, a name among
/// the assignees that is no user's, a label that is no category's, a blank checklist item. `order` is written only
/// where the document has it: Planner's order is nobody's wish.
pub fn render(doc: &Document, target: &Fields) -> Document {
    render_with(doc, target, &Names::default())
}

/// [`render`], with what the names in the document stand for. Without the categories of the plan, labels stay as
/// they are.
pub fn render_with(doc: &Document, target: &Fields, names: &Names) -> Document {
    let mut rendered = doc.clone();
    for (field, value) in target {
        match (field, value) {
            (Field::Assignees, Value::Set(ids)) => assignees::write(&mut rendered, ids, &names.users),
            (Field::Assignees, Value::Null) => {
                assignees::write(&mut rendered, &Default::default(), &names.users);
            }
            (Field::Labels, Value::Set(keys)) => labels::write(&mut rendered, keys, names),
            (Field::Labels, Value::Null) => labels::write(&mut rendered, &Default::default(), names),
            (Field::References, Value::References(links)) => write_references(&mut rendered, links),
            (Field::References, Value::Null) => write_references(&mut rendered, &Default::default()),
            (Field::Order, _) if members_in(doc, Field::Order).is_empty() => {}
            (Field::Checklist, Value::Checklist(items)) => write_checklist(&mut rendered, items),
            (Field::Checklist, Value::Null) => write_checklist(&mut rendered, &Default::default()),
            (Field::Percent, Value::Number(percent)) => write_percent(&mut rendered, *percent),
            (field, value) if value.is_empty() && !field.is_nullable() => {}
            (field, value) => write_spellings(&mut rendered, *field, value),
        }
    }
    rendered
}

fn write_spellings(doc: &mut Document, field: Field, target: &Value) {
    let mut expressed = false;
    let mut silent = None;
    for name in members_in(doc, field) {
        let Some(old) = doc.get(name) else { continue };
        match read_member(field, name, old) {
            Ok(Reading::Says(value)) if same(field, &value, target) => expressed = true,
            Ok(Reading::Says(_)) => {
                expressed = true;
                let new = spelled(field, name, Some(old), target);
                doc.set_raw(name, new);
            }
            Ok(Reading::Silent) => silent = silent.or(Some(name)),
            Ok(Reading::Unknown(_)) | Err(_) => expressed = true,
        }
    }
    if !expressed && !target.is_empty() {
        let name = silent.unwrap_or_else(|| new_member(doc, field));
        let new = spelled(field, name, None, target);
        doc.set_raw(name, new);
    }
}

/// A value as the member spells it.
fn spelled(field: Field, name: &str, old: Option<&RawValue>, target: &Value) -> Box<RawValue> {
    let old_text = || old.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let new: Json = match (field, target) {
        (Field::Description, value) if value.is_empty() => "".into(),
        (_, value) if value.is_empty() => Json::Null,
        (Field::Percent, Value::Number(percent)) => return spelled_percent(name, old, *percent),
        (Field::Priority, value) => {
            let as_number = old.is_some_and(|raw| !raw.get().starts_with('"'));
            match value {
                Value::Number(number) if as_number => (*number).into(),
                Value::Number(number) => priority_word(*number).into(),
                Value::Text(word) if as_number => priority_number(word).into(),
                Value::Text(word) => word.as_str().into(),
                _ => Json::Null,
            }
        }
        (Field::Start | Field::Due, Value::Time(new)) => {
            let writes_days =
                old_text().and_then(|old| time::canonical(&old)).is_none_or(|old| time::is_day(&old));
            match time::whole_day(new) {
                Some(day) if writes_days => day.into(),
                _ => new.as_str().into(),
            }
        }
        (_, Value::Text(text) | Value::Time(text)) => text.as_str().into(),
        (_, Value::Number(number)) => (*number).into(),
        (_, value) => serde_json::to_value(value).unwrap_or(Json::Null),
    };
    raw::raw_of(&new)
}

/// `percent_complete` is written as a fraction, except where the document writes per cent and the new value cannot
/// be taken for a fraction.
fn spelled_percent(name: &str, old: Option<&RawValue>, percent: i64) -> Box<RawValue> {
    let writes_per_cent =
        old.and_then(|raw| raw.get().parse::<f64>().ok()).is_some_and(|number| number > 1.0);
    if name == "percentComplete" || (writes_per_cent && percent > 1) {
        raw::raw(percent.to_string())
    } else {
        raw::raw_of(&(percent as f64 / 100.0).into())
    }
}

fn write_percent(doc: &mut Document, percent: i64) {
    let progress = Progress::of_percent(percent);
    let old = status(doc);
    if old.is_some_and(|old| old != progress) {
        doc.set("status", &progress.word().into());
    }
    let spoken =
        members(Field::Percent).iter().any(|name| doc.get(name).is_some_and(|raw| raw.get() != "null"));
    // A document that tells its progress by `status` alone needs no number for what the word already says.
    if spoken || old.is_none() || progress.percent() != percent {
        write_spellings(doc, Field::Percent, &Value::Number(percent));
    }
}

fn write_checklist(doc: &mut Document, items: &checklist::Items) {
    let present = members_in(doc, Field::Checklist);
    if present.is_empty() {
        let name = new_member(doc, Field::Checklist);
        if let Some(list) = checklist::write(name, None, items) {
            doc.set_raw(name, list);
        }
    }
    for name in present {
        if let Some(list) = checklist::write(name, doc.get(name), items) {
            doc.set_raw(name, list);
        }
    }
}

fn write_references(doc: &mut Document, links: &references::Links) {
    let name = members(Field::References)[0];
    if let Some(new) = references::write(doc.get(name), links) {
        doc.set_raw(name, new);
    }
}
