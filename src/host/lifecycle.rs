//! When the process has to end, and with which exit code.
//!
//! The host sends no signal when it stops, and a killed host leaves its handler behind: so the parent's pid is
//! watched. Exit code 0 would tell the host never to start the handler again, so no end has it.

use crate::clock::SharedClock;
use std::{io, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// The longest time that runs and requests get to end.
pub const DRAIN: Duration = Duration::from_secs(2);
/// How often the parent's pid is looked at.
const WATCH: Duration = Duration::from_secs(1);

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGINT: Ctrl+C at the terminal.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The host that started the handler is gone.
    ParentGone,
    /// The server ended by itself.
    ServerFailed,
}

impl Ending {
    /// The process's exit code: 128 plus the signal's number, else 1; never 0.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::ParentGone | Self::ServerFailed => 1,
        }
    }

    /// A stable code for the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::ParentGone => "parent_gone",
            Self::ServerFailed => "server_failed",
        }
    }
}

/// Completes when a signal comes or, if `watch_parent`, when the parent is no longer the one seen at the first
/// call. Signals count from the call on, not from the first poll.
///
/// # Errors
/// When signals cannot be listened to.
pub fn ending(watch_parent: bool, clock: SharedClock) -> io::Result<impl Future<Output = Ending>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let parent = std::os::unix::process::parent_id();
    Ok(async move {
        let orphaned = async {
            if !watch_parent {
                return std::future::pending().await;
            }
            while std::os::unix::process::parent_id() == parent {
                clock.sleep(WATCH).await;
            }
        };
        tokio::select! {
            _ = interrupt.recv() => Ending::Interrupted,
            _ = terminate.recv() => Ending::Terminated,
            () = orphaned => Ending::ParentGone,
        }
    })
}
