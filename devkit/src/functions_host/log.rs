//! What handler and host said, with the levels that the host gives to console lines.

use super::{clock::SharedClock, ticks::Ticks};
use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The handler's standard output.
    Stdout,
    /// The handler's standard error.
    Stderr,
    /// The host itself.
    Host,
}

/// The level the host gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Standard output, and what the host tells.
    Information,
    /// A line of standard error that holds "warn".
    Warning,
    /// Every other line of standard error, and the host's own errors.
    Error,
}

/// One line.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When it was read.
    pub at: Ticks,
    /// Where it came from.
    pub source: Source,
    /// Its level.
    pub level: Level,
    /// The text, without its line end.
    pub text: String,
}

/// Lines kept; older ones go first.
const KEPT: usize = 50_000;

/// The collected lines; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Log {
    lines: Arc<Mutex<std::collections::VecDeque<LogLine>>>,
    clock: SharedClock,
    echo: bool,
    file: Option<Arc<File>>,
}

impl Log {
    pub(super) fn new(clock: SharedClock, echo: bool, file: Option<File>) -> Self {
        Self { lines: Arc::default(), clock, echo, file: file.map(Arc::new) }
    }

    pub(super) fn line(&self, source: Source, text: String) {
        let level = match source {
            Source::Stderr if text.to_ascii_lowercase().contains("warn") => Level::Warning,
            Source::Stderr => Level::Error,
            Source::Stdout | Source::Host => Level::Information,
        };
        self.push(source, level, text);
    }

    pub(super) fn host(&self, level: Level, text: String) {
        self.push(Source::Host, level, text);
    }

    fn push(&self, source: Source, level: Level, text: String) {
        let tag = match source {
            Source::Stdout => "handler",
            Source::Stderr => "handler!",
            Source::Host => "host",
        };
        if self.echo {
            println!("[{tag}] {text}");
        }
        if let Some(file) = &self.file {
            // A full disk must not stop the host; the lines are also kept in memory.
            let _best_effort = file.as_ref().write_all(format!("[{tag}] {text}\n").as_bytes());
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(LogLine { at: self.clock.now(), source, level, text });
    }

    pub(super) fn all(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
