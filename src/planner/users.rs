//! Users whom documents call by a name: the names in a document, and where their ids are kept.

use annika_sync::{
    lens::{self, Document},
    world::Local,
};
use sha2::{Digest, Sha256};

/// How long it is believed that the directory has no such user, or several, s.
pub(super) const UNKNOWN_S: u32 = 600;
/// What every member that may hold a name has in its own.
const ASSIGNED: &[u8] = b"assigned";

/// The folded names among a document's assignees, each once.
pub(super) fn names(local: &Local) -> Vec<String> {
    let Local::Present { bytes, .. } = local else { return Vec::new() };
    // Most documents assign nobody, or ids: they are not read twice for this.
    if !bytes.windows(ASSIGNED.len()).any(|window| window == ASSIGNED) {
        return Vec::new();
    }
    let Ok(document) = Document::parse(bytes) else { return Vec::new() };
    let mut names: Vec<String> =
        lens::assignee_names(&document).iter().map(|name| lens::folded(name)).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    names
}

/// Stands for a name in a key, where nobody's address should be read.
pub(super) fn name_hash(folded: &str) -> String {
    Sha256::digest(folded).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
