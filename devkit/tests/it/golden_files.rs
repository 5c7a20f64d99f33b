//! Which recorded files are replayed, and why the others are not: a new file has to be put into one of the lists.

use annika_devkit::oracle;
use std::{collections::BTreeSet, path::Path};

/// The files that a test counts (`Tally::new` asks for it).
pub const TALLIED: &[&str] = &[
    "envelope-answers.json",
    "forwarded-paths.json",
    "graph-sdk-requests.json",
    "http-route-load-checks.json",
    "http-route-templates.json",
    "http-routes.json",
    "proxied-requests.json",
    "proxied-responses.json",
    "real-host/http-C-*.txt",
    "real-host/paths.json",
    "real-host/reply-C-headers.txt",
    "real-host/timer-*.http",
    "real-host/timer-retry-attempt-1.json",
    "real-host/trigger-replies.json",
    "timer-listener.json",
    "timer-monitor.json",
    "timer-schedules.json",
];

/// The files that nothing replays, and why.
const OUT_OF_SCOPE: &[(&str, &str)] = &[
    (
        "envelope-encoding.json",
        "any .NET value as a trigger's data; our triggers are timers, whose bytes are in real-host/timer-*.http",
    ),
    ("envelope-http-request.json", "HTTP by envelope: the emulator refuses to load it, our HTTP is proxied"),
    ("forwarded-requests.json", "enableForwardingHttpRequest: the emulator refuses to load it"),
    (
        "timer-daylight-saving.json",
        "the emulator's clock is UTC, as on Flex Consumption, which has no time zones",
    ),
    ("real-host/http-A-*.txt", "HTTP by envelope: the emulator refuses to load it, our HTTP is proxied"),
    ("real-host/http-B-*.txt", "enableForwardingHttpRequest: the emulator refuses to load it"),
    (
        "real-host/modeA-replies.json",
        "HTTP by envelope: the emulator refuses to load it, our HTTP is proxied",
    ),
    ("real-host/reply-B-headers.txt", "enableForwardingHttpRequest: the emulator refuses to load it"),
    (
        "real-host/transcripts/*",
        "sessions told for people; what they show is tested in functions_host::processes",
    ),
];

/// Whether a name is meant; one `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            name.strip_prefix(start).is_some_and(|rest| !rest.contains('/') && rest.ends_with(end))
        }
        None => pattern == name,
    }
}

/// The names of all files, the texts about them left out.
fn names(root: &Path, folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names(root, &path, into);
        } else if path.extension().is_none_or(|extension| extension != "md") {
            into.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_recorded_file_is_tallied_or_has_its_reason() {
    let Some(oracles) = oracle::path("golden_files") else { return };
    let root = oracles.join("golden");
    let mut found = BTreeSet::new();
    names(&root, &root, &mut found);
    let mut unnamed = Vec::new();
    for name in &found {
        let tallied = TALLIED.iter().any(|pattern| fits(pattern, name));
        let outside = OUT_OF_SCOPE.iter().any(|(pattern, _)| fits(pattern, name));
        assert!(!(tallied && outside), "{name} stands in both lists");
        if !tallied && !outside {
            unnamed.push(name);
        }
    }
    assert!(unnamed.is_empty(), "neither tallied nor out of scope with a reason: {unnamed:?}");
    for pattern in TALLIED.iter().chain(OUT_OF_SCOPE.iter().map(|(pattern, _)| pattern)) {
        assert!(found.iter().any(|name| fits(pattern, name)), "{pattern} names no file");
    }
    for (pattern, why) in OUT_OF_SCOPE {
        let files = found.iter().filter(|name| fits(pattern, name)).count();
        oracle::golden(
            pattern,
            0,
            0,
            &format!("{files} {} {why}", if files == 1 { "file:" } else { "files:" }),
        );
    }
}
