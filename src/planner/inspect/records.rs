//! Pages of what the sync wrote down: failed tasks, conflicts, the log.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::InspectError;
use crate::{
    keys,
    planner::{Planner, commit::iso},
    store::{StoreError, command},
};

/// The most entries on one page.
const LARGEST_PAGE: usize = 200;
/// How many entries are looked at to find where the last page ended.
const SEARCHED: usize = 1_000;
/// No list has so many entries.
const FURTHEST: usize = 10_000_000;

/// One entry: its members.
pub type Record = Map<String, Json>;

/// One page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// The entries.
    pub entries: Vec<Record>,
    /// Where the next page begins; `None` after the last one.
    pub cursor: Option<String>,
}

impl Planner {
    /// Tasks that cannot be synced, in the order in which they failed; `limit` is kept within 1 and 200.
    ///
    /// An entry that leaves the list between two pages may move others: one may be shown twice.
    ///
    /// # Errors
    /// [`InspectError::Store`], [`InspectError::BadCursor`].
    pub async fn failed(&self, cursor: Option<&str>, limit: usize) -> Result<Records, InspectError> {
        self.list_page(keys::sync_failed(), cursor, limit).await
    }

    /// What the sync did, newest first.
    ///
    /// # Errors
    /// As [`Planner::failed`].
    pub async fn log(&self, cursor: Option<&str>, limit: usize) -> Result<Records, InspectError> {
        self.list_page(keys::sync_log(), cursor, limit).await
    }

    /// Values that lost against another, newest first.
    ///
    /// # Errors
    /// As [`Planner::failed`].
    pub async fn conflicts(&self, cursor: Option<&str>, limit: usize) -> Result<Records, InspectError> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let from = match cursor {
            None => "+".to_owned(),
            Some(id) if is_stream_id(id) => format!("({id}"),
            Some(_) => return Err(InspectError::BadCursor),
        };
        let mut range = command("XREVRANGE", keys::sync_conflicts());
        range.arg(from).arg("-").arg("COUNT").arg(limit);
        let entries: Vec<(String, Vec<(String, String)>)> = self.world().store.command(&range).await?;
        let cursor = (entries.len() == limit).then(|| entries.last().map(|(id, _)| id.clone())).flatten();
        let entries = entries
            .into_iter()
            .map(|(_, members)| members.into_iter().map(|(name, text)| member(name, text)).collect())
            .collect();
        Ok(Records { entries, cursor })
    }

    /// Deleted tasks that can be brought back, newest first. A deletion between two pages may show one twice.
    ///
    /// # Errors
    /// As [`Planner::failed`].
    pub async fn deleted(&self, cursor: Option<&str>, limit: usize) -> Result<Records, InspectError> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let offset = cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(|_| InspectError::BadCursor))?;
        if offset > FURTHEST {
            return Err(InspectError::BadCursor);
        }
        let page = self.tombs(offset, limit).await?;
        let entries = page.tombs.into_iter().map(|tomb| {
            let members = [
                ("id", Json::from(tomb.id)),
                ("deleted_at", Json::from(iso(tomb.deleted_at_ms))),
                ("title", Json::from(tomb.title)),
                ("planner_id", Json::from(tomb.planner_id)),
                ("direction", Json::from(tomb.direction)),
            ];
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        });
        Ok(Records { entries: entries.collect(), cursor: page.next.map(|next| next.to_string()) })
    }

    async fn list_page(
        &self,
        key: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Records, InspectError> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let start = match cursor {
            None => 0,
            Some(cursor) => self.find(key, decode(cursor)?).await?,
        };
        let texts = self.range(key, start, limit + 1).await?;
        let more = texts.len() > limit;
        let page = texts.get(..limit.min(texts.len())).unwrap_or_default();
        let cursor = match page.last() {
            Some(last) if more => Some(encode(start + page.len(), last)),
            _ => None,
        };
        Ok(Records { entries: page.iter().map(|text| record(text)).collect(), cursor })
    }

    /// Where the entry after the last page's last one stands now: entries leave such lists, and others come in front.
    async fn find(&self, key: &str, (index, digest): (usize, String)) -> Result<usize, StoreError> {
        let from = index.saturating_sub(SEARCHED);
        let texts = self.range(key, from, 2 * SEARCHED).await?;
        let near = texts.iter().enumerate().filter(|(_, text)| digest_of(text) == digest);
        let near = near.min_by_key(|(at, _)| (from + at + 1).abs_diff(index));
        Ok(near.map_or(index.saturating_sub(1), |(at, _)| from + at + 1))
    }

    async fn range(&self, key: &str, from: usize, count: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut range = command("LRANGE", key);
        range.arg(from).arg(from + count - 1);
        self.world().store.command(&range).await
    }
}

/// Kept and lost values are JSON in the stream; everything else is text.
fn member(name: String, text: String) -> (String, Json) {
    let value = match name.as_str() {
        "kept" | "lost" => serde_json::from_str(&text).unwrap_or(Json::String(text)),
        _ => Json::String(text),
    };
    (name, value)
}

/// An entry's members; one that is no object is shown as it stands.
fn record(text: &[u8]) -> Record {
    match serde_json::from_slice(text) {
        Ok(Json::Object(record)) => record,
        _ => Map::from_iter([("text".to_owned(), Json::from(String::from_utf8_lossy(text).into_owned()))]),
    }
}

fn is_stream_id(text: &str) -> bool {
    let number =
        |part: &str| !part.is_empty() && part.len() <= 20 && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('-').is_some_and(|(ms, sequence)| number(ms) && number(sequence))
}

fn digest_of(text: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..9])
}

fn encode(index: usize, last: &[u8]) -> String {
    format!("{index}.{}", digest_of(last))
}

fn decode(cursor: &str) -> Result<(usize, String), InspectError> {
    let (index, digest) = cursor.split_once('.').ok_or(InspectError::BadCursor)?;
    let index = index.parse().map_err(|_| InspectError::BadCursor)?;
    if digest.len() != 12 || index > FURTHEST {
        return Err(InspectError::BadCursor);
    }
    Ok((index, digest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_says_where_a_page_ended_and_nothing_else_is_one() {
        let cursor = encode(50, b"entry");
        assert_eq!(decode(&cursor).expect("ours"), (50, digest_of(b"entry")));
        for bad in ["", "50", "x.abcdefghijkl", "50.short", "99999999999.abcdefghijkl"] {
            assert_eq!(decode(bad), Err(InspectError::BadCursor), "{bad}");
        }
        assert!(is_stream_id("1764064800000-0"));
        assert!(["", "-", "1-", "-1", "a-1", "1", "1-1 +"].iter().all(|bad| !is_stream_id(bad)));
    }

    #[test]
    fn an_entry_that_is_no_object_is_shown_as_it_stands() {
        assert_eq!(record(b"{\"op\":\"create\"}")["op"], "create");
        assert_eq!(record(b"not json")["text"], "not json");
    }
}
