//! The handler as a process of its own, without a host: nothing fires its timer, so no engine runs.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use super::{
    clock::{now, pause},
    wire::{Connection, request},
};
use crate::redis_server::RedisServer;

/// A running handler; killed when dropped.
pub(super) struct Handler {
    pub port: u16,
    /// From exec to the first answer.
    pub started_in: Duration,
    _process: tokio::process::Child,
}

impl Handler {
    /// Starts it and asks `path` until there is an answer.
    pub async fn start(binary: &Path, redis: &RedisServer, path: &str, status: &str) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let request = request("GET", path, "");
        let mut command = tokio::process::Command::new(binary);
        command
            .env_clear()
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .env("REDIS_URL", redis.url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let start = now();
        let mut process = command.spawn()?;
        loop {
            if let Ok(mut connection) = Connection::open(port) {
                connection.http(&request, status)?;
                return Ok(Self { port, started_in: start.elapsed(), _process: process });
            }
            if let Some(status) = process.try_wait()? {
                anyhow::bail!("the handler ended with {status}; run {} by hand to see why", binary.display());
            }
            anyhow::ensure!(start.elapsed() < Duration::from_secs(20), "the handler does not answer");
            pause(Duration::from_millis(1)).await;
        }
    }
}
