//! The check of every message against Microsoft's published descriptions: requests against the OpenAPI
//! slice, answers against the strict JSON schemas and the presence of what Planner always sends.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::planner::EXTERNAL_SOURCE;

/// The most violations that are kept; the rest is only counted.
const KEPT: usize = 500;

/// Which side of the conversation broke a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The client's request.
    Request,
    /// The simulator's answer.
    Answer,
}

/// A message that does not fit the published description.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Violation {
    /// Whose message it was.
    pub side: Side,
    /// Milliseconds since the simulator started.
    pub at_ms: u64,
    /// The method of the operation.
    pub method: String,
    /// Its path, with the version.
    pub path: String,
    /// The id of the item, if it was one of a batch.
    pub item: Option<String>,
    /// What is wrong, with the place in the message.
    pub what: String,
}

/// How much was checked, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checked {
    /// Whether there is anything to check against.
    pub on: bool,
    /// Requests checked, items of batches by themselves.
    pub requests: u64,
    /// Answers checked, items of batches by themselves.
    pub answers: u64,
    /// Answers made by a fault, which are not Graph's and are not checked.
    pub scripted: u64,
    /// Violations found, kept or not.
    pub violations: u64,
}

/// The violations and figures of a simulator.
#[derive(Debug, Default)]
pub struct Findings {
    /// The figures.
    pub checked: Checked,
    /// The figures before the last time that all was forgotten.
    earlier: Checked,
    kept: Vec<Violation>,
}

impl Findings {
    /// Adds what one message did wrong.
    pub fn add(&mut self, found: impl IntoIterator<Item = Violation>) {
        for violation in found {
            self.checked.violations += 1;
            if self.kept.len() < KEPT {
                self.kept.push(violation);
            }
        }
    }

    /// The violations, oldest first.
    pub fn list(&self) -> &[Violation] {
        &self.kept
    }

    /// The figures since the simulator started, whatever was forgotten since.
    pub fn total(&self) -> Checked {
        let (now, earlier) = (&self.checked, &self.earlier);
        Checked {
            on: now.on,
            requests: now.requests + earlier.requests,
            answers: now.answers + earlier.answers,
            scripted: now.scripted + earlier.scripted,
            violations: now.violations + earlier.violations,
        }
    }

    /// Forgets all of it but the total; whether checking is on stays.
    pub fn clear(&mut self) {
        self.earlier = self.total();
        self.checked = Checked { on: self.checked.on, ..Checked::default() };
        self.kept.clear();
    }
}

/// The published descriptions could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A file is missing or unreadable.
    #[error("cannot read {0}: {1}; ANNIKA_ORACLES has to name the folder that holds graph/")]
    Read(PathBuf, std::io::Error),
    /// A file is no JSON.
    #[error("{0} is no JSON: {1}")]
    Json(PathBuf, serde_json::Error),
}

#[derive(Debug)]
struct Operation {
    segments: Vec<String>,
    method: String,
    query: BTreeSet<String>,
    if_match: bool,
    body: Option<String>,
    answer: Option<String>,
}

/// Microsoft's descriptions, compiled as they are needed.
#[derive(Debug)]
pub struct Oracle {
    operations: Vec<Operation>,
    strict: Value,
    compiled: Mutex<HashMap<String, Result<Arc<jsonschema::Validator>, String>>>,
}

const ERROR: &str = "microsoft.graph.ODataErrors.ODataError";

impl Oracle {
    /// Reads `graph/` in the folder of oracles; read and compiled once in a process.
    pub fn load(folder: &Path) -> Result<Arc<Self>, SchemaError> {
        static LOADED: OnceLock<Mutex<HashMap<PathBuf, Arc<Oracle>>>> = OnceLock::new();
        let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(oracle) = loaded.get(folder) {
            return Ok(Arc::clone(oracle));
        }
        let read = |name: &str| {
            let path = folder.join("graph").join(name);
            let bytes = std::fs::read(&path).map_err(|why| SchemaError::Read(path.clone(), why))?;
            serde_json::from_slice::<Value>(&bytes).map_err(|why| SchemaError::Json(path, why))
        };
        let slice = read("graph-openapi-slice.json")?;
        let strict = read("graph-schemas.strict.json")?;
        let oracle = Arc::new(Self { operations: operations(&slice), strict, compiled: Mutex::default() });
        loaded.insert(folder.to_owned(), Arc::clone(&oracle));
        Ok(oracle)
    }

