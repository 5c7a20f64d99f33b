//! What the simulator was asked and what became of it: every HTTP request and every item of a batch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most entries that are kept; older ones are dropped.
const KEPT: usize = 200_000;

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// An HTTP request to Graph that is one operation.
    Request,
    /// An HTTP request to `$batch`.
    Batch,
    /// An item of a batch.
    Item,
    /// A request for a token.
    Token,
}

/// One request, or one item of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// When it arrived, in milliseconds since the simulator started.
    pub at_ms: u64,
    /// When it was answered or given up; `None` while it is in the works.
    pub done_ms: Option<u64>,
    /// What it is.
    pub kind: EntryKind,
    /// `app:{client id}`, `person:{user id}`, or nothing without a valid token.
    pub actor: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// The path, with the version (`/v1.0/planner/tasks`).
    pub path: String,
    /// The query, undecoded.
    pub query: Option<String>,
    /// `if-match`, `prefer`, `client-request-id`, `user-agent`, `content-type`, `accept-encoding`.
    pub headers: BTreeMap<String, String>,
    /// The names of the body's members.
    pub fields: Vec<String>,
    /// The status; `None` if nothing was answered (yet).
    pub status: Option<u16>,
    /// The entity tag of the resource afterwards.
    pub etag: Option<String>,
    /// The id of the entity that was read or written.
    pub id: Option<String>,
    /// The number of the batch that an item was in.
    pub batch: Option<u64>,
    /// The item's id within its batch.
    pub item: Option<String>,
    /// A digest of the body: the same for the same body.
    #[serde(default)]
    pub body: Option<String>,
    /// `error.code` of the answer.
    #[serde(default)]
    pub code: Option<String>,
    /// Whether it came while a `Retry-After` told the client to wait.
    pub early: bool,
    /// If so, how long ago that was said, in milliseconds.
    #[serde(default)]
    pub told_ms: Option<u64>,
    /// The fault that it met.
    pub fault: Option<String>,
    /// Whether a write took effect, answered or not.
    pub committed: bool,
}

/// A digest of a body, for comparing.
pub(super) fn digest(body: &Option<Result<serde_json::Value, String>>) -> Option<String> {
    use sha2::{Digest, Sha256};
    let body = body.as_ref()?.as_ref().ok()?;
    let hash = Sha256::digest(body.to_string());
    Some(hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Figures of one kind of caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// HTTP requests to Graph, a batch being one.
    pub requests: u64,
    /// Operations: HTTP requests that are no batch, and the items of batches.
    pub sub_requests: u64,
    /// HTTP requests to `$batch`.
    pub batches: u64,
    /// Operations by method and kind of path (`PATCH /planner/tasks/{id}`).
    pub by_route: BTreeMap<String, u64>,
    /// Operations by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Writes that took effect.
    pub committed: u64,
    /// Requests and items that came inside a `Retry-After` window.
    pub early: u64,
}

/// Figures since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// What applications did.
    pub app: Tally,
    /// What people did.
    pub person: Tally,
    /// Requests for tokens.
    pub tokens: u64,
    /// Requests to Graph that were refused for their token.
    pub unauthorized: u64,
}

/// The entries and figures.
#[derive(Debug, Default)]
pub struct Journal {
    entries: std::collections::VecDeque<Entry>,
    next: u64,
    counts: Counts,
}

impl Journal {
    /// Adds an entry that has just arrived and returns its number.
    pub fn open(&mut self, mut entry: Entry) -> u64 {
        self.next += 1;
        entry.seq = self.next;
        match entry.kind {
            EntryKind::Token => self.counts.tokens += 1,
            kind => {
                let route = route(&entry.method, &entry.path);
                let early = entry.early;
                let tally = self.tally(entry.actor.as_deref());
                tally.early += u64::from(early);
                tally.requests += u64::from(kind != EntryKind::Item);
                tally.batches += u64::from(kind == EntryKind::Batch);
                if kind != EntryKind::Batch {
                    tally.sub_requests += 1;
                    *tally.by_route.entry(route).or_default() += 1;
                }
            }
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.next
    }

    /// Changes an entry that is still kept.
    pub fn update(&mut self, seq: u64, change: impl FnOnce(&mut Entry)) {
        let Some(first) = self.entries.front().map(|entry| entry.seq) else { return };
        let place = seq.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            change(entry);
        }
    }

    /// Notes how an entry ended.
    pub fn close(&mut self, seq: u64, at_ms: u64, status: Option<u16>) {
        let mut ended = None;
        self.update(seq, |entry| {
            entry.done_ms = Some(at_ms);
            entry.status = status;
            ended = Some((entry.kind, entry.actor.clone(), entry.committed));
        });
        if let Some((kind @ (EntryKind::Request | EntryKind::Item), actor, committed)) = ended {
            let tally = self.tally(actor.as_deref());
            tally.committed += u64::from(committed);
            if let Some(status) = status {
                *tally.by_status.entry(status).or_default() += 1;
            }
            if kind == EntryKind::Request && status == Some(401) {
                self.counts.unauthorized += 1;
            }
        }
    }

    /// The entries with a number above `after`.
    pub fn since(&self, after: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.seq > after).cloned().collect()
    }

    /// The figures.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Forgets entries and figures; numbers go on.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.counts = Counts::default();
    }

    fn tally(&mut self, actor: Option<&str>) -> &mut Tally {
        if actor.is_some_and(|actor| actor.starts_with("person:")) {
            &mut self.counts.person
        } else {
            &mut self.counts.app
        }
    }
}

/// Method and path with ids replaced, without the version.
fn route(method: &str, path: &str) -> String {
    let named = ["planner", "plans", "buckets", "tasks", "groups", "users", "me", "members", "organization"];
    let mut out = format!("{method} ");
    for (place, segment) in path.split('/').filter(|segment| !segment.is_empty()).enumerate() {
        if place == 0 {
            continue;
        }
        let known = named.iter().any(|name| segment.eq_ignore_ascii_case(name))
            || segment.to_ascii_lowercase().ends_with("details")
            || segment.to_ascii_lowercase().ends_with("format");
        out.push('/');
        out.push_str(if known { segment } else { "{id}" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_no_ids() {
        assert_eq!(
            route("PATCH", "/v1.0/planner/tasks/01gzSlKkIUSUl6DF_EilrmQAKDhh/details"),
            "PATCH /planner/tasks/{id}/details"
        );
        assert_eq!(route("GET", "/v1.0/groups/g/planner/plans"), "GET /groups/{id}/planner/plans");
    }
}
