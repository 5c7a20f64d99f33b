//! An agent: HTTP with the function key, raw Redis on a connection of its own, and an ear on the channels.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use redis::aio::MultiplexedConnection;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::planner::{Unseen, client, said};

/// The channels on which the product tells agents what happened, as seed documents name them.
pub(super) const UPDATES: &str = "annika:tasks:updates";
pub(super) const SYNC: &str = "annika:tasks:sync";
pub(super) const EVENTS: &str = "annika:pubsub:tasks";

/// A message that was heard.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) channel: String,
    pub(super) message: Value,
}

/// What agents can do and see.
#[derive(Clone)]
pub(super) struct Agent {
    http: reqwest::Client,
    base: String,
    key: String,
    redis: MultiplexedConnection,
    heard: Arc<Mutex<Vec<Heard>>>,
    listener: Arc<tokio::task::JoinHandle<()>>,
}

impl Agent {
    /// Connects to Redis twice (commands, and a subscriber) and remembers where HTTP goes.
    pub(super) async fn start(base: &str, key: &str, redis_url: &str) -> Result<Self, Unseen> {
        let client_of_redis = redis::Client::open(redis_url).map_err(|why| why.to_string())?;
        let redis =
            client_of_redis.get_multiplexed_async_connection().await.map_err(|why| why.to_string())?;
        let mut subscriber = client_of_redis.get_async_pubsub().await.map_err(|why| why.to_string())?;
        subscriber.subscribe(&[UPDATES, SYNC, EVENTS]).await.map_err(|why| why.to_string())?;
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let list = heard.clone();
        let listener = tokio::spawn(async move {
            let mut messages = subscriber.into_on_message();
            while let Some(message) = messages.next().await {
                let channel = message.get_channel_name().to_owned();
                let text = message.get_payload_bytes();
                // What is no JSON is heard as null, and fails the check of forms.
                let message = serde_json::from_slice(text).unwrap_or(Value::Null);
                list.lock().unwrap_or_else(PoisonError::into_inner).push(Heard { channel, message });
            }
        });
        Ok(Self {
            http: client()?,
            base: base.to_owned(),
            key: key.to_owned(),
            redis,
            heard,
            listener: Arc::new(listener),
        })
    }

    /// Calls the product over HTTP.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Unseen> {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).header("x-functions-key", &self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(said)?;
        let status = answer.status();
        let text = answer.text().await.map_err(said)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    async fn redis<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T, Unseen> {
        let mut command = redis::cmd(words.first().copied().unwrap_or_default());
        for word in words.iter().skip(1) {
            command.arg(*word);
        }
        command.query_async(&mut self.redis.clone()).await.map_err(|why| format!("Redis: {why}"))
    }

    /// `SET` of a document.
    pub(super) async fn set(&self, id: &str, document: &Value) -> Result<(), Unseen> {
        self.redis(&["SET", &format!("annika:tasks:{id}"), &document.to_string()]).await
    }

    /// `DEL` of a document.
    pub(super) async fn del(&self, id: &str) -> Result<(), Unseen> {
        match self.redis::<i64>(&["DEL", &format!("annika:tasks:{id}")]).await? {
            1 => Ok(()),
            _ => Err(format!("annika:tasks:{id} was not there")),
        }
    }

    /// `PUBLISH` of what was done.
    pub(super) async fn publish(&self, action: &str, id: &str, task: &Value) -> Result<(), Unseen> {
        let message = json!({"action": action, "task_id": id, "task": task, "source": "agent"});
        self.redis::<i64>(&["PUBLISH", UPDATES, &message.to_string()]).await.map(|_| ())
    }

