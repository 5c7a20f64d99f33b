//! Who is erased, and what of a value is theirs.

use std::collections::BTreeSet;

use annika_sync::{
    lens::{Document, Field, Fields, Value},
    state::TaskState,
};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// Members of documents that are free text: they are Planner's too, so they are told and not changed.
const FREE_TEXT: [&str; 7] =
    ["title", "name", "summary", "description", "notes", "checklist_items", "checklistItems"];

/// The person: every name under which they may stand in Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The object id in the directory, in lower case, where it is known.
    pub object_id: Option<String>,
    /// Object id, user principal name and mail address, in lower case.
    pub identifiers: BTreeSet<String>,
    /// The display name, in lower case: it counts only where it is a whole value.
    pub display_name: Option<String>,
}

impl Person {
    /// Whether `text` is one of the person's names.
    pub fn is(&self, text: &str) -> bool {
        let text = text.trim().to_lowercase();
        self.identifiers.contains(&text) || self.display_name.as_deref() == Some(text.as_str())
    }

    /// Whether `text` holds one of the person's identifiers.
    pub fn is_mentioned_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.identifiers.iter().any(|name| text.contains(name.as_str()))
    }

    fn may_be_in(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        self.identifiers.iter().chain(&self.display_name).any(|name| text.contains(name.as_str()))
    }

    /// Takes the person out of a value: elements, members that carry their id as name, and objects that describe
    /// them; a single value becomes null. Says whether something was theirs.
    pub fn take_out_of(&self, value: &mut Json) -> bool {
        match value {
            Json::Array(list) => {
                let before = list.len();
                list.retain(|element| !self.is_whole(element));
                let inside = list.iter_mut().fold(false, |any, element| self.take_out_of(element) | any);
                inside || list.len() < before
            }
            Json::Object(object) => {
                let names: Vec<String> = object.keys().filter(|name| self.is(name)).cloned().collect();
                names.iter().for_each(|name| drop(object.remove(name)));
                let mut found = !names.is_empty();
                for member in object.values_mut() {
                    if self.is_whole(member) {
                        *member = Json::Null;
                        found = true;
                    } else {
                        found |= self.take_out_of(member);
                    }
                }
                found
            }
            _ => false,
        }
    }

    /// Whether the whole value is the person: a name of theirs, or an object that describes them.
    fn is_whole(&self, value: &Json) -> bool {
        match value {
            Json::String(text) => self.is(text),
            Json::Object(object) => ["id", "userPrincipalName", "mail", "email", "user_id", "userId"]
                .iter()
                .any(|name| object.get(*name).and_then(Json::as_str).is_some_and(|text| self.is(text))),
            _ => false,
        }
    }

    /// A JSON text without the person; `None` where nothing in it is theirs. Identifiers inside longer texts are
    /// replaced by `[erased]`.
    pub fn taken_out_of_text(&self, text: &[u8]) -> Option<Vec<u8>> {
        if !self.may_be_in(text) {
            return None;
        }
        let Ok(mut value) = serde_json::from_slice::<Json>(text) else {
            let plain = std::str::from_utf8(text).ok()?;
            return self.is_mentioned_in(plain).then(|| self.blotted(plain).into_bytes());
        };
        let structural = self.take_out_of(&mut value);
        let blotted = self.blot(&mut value);
        (structural || blotted).then(|| value.to_string().into_bytes())
    }

    fn blot(&self, value: &mut Json) -> bool {
        match value {
            Json::String(text) if self.is_mentioned_in(text) => {
                *text = self.blotted(text);
                true
            }
            Json::Array(list) => list.iter_mut().fold(false, |any, value| self.blot(value) | any),
            Json::Object(object) => object.values_mut().fold(false, |any, value| self.blot(value) | any),
            _ => false,
        }
    }

    fn blotted(&self, text: &str) -> String {
        // Identifiers are ASCII, so lowering keeps the places of everything around them only in ASCII texts.
        let mut names: Vec<&String> = self.identifiers.iter().collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let mut blotted = text.to_owned();
        for name in names {
            while let Some(at) = blotted.to_ascii_lowercase().find(&name.to_ascii_lowercase()) {
                blotted.replace_range(at..at + name.len(), "[erased]");
            }
        }
        blotted
    }

    /// A document without the person, and whether its free text still mentions them; `None` = nothing to change.
    pub fn taken_out_of_document(&self, document: &Document) -> (Option<Document>, bool) {
        let mut changed = document.clone();
        let mut found = false;
        let mut mentioned = false;
        let members: Vec<(String, String)> = document
            .members()
            .filter(|(_, raw)| self.may_be_in(raw.get().as_bytes()))
            .map(|(name, raw)| (name.to_owned(), raw.get().to_owned()))
            .collect();
        for (name, raw) in members {
            let Ok(mut value) = serde_json::from_str::<Json>(&raw) else { continue };
            if FREE_TEXT.contains(&name.as_str()) {
                mentioned |= self.is_mentioned_in(&raw);
            } else if self.is_whole(&value) {
                changed.set(&name, &Json::Null);
                found = true;
            } else if self.take_out_of(&mut value) {
                changed.set(&name, &value);
                found = true;
            } else {
                mentioned |= self.is_mentioned_in(&raw);
            }
        }
        (found.then_some(changed), mentioned)
    }

    /// Takes the person out of what the sync remembers of a task; says whether they were in it.
    pub fn take_out_of_state(&self, state: &mut TaskState) -> bool {
        let mut found = false;
        for fields in state.fields_mut() {
            found |= self.take_out_of_fields(fields);
        }
        for intent in &mut state.intents {
            found |= self.take_out_of_value(&mut intent.value);
        }
        found
    }

    fn take_out_of_fields(&self, fields: &mut Fields) -> bool {
        fields.get_mut(&Field::Assignees).is_some_and(|value| self.take_out_of_value(value))
    }

    fn take_out_of_value(&self, value: &mut Value) -> bool {
        let Value::Set(people) = value else { return false };
        let before = people.len();
        people.retain(|person| !self.is(person));
        people.len() < before
    }
}

