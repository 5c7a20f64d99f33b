//! The order of Planner's ETags: which of two versions of one resource is newer.

use std::cmp::Ordering;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The text inside a Planner ETag (`W/"<base64>"`), or `None` where it is not of that form.
///
/// Graph's Planner overview orders ETags as ordinal strings. The base64 alphabet is not in ordinal order,
/// so only the decoded text compares rightly.
fn decode(etag: &str) -> Option<Vec<u8>> {
    let inner = etag.strip_prefix("W/").unwrap_or(etag).strip_prefix('"')?.strip_suffix('"')?;
    STANDARD.decode(inner).ok()
}

/// How version `a` stands to version `b` of the same resource; `None` where the order cannot be told.
pub fn order(a: &str, b: &str) -> Option<Ordering> {
    if a == b {
        return Some(Ordering::Equal);
    }
    let (a, b) = (decode(a)?, decode(b)?);
    (a.len() == b.len()).then(|| a.cmp(&b))
}

/// Whether `candidate` is surely older than `known`.
pub fn is_older(candidate: &str, known: &str) -> bool {
    order(candidate, known) == Some(Ordering::Less)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etag(version: u64) -> String {
        let mut value = version * 4;
        let mut digits = [0_u8; 16];
        for digit in digits.iter_mut().rev() {
            *digit = 0x40 + u8::try_from(value % 64).expect("below 64");
            value /= 64;
        }
        format!("W/\"{}\"", STANDARD.encode(format!("'1-Task  {}'", String::from_utf8_lossy(&digits))))
    }

    #[test]
    fn published_sample_decodes_to_version_one() {
        assert_eq!(etag(1), "W/\"JzEtVGFzayAgQEBAQEBAQEBAQEBAQEBARCc=\"");
    }

    #[test]
    fn twenty_thousand_versions_are_in_order_though_their_base64_is_not() {
        let mut breaks = 0;
        for version in 1..20_000 {
            let (a, b) = (etag(version), etag(version + 1));
            assert_eq!(order(&a, &b), Some(Ordering::Less), "version {version}");
            breaks += u32::from(a > b);
        }
        assert!(breaks > 0, "the plain text order would have done");
    }

    #[test]
    fn foreign_etags_have_no_order() {
        assert_eq!(order("\"abc\"", "\"abd\""), None);
        assert_eq!(order("W/\"x\"", "W/\"x\""), Some(Ordering::Equal));
        assert!(!is_older("nonsense", &etag(3)));
    }
}