    fn find(&self, method: &str, segments: &[String]) -> Result<&Operation, String> {
        let mut paths =
            self.operations.iter().filter(|operation| fits(&operation.segments, segments)).peekable();
        if paths.peek().is_none() {
            return Err("the path is not in the slice".to_owned());
        }
        paths
            .filter(|operation| operation.method == method)
            .min_by_key(|operation| {
                operation.segments.iter().filter(|segment| segment.starts_with('{')).count()
            })
            .ok_or_else(|| format!("the slice has no {method} for this path"))
    }

    fn validate(&self, schema: &str, instance: &Value) -> Vec<String> {
        let validator = {
            let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            compiled
                .entry(schema.to_owned())
                .or_insert_with(|| {
                    let mut document = self.strict.clone();
                    document["$ref"] = json!(format!("#/$defs/{schema}"));
                    jsonschema::draft202012::new(&document).map(Arc::new).map_err(|why| why.to_string())
                })
                .clone()
        };
        match validator {
            Ok(validator) => validator
                .iter_errors(instance)
                .map(|error| format!("at '{}': {error}", error.instance_path()))
                .collect(),
            Err(why) => vec![format!("the schema {schema} cannot be compiled: {why}")],
        }
    }

    /// What is wrong with a request: path, method, query, `If-Match`, body.
    pub fn request(
        &self,
        method: &str,
        segments: &[String],
        query: impl Iterator<Item = impl AsRef<str>>,
        if_match: bool,
        body: Option<&Value>,
    ) -> Vec<String> {
        let operation = match self.find(method, segments) {
            Ok(operation) => operation,
            Err(why) => return vec![why],
        };
        let mut found = Vec::new();
        for name in query {
            let name = name.as_ref();
            if !operation.query.contains(name) && name != "$skiptoken" && name != "$deltatoken" {
                found.push(format!("the query parameter '{name}' is not in the slice"));
            }
        }
        if operation.if_match && !if_match {
            found.push("the header If-Match is required".to_owned());
        }
        match (&operation.body, body) {
            (Some(schema), Some(body)) => found.extend(self.validate(schema, &described(body))),
            (Some(_), None) => found.push("a body is required".to_owned()),
            (None, Some(_)) => found.push("a body is not expected".to_owned()),
            (None, None) => {}
        }
        found
    }

    /// What is wrong with an answer: its schema, and what Planner always sends if the answer is `whole`.
    pub fn answer(
        &self,
        method: &str,
        segments: &[String],
        status: u16,
        body: Option<&Value>,
        whole: bool,
    ) -> Vec<String> {
        if status >= 400 {
            return match body {
                Some(body) => {
                    let mut found = self.validate(ERROR, body);
                    if body.get("error").is_none() {
                        found.push("at '': an error without 'error'".to_owned());
                    }
                    found
                }
                None => vec!["an error without a body".to_owned()],
            };
        }
        let Ok(operation) = self.find(method, segments) else {
            return vec!["a success for a path or method that is not in the slice".to_owned()];
        };
        match (&operation.answer, body) {
            (_, None) if status == 204 => Vec::new(),
            (_, Some(_)) if status == 204 => vec!["204 with a body".to_owned()],
            (Some(_), None) => vec![format!("{status} without a body")],
            (Some(schema), Some(body)) => {
                let mut found = self.validate(schema, body);
                if whole {
                    presence(schema, body, &mut found);
                }
                found
            }
            (None, _) => Vec::new(),
        }
    }
}

