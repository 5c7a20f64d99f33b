//! The document lens: its laws as properties, and one named test for each way the predecessor failed.

mod document;
mod laws;
mod planner;
mod predecessor;
mod samples;
mod spellings;
mod validation;

use annika_sync::lens::{Document, Field, Fields, Projection, Value, project};

/// A document from JSON text that is known to be good.
fn doc(text: &str) -> Document {
    Document::parse(text.as_bytes()).expect("a document")
}

fn text(doc: &Document) -> String {
    String::from_utf8(doc.bytes()).expect("UTF-8")
}

/// What a document says without a base.
fn says(json: &str) -> Projection {
    project(&doc(json), None).expect("a readable document")
}

fn field(json: &str, field: Field) -> Option<Value> {
    says(json).fields.remove(&field)
}

fn percent(json: &str) -> Option<i64> {
    match field(json, Field::Percent) {
        Some(Value::Number(percent)) => Some(percent),
        _ => None,
    }
}

fn just(field: Field, value: Value) -> Fields {
    Fields::from([(field, value)])
}

fn time(text: &str) -> Value {
    Value::Time(text.to_owned())
}

fn words(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn people(ids: &[&str]) -> Value {
    Value::Set(ids.iter().map(|id| (*id).to_owned()).collect())
}

/// User ids of Microsoft's documented examples.
const ADELE: &str = "fbab97d0-4932-4511-b675-204639209557";
const MEGAN: &str = "48d31887-5fad-4d73-a9f5-3c356e68a038";
const NESTOR: &str = "6463a5ce-2119-4198-9f2a-628761df4a62";
