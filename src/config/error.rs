//! What is wrong with a setting, and the reader that collects it: every error names the variable and the rule.

use super::is_loopback;
use secrecy::SecretString;
use url::Url;

/// One environment variable that breaks its rule. The value is never shown: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {rule}")]
pub struct SettingError {
    /// The environment variable.
    pub variable: &'static str,
    /// What its value has to be.
    pub rule: String,
}

/// Every setting that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("settings are not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct SettingsError(pub Vec<SettingError>);

/// Reads variables through a lookup and keeps what breaks a rule.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<SettingError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, errors: Vec::new() }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, SettingsError> {
        if self.errors.is_empty() { Ok(value) } else { Err(SettingsError(self.errors)) }
    }

    pub(super) fn reject(&mut self, variable: &'static str, rule: impl Into<String>) {
        self.errors.push(SettingError { variable, rule: rule.into() });
    }

    /// The value as it stands, or `None` if it is missing or empty.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        (self.lookup)(variable).filter(|value| !value.is_empty())
    }

    pub(super) fn secret(&self, variable: &str) -> Option<SecretString> {
        self.text(variable).map(SecretString::from)
    }

    pub(super) fn positive_number(&mut self, variable: &'static str, default: f64) -> f64 {
        let Some(text) = self.text(variable) else { return default };
        match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => number,
            _ => {
                self.reject(variable, "must be a number above 0");
                default
            }
        }
    }

    pub(super) fn positive_integer(&mut self, variable: &'static str, default: u32) -> u32 {
        let Some(text) = self.text(variable) else { return default };
        match text.trim().parse::<u32>() {
            Ok(number) if number > 0 => number,
            _ => {
                self.reject(variable, "must be a whole number above 0");
                default
            }
        }
    }

    /// `text` as an address that is nothing but scheme, host and port.
    ///
    /// A token is sent there, so plain http is only for this machine.
    pub(super) fn origin(&mut self, variable: &'static str, text: &str, loopback_only: bool) -> Option<Url> {
        let rule = if loopback_only {
            "must be an http or https address of this machine (127.0.0.1, [::1] or localhost), without a path"
        } else {
            "must be an https address without a path; plain http only to 127.0.0.1, [::1] or localhost"
        };
        let url = Url::parse(text.trim()).ok().filter(|url| {
            let bare = url.path().trim_matches('/').is_empty()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            let local = is_loopback(url);
            let scheme = match url.scheme() {
                "https" => true,
                "http" => local,
                _ => false,
            };
            bare && scheme && (local || !loopback_only)
        });
        if url.is_none() {
            self.reject(variable, rule);
        }
        url
    }
}
