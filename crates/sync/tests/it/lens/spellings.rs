//! Two spellings of one field in one document, and how each one is written.

use annika_sync::lens::{ChecklistItem, Field, Fields, Value, project, render, same};

use super::{ADELE, MEGAN, NESTOR, doc, field, just, people, says, text, time, words};

fn with_base(json: &str, base: &Fields) -> annika_sync::lens::Projection {
    project(&doc(json), Some(base)).expect("readable")
}

#[test]
fn the_spelling_that_changed_since_the_base_counts() {
    let base = just(Field::Due, time("2025-10-24"));
    let said = with_base(r#"{"due_date":"2025-10-24","dueDate":"2025-10-30"}"#, &base);
    assert_eq!(said.fields[&Field::Due], time("2025-10-30"));
    assert_eq!((said.losers.len(), said.disagreeing.as_slice()), (0, &[Field::Due][..]));
    let said = with_base(r#"{"due_date":"2025-10-31","dueDate":"2025-10-30"}"#, &base);
    assert_eq!(said.fields[&Field::Due], time("2025-10-31"), "both changed: snake_case");
    assert_eq!(said.losers, [(Field::Due, "dueDate".to_owned(), time("2025-10-30"))]);
    let said = with_base(r#"{"due_date":null,"dueDate":"2025-10-24"}"#, &base);
    assert_eq!(said.fields[&Field::Due], Value::Null, "clearing is a change");
    let said = says(r#"{"due_date":null,"dueDate":"2025-10-24"}"#);
    assert_eq!(said.fields[&Field::Due], time("2025-10-24"), "without a base empty is no change");
    assert!(said.losers.is_empty());
}

#[test]
fn status_and_percent_settle_it_the_same_way() {
    let base = just(Field::Percent, Value::Number(29));
    let percent = |json: &str| with_base(json, &base);
    let said = percent(r#"{"status":"completed","percent_complete":0.29}"#);
    assert_eq!((&said.fields[&Field::Percent], said.losers.len()), (&Value::Number(100), 0));
    let said = percent(r#"{"status":"in_progress","percent_complete":1.0}"#);
    assert_eq!((&said.fields[&Field::Percent], said.losers.len()), (&Value::Number(100), 0));
    let said = percent(r#"{"status":"completed","percent_complete":0.5}"#);
    assert_eq!(said.fields[&Field::Percent], Value::Number(50));
    assert_eq!(said.losers, [(Field::Percent, "status".to_owned(), Value::Number(100))]);
    let said = percent(r#"{"status":"in_progress"}"#);
    assert_eq!(said.fields[&Field::Percent], Value::Number(29), "the word does not contradict the base");
    let said = percent(r#"{"percent_complete":0.29,"percentComplete":40,"status":"in_progress"}"#);
    assert_eq!(said.fields[&Field::Percent], Value::Number(40));
    let rendered = render(
        &doc(r#"{"percent_complete":0.29,"percentComplete":40,"status":"in_progress"}"#),
        &just(Field::Percent, Value::Number(100)),
    );
    assert_eq!(text(&rendered), r#"{"percent_complete":1.0,"percentComplete":100,"status":"completed"}"#);
}

#[test]
fn percent_is_written_as_the_document_writes_it() {
    let written =
        |json: &str, percent| text(&render(&doc(json), &just(Field::Percent, Value::Number(percent))));
    assert_eq!(written(r#"{"percent_complete":0.5}"#, 75), r#"{"percent_complete":0.75}"#);
    assert_eq!(written(r#"{"percent_complete":50}"#, 75), r#"{"percent_complete":75}"#);
    assert_eq!(written(r#"{"percent_complete":50}"#, 1), r#"{"percent_complete":0.01}"#);
    assert_eq!(written(r#"{"percent_complete":50}"#, 0), r#"{"percent_complete":0.0}"#);
    assert_eq!(written(r#"{"percentComplete":50}"#, 1), r#"{"percentComplete":1}"#);
    assert_eq!(written(r#"{"percent_complete":null}"#, 1), r#"{"percent_complete":0.01}"#);
    assert_eq!(
        written(r#"{"percentComplete":null,"due_date":null}"#, 1),
        r#"{"percentComplete":1,"due_date":null}"#,
        "an empty member is filled before another one is added"
    );
    assert_eq!(written(r#"{"planId":"p"}"#, 7), r#"{"planId":"p","percentComplete":7}"#);
    assert_eq!(
        written(r#"{"planId":"p","due_date":null}"#, 7),
        r#"{"planId":"p","due_date":null,"percent_complete":0.07}"#
    );
    assert_eq!(written(r#"{"status":"pending"}"#, 100), r#"{"status":"completed"}"#);
    assert_eq!(written(r#"{"status":"pending"}"#, 30), r#"{"status":"in_progress","percent_complete":0.3}"#);
    assert_eq!(written(r#"{"status":"blocked"}"#, 100), r#"{"status":"blocked","percent_complete":1.0}"#);
}

#[test]
fn priority_words_and_numbers() {
    let priority = |json: &str| field(json, Field::Priority);
    assert_eq!(priority(r#"{"priority":"Important"}"#), Some(words("high")));
    assert_eq!(priority(r#"{"priority":"medium"}"#), Some(words("normal")));
    assert_eq!(priority(r#"{"priority":4.0}"#), Some(Value::Number(4)));
    assert_eq!(priority(r#"{"priority":null}"#), None);
    let bands =
        ["urgent", "urgent", "high", "high", "high", "normal", "normal", "normal", "low", "low", "low"];
    for (number, word) in bands.iter().enumerate() {
        for other in ["urgent", "high", "normal", "low"] {
            let number = Value::Number(number as i64);
            assert_eq!(same(Field::Priority, &number, &words(other)), other == *word);
            assert_eq!(same(Field::Priority, &words(other), &number), other == *word);
        }
    }
    assert!(!same(Field::Priority, &Value::Number(2), &Value::Number(3)));
    let said = says(r#"{"priority":"P1"}"#);
    assert_eq!(said.unresolved, [(Field::Priority, "P1".to_owned())]);
    let written = |json: &str, value: Value| text(&render(&doc(json), &just(Field::Priority, value)));
    assert_eq!(
        written(r#"{"priority":"P1"}"#, Value::Number(5)),
        r#"{"priority":"P1"}"#,
        "an unknown word is kept"
    );
    assert_eq!(written(r#"{"priority":"high"}"#, Value::Number(9)), r#"{"priority":"low"}"#);
    assert_eq!(written(r#"{"priority":3}"#, words("urgent")), r#"{"priority":1}"#);
    assert_eq!(written(r#"{}"#, Value::Number(2)), r#"{"priority":"high"}"#);
}

#[test]
fn clearing_is_written_as_the_document_spells_it() {
    let empty = Fields::from([
        (Field::Due, Value::Null),
        (Field::Description, Value::Null),
        (Field::Assignees, people(&[])),
        (Field::Checklist, Value::Checklist(Default::default())),
    ]);
    let full = format!(
        r#"{{"dueDate":"2025-10-24","description":"d","assigned_to":["{ADELE}"],"assignedTo":"{ADELE}","checklist_items":["a"]}}"#
    );
    assert_eq!(
        text(&render(&doc(&full), &empty)),
        r#"{"dueDate":null,"description":"","assigned_to":[],"assignedTo":null,"checklist_items":[]}"#
    );
    assert_eq!(text(&render(&doc("{}"), &empty)), "{}", "what is absent stays absent");
    assert_eq!(text(&render(&doc(r#"{"title":"t"}"#), &just(Field::Title, Value::Null))), r#"{"title":"t"}"#);
}

#[test]
fn people_in_lists_single_texts_and_id_members() {
    let set = |json: String| field(&json, Field::Assignees);
    assert_eq!(set(format!(r#"{{"assignedTo":"{ADELE}"}}"#)), Some(people(&[ADELE])));
    assert_eq!(set(format!(r#"{{"assigned_to":["{}"]}}"#, ADELE.to_uppercase())), Some(people(&[ADELE])));
    assert_eq!(
        set(format!(r#"{{"assigned_to":"Adele","assigned_to_human_id":"{ADELE}"}}"#)),
        Some(people(&[ADELE]))
    );
    assert_eq!(set(r#"{"assigned_to_human_id":null}"#.to_owned()), Some(people(&[])));
    assert_eq!(set(r#"{"assigned_to":"Adele","assigned_to_human_id":null}"#.to_owned()), None);
    assert!(project(&doc(r#"{"assigned_to":[1]}"#), None).is_err());
    assert!(project(&doc(r#"{"assigned_to":{"id":"x"}}"#), None).is_err());

    let write = |json: String, ids: &[&str]| text(&render(&doc(&json), &just(Field::Assignees, people(ids))));
    let named = format!(r#"{{"assigned_to":"Adele","assigned_to_human_id":"{ADELE}"}}"#);
    assert_eq!(write(named.clone(), &[ADELE]), named);
    assert_eq!(
        write(named.clone(), &[MEGAN]),
        format!(r#"{{"assigned_to":"Adele","assigned_to_human_id":"{MEGAN}"}}"#)
    );
    assert_eq!(
        write(named, &[ADELE, MEGAN]),
        format!(r#"{{"assigned_to":["Adele","{MEGAN}","{ADELE}"],"assigned_to_human_id":"{ADELE}"}}"#)
    );
    assert_eq!(
        write(format!(r#"{{"assigned_to":["{NESTOR}","Bob","{ADELE}"]}}"#), &[ADELE, MEGAN]),
        format!(r#"{{"assigned_to":["Bob","{ADELE}","{MEGAN}"]}}"#),
        "names and order are kept"
    );
    assert_eq!(
        write(format!(r#"{{"assigned_to":"{ADELE}"}}"#), &[MEGAN]),
        format!(r#"{{"assigned_to":"{MEGAN}"}}"#)
    );
}

#[test]
fn an_id_member_that_changed_replaces_the_single_assignee() {
    let base = just(Field::Assignees, people(&[ADELE]));
    let json = format!(r#"{{"assigned_to":["{ADELE}"],"assigned_to_human_id":"{MEGAN}"}}"#);
    let said = with_base(&json, &base);
    assert_eq!(said.fields[&Field::Assignees], people(&[MEGAN]));
    assert_eq!(said.disagreeing, [Field::Assignees]);
    assert_eq!(
        text(&render(&doc(&json), &said.fields)),
        format!(r#"{{"assigned_to":["{MEGAN}"],"assigned_to_human_id":"{MEGAN}"}}"#)
    );
    let said = with_base(&json, &just(Field::Assignees, people(&[ADELE, NESTOR])));
    assert_eq!(said.fields[&Field::Assignees], people(&[ADELE]), "both changed: the list counts");
    assert_eq!(said.losers, [(Field::Assignees, "assigned_to_human_id".to_owned(), people(&[MEGAN]))]);
    let two = format!(r#"{{"assigned_to":["{ADELE}","{NESTOR}"],"assigned_to_human_id":"{MEGAN}"}}"#);
    let said = with_base(&two, &just(Field::Assignees, people(&[ADELE, NESTOR])));
    assert_eq!(
        said.fields[&Field::Assignees],
        people(&[ADELE, MEGAN, NESTOR]),
        "nobody is unassigned by a guess"
    );
}

/// The id of the first item `milk` that has none of its own.
const MILK: &str = "cb72c1e7-8a6a-8214-a836-844f5a9d86e8";

fn items(json: &str) -> Vec<(String, ChecklistItem)> {
    match field(json, Field::Checklist) {
        Some(Value::Checklist(items)) => items.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_way_to_write_a_checklist_item() {
    for ticked in [
        r#""checked":true"#,
        r#""isChecked":true"#,
        r#""is_checked":true"#,
        r#""completed":true"#,
        r#""status":"done""#,
        r#""checked":false,"status":"completed""#,
    ] {
        let json = format!(r#"{{"checklistItems":[{{"title":"a",{ticked}}}]}}"#);
        assert!(items(&json)[0].1.checked, "{ticked}");
    }
    let id = "95E27074-6C4A-447A-AA24-9D718A0B86FA";
    let json = format!(r#"{{"checklist_items":[{{"id":"{id}","title":"a"}}," ",{{"title":null}}]}}"#);
    assert_eq!(items(&json).len(), 1);
    assert_eq!(items(&json)[0].0, id.to_lowercase());
    for (bad, place) in [
        (r#"{"checklist_items":"a"}"#, "checklist_items"),
        (r#"{"checklist_items":[1]}"#, "checklist_items[0]"),
        (r#"{"checklist_items":["a",{"title":1}]}"#, "checklist_items[1].title"),
        (r#"{"checklist_items":[{"title":"a","checked":"yes"}]}"#, "checklist_items[0].checked"),
        (r#"{"checklist_items":[{"title":"a","id":{}}]}"#, "checklist_items[0].id"),
    ] {
        let error = project(&doc(bad), None).expect_err(bad);
        let annika_sync::lens::DocumentError::Field(problem) = error else { panic!("{error}") };
        assert_eq!((problem.field.as_str(), problem.rule.as_str()), (place, "type"));
    }
}

#[test]
fn item_ids_are_stable_and_no_two_are_equal() {
    let ids = |json: &str| items(json).into_iter().map(|(id, item)| (item.title, id)).collect::<Vec<_>>();
    let first = ids(r#"{"checklist_items":["eggs","milk"]}"#);
    let shifted = ids(r#"{"checklist_items":["bread",{"title":"eggs","checked":true},"milk"]}"#);
    for pair in &first {
        assert!(shifted.contains(pair), "an insertion above changes no id");
    }
    let twice = items(
        r#"{"checklist_items":["milk","milk",{"id":"1","title":"x"},{"id":"1","title":"y"},{"id":1,"title":"z"}]}"#,
    );
    assert_eq!(twice.len(), 5);
    for (id, _) in &twice {
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "8", "RFC 9562 version 8");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }
    let id = "95e27074-6c4a-447a-aa24-9d718a0b86fa";
    let copied = items(&format!(
        r#"{{"checklist_items":[{{"id":"{id}","title":"a"}},{{"id":"{id}","title":"copy"}}]}}"#
    ));
    assert_eq!(copied.len(), 2, "a copied id makes a second item");
    assert!(copied.iter().any(|(key, item)| key == id && item.title == "a"));
    assert_eq!(
        items(r#"{"checklist_items":["milk"]}"#)[0].0,
        MILK,
        "the derivation must not change between versions"
    );
}

#[test]
fn planners_short_item_ids_are_known_from_the_base() {
    let json = r#"{"checklist_items":[{"id":"62364","title":"e","checked":true}]}"#;
    let base = with_base(
        json,
        &just(
            Field::Checklist,
            Value::Checklist(
                [("62364".to_owned(), ChecklistItem { title: "e".to_owned(), checked: true })].into(),
            ),
        ),
    );
    let Value::Checklist(items) = &base.fields[&Field::Checklist] else { panic!("a checklist") };
    assert!(items.contains_key("62364"));
    assert_eq!(text(&render(&doc(json), &base.fields)), json);
}

#[test]
fn a_checklist_keeps_its_order_and_its_writers_spelling() {
    let json = r#"{"checklist_items":[{"title":"a","isChecked":false,"owner":1.0},"b","b",  {"id":"step-1","title":"c","status":"pending"}]}"#;
    let mut target = says(json).fields;
    let Some(Value::Checklist(items)) = target.get_mut(&Field::Checklist) else { panic!("a checklist") };
    let new = ChecklistItem { title: "d".to_owned(), checked: true };
    items.insert("ffffffff-0f5e-4b7c-8f4e-7d0a4be1b1aa".to_owned(), new);
    for item in items.values_mut().filter(|item| matches!(item.title.as_str(), "a" | "c")) {
        item.checked = true;
    }
    assert_eq!(
        text(&render(&doc(json), &target)),
        r#"{"checklist_items":[{"title":"a","isChecked":true,"owner":1.0},"b","b",{"id":"step-1","title":"c","status":"completed"},{"id":"ffffffff-0f5e-4b7c-8f4e-7d0a4be1b1aa","title":"d","isChecked":true}]}"#
    );
}

#[test]
fn equality_in_planners_domain() {
    assert!(same(Field::Due, &time("2025-10-24"), &time("2025-10-24T00:00:00Z")));
    assert!(same(Field::Due, &time("2025-10-24T23:59:59Z"), &time("2025-10-24")));
    assert!(!same(Field::Due, &time("2025-10-24"), &time("2025-10-25T00:00:00Z")));
    assert!(!same(Field::Due, &time("2025-10-24T10:00:00Z"), &time("2025-10-24T11:00:00Z")));
    assert!(!same(Field::Due, &time("2025-10-24"), &Value::Null));
    assert!(same(Field::Description, &words(""), &Value::Null));
    assert!(same(Field::Description, &words("a\r\nb"), &words("a\nb")));
    assert!(!same(Field::Title, &words("a\r\nb"), &words("a\nb")));
    assert!(same(Field::Assignees, &people(&[]), &Value::Null));
    assert!(!same(Field::Assignees, &people(&[ADELE]), &Value::Null));
    assert!(!same(Field::Percent, &Value::Number(0), &Value::Null));
}

#[test]
fn the_stored_form_of_values_is_fixed() {
    let fields = Fields::from([
        (Field::Title, words("t")),
        (Field::Percent, Value::Number(29)),
        (Field::Start, Value::Null),
        (Field::Due, time("2025-10-24")),
        (Field::Assignees, people(&[ADELE])),
        (
            Field::Checklist,
            Value::Checklist(
                [("k".to_owned(), ChecklistItem { title: "a".to_owned(), checked: true })].into(),
            ),
        ),
    ]);
    let stored = serde_json::to_string(&fields).expect("JSON");
    assert_eq!(
        stored,
        r#"{"title":{"s":"t"},"percent":{"i":29},"start":"n","due":{"t":"2025-10-24"},"assignees":{"u":["fbab97d0-4932-4511-b675-204639209557"]},"checklist":{"c":{"k":{"title":"a","checked":true}}}}"#
    );
    assert_eq!(serde_json::from_str::<Fields>(&stored).expect("Fields"), fields);
    for field in Field::ALL {
        assert_eq!(serde_json::to_value(field).expect("a name"), field.name());
    }
}
