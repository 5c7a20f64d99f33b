//! Settings of the Redis that holds all state.

use super::error::Reader;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The Redis that holds all state.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Which server, database and password.
    pub address: RedisAddress,
}

/// How the server is named. The parts are taken as they stand, never percent-decoded: a password may hold `%` or `@`.
#[derive(Debug, Clone)]
pub enum RedisAddress {
    /// A whole address; it may hold a password. Read from `REDIS_URL`, which wins over the parts.
    Url(SecretString),
    /// Parts.
    Parts {
        /// Read from `REDIS_HOST`, default 127.0.0.1.
        host: String,
        /// Read from `REDIS_PORT`, default 6379.
        port: u16,
        /// Read from `REDIS_PASSWORD`.
        password: Option<SecretString>,
        /// Read from `REDIS_DB`, default 0.
        db: i64,
    },
}

impl RedisSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        if let Some(address) = reader.secret("REDIS_URL") {
            let scheme = Url::parse(address.expose_secret()).ok().map(|url| url.scheme().to_owned());
            let known = ["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix"];
            if !scheme.is_some_and(|scheme| known.contains(&scheme.as_str())) {
                reader.reject(
                    "REDIS_URL",
                    "must be an address that begins with redis://, rediss:// or unix://",
                );
            }
            return Self { address: RedisAddress::Url(address) };
        }
        let port = match reader.text("REDIS_PORT").map(|text| text.trim().parse::<u16>()) {
            None => 6379,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => {
                reader.reject("REDIS_PORT", "must be a TCP port from 1 to 65535");
                6379
            }
        };
        let db = match reader.text("REDIS_DB").map(|text| text.trim().parse::<i64>()) {
            None => 0,
            Some(Ok(db)) if db >= 0 => db,
            Some(_) => {
                reader.reject("REDIS_DB", "must be a whole number, 0 or more");
                0
            }
        };
        Self {
            address: RedisAddress::Parts {
                host: reader.text("REDIS_HOST").unwrap_or_else(|| "127.0.0.1".to_owned()),
                port,
                password: reader.secret("REDIS_PASSWORD"),
                db,
            },
        }
    }
}
