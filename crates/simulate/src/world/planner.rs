//! A model of Planner: tasks and details with their own ETags, the per-field conflict rule, lists of the past.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json, json};

/// Id of our own application.
pub const APP: &str = "app-of-annika";

/// Who made a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    App,
    Person,
}

/// One of a task's two resources.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    body: Map<String, Json>,
    /// The version in which a property last changed, by path.
    changed: BTreeMap<String, u64>,
    /// Properties that a person set last, by path.
    persons: BTreeSet<String>,
    version: u64,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub task: Resource,
    pub details: Resource,
    /// The task as lists showed it, with the time from which on; `None` = deleted.
    past: Vec<(i64, Option<Json>)>,
}

/// Planner.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    pub tasks: BTreeMap<String, Task>,
    /// Ids of tasks that were deleted.
    pub deleted: BTreeMap<String, Task>,
    /// An edit of the details moves the ETag of the task as well (not known of the real one).
    pub details_move_task: bool,
    /// Writes that changed nothing.
    pub echoes: u64,
    versions: u64,
    ids: u64,
    /// Which task has an id of its creator's.
    external: BTreeMap<[String; 2], String>,
}

const TASK: &str = "1-Task  ";
const DETAILS: &str = "1-TaskDetails ";

/// The ETag of a version, ordered as Planner's are.
pub fn etag(kind: &str, version: u64) -> String {
    let mut rest = version * 4;
    let mut digits = [b'@'; 16];
    for digit in digits.iter_mut().rev() {
        *digit = b'@' + u8::try_from(rest % 64).expect("below 64");
        rest /= 64;
    }
    format!("W/\"{}\"", STANDARD.encode(format!("'{kind}{}'", String::from_utf8_lossy(&digits))))
}

fn hint(version: u64) -> String {
    format!("85{:08}PZ", 90_000_000 - version)
}

fn version_of(kind: &str, etag: &str) -> Option<u64> {
    if etag == "*" {
        return Some(u64::MAX);
    }
    let text = STANDARD.decode(etag.strip_prefix("W/\"")?.strip_suffix('"')?).ok()?;
    let digits = text.strip_prefix(b"'")?.strip_prefix(kind.as_bytes())?.strip_suffix(b"'")?;
    Some(digits.iter().fold(0, |sum, digit| sum * 64 + u64::from(digit - b'@')) / 4)
}

/// The single properties that a body sets: path (a step a line) and value, maps by element.
fn properties(body: &Json) -> Vec<(String, Json)> {
    let mut all = Vec::new();
    for (name, value) in body.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("assignments", Json::Object(map)) => {
                all.extend(map.iter().map(|(id, value)| (format!("assignments\n{id}"), value.clone())));
            }
            // `false` takes a category off, as null does with the entries of the other maps.
            ("appliedCategories", Json::Object(map)) => {
                let set = |value: &Json| if value == &Json::Bool(true) { json!(true) } else { Json::Null };
                all.extend(map.iter().map(|(key, value)| (format!("appliedCategories\n{key}"), set(value))));
            }
            ("checklist" | "references", Json::Object(map)) => {
                let of_entry = ["title", "isChecked", "alias", "type"];
                for (id, item) in map {
                    match item.as_object() {
                        None => all.push((format!("{name}\n{id}"), Json::Null)),
                        Some(item) => all.extend(
                            item.iter()
                                .filter(|(member, _)| of_entry.contains(&member.as_str()))
                                .map(|(member, value)| (format!("{name}\n{id}\n{member}"), value.clone())),
                        ),
                    }
                }
            }
            (name, value) => all.push((name.to_owned(), value.clone())),
        }
    }
    all
}

impl Resource {
    fn get(&self, path: &str) -> Option<&Json> {
        let mut parts = path.split('\n');
        let mut value = self.body.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }

    fn set(&mut self, path: &str, value: &Json, version: u64) {
        let parts: Vec<&str> = path.split('\n').collect();
        match parts.as_slice() {
            [map, id] if value.is_null() => {
                if let Some(map) = self.body.get_mut(*map).and_then(Json::as_object_mut) {
                    map.remove(*id);
                }
            }
            // Planner makes a hint of its own out of the place that was asked for.
            ["orderHint"] => {
                self.body.insert("orderHint".to_owned(), hint(version).into());
            }
            [name] => {
                self.body.insert((*name).to_owned(), value.clone());
            }
            [map, id] => self.body[*map][*id] = value.clone(),
            [map, id, name] => {
                if !self.body[*map][*id].is_object() {
                    let links = json!({"alias": null, "type": "Other"});
                    let items = json!({"title": "", "isChecked": false});
                    self.body[*map][*id] = if *map == "references" { links } else { items };
                }
                self.body[*map][*id][*name] = value.clone();
            }
            _ => {}
        }
        self.changed.insert(path.to_owned(), version);
        self.version = version;
    }

