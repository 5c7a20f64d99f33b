//! Planner's entity tags: made and read as Microsoft's published samples have them.
//!
//! A tag is `W/"<base64>"` of `'1-<kind padded to a multiple of six><16 digits>'`, quotes included. The
//! digits are base 64 with `@` for zero, and hold the version times four.

use base64::{Engine, engine::general_purpose::STANDARD};

/// The resources that have entity tags of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `plannerPlan`
    Plan,
    /// `plannerPlanDetails`
    PlanDetails,
    /// `plannerBucket`
    Bucket,
    /// `plannerTask`
    Task,
    /// `plannerTaskDetails`
    TaskDetails,
    /// `plannerAssignedToTaskBoardTaskFormat`
    AssignedToFormat,
    /// `plannerBucketTaskBoardTaskFormat`
    BucketFormat,
    /// `plannerProgressTaskBoardTaskFormat`
    ProgressFormat,
}

impl Kind {
    /// The name inside the tag. The last three are by analogy; no sample of them is published.
    fn tag(self) -> &'static str {
        match self {
            Self::Plan => "Plan",
            Self::PlanDetails => "PlanDetails",
            Self::Bucket => "Bucket",
            Self::Task => "Task",
            Self::TaskDetails => "TaskDetails",
            Self::AssignedToFormat => "AssignedToTaskBoardTaskFormat",
            Self::BucketFormat => "BucketTaskBoardTaskFormat",
            Self::ProgressFormat => "ProgressTaskBoardTaskFormat",
        }
    }

    /// The type's name in Graph's metadata, without the namespace.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Plan => "plannerPlan",
            Self::PlanDetails => "plannerPlanDetails",
            Self::Bucket => "plannerBucket",
            Self::Task => "plannerTask",
            Self::TaskDetails => "plannerTaskDetails",
            Self::AssignedToFormat => "plannerAssignedToTaskBoardTaskFormat",
            Self::BucketFormat => "plannerBucketTaskBoardTaskFormat",
            Self::ProgressFormat => "plannerProgressTaskBoardTaskFormat",
        }
    }

    fn prefix(self) -> String {
        let tag = self.tag();
        let width = tag.len().div_ceil(6) * 6;
        format!("'1-{tag:<width$}")
    }
}

/// The text inside the tag, without its quotes: what entries of a delta show as `version`.
pub fn decoded(kind: Kind, version: u64) -> String {
    let text = inner(kind, version);
    text.trim_matches('\'').to_owned()
}

/// The tag of version `version` (1 and up) of a resource of this kind.
pub fn format(kind: Kind, version: u64) -> String {
    format!("W/\"{}\"", STANDARD.encode(inner(kind, version)))
}

fn inner(kind: Kind, version: u64) -> String {
    let mut digits = [b'@'; 16];
    let mut rest = version.wrapping_mul(4);
    for digit in digits.iter_mut().rev() {
        *digit = b'@' + (rest % 64) as u8;
        rest /= 64;
    }
    let digits: String = digits.iter().map(|digit| char::from(*digit)).collect();
    format!("{}{digits}'", kind.prefix())
}

/// The version that `tag` names, or `None` if it is malformed or of another kind of resource.
pub fn parse(kind: Kind, tag: &str) -> Option<u64> {
    let inner = tag.trim().strip_prefix("W/\"")?.strip_suffix('"')?;
    let text = STANDARD.decode(inner).ok()?;
    let digits = text.strip_prefix(kind.prefix().as_bytes())?.strip_suffix(b"'")?;
    if digits.len() != 16 {
        return None;
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.checked_sub(b'@').filter(|digit| *digit < 64)?;
        value = value.checked_mul(64)?.checked_add(u64::from(digit))?;
    }
    (value > 0 && value.is_multiple_of(4)).then_some(value / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_samples_are_reproduced_to_the_bit() {
        assert_eq!(format(Kind::Task, 1), "W/\"JzEtVGFzayAgQEBAQEBAQEBAQEBAQEBARCc=\"");
        assert_eq!(format(Kind::Task, 6), "W/\"JzEtVGFzayAgQEBAQEBAQEBAQEBAQEBAWCc=\"");
        assert_eq!(format(Kind::Bucket, 1), "W/\"JzEtQnVja2V0QEBAQEBAQEBAQEBAQEBARCc=\"");
        assert_eq!(format(Kind::TaskDetails, 1), "W/\"JzEtVGFza0RldGFpbHMgQEBAQEBAQEBAQEBAQEBARCc=\"");
    }

    #[test]
    fn a_tag_reads_back_and_fits_only_its_own_kind() {
        for version in (1..2000).chain([1 << 20, u64::MAX / 4]) {
            let tag = format(Kind::Task, version);
            assert_eq!(parse(Kind::Task, &tag), Some(version), "{tag}");
            assert_eq!(parse(Kind::TaskDetails, &tag), None);
            assert_eq!(parse(Kind::Plan, &tag), None);
        }
        for bad in
            ["*", "", "W/\"\"", "W/\\\"JzEtVGFzayAgQEBAQEBAQEBAQEBAQEBAWCc=\\\"", "\"JzEt\"", "W/\"!!\""]
        {
            assert_eq!(parse(Kind::Task, bad), None, "{bad}");
        }
    }

    #[test]
    fn decoded_tags_sort_as_their_versions() {
        let decoded = |version| {
            let tag = format(Kind::Task, version);
            STANDARD.decode(tag.trim_start_matches("W/\"").trim_end_matches('"')).unwrap()
        };
        assert!((1..20_000u64).all(|version| decoded(version) < decoded(version + 1)));
    }
}
