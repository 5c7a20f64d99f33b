//! Checklists in documents: lists of objects or plain texts, each item with a stable id.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::field::ChecklistItem;
use super::problem::FieldProblem;
use super::raw::{self, Members};
use super::spelling::Progress;

/// The members that tell whether an item is ticked; `status` does it with a word.
const TICKS: [&str; 4] = ["checked", "isChecked", "is_checked", "completed"];

/// Items by Planner's item id.
pub type Items = BTreeMap<String, ChecklistItem>;

/// One element of a list as it is written.
enum Entry {
    Text(String),
    Object {
        members: Members,
        id: Option<String>,
        title: String,
    },
    /// A blank element: it says nothing and stays where it is.
    Blank,
}

/// An element together with its raw text and its item id (none for blank ones).
struct Element {
    raw: Box<RawValue>,
    entry: Entry,
    key: Option<String>,
}

impl Element {
    fn title(&self) -> &str {
        match &self.entry {
            Entry::Text(title) | Entry::Object { title, .. } => title,
            Entry::Blank => "",
        }
    }

    /// Whether the item is ticked. Of members that contradict each other the one that differs from `known` counts.
    fn checked(&self, known: bool) -> bool {
        let Entry::Object { members, .. } = &self.entry else { return false };
        let mut says = ticks(members).peekable();
        if says.peek().is_none() { false } else { says.find(|tick| *tick != known).unwrap_or(known) }
    }

    /// True if any tick member contradicts `checked`.
    fn contradicts(&self, checked: bool) -> bool {
        match &self.entry {
            Entry::Object { members, .. } => {
                let mut says = ticks(members).peekable();
                if says.peek().is_none() { checked } else { says.any(|tick| tick != checked) }
            }
            Entry::Text(_) => checked,
            Entry::Blank => false,
        }
    }
}

/// What each tick member of an item says.
fn ticks(members: &Members) -> impl Iterator<Item = bool> {
    let flags = TICKS.iter().filter_map(|name| match members.get(name)?.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    });
    flags.chain(status(members).map(|progress| progress == Progress::Completed))
}

fn status(members: &Members) -> Option<Progress> {
    Progress::of_word(&serde_json::from_str::<String>(members.get("status")?.get()).ok()?)
}