/// What the descriptions know of a body: not the source of a task that a client names in beta, which the simulator
/// checks by itself.
fn described(body: &Value) -> Cow<'_, Value> {
    if body.pointer("/creationSource/@odata.type").and_then(Value::as_str) != Some(EXTERNAL_SOURCE) {
        return Cow::Borrowed(body);
    }
    let mut known = body.clone();
    if let Some(members) = known.as_object_mut() {
        members.remove("creationSource");
    }
    Cow::Owned(known)
}

/// What Planner always sends, though no schema requires it.
fn presence(schema: &str, body: &Value, found: &mut Vec<String>) {
    let name = schema.trim_start_matches("microsoft.graph.");
    let mut need = |place: &str, object: &Value, names: &[&str]| {
        for name in names {
            let there = match object.get(*name) {
                Some(Value::String(text)) => !text.is_empty(),
                Some(Value::Null) | None => false,
                Some(_) => true,
            };
            if !there {
                found.push(format!("at '{place}': '{name}' is missing"));
            }
        }
    };
    let always = |name: &str| -> &'static [&'static str] {
        match name {
            "plannerTask" => {
                &["id", "@odata.etag", "title", "planId", "percentComplete", "createdDateTime", "createdBy"]
            }
            "plannerBucket" => &["id", "@odata.etag", "name", "planId", "orderHint"],
            "plannerPlan" => &["id", "@odata.etag", "title", "createdDateTime"],
            "plannerTaskDetails" => &["id", "@odata.etag", "checklist", "references", "previewType"],
            "plannerPlanDetails" => &["id", "@odata.etag", "categoryDescriptions"],
            "user" | "group" => &["id", "displayName"],
            name if name.starts_with("planner") && name.ends_with("Format") => &["id", "@odata.etag"],
            _ => &[],
        }
    };
    if name == "x.batchResponse" {
        need("", body, &["responses"]);
    } else if let Some(entry) = name.strip_suffix("CollectionResponse") {
        need("", body, &["value", "@odata.context"]);
        for (place, object) in body.get("value").and_then(Value::as_array).into_iter().flatten().enumerate() {
            need(&format!("/value/{place}"), object, always(entry));
        }
    } else {
        need("", body, always(name));
    }
}

fn fits(template: &[String], segments: &[String]) -> bool {
    template.len() == segments.len()
        && template.iter().zip(segments).all(|(wanted, given)| {
            wanted.starts_with('{')
                || wanted.trim_end_matches("()").eq_ignore_ascii_case(given.trim_end_matches("()"))
        })
}

fn operations(slice: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    let parameters = slice.pointer("/components/parameters");
    let schema_name = |content: Option<&Value>| {
        let reference = content?.pointer("/content/application~1json/schema/$ref")?.as_str()?;
        Some(reference.rsplit('/').next()?.to_owned())
    };
    for (path, item) in slice.get("paths").and_then(Value::as_object).into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if !["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                continue;
            }
            let mut query = BTreeSet::new();
            let mut if_match = false;
            for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
                let parameter = match parameter.get("$ref").and_then(Value::as_str) {
                    Some(reference) => {
                        parameters.and_then(|all| all.get(reference.rsplit('/').next().unwrap_or_default()))
                    }
                    None => Some(parameter),
                };
                let Some(parameter) = parameter else { continue };
                let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
                match parameter.get("in").and_then(Value::as_str) {
                    Some("query") => {
                        query.insert(name.to_owned());
                    }
                    Some("header") if name == "If-Match" => {
                        if_match = parameter.get("required") == Some(&json!(true));
                    }
                    _ => {}
                }
            }
            let answers = operation.get("responses");
            let answer = schema_name(answers.and_then(|all| all.get("2XX").or_else(|| all.get("200"))));
            all.push(Operation {
                segments: path.split('/').skip(1).map(str::to_owned).collect(),
                method: method.to_ascii_uppercase(),
                query,
                if_match,
                body: schema_name(operation.get("requestBody")),
                answer,
            });
        }
    }
    all
}
