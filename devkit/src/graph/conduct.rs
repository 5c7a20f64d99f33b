//! How a client behaved, read from the journal: what a well-behaved one never does, whatever weather it met.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::Serialize;

use super::{
    etag::Kind,
    journal::{Entry, EntryKind},
    planner,
};

/// A write that was refused for good may come once more after this long, in milliseconds: somebody may have made
/// room, or given a permission.
const PATIENCE_MS: u64 = 60_000;

/// What arrives so soon after the answer that asked to wait was on its way already, or its sender had no time to read
/// it; milliseconds.
const UNDER_WAY_MS: u64 = 500;

/// The rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A PATCH or DELETE names the version that it is for.
    IfMatch,
    /// `If-Match: *` is never sent: it takes what nobody has read.
    AnyEtag,
    /// Nothing is sent inside the time that `Retry-After` asked for.
    RetryAfter,
    /// What was refused for good is not sent again unchanged.
    Permanent,
    /// A PATCH names no member that the service computes.
    ReadOnly,
    /// A creation that took effect is not sent again.
    CreatedTwice,
}

/// A rule that an entry of the journal broke.
#[derive(Debug, Clone, Serialize)]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// The entry's number.
    pub seq: u64,
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms, {} {}: {}", self.seq, self.at_ms, self.method, self.path, self.what)
    }
}

/// Every breach by applications, in the order of the journal.
pub fn breaches(journal: &[Entry]) -> Vec<Breach> {
    let mut found = Vec::new();
    let mut refused: HashMap<String, Vec<u64>> = HashMap::new();
    let mut created: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in journal.iter().filter(|entry| is_apps(entry)) {
        let mut add = |rule, what: String| {
            found.push(Breach {
                rule,
                seq: entry.seq,
                at_ms: entry.at_ms,
                method: entry.method.clone(),
                path: entry.path.clone(),
                what,
            });
        };
        if let Some(told) = entry.told_ms.filter(|told| *told > UNDER_WAY_MS) {
            add(
                Rule::RetryAfter,
                format!("sent inside the time of a Retry-After, {told} ms after it was said"),
            );
        }
        if entry.kind == EntryKind::Batch {
            continue;
        }
        if matches!(entry.method.as_str(), "PATCH" | "DELETE") {
            match entry.headers.get("if-match").map(String::as_str) {
                None => add(Rule::IfMatch, "no If-Match".to_owned()),
                Some("*") => add(Rule::AnyEtag, "If-Match: *".to_owned()),
                Some(_) => {}
            }
        }
        if entry.method == "PATCH"
            && let Some(kind) = kind_of(&entry.path)
        {
            for name in entry.fields.iter().filter(|name| planner::is_read_only(kind, name)) {
                add(Rule::ReadOnly, format!("writes '{name}'"));
            }
        }
        let body = entry.body.as_deref().unwrap_or_default();
        if entry.method != "GET" && is_permanent(entry) {
            let before = refused.entry(format!("{} {} {body}", entry.method, entry.path)).or_default();
            let recent = before.iter().filter(|at| entry.at_ms.saturating_sub(**at) < PATIENCE_MS).count();
            if recent >= most(entry) {
                let status = entry.status.unwrap_or_default();
                add(Rule::Permanent, format!("refused with {status} {} times before", before.len()));
            }
            before.push(entry.at_ms);
        }
        if entry.method == "POST"
            && entry.committed
            && entry.path.ends_with("/planner/tasks")
            && let Some(first) = created.insert(body, entry.seq)
        {
            add(Rule::CreatedTwice, format!("took effect although {first} already had"));
        }
    }
    found
}

fn is_apps(entry: &Entry) -> bool {
    entry.kind != EntryKind::Token && entry.actor.as_deref().is_some_and(|actor| actor.starts_with("app:"))
}

/// Whether the answer says that the same call will be refused again.
fn is_permanent(entry: &Entry) -> bool {
    matches!(entry.status, Some(400 | 403 | 404 | 405 | 410 | 413 | 415 | 422))
}

/// How often the same write may have been refused already. One 403 or 404 may be an accident of the service; a 400
/// says what is wrong.
fn most(entry: &Entry) -> usize {
    let limit = entry.code.as_deref().is_some_and(|code| code.starts_with("Maximum"));
    match entry.status {
        Some(403 | 404) if !limit => 2,
        _ => 1,
    }
}

fn kind_of(path: &str) -> Option<Kind> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).skip(2).collect();
    match segments.as_slice() {
        ["tasks", _] => Some(Kind::Task),
        ["tasks", _, "details"] => Some(Kind::TaskDetails),
        ["plans", _] => Some(Kind::Plan),
        ["plans", _, "details"] => Some(Kind::PlanDetails),
        ["buckets", _] => Some(Kind::Bucket),
        _ => None,
    }
}
