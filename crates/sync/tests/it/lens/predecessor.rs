//! One test for each way the predecessor lost or changed a field.

use annika_sync::lens::{Field, Fields, Value, import, planner, project, render};
use serde_json::json;

use super::{ADELE, MEGAN, doc, field, just, people, percent, says, text, time, words};

fn body(json: &str) -> serde_json::Value {
    planner::create_body(&says(json).fields)
}

#[test]
fn percent_029_is_29() {
    assert_eq!(percent(r#"{"percent_complete":0.29}"#), Some(29));
    assert_eq!(body(r#"{"percent_complete":0.29}"#), json!({"percentComplete": 29}));
}

#[test]
fn percent_50_is_not_5000() {
    assert_eq!(percent(r#"{"percent_complete":50}"#), Some(50));
    assert_eq!(percent(r#"{"percent_complete":1}"#), Some(100));
    assert_eq!(percent(r#"{"percentComplete":1}"#), Some(1));
}

#[test]
fn status_completed_alone_is_100() {
    for word in ["completed", "done", "finished", "Completed"] {
        assert_eq!(percent(&format!("{{\"status\":\"{word}\"}}")), Some(100), "{word}");
    }
    assert_eq!(percent(r#"{"status":"pending"}"#), Some(0));
    assert_eq!(percent(r#"{"status":"in_progress"}"#), Some(50));
    assert_eq!(percent(r#"{"status":"in_progress","percent_complete":0.3}"#), Some(30));
    assert_eq!(percent(r#"{"status":"completed","percent_complete":0.0}"#), Some(100));
    assert_eq!(percent(r#"{"status":"not_started","percent_complete":0.3}"#), Some(30));
    assert_eq!(percent(r#"{"status":"waiting for review"}"#), None);
}

#[test]
fn date_only_keeps_its_day() {
    assert_eq!(field(r#"{"due_date":"2025-10-24"}"#, Field::Due), Some(time("2025-10-24")));
    assert_eq!(body(r#"{"due_date":"2025-10-24"}"#), json!({"dueDateTime": "2025-10-24T10:00:00Z"}));
    let document = doc(r#"{"due_date":"2025-10-24"}"#);
    let target = just(Field::Due, time("2025-10-24T10:00:00Z"));
    assert_eq!(text(&render(&document, &target)), r#"{"due_date":"2025-10-24"}"#);
    let target = just(Field::Due, time("2025-10-27T10:00:00Z"));
    assert_eq!(text(&render(&document, &target)), r#"{"due_date":"2025-10-27"}"#);
}

#[test]
fn a_due_time_is_not_cut_to_its_day() {
    assert_eq!(
        body(r#"{"due_date":"2025-10-24T23:00:00Z"}"#),
        json!({"dueDateTime": "2025-10-24T23:00:00Z"})
    );
    let target = just(Field::Due, time("2025-10-25T15:30:00Z"));
    assert_eq!(
        text(&render(&doc(r#"{"due_date":"2025-10-24"}"#), &target)),
        r#"{"due_date":"2025-10-25T15:30:00Z"}"#
    );
    let task =
        json!({"title": "x", "dueDateTime": "2025-10-24T15:30:00Z", "startDateTime": "2025-10-20T10:00:00Z"});
    let imported = import("x", &task, None);
    assert_eq!(imported.get("due_date").expect("due").get(), r#""2025-10-24T15:30:00Z""#);
    assert_eq!(imported.get("start_date").expect("start").get(), r#""2025-10-20""#);
}

#[test]
fn every_way_to_write_a_date_is_read_and_garbage_is_named() {
    let due = |text: &str| {
        project(&doc(&json!({"due_date": text}).to_string()), None)
            .map(|said| said.fields[&Field::Due].clone())
    };
    for (written, canonical) in [
        ("2025-10-24T23:00:00Z", "2025-10-24T23:00:00Z"),
        ("2025-10-24T23:00:00.000Z", "2025-10-24T23:00:00Z"),
        ("2025-10-24T23:00:00.1234567Z", "2025-10-24T23:00:00.1234567Z"),
        ("2025-10-24T23:00:00.123456789Z", "2025-10-24T23:00:00.1234567Z"),
        ("2025-10-25T01:00:00+02:00", "2025-10-24T23:00:00Z"),
        ("2025-10-24T23:00:00", "2025-10-24T23:00:00Z"),
        ("2025-10-24T23:00", "2025-10-24T23:00:00Z"),
        ("2025-10-24 23:00:00.5", "2025-10-24T23:00:00.5Z"),
        ("2025-10-24t23:00:00z", "2025-10-24T23:00:00Z"),
        (" 2025-10-24 ", "2025-10-24"),
        ("9999-12-31", "9999-12-31"),
        ("2024-02-29", "2024-02-29"),
    ] {
        assert_eq!(due(written), Ok(time(canonical)), "{written}");
    }
    for garbage in [
        "2025-10-24T23:00:00ZT00:00:00Z",
        "tomorrow",
        "2025-02-29",
        "2025-13-01",
        "24.10.2025",
        "2025-10-24T25:00:00Z",
        "2025-10-24T23:00:00+99:00",
        "2025-10-24T23:00:00[Europe/Berlin]",
        "20251024",
        "2025-10-24X",
        "0000-01-01",
        "2025-10-ä4",
        "+2025-10-24",
    ] {
        let error = due(garbage).expect_err(garbage);
        assert_eq!(error.code(), "document_invalid_field");
        let annika_sync::lens::DocumentError::Field(problem) = error else { panic!("{error}") };
        assert_eq!((problem.field.as_str(), problem.rule.as_str()), ("due_date", "date"), "{garbage}");
    }
    assert!(project(&doc(r#"{"dueDate":20251024}"#), None).is_err());
}

#[test]
fn a_name_is_no_user_id_and_the_rest_is_sent() {
    let said = says(&format!(r#"{{"title":"x","assigned_to":["alice@contoso.com","{ADELE}"]}}"#));
    assert_eq!(said.unresolved, [(Field::Assignees, "alice@contoso.com".to_owned())]);
    assert_eq!(said.fields[&Field::Assignees], people(&[ADELE]));
    let said = says(r#"{"title":"x","assigned_to":"Alice"}"#);
    assert!(
        !said.fields.contains_key(&Field::Assignees),
        "a name alone does not say that nobody is assigned"
    );
    assert_eq!(said.fields[&Field::Title], words("x"));
}

#[test]
fn several_people_are_assigned_and_unassigned() {
    let both = format!(r#"{{"assigned_to":["{MEGAN}","{ADELE}"]}}"#);
    let base = just(Field::Assignees, people(&[ADELE, MEGAN]));
    assert_eq!(says(&both).fields, base);
    let hint = json!({"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": " !"});
    assert_eq!(body(&both), json!({"assignments": {ADELE: hint, MEGAN: hint}}));
    let one = says(&format!(r#"{{"assigned_to":["{ADELE}"]}}"#)).fields;
    assert_eq!(planner::patch_bodies(&one, &base), (Some(json!({"assignments": {MEGAN: null}})), None));
    let nobody = says(r#"{"assigned_to":[]}"#).fields;
    assert_eq!(
        planner::patch_bodies(&nobody, &base).0,
        Some(json!({"assignments": {ADELE: null, MEGAN: null}}))
    );
}

#[test]
fn priority_2_stays_2_where_the_document_says_high() {
    let imported = import("x", &json!({"title": "x", "priority": 2}), None);
    assert_eq!(imported.get("priority").expect("priority").get(), r#""high""#);
    let local = project(&imported, None).expect("readable").fields;
    let remote = just(Field::Priority, Value::Number(2));
    assert_eq!(planner::patch_bodies(&local, &remote).0.and_then(|body| body.get("priority").cloned()), None);
    let numeric = just(Field::Priority, Value::Number(3));
    assert_eq!(
        planner::patch_bodies(&numeric, &remote).0,
        Some(json!({"priority": 3})),
        "numbers are compared exactly"
    );
}

#[test]
fn the_description_lives_in_details() {
    let said = says(r#"{"title":"x","description":"what to do"}"#).fields;
    assert_eq!(planner::create_body(&said), json!({"title": "x"}));
    let remote = planner::fields(&json!({"title": "x"}), Some(&json!({"description": ""})));
    assert_eq!(planner::patch_bodies(&said, &remote), (None, Some(json!({"description": "what to do"}))));
    let details = json!({"description": "a person's text", "checklist": {}});
    let imported = import("x", &json!({"title": "x"}), Some(&details));
    assert_eq!(imported.get("description").expect("description").get(), r#""a person's text""#);
    let unread = import("x", &json!({"title": "x", "hasDescription": true}), None);
    assert!(unread.get("description").is_none(), "nothing is said about a text that was not read");
}

#[test]
fn notes_are_the_description_only_without_one() {
    assert_eq!(field(r#"{"notes":"n"}"#, Field::Description), Some(words("n")));
    assert_eq!(field(r#"{"notes":"n","description":"d"}"#, Field::Description), Some(words("d")));
    assert_eq!(field(r#"{"notes":"n","description":null}"#, Field::Description), Some(Value::Null));
    assert_eq!(field(r#"{"notes":["n"]}"#, Field::Description), None);
    let target = just(Field::Description, words("new"));
    assert_eq!(text(&render(&doc(r#"{"notes":"n"}"#), &target)), r#"{"notes":"new"}"#);
    assert_eq!(text(&render(&doc(r#"{"notes":[1]}"#), &target)), r#"{"notes":[1],"description":"new"}"#);
}

#[test]
fn the_camel_case_document_of_the_agents_guide_is_read_whole() {
    let guide = format!(
        r#"{{"id":"agent-task-1","title":"Report","planId":"p","bucketId":"b","assignedTo":["{ADELE}"],"dueDate":"2025-10-24","percentComplete":25,"createdBy":"agent"}}"#
    );
    let said = says(&guide).fields;
    let want = Fields::from([
        (Field::Title, words("Report")),
        (Field::Percent, Value::Number(25)),
        (Field::Due, time("2025-10-24")),
        (Field::Bucket, words("b")),
        (Field::Plan, words("p")),
        (Field::Assignees, people(&[ADELE])),
    ]);
    assert_eq!(said, want);
    let rendered = render(&doc(&guide), &just(Field::Start, time("2025-10-20T10:00:00Z")));
    assert!(
        text(&rendered).ends_with(r#""createdBy":"agent","startDate":"2025-10-20"}"#),
        "in the writer's spelling"
    );
}

#[test]
fn a_blank_title_is_read_by_name_or_summary_and_never_sent_blank() {
    assert_eq!(body(r#"{"title":"  ","name":"Real name"}"#), json!({"title": "Real name"}));
    assert_eq!(body(r#"{"title":null,"name":" ","summary":"Sum"}"#), json!({"title": "Sum"}));
    assert_eq!(body(r#"{"title":"  "}"#), json!({}));
    let renamed = render(&doc(r#"{"name":"a"}"#), &just(Field::Title, words("b")));
    assert_eq!(text(&renamed), r#"{"name":"b"}"#);
    assert_eq!(text(&render(&doc(r#"{"title":null}"#), &just(Field::Title, words("b")))), r#"{"title":"b"}"#);
    assert_eq!(
        import("x", &json!({"title": ""}), None).get("title").expect("a title").get(),
        r#""Untitled Task""#
    );
}

#[test]
fn whole_days_never_start_after_they_are_due() {
    let dates = |json: &str| {
        let body = body(json);
        (
            body["startDateTime"].as_str().unwrap_or("").to_owned(),
            body["dueDateTime"].as_str().unwrap_or("").to_owned(),
        )
    };
    let (start, due) = dates(r#"{"start_date":"2025-10-24","due_date":"2025-10-24T08:00:00Z"}"#);
    assert_eq!((start.as_str(), due.as_str()), ("2025-10-24T08:00:00Z", "2025-10-24T08:00:00Z"));
    let (start, due) = dates(r#"{"start_date":"2025-10-24T15:00:00Z","due_date":"2025-10-24"}"#);
    assert_eq!((start.as_str(), due.as_str()), ("2025-10-24T15:00:00Z", "2025-10-24T15:00:00Z"));
    let (start, due) = dates(r#"{"start_date":"2025-10-24","due_date":"2025-10-24"}"#);
    assert_eq!((start.as_str(), due.as_str()), ("2025-10-24T10:00:00Z", "2025-10-24T10:00:00Z"));
}

#[test]
fn a_removed_checklist_item_is_removed_in_planner() {
    let id = "95e27074-6c4a-447a-aa24-9d718a0b86fa";
    let details = json!({"checklist": {id: {"title": "a", "isChecked": false}, "62364": {"title": "b", "isChecked": true}}});
    let remote = planner::fields(&json!({}), Some(&details));
    let kept = says(&format!(r#"{{"checklist_items":[{{"id":"{id}","title":"a","checked":true}}]}}"#)).fields;
    let (_, patch) = planner::patch_bodies(&kept, &remote);
    let ticked = json!({"@odata.type": "#microsoft.graph.plannerChecklistItem", "isChecked": true});
    assert_eq!(patch, Some(json!({"checklist": {id: ticked, "62364": null}})));
}

#[test]
fn an_imported_task_has_the_predecessors_members() {
    let task = json!({
        "@odata.etag": "W/\"JzEt\"", "id": "01gzSlKkIUSUl6DF_EilrmQAKDhh", "planId": "xqQg5FS2LkCp935s-FIFm2QAFkHM",
        "bucketId": "hsOf2dhOJkqyYYZEtdzDe2QAIUCR", "title": "Review", "percentComplete": 29, "priority": 1,
        "startDateTime": null, "dueDateTime": "2025-10-24T10:00:00Z", "createdDateTime": "2025-10-01T09:00:00.1234567Z",
        "completedDateTime": null, "assignments": {ADELE: {"orderHint": "85"}}, "orderHint": "85",
    });
    let details = json!({"description": "text", "checklist": {
        "d280ed1a-9f6b-4f9c-a962-fb4d00dc50ff": {"title": "second", "isChecked": true, "orderHint": "86"},
        "5c2a1f36-0f5e-4b7c-8f4e-7d0a4be1b1aa": {"title": "first", "isChecked": false, "orderHint": "85"},
    }});
    let imported = import("planner-01gzSlKkIUSUl6DF_EilrmQAKDhh", &task, Some(&details));
    let got: serde_json::Value = serde_json::from_slice(&imported.bytes()).expect("JSON");
    assert_eq!(
        got,
        json!({
            "id": "planner-01gzSlKkIUSUl6DF_EilrmQAKDhh", "title": "Review", "status": "in_progress",
            "percent_complete": 0.29, "priority": "urgent", "assigned_to": [ADELE], "start_date": null, "order": "85",
            "due_date": "2025-10-24", "description": "text",
            "checklist_items": [
                {"id": "5c2a1f36-0f5e-4b7c-8f4e-7d0a4be1b1aa", "title": "first", "checked": false},
                {"id": "d280ed1a-9f6b-4f9c-a962-fb4d00dc50ff", "title": "second", "checked": true},
            ],
            "bucket_id": "hsOf2dhOJkqyYYZEtdzDe2QAIUCR", "plan_id": "xqQg5FS2LkCp935s-FIFm2QAFkHM",
            "source": "planner", "external_id": "01gzSlKkIUSUl6DF_EilrmQAKDhh",
            "created_at": "2025-10-01T09:00:00.1234567Z",
        })
    );
    assert!(
        text(&imported)
            .starts_with(r#"{"id":"planner-01gzSlKkIUSUl6DF_EilrmQAKDhh","title":"Review","status":"#)
    );
}
