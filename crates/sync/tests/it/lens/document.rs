//! The document as text: bytes, limits, stamp, ETag, merge patch.

use annika_sync::lens::{Document, MAX_BYTES, SyncStamp};
use serde_json::json;

use super::{doc, text};

fn refused(bytes: &[u8]) -> &'static str {
    Document::parse(bytes).expect_err("must be refused").code()
}

fn stamp(rev: &str) -> SyncStamp {
    SyncStamp {
        rev: rev.to_owned(),
        planner_id: "01gzSlKkIUSUl6DF_EilrmQAKDhh".to_owned(),
        etag: "W/\"JzEt\"".to_owned(),
    }
}

#[test]
fn an_untouched_document_keeps_every_byte() {
    let original = " {\n  \"b\" : 1.0 , \"a\": 1e-7,\"id\":123456789012345678901,\"t\":\"\\u00e9\" }\n";
    let document = doc(original);
    assert_eq!(text(&document), original);
    let mut same = document.clone();
    same.set_raw("b", document.get("b").expect("b").to_owned());
    assert!(!same.remove("nothing"));
    assert_eq!(text(&same), original, "setting what is there changes nothing");
}

#[test]
fn a_change_touches_one_member_only() {
    let mut document = doc("{ \"b\" : 1.0, \"\\u0061\": [1e-7 ,  2.50],\n\"id\":123456789012345678901}");
    document.set("b", &json!({"x": [1, "y"]}));
    document.set("new", &json!(true));
    assert_eq!(
        text(&document),
        "{\"b\":{\"x\":[1,\"y\"]},\"\\u0061\":[1e-7 ,  2.50],\"id\":123456789012345678901,\"new\":true}"
    );
    assert!(document.remove("a"), "an escaped name is the same name");
    assert_eq!(document.members().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "id", "new"]);
    assert_eq!(text(&Document::empty()), "{}");
}

#[test]
fn what_is_no_document_is_refused_by_code() {
    assert_eq!(refused(b"{\"a\":1"), "document_not_json");
    assert_eq!(refused(b"{\"a\":01}"), "document_not_json");
    assert_eq!(refused(b"{} x"), "document_not_json");
    assert_eq!(refused(b""), "document_not_json");
    assert_eq!(refused(b"[]"), "document_not_object");
    assert_eq!(refused(b"\"text\""), "document_not_object");
    assert_eq!(refused(b"{\"a\":\"\xff\"}"), "document_not_utf8");
    assert_eq!(refused(b"{\"a\":1,\"a\":2}"), "document_duplicate_member");
    assert_eq!(refused(b"{\"a\":1,\"\\u0061\":2}"), "document_duplicate_member");
    assert_eq!(
        refused(b"{\"x\":[{\"a\":{\"b\":1}},{\"c\":1,\"d\":[],\"c\":2}]}"),
        "document_duplicate_member"
    );
    assert_eq!(refused("[".repeat(100_000).as_bytes()), "document_not_json");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(refused(deep.as_bytes()), "document_too_deep");
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(Document::parse(deep(99).as_bytes()).is_ok());
    assert_eq!(refused(deep(100).as_bytes()), "document_too_deep");
    assert!(Document::parse(b"{\"a\":[{\"b\":1},{\"b\":1}],\"b\":\"a\",\"c\":\"{,\\\"a\\\":\"}").is_ok());
}

#[test]
fn the_size_limit_is_256_kib() {
    let sized = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
    assert!(Document::parse(sized(MAX_BYTES).as_bytes()).is_ok());
    assert_eq!(refused(sized(MAX_BYTES + 1).as_bytes()), "document_too_large");
    let big = doc(&sized(MAX_BYTES - 10));
    let error = big.merge_patch(b"{\"b\":\"0123456789\"}").expect_err("the result is too large");
    assert_eq!(error.code(), "document_too_large");
}

#[test]
fn the_stamp_is_no_part_of_the_etag() {
    let document = doc("{\"title\": \"a\",\"x\":1.0}");
    let etag = document.etag();
    assert!(etag.len() > 20 && etag.starts_with('"') && etag.ends_with('"'));
    let stamped = document.with_stamp(&stamp("r1"));
    assert_eq!(stamped.sync_stamp(), Some(stamp("r1")));
    assert_eq!(stamped.etag(), etag);
    let restamped = doc(&text(&stamped)).with_stamp(&stamp("r2"));
    assert_eq!(restamped.etag(), etag);
    assert_eq!(restamped.sync_stamp(), Some(stamp("r2")));
    assert_eq!(restamped.members().filter(|(name, _)| *name == "_sync").count(), 1);
    assert_eq!(text(&restamped.without_stamp()), "{\"title\":\"a\",\"x\":1.0}");
    assert_eq!(restamped.without_stamp().etag(), etag);
    assert_ne!(doc("{\"title\":\"a\",\"x\":1}").etag(), etag);
    assert_ne!(doc("{\"x\":1.0,\"title\":\"a\"}").etag(), etag);
}

#[test]
fn a_stamp_that_cannot_be_read_is_none() {
    for json in
        [r#"{}"#, r#"{"_sync":null}"#, r#"{"_sync":"r"}"#, r#"{"_sync":{"rev":1}}"#, r#"{"_sync":{}}"#]
    {
        assert_eq!(doc(json).sync_stamp(), None, "{json}");
    }
    let partial = doc(r#"{"_sync":{"rev":"r","more":1}}"#).sync_stamp().expect("a stamp");
    assert_eq!((partial.rev.as_str(), partial.planner_id.as_str()), ("r", ""));
}

#[test]
fn a_merge_patch_keeps_what_it_does_not_name() {
    let document = doc(r#"{"n": 1.0, "o": { "x":1e-7, "y" : [ 1 ] , "z":null}, "d":2, "s":"t"}"#);
    let merged = document.merge_patch(br#"{"o":{"y":null,"w":{"v":null,"u":2.0}},"d":null,"s":{"a":null}}"#);
    assert_eq!(text(&merged.expect("a patch")), r#"{"n":1.0,"o":{"x":1e-7,"z":null,"w":{"u":2.0}},"s":{}}"#);
    let unchanged = document.merge_patch(br#"{"o":{"nothing":null},"n":1.0,"gone":null}"#).expect("a patch");
    assert_eq!(text(&unchanged), text(&document));
    assert_eq!(document.merge_patch(b"[]").expect_err("no object").code(), "document_not_object");
    assert_eq!(
        document.merge_patch(b"{\"a\":1,\"a\":2}").expect_err("twice").code(),
        "document_duplicate_member"
    );
}

#[test]
fn debug_output_holds_no_values() {
    let shown = format!("{:?}", doc(r#"{"title":"secret plan","notes":"private"}"#));
    assert_eq!(shown, r#"Document{"title", "notes"}"#);
}
