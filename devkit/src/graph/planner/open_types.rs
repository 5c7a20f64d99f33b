//! Planner's open types: maps whose entries are merged one by one, each under its own rules for keys.

use serde_json::{Value, json};

use super::{
    Context,
    fields::{self, Change, Type},
};
use crate::graph::{answer::GraphError, switches::UnknownMember};

/// Which map it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Map {
    /// `plannerAssignments`: by user; null unassigns.
    Assignments,
    /// `plannerChecklistItems`: by a GUID that the client makes; null deletes.
    Checklist,
    /// `plannerExternalReferences`: by an encoded URL; null deletes.
    References,
    /// `plannerAppliedCategories`: `true` sets, `false` removes.
    Categories,
    /// `plannerUserIds`: `true` shares, `false` takes back.
    SharedWith,
    /// `plannerCategoryDescriptions`: names; null clears.
    CategoryNames,
    /// `plannerOrderHintsByAssignee`: entries cannot be taken away.
    HintsByAssignee,
}

impl Map {
    fn entry_type(self) -> Option<&'static str> {
        match self {
            Self::Assignments => Some("microsoft.graph.plannerAssignment"),
            Self::Checklist => Some("microsoft.graph.plannerChecklistItem"),
            Self::References => Some("microsoft.graph.plannerExternalReference"),
            _ => None,
        }
    }

    fn entry_members(self) -> &'static [(&'static str, Type)] {
        match self {
            Self::Assignments => &[("orderHint", Type::Hint)],
            Self::Checklist => &[("title", Type::Text), ("orderHint", Type::Hint)],
            Self::References => {
                &[("alias", Type::Text), ("type", Type::Text), ("previewPriority", Type::Hint)]
            }
            _ => &[],
        }
    }

    fn entry_ignored(self) -> &'static [&'static str] {
        match self {
            Self::Assignments => &["assignedBy", "assignedDateTime"],
            _ => &["lastModifiedBy", "lastModifiedDateTime"],
        }
    }

    fn key_fits(self, key: &str) -> bool {
        match self {
            Self::Assignments | Self::Checklist | Self::SharedWith | Self::HintsByAssignee => is_guid(key),
            Self::References => is_encoded_url(key),
            Self::Categories | Self::CategoryNames => key
                .strip_prefix("category")
                .is_some_and(|number| !number.starts_with('0') && matches!(number.parse::<u8>(), Ok(1..=25))),
        }
    }
}

fn is_guid(key: &str) -> bool {
    key.len() == 36 && uuid::Uuid::try_parse(key).is_ok()
}

