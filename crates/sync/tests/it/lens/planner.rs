//! Planner's JSON in both directions, beyond what the laws cover.

use annika_sync::lens::{Field, Fields, Value, dates_in_order, planner};
use serde_json::json;

use super::{ADELE, just, people, time, words};

#[test]
fn what_planner_does_not_say_is_not_in_the_fields() {
    assert_eq!(planner::fields(&json!({}), None), Fields::new());
    let task =
        json!({"title": " ", "bucketId": "", "planId": null, "percentComplete": null, "dueDateTime": "soon"});
    assert_eq!(planner::fields(&task, Some(&json!({}))), Fields::new());
}

#[test]
fn empty_members_are_empty_values() {
    let task = json!({"startDateTime": null, "dueDateTime": null, "assignments": {}});
    let details = json!({"description": null, "checklist": {"62364": {"title": "", "isChecked": true}}});
    let want = Fields::from([
        (Field::Start, Value::Null),
        (Field::Due, Value::Null),
        (Field::Assignees, people(&[])),
        (Field::Description, Value::Null),
        (Field::Checklist, Value::Checklist(Default::default())),
    ]);
    assert_eq!(planner::fields(&task, Some(&details)), want);
}

#[test]
fn what_clears_is_null_and_an_empty_description_is_an_empty_text() {
    let remote = Fields::from([
        (Field::Due, time("2025-10-24T10:00:00Z")),
        (Field::Description, words("text")),
        (Field::Assignees, people(&[ADELE])),
        (Field::Title, words("t")),
    ]);
    let changes = Fields::from([
        (Field::Due, Value::Null),
        (Field::Description, Value::Null),
        (Field::Assignees, Value::Null),
        (Field::Title, Value::Null),
    ]);
    let (task, details) = planner::patch_bodies(&changes, &remote);
    assert_eq!(
        task,
        Some(json!({"dueDateTime": null, "assignments": {ADELE: null}})),
        "a title cannot be cleared"
    );
    assert_eq!(details, Some(json!({"description": ""})));
}

#[test]
fn a_patched_whole_day_minds_the_other_date() {
    let remote = just(Field::Due, time("2025-10-24T08:00:00Z"));
    let (task, _) = planner::patch_bodies(&just(Field::Start, time("2025-10-24")), &remote);
    assert_eq!(task, Some(json!({"startDateTime": "2025-10-24T08:00:00Z"})));
}

#[test]
fn a_priority_word_is_sent_as_planners_own_number() {
    for (word, number) in [("urgent", 1), ("high", 3), ("normal", 5), ("low", 9)] {
        let fields = just(Field::Priority, words(word));
        assert_eq!(planner::create_body(&fields), json!({"priority": number}));
        assert_eq!(planner::stored(&fields), just(Field::Priority, Value::Number(number)));
    }
}

#[test]
fn dates_in_order_compares_days_with_instants() {
    let order = |start: &str, due: &str| {
        dates_in_order(&Fields::from([(Field::Start, time(start)), (Field::Due, time(due))])).is_ok()
    };
    assert!(order("2025-10-24", "2025-10-24T01:00:00Z"));
    assert!(order("2025-10-24T20:00:00Z", "2025-10-24"));
    assert!(!order("2025-10-25", "2025-10-24T23:00:00Z"));
    assert!(!order("2025-10-24T10:00:00.5Z", "2025-10-24T10:00:00Z"));
    assert!(order("2025-10-24T10:00:00Z", "2025-10-24T10:00:00.5Z"));
}
