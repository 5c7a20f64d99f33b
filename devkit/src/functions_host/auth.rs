//! Keys: who may call a function, and who may use the admin API.

use super::app::AuthLevel;
use std::{collections::BTreeMap, fmt};

/// The keys of an app.
#[derive(Clone)]
pub struct Keys {
    /// False lets everybody in, as core tools does without `--enableAuth`.
    pub enforced: bool,
    /// The host's key: opens every function below admin level.
    pub host: String,
    /// Opens everything.
    pub master: String,
    /// Further keys that open one function each, by its name in lower case.
    pub functions: BTreeMap<String, String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("enforced", &self.enforced).finish_non_exhaustive()
    }
}

/// What a caller's key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// No key, or an unknown one.
    Unknown,
    /// The function's or the host's key.
    Function,
    /// The master key.
    Master,
}

impl Keys {
    /// What the key of a request opens; the header beats the query even when it is wrong.
    pub fn caller(&self, function: Option<&str>, header: Option<&str>, query: &str) -> Caller {
        let code = || {
            let pairs = url::form_urlencoded::parse(query.trim_start_matches('?').as_bytes());
            pairs
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("code"))
                .map(|(_, value)| value.into_owned())
        };
        let Some(key) = header.map(str::to_owned).or_else(code).filter(|key| !key.is_empty()) else {
            return Caller::Unknown;
        };
        let own = function.and_then(|name| self.functions.get(&name.to_ascii_lowercase()));
        if key == self.master {
            Caller::Master
        } else if key == self.host || own == Some(&key) {
            Caller::Function
        } else {
            Caller::Unknown
        }
    }

    /// Whether a caller may use a function of that level.
    pub fn allows(&self, level: AuthLevel, caller: Caller) -> bool {
        !self.enforced
            || match level {
                AuthLevel::Anonymous => true,
                AuthLevel::Function => caller >= Caller::Function,
                AuthLevel::Admin => caller == Caller::Master,
            }
    }
}