    /// Whether `path`, something in it, or what it is in changed after `version`.
    fn moved_since(&self, path: &str, version: u64) -> bool {
        self.changed.iter().any(|(other, at)| {
            *at > version
                && (other == path
                    || path.starts_with(&format!("{other}\n"))
                    || other.starts_with(&format!("{path}\n")))
        })
    }

    fn patch(&mut self, kind: &str, if_match: &str, body: &Json, version: u64) -> Result<bool, u16> {
        let Some(seen) = version_of(kind, if_match) else { return Err(400) };
        let properties = properties(body);
        if properties.iter().any(|(path, _)| self.moved_since(path, seen)) {
            return Err(412);
        }
        let mut moved = false;
        for (path, value) in properties {
            if self.get(&path) != Some(&value) && !(value.is_null() && self.get(&path).is_none()) {
                self.persons.remove(&path);
                self.set(&path, &value, version);
                moved = true;
            }
        }
        Ok(moved)
    }
}

impl Task {
    pub fn json(&self) -> Json {
        let mut body = self.task.body.clone();
        body.insert("@odata.etag".into(), etag(TASK, self.task.version).into());
        let details = &self.details.body;
        let described =
            details.get("description").and_then(Json::as_str).is_some_and(|text| !text.is_empty());
        body.insert("hasDescription".into(), described.into());
        let items = details.get("checklist").and_then(Json::as_object).map_or(0, Map::len);
        body.insert("checklistItemCount".into(), items.into());
        let links = details.get("references").and_then(Json::as_object).map_or(0, Map::len);
        body.insert("referenceCount".into(), links.into());
        Json::Object(body)
    }

    pub fn details_json(&self) -> Json {
        let mut body = self.details.body.clone();
        body.insert("@odata.etag".into(), etag(DETAILS, self.details.version).into());
        Json::Object(body)
    }
}

fn external_id(body: &Json) -> [String; 2] {
    ["contextScenarioId", "externalObjectId"].map(|name| body["creationSource"][name].to_string())
}

impl Planner {
    pub fn new(details_move_task: bool) -> Self {
        Self { details_move_task, ..Self::default() }
    }

    fn version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    fn remember(&mut self, id: &str, now: i64) {
        let json = self.tasks.get(id).map(Task::json);
        let Some(task) = self.tasks.get_mut(id).or_else(|| self.deleted.get_mut(id)) else { return };
        task.past.push((now, json));
        let old = task.past.iter().filter(|(at, _)| *at < now - 120_000).count();
        task.past.drain(..old.saturating_sub(1));
    }

    /// Whether a task was made with this id of its creator's, and was deleted since.
    pub fn made_before(&self, body: &Json) -> bool {
        self.external.get(&external_id(body)).is_some_and(|id| self.deleted.contains_key(id))
    }

    /// With an id of the creator's that a task already has, that task is the answer (beta only).
    pub fn create(&mut self, body: &Json, by: By, now: i64) -> Json {
        let external = external_id(body);
        if !body["creationSource"].is_null() {
            if let Some(known) = self.external.get(&external).and_then(|id| self.tasks.get(id)) {
                return known.json();
            }
            self.external.insert(external, format!("PT{:04}", self.ids + 1));
        }
        self.ids += 1;
        let id = format!("PT{:04}", self.ids);
        let version = self.version();
        let created = jiff::Timestamp::from_millisecond(now).expect("a time").to_string();
        let by = match by {
            By::App => json!({"application": {"id": APP}}),
            By::Person => json!({"user": {"id": "ebf3b108-5234-4e22-b93d-656d7dae5874"}}),
        };
        let hint = hint(version);
        let bucket = format!("{}-default", body["planId"].as_str().unwrap_or_default());
        let start = json!({"id": id, "planId": "", "bucketId": bucket, "title": "", "percentComplete": 0, "priority": 5,
            "startDateTime": null, "dueDateTime": null, "assignments": {}, "appliedCategories": {}, "orderHint": hint, "createdDateTime": created, "createdBy": by});
        let mut task =
            Resource { body: start.as_object().expect("an object").clone(), version, ..Resource::default() };
        for (path, value) in properties(body) {
            task.set(&path, &value, version);
        }
        let details = json!({"id": id, "description": "", "checklist": {}, "references": {}});
        let details = Resource {
            body: details.as_object().expect("an object").clone(),
            version: self.version(),
            ..Resource::default()
        };
        self.tasks.insert(id.clone(), Task { task, details, past: Vec::new() });
        self.remember(&id, now);
        self.tasks[&id].json()
    }

