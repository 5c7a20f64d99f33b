//! The lists that a task stands in: all tasks, and those of its plan, its assignees and its status.

use std::{collections::BTreeSet, fmt::Write};

use annika_sync::lens::{self, Document, Field, Value};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::keys;

/// More assignees than this are not indexed: Planner itself takes twenty.
const MOST_ASSIGNEES: usize = 32;
/// A longer value stands in an index key as its hash.
const LONGEST_VALUE: usize = 128;

/// The names of the status words that Planner's progress stands for.
const NOT_STARTED: &str = "not_started";
const IN_PROGRESS: &str = "in_progress";
const COMPLETED: &str = "completed";
const PROGRESS: [&str; 3] = [NOT_STARTED, IN_PROGRESS, COMPLETED];

/// The index keys that a document belongs to, sorted; joined by newlines they are what `reindex` wants.
///
/// A document that says nothing of progress has not been started. One that the lens cannot read belongs to the list
/// of all tasks, and to that of its status word, alone.
pub fn index_entries(document: &Document) -> Vec<String> {
    let mut entries = BTreeSet::from([all()]);
    let (mut progress, mut readable) = (None, false);
    if let Ok(projection) = lens::project(document, None) {
        readable = true;
        if let Some(Value::Text(plan)) = projection.fields.get(&Field::Plan) {
            entries.insert(of_plan(plan));
        }
        if let Some(Value::Set(people)) = projection.fields.get(&Field::Assignees) {
            entries.extend(people.iter().take(MOST_ASSIGNEES).map(|person| of_assignee(person)));
        }
        let names = projection.unresolved.iter().filter(|(field, _)| *field == Field::Assignees);
        entries.extend(names.take(MOST_ASSIGNEES).map(|(_, name)| of_assignee(name)));
        if let Some(Value::Number(percent)) = projection.fields.get(&Field::Percent) {
            progress = Some(match percent {
                ..=0 => NOT_STARTED,
                1..=99 => IN_PROGRESS,
                100.. => COMPLETED,
            });
        }
    }
    // Where percent and status word contradict each other, the lens has decided.
    let word = status_word(document).filter(|word| progress.is_none() || !PROGRESS.contains(&word.as_str()));
    entries.extend(progress.map(of_status));
    entries.extend(word.as_deref().map(of_status));
    if progress.is_none() && word.is_none() && readable {
        entries.insert(of_status(NOT_STARTED));
    }
    entries.into_iter().collect()
}

/// The document's own status word, which may be one that Planner does not know.
fn status_word(document: &Document) -> Option<String> {
    let word = String::deserialize(document.get("status")?).ok()?;
    let word = word.trim().to_lowercase();
    (!word.is_empty()).then_some(word)
}

/// The index of every task.
pub(super) fn all() -> String {
    keys::tasks_index("all")
}

/// The index of a plan's tasks.
pub(super) fn of_plan(plan: &str) -> String {
    keys::tasks_index(&format!("plan:{}", escape(plan)))
}

/// The index of an assignee's tasks: a user id, or a name that is none.
pub(super) fn of_assignee(person: &str) -> String {
    keys::tasks_index(&format!("assignee:{}", escape(&person.trim().to_lowercase())))
}

/// The index of the tasks with a status.
pub(super) fn of_status(word: &str) -> String {
    keys::tasks_index(&format!("status:{}", escape(&word.trim().to_lowercase())))
}

/// The index of the completed tasks.
pub(crate) fn completed_index() -> String {
    of_status(COMPLETED)
}

/// The value without anything that could end a line or a key segment; a long one as its hash.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if character.is_control() || matches!(character, ':' | '%') {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _infallible = write!(escaped, "%{byte:02x}");
            }
        } else {
            escaped.push(character);
        }
    }
    if escaped.len() <= LONGEST_VALUE {
        return escaped;
    }
    let hash = Sha256::digest(value.as_bytes());
    hash.iter().take(16).fold(String::from("%sha256"), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_break_out_of_its_line_or_segment() {
        assert_eq!(escape("a\nb:c%"), "a%0ab%3ac%25");
        assert_eq!(escape(&"x".repeat(500)).len(), 7 + 32);
        assert_ne!(escape(&"x".repeat(500)), escape(&"x".repeat(501)));
    }
}
