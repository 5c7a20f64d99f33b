//! The fields that a task document and a Planner task share, and when two of their values are equal.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::spelling;

/// One field that both sides can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// `title`; [`Value::Text`], never blank.
    Title,
    /// Progress in per cent, 0 to 100; [`Value::Number`]. A document's `status` is read into it.
    Percent,
    /// [`Value::Number`] 0 to 10, or [`Value::Text`] for one of the four words a document may use.
    Priority,
    /// Start day or instant; [`Value::Time`].
    Start,
    /// Due day or instant; [`Value::Time`].
    Due,
    /// Planner's bucket id; [`Value::Text`].
    Bucket,
    /// Planner's plan id; [`Value::Text`].
    Plan,
    /// Object ids of the assigned users; [`Value::Set`].
    Assignees,
    /// Free text; lives in Planner's task details. [`Value::Text`].
    Description,
    /// Lives in Planner's task details. [`Value::Checklist`].
    Checklist,
    /// Keys of the plan's categories (`category7`), which documents call by their names; [`Value::Set`].
    Labels,
    /// Links; they live in Planner's task details. [`Value::References`].
    References,
    /// Where the task stands in Planner's lists, as an order hint; [`Value::Text`].
    Order,
}

impl Field {
    /// Every field, in order.
    pub const ALL: [Field; 13] = [
        Field::Title,
        Field::Percent,
        Field::Priority,
        Field::Start,
        Field::Due,
        Field::Bucket,
        Field::Plan,
        Field::Assignees,
        Field::Description,
        Field::Checklist,
        Field::Labels,
        Field::References,
        Field::Order,
    ];

    /// True for the fields of `plannerTaskDetails`, a resource with an ETag of its own.
    pub fn is_details(self) -> bool {
        matches!(self, Field::Description | Field::Checklist | Field::References)
    }

    /// The field's stable name, the same as its serialised form.
    pub fn name(self) -> &'static str {
        match self {
            Field::Title => "title",
            Field::Percent => "percent",
            Field::Priority => "priority",
            Field::Start => "start",
            Field::Due => "due",
            Field::Bucket => "bucket",
            Field::Plan => "plan",
            Field::Assignees => "assignees",
            Field::Description => "description",
            Field::Checklist => "checklist",
            Field::Labels => "labels",
            Field::References => "references",
            Field::Order => "order",
        }
    }

    /// True where the field can be empty on both sides. A `null` in any other field says nothing.
    pub fn is_nullable(self) -> bool {
        matches!(
            self,
            Field::Start
                | Field::Due
                | Field::Assignees
                | Field::Description
                | Field::Checklist
                | Field::Labels
                | Field::References
        )
    }
}

/// One line of a checklist. Its key in the map is Planner's item id, a GUID in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecklistItem {
    /// The item's text.
    pub title: String,
    /// Whether it is ticked.
    pub checked: bool,
}

/// A link of a task. Its key in the map is the link's own text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The text that is shown for the link, empty for none. `None`: nothing is said about it.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// `Word`, `Excel`, `PowerPoint`, `Other` or another word of Planner's. `None`: nothing is said about it.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Planner's key for the link, where it is not the one that we would make.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Reference {
    /// True if neither says anything that the other contradicts. How Planner spells the key does not count.
    pub fn agrees(&self, other: &Self) -> bool {
        let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        agree(&self.alias, &other.alias) && agree(&self.kind, &other.kind)
    }
}

/// A field's canonical value. The serialised form is stable: it is stored in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Empty.
    #[serde(rename = "n")]
    Null,
    /// Text; for [`Field::Priority`] one of `urgent`, `high`, `normal`, `low`.
    #[serde(rename = "s")]
    Text(String),
    /// A whole number.
    #[serde(rename = "i")]
    Number(i64),
    /// `YYYY-MM-DD` for a whole day, else RFC 3339 in UTC with `Z`, without a needless fraction.
    #[serde(rename = "t")]
    Time(String),
    /// User ids in lower case, or keys of categories.
    #[serde(rename = "u")]
    Set(BTreeSet<String>),
    /// Checklist items by id.
    #[serde(rename = "c")]
    Checklist(BTreeMap<String, ChecklistItem>),
    /// Links by their text.
    #[serde(rename = "r")]
    References(BTreeMap<String, Reference>),
}

impl Value {
    /// The value as plain JSON, for messages to agents; the serialised form is for storage.
    pub fn shown(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Text(text) | Value::Time(text) => text.as_str().into(),
            Value::Number(number) => (*number).into(),
            Value::Set(ids) => ids.iter().map(String::as_str).collect(),
            Value::Checklist(items) => items
                .iter()
                .map(|(id, item)| serde_json::json!({"id": id, "title": item.title, "checked": item.checked}))
                .collect(),
            Value::References(links) => links
                .iter()
                .map(|(url, link)| serde_json::json!({"url": url, "alias": link.alias, "type": link.kind}))
                .collect(),
        }
    }

    /// True for `Null` and for an empty text, set, checklist or map of links.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Text(text) | Value::Time(text) => text.is_empty(),
            Value::Number(_) => false,
            Value::Set(set) => set.is_empty(),
            Value::Checklist(items) => items.is_empty(),
            Value::References(links) => links.is_empty(),
        }
    }
}

/// Values by field. A field that is missing here is one that this side says nothing about.
pub type Fields = BTreeMap<Field, Value>;

/// True if Planner could not tell the two values apart:
/// a whole day equals any instant of that UTC day, a priority word equals every number of its band
/// (0–1 urgent, 2–4 high, 5–7 normal, 8–10 low; two numbers are compared exactly), line ends of a
/// description do not count, a link's alias or type that one side does not name is as the other says, and everything
/// empty is equal.
///
/// It is no equivalence: two instants of one day both equal the day and differ from each other. Compare with
/// values that came from Planner or from [`super::planner::stored`] where that matters.
pub fn same(field: Field, a: &Value, b: &Value) -> bool {
    if a.is_empty() || b.is_empty() {
        return a.is_empty() && b.is_empty();
    }
    match (field, a, b) {
        (Field::Start | Field::Due, Value::Time(a), Value::Time(b)) => match (a.len(), b.len()) {
            (10, 11..) => b.starts_with(a.as_str()),
            (11.., 10) => a.starts_with(b.as_str()),
            _ => a == b,
        },
        (Field::Priority, Value::Text(word), Value::Number(number))
        | (Field::Priority, Value::Number(number), Value::Text(word)) => {
            spelling::priority_word(*number) == word
        }
        (Field::Description, Value::Text(a), Value::Text(b)) => {
            a == b || a.replace("\r\n", "\n") == b.replace("\r\n", "\n")
        }
        (Field::References, Value::References(a), Value::References(b)) => {
            a.len() == b.len()
                && a.iter().all(|(url, link)| b.get(url).is_some_and(|other| link.agrees(other)))
        }
        _ => a == b,
    }
}