    /// The document as it is stored; `None` if there is none.
    pub(super) async fn document(&self, id: &str) -> Result<Option<Value>, Unseen> {
        let text: Option<String> = self.redis(&["GET", &format!("annika:tasks:{id}")]).await?;
        let Some(text) = text else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|why| format!("annika:tasks:{id} is no JSON: {why}"))
    }

    /// The document of a task that was made in Planner, with its id: by the mapping, as agents find it.
    pub(super) async fn document_of(&self, planner_id: &str) -> Result<(String, Value), Unseen> {
        let key = format!("annika:task:mapping:planner:{planner_id}");
        let mapping: Option<String> = self.redis(&["GET", &key]).await?;
        let mapping = mapping.ok_or_else(|| format!("there is no {key}"))?;
        let mapping: Value = serde_json::from_str(&mapping).map_err(|why| format!("{key}: {why}"))?;
        let id = mapping["annika_id"].as_str().ok_or_else(|| format!("{key} names no task: {mapping}"))?;
        let document = self.document(id).await?.ok_or_else(|| format!("there is no annika:tasks:{id}"))?;
        Ok((id.to_owned(), document))
    }

    /// Every message so far.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a message on `channel` has been heard that has all these members.
    pub(super) fn has_heard(&self, channel: &str, members: &Value) -> Result<(), Unseen> {
        let has = |message: &Value| {
            members
                .as_object()
                .is_some_and(|wanted| wanted.iter().all(|(name, value)| message[name] == *value))
        };
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.iter().any(|heard| heard.channel == channel && has(&heard.message)) {
            return Ok(());
        }
        if self.listener.is_finished() {
            return Err("the subscriber lost its connection".to_owned());
        }
        Err(format!("nothing on {channel} with {members}"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if Arc::strong_count(&self.listener) == 1 {
            self.listener.abort();
        }
    }
}

/// Whether a message has the form that its channel documents; the reason if not.
pub(super) fn form(heard: &Heard) -> Result<(), String> {
    let Heard { channel, message } = heard;
    let one_of = |name: &str, words: &[&str]| match message[name].as_str() {
        Some(word) if words.contains(&word) => Ok(()),
        _ => Err(format!("{channel}: `{name}` is none of {words:?}: {message}")),
    };
    let text = |name: &str| match message[name].as_str() {
        Some(text) if !text.is_empty() => Ok(()),
        _ => Err(format!("{channel}: `{name}` is no text: {message}")),
    };
    let there = |name: &str, right: fn(&Value) -> bool| match message.get(name) {
        Some(value) if right(value) => Ok(()),
        _ => Err(format!("{channel}: `{name}` is missing or of another type: {message}")),
    };
    let document = |value: &Value| value.is_object() || value.is_null();
    match channel.as_str() {
        UPDATES => {
            one_of("action", &["created", "updated", "deleted"])?;
            text("task_id")?;
            there("task", document)?;
            one_of("source", &["agent", "planner"])
        }
        SYNC => {
            one_of("status", &["synced", "conflict", "failed", "deleted", "restored"])?;
            text("task_id")?;
            there("planner_id", |id| id.is_string() || id.is_null())?;
            one_of("direction", &["up", "down"])?;
            there("fields", Value::is_array)?;
            text("at")?;
            if message["status"] == "conflict" {
                text("field")?;
                there("kept", |_| true)?;
                there("lost", |_| true)?;
            }
            Ok(())
        }
        EVENTS => {
            one_of("type", &["task_created", "task_updated", "task_deleted"])?;
            text("id")?;
            there("data", document)
        }
        other => Err(format!("a message on {other}, which nobody asked for")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(channel: &str, message: Value) -> Heard {
        Heard { channel: channel.to_owned(), message }
    }

    #[test]
    fn documented_forms_pass_and_others_name_the_member() {
        let good = [
            heard(UPDATES, json!({"action": "created", "task_id": "a", "task": {}, "source": "agent"})),
            heard(
                SYNC,
                json!({"status": "synced", "task_id": "a", "planner_id": null, "direction": "up", "fields": [], "at": "t"}),
            ),
            heard(EVENTS, json!({"type": "task_deleted", "id": "a", "data": null})),
        ];
        for message in &good {
            assert_eq!(form(message), Ok(()));
        }
        let bad = [
            (
                heard(UPDATES, json!({"action": "made", "task_id": "a", "task": {}, "source": "agent"})),
                "action",
            ),
            (heard(UPDATES, json!({"action": "created", "task_id": "a", "source": "agent"})), "task"),
            (
                heard(
                    SYNC,
                    json!({"status": "conflict", "task_id": "a", "planner_id": "p", "direction": "up", "fields": [], "at": "t"}),
                ),
                "field",
            ),
            (heard(EVENTS, json!({"type": "task_deleted", "data": null})), "id"),
            (heard(EVENTS, Value::Null), "type"),
        ];
        for (message, member) in &bad {
            let why = form(message).unwrap_err();
            assert!(why.contains(&format!("`{member}`")), "{why}");
        }
    }
}
