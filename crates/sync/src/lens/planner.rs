//! Planner's JSON: what a task says, and the bodies of requests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::checklist::is_guid;
use super::field::{ChecklistItem, Field, Fields, Reference, Value, same};
use super::names::is_category;
use super::references::{self, Links};
use super::spelling::{is_order_hint, priority_number};
use super::time::{self, DayTime};

/// Required in every assignment that is written (Graph, plannerAssignment).
const ASSIGNMENT: &str = "#microsoft.graph.plannerAssignment";
/// Required in every checklist item that is written (Graph, plannerChecklistItem).
const CHECKLIST_ITEM: &str = "#microsoft.graph.plannerChecklistItem";
/// Required in every link that is written (Graph, plannerExternalReference).
const REFERENCE: &str = "#microsoft.graph.plannerExternalReference";
/// The order hint of something new: before everything (Graph, Planner order hints).
const FIRST: &str = " !";

/// What a `plannerTask` and, where they were read, its `plannerTaskDetails` say.
/// A member that is absent or that cannot be read is not in the answer, nor are an empty bucket, a blank title and
/// blank checklist items: a document has no way to say those.
pub fn fields(task: &Json, details: Option<&Json>) -> Fields {
    let mut fields = Fields::new();
    for (field, name) in [
        (Field::Title, "title"),
        (Field::Bucket, "bucketId"),
        (Field::Plan, "planId"),
        (Field::Order, "orderHint"),
    ] {
        if let Some(text) = task.get(name).and_then(Json::as_str).filter(|text| !text.trim().is_empty()) {
            fields.insert(field, Value::Text(text.to_owned()));
        }
    }
    for (field, name) in [(Field::Percent, "percentComplete"), (Field::Priority, "priority")] {
        if let Some(number) = task.get(name).and_then(Json::as_i64) {
            fields.insert(field, Value::Number(number));
        }
    }
    for (field, name) in [(Field::Start, "startDateTime"), (Field::Due, "dueDateTime")] {
        let value = match task.get(name) {
            Some(Json::Null) => Some(Value::Null),
            Some(Json::String(text)) => time::canonical(text).map(Value::Time),
            _ => None,
        };
        if let Some(value) = value {
            fields.insert(field, value);
        }
    }
    if let Some(assignments) = task.get("assignments").and_then(Json::as_object) {
        let ids = assignments.iter().filter(|(id, value)| value.is_object() && !id.starts_with('@'));
        fields.insert(Field::Assignees, Value::Set(ids.map(|(id, _)| id.to_ascii_lowercase()).collect()));
    }
    if let Some(applied) = task.get("appliedCategories").and_then(Json::as_object) {
        let set = applied.iter().filter(|(key, set)| set.as_bool() == Some(true) && is_category(key));
        fields.insert(Field::Labels, Value::Set(set.map(|(key, _)| key.clone()).collect()));
    }
    let Some(details) = details else { return fields };
    match details.get("description") {
        Some(Json::String(text)) if !text.is_empty() => {
            fields.insert(Field::Description, Value::Text(text.clone()));
        }
        Some(Json::String(_) | Json::Null) => {
            fields.insert(Field::Description, Value::Null);
        }
        _ => {}
    }
    if details.get("checklist").is_some_and(Json::is_object) {
        let items = checklist_entries(details).map(|(id, item, _)| (id, item)).collect();
        fields.insert(Field::Checklist, Value::Checklist(items));
    }
    if let Some(entries) = details.get("references").and_then(Json::as_object) {
        fields.insert(Field::References, Value::References(references(entries)));
    }
    fields
}

/// The links of task details. An entry whose key is no link is left out, and is never touched.
fn references(entries: &Map<String, Json>) -> Links {
    let mut links = Links::new();
    for (key, entry) in entries.iter().filter(|(_, entry)| entry.is_object()) {
        let url = references::decoded(key);
        let is_usual = references::encoded(&url) == *key;
        if !references::is_link(&url) || (!is_usual && links.contains_key(&url)) {
            continue;
        }
        let text = |name: &str| entry.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let kind = Some(text("type")).filter(|kind| !kind.is_empty());
        let kind = Some(kind.unwrap_or_else(|| references::OTHER.to_owned()));
        let key = (!is_usual).then(|| key.clone());
        links.insert(url, Reference { alias: Some(text("alias")), kind, key });
    }
    links
}

