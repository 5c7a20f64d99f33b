//! The lens laws as properties.

use std::collections::BTreeMap;

use annika_sync::lens::{
    Document, DocumentError, Field, Fields, Projection, Value, dates_in_order, import, planner, project_with,
    render_with, same, validate,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::samples::{UNKNOWN, document, fields, json, names, object};
use super::{doc, percent, text};

fn project(doc: &Document, base: Option<&Fields>) -> Result<Projection, DocumentError> {
    project_with(doc, base, &names())
}

fn render(doc: &Document, target: &Fields) -> Document {
    render_with(doc, target, &names())
}

/// True where the document has no way to say the field: a word or form of its own stands in the only place, or the
/// field is one that documents have only of themselves.
fn cannot_say(rendered: &Document, back: &Projection, field: Field) -> bool {
    let own = matches!(field, Field::Priority | Field::Labels | Field::References | Field::Order);
    let silent =
        field == Field::Order && ["order", "orderHint"].iter().all(|name| rendered.get(name).is_none());
    silent
        || own
            && !back.fields.contains_key(&field)
            && back.unresolved.iter().any(|(other, _)| *other == field)
}

/// True if both sides say the same; a field that is not there counts as empty.
fn agree(field: Field, a: Option<&Value>, b: Option<&Value>) -> bool {
    same(field, a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null))
}

/// Ids that Planner's own page wrote are only known from a base.
fn has_short_ids(fields: &Fields) -> bool {
    matches!(fields.get(&Field::Checklist), Some(Value::Checklist(items)) if items.keys().any(|id| id.len() < 36))
}

/// What the documentation of PATCH says, applied to a resource.
fn apply(resource: &mut Json, patch: &Json) {
    for (name, value) in patch.as_object().expect("an object") {
        let open = matches!(name.as_str(), "assignments" | "checklist" | "appliedCategories" | "references");
        if !open {
            resource[name] = value.clone();
            continue;
        }
        for (key, entry) in value.as_object().expect("an open type") {
            let target = resource[name].as_object_mut().expect("an open type");
            if let Some(set) = entry.as_bool() {
                assert_ne!(target.contains_key(key), set, "changes something");
                if set {
                    drop(target.insert(key.clone(), json!(true)))
                } else {
                    drop(target.remove(key))
                }
                continue;
            }
            if entry.is_null() {
                assert!(target.remove(key).is_some(), "removes what is there");
                continue;
            }
            assert!(
                entry["@odata.type"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("#microsoft.graph.planner"))
            );
            let is_new = !target.contains_key(key);
            let hint = if name == "references" { "previewPriority" } else { "orderHint" };
            assert_eq!(entry.get(hint), is_new.then_some(&json!(" !")), "a hint for new entries only");
            let slot = target.entry(key.clone()).or_insert(json!({}));
            for (member, value) in entry.as_object().expect("an entry") {
                slot[member] = value.clone();
            }
        }
    }
}

/// Planner's resources for the fields.
fn resources(fields: &Fields) -> (Json, Json) {
    let mut task = json!({
        "startDateTime": null, "dueDateTime": null, "percentComplete": 0, "priority": 5, "assignments": {},
        "appliedCategories": {},
    });
    apply(&mut task, &planner::create_body(fields));
    let mut details = json!({"description": "", "checklist": {}, "references": {}});
    let (_, body) = planner::patch_bodies(fields, &planner::fields(&task, Some(&details)));
    apply(&mut details, &body.unwrap_or(json!({})));
    (task, details)
}

/// RFC 7396, section 2, as it stands there.
fn naive_merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("an object");
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            naive_merge(target.entry(name.clone()).or_insert(Json::Null), value);
        }
    }
}

