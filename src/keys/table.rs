//! The registry as a Markdown table, for the architecture page.

use std::fmt::Write;

use super::{Cap, Class, Encoding, FAMILIES, Family, Kind, Life, Trigger};

/// The whole registry as one Markdown table, sorted by pattern.
pub fn markdown() -> String {
    let mut families: Vec<&Family> = FAMILIES.to_vec();
    families.sort_by_key(|family| family.pattern);
    let mut text = String::from(
        "| pattern | type | life | class | owner | how much | a change | what it is |\n|---|---|---|---|---|---|---|---|\n",
    );
    for family in families {
        let _infallible = writeln!(
            text,
            "| `{}` | {} of {} | {} | {} | {} | {} | {} | {} |",
            family.pattern,
            kind(family.kind),
            encoding(family.encoding),
            life(family.life),
            class(family.class),
            family.owner,
            cap(family.cap),
            trigger(family.trigger),
            note(family),
        );
    }
    text
}

fn note(family: &Family) -> String {
    let private = if family.private { "Private. " } else { "" };
    format!("{private}{}", family.note.replace('|', "\\|"))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Hash => "hash",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "sorted set",
        Kind::Stream => "stream",
        Kind::Channel => "channel",
    }
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "JSON",
        Encoding::Text => "text",
        Encoding::Number => "number",
        Encoding::Fields => "fields",
    }
}

fn life(life: Life) -> String {
    match life {
        Life::Persistent => "persistent".to_owned(),
        Life::Expires { default_s, max_s } if default_s == max_s => seconds(default_s),
        Life::Expires { default_s, max_s } => format!("{}, at most {}", seconds(default_s), seconds(max_s)),
        Life::WithItsData { margin_s: 0 } => "until it expires".to_owned(),
        Life::WithItsData { margin_s } => format!("until {} before it expires", seconds(margin_s)),
        Life::Momentary => "–".to_owned(),
    }
}

fn seconds(seconds: u32) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("min", 60)] {
        if seconds >= length && seconds.is_multiple_of(length) {
            return format!("{} {unit}", seconds / length);
        }
    }
    format!("{seconds} s")
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Public => "public",
        Class::Pii => "personal",
        Class::Secret => "secret",
    }
}

fn cap(cap: Cap) -> String {
    match cap {
        Cap::One => "one".to_owned(),
        Cap::Elements(most) => format!("≤ {most}"),
        Cap::PerTask => "a task".to_owned(),
        Cap::PerPlan => "a plan".to_owned(),
        Cap::Life => "its life".to_owned(),
        Cap::Others => "what others push".to_owned(),
    }
}

fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Nothing => "–",
        Trigger::Task => "syncs the task",
        Trigger::Plan => "polls the plan",
        Trigger::Agents => "tells agents",
    }
}