/// The checklist items of task details: id, item, and the entry itself.
pub(crate) fn checklist_entries(details: &Json) -> impl Iterator<Item = (String, ChecklistItem, &Json)> {
    let entries = details.get("checklist").and_then(Json::as_object).into_iter().flatten();
    entries.filter_map(|(id, entry)| {
        let title = entry.get("title")?.as_str().filter(|title| !title.trim().is_empty())?;
        let checked = entry.get("isChecked").and_then(Json::as_bool).unwrap_or(false);
        let id = if is_guid(id) { id.to_ascii_lowercase() } else { id.clone() };
        Some((id, ChecklistItem { title: title.to_owned(), checked }, entry))
    })
}

/// What Planner holds after these values were sent: whole days as instants, priority words as numbers. Keep this as
/// the agreed value, so that a later step to another instant of the day, or another number of the band, is seen.
///
/// A whole day is sent as 10:00 UTC; [`stored_at`] has another time for it. If the other date is an instant of that day which would come on the wrong side
/// of 10:00, the whole day takes that instant, because Planner refuses a start after the due date.
pub fn stored(fields: &Fields) -> Fields {
    stored_at(fields, &DayTime::default())
}

/// [`stored`], with the time of day for whole days.
pub fn stored_at(fields: &Fields, time: &DayTime) -> Fields {
    let raw = |field| match fields.get(&field) {
        Some(Value::Time(text)) => Some(text.as_str()),
        _ => None,
    };
    let mut stored = fields.clone();
    for (field, value) in &mut stored {
        match (field, &*value) {
            (Field::Start, Value::Time(start)) => {
                *value =
                    Value::Time(sent(time, start, raw(Field::Due), |start, due| time::before(due, start)));
            }
            (Field::Due, Value::Time(due)) => {
                *value = Value::Time(sent(time, due, raw(Field::Start), time::before));
            }
            (Field::Priority, Value::Text(word)) => *value = Value::Number(priority_number(word)),
            (Field::Assignees, Value::Null) => *value = Value::Set(BTreeSet::new()),
            (Field::Checklist, Value::Null) => *value = Value::Checklist(BTreeMap::new()),
            (Field::Labels, Value::Null) => *value = Value::Set(BTreeSet::new()),
            (Field::References, Value::Null) => *value = Value::References(BTreeMap::new()),
            (Field::References, Value::References(links)) => *value = Value::References(said(links)),
            (Field::Description, value_) if value_.is_empty() => *value = Value::Null,
            _ => {}
        }
    }
    stored
}

/// The links with what Planner makes of silence about them.
fn said(links: &Links) -> Links {
    let said = |link: &Reference| Reference {
        alias: Some(link.alias.clone().unwrap_or_default()),
        kind: Some(link.kind.clone().unwrap_or_else(|| references::OTHER.to_owned())),
        key: link.key.clone(),
    };
    links.iter().map(|(url, link)| (url.clone(), said(link))).collect()
}

fn sent(time: &DayTime, this: &str, other: Option<&str>, wrong_side: impl Fn(&str, &str) -> bool) -> String {
    let instant = time.instant(this);
    match other {
        Some(other)
            if time::is_day(this)
                && !time::is_day(other)
                && time::day(other) == this
                && wrong_side(&instant, other) =>
        {
            other.to_owned()
        }
        _ => instant,
    }
}

/// The changes with instants for whole days, as they stand beside what Planner has.
pub fn timed(changes: &Fields, remote: &Fields, time: &DayTime) -> Fields {
    let mut whole = remote.clone();
    whole.extend(changes.iter().map(|(field, value)| (*field, value.clone())));
    let whole = stored_at(&whole, time);
    let timed = |(field, value): (&Field, &Value)| {
        let date = matches!(field, Field::Start | Field::Due).then(|| whole.get(field).cloned()).flatten();
        (*field, date.unwrap_or_else(|| value.clone()))
    };
    changes.iter().map(timed).collect()
}

