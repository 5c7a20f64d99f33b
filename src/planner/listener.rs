//! The listener on `annika:tasks:updates`: turns what agents say into marks, at once. Nothing depends on it.

use std::{sync::Arc, time::Duration};

use annika_sync::{engine::Engine, lens};
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use super::{scripts::When, world::PlannerWorld};
use crate::{
    keys,
    store::{Push, Subscription},
};

/// Messages that are marked in one round trip.
const TOGETHER: usize = 200;

/// Listens until `stop`. `linger` is how long a marked task waits at most for others to share its batch.
pub(super) async fn listen(engine: Arc<Engine<PlannerWorld>>, linger: Duration, stop: CancellationToken) {
    let world = engine.world();
    let mut subscription = world.store.subscribe(&[keys::tasks_updates()]);
    loop {
        let first = tokio::select! {
            () = stop.cancelled() => return,
            push = subscription.next() => match push { Some(push) => push, None => return },
        };
        let mut changed = Vec::new();
        let mut deleted = Vec::new();
        take(first, &mut changed, &mut deleted);
        gather(&mut subscription, &mut changed, &mut deleted);
        for (ids, reason) in [(&changed, "changed"), (&deleted, "deleted")] {
            if ids.is_empty() {
                continue;
            }
            if let Err(error) = world.mark_because(ids, reason, When::Together(linger)).await {
                tracing::warn!(
                    code = error.kind.code(),
                    tasks = ids.len(),
                    "announced changes could not be marked; the sweep will find them: {error}"
                );
            }
        }
    }
}

/// Takes what else is there already, without waiting.
fn gather(subscription: &mut Subscription, changed: &mut Vec<String>, deleted: &mut Vec<String>) {
    while changed.len() + deleted.len() < TOGETHER {
        match subscription.try_next() {
            Some(push) => take(push, changed, deleted),
            None => return,
        }
    }
}

fn take(push: Push, changed: &mut Vec<String>, deleted: &mut Vec<String>) {
    match push {
        Push::Message { payload, .. } => match read(&payload) {
            Some((id, true)) => deleted.push(id),
            Some((id, false)) => changed.push(id),
            None => {}
        },
        Push::Reconnected => tracing::info!("listening to announced changes"),
        Push::Disconnected => tracing::warn!(
            code = "listener_disconnected",
            "announced changes are not heard until Redis is back; the sweep finds them"
        ),
    }
}

/// The task that a message is about, and whether it says that the task was deleted. Our own messages are none.
fn read(payload: &[u8]) -> Option<(String, bool)> {
    let message: Json = serde_json::from_slice(payload).ok()?;
    if message.get("source").and_then(Json::as_str) == Some("planner") {
        return None;
    }
    let id = ["/task_id", "/taskId", "/task/id", "/id"]
        .iter()
        .find_map(|path| message.pointer(path).and_then(Json::as_str))
        .filter(|id| lens::valid_id(id).is_ok())?;
    let deleted = message.get("action").and_then(Json::as_str) == Some("deleted");
    Some((id.to_owned(), deleted))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn every_form_of_a_message_is_read() {
        for text in [r#"{"task_id":"a"}"#, r#"{"action":"updated","taskId":"a"}"#, r#"{"task":{"id":"a"}}"#] {
            assert_eq!(read(text.as_bytes()), Some(("a".to_owned(), false)), "{text}");
        }
        let deleted = br#"{"action":"deleted","task_id":"a","task":null,"source":"agent"}"#;
        assert_eq!(read(deleted), Some(("a".to_owned(), true)));
    }

    #[test]
    fn our_own_messages_and_nonsense_are_ignored() {
        for text in
            [r#"{"task_id":"a","source":"planner"}"#, "{}", "a", r#"{"task_id":"a:b"}"#, r#"{"task_id":7}"#]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert!(read(br#"{"task_id":"a","source":"webhook"}"#).is_some(), "only `planner` is ours");
    }
}
