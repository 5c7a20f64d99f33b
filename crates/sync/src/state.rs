//! What is remembered about one task between two steps: the base, and what cannot be read again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    lens::{Field, Fields, Value},
    mutants::{Mutant, removed},
    world::Inheritance,
};

/// How many of our own writes of a document are remembered (`views`).
pub const VIEWS: usize = 8;
/// How many superseded values of a task are remembered (`history`).
pub const HISTORY: usize = 64;
/// How long a superseded value without a stamp still counts as a stale write, milliseconds.
pub const HISTORY_MS: i64 = 10 * 60 * 1000;
/// How many sends of one create are remembered.
pub const ATTEMPTS: usize = 4;
/// How long the value of a write of unknown outcome is kept, milliseconds.
pub const INTENT_MS: i64 = 5 * 60 * 1000;

/// How many names of categories are remembered of a task.
const LABELS: usize = 50;

/// A short hash that stands for a value, so that state holds no second copy of people's text.
pub fn fingerprint(value: &Value) -> String {
    let text = serde_json::to_vec(value).unwrap_or_default();
    hex(&Sha256::digest(&text)[..8])
}

/// The digest of a document's bytes that the sweep compares.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The state of one task (`annika:sync:state:{annika_id}`, field `record`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskState {
    /// Planner's id of the task, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planner_id: Option<String>,
    /// The values both sides last agreed on.
    pub base: Fields,
    /// The last effective local values; what a document that says nothing about a field means.
    pub current: Fields,
    /// The newest copy of Planner's side that was merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The `rev` of the last document we wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// Our last writes, newest last: what an agent may have read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<View>,
    /// Values that were replaced, newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Superseded>,
    /// When a remote change of a field was last downloaded, ms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub remote_changed: BTreeMap<Field, i64>,
    /// Writes to Graph whose outcome is not known yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<Intent>,
    /// What a create could not carry (text, checklist), until it has arrived: no edit that beats a deletion.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub created_with: Fields,
    /// A create that was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<Create>,
    /// The task in the plan that an agent moved it from, until that is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
    /// A permanent failure that stands until the document changes or its time comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Digest of the document that was last worked off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// The document had a time to live when last seen: its absence says nothing.
    #[serde(skip_serializing_if = "is_false")]
    pub expires: bool,
    /// The document was imported, and nobody but us has written it since.
    #[serde(skip_serializing_if = "is_false")]
    pub imported: bool,
    /// Planner's side must be read before anything else is decided.
    #[serde(skip_serializing_if = "is_false")]
    pub need_get: bool,
    /// The details must be read before the next merge.
    #[serde(skip_serializing_if = "is_false")]
    pub need_details: bool,
    /// A planner id that the document's stamp still names and that is proven dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_id: Option<String>,
    /// Answers 404 or 403 for the task itself, and when the first came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// When a DELETE was first sent whose outcome may be unknown, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleting: Option<i64>,
    /// Transient failures in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Until when the task is left alone after the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
    /// Writes that Graph refused with 403 since the last one that it took.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u32,
    /// Conflict answers (409, 412) in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub conflicts: u32,
    /// The document is a checklist item of another task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<Child>,
    /// Checklist items that a person took off Planner's list, by key, and when, ms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub removed_items: BTreeMap<String, i64>,
    /// Digest of the document of which its children were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children_told: Option<String>,
    /// How the document calls the categories that it had, folded: a person may rename one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What was told already of what Planner cannot take, by code and fingerprint.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub told: BTreeSet<String>,
    /// When Planner's side was last read whole (task and details), ms.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub full_at: i64,
}

fn is_false(value: &bool) -> bool {
    !*value
}
fn is_zero(value: &u32) -> bool {
    *value == 0
}
fn is_zero_i64(value: &i64) -> bool {
    *value == 0
}

/// Planner's side of a task as last merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// ETag of the task.
    pub etag: String,
    /// ETag of its details, where they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_etag: Option<String>,
    /// Its values.
    pub fields: Fields,
}

