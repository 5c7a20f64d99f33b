//! Who a document is assigned to: lists or single texts of user ids, and the two members that hold one id each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::checklist::is_guid;
use super::document::Document;
use super::field::Field;
use super::names::folded;
use super::problem::FieldProblem;
use super::raw;
use super::spelling::{ASSIGNEE_IDS, members, new_member};

type Ids = BTreeSet<String>;
/// Object ids of users by their folded names.
type Users = BTreeMap<String, String>;

/// What the document's members say together.
#[derive(Default)]
pub(crate) struct Assigned {
    /// `None`: nothing is said (no member, or only names).
    pub(crate) value: Option<Ids>,
    /// Members whose change was overruled.
    pub(crate) losers: Vec<(&'static str, Ids)>,
    /// Texts that are no user ids.
    pub(crate) names: Vec<String>,
    /// True if members contradict each other.
    pub(crate) contradiction: bool,
}

/// The texts of one member: a list, or a single one.
fn texts(name: &str, raw: &RawValue) -> Result<Vec<String>, FieldProblem> {
    if raw.get() == "null" {
        return Ok(Vec::new());
    }
    serde_json::from_str::<Vec<String>>(raw.get())
        .or_else(|_| serde_json::from_str::<String>(raw.get()).map(|text| vec![text]))
        .map(|texts| texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
        .map_err(|_| FieldProblem::wrong_type(name, "a list of user ids, or one"))
}

fn id_of(text: &str, users: &Users) -> Option<String> {
    let id = text.trim();
    is_guid(id).then(|| id.to_ascii_lowercase()).or_else(|| users.get(&folded(text)).cloned())
}

/// The ids and the names in some texts.
fn sorted(texts: Vec<String>, users: &Users) -> (Ids, Vec<String>) {
    let mut names = Vec::new();
    let ids = texts.into_iter().filter_map(|text| {
        id_of(&text, users).or_else(|| {
            names.push(text);
            None
        })
    });
    (ids.collect(), names)
}

/// Reads all members. `base` is the last agreed set.
///
/// A list counts before the id members. If only an id member changed since `base`, its user takes the place of a
/// single assignee, or joins several (whom it replaces cannot be known then, and nobody is unassigned by a guess).
pub(crate) fn read(doc: &Document, base: Option<&Ids>, users: &Users) -> Result<Assigned, FieldProblem> {
    let nobody = Ids::new();
    let base = base.unwrap_or(&nobody);
    let mut said = Assigned::default();
    let mut lists: Vec<(&'static str, Ids)> = Vec::new();
    for name in members(Field::Assignees) {
        let Some(raw) = doc.get(name) else { continue };
        let (ids, names) = sorted(texts(name, raw)?, users);
        if names.is_empty() || !ids.is_empty() {
            lists.push((name, ids));
        }
        said.names.extend(names);
    }
    let mut singles: Vec<(&'static str, Option<String>)> = Vec::new();
    for name in ASSIGNEE_IDS {
        let Some(raw) = doc.get(name) else { continue };
        let text: Option<String> = serde_json::from_str(raw.get())
            .map_err(|_| FieldProblem::wrong_type(name, "one user id, or null"))?;
        let text = text.filter(|text| !text.trim().is_empty());
        match text.as_deref().map(|text| id_of(text, users)) {
            Some(None) => said.names.extend(text),
            Some(id) => singles.push((name, id)),
            None => singles.push((name, None)),
        }
    }

    if lists.is_empty() {
        // Beside a list of names an empty id member is no statement that nobody is assigned.
        let only_ids = members(Field::Assignees).iter().all(|name| doc.get(name).is_none());
        lists = singles
            .iter()
            .filter(|(_, id)| id.is_some() || (only_ids && said.names.is_empty()))
            .map(|(name, id)| match id {
                Some(id) if base.contains(id) => (*name, base.clone()),
                id => (*name, id.iter().cloned().collect()),
            })
            .collect();
        if lists.iter().any(|(_, ids)| !ids.is_empty()) {
            lists.retain(|(_, ids)| !ids.is_empty());
        }
        singles.clear();
    }
    let mut changed: Vec<_> = lists.iter().filter(|(_, ids)| ids != base).cloned().collect();
    let list_changed = !changed.is_empty();
    let Some((winner, mut value)) =
        (if list_changed { Some(changed.remove(0)) } else { lists.first().cloned() })
    else {
        return Ok(said);
    };
    said.losers.extend(changed.into_iter().filter(|(name, ids)| *name != winner && *ids != value));
    for (name, id) in &singles {
        let Some(id) = id.as_ref().filter(|id| !value.contains(*id)) else { continue };
        said.contradiction = true;
        if base.contains(id) {
            continue;
        }
        if list_changed {
            said.losers.push((name, Ids::from([id.clone()])));
        } else {
            if value.len() == 1 {
                value.clear();
            }
            value.insert(id.clone());
        }
    }
    said.contradiction |= lists.iter().any(|(_, ids)| *ids != value);
    said.value = Some(value);
    Ok(said)
}

/// Writes the set into every member that is there; names stay.
pub(crate) fn write(doc: &mut Document, target: &Ids, users: &Users) {
    let present: Vec<&'static str> =
        members(Field::Assignees).iter().copied().filter(|name| doc.get(name).is_some()).collect();
    let singles: Vec<_> = ASSIGNEE_IDS.iter().filter(|name| doc.get(name).is_some()).collect();
    for name in &singles {
        let Some(Ok(text)) = doc.get(name).map(|raw| serde_json::from_str::<Option<String>>(raw.get()))
        else {
            continue;
        };
        let held = text.as_deref().and_then(|text| id_of(text, users));
        let is_name = held.is_none() && text.is_some_and(|text| !text.trim().is_empty());
        let fits = match &held {
            Some(id) => target.contains(id),
            // An empty member beside a list is no statement, and a name is not ours to replace.
            None => target.is_empty() || !present.is_empty() || is_name,
        };
        if !fits {
            let id = target.first().map_or(serde_json::Value::Null, |id| id.as_str().into());
            doc.set(name, &id);
        }
    }
    // A list of nothing but names is written only if the ids have no other place.
    let (speaking, names_only): (Vec<_>, Vec<_>) = present.into_iter().partition(|name| {
        let texts = doc.get(name).and_then(|raw| texts(name, raw).ok()).unwrap_or_default();
        texts.is_empty() || texts.iter().any(|text| id_of(text, users).is_some())
    });
    for name in speaking {
        if let Some(raw) = doc.get(name).and_then(|raw| rewritten(raw, target, users)) {
            doc.set_raw(name, raw);
        }
    }
    let expressed = |doc: &Document| {
        read(doc, None, users).ok().and_then(|said| said.value).unwrap_or_default() == *target
    };
    if expressed(doc) {
        return;
    }
    let name = names_only.first().map_or_else(|| new_member(doc, Field::Assignees), |name| *name);
    let list = match doc.get(name) {
        Some(raw) => rewritten(raw, target, users),
        None => Some(raw::raw_of(&target.iter().map(String::as_str).collect())),
    };
    if let Some(list) = list {
        doc.set_raw(name, list);
    }
}

/// A list member with the target's ids; `None` if it needs no change.
fn rewritten(raw: &RawValue, target: &Ids, users: &Users) -> Option<Box<RawValue>> {
    let is_list = raw.get().starts_with('[') || raw.get() == "null";
    let before = texts("", raw).ok()?;
    let mut missing: Ids = target.clone();
    let mut after: Vec<&str> = Vec::new();
    for text in &before {
        match id_of(text, users) {
            Some(id) if !missing.remove(&id) => {}
            _ => after.push(text),
        }
    }
    if missing.is_empty() && after.len() == before.len() {
        return None;
    }
    after.extend(missing.iter().map(String::as_str));
    Some(raw::raw_of(&match (is_list, after.as_slice()) {
        (false, []) => serde_json::Value::Null,
        (false, [one]) => (*one).into(),
        (_, all) => all.iter().copied().collect(),
    }))
}
