//! Labels in documents: a list of names, a single one, or Planner's map of categories.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::document::Document;
use super::field::Field;
use super::names::{Categories, Names, folded};
use super::raw;
use super::spelling::members;

type Keys = BTreeSet<String>;

/// One member, as it is written.
enum Written {
    Empty,
    One(String),
    List(Vec<Json>),
    Map(serde_json::Map<String, Json>),
    /// Something that holds no labels.
    Other,
}

/// An entry of Planner's map of categories; annotations stand beside them.
fn is_mark(name: &str, value: &Json) -> bool {
    value.is_boolean() || value.is_null() || name.starts_with('@')
}

fn written(raw: &RawValue) -> Written {
    match serde_json::from_str(raw.get()) {
        Ok(Json::Null) => Written::Empty,
        Ok(Json::String(text)) if text.trim().is_empty() => Written::Empty,
        Ok(Json::String(text)) => Written::One(text),
        Ok(Json::Array(list)) => Written::List(list),
        Ok(Json::Object(map)) if map.iter().all(|(name, value)| is_mark(name, value)) => Written::Map(map),
        _ => Written::Other,
    }
}

/// The category of a label, by its name now or by one it had.
fn category(label: &str, categories: &Categories, former: &BTreeMap<String, String>) -> Option<String> {
    categories.category(label).or_else(|| former.get(&folded(label)).cloned())
}

/// What one member says: categories, and labels that are none.
pub(crate) fn read(raw: &RawValue, names: &Names, unknown: &mut Vec<String>) -> Option<Keys> {
    let categories = names.categories.as_deref()?;
    let mut keys = Keys::new();
    let mut add = |label: &str| match category(label, categories, &names.former) {
        Some(key) => drop(keys.insert(key)),
        None if label.trim().is_empty() => {}
        None => unknown.push(label.to_owned()),
    };
    match written(raw) {
        Written::Empty => {}
        Written::One(text) => add(&text),
        Written::List(list) => list.iter().for_each(|element| match element {
            Json::String(text) => add(text),
            other => add(&other.to_string()),
        }),
        Written::Map(map) => {
            map.iter().filter(|(_, set)| **set == Json::Bool(true)).for_each(|(label, _)| add(label));
        }
        Written::Other => {
            unknown.push(raw.get().to_owned());
            return None;
        }
    }
    Some(keys)
}

/// Writes the categories into every member that is there, or into `labels`. Labels that are no category stay.
pub(crate) fn write(doc: &mut Document, target: &Keys, names: &Names) {
    let Some(categories) = names.categories.as_deref() else { return };
    let present: Vec<&'static str> =
        members(Field::Labels).iter().copied().filter(|name| doc.get(name).is_some()).collect();
    for name in &present {
        if let Some(new) = doc.get(name).and_then(|raw| rewritten(raw, target, categories, &names.former)) {
            doc.set_raw(name, new);
        }
    }
    if present.is_empty() && !target.is_empty() {
        let labels: Json = target.iter().map(|key| categories.label(key)).collect();
        doc.set_raw(members(Field::Labels)[0], raw::raw_of(&labels));
    }
}

/// A member with the target's labels; `None` if it needs no change.
fn rewritten(
    raw: &RawValue,
    target: &Keys,
    categories: &Categories,
    former: &BTreeMap<String, String>,
) -> Option<Box<RawValue>> {
    let mut missing = target.clone();
    let mut changed = false;
    let new = match written(raw) {
        Written::Other => return None,
        Written::Map(map) => {
            let mut after = serde_json::Map::new();
            for (label, set) in map {
                let key = category(&label, categories, former);
                let wanted = key.as_ref().is_none_or(|key| target.contains(key));
                if let Some(key) = &key {
                    missing.remove(key);
                }
                match (key.is_some(), wanted) {
                    (true, true) => {
                        changed |= set != Json::Bool(true);
                        after.insert(label, true.into());
                    }
                    (true, false) if set == Json::Bool(true) => changed = true,
                    _ => drop(after.insert(label, set)),
                }
            }
            changed |= !missing.is_empty();
            after.extend(missing.into_iter().map(|key| (key, true.into())));
            Json::Object(after)
        }
        before => {
            let is_list = !matches!(before, Written::One(_));
            let list = match before {
                Written::One(text) => vec![Json::String(text)],
                Written::List(list) => list,
                _ => Vec::new(),
            };
            let mut after: Vec<Json> = Vec::new();
            for element in list {
                let label = match &element {
                    Json::String(text) => text.clone(),
                    other => other.to_string(),
                };
                match category(&label, categories, former) {
                    Some(key) if !target.contains(&key) => changed = true,
                    Some(key) => {
                        missing.remove(&key);
                        let renamed = former.get(&folded(&label)) == Some(&key);
                        let label = categories.label(&key);
                        if renamed && element.as_str().map(folded) != Some(folded(&label)) {
                            changed = true;
                            after.push(label.into());
                        } else {
                            after.push(element);
                        }
                    }
                    None => after.push(element),
                }
            }
            changed |= !missing.is_empty();
            after.extend(missing.iter().map(|key| Json::from(categories.label(key))));
            match (is_list, after.len()) {
                (false, 0) => Json::Null,
                (false, 1) => after.remove(0),
                _ => Json::Array(after),
            }
        }
    };
    changed.then(|| raw::raw_of(&new))
}

/// The labels that a document calls categories by in the way that we would: when one is renamed, they follow.
pub(crate) fn own_labels(keys: &Keys, names: &Names) -> BTreeMap<String, String> {
    let Some(categories) = names.categories.as_deref() else { return BTreeMap::new() };
    keys.iter().map(|key| (folded(&categories.label(key)), key.clone())).collect()
}