/// Which checklist item a document is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Annika's id of the task that has the item.
    pub parent: String,
    /// The item's key.
    pub key: String,
    /// When a person took the item off Planner's list, and an unseen edit of the document put it there again, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_back: Option<i64>,
}

/// What a document of ours held, by fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The stamp it carried.
    pub rev: String,
    /// When it was written, ms.
    pub at: i64,
    /// Fingerprints of its values.
    pub values: BTreeMap<Field, String>,
}

/// A value that was replaced or lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The field.
    pub field: Field,
    /// Its value's fingerprint.
    pub value: String,
    /// When it was replaced, ms.
    pub at: i64,
    /// An agent replaced it: it is stale only once a remote change has followed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_agent: bool,
}

/// A value on its way to Graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The field.
    pub field: Field,
    /// The value that was sent.
    pub value: Value,
    /// When it was sent, ms.
    pub at: i64,
    /// Refused because Planner's copy was another one: it was not done, unless it had been before, by a send that the
    /// store has forgotten. The next copy shows it.
    #[serde(skip_serializing_if = "is_false", default)]
    pub outdated: bool,
}

impl Intent {
    fn is(&self, field: Field, value: &Value) -> bool {
        self.field == field && crate::lens::same(field, &self.value, value)
    }
}

/// A create on its way to Graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// The plan it was sent to.
    pub plan: String,
    /// The values that were sent.
    pub fields: Fields,
    /// When the intent was stored, ms.
    pub sent_at: i64,
    /// Its outcome is not known: the task is listed as `create_unresolved` until it is.
    #[serde(default)]
    pub unresolved: bool,
    /// The id of ours that was sent with it, by which it can be sent again without making a second task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// What was sent before under the same circumstances, oldest first: any of it may have made the task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
    /// When a later send was answered, ms: the task is known, and what is left here may only have made another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<i64>,
}

impl Create {
    /// Everything that was sent, oldest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        let last = Attempt { fields: self.fields.clone(), sent_at: self.sent_at };
        self.earlier.iter().cloned().chain([last]).collect()
    }

    /// What is left after the last send was refused: what was sent before may still have made the task.
    pub fn without_last(mut self) -> Option<Self> {
        let Attempt { fields, sent_at } = self.earlier.pop()?;
        Some(Self { fields, sent_at, ..self })
    }

    /// What is left after the last send was answered. Without an id of ours it was sent only on proof that those
    /// before it had made nothing.
    pub fn answered(self, now: i64) -> Option<Self> {
        let left = self.without_last().filter(|left| left.external_id.is_some())?;
        Some(Self { answered: Some(now), unresolved: false, ..left })
    }
}

/// A task that was made again in another plan: what is still there of the old one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leaving {
    /// Planner's id of the old task.
    pub planner_id: String,
    /// Its plan.
    pub plan: Option<String>,
    /// The values that went over.
    pub base: Fields,
    /// What people wrote later, as far as it is dealt with.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub handed: Fields,
    /// The old task as last read, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Remote>,
    /// When that was, ms.
    pub read_at: i64,
    /// Answers 404 or 403 in a row, at least [`crate::plan::GONE_APART_MS`] apart.
    pub answers: u32,
    /// When the last one was counted, ms.
    pub last: i64,
}

impl Leaving {
    /// The last value of a field that was dealt with.
    pub fn last(&self, field: Field) -> &Value {
        self.handed.get(&field).or_else(|| self.base.get(&field)).unwrap_or(&Value::Null)
    }
}

/// One send of a create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The values that were sent.
    pub fields: Fields,
    /// When the intent was stored, ms.
    pub sent_at: i64,
}

