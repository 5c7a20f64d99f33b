//! Redis: one multiplexed connection for commands and scripts, others for subscriptions; knows no domain.
//!
//! The first connection is made by the first command, so a missing Redis never stops the start, and a lost
//! one is made again by the commands that follow. A command that failed is not repeated here: only its
//! caller knows whether that is harmless.

mod error;
mod push;
mod script;
mod settings;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    Cmd, FromRedisValue, Pipeline, RedisResult, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::clock::SharedClock;

pub use error::{StoreError, StoreErrorKind};
pub use push::{Push, Subscription};
pub use script::{Script, ScriptCall};
pub use settings::{RedisSettings, SettingsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// After an error that the connection manager never recovers from, a new one is made, at most this often.
const REBUILD_EVERY_MS: u64 = 1_000;

/// The one way to Redis. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    settings: RedisSettings,
    client: redis::Client,
    clock: SharedClock,
    connection: Mutex<Connection>,
    round_trips: AtomicU64,
}

struct Connection {
    manager: ConnectionManager,
    made_at_ms: u64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("redis", &self.inner.settings).finish_non_exhaustive()
    }
}

impl Store {
    /// A store that connects when it is first used. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreErrorKind::Other`] if the address can never work (such as TLS without a host).
    pub fn new(settings: RedisSettings, clock: SharedClock) -> Result<Self, StoreError> {
        let client = settings.client()?;
        let manager = manager(&client)?;
        let connection = Mutex::new(Connection { manager, made_at_ms: clock.monotonic_ms() });
        Ok(Self {
            inner: Arc::new(Inner { settings, client, clock, connection, round_trips: AtomicU64::new(0) }),
        })
    }