// Nine laws of 12,000 cases each: more than 10^5 in all.
proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_rendered_is_projected_again(sample in document(), target in fields()) {
        let rendered = render(&doc(&sample.text()), &target);
        let rendered = doc(&text(&rendered));
        let mut bases = vec![Some(&target)];
        if !has_short_ids(&target) {
            bases.push(None);
        }
        for base in bases {
            let back = project(&rendered, base).expect("still readable");
            for (field, value) in &target {
                if cannot_say(&rendered, &back, *field) {
                    continue;
                }
                let got = back.fields.get(field);
                prop_assert!(agree(*field, got, Some(value)), "{field:?}: {value:?} became {got:?} in {}", text(&rendered));
                prop_assert!(!back.disagreeing.contains(field), "{field:?} disagrees in {}", text(&rendered));
            }
        }
        let again = render(&rendered, &target);
        prop_assert_eq!(text(&again), text(&rendered), "rendering twice changes nothing");
    }

    #[test]
    fn rendering_what_a_document_says_changes_no_byte(sample in document(), base in proptest::option::of(fields())) {
        let before = doc(&sample.text());
        let said = project(&before, base.as_ref()).expect("readable");
        let after = render(&before, &said.fields);
        // With a base a word like `in_progress` stands for a number that it does not spell.
        if said.disagreeing.is_empty() && base.is_none() {
            prop_assert_eq!(text(&after), sample.text());
        }
        // Whatever the base was: once rendered, the document is at rest, and says what was agreed.
        let settled = project(&after, Some(&said.fields)).expect("readable");
        prop_assert!(settled.disagreeing.is_empty(), "{:?} in {}", settled.disagreeing, text(&after));
        prop_assert!(settled.losers.is_empty());
        for (field, value) in &said.fields {
            prop_assert!(agree(*field, settled.fields.get(field), Some(value)), "{:?} in {}", field, text(&after));
        }
        prop_assert_eq!(text(&render(&after, &settled.fields)), text(&after));
    }

    #[test]
    fn an_edit_on_top_of_what_a_document_says_is_kept(
        sample in document(),
        edits in fields(),
        ticks in any::<u8>(),
        removed in any::<u8>(),
    ) {
        let before = doc(&sample.text());
        let said = project(&before, None).expect("readable");
        let mut target = said.fields.clone();
        target.extend(edits.into_iter().filter(|(field, _)| *field != Field::Checklist));
        if let Some(Value::Checklist(items)) = target.get_mut(&Field::Checklist) {
            let ids: Vec<String> = items.keys().cloned().collect();
            for (at, id) in ids.into_iter().enumerate() {
                let item = items.get_mut(&id).expect("an item");
                match (removed >> (at % 4 * 2)) & 3 {
                    0 => drop(items.remove(&id)),
                    1 => item.title.push('!'),
                    2 => item.title = "milk".to_owned(),
                    _ => {}
                }
                if let Some(item) = items.get_mut(&id) {
                    item.checked ^= ticks >> (at % 8) & 1 == 1;
                }
            }
        }
        let rendered = render(&before, &target);
        let back = project(&rendered, None).expect("still readable");
        for (field, value) in &target {
            if cannot_say(&rendered, &back, *field) {
                continue;
            }
            let got = back.fields.get(field);
            prop_assert!(agree(*field, got, Some(value)), "{field:?}: {value:?} became {got:?} in {}", text(&rendered));
        }
        let names = |list: &[(Field, String)]| -> Vec<_> {
            list.iter().filter(|(field, _)| *field == Field::Assignees).cloned().collect()
        };
        prop_assert_eq!(names(&back.unresolved), names(&said.unresolved), "names are neither lost nor made");
    }

    #[test]
    fn unknown_members_keep_their_bytes_and_places(sample in document(), target in fields()) {
        let rendered = render(&doc(&sample.text()), &target);
        let names: Vec<&str> = rendered.members().map(|(name, _)| name).collect();
        let before: Vec<&str> = sample.members.iter().map(|(name, _)| *name).collect();
        prop_assert_eq!(&names[..before.len()], &before[..], "no member moves or disappears");
        for (name, value) in UNKNOWN {
            if let Some(raw) = rendered.get(name) {
                prop_assert_eq!(raw.get(), value);
            }
        }
    }

    #[test]
    fn a_created_task_says_what_was_sent(target in fields()) {
        let (task, details) = resources(&target);
        let got = planner::fields(&task, Some(&details));
        let stored = planner::stored(&target);
        for (field, value) in &target {
            if *field == Field::Order && !got.contains_key(field) {
                prop_assert!(!matches!(value, Value::Text(hint) if hint.ends_with('!')), "only a place is sent");
                continue;
            }
            prop_assert!(agree(*field, got.get(field), Some(&stored[field])), "{:?}", field);
            let moved_to_other_date = matches!(field, Field::Start | Field::Due);
            prop_assert!(moved_to_other_date || got.get(field) == Some(&stored[field]), "{:?} is stored exactly", field);
            prop_assert!(agree(*field, got.get(field), Some(value)), "{:?}", field);
        }
        if dates_in_order(&target).is_ok() {
            prop_assert!(dates_in_order(&got).is_ok(), "whole days never put the start after the due date");
        }
    }

    #[test]
    fn a_patched_task_becomes_the_target(remote in fields(), mut changes in fields()) {
        let (mut task, mut details) = resources(&remote);
        let remote = planner::fields(&task, Some(&details));
        let plan = changes.remove(&Field::Plan);
        if !matches!(changes.get(&Field::Order), Some(Value::Text(hint)) if hint.ends_with('!')) {
            changes.remove(&Field::Order);
        }
        let (for_task, for_details) = planner::patch_bodies(&changes, &remote);
        apply(&mut task, &for_task.clone().unwrap_or(json!({})));
        apply(&mut details, &for_details.clone().unwrap_or(json!({})));
        let got = planner::fields(&task, Some(&details));
        for field in Field::ALL {
            let want = changes.get(&field).or(remote.get(&field));
            prop_assert!(agree(field, got.get(&field), want), "{:?}: {:?} is not {:?}", field, got.get(&field), want);
        }
        for (field, value) in &changes {
            if remote.get(field).is_some_and(|remote| same(*field, remote, value)) {
                let body = if field.is_details() { &for_details } else { &for_task };
                let names = ["title", "percentComplete", "priority", "startDateTime", "dueDateTime", "bucketId", "planId",
                    "assignments", "description", "checklist", "appliedCategories", "references", "orderHint"];
                let at = Field::ALL.iter().position(|other| other == field).expect("a field");
                prop_assert!(body.as_ref().is_none_or(|body| body.get(names[at]).is_none()), "{:?} is sent in vain", field);
            }
        }
        prop_assert_eq!(planner::patch_bodies(&got, &got), (None, None));
        if let Some(plan) = plan {
            prop_assert_eq!(planner::patch_bodies(&Fields::from([(Field::Plan, plan)]), &remote), (None, None));
        }
    }

    #[test]
    fn an_imported_task_says_what_planner_says(target in fields()) {
        let (mut task, details) = resources(&target);
        task["id"] = json!("01gzSlKkIUSUl6DF_EilrmQAKDhh");
        let fields = planner::fields(&task, Some(&details));
        let imported = import("planner-01gzSlKkIUSUl6DF_EilrmQAKDhh", &task, Some(&details));
        let labels = fields.get(&Field::Labels).cloned().unwrap_or(Value::Null);
        let imported = render(&imported, &Fields::from([(Field::Labels, labels)]));
        let said = project(&imported, Some(&fields)).expect("readable");
        for field in Field::ALL {
            if field == Field::Title && !fields.contains_key(&field) {
                continue;
            }
            prop_assert!(agree(field, said.fields.get(&field), fields.get(&field)), "{:?} in {}", field, text(&imported));
        }
        prop_assert!(said.disagreeing.is_empty() && said.unresolved.is_empty());
        prop_assert_eq!(text(&render(&imported, &fields)), text(&imported));
        if dates_in_order(&fields).is_ok() {
            prop_assert_eq!(validate(&imported), Ok(()));
        }
        let bare = import("x", &task, None);
        prop_assert!(bare.get("description").is_none() && bare.get("checklist_items").is_none());
    }

    #[test]
    fn merge_patch_agrees_with_the_rfc(before in object(), patch in object()) {
        let document = doc(&before.to_string());
        let merged = document.merge_patch(patch.to_string().as_bytes()).expect("a patch");
        let mut want = before.clone();
        naive_merge(&mut want, &patch);
        prop_assert_eq!(serde_json::from_str::<Json>(&text(&merged)).expect("JSON"), want.clone());
        if want == before {
            prop_assert_eq!(text(&merged), before.to_string());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", value in json()) {
        let _ = Document::parse(text.as_bytes());
        for name in ["title", "percent_complete", "due_date", "assigned_to", "checklist_items", "priority", "_sync",
            "labels", "applied_categories", "references", "order"] {
            let document = doc(&json!({name: value}).to_string());
            let said = project(&document, None);
            let problems = validate(&document);
            // Whatever the projection refuses, validation refuses too.
            prop_assert!(said.is_ok() || problems.is_err());
            let _ = (document.sync_stamp(), render(&document, &said.map(|said| said.fields).unwrap_or_default()));
        }
    }
}

#[test]
fn every_percent_survives_in_every_spelling() {
    let documents = [
        r#"{}"#,
        r#"{"percent_complete":0.5}"#,
        r#"{"percent_complete":55}"#,
        r#"{"percentComplete":55}"#,
        r#"{"status":"in_progress"}"#,
        r#"{"status":"done","percent_complete":1}"#,
        r#"{"status":"blocked","percentComplete":3,"percent_complete":0.03}"#,
    ];
    for before in documents {
        for want in 0..=100 {
            let target = BTreeMap::from([(Field::Percent, Value::Number(want))]);
            let rendered = text(&render(&doc(before), &target));
            assert_eq!(percent(&rendered), Some(want), "{before} became {rendered}");
        }
    }
    for want in 0..=100i64 {
        for spelled in
            [format!("{}", want as f64 / 100.0), format!("{:.2}", want as f64 / 100.0), format!("{want}e-2")]
        {
            assert_eq!(percent(&format!("{{\"percent_complete\":{spelled}}}")), Some(want), "{spelled}");
        }
        assert_eq!(percent(&format!("{{\"percentComplete\":{want}}}")), Some(want));
    }
}
