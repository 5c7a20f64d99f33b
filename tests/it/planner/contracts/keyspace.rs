//! Everything that a server holds, read in one step, and what the contracts ask of it.

use std::collections::BTreeMap;

use annika::{keys, tasks::pending_entry};
use redis::{Value, aio::MultiplexedConnection};

use super::clients::now;

/// Reads every key with its type, its time to live and its value, atomically.
const READ: &str = r"
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key)['ok'], false
  if kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'stream' then value = redis.call('XLEN', key)
  elseif kind == 'ReJSON-RL' then value = redis.call('JSON.GET', key) end
  all[#all + 1] = {key, kind, redis.call('PTTL', key), value}
end
return all";

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Text(String),
    Json(String),
    Hash(BTreeMap<String, String>),
    Sorted(BTreeMap<String, i64>),
    List(Vec<String>),
    Other(String),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub item: Item,
    /// Milliseconds, -1 for none.
    pub ttl: i64,
}

/// Two readings a moment apart hold the same; time goes by meanwhile.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.item == other.item && (self.ttl < 0) == (other.ttl < 0)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keyspace(pub BTreeMap<String, Entry>);

fn words(value: &Value) -> Vec<String> {
    redis::from_redis_value(value.clone()).unwrap()
}

impl Keyspace {
    pub async fn read(redis: &mut MultiplexedConnection) -> Self {
        let all: Vec<(String, String, i64, Value)> =
            redis::cmd("EVAL").arg(READ).arg(0).query_async(redis).await.unwrap();
        let entry = |(key, kind, ttl, value): (String, String, i64, Value)| {
            let item = match kind.as_str() {
                "string" => Item::Text(redis::from_redis_value(value).unwrap()),
                "ReJSON-RL" => Item::Json(redis::from_redis_value(value).unwrap()),
                "hash" => Item::Hash(pairs(&words(&value)).collect()),
                "zset" => {
                    let score = |text: String| text.parse::<f64>().unwrap() as i64;
                    Item::Sorted(pairs(&words(&value)).map(|(id, at)| (id, score(at))).collect())
                }
                "list" => Item::List(words(&value)),
                _ => Item::Other(format!("{kind} {value:?}")),
            };
            (key, Entry { item, ttl })
        };
        Self(all.into_iter().map(entry).collect())
    }

    pub fn item(&self, key: &str) -> Option<&Item> {
        self.0.get(key).map(|entry| &entry.item)
    }

    pub fn ttl(&self, key: &str) -> Option<i64> {
        self.0.get(key).map(|entry| entry.ttl)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.item(key) {
            Some(Item::Text(text) | Item::Json(text)) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self, key: &str) -> &[String] {
        match self.item(key) {
            Some(Item::List(list)) => list,
            _ => &[],
        }
    }

    pub fn field(&self, key: &str, field: &str) -> Option<&str> {
        match self.item(key) {
            Some(Item::Hash(fields)) => fields.get(field).map(String::as_str),
            _ => None,
        }
    }

    pub fn number(&self, key: &str, field: &str) -> i64 {
        self.field(key, field).map_or(0, |text| text.parse().unwrap())
    }

    /// The document of a task as text, whatever type holds it.
    pub fn document(&self, id: &str) -> Option<&str> {
        self.text(&keys::task(id))
    }

    pub fn state<'a>(&'a self, id: &str, field: &str) -> Option<&'a str> {
        self.field(&keys::sync_state(id), field)
    }

    pub fn hint(&self, id: &str) -> i64 {
        self.number(&keys::sync_state(id), "hint")
    }

    pub fn leased_until(&self, id: &str) -> i64 {
        self.number(&keys::sync_state(id), "lease_until")
    }

    /// When a task is due, ms; the due-set may consist of several zsets, and a task is in one at most.
    pub fn due(&self, id: &str) -> Option<i64> {
        let mut places = self.due_sets().filter_map(|set| set.get(id).copied());
        let at = places.next();
        assert_eq!(places.next(), None, "{id} is due twice");
        at
    }

    /// Whether a task waits among those that nobody waits for.
    pub fn is_low(&self, id: &str) -> bool {
        let low = format!("{}:low", keys::sync_due());
        matches!(self.item(&low), Some(Item::Sorted(set)) if set.contains_key(id))
    }

    pub fn all_due(&self) -> Vec<(String, i64)> {
        self.due_sets().flat_map(|set| set.iter().map(|(id, at)| (id.clone(), *at))).collect()
    }

    fn due_sets(&self) -> impl Iterator<Item = &BTreeMap<String, i64>> {
        let ours = |key: &str| key == keys::sync_due() || key == format!("{}:low", keys::sync_due());
        self.0.iter().filter_map(move |(key, entry)| match &entry.item {
            Item::Sorted(set) if ours(key) => Some(set),
            _ => None,
        })
    }

    /// How often our own entry of a task stands in the pending list.
    pub fn mirrors(&self, id: &str) -> usize {
        let mirror = pending_entry(id);
        self.list(keys::sync_pending()).iter().filter(|entry| **entry == mirror).count()
    }

    /// What must hold between the keys after every step, for the tasks `ids`.
    pub fn check(&self, ids: &[&str]) {
        let fence: i64 = self.text(keys::sync_fence()).map_or(0, |text| text.parse().unwrap());
        let mut fences = Vec::new();
        for id in ids {
            assert_eq!(
                self.mirrors(id),
                usize::from(self.due(id).is_some()),
                "{id}: a task that waits has one entry in the pending list"
            );
            if let Some(text) = self.state(id, "fence") {
                fences.push(text.parse::<i64>().unwrap());
            }
            let listed = self.failed(id);
            let known: Vec<String> = self.state(id, "failed").map(str::to_owned).into_iter().collect();
            assert_eq!(listed, known, "{id}: the failed list has what the state says it has");
            // One that ran out may have been marked since.
            if self.leased_until(id) > now() {
                assert_eq!(
                    self.due(id),
                    Some(self.leased_until(id)),
                    "{id}: a claimed task is due at its lease's end"
                );
            }
        }
        assert!(fences.iter().all(|of| *of <= fence), "{fences:?} above the counter {fence}");
        fences.sort_unstable();
        fences.dedup();
        assert_eq!(
            fences.len(),
            ids.iter().filter(|id| self.state(id, "fence").is_some()).count(),
            "two claims under one fence"
        );
        self.check_indexes();
    }

    /// The entries of a task in the failed list.
    pub fn failed(&self, id: &str) -> Vec<String> {
        let of = |entry: &&String| {
            let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
            entry["task_id"] == id
        };
        self.list(keys::sync_failed()).iter().filter(of).cloned().collect()
    }

    /// Each list holds exactly the tasks whose entry names it.
    fn check_indexes(&self) {
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        if let Some(Item::Hash(entries)) = self.item(keys::tasks_entries()) {
            for (id, keys) in entries {
                for key in keys.lines() {
                    wanted.entry(key).or_default().push(id);
                }
            }
        }
        let prefix = keys::tasks_index("");
        let mut there: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, entry) in self.0.range(prefix.clone()..) {
            if !key.starts_with(&prefix) {
                break;
            }
            if let Item::Sorted(set) = &entry.item {
                there.insert(key, set.keys().map(String::as_str).collect());
            }
        }
        assert_eq!(there, wanted, "the lists of tasks");
    }
}

fn pairs(words: &[String]) -> impl Iterator<Item = (String, String)> {
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()))
}