/// `.`, `:`, `@` and `#` have to be percent-encoded, `%` starts an encoded byte; `/` and spaces stay.
fn is_encoded_url(key: &str) -> bool {
    let bytes = key.as_bytes();
    !key.is_empty()
        && bytes.iter().enumerate().all(|(place, byte)| match byte {
            b'.' | b':' | b'@' | b'#' => false,
            b'%' => {
                bytes.get(place + 1..place + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
            }
            _ => true,
        })
}

/// Merges `value` into the map `member` of `change`.
pub(super) fn merge(
    context: &mut Context<'_>,
    map: Map,
    member: &str,
    value: &Value,
    change: &mut Change,
) -> Result<(), GraphError> {
    let Value::Object(entries) = value else {
        return Err(fields::wrong_literal(&value.to_string(), "a map of entries"));
    };
    let mut merged = change.members.get(member).and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in entries {
        if key.starts_with('@') {
            continue;
        }
        if !map.key_fits(key) {
            return Err(GraphError::invalid(format!(
                "The request is invalid:\r\nThe key '{key}' of '{member}' is not in a valid format."
            )));
        }
        let path = format!("{member}/{key}");
        let before = merged.get(key).cloned();
        let after = entry(context, map, member, key, before.as_ref(), value)?;
        if before != after {
            change.changed.push(path.clone());
        }
        match after {
            Some(after) => merged.insert(key.clone(), after),
            None => merged.remove(key),
        };
        change.named.push(path);
    }
    change.members.insert(member.to_owned(), Value::Object(merged));
    Ok(())
}

/// One entry after the write, `None` when it is gone.
fn entry(
    context: &mut Context<'_>,
    map: Map,
    member: &str,
    key: &str,
    before: Option<&Value>,
    value: &Value,
) -> Result<Option<Value>, GraphError> {
    match (map, value) {
        (Map::Categories | Map::SharedWith, Value::Bool(set)) => Ok(set.then_some(json!(true))),
        (Map::CategoryNames, Value::String(_) | Value::Null) => Ok(Some(value.clone())),
        (Map::HintsByAssignee, Value::String(_)) => fields::check(context, key, Type::Hint, value).map(Some),
        (Map::Assignments | Map::Checklist | Map::References, Value::Null) => Ok(None),
        (Map::Assignments | Map::Checklist | Map::References, Value::Object(members)) => {
            object(context, map, member, before, members).map(Some)
        }
        _ => Err(fields::wrong_literal(&value.to_string(), member)),
    }
}

fn object(
    context: &mut Context<'_>,
    map: Map,
    member: &str,
    before: Option<&Value>,
    members: &serde_json::Map<String, Value>,
) -> Result<Value, GraphError> {
    let type_name = map.entry_type().unwrap_or_default();
    match members.get("@odata.type").and_then(Value::as_str) {
        Some(given) if given.trim_start_matches('#') == type_name => {}
        Some(given) => {
            return Err(GraphError::invalid(format!(
                "The request is invalid:\r\nA type named '{given}' could not be resolved by the model. When a model \
                 is available, each type name must resolve to a valid type."
            )));
        }
        None => {
            return Err(GraphError::invalid(format!(
                "The request is invalid:\r\nAn entry of '{member}' must have '@odata.type' with the value \
                 '#{type_name}'."
            )));
        }
    }
    let mut entry = before.and_then(Value::as_object).cloned().unwrap_or_default();
    let old = entry.clone();
    entry.insert("@odata.type".into(), json!(format!("#{type_name}")));
    for (name, value) in members {
        if name.starts_with('@') || map.entry_ignored().contains(&name.as_str()) {
            continue;
        }
        if let Some((_, kind)) = map.entry_members().iter().find(|(known, _)| known == name) {
            let value = fields::check(context, name, *kind, value)?;
            entry.insert(name.clone(), value);
        } else if map == Map::Checklist && name == "isChecked" {
            if !value.is_boolean() {
                return Err(fields::wrong_literal(&value.to_string(), "Edm.Boolean"));
            }
            entry.insert(name.clone(), value.clone());
        } else if context.rules.switches.unknown_member == UnknownMember::Refused {
            return Err(GraphError::unknown_member(name, type_name.trim_start_matches("microsoft.graph.")));
        }
    }
    let hint = if map == Map::References { "previewPriority" } else { "orderHint" };
    if !entry.contains_key(hint) {
        let first = fields::check(context, hint, Type::Hint, &json!(" !"))?;
        entry.insert(hint.into(), first);
    }
    match map {
        Map::Assignments if before.is_none() => {
            entry.insert("assignedBy".into(), context.actor.identity());
            entry.insert("assignedDateTime".into(), json!(context.now));
        }
        Map::Assignments => {}
        _ => {
            if map == Map::Checklist {
                entry.entry("isChecked").or_insert(json!(false));
                entry.entry("title").or_insert(json!(""));
            } else {
                entry.entry("alias").or_insert(Value::Null);
                entry.entry("type").or_insert(json!("Other"));
            }
            if entry != old {
                entry.insert("lastModifiedBy".into(), context.actor.identity());
                entry.insert("lastModifiedDateTime".into(), json!(context.now));
            }
        }
    }
    Ok(Value::Object(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_keys_are_urls_with_five_characters_encoded() {
        for good in [
            "https%3A//contoso%2Esharepoint%2Ecom/teams/x/Report%2Epptx",
            "https%3A//a/Shared Documents/Demande%2520de%2Edocx?web=1",
        ] {
            assert!(Map::References.key_fits(good), "{good}");
        }
        for bad in ["https://a/b", "https%3A//a.b/", "", "a%2", "a%zz", "a#b", "a@b"] {
            assert!(!Map::References.key_fits(bad), "{bad}");
        }
    }

    #[test]
    fn categories_go_from_1_to_25() {
        for good in ["category1", "category25"] {
            assert!(Map::Categories.key_fits(good));
        }
        for bad in ["category0", "category26", "category01", "Category1", "red", "category"] {
            assert!(!Map::Categories.key_fits(bad), "{bad}");
        }
    }
}