/// True for the shape of a GUID.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A GUID (RFC 9562 version 8) from a text: the same text always has the same one.
fn derived_guid(kind: &str, text: &str, repeat: usize) -> String {
    let digest = Sha256::digest(format!("annika checklist item\n{kind}\n{repeat}\n{text}"));
    let mut guid = String::with_capacity(36);
    for (at, byte) in digest.iter().take(16).enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(at, 4 | 6 | 8 | 10) {
            guid.push('-');
        }
        for digit in [byte >> 4, byte & 0x0f] {
            guid.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    guid
}

/// The key of the item that the document of this id is.
pub fn child_key(id: &str) -> String {
    derived_guid("task", id, 0)
}

/// Reads the elements of a list. `known` holds the ids that Planner uses for this task: old ones are no GUIDs.
fn elements(name: &str, list: &RawValue, known: &BTreeSet<&str>) -> Result<Vec<Element>, FieldProblem> {
    let Ok(list) = serde_json::from_str::<Vec<Box<RawValue>>>(list.get()) else {
        return Err(FieldProblem::wrong_type(name, "a list of checklist items"));
    };
    let mut elements = Vec::with_capacity(list.len());
    for (index, raw) in list.into_iter().enumerate() {
        let entry = entry(&format!("{name}[{index}]"), &raw)?;
        elements.push(Element { raw, entry, key: None });
    }
    assign_keys(&mut elements, known);
    Ok(elements)
}

fn entry(place: &str, raw: &RawValue) -> Result<Entry, FieldProblem> {
    if let Ok(text) = serde_json::from_str::<String>(raw.get()) {
        return Ok(if text.trim().is_empty() { Entry::Blank } else { Entry::Text(text) });
    }
    let Some(members) = Members::parse(raw.get()) else {
        return Err(FieldProblem::wrong_type(place, "an object with a title, or a text"));
    };
    let title = match members.get("title").map(RawValue::get) {
        None | Some("null") => String::new(),
        Some(title) => serde_json::from_str::<String>(title)
            .map_err(|_| FieldProblem::wrong_type(format!("{place}.title"), "a text"))?,
    };
    let id = match members.get("id").map(RawValue::get) {
        None | Some("null") | Some("\"\"") => None,
        Some(id) if id.starts_with(['{', '[', 't', 'f']) => {
            return Err(FieldProblem::wrong_type(format!("{place}.id"), "a text or a number"));
        }
        Some(id) => Some(serde_json::from_str::<String>(id).unwrap_or_else(|_| id.to_owned())),
    };
    for tick in TICKS {
        if members.get(tick).is_some_and(|raw| !matches!(raw.get(), "true" | "false" | "null")) {
            return Err(FieldProblem::wrong_type(format!("{place}.{tick}"), "true or false"));
        }
    }
    Ok(if title.trim().is_empty() { Entry::Blank } else { Entry::Object { members, id, title } })
}

/// Gives every element its id: its own GUID or one that Planner knows, else one derived from its own id, else one
/// derived from its title and how many items of that title stand before it (so that an insertion above does not
/// give every item a new id).
fn assign_keys(elements: &mut [Element], known: &BTreeSet<&str>) {
    let mut taken = BTreeSet::new();
    let keys: Vec<Option<String>> = elements
        .iter()
        .map(|element| match &element.entry {
            Entry::Object { id: Some(id), .. } => {
                let own = if is_guid(id) { id.to_ascii_lowercase() } else { id.clone() };
                ((is_guid(id) || known.contains(own.as_str())) && taken.insert(own.clone())).then_some(own)
            }
            _ => None,
        })
        .collect();
    let mut repeats: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for (element, key) in elements.iter_mut().zip(keys) {
        let (kind, text) = match &element.entry {
            Entry::Blank => continue,
            Entry::Object { id: Some(id), .. } => ("id", id),
            Entry::Object { title, .. } | Entry::Text(title) => ("title", title),
        };
        element.key = key.or_else(|| {
            let repeat = repeats.entry((kind, text.clone())).or_default();
            loop {
                let key = derived_guid(kind, text, *repeat);
                *repeat += 1;
                if taken.insert(key.clone()) {
                    return Some(key);
                }
            }
        });
    }
}

/// Reads a checklist. `base` is the last agreed one.
/// The second value is true if an item's members contradict each other.
pub(crate) fn read(name: &str, list: &RawValue, base: Option<&Items>) -> Result<(Items, bool), FieldProblem> {
    let known = base.into_iter().flat_map(|items| items.keys().map(String::as_str)).collect();
    let mut items = Items::new();
    let mut contradiction = false;
    for element in elements(name, list, &known)? {
        let Some(key) = element.key.clone() else { continue };
        let agreed = base.and_then(|items| items.get(&key)).is_some_and(|item| item.checked);
        let checked = element.checked(agreed);
        contradiction |= element.contradicts(checked);
        items.insert(key, ChecklistItem { title: element.title().to_owned(), checked });
    }
    Ok((items, contradiction))
}

/// Writes a checklist over a list: items keep their order, their spelling and their other members; new ones follow.
/// `None` if nothing has to change.
pub(crate) fn write(name: &str, list: Option<&RawValue>, target: &Items) -> Option<Box<RawValue>> {
    let known = target.keys().map(String::as_str).collect();
    let before = match list {
        Some(list) if list.get() != "null" => elements(name, list, &known).ok()?,
        _ if target.is_empty() => return None,
        _ => Vec::new(),
    };
    let count = before.len();
    let tick = before.iter().find_map(|element| match &element.entry {
        Entry::Object { members, .. } => TICKS.into_iter().find(|tick| members.get(tick).is_some()),
        _ => None,
    });
    let tick = tick.unwrap_or(TICKS[0]);
    let mut missing: BTreeSet<&String> = target.keys().collect();
    let mut after: Vec<(Box<RawValue>, Option<String>)> = Vec::new();
    let mut changed = false;
    for element in before {
        let item = element.key.as_ref().and_then(|key| target.get(key));
        let (Some(key), Some(item)) = (&element.key, item) else {
            if element.key.is_none() {
                after.push((element.raw, None));
            }
            continue;
        };
        missing.remove(key);
        if element.title() == item.title && !element.contradicts(item.checked) {
            after.push((element.raw, element.key));
        } else {
            changed = true;
            after.push((rewritten(&element, key, item, tick), element.key));
        }
    }
    for key in missing {
        let item = &target[key];
        let mut members = Members::default();
        members.set("id", raw::raw_of(&key.as_str().into()));
        members.set("title", raw::raw_of(&item.title.as_str().into()));
        members.set(tick, raw::raw_of(&item.checked.into()));
        after.push((raw::raw(members.write()), Some(key.clone())));
        changed = true;
    }
    if !changed && after.len() == count {
        return None;
    }
    pin_ids(name, &mut after, &known);
    Some(joined(after.iter().map(|(raw, _)| &**raw)))
}

fn rewritten(element: &Element, key: &str, item: &ChecklistItem, tick: &str) -> Box<RawValue> {
    let mut members = match &element.entry {
        Entry::Object { members, .. } => members.clone(),
        _ => {
            let mut members = Members::default();
            members.set("id", raw::raw_of(&key.into()));
            members
        }
    };
    if element.title() != item.title || members.get("title").is_none() {
        members.set("title", raw::raw_of(&item.title.as_str().into()));
    }
    let mut said = false;
    for tick in TICKS {
        if members.get(tick).is_some_and(|raw| raw.get() != "null") {
            members.set(tick, raw::raw_of(&item.checked.into()));
            said = true;
        }
    }
    if let Some(progress) = status(&members) {
        said = true;
        if (progress == Progress::Completed) != item.checked {
            let progress = if item.checked { Progress::Completed } else { Progress::NotStarted };
            members.set("status", raw::raw_of(&progress.word().into()));
        }
    }
    if !said && item.checked {
        members.set(tick, raw::raw_of(&true.into()));
    }
    raw::raw(members.write())
}

/// Writes the id into every item that would be read under another one from now on, because its title changed or
/// an item of the same title before it went away.
fn pin_ids(name: &str, after: &mut [(Box<RawValue>, Option<String>)], known: &BTreeSet<&str>) {
    for _ in 0..=after.len() {
        let list = joined(after.iter().map(|(raw, _)| &**raw));
        let Ok(read) = elements(name, &list, known) else { return };
        let mut pinned = false;
        for ((raw, key), element) in after.iter_mut().zip(read) {
            let Some(key) = key.as_ref().filter(|key| element.key.as_ref() != Some(*key)) else { continue };
            let mut members = match element.entry {
                Entry::Object { members, .. } => members,
                _ => Members::default(),
            };
            if members.get("title").is_none() {
                members.set("id", raw::raw_of(&key.as_str().into()));
                members.set("title", raw.clone());
            } else {
                members.set("id", raw::raw_of(&key.as_str().into()));
            }
            *raw = raw::raw(members.write());
            pinned = true;
        }
        if !pinned {
            return;
        }
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a RawValue>) -> Box<RawValue> {
    let parts: Vec<&str> = parts.map(RawValue::get).collect();
    raw::raw(format!("[{}]", parts.join(",")))
}
