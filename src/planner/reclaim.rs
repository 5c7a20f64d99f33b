//! The claims of a rebuild: which Planner task each document is, from seed maps, stamps and ids.

use annika_sync::{
    lens::{self, Document},
    state::TaskState,
    world::Reclaimed,
};
use serde_json::Value as Json;

use super::scripts::RECLAIM;
use crate::{
    keys,
    store::{Store, StoreError, StoreErrorKind, read},
    tasks,
};

/// Keys in one slice.
const SLICE: usize = 1_000;
/// Prefix of the ids of imported tasks; the rest is Planner's id.
const IMPORTED: &str = "planner-";
/// Prefix of the seed maps that lead back from Planner's id.
const BACK: &str = "planner:";

/// What is scanned, in this order: a map names the owner even where a copy of its document has the same stamp.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    IdMaps,
    Mappings,
    Documents,
}

impl Stage {
    const ALL: [(Self, &'static str); 3] =
        [(Self::IdMaps, "id_maps"), (Self::Mappings, "mappings"), (Self::Documents, "documents")];

    fn prefix(self) -> String {
        match self {
            Self::IdMaps => keys::planner_id_map(""),
            Self::Mappings => keys::task_mapping(""),
            Self::Documents => keys::task(""),
        }
    }
}

/// A document and the Planner task that it may be.
struct Pair {
    id: String,
    planner_id: String,
    /// Its document says so itself.
    own: bool,
}

/// Works off one slice. A document that cannot be read claims nothing, and stops no other.
pub(super) async fn slice(store: &Store, cursor: Option<String>) -> Result<Reclaimed, StoreError> {
    let (word, position) =
        cursor.as_deref().and_then(|cursor| cursor.split_once(':')).unwrap_or(("id_maps", "0"));
    let at = Stage::ALL.iter().position(|(_, name)| *name == word).unwrap_or(0);
    let Some((stage, name)) = Stage::ALL.get(at).copied() else { return Ok(Reclaimed::default()) };
    let prefix = stage.prefix();
    let mut scan = redis::cmd("SCAN");
    scan.arg(position).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(SLICE);
    let (next, found): (String, Vec<String>) = store.command(&scan).await?;
    let names: Vec<String> =
        found.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect();
    let mut reclaimed = Reclaimed::default();
    let pairs = match stage {
        Stage::Documents => {
            reclaimed.documents = names.len() as u64;
            from_documents(store, names).await?
        }
        Stage::IdMaps | Stage::Mappings => from_maps(store, stage, &names).await?,
    };
    for (pair, claimed) in pairs.iter().zip(claim(store, &pairs).await?) {
        // What a map has claimed for a document that says the same is counted with the documents.
        reclaimed.claimed += u64::from(claimed && pair.own == (stage == Stage::Documents));
    }
    reclaimed.next = match (next.as_str(), Stage::ALL.get(at + 1)) {
        ("0", None) => None,
        ("0", Some((_, name))) => Some(format!("{name}:0")),
        (next, _) => Some(format!("{name}:{next}")),
    };
    Ok(reclaimed)
}

async fn claim(store: &Store, pairs: &[Pair]) -> Result<Vec<bool>, StoreError> {
    let calls: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let state = TaskState { planner_id: Some(pair.planner_id.clone()), ..TaskState::default() };
            RECLAIM
                .call()
                .key(keys::sync_rmap(&pair.planner_id))
                .key(keys::sync_state(&pair.id))
                .arg(&pair.id)
                .arg(serde_json::to_string(&state).unwrap_or_default())
        })
        .collect();
    store.run_many(&calls).await.into_iter().map(|reply| read::<i64>(reply?).map(|is| is == 1)).collect()
}

/// The readable documents of these ids, in their order.
async fn documents(store: &Store, ids: &[String]) -> Result<Vec<Option<Document>>, StoreError> {
    let wanted: Vec<String> = ids.iter().map(|id| keys::task(id)).collect();
    tasks::texts(store, &wanted)
        .await
        .into_iter()
        .map(|text| match text {
            Ok(text) => Ok(text.and_then(|text| Document::parse(&text).ok())),
            Err(error) if error.kind == StoreErrorKind::WrongType => Ok(None),
            Err(error) => Err(error),
        })
        .collect()
}

