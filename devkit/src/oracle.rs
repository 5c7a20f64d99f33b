//! Where tests find the oracles: recorded answers and published schemas, named by `ANNIKA_ORACLES`, and where
//! they say what these showed.

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
    append("ANNIKA_SKIP_LOG", &line);
}

/// What recorded vectors of one file showed: says it loudly and adds it to the file that `ANNIKA_TALLY_LOG` names,
/// from which `scripts/test.sh` makes its table. `out_of_scope` says how many are not answered, and why.
pub fn golden(file: &str, in_scope: usize, passed: usize, out_of_scope: &str) {
    let out = if out_of_scope.is_empty() { String::new() } else { format!("; out of scope: {out_of_scope}") };
    let line = format!("golden {file}: {in_scope} in scope, {passed} passed{out}\n");
    let _best_effort = std::io::stderr().write_all(line.as_bytes());
    append("ANNIKA_TALLY_LOG", &format!("golden\t{file}\t{in_scope}\t{passed}\t{out_of_scope}\n"));
}

/// What a simulator checked in its life, for the same file. `provoked` are the violations of tests that send
/// or answer what is wrong on purpose, to see that it is found.
pub(crate) fn messages(requests: u64, answers: u64, violations: u64, provoked: u64) {
    append("ANNIKA_TALLY_LOG", &format!("messages\t{requests}\t{answers}\t{violations}\t{provoked}\n"));
}

/// One write a line, since many tests write at once.
fn append(variable: &str, line: &str) {
    let Some(log) = std::env::var_os(variable).filter(|log| !log.is_empty()) else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    if let Ok(mut file) = file {
        let _best_effort = file.write_all(line.as_bytes());
    }
}
