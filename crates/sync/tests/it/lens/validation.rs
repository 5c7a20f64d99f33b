//! The rules of the API for documents and ids.

use annika_sync::lens::{valid_id, validate};

use super::{ADELE, doc};

fn problems(json: &str) -> Vec<(String, String)> {
    validate(&doc(json))
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|problem| (problem.field, problem.rule))
        .collect()
}

#[test]
fn each_broken_rule_is_named() {
    for (json, field, rule) in [
        (r#"{}"#, "title", "required"),
        (r#"{"title":" \t"}"#, "title", "required"),
        (r#"{"title":null,"name":"n"}"#, "title", "required"),
        (r#"{"title":7}"#, "title", "type"),
        (r#"{"title":"t","percent_complete":-0.1}"#, "percent_complete", "range"),
        (r#"{"title":"t","percent_complete":100.5}"#, "percent_complete", "range"),
        (r#"{"title":"t","percentComplete":101}"#, "percentComplete", "range"),
        (r#"{"title":"t","percentComplete":1e999}"#, "percentComplete", "range"),
        (r#"{"title":"t","percent_complete":"50"}"#, "percent_complete", "type"),
        (r#"{"title":"t","percent_complete":true}"#, "percent_complete", "type"),
        (r#"{"title":"t","priority":11}"#, "priority", "range"),
        (r#"{"title":"t","priority":2.5}"#, "priority", "range"),
        (r#"{"title":"t","priority":"P1"}"#, "priority", "enum"),
        (r#"{"title":"t","priority":[]}"#, "priority", "type"),
        (r#"{"title":"t","status":3}"#, "status", "type"),
        (r#"{"title":"t","dueDate":"soon"}"#, "dueDate", "date"),
        (r#"{"title":"t","start_date":{}}"#, "start_date", "type"),
        (r#"{"title":"t","startDate":"2025-10-25","dueDate":"2025-10-24"}"#, "dueDate", "order"),
        (r#"{"title":"t","bucket_id":1}"#, "bucket_id", "type"),
        (r#"{"title":"t","planId":[]}"#, "planId", "type"),
        (r#"{"title":"t","assigned_to":[1]}"#, "assigned_to", "type"),
        (r#"{"title":"t","assigned_to_human_id":[]}"#, "assigned_to_human_id", "type"),
        (r#"{"title":"t","description":1}"#, "description", "type"),
        (r#"{"title":"t","checklist_items":{}}"#, "checklist_items", "type"),
        (r#"{"title":"t","id":"a:b"}"#, "id", "id"),
        (r#"{"title":"t","id":7}"#, "id", "type"),
        (r#"{"title":"\ud800"}"#, "title", "type"),
    ] {
        assert_eq!(problems(json), [(field.to_owned(), rule.to_owned())], "{json}");
    }
    assert_eq!(
        problems(r#"{"percent_complete":7000,"due_date":"x","priority":"x"}"#).len(),
        4,
        "all at once"
    );
}

#[test]
fn a_good_document_passes() {
    let json = format!(
        r#"{{"title":"t","status":"waiting","priority":"high","assigned_to":["Alice","{ADELE}"],"due_date":null,"checklist_items":["a"],"x":{{}}}}"#
    );
    assert_eq!(validate(&doc(&json)), Ok(()));
}

#[test]
fn a_message_never_repeats_the_value() {
    let problems = validate(&doc(r#"{"title":7,"due_date":"my secret","priority":"classified"}"#))
        .expect_err("problems");
    for problem in problems {
        assert!(!problem.message.contains("secret") && !problem.message.contains("classified"), "{problem}");
    }
}

#[test]
fn ids_that_would_break_a_key_are_refused() {
    let long = "x".repeat(257);
    for bad in [
        "",
        "a:b",
        ":",
        " a",
        "a ",
        "a\n",
        "a\u{7f}b",
        "a\u{85}b",
        "updates",
        "sync",
        "\u{a0}a",
        long.as_str(),
    ] {
        let problem = valid_id(bad).expect_err(bad);
        assert_eq!((problem.field.as_str(), problem.rule.as_str()), ("id", "id"));
    }
    let longest = "x".repeat(256);
    for good in [
        "agent-task-1",
        "planner-01gzSlKkIUSUl6DF_EilrmQAKDhh",
        "Task-CV1-1-1",
        "Updates",
        "a b",
        "ü",
        &longest,
    ] {
        assert_eq!(valid_id(good), Ok(()), "{good}");
    }
}
