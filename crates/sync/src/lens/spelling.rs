//! How documents spell the fields: member names in order of precedence, and the words for progress and priority.

use super::document::Document;
use super::field::Field;

/// The member names of a field, the winning one first.
pub(crate) fn members(field: Field) -> &'static [&'static str] {
    match field {
        Field::Title => &["title"],
        Field::Percent => &["percent_complete", "percentComplete"],
        Field::Priority => &["priority"],
        Field::Start => &["start_date", "startDate"],
        Field::Due => &["due_date", "dueDate"],
        Field::Bucket => &["bucket_id", "bucketId", "planner_bucket_id"],
        Field::Plan => &["plan_id", "planId", "planner_plan_id"],
        Field::Assignees => &["assigned_to", "assignedTo"],
        Field::Description => &["description"],
        Field::Checklist => &["checklist_items", "checklistItems"],
        Field::Labels => &["labels", "applied_categories", "appliedCategories"],
        Field::References => &["references"],
        Field::Order => &["order", "orderHint"],
    }
}

/// Whether a text is one that Planner takes for a place among others: `"<before> <after>!"` with either side empty,
/// or several of these (Graph, Planner order hints). What Planner stores itself is none.
pub(crate) fn is_order_hint(text: &str) -> bool {
    text.ends_with('!') && text.contains(' ') && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Members that hold the id of one assigned user each, beside the lists.
pub(crate) const ASSIGNEE_IDS: [&str; 2] = ["assigned_to_human_id", "planner_assigned_to_id"];

/// The names under which this document holds the field. A document without a title is read by its `name` or
/// `summary`, one without a description by its `notes`.
pub(crate) fn members_in(doc: &Document, field: Field) -> Vec<&'static str> {
    let text = |name: &str| doc.get(name).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let has_text = |name: &str| text(name).is_some_and(|text| !text.trim().is_empty());
    match field {
        Field::Title => {
            let silent = doc.get("title").is_none_or(|raw| {
                raw.get() == "null" || text("title").is_some_and(|text| text.trim().is_empty())
            });
            if silent && let Some(name) = ["name", "summary"].into_iter().find(|name| has_text(name)) {
                return vec![name];
            }
        }
        Field::Description if doc.get("description").is_none() && text("notes").is_some() => {
            return vec!["notes"];
        }
        _ => {}
    }
    members(field).iter().copied().filter(|name| doc.get(name).is_some()).collect()
}

/// The name under which a new member is added: camelCase if the document writes its task members so.
pub(crate) fn new_member(doc: &Document, field: Field) -> &'static str {
    let names = members(field);
    let (mut snake, mut camel) = (false, false);
    for field in Field::ALL {
        for name in members(field) {
            if doc.get(name).is_some() {
                snake |= name.contains('_');
                camel |= name.bytes().any(|byte| byte.is_ascii_uppercase());
            }
        }
    }
    if camel && !snake { names.get(1).copied().unwrap_or(names[0]) } else { names[0] }
}

/// What a `status` word says about the progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    NotStarted,
    Started,
    Completed,
}

impl Progress {
    /// The progress a word stands for; `None` for words that say nothing about it.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let letters: String = word
            .chars()
            .filter(char::is_ascii_alphabetic)
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        match letters.as_str() {
            "completed" | "done" | "finished" => Some(Self::Completed),
            "notstarted" | "pending" => Some(Self::NotStarted),
            "inprogress" => Some(Self::Started),
            _ => None,
        }
    }

    pub(crate) fn of_percent(percent: i64) -> Self {
        match percent {
            ..=0 => Self::NotStarted,
            1..=99 => Self::Started,
            _ => Self::Completed,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Started => "in_progress",
            Self::Completed => "completed",
        }
    }

    /// The per cent that the word alone stands for; Planner's own page writes 50 for a task in progress.
    pub(crate) fn percent(self) -> i64 {
        match self {
            Self::NotStarted => 0,
            Self::Started => 50,
            Self::Completed => 100,
        }
    }
}

/// The canonical word of a priority word; `None` for words that are none.
pub(crate) fn canonical_priority(word: &str) -> Option<&'static str> {
    match word.trim().to_ascii_lowercase().as_str() {
        "urgent" => Some("urgent"),
        "high" | "important" => Some("high"),
        "normal" | "medium" => Some("normal"),
        "low" => Some("low"),
        _ => None,
    }
}

/// The word of a priority's band (Graph, plannerTask resource: priority).
pub(crate) fn priority_word(number: i64) -> &'static str {
    match number {
        ..=1 => "urgent",
        2..=4 => "high",
        5..=7 => "normal",
        _ => "low",
    }
}

/// The number that Planner's own page writes for a word.
pub(crate) fn priority_number(word: &str) -> i64 {
    match word {
        "urgent" => 1,
        "high" => 3,
        "low" => 9,
        _ => 5,
    }
}
