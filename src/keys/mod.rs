//! The key registry: every family of keys and channels, with its type, life, class and owner, and a builder for each.
//!
//! Whatever writes, lists, masks, checks or documents keys reads this one table. The names are a contract
//! with clients that talk to Redis directly, so a key is spelled here and nowhere else.

mod families;
mod table;

pub use families::*;
pub use table::markdown;

/// What Redis holds under a key of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    String,
    /// A hash.
    Hash,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A stream.
    Stream,
    /// A pub/sub channel: no key, a name to publish on.
    Channel,
}

/// How a value (or each element, or each message) is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Compact JSON, UTF-8.
    Json,
    /// Plain text.
    Text,
    /// A decimal number.
    Number,
    /// Text fields and values.
    Fields,
}

/// How long a key of a family lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// No expiry.
    Persistent,
    /// Expires after `default_s` seconds unless the writer says otherwise, and never later than `max_s`.
    Expires {
        /// Seconds, when the writer names none.
        default_s: u32,
        /// The most seconds a writer may ask for.
        max_s: u32,
    },
    /// Expires at a moment that the value itself names, less a margin in seconds.
    WithItsData {
        /// Seconds taken off.
        margin_s: u32,
    },
    /// A channel keeps nothing.
    Momentary,
}

/// Who may see a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May be shown to whoever holds a function key.
    Public,
    /// Personal data: shown on purpose only, never logged.
    Pii,
    /// A credential: masked everywhere, never logged.
    Secret,
}

/// How much of a family there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// One value.
    One,
    /// At most this many elements; writers trim.
    Elements(u32),
    /// One key or element for each task.
    PerTask,
    /// One key or element for each plan.
    PerPlan,
    /// As many as there are objects in the directory or callers; the life bounds it.
    Life,
    /// Written by others, without a bound of ours.
    Others,
}

/// What a change of such a key sets in motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Nothing.
    Nothing,
    /// The task is compared with Planner.
    Task,
    /// The plan is polled.
    Plan,
    /// Agents that listen are told.
    Agents,
}

/// One family: every key that follows one pattern.
#[derive(Debug)]
pub struct Family {
    /// The pattern: literal segments and `{parameters}` between colons. `{name*}` takes the rest, colons and all.
    pub pattern: &'static str,
    /// Whether it is ours alone: no client may rely on it.
    pub private: bool,
    /// The Redis type.
    pub kind: Kind,
    /// How values are written.
    pub encoding: Encoding,
    /// How long a key lives.
    pub life: Life,
    /// Who may see it.
    pub class: Class,
    /// The part of Annika that answers for it.
    pub owner: &'static str,
    /// How much of it there can be.
    pub cap: Cap,
    /// What a change sets in motion.
    pub trigger: Trigger,
    /// One sentence for a reader.
    pub note: &'static str,
}

/// A parameter that cannot stand in a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{{{parameter}}} of {pattern} must not be empty or hold {}", if *greedy { "control characters" } else { "control characters or `:`" })]
pub struct KeyError {
    /// The pattern that was to be filled in.
    pub pattern: &'static str,
    /// The parameter's name.
    pub parameter: &'static str,
    /// Whether the parameter may hold `:`.
    pub greedy: bool,
}

impl Family {
    /// The key for `parameters`, unchecked; [`Family::check`] says whether they can stand in a key.
    ///
    /// Missing parameters become empty, which no valid key has.
    pub fn key(&self, parameters: &[&str]) -> String {
        let mut key =
            String::with_capacity(self.pattern.len() + parameters.iter().map(|p| p.len()).sum::<usize>());
        let mut rest = self.pattern;
        let mut values = parameters.iter();
        while let Some((literal, after)) = rest.split_once('{') {
            key.push_str(literal);
            key.push_str(values.next().copied().unwrap_or_default());
            rest = after.split_once('}').map_or("", |(_name, after)| after);
        }
        key.push_str(rest);
        key
    }

    /// Whether `parameters` (in the pattern's order) can stand in a key of this family.
    ///
    /// # Errors
    /// [`KeyError`] names the first parameter that cannot.
    pub fn check(&self, parameters: &[&str]) -> Result<(), KeyError> {
        for (index, (parameter, greedy)) in self.parameters().enumerate() {
            let value = parameters.get(index).copied().unwrap_or_default();
            let bad =
                value.is_empty() || value.chars().any(char::is_control) || (!greedy && value.contains(':'));
            if bad {
                return Err(KeyError { pattern: self.pattern, parameter, greedy });
            }
        }
        Ok(())
    }

    /// The parameters that `key` has by this pattern, or `None` if it does not follow it.
    pub fn parse<'k>(&self, key: &'k str) -> Option<Vec<&'k str>> {
        let mut found = Vec::new();
        let mut rest = Some(key);
        for segment in self.pattern.split(':') {
            let here = rest?;
            if segment.ends_with("*}") {
                return (!here.is_empty()).then(|| {
                    found.push(here);
                    found
                });
            }
            let (value, after) = match here.split_once(':') {
                Some((value, after)) => (value, Some(after)),
                None => (here, None),
            };
            if segment.starts_with('{') {
                if value.is_empty() {
                    return None;
                }
                found.push(value);
            } else if segment != value {
                return None;
            }
            rest = after;
        }
        rest.is_none().then_some(found)
    }

    /// Seconds that a key lives when its writer names no other time; `None` where none is set by the table.
    pub fn ttl_s(&self) -> Option<u32> {
        match self.life {
            Life::Expires { default_s, .. } => Some(default_s),
            Life::Persistent | Life::WithItsData { .. } | Life::Momentary => None,
        }
    }

    /// The literal text before the first parameter: what a bounded `SCAN MATCH {prefix}*` looks for.
    pub fn prefix(&self) -> &'static str {
        self.pattern.split('{').next().unwrap_or_default()
    }

    fn parameters(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.pattern.split(':').filter_map(|segment| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some((name.trim_end_matches('*'), name.ends_with('*')))
        })
    }

    /// How much of the pattern is literal, then how many segments it has: the more specific one wins.
    fn precedence(&self) -> (usize, usize) {
        (self.prefix().len(), self.pattern.split(':').count())
    }
}

/// The glob that every key of ours follows.
pub const EVERY_KEY: &str = "annika:*";

/// The family of a key, or `None` for a key that is not ours. Channels are a space of their own.
pub fn find(key: &str) -> Option<&'static Family> {
    best(key, |family| family.kind != Kind::Channel)
}

/// The family of a channel, or `None` for one that is not ours.
pub fn find_channel(name: &str) -> Option<&'static Family> {
    best(name, |family| family.kind == Kind::Channel)
}

/// Longest literal prefix first, then the number of segments.
fn best(name: &str, wanted: impl Fn(&Family) -> bool) -> Option<&'static Family> {
    FAMILIES
        .iter()
        .copied()
        .filter(|family| wanted(family) && family.parse(name).is_some())
        .max_by_key(|family| family.precedence())
}
