//! Three-way merge of one field: base, local, remote → the value that stands, and what was lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    lens::{ChecklistItem, Field, Reference, Value, same},
    mutants::{Mutant, removed},
};

/// Whose value did not survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loser {
    /// The document's.
    Local,
    /// Planner's.
    Remote,
}

/// A value that was overruled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The field.
    pub field: Field,
    /// What stands.
    pub kept: Value,
    /// What does not.
    pub lost: Value,
    /// Whose it was.
    pub loser: Loser,
}

/// What stands after a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The value both sides should have.
    pub value: Value,
    /// Set where both had changed and one had to give way.
    pub conflict: Option<Conflict>,
}

fn taken(value: &Value) -> Merged {
    Merged { value: value.clone(), conflict: None }
}

/// Merges one field.
///
/// `unseen` says that the agent who wrote `local` cannot have known the remote value, so that even an
/// unchanged remote side is a conflict (sync.md §1.3.5). The policy per field is that of §1.3.6. Of a set or a
/// checklist that was written so, `base` is not what the agent had read either: nothing is taken as removed.
pub fn merge(field: Field, base: &Value, local: &Value, remote: &Value, unseen: bool) -> Merged {
    if same(field, local, base) || same(field, local, remote) {
        return taken(remote);
    }
    if (same(field, remote, base) && !unseen) || removed(Mutant::ThreeWay) {
        return taken(local);
    }
    match field {
        Field::Assignees | Field::Labels if unseen => {
            never_silent(field, merge_sets(&Value::Null, local, remote), local, remote)
        }
        Field::Assignees | Field::Checklist if removed(Mutant::ElementMerge) => {
            remote_wins(field, local, remote)
        }
        Field::Assignees | Field::Labels => taken(&merge_sets(base, local, remote)),
        Field::References if unseen => {
            let merged = merge_references(&Value::Null, local, remote);
            never_silent(field, merged.value, local, remote)
        }
        Field::References => merge_references(base, local, remote),
        Field::Checklist if unseen => {
            let merged = merge_checklists(&Value::Null, local, remote);
            never_silent(field, merged.value, local, remote)
        }
        Field::Checklist => merge_checklists(base, local, remote),
        Field::Percent => merge_percent(base, local, remote),
        Field::Title
        | Field::Priority
        | Field::Start
        | Field::Due
        | Field::Bucket
        | Field::Plan
        | Field::Order
        | Field::Description => remote_wins(field, local, remote),
    }
}

fn remote_wins(field: Field, local: &Value, remote: &Value) -> Merged {
    Merged {
        value: remote.clone(),
        conflict: Some(Conflict { field, kept: remote.clone(), lost: local.clone(), loser: Loser::Local }),
    }
}

/// Elements of both sides were joined without knowing what the agent had read: a removal may have been undone.
fn never_silent(field: Field, value: Value, local: &Value, remote: &Value) -> Merged {
    let (lost, loser) =
        if same(field, &value, local) { (remote, Loser::Remote) } else { (local, Loser::Local) };
    let conflict = Some(Conflict { field, kept: value.clone(), lost: lost.clone(), loser });
    Merged { value, conflict }
}

fn local_wins(field: Field, local: &Value, remote: &Value) -> Merged {
    Merged {
        value: local.clone(),
        conflict: Some(Conflict { field, kept: local.clone(), lost: remote.clone(), loser: Loser::Remote }),
    }
}

/// Done beats not done unless the person re-opened the task; else the further one stands.
fn merge_percent(base: &Value, local: &Value, remote: &Value) -> Merged {
    let number = |value: &Value| if let Value::Number(n) = value { *n } else { 0 };
    let (b, l, r) = (number(base), number(local), number(remote));
    if r < b || r >= l {
        remote_wins(Field::Percent, local, remote)
    } else {
        local_wins(Field::Percent, local, remote)
    }
}

fn set(value: &Value) -> BTreeSet<String> {
    if let Value::Set(set) = value { set.clone() } else { BTreeSet::new() }
}

