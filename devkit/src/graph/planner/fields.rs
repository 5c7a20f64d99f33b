//! The members of Planner's types that a client may write, and the checks of their values.

use serde_json::{Map, Value, json};

use super::{Context, open_types};
use crate::graph::{
    answer::GraphError,
    etag::Kind,
    order_hint,
    switches::{Lengths, PlanChange, ReadOnly, UnknownMember},
};

/// What a member holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    /// Text that may be null.
    Text,
    /// Text that may be neither null nor empty.
    Name,
    /// A whole number between two bounds.
    Int(i64, i64),
    /// A time with a zone; null clears it.
    Date,
    /// An order hint in the client's form.
    Hint,
    /// How a card shows its details.
    Preview,
    /// A map merged key by key.
    Open(open_types::Map),
}

/// The writable members of a resource.
pub(super) fn writable(kind: Kind) -> &'static [(&'static str, Type)] {
    match kind {
        Kind::Plan => &[("title", Type::Name)],
        Kind::PlanDetails => &[
            ("sharedWith", Type::Open(open_types::Map::SharedWith)),
            ("categoryDescriptions", Type::Open(open_types::Map::CategoryNames)),
        ],
        Kind::Bucket => &[("name", Type::Name), ("orderHint", Type::Hint)],
        Kind::Task => &[
            ("title", Type::Name),
            ("bucketId", Type::Text),
            ("orderHint", Type::Hint),
            ("assigneePriority", Type::Hint),
            ("percentComplete", Type::Int(0, 100)),
            ("priority", Type::Int(0, 10)),
            ("startDateTime", Type::Date),
            ("dueDateTime", Type::Date),
            ("conversationThreadId", Type::Text),
            ("assignments", Type::Open(open_types::Map::Assignments)),
            ("appliedCategories", Type::Open(open_types::Map::Categories)),
        ],
        Kind::TaskDetails => &[
            ("description", Type::Text),
            ("previewType", Type::Preview),
            ("checklist", Type::Open(open_types::Map::Checklist)),
            ("references", Type::Open(open_types::Map::References)),
        ],
        Kind::AssignedToFormat => &[
            ("unassignedOrderHint", Type::Hint),
            ("orderHintsByAssignee", Type::Open(open_types::Map::HintsByAssignee)),
        ],
        Kind::BucketFormat | Kind::ProgressFormat => &[("orderHint", Type::Hint)],
    }
}

/// The members that the service computes, or that are fixed when the resource is made: Planner ignores
/// them in a PATCH.
fn ignored(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Plan => &["id", "owner", "container", "createdBy", "createdDateTime"],
        Kind::Bucket => &["id", "planId"],
        Kind::Task => &[
            "id",
            "planId",
            "previewType",
            "createdBy",
            "createdDateTime",
            "completedBy",
            "completedDateTime",
            "hasDescription",
            "checklistItemCount",
            "activeChecklistItemCount",
            "referenceCount",
        ],
        _ => &["id"],
    }
}

/// Whether a PATCH has no business to name this member.
pub(crate) fn is_read_only(kind: Kind, name: &str) -> bool {
    !name.contains('@') && ignored(kind).contains(&name)
}

/// The longest text that a member takes where lengths are limited, in characters.
fn longest(kind: Kind, name: &str) -> usize {
    match (kind, name) {
        (Kind::TaskDetails, "description") => 32_768,
        _ => 255,
    }
}

/// A resource's members as a write would leave them.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// All members afterwards.
    pub members: Map<String, Value>,
    /// The properties that the write names; map entries by `{member}/{key}`.
    pub named: Vec<String>,
    /// Those of them that it really changes.
    pub changed: Vec<String>,
}