    pub fn get(&self, id: &str) -> Option<Json> {
        self.tasks.get(id).map(Task::json)
    }

    pub fn details(&self, id: &str) -> Option<Json> {
        self.tasks.get(id).map(Task::details_json)
    }

    pub fn patch(&mut self, id: &str, if_match: &str, body: &Json, now: i64) -> Result<Json, u16> {
        let version = self.version();
        let task = self.tasks.get_mut(id).ok_or(404_u16)?;
        let moved = task.task.patch(TASK, if_match, body, version)?;
        self.echoes += u64::from(!moved);
        self.remember(id, now);
        Ok(self.tasks[id].json())
    }

    pub fn patch_details(&mut self, id: &str, if_match: &str, body: &Json, now: i64) -> Result<Json, u16> {
        let version = self.version();
        let task = self.tasks.get_mut(id).ok_or(404_u16)?;
        let moved = task.details.patch(DETAILS, if_match, body, version)?;
        if moved && self.details_move_task {
            task.task.version = version;
        }
        self.echoes += u64::from(!moved);
        self.remember(id, now);
        Ok(self.tasks[id].details_json())
    }

    pub fn delete(&mut self, id: &str, if_match: &str, now: i64) -> Result<(), u16> {
        let version = version_of(TASK, if_match).ok_or(400_u16)?;
        let task = self.tasks.get(id).ok_or(404_u16)?;
        if task.task.version > version {
            return Err(412);
        }
        let task = self.tasks.remove(id).ok_or(404_u16)?;
        self.deleted.insert(id.to_owned(), task);
        self.remember(id, now);
        Ok(())
    }

    /// Names of the properties, of the task and of its details, in which a person wrote last.
    pub fn written_by_persons(&self, id: &str) -> BTreeSet<&str> {
        let task = self.tasks.get(id).into_iter();
        let paths = task.flat_map(|task| task.task.persons.iter().chain(&task.details.persons));
        paths.filter_map(|path| path.split('\n').next()).collect()
    }

    /// What a person does in Planner: always on what is there.
    pub fn edit(&mut self, id: &str, body: &Json, now: i64) {
        let (etag, echoes) =
            (self.tasks[id].json()["@odata.etag"].as_str().expect("an ETag").to_owned(), self.echoes);
        self.patch(id, &etag, body, now).expect("a person's edit is accepted");
        let task = self.tasks.get_mut(id).expect("it is there");
        task.task.persons.extend(properties(body).into_iter().map(|(path, _)| path));
        self.echoes = echoes;
    }

    pub fn edit_details(&mut self, id: &str, body: &Json, now: i64) {
        let (etag, echoes) =
            (self.tasks[id].details_json()["@odata.etag"].as_str().expect("an ETag").to_owned(), self.echoes);
        self.patch_details(id, &etag, body, now).expect("a person's edit is accepted");
        let task = self.tasks.get_mut(id).expect("it is there");
        task.details.persons.extend(properties(body).into_iter().map(|(path, _)| path));
        self.echoes = echoes;
    }

    pub fn remove(&mut self, id: &str, now: i64) {
        let etag = self.tasks[id].json()["@odata.etag"].as_str().expect("an ETag").to_owned();
        self.delete(id, &etag, now).expect("a person's deletion is accepted");
    }

    /// The plan's list as it was at `then`.
    pub fn list(&self, plan: &str, then: i64) -> Vec<Json> {
        let all = self.tasks.values().chain(self.deleted.values());
        let shown = all.filter_map(|task| task.past.iter().rev().find(|(at, _)| *at <= then)?.1.clone());
        shown.filter(|json| json["planId"] == plan).collect()
    }
}