/// The body of `POST /planner/tasks`: the task's members only, since details are a resource of their own.
/// Empty values are left out.
pub fn create_body(fields: &Fields) -> Json {
    let mut body = Map::new();
    for (field, value) in &stored(fields) {
        if value.is_empty() {
            continue;
        }
        match (field, value) {
            (Field::Assignees, Value::Set(ids)) => {
                body.insert(
                    "assignments".to_owned(),
                    ids.iter().map(|id| (id.clone(), assignment())).collect(),
                );
            }
            (Field::Labels, Value::Set(keys)) => {
                let applied = keys.iter().map(|key| (key.clone(), true.into())).collect();
                body.insert("appliedCategories".to_owned(), Json::Object(applied));
            }
            (Field::Order, Value::Text(hint)) if !is_order_hint(hint) => {}
            (field, value) => {
                if let (Some(name), Some(json)) = (task_member(*field), scalar(value)) {
                    body.insert(name.to_owned(), json);
                }
            }
        }
    }
    Json::Object(body)
}

/// The bodies of PATCH for the task and for its details, with nothing in them that Planner already has; `None`
/// where nothing is left. A plan cannot be patched (moving a task is creating it anew), so it is never in a body; nor
/// is an order hint that Planner made itself, which it would refuse.
pub fn patch_bodies(changes: &Fields, remote: &Fields) -> (Option<Json>, Option<Json>) {
    let mut target = remote.clone();
    target.extend(changes.iter().map(|(field, value)| (*field, value.clone())));
    let target = stored(&target);
    let (mut task, mut details) = (Map::new(), Map::new());
    for (field, change) in changes {
        if remote.get(field).is_some_and(|remote| same(*field, change, remote)) {
            continue;
        }
        let Some(value) = target.get(field) else { continue };
        match (field, value) {
            (Field::Plan, _) => {}
            (Field::Assignees, Value::Set(ids)) => {
                let patch = assignments_patch(ids, remote.get(field));
                if !patch.is_empty() {
                    task.insert("assignments".to_owned(), patch.into());
                }
            }
            (Field::Labels, Value::Set(keys)) => {
                let patch = labels_patch(keys, remote.get(field));
                if !patch.is_empty() {
                    task.insert("appliedCategories".to_owned(), patch.into());
                }
            }
            (Field::References, Value::References(links)) => {
                let patch = references_patch(links, remote.get(field));
                if !patch.is_empty() {
                    details.insert("references".to_owned(), patch.into());
                }
            }
            (Field::Order, Value::Text(hint)) if !is_order_hint(hint) => {}
            (Field::Description, value) => {
                details.insert("description".to_owned(), scalar(value).unwrap_or_else(|| "".into()));
            }
            (Field::Checklist, Value::Checklist(items)) => {
                let patch = checklist_patch(items, remote.get(field));
                if !patch.is_empty() {
                    details.insert("checklist".to_owned(), patch.into());
                }
            }
            (field, value) => {
                let json = scalar(value).or_else(|| field.is_nullable().then_some(Json::Null));
                if let (Some(name), Some(json)) = (task_member(*field), json) {
                    task.insert(name.to_owned(), json);
                }
            }
        }
    }
    let body = |members: Map<String, Json>| (!members.is_empty()).then_some(Json::Object(members));
    (body(task), body(details))
}

fn task_member(field: Field) -> Option<&'static str> {
    match field {
        Field::Title => Some("title"),
        Field::Percent => Some("percentComplete"),
        Field::Priority => Some("priority"),
        Field::Start => Some("startDateTime"),
        Field::Due => Some("dueDateTime"),
        Field::Bucket => Some("bucketId"),
        Field::Plan => Some("planId"),
        Field::Order => Some("orderHint"),
        Field::Assignees | Field::Labels | Field::Description | Field::Checklist | Field::References => None,
    }
}

