//! What of a merged value Planner can take, and what stays in the document alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::lens::{Field, Value, is_order_hint};

/// The most that a Planner task holds of its lists. Microsoft may raise or lower these without notice; a limit that is
/// lower there is answered with an error and parks the task.
const MOST_ASSIGNEES: usize = 20;
pub(super) const MOST_ITEMS: usize = 20;
const MOST_LINKS: usize = 15;

/// What can be sent of a value, and what cannot.
pub(super) struct Sendable {
    pub value: Value,
    /// Stable code and what was left out, as people know it.
    pub left: Option<(&'static str, Vec<String>)>,
}

/// The part of `value` that Planner can take, where it has `remote` now: what is there already comes first.
pub(super) fn sendable(field: Field, value: &Value, remote: &Value) -> Sendable {
    let whole = || Sendable { value: value.clone(), left: None };
    match (field, value) {
        (Field::Order, Value::Text(hint)) if value != remote && !is_order_hint(hint) => {
            Sendable { value: remote.clone(), left: Some(("order_not_a_hint", vec![hint.clone()])) }
        }
        (Field::Assignees, Value::Set(ids)) => {
            let there = if let Value::Set(ids) = remote { ids.clone() } else { BTreeSet::new() };
            let keep = first(ids, |id| there.contains(id), MOST_ASSIGNEES);
            if keep.len() == ids.len() {
                return whole();
            }
            let left = ids.difference(&keep).cloned().collect();
            Sendable { value: Value::Set(keep), left: Some(("assignees_full", left)) }
        }
        (Field::Checklist, Value::Checklist(items)) => {
            let there = if let Value::Checklist(items) = remote { items.clone() } else { BTreeMap::new() };
            let keys = items.keys().cloned().collect();
            let keep = first(&keys, |key| there.contains_key(key), MOST_ITEMS);
            if keep.len() == items.len() {
                return whole();
            }
            let (kept, left): (BTreeMap<_, _>, BTreeMap<_, _>) =
                items.clone().into_iter().partition(|(key, _)| keep.contains(key));
            let left = left.into_values().map(|item| item.title).collect();
            Sendable { value: Value::Checklist(kept), left: Some(("checklist_full", left)) }
        }
        (Field::References, Value::References(links)) => {
            let there = if let Value::References(links) = remote { links.clone() } else { BTreeMap::new() };
            let urls = links.keys().cloned().collect();
            let keep = first(&urls, |url| there.contains_key(url), MOST_LINKS);
            if keep.len() == links.len() {
                return whole();
            }
            let (kept, left): (BTreeMap<_, _>, BTreeMap<_, _>) =
                links.clone().into_iter().partition(|(url, _)| keep.contains(url));
            let left = left.into_keys().collect();
            Sendable { value: Value::References(kept), left: Some(("references_full", left)) }
        }
        _ => whole(),
    }
}

/// Those that are there, and of the others as many as there is room for.
fn first(all: &BTreeSet<String>, is_there: impl Fn(&str) -> bool, most: usize) -> BTreeSet<String> {
    let (there, new): (Vec<&String>, Vec<&String>) = all.iter().partition(|key| is_there(key));
    let room = most.saturating_sub(there.len());
    there.into_iter().chain(new.into_iter().take(room)).cloned().collect()
}
