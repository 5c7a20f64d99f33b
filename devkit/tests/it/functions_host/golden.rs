//! Reads the recorded vectors and counts how many of them hold.

use annika_devkit::oracle;
use serde_json::Value;
use std::collections::BTreeMap;

/// A recorded file; `None` (said loudly) without the oracles.
pub fn load(file: &str) -> Option<Value> {
    let path = oracle::path(&format!("golden {file}"))?.join("golden").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    Some(serde_json::from_str(&text).unwrap())
}

/// The text of a recorded file that is no JSON.
pub fn text(file: &str) -> Option<Vec<u8>> {
    let path = oracle::path(&format!("golden {file}"))?.join("golden").join(file);
    Some(std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display())))
}

/// The list of vectors.
pub fn vectors(file: &Value) -> Vec<Value> {
    let list = file.get("vectors").or_else(|| file.get("rows")).unwrap();
    list.as_array().unwrap().clone()
}

/// The count for one file.
pub struct Tally {
    file: String,
    passed: usize,
    out_of_scope: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    /// `file` is the name in the golden folder, and after a comma the part of it that is counted.
    pub fn new(file: &str) -> Self {
        let name = file.split(',').next().unwrap_or_default();
        assert!(
            crate::golden_files::TALLIED.contains(&name),
            "{name} has to stand in the list of tallied files"
        );
        Self { file: file.to_owned(), passed: 0, out_of_scope: BTreeMap::new(), failures: Vec::new() }
    }

    /// A vector that the emulator does not answer, and why.
    pub fn skip(&mut self, reason: &str) {
        *self.out_of_scope.entry(reason.to_owned()).or_default() += 1;
    }

    /// A vector in scope.
    pub fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: &T, expected: &T) {
        if got == expected {
            self.passed += 1;
        } else {
            self.failures.push(format!("{what}\n     got {got:?}\nexpected {expected:?}"));
        }
    }

    /// Prints the count past the test harness and fails if a vector did not hold, or if there was none.
    pub fn finish(self) {
        let in_scope = self.passed + self.failures.len();
        let reasons: Vec<String> =
            self.out_of_scope.iter().map(|(why, count)| format!("{count} {why}")).collect();
        oracle::golden(&self.file, in_scope, self.passed, &reasons.join("; "));
        assert!(in_scope > 0, "golden {}: nothing was checked", self.file);
        let shown: Vec<&String> = self.failures.iter().take(12).collect();
        assert!(
            self.failures.is_empty(),
            "{} of {in_scope} vectors fail; the first:\n{shown:#?}",
            self.failures.len()
        );
    }
}

/// A text with one character per byte as bytes.
pub fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

/// Writes out runs that were shortened to `xxx...(N times)`.
pub fn expand_runs(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("...(") {
        let tail = &rest[at + 4..];
        let Some((count, after)) = tail.split_once(" times)") else { break };
        let Ok(count) = count.parse::<usize>() else { break };
        let run = rest[..at].chars().next_back().unwrap();
        let start = at - 3 * run.len_utf8();
        out.push_str(&rest[..start]);
        out.extend(std::iter::repeat_n(run, count));
        rest = after;
    }
    out.push_str(rest);
    out
}