/// A plain value; `None` for everything empty.
fn scalar(value: &Value) -> Option<Json> {
    match value {
        Value::Text(text) | Value::Time(text) if !text.is_empty() => Some(text.as_str().into()),
        Value::Number(number) => Some((*number).into()),
        _ => None,
    }
}

fn assignment() -> Json {
    json!({"@odata.type": ASSIGNMENT, "orderHint": FIRST})
}

fn assignments_patch(target: &BTreeSet<String>, remote: Option<&Value>) -> Map<String, Json> {
    let nobody = BTreeSet::new();
    let remote = match remote {
        Some(Value::Set(ids)) => ids,
        _ => &nobody,
    };
    let added = target.difference(remote).map(|id| (id.clone(), assignment()));
    let removed = remote.difference(target).map(|id| (id.clone(), Json::Null));
    added.chain(removed).collect()
}

fn checklist_patch(target: &BTreeMap<String, ChecklistItem>, remote: Option<&Value>) -> Map<String, Json> {
    let nothing = BTreeMap::new();
    let remote = match remote {
        Some(Value::Checklist(items)) => items,
        _ => &nothing,
    };
    let mut patch: Map<String, Json> =
        remote.keys().filter(|id| !target.contains_key(*id)).map(|id| (id.clone(), Json::Null)).collect();
    for (id, item) in target {
        let mut entry = Map::from_iter([("@odata.type".to_owned(), Json::from(CHECKLIST_ITEM))]);
        let old = remote.get(id);
        if old.is_none_or(|old| old.title != item.title) {
            entry.insert("title".to_owned(), item.title.as_str().into());
        }
        if old.is_none_or(|old| old.checked != item.checked) {
            entry.insert("isChecked".to_owned(), item.checked.into());
        }
        if old.is_none() {
            entry.insert("orderHint".to_owned(), FIRST.into());
        }
        if entry.len() > 1 {
            patch.insert(id.clone(), entry.into());
        }
    }
    patch
}

/// `true` applies a category, `false` takes it off; one that is not named stays as it is.
fn labels_patch(target: &BTreeSet<String>, remote: Option<&Value>) -> Map<String, Json> {
    let nothing = BTreeSet::new();
    let remote = match remote {
        Some(Value::Set(keys)) => keys,
        _ => &nothing,
    };
    let added = target.difference(remote).map(|key| (key.clone(), true.into()));
    let removed = remote.difference(target).map(|key| (key.clone(), false.into()));
    added.chain(removed).collect()
}

fn references_patch(target: &Links, remote: Option<&Value>) -> Map<String, Json> {
    let nothing = Links::new();
    let remote = match remote {
        Some(Value::References(links)) => links,
        _ => &nothing,
    };
    let key_of =
        |url: &String, link: &Reference| link.key.clone().unwrap_or_else(|| references::encoded(url));
    let removed = remote.iter().filter(|(url, _)| !target.contains_key(*url));
    let mut patch: Map<String, Json> = removed.map(|(url, link)| (key_of(url, link), Json::Null)).collect();
    for (url, link) in target {
        let old = remote.get(url);
        let mut entry = Map::from_iter([("@odata.type".to_owned(), Json::from(REFERENCE))]);
        let mut add = |name: &str, new: &Option<String>, old: Option<&Option<String>>| {
            if let Some(new) = new.as_ref().filter(|new| old.is_none_or(|old| old.as_ref() != Some(*new))) {
                entry.insert(name.to_owned(), new.as_str().into());
            }
        };
        add("alias", &link.alias, old.map(|old| &old.alias));
        add("type", &link.kind, old.map(|old| &old.kind));
        match old {
            None => drop(entry.insert("previewPriority".to_owned(), FIRST.into())),
            Some(_) if entry.len() == 1 => continue,
            Some(_) => {}
        }
        patch.insert(key_of(url, old.unwrap_or(link)), entry.into());
    }
    patch
}