/// Each side's additions stand; a removal stands where the other side did not add the element again.
fn merge_sets(base: &Value, local: &Value, remote: &Value) -> Value {
    let (base, local, remote) = (set(base), set(local), set(remote));
    let kept = base.iter().filter(|id| local.contains(*id) && remote.contains(*id));
    let added = local.iter().chain(&remote).filter(|id| !base.contains(*id));
    Value::Set(kept.chain(added).cloned().collect())
}

fn checklist(value: &Value) -> BTreeMap<String, ChecklistItem> {
    if let Value::Checklist(items) = value { items.clone() } else { BTreeMap::new() }
}

/// Element by element; an item that one side changed and the other removed stays.
fn merge_checklists(base: &Value, local: &Value, remote: &Value) -> Merged {
    let (b, l, r) = (checklist(base), checklist(local), checklist(remote));
    let mut items = BTreeMap::new();
    let mut overruled = false;
    let keys: BTreeSet<&String> = b.keys().chain(l.keys()).chain(r.keys()).collect();
    for key in keys {
        let (base, local, remote) = (b.get(key), l.get(key), r.get(key));
        let stands = if local == base || local == remote {
            remote.cloned()
        } else if remote == base {
            local.cloned()
        } else {
            match (local, remote) {
                (Some(local), Some(remote)) => {
                    let (item, lost) = merge_item(base, local, remote);
                    overruled |= lost;
                    Some(item)
                }
                (local, remote) => local.or(remote).cloned(),
            }
        };
        if let Some(item) = stands {
            items.insert(key.clone(), item);
        }
    }
    let value = Value::Checklist(items);
    let conflict = overruled.then(|| Conflict {
        field: Field::Checklist,
        kept: value.clone(),
        lost: local.clone(),
        loser: Loser::Local,
    });
    Merged { value, conflict }
}

fn merge_item(
    base: Option<&ChecklistItem>,
    local: &ChecklistItem,
    remote: &ChecklistItem,
) -> (ChecklistItem, bool) {
    let mut item = remote.clone();
    let mut lost = false;
    if local.title != remote.title {
        if base.is_some_and(|base| base.title == remote.title) {
            item.title.clone_from(&local.title);
        } else if base.is_none_or(|base| base.title != local.title) {
            lost = true;
        }
    }
    if local.checked != remote.checked && base.is_some_and(|base| base.checked == remote.checked) {
        item.checked = local.checked;
    } else if local.checked != remote.checked && base.is_none() {
        lost = true;
    }
    (item, lost)
}

fn references(value: &Value) -> BTreeMap<String, Reference> {
    if let Value::References(links) = value { links.clone() } else { BTreeMap::new() }
}