/// The form in which an erased person's object id is remembered, so that what Graph sends of them stays out.
pub fn hash(object_id: &str) -> String {
    let digest = Sha256::digest(object_id.to_ascii_lowercase().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes erased people out of an entity that Graph sent: assignments, and who created, completed or changed it.
pub fn strip(value: &mut Json, is_erased: &impl Fn(&str) -> bool) {
    match value {
        Json::Array(list) => list.iter_mut().for_each(|value| strip(value, is_erased)),
        Json::Object(object) => {
            if let Some(Json::Object(assignments)) = object.get_mut("assignments") {
                assignments.retain(|id, _| !is_erased(id));
            }
            for (name, member) in object.iter_mut() {
                let id = member.get("id").and_then(Json::as_str);
                if name == "user" && id.is_some_and(is_erased) {
                    *member = Json::Null;
                } else {
                    strip(member, is_erased);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use annika_sync::state::{Attempt, Create, Leaving, Remote};
    use serde_json::json;

    use super::*;

    fn alex() -> Person {
        Person {
            object_id: Some("fbab97d0".into()),
            identifiers: ["fbab97d0", "alexw@contoso.com"].map(str::to_owned).into(),
            display_name: Some("alex wilber".into()),
        }
    }

    #[test]
    fn a_document_loses_the_person_and_keeps_every_other_byte() {
        let text = r#"{"id":"t","title":"Ask alexw@contoso.com","assigned_to":["FBAB97D0","other"],"created_by":"Alex Wilber","n":1.0,"assignments":{"fbab97d0":{},"other":{}}}"#;
        let document = Document::parse(text.as_bytes()).expect("a document");
        let (changed, mentioned) = alex().taken_out_of_document(&document);
        let changed = String::from_utf8(changed.expect("they are in it").bytes()).expect("UTF-8");
        assert_eq!(
            changed,
            r#"{"id":"t","title":"Ask alexw@contoso.com","assigned_to":["other"],"created_by":null,"n":1.0,"assignments":{"other":{}}}"#
        );
        assert!(mentioned, "the title is Planner's too: it is told");
        let again = Document::parse(changed.as_bytes()).expect("a document");
        assert_eq!(alex().taken_out_of_document(&again), (None, true));
    }

    #[test]
    fn a_name_counts_only_as_a_whole_value_and_identifiers_anywhere_in_logs() {
        let person = alex();
        assert_eq!(person.taken_out_of_text(br#"{"text":"Alex Wilber Street"}"#), None);
        let entry = person.taken_out_of_text(
            r#"{"error":"ä: ALEXW@contoso.com is nobody","user":{"id":"fbab97d0"}}"#.as_bytes(),
        );
        assert_eq!(
            serde_json::from_slice::<Json>(&entry.expect("they are in it")).expect("JSON"),
            json!({"error": "ä: [erased] is nobody", "user": null})
        );
        assert_eq!(
            person.taken_out_of_text(b"plain fbab97d0 text").as_deref(),
            Some(&b"plain [erased] text"[..])
        );
    }

    #[test]
    fn the_state_loses_assignees_and_nothing_else() {
        let people = |ids: &[&str]| Value::Set(ids.iter().map(|id| (*id).to_owned()).collect());
        let fields = Fields::from([
            (Field::Assignees, people(&["fbab97d0", "other"])),
            (Field::Title, Value::Text("alex wilber".into())),
        ]);
        let remote = Remote { fields: fields.clone(), ..Remote::default() };
        let mut state = TaskState {
            base: fields.clone(),
            current: fields.clone(),
            created_with: fields.clone(),
            remote: Some(remote.clone()),
            create: Some(Create {
                fields: fields.clone(),
                earlier: vec![Attempt { fields: fields.clone(), sent_at: 1 }],
                ..Create::default()
            }),
            leaving: Some(Leaving {
                base: fields.clone(),
                handed: fields.clone(),
                seen: Some(remote),
                ..Leaving::default()
            }),
            ..TaskState::default()
        };
        assert!(alex().take_out_of_state(&mut state));
        let text = serde_json::to_string(&state).expect("JSON");
        assert!(!text.contains("fbab97d0"), "{text}");
        assert_eq!(text.matches("other").count(), 9, "everybody else stays: {text}");
        assert_eq!(state.current[&Field::Title], Value::Text("alex wilber".into()));
        assert!(!alex().take_out_of_state(&mut state));
    }

    #[test]
    fn what_graph_sends_of_an_erased_person_is_left_out() {
        let mut task = json!({"id": "x", "assignments": {"fbab97d0": {"assignedBy": {"user": {"id": "b"}}}, "b": {}},
            "createdBy": {"user": {"id": "fbab97d0"}, "application": {"id": "a"}},
            "details": {"checklist": {"1": {"lastModifiedBy": {"user": {"id": "FBAB97D0"}}}}}});
        strip(&mut task, &|id| id.eq_ignore_ascii_case("fbab97d0"));
        assert_eq!(
            task,
            json!({"id": "x", "assignments": {"b": {}}, "createdBy": {"user": null, "application": {"id": "a"}},
                "details": {"checklist": {"1": {"lastModifiedBy": {"user": null}}}}})
        );
        assert_eq!(hash("FBAB97D0"), hash("fbab97d0"));
    }
}