/// Why a task waits for a person or an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable code.
    pub code: String,
    /// What happened and what to do, for a person.
    pub message: String,
    /// When it was first seen, ms.
    pub since: i64,
    /// Digest of the document that failed; another document is tried at once.
    pub digest: String,
    /// When it is tried again by itself, ms; 0 = never.
    #[serde(default)]
    pub retry_at: i64,
    /// How often it failed.
    #[serde(default)]
    pub attempts: u32,
}

/// When a task is tried again whose last requests brought nothing. Marks do not hurry it, another document does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// When, ms.
    pub at: i64,
    /// Digest of the document that was tried; empty where there was none.
    pub digest: String,
}

/// Evidence that Planner no longer has the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// When the first 404 or 403 came, ms.
    pub since: i64,
    /// How many came, at least [`crate::plan::GONE_APART_MS`] apart.
    pub answers: u32,
    /// When the last one was counted, ms.
    pub last: i64,
    /// How many lists lacked it before the first answer, two at most: each may have been older than the task, and they
    /// say nothing.
    #[serde(default)]
    pub lists: u32,
    /// It was asked for once more after enough lists had lacked it.
    #[serde(default)]
    pub asked: bool,
}

impl TaskState {
    /// Every set of values that is remembered, for whoever has to take something out of all of them. Single values are
    /// in [`TaskState::intents`]; what is remembered beside them is fingerprints.
    pub fn fields_mut(&mut self) -> Vec<&mut Fields> {
        let Self { base, current, created_with, remote, create, leaving, .. } = self;
        let mut all = vec![base, current, created_with];
        all.extend(remote.as_mut().map(|remote| &mut remote.fields));
        if let Some(Create { fields, earlier, .. }) = create {
            all.push(fields);
            all.extend(earlier.iter_mut().map(|attempt| &mut attempt.fields));
        }
        if let Some(Leaving { base, handed, seen, .. }) = leaving {
            all.extend([base, handed]);
            all.extend(seen.as_mut().map(|seen| &mut seen.fields));
        }
        all
    }

    /// Remembers the document that was just written under `rev`.
    ///
    /// `shown` is what the document says, in its own spelling of values.
    pub fn remember_view(&mut self, rev: &str, shown: &Fields, now: i64) {
        let now = self.remote_changed.values().copied().fold(now, i64::max);
        let values = shown.iter().map(|(field, value)| (*field, fingerprint(value))).collect();
        self.views.push(View { rev: rev.to_owned(), at: now, values });
        let excess = self.views.len().saturating_sub(VIEWS);
        self.views.drain(..excess);
        self.rev = Some(rev.to_owned());
    }

    /// Remembers that a value is being sent. An earlier send of it whose outcome is unknown is kept beside this one:
    /// when this one is refused, that one may still have been done.
    pub fn remember_intent(&mut self, field: Field, value: &Value, now: i64) {
        let is_it = |intent: &Intent| intent.is(field, value);
        if self.intents.iter().filter(|intent| is_it(intent)).count() > 1
            && let Some(oldest) = self.intents.iter().position(is_it)
        {
            self.intents.remove(oldest);
        }
        self.intents.push(Intent { field, value: value.clone(), at: now, outdated: false });
    }

    /// The last send of a value was surely not done.
    pub fn withdraw_intent(&mut self, field: Field, value: &Value) {
        let is_it = |intent: &Intent| intent.is(field, value);
        if let Some(last) = self.intents.iter().rposition(is_it) {
            self.intents.remove(last);
        }
    }

    /// Remembers that a change of Planner's came down.
    ///
    /// Whether a document was written before or after that is told by the order of the times. The processes' clocks
    /// differ, so none of them goes back behind what the state holds.
    pub fn remember_remote_change(&mut self, field: Field, now: i64) {
        let after = self.views.last().map_or(now, |view| view.at + 1);
        self.remote_changed.insert(field, now.max(after));
    }

    /// Remembers how the document calls its categories. What it called them before is kept for a while: an agent may
    /// still write it.
    pub fn remember_labels(&mut self, labels: BTreeMap<String, String>) {
        if self.labels.len() + labels.len() > LABELS {
            self.labels.clear();
        }
        self.labels.extend(labels);
    }

