//! Where tests find the oracles: recorded answers and published schemas, named by `ANNIKA_ORACLES`.

use std::{io::Write, path::PathBuf};

/// The folder that `ANNIKA_ORACLES` names, or `None` after saying loudly that `test` is skipped.
///
/// The line goes to the process's own stderr, which the test harness does not capture, and the test's
/// name is appended to the file that `ANNIKA_SKIP_LOG` names, so that skipped tests can be counted.
pub fn path(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ANNIKA_ORACLES").filter(|value| !value.is_empty()) {
        return Some(PathBuf::from(folder));
    }
    skip(test, "ANNIKA_ORACLES is not set");
    None
}

/// Records that `test` is skipped for the reason `why`.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    let _best_effort = std::io::stderr().write_all(line.as_bytes());
    if let Some(log) = std::env::var_os("ANNIKA_SKIP_LOG") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        if let Ok(mut file) = file {
            let _best_effort = file.write_all(line.as_bytes());
        }
    }
}