/// Checks `body` against the type and works out what it does to `current`.
pub(super) fn apply(
    context: &mut Context<'_>,
    kind: Kind,
    current: &Map<String, Value>,
    body: &Map<String, Value>,
) -> Result<Change, GraphError> {
    let mut change = Change { members: current.clone(), ..Change::default() };
    for (name, value) in body {
        if name.contains('@') {
            continue;
        }
        if let Some((_, kind_of_value)) = writable(kind).iter().find(|(known, _)| known == name) {
            if let Type::Open(map) = kind_of_value {
                open_types::merge(context, *map, name, value, &mut change)?;
                continue;
            }
            let value = check(context, name, *kind_of_value, value)?;
            let limited = context.rules.switches.lengths == Lengths::Limited;
            if limited && value.as_str().is_some_and(|text| text.chars().count() > longest(kind, name)) {
                return Err(GraphError::invalid(format!(
                    "The request is invalid:\r\nThe value of '{name}' is too long."
                )));
            }
            change.named.push(name.clone());
            if current.get(name).unwrap_or(&Value::Null) != &value {
                change.changed.push(name.clone());
                change.members.insert(name.clone(), value);
            }
        } else if ignored(kind).contains(&name.as_str()) {
            let switches = &context.rules.switches;
            let moves = kind == Kind::Task && name == "planId" && switches.plan_change == PlanChange::Moved;
            let fixed = name == "id"
                || (name == "planId" && !moves)
                || (switches.read_only == ReadOnly::Refused && name != "planId");
            if fixed && current.get(name).is_some_and(|now| now != value) {
                return Err(GraphError::invalid(format!(
                    "The request is invalid:\r\nThe property '{name}' is read-only."
                )));
            }
        } else if context.rules.switches.unknown_member == UnknownMember::Refused {
            return Err(GraphError::unknown_member(name, kind.type_name()));
        }
    }
    Ok(change)
}

/// The value as it is stored, or 400.
pub(super) fn check(
    context: &mut Context<'_>,
    name: &str,
    kind: Type,
    value: &Value,
) -> Result<Value, GraphError> {
    match (kind, value) {
        (Type::Text, Value::String(_) | Value::Null) => Ok(value.clone()),
        (Type::Name, Value::String(text)) if !text.is_empty() => Ok(value.clone()),
        (Type::Name, Value::String(_) | Value::Null) => Err(GraphError::invalid(format!(
            "The request is invalid:\r\nThe property '{name}' must have a value that is neither null nor empty."
        ))),
        (Type::Int(low, high), Value::Number(number)) => match number.as_i64() {
            Some(whole) if (low..=high).contains(&whole) => Ok(json!(whole)),
            Some(whole) => Err(GraphError::invalid(format!(
                "The request is invalid:\r\nThe value {whole} of '{name}' is not between {low} and {high}."
            ))),
            None => Err(wrong_literal(&number.to_string(), "Edm.Int32")),
        },
        (Type::Date, Value::Null) => Ok(Value::Null),
        (Type::Date, Value::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(json!(time.to_string())),
            Err(_) => Err(wrong_literal(text, "Edm.DateTimeOffset")),
        },
        (Type::Hint, Value::String(text)) => {
            let first = order_hint::newest(context.store.next_seq());
            match order_hint::resolve(text, &first) {
                Some(hint) => Ok(json!(hint)),
                None => Err(GraphError::invalid(order_hint::refusal(text))),
            }
        }
        (Type::Preview, Value::String(text)) => {
            if ["automatic", "noPreview", "checklist", "description", "reference"].contains(&text.as_str()) {
                Ok(value.clone())
            } else {
                Err(wrong_literal(text, "microsoft.graph.plannerPreviewType"))
            }
        }
        (_, other) => {
            let wanted = match kind {
                Type::Int(..) => "Edm.Int32",
                Type::Date => "Edm.DateTimeOffset",
                _ => "Edm.String",
            };
            Err(wrong_literal(&other.to_string(), wanted))
        }
    }
}

/// 400 for a value of the wrong type.
pub(super) fn wrong_literal(text: &str, wanted: &str) -> GraphError {
    GraphError::invalid(format!(
        "The request is invalid:\r\nCannot convert the literal '{text}' to the expected type '{wanted}'."
    ))
}