    /// What a document with a stamp of `rev` for the same Planner task may claim, where this one is the imported one
    /// and its text has this digest.
    pub fn inheritance(&self, rev: &str, digest: Option<&str>) -> Inheritance {
        let known = self.rev.as_deref() == Some(rev) || self.views.iter().any(|view| view.rev == rev);
        match digest {
            _ if known => Inheritance::None,
            Some(digest) if self.imported && self.seen.as_deref() == Some(digest) => Inheritance::Open,
            _ => Inheritance::Edited,
        }
    }

    /// Remembers that a remote change replaced `value` of `field`, or that it lost a conflict.
    ///
    /// What agents had replaced before is stale from now on, too.
    pub fn remember_superseded(&mut self, field: Field, value: &Value, now: i64) {
        for old in self.history.iter_mut().filter(|old| old.field == field && old.by_agent) {
            (old.by_agent, old.at) = (false, now);
        }
        self.push_superseded(field, value, now, false);
    }

    /// Remembers that an agent wrote `value` where another value was effective.
    pub fn replaced_by_agent(&mut self, field: Field, value: &Value, now: i64) {
        if let Some(old) = self.current.get(&field).cloned()
            && !crate::lens::same(field, &old, value)
            && !self.is_superseded(field, &old, now)
        {
            self.push_superseded(field, &old, now, true);
        }
    }

    /// Remembers what an agent wrote in a spelling that lost against another one of the same field.
    pub fn overruled(&mut self, field: Field, value: &Value, now: i64) {
        if !self.is_superseded(field, value, now) {
            self.push_superseded(field, value, now, true);
        }
    }

    fn push_superseded(&mut self, field: Field, value: &Value, now: i64, by_agent: bool) {
        let value = fingerprint(value);
        self.history.retain(|old| !(old.field == field && old.value == value) && now - old.at <= HISTORY_MS);
        self.history.push(Superseded { field, value, at: now, by_agent });
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
    }

    /// Whether a remote change replaced `value` of `field` in the last ten minutes.
    pub fn is_superseded(&self, field: Field, value: &Value, now: i64) -> bool {
        if removed(Mutant::History) {
            return false;
        }
        let value = fingerprint(value);
        let stale = |old: &Superseded| old.field == field && old.value == value && !old.by_agent;
        self.history.iter().any(|old| stale(old) && now - old.at <= HISTORY_MS)
    }

    /// Whether anybody replaced `value` of `field` in the last ten minutes.
    pub fn was_replaced(&self, field: Field, value: &Value, now: i64) -> bool {
        let value = fingerprint(value);
        self.history.iter().any(|old| old.field == field && old.value == value && now - old.at <= HISTORY_MS)
    }

    /// The last write of each of these values was refused for its ETag.
    pub fn outdate(&mut self, values: &Fields) {
        for (field, value) in values {
            if let Some(last) = self.intents.iter_mut().rfind(|intent| intent.is(*field, value)) {
                last.outdated = true;
            }
        }
    }

    /// Whether the value is on its way: written with an unknown outcome, or part of the creation.
    pub fn is_own_echo(&self, field: Field, value: &Value) -> bool {
        let is_it = |sent: &Value| crate::lens::same(field, sent, value);
        !removed(Mutant::OwnEcho)
            && (self.intents.iter().any(|intent| intent.is(field, value))
                || (!removed(Mutant::CreatedWith) && self.created_with.get(&field).is_some_and(is_it)))
    }