    /// A store for the same Redis on a connection of its own, for work whose order or `WAIT` must not mix with others'.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn with_own_connection(&self) -> Result<Self, StoreError> {
        Self::new(self.inner.settings.clone(), self.inner.clock.clone())
    }

    /// Where Redis is, without credentials.
    pub fn address(&self) -> String {
        self.inner.settings.to_string()
    }

    /// How many round trips were made so far.
    pub fn round_trips(&self) -> u64 {
        self.inner.round_trips.load(Ordering::Relaxed)
    }

    /// Whether Redis answers and is done with loading.
    ///
    /// # Errors
    /// [`StoreError`] says why not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.command::<Value>(&redis::cmd("PING")).await.map(|_pong| ())
    }

    /// Runs one command.
    ///
    /// # Errors
    /// [`StoreError`]; also when the reply is not a `T`.
    pub async fn command<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, StoreError> {
        let value = self.watch(self.one(cmd).await)?;
        redis::from_redis_value(value).map_err(|error| StoreError::from(redis::RedisError::from(error)))
    }

    /// Runs commands in one round trip; each has its own result, in order.
    pub async fn pipeline(&self, commands: &[Cmd]) -> Vec<Result<Value, StoreError>> {
        if commands.is_empty() {
            return Vec::new();
        }
        let mut pipe = Pipeline::with_capacity(commands.len());
        for cmd in commands {
            pipe.add_command(cmd.clone());
        }
        self.many(pipe, commands.len()).await.into_iter().map(|item| self.watch(item)).collect()
    }

    /// Runs a script with these keys and arguments.
    ///
    /// # Errors
    /// As [`Store::run`].
    pub async fn call(
        &self,
        script: &'static Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let call = keys.iter().fold(script.call(), |call, key| call.key(key));
        self.run(&args.iter().fold(call, |call, arg| call.arg(arg))).await
    }

    /// Runs a script. If Redis does not know it (any more), it is loaded and run in one more round trip.
    ///
    /// # Errors
    /// [`StoreError`] with the script's name.
    pub async fn run(&self, call: &ScriptCall) -> Result<Value, StoreError> {
        let mut result = self.one(&call.evalsha()).await;
        if is_noscript(&result) {
            let mut pipe = Pipeline::with_capacity(2);
            pipe.add_command(call.script.load()).add_command(call.evalsha());
            result = self.many(pipe, 2).await.pop().unwrap_or_else(|| Err(cut_short()));
        }
        self.watch(result).map_err(|error| error.in_script(call.script.name))
    }

    /// Runs many script calls in one round trip; each has its own result, in order.
    ///
    /// Those whose script Redis does not know are repeated, and only those, in one more round trip.
    pub async fn run_many(&self, calls: &[ScriptCall]) -> Vec<Result<Value, StoreError>> {
        if calls.is_empty() {
            return Vec::new();
        }
        let mut pipe = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipe.add_command(call.evalsha());
        }
        let mut results = self.many(pipe, calls.len()).await;
        let missing: Vec<usize> = (0..calls.len()).filter(|&index| is_noscript(&results[index])).collect();
        if !missing.is_empty() {
            for (index, result) in missing.iter().zip(self.load_and_run(calls, &missing).await) {
                results[*index] = result;
            }
        }
        let named = results.into_iter().zip(calls);
        named
            .map(|(result, call)| self.watch(result).map_err(|error| error.in_script(call.script.name)))
            .collect()
    }

    async fn load_and_run(&self, calls: &[ScriptCall], wanted: &[usize]) -> Vec<RedisResult<Value>> {
        let mut scripts: Vec<&'static Script> = wanted.iter().map(|&index| calls[index].script).collect();
        scripts.sort_by_key(|script| script.sha());
        scripts.dedup_by_key(|script| script.sha());
        let mut pipe = Pipeline::with_capacity(scripts.len() + wanted.len());
        for script in &scripts {
            pipe.add_command(script.load());
        }
        for &index in wanted {
            pipe.add_command(calls[index].evalsha());
        }
        self.many(pipe, scripts.len() + wanted.len()).await.split_off(scripts.len())
    }

    /// Subscribes to `channels` on a connection of its own, which is made again whenever it breaks.
    pub fn subscribe(&self, channels: &[&str]) -> Subscription {
        let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
        Subscription::start(self.inner.client.clone(), self.inner.clock.clone(), channels)
    }

    async fn one(&self, cmd: &Cmd) -> RedisResult<Value> {
        self.inner.round_trips.fetch_add(1, Ordering::Relaxed);
        cmd.query_async(&mut self.connection()).await
    }

    /// Exactly `count` results, whatever happens to the connection.
    async fn many(&self, mut pipe: Pipeline, count: usize) -> Vec<RedisResult<Value>> {
        self.inner.round_trips.fetch_add(1, Ordering::Relaxed);
        pipe.ignore_errors();
        let replies: RedisResult<Vec<RedisResult<Value>>> = pipe.query_async(&mut self.connection()).await;
        match replies {
            Ok(replies) if replies.len() == count => replies,
            Ok(_) => vec![Err(cut_short()); count],
            Err(error) => vec![Err(error); count],
        }
    }

    fn connection(&self) -> ConnectionManager {
        self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner).manager.clone()
    }

    /// Turns an error into ours, and replaces a connection manager that would never recover from it.
    ///
    /// The manager connects again after I/O errors only: one whose connecting was refused (a wrong password
    /// that is being rotated, too many clients) would repeat that refusal for ever.
    fn watch(&self, result: RedisResult<Value>) -> Result<Value, StoreError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        use redis::ErrorKind as Kind;
        let refused = matches!(error.kind(), Kind::AuthenticationFailed | Kind::RESP3NotSupported | Kind::Client)
                || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
                // After a failover the address leads to another server; the old one stays connected as a replica.
                || ["READONLY", "MASTERDOWN"].iter().any(|word| error.to_string().contains(word))
                || error.to_string().contains("max number of clients");
        if refused {
            self.rebuild();
        }
        Err(StoreError::from(error))
    }

    fn rebuild(&self) {
        let now = self.inner.clock.monotonic_ms();
        let mut connection = self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(connection.made_at_ms) >= REBUILD_EVERY_MS
            && let Ok(manager) = manager(&self.inner.client)
        {
            *connection = Connection { manager, made_at_ms: now };
        }
    }
}

/// A command on one key; further arguments may follow.
pub(crate) fn command(name: &str, key: &str) -> Cmd {
    let mut cmd = redis::cmd(name);
    cmd.arg(key);
    cmd
}

/// A reply as the type that it should have.
pub(crate) fn read<T: FromRedisValue>(reply: Value) -> Result<T, StoreError> {
    redis::from_redis_value(reply).map_err(|error| StoreError::from(redis::RedisError::from(error)))
}

fn manager(client: &redis::Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(2)
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(500))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn is_noscript(result: &RedisResult<Value>) -> bool {
    matches!(result, Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript))
}

fn cut_short() -> redis::RedisError {
    redis::RedisError::from(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the reply was cut short"))
}
