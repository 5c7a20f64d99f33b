//! Where Redis is: `REDIS_URL`, or its parts.

use std::{fmt, time::Duration};

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, io::tcp,
};

/// The address and credentials of the one Redis.
#[derive(Clone)]
pub struct RedisSettings {
    info: ConnectionInfo,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {rule}")]
pub struct SettingsError {
    /// The environment variable.
    pub variable: &'static str,
    /// What it must be.
    pub rule: String,
}

impl RedisSettings {
    /// Reads `REDIS_URL`, or `REDIS_HOST`, `REDIS_PORT`, `REDIS_PASSWORD` and `REDIS_DB`, from `lookup`.
    ///
    /// `REDIS_URL` wins. The parts are taken as they are, never percent-decoded. Nothing set means
    /// `127.0.0.1:6379` without a password.
    ///
    /// # Errors
    /// [`SettingsError`] names the variable and the rule; no value is repeated, since it may hold a password.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let value = |name: &str| lookup(name).filter(|value| !value.is_empty());
        if let Some(url) = value("REDIS_URL") {
            return Self::from_url(&url);
        }
        let number = |variable: &'static str, fallback: u16| match value(variable) {
            None => Ok(fallback),
            Some(text) => text.trim().parse().map_err(|_| SettingsError {
                variable,
                rule: "must be a whole number from 0 to 65535".to_owned(),
            }),
        };
        let host = value("REDIS_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
        let (port, db) = (number("REDIS_PORT", 6379)?, number("REDIS_DB", 0)?);
        Self::from_parts(&host, port, value("REDIS_PASSWORD").as_deref(), db)
    }

    /// From a URL: `redis://`, `rediss://` (TLS) or `unix://`.
    ///
    /// # Errors
    /// [`SettingsError`] if it is none; the URL is not repeated, since it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, SettingsError> {
        let rule = "must be redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path";
        let error = |_| SettingsError { variable: "REDIS_URL", rule: rule.to_owned() };
        Ok(Self::finish(url.into_connection_info().map_err(error)?))
    }

    /// From parts, taken as they are.
    ///
    /// # Errors
    /// [`SettingsError`] if Redis' client refuses the address.
    pub fn from_parts(host: &str, port: u16, password: Option<&str>, db: u16) -> Result<Self, SettingsError> {
        let mut settings = RedisConnectionInfo::default().set_db(i64::from(db));
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        let address = ConnectionAddr::Tcp(host.to_owned(), port).into_connection_info();
        let refused =
            |_| SettingsError { variable: "REDIS_HOST", rule: "must be a host name or address".to_owned() };
        Ok(Self::finish(address.map_err(refused)?.set_redis_settings(settings)))
    }

    /// RESP3 always: it tells of a dead connection by itself and carries pub/sub.
    fn finish(info: ConnectionInfo) -> Self {
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let keepalive = tcp::socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5));
        let tcp = tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        Self { info: info.set_redis_settings(settings).set_tcp_settings(tcp) }
    }

    pub(super) fn client(&self) -> Result<redis::Client, redis::RedisError> {
        redis::Client::open(self.info.clone())
    }
}

impl fmt::Display for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.info.addr(), self.info.redis_settings().db())
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisSettings({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<RedisSettings, SettingsError> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        RedisSettings::from_lookup(|name| {
            pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn parts_are_taken_as_they_are() {
        let password = "p%40s@:/#?";
        let settings = read(&[
            ("REDIS_HOST", "cache"),
            ("REDIS_PORT", "7000"),
            ("REDIS_PASSWORD", password),
            ("REDIS_DB", "3"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.info.redis_settings().password(), Some(password));
        assert_eq!(settings.to_string(), "cache:7000/3");
        assert!(!format!("{settings:?}").contains("p%40"));
    }

    #[test]
    fn the_url_wins_and_carries_tls() {
        let settings = read(&[("REDIS_URL", "rediss://u:p@cache:10000/1"), ("REDIS_HOST", "other")]).unwrap();
        assert_eq!(settings.to_string(), "cache:10000/1");
        assert!(matches!(settings.info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert_eq!(settings.info.redis_settings().protocol(), ProtocolVersion::RESP3);
    }

    #[test]
    fn a_bad_value_names_the_variable_and_not_the_value() {
        let error = read(&[("REDIS_PORT", "70000")]).unwrap_err();
        assert_eq!(error.variable, "REDIS_PORT");
        let error = read(&[("REDIS_URL", "http://secret@host")]).unwrap_err().to_string();
        assert!(error.starts_with("REDIS_URL") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn nothing_set_is_the_local_default() {
        assert_eq!(read(&[("REDIS_URL", "")]).unwrap().to_string(), "127.0.0.1:6379/0");
    }
}