    /// Parts of the creation that have arrived, or that an agent has replaced, need no protection any more.
    pub fn drop_arrived(&mut self) {
        if self.create.is_some() {
            // During a move the base is still the old task's.
            return;
        }
        let Self { created_with, base, current, .. } = self;
        created_with.retain(|field, value| {
            base.get(field).is_none_or(Value::is_empty)
                && current.get(field).is_some_and(|current| crate::lens::same(*field, current, value))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_and_history_are_bounded() {
        let mut state = TaskState::default();
        for n in 0..100 {
            state.remember_view(&format!("r{n}"), &Fields::new(), n);
            state.remember_superseded(Field::Title, &Value::Text(format!("t{n}")), n);
        }
        assert_eq!(state.views.len(), VIEWS);
        assert_eq!(state.views.last().map(|view| view.rev.as_str()), Some("r99"));
        assert_eq!(state.history.len(), HISTORY);
        assert!(state.is_superseded(Field::Title, &Value::Text("t99".into()), 99));
        assert!(!state.is_superseded(Field::Title, &Value::Text("t99".into()), 99 + HISTORY_MS + 1));
        assert!(!state.is_superseded(Field::Description, &Value::Text("t99".into()), 99));
    }

    /// Seed 4853: two processes with clocks that differ wrote the view and brought the change down.
    #[test]
    fn what_came_down_after_a_view_is_later_than_it_whatever_the_clocks_say() {
        let mut state = TaskState::default();
        state.remember_view("r1", &Fields::new(), 2_000);
        state.remember_remote_change(Field::Title, 1_000);
        let of = |state: &TaskState, n: usize| state.views.get(n).map_or(0, |view| view.at);
        assert!(state.remote_changed[&Field::Title] > of(&state, 0));
        state.remember_view("r2", &Fields::new(), 1_500);
        assert!(of(&state, 1) >= state.remote_changed[&Field::Title], "this one shows it");
    }

    /// Seed 4318: the answer to the first send was lost, the second one was refused.
    #[test]
    fn a_refused_write_leaves_the_write_of_unknown_outcome_before_it() {
        let (mut state, value) = (TaskState::default(), Value::Text("v".into()));
        state.remember_intent(Field::Title, &value, 1);
        state.remember_intent(Field::Title, &value, 2);
        state.withdraw_intent(Field::Title, &value);
        assert!(state.is_own_echo(Field::Title, &value), "it may have been done");
        state.withdraw_intent(Field::Title, &value);
        assert!(!state.is_own_echo(Field::Title, &value));
        (0..9).for_each(|at| state.remember_intent(Field::Title, &value, at));
        assert_eq!(state.intents.iter().map(|intent| intent.at).collect::<Vec<_>>(), [7, 8]);
    }

    /// Seed 1250: a refusal says nothing about the sends before it.
    #[test]
    fn a_refused_send_leaves_the_sends_before_it() {
        let attempt = |sent_at| Attempt { fields: Fields::new(), sent_at };
        let create = Create { sent_at: 3, earlier: vec![attempt(1), attempt(2)], ..Create::default() };
        let left = create.without_last().expect("two are left");
        assert_eq!(left.attempts(), [attempt(1), attempt(2)]);
        assert_eq!(left.without_last().and_then(Create::without_last), None);
    }

    #[test]
    fn an_answered_create_leaves_the_sends_before_it_where_it_had_an_id_of_ours() {
        let attempt = |sent_at| Attempt { fields: Fields::new(), sent_at };
        let create = |earlier, external_id: Option<&str>| Create {
            sent_at: 3,
            earlier,
            external_id: external_id.map(str::to_owned),
            ..Create::default()
        };
        let left = create(vec![attempt(1), attempt(2)], Some("a")).answered(4).expect("two are left");
        assert_eq!((left.attempts(), left.answered), (vec![attempt(1), attempt(2)], Some(4)));
        assert_eq!(create(vec![attempt(1)], None).answered(4), None);
        assert_eq!(create(Vec::new(), Some("a")).answered(4), None);
    }

    #[test]
    fn an_empty_state_is_a_short_text() {
        let text = serde_json::to_string(&TaskState::default()).expect("serialises");
        assert!(text.len() < 40, "{text}");
        assert_eq!(serde_json::from_str::<TaskState>("{}").expect("reads"), TaskState::default());
    }
}
