//! The key registry: completeness against the requirements, matching, and that no key is spelled elsewhere.

use std::{collections::BTreeSet, fs, path::Path};

use annika::keys::{self, Cap, FAMILIES, Kind, Life};

#[test]
fn every_pattern_of_the_requirements_is_registered() {
    let Some(oracles) = annika_devkit::oracle::path("every_pattern_of_the_requirements_is_registered") else {
        return;
    };
    let mut seen = 0;
    for seed in ["000_15b4e4e73c50b07d.txt", "002_a7169a6f21b93967.txt"] {
        let text = fs::read_to_string(oracles.join("seeds").join(seed)).unwrap();
        for word in text.split(|c: char| c.is_whitespace() || c == '`') {
            if !word.starts_with("annika:") {
                continue;
            }
            seen += 1;
            let sample = word.replace('{', "x-").replace('}', "");
            assert!(
                keys::find(&sample).or_else(|| keys::find_channel(&sample)).is_some(),
                "{word} of {seed}"
            );
        }
    }
    assert!(seen > 40, "the requirements name {seen} patterns");
}

#[test]
fn the_more_specific_family_wins() {
    let pattern = |key: &str| keys::find(key).map(|family| family.pattern);
    assert_eq!(pattern("annika:task:mapping:planner:p1"), Some(keys::TASK_MAPPING_PLANNER.pattern));
    assert_eq!(pattern("annika:task:mapping:planner"), Some(keys::TASK_MAPPING.pattern));
    assert_eq!(pattern("annika:planner:etag:p1"), Some(keys::PLANNER_ETAG.pattern));
    assert_eq!(pattern("annika:planner:etag:p1:details"), Some(keys::PLANNER_ETAG_DETAILS.pattern));
    assert_eq!(
        pattern("annika:tokens:agent:https://graph.microsoft.com/.default"),
        Some(keys::TOKEN_AGENT.pattern)
    );
    assert_eq!(pattern("annika:tasks:a:b"), None);
    assert_eq!(pattern("annika:tasks:"), None);
    assert_eq!(pattern("session:abc"), None);
    // Channels and keys are separate spaces.
    assert_eq!(keys::find_channel("annika:tasks:updates").unwrap().pattern, keys::TASKS_UPDATES.pattern);
    assert_eq!(pattern("annika:tasks:updates"), Some(keys::TASK.pattern));
}

#[test]
fn builders_fill_the_pattern_and_parse_reads_it_back() {
    assert_eq!(keys::task("t-1"), "annika:tasks:t-1");
    assert_eq!(keys::planner_etag_details("p"), "annika:planner:etag:p:details");
    let key = keys::token_user("u1", "https://x/a:b");
    assert_eq!(keys::TOKEN_USER.parse(&key), Some(vec!["u1", "https://x/a:b"]));
    for family in FAMILIES {
        let count = family.pattern.matches('{').count();
        let values: Vec<String> = (0..count).map(|n| format!("v{n}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let key = family.key(&values);
        assert_eq!(family.parse(&key), Some(values.clone()), "{}", family.pattern);
        assert_eq!(family.check(&values), Ok(()), "{}", family.pattern);
        let found = if family.kind == Kind::Channel { keys::find_channel(&key) } else { keys::find(&key) };
        assert_eq!(found.unwrap().pattern, family.pattern);
    }
}

#[test]
fn parameters_that_would_break_a_key_are_refused() {
    for bad in ["", "a:b", "a\nb", "\u{7f}"] {
        assert!(keys::TASK.check(&[bad]).is_err(), "{bad:?}");
    }
    assert!(keys::TOKEN_AGENT.check(&["a:b"]).is_ok());
    assert!(keys::TASK.check(&[]).is_err());
}

#[test]
fn patterns_are_unique_and_private_families_are_bounded() {
    let patterns: BTreeSet<&str> = FAMILIES.iter().map(|family| family.pattern).collect();
    assert_eq!(patterns.len(), FAMILIES.len());
    for family in FAMILIES {
        assert!(!family.note.is_empty());
        assert_eq!(family.kind == Kind::Channel, family.life == Life::Momentary, "{}", family.pattern);
        if family.private {
            let bounded = !matches!(family.cap, Cap::Others | Cap::Life) || family.life != Life::Persistent;
            assert!(bounded, "{} has neither a life nor a bound", family.pattern);
        }
    }
}

#[test]
fn the_table_for_the_docs_names_every_family() {
    let table = keys::markdown();
    for family in FAMILIES {
        assert!(table.contains(&format!("| `{}` |", family.pattern)));
    }
    assert_eq!(table.lines().count(), FAMILIES.len() + 2);
}

#[test]
fn no_key_is_spelled_outside_the_registry() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut offenders = Vec::new();
    let mut files = 0;
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path != src.join("keys") {
                    folders.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            files += 1;
            for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                let code = line.trim_start();
                if !code.starts_with("//") && code.contains("\"annika:") {
                    offenders.push(format!("{}:{}: {code}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(files > 3);
    assert!(offenders.is_empty(), "take these from src/keys:\n{}", offenders.join("\n"));
}
