//! Whether a document may have its Planner task back from the one that was imported for it meanwhile.

use annika_sync::{
    state::{TaskState, digest},
    world::Inheritance,
};

use crate::{
    keys,
    store::{Store, StoreError, command},
    tasks,
};

/// What the document with the stamp `rev` for `planner_id` may claim from `owner`. Two round trips.
pub(super) async fn of(
    store: &Store,
    planner_id: &str,
    owner: &str,
    rev: &str,
) -> Result<Inheritance, StoreError> {
    if owner.strip_prefix("planner-") != Some(planner_id) {
        return Ok(Inheritance::None);
    }
    let mut get = command("HGET", &keys::sync_state(owner));
    get.arg("record");
    let record: Option<Vec<u8>> = store.command(&get).await?;
    let Some(state) = record.and_then(|record| serde_json::from_slice::<TaskState>(&record).ok()) else {
        return Ok(Inheritance::None);
    };
    let text = tasks::texts(store, &[keys::task(owner)]).await.pop();
    let text = text.unwrap_or_else(|| Err(StoreError::other("a reply is missing")))?;
    Ok(state.inheritance(rev, text.as_deref().map(digest).as_deref()))
}