/// Planner's id as the document itself names it.
fn own_id(id: &str, document: &Document) -> Option<String> {
    let stamped = document.sync_stamp().map(|stamp| stamp.planner_id).filter(|id| !id.is_empty());
    stamped.or_else(|| id.strip_prefix(IMPORTED).filter(|id| !id.is_empty()).map(str::to_owned))
}

async fn from_documents(store: &Store, ids: Vec<String>) -> Result<Vec<Pair>, StoreError> {
    let ids: Vec<String> = ids.into_iter().filter(|id| lens::valid_id(id).is_ok()).collect();
    let documents = documents(store, &ids).await?;
    let pairs = ids.into_iter().zip(documents).filter_map(|(id, document)| {
        let planner_id = own_id(&id, &document?)?;
        Some(Pair { id, planner_id, own: true })
    });
    Ok(pairs.collect())
}

async fn from_maps(store: &Store, stage: Stage, names: &[String]) -> Result<Vec<Pair>, StoreError> {
    let prefix = stage.prefix();
    let wanted: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
    let mut said = Vec::new();
    for (name, text) in names.iter().zip(tasks::texts(store, &wanted).await) {
        match text {
            Ok(text) => said.extend(text.and_then(|text| pair(name, &text))),
            Err(error) if error.kind == StoreErrorKind::WrongType => {}
            Err(error) => return Err(error),
        }
    }
    let said: Vec<(String, String)> = said
        .into_iter()
        .filter(|(id, planner_id)| [id, planner_id].iter().all(|id| lens::valid_id(id).is_ok()))
        .collect();
    // Half of the predecessor's maps stand the wrong way round: the one that has a document is the task.
    let ids: Vec<String> = said.iter().map(|(id, _)| id.clone()).collect();
    let others: Vec<String> = said.iter().map(|(_, planner_id)| planner_id.clone()).collect();
    let (straight, reversed) = (documents(store, &ids).await?, documents(store, &others).await?);
    let mut pairs = Vec::new();
    for ((id, planner_id), documents) in said.into_iter().zip(straight.into_iter().zip(reversed)) {
        let (id, planner_id, document) = match documents {
            (Some(document), _) => (id, planner_id, document),
            (None, Some(document)) => (planner_id, id, document),
            (None, None) => continue,
        };
        match own_id(&id, &document) {
            // The document knows better than an old map.
            Some(own) if own != planner_id => {}
            own => pairs.push(Pair { id, planner_id, own: own.is_some() }),
        }
    }
    Ok(pairs)
}

/// The pair of ids that a map under `name` names: a JSON object, a JSON string, or a bare text.
fn pair(name: &str, text: &[u8]) -> Option<(String, String)> {
    let value: Json = serde_json::from_slice(text)
        .unwrap_or_else(|_| Json::String(String::from_utf8_lossy(text).trim().to_owned()));
    let (back, name) = name.strip_prefix(BACK).map_or((false, name), |name| (true, name));
    let member = |names: &[&str]| names.iter().find_map(|name| value.get(*name)?.as_str()).map(str::to_owned);
    let bare = value.as_str().map(str::to_owned).filter(|text| !text.is_empty());
    let name = name.to_owned();
    if back {
        return Some((bare.or_else(|| member(&["annika_id", "annikaId"]))?, name));
    }
    let planner_id = bare.or_else(|| member(&["planner_id", "plannerId", "planner"]))?;
    if planner_id == name {
        // A reversed map: its key is Planner's id.
        return Some((member(&["annika_id", "annikaId"])?, name));
    }
    Some((name, planner_id))
}

#[cfg(test)]
mod tests {
    use super::pair;

    #[test]
    fn every_form_of_a_seed_map_is_read() {
        let both = (String::from("t"), String::from("P"));
        for (name, text) in [
            ("t", r#"{"annika_id":"t","planner_id":"P"}"#),
            ("t", r#"{"plannerId":"P"}"#),
            ("t", r#""P""#),
            ("t", "P"),
            ("planner:P", r#"{"annika_id":"t","planner_id":"P"}"#),
            ("planner:P", "t"),
            ("P", r#"{"annika_id":"t","planner_id":"P"}"#),
        ] {
            assert_eq!(pair(name, text.as_bytes()), Some(both.clone()), "{name} {text}");
        }
        assert_eq!(pair("t", b"{}"), None);
        assert_eq!(pair("t", b""), None);
    }
}