/// Link by link; one that one side changed and the other removed stays.
fn merge_references(base: &Value, local: &Value, remote: &Value) -> Merged {
    let (b, l, r) = (references(base), references(local), references(remote));
    let agree = |a: Option<&Reference>, b: Option<&Reference>| match (a, b) {
        (Some(a), Some(b)) => a.agrees(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let mut links = BTreeMap::new();
    let mut overruled = false;
    let urls: BTreeSet<&String> = b.keys().chain(l.keys()).chain(r.keys()).collect();
    for url in urls {
        let (base, local, remote) = (b.get(url), l.get(url), r.get(url));
        let stands = if agree(local, base) || agree(local, remote) {
            remote.cloned()
        } else if agree(remote, base) {
            local.cloned()
        } else {
            match (local, remote) {
                (Some(local), Some(remote)) => {
                    let (link, lost) = merge_reference(base, local, remote);
                    overruled |= lost;
                    Some(link)
                }
                (local, remote) => local.or(remote).cloned(),
            }
        };
        if let Some(mut link) = stands {
            // Nobody means to unsay what a link is called: silence is as Planner has it.
            let silent = remote.or(base);
            link.alias = link.alias.or_else(|| silent?.alias.clone());
            link.kind = link.kind.or_else(|| silent?.kind.clone());
            link.key = remote.and_then(|remote| remote.key.clone());
            links.insert(url.clone(), link);
        }
    }
    let value = Value::References(links);
    let conflict = overruled.then(|| Conflict {
        field: Field::References,
        kept: value.clone(),
        lost: local.clone(),
        loser: Loser::Local,
    });
    Merged { value, conflict }
}

fn merge_reference(base: Option<&Reference>, local: &Reference, remote: &Reference) -> (Reference, bool) {
    let mut link = remote.clone();
    let mut lost = false;
    let mut part = |base: Option<&String>, local: &Option<String>, remote: &mut Option<String>| {
        if local.is_none() || local == remote || base == local.as_ref() {
            return;
        }
        if base.is_some() && base == remote.as_ref() {
            remote.clone_from(local);
        } else {
            lost = true;
        }
    };
    part(base.and_then(|base| base.alias.as_ref()), &local.alias, &mut link.alias);
    part(base.and_then(|base| base.kind.as_ref()), &local.kind, &mut link.kind);
    (link, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }
    fn ids(ids: &[&str]) -> Value {
        Value::Set(ids.iter().map(|id| (*id).to_owned()).collect())
    }
    fn list(items: &[(&str, &str, bool)]) -> Value {
        Value::Checklist(
            items
                .iter()
                .map(|(key, title, checked)| {
                    ((*key).to_owned(), ChecklistItem { title: (*title).to_owned(), checked: *checked })
                })
                .collect(),
        )
    }

    #[test]
    fn one_sided_changes_stand_without_a_conflict() {
        for unseen in [false, true] {
            let down = merge(Field::Title, &text("a"), &text("a"), &text("b"), unseen);
            assert_eq!(down, taken(&text("b")));
        }
        assert_eq!(merge(Field::Title, &text("a"), &text("b"), &text("a"), false), taken(&text("b")));
    }

    #[test]
    fn equal_changes_are_no_conflict() {
        assert_eq!(merge(Field::Title, &text("a"), &text("b"), &text("b"), true), taken(&text("b")));
    }

    #[test]
    fn an_unseen_remote_change_makes_a_conflict_that_the_person_wins() {
        let merged = merge(Field::Title, &text("b"), &text("c"), &text("b"), true);
        assert_eq!(merged.value, text("b"));
        let conflict = merged.conflict.expect("a conflict");
        assert_eq!((conflict.lost, conflict.loser), (text("c"), Loser::Local));
    }

    #[test]
    fn done_beats_not_done_unless_reopened() {
        let percent =
            |b, l, r| merge(Field::Percent, &Value::Number(b), &Value::Number(l), &Value::Number(r), false);
        assert_eq!(percent(20, 100, 50).value, Value::Number(100));
        assert_eq!(percent(20, 50, 100).value, Value::Number(100));
        assert_eq!(percent(100, 80, 0).value, Value::Number(0), "a person re-opened it");
        assert_eq!(percent(20, 40, 30).value, Value::Number(40));
        assert_eq!(percent(20, 100, 50).conflict.map(|c| c.loser), Some(Loser::Remote));
    }

    #[test]
    fn assignees_merge_element_by_element() {
        let merged =
            merge(Field::Assignees, &ids(&["a", "b"]), &ids(&["a", "c"]), &ids(&["b", "a", "d"]), false);
        assert_eq!(merged.value, ids(&["a", "c", "d"]));
        assert_eq!(merged.conflict, None);
    }

    #[test]
    fn checklists_merge_item_by_item() {
        let base = list(&[("1", "milk", false), ("2", "eggs", false), ("3", "tea", false)]);
        let local = list(&[("1", "milk", true), ("2", "eggs", false), ("4", "jam", false)]);
        let remote = list(&[("1", "oat milk", false), ("3", "green tea", false)]);
        let merged = merge(Field::Checklist, &base, &local, &remote, false);
        let expected = list(&[("1", "oat milk", true), ("3", "green tea", false), ("4", "jam", false)]);
        assert_eq!(merged.value, expected);
        assert_eq!(merged.conflict, None);
    }

    #[test]
    fn the_same_item_renamed_twice_is_a_logged_conflict() {
        let (base, local, remote) =
            (list(&[("1", "a", false)]), list(&[("1", "b", false)]), list(&[("1", "c", false)]));
        let merged = merge(Field::Checklist, &base, &local, &remote, false);
        assert_eq!(merged.value, remote);
        assert_eq!(merged.conflict.map(|conflict| conflict.lost), Some(local));
    }
}
