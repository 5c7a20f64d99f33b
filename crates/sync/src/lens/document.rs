//! The task document: JSON text whose untouched members keep every byte.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::problem::DocumentError;
use super::raw::{self, Members};

/// The largest task document, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// What the sync may add to a document: its stamp, and fields that come down from Planner.
const ROOM: usize = 64 * 1024;
/// No document in Redis is larger, so nobody has to read more of a value than one byte beyond this.
pub const MAX_STORED_BYTES: usize = MAX_BYTES + ROOM;

/// The member that the sync engine adds to a document.
const STAMP: &str = "_sync";

/// What the engine leaves in a document: which of its own versions the writer has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStamp {
    /// Random id of the last version the engine wrote.
    pub rev: String,
    /// The Planner task; empty while there is none.
    #[serde(default)]
    pub planner_id: String,
    /// The Planner task's ETag at that time; empty if unknown.
    #[serde(default)]
    pub etag: String,
}

/// A task document. Members keep their order and, unless set, the bytes of their values.
#[derive(Clone, Default)]
pub struct Document {
    /// The text as it came, while nothing was changed.
    original: Option<Box<str>>,
    members: Members,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// [`DocumentError`]: too large, not UTF-8, not JSON, not an object, nested too deeply, or a name twice in
    /// one object (at any depth). What the members mean is not looked at here.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_BYTES + ROOM {
            return Err(DocumentError::TooLarge { size: bytes.len(), limit: MAX_BYTES });
        }
        let text = raw::check(bytes)?;
        let members = serde_json::from_str(text).map_err(raw::not_json)?;
        let document = Self { original: Some(text.into()), members };
        document.check_size(bytes.len())?;
        Ok(document)
    }

    /// A document that the sync has stamped may be larger by what the sync adds.
    fn check_size(&self, size: usize) -> Result<(), DocumentError> {
        let limit = if self.get(STAMP).is_some() { MAX_BYTES + ROOM } else { MAX_BYTES };
        if size > limit { Err(DocumentError::TooLarge { size, limit: MAX_BYTES }) } else { Ok(()) }
    }

    /// A document without members.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The document's text: exactly the bytes that were read if nothing was changed, else without blanks between
    /// the members.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.original {
            Some(text) => text.as_bytes().to_vec(),
            None => self.members.write().into_bytes(),
        }
    }

    /// A member's value.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.members.get(name)
    }

    /// Sets a member in its place, or adds it as the last one.
    pub fn set(&mut self, name: &str, value: &serde_json::Value) {
        self.set_raw(name, raw::raw_of(value));
    }

    /// Like [`Document::set`], with the value's own text.
    pub fn set_raw(&mut self, name: &str, value: Box<RawValue>) {
        if self.members.set(name, value) {
            self.original = None;
        }
    }

    /// Removes a member; true if it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let removed = self.members.remove(name);
        if removed {
            self.original = None;
        }
        removed
    }

    /// Names and values in the document's order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.members.0.iter().map(|member| (&*member.name, &*member.value))
    }

    /// The stamp in `_sync`; `None` if there is none or it cannot be read.
    pub fn sync_stamp(&self) -> Option<SyncStamp> {
        serde_json::from_str(self.get(STAMP)?.get()).ok()
    }

    /// The document with this stamp.
    #[must_use]
    pub fn with_stamp(&self, stamp: &SyncStamp) -> Self {
        let mut stamped = self.clone();
        let value = serde_json::json!({
            "rev": stamp.rev, "planner_id": stamp.planner_id, "etag": stamp.etag,
        });
        stamped.set(STAMP, &value);
        stamped
    }

    /// The document without a stamp.
    #[must_use]
    pub fn without_stamp(&self) -> Self {
        let mut bare = self.clone();
        bare.remove(STAMP);
        bare
    }

    /// A strong ETag with its quotes. `_sync` and the blanks between members do not count.
    pub fn etag(&self) -> String {
        let mut hash = Sha256::new();
        self.members.each_part_without(STAMP, |part| hash.update(part));
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]))
    }

    /// The document after a JSON merge patch (RFC 7396): `null` removes, objects merge, everything else replaces.
    /// What the patch does not name keeps its bytes, and a patch that changes nothing changes no byte.
    ///
    /// # Errors
    /// As [`Document::parse`], about the patch or the result.
    pub fn merge_patch(&self, patch: &[u8]) -> Result<Self, DocumentError> {
        let patch = Self::parse(patch)?;
        let mut merged = self.clone();
        if merged.members.merge(&patch.members) {
            merged.original = None;
            merged.check_size(merged.members.write().len())?;
        }
        Ok(merged)
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Document {}

/// Prints the names only: the values are people's data and do not belong in logs.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Document")?;
        f.debug_set().entries(self.members().map(|(name, _)| name)).finish()
    }
}
