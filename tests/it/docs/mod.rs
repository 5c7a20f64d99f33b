//! The documents are held to the code: the table of keys, and every test that is named as a proof.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_table_of_keys_is_the_registry() {
    let path = root().join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once("<!-- keys:begin -->\n").expect("the mark");
    let (table, tail) = rest.split_once("<!-- keys:end -->").expect("the mark");
    let registry = annika::keys::markdown();
    if std::env::var_os("ANNIKA_BLESS").is_some() {
        fs::write(&path, format!("{head}<!-- keys:begin -->\n{registry}<!-- keys:end -->{tail}")).unwrap();
        return;
    }
    assert_eq!(table, registry, "docs/ARCHITECTURE.md is older than src/keys: set ANNIKA_BLESS=1");
}

/// Names of all functions in the workspace's Rust files.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "crates", "devkit"].iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                names.extend(names_in(&path));
            }
        }
    }
    names
}

fn names_in(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let after = text.split("fn ").skip(1);
    after.map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn every_failure_names_a_test_that_exists() {
    let text = fs::read_to_string(root().join("docs/FAILURES.md")).unwrap();
    let functions = functions();
    let mut rows = 0;
    // `cargo test -p annika --test it every_failure -- --nocapture` prints the table.
    text.lines().filter(|line| line.starts_with('|')).for_each(|line| println!("{line}"));
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "three cells: {line}");
        rows += 1;
        let proof = cells[2];
        if proof.starts_with("not applicable: ") || proof.starts_with("later: ") {
            continue;
        }
        let named: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test is named: {line}");
        for name in named {
            assert!(functions.contains(name), "there is no test {name}: {line}");
        }
    }
    assert!(rows >= 36 + 30 + 33 + 17 + 17, "only {rows} rows");
}

/// The text of every Rust file of the product.
fn sources() -> String {
    let mut folders: Vec<PathBuf> =
        ["src", "crates/sync/src"].iter().map(|folder| root().join(folder)).collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

#[test]
fn the_sync_document_names_codes_metrics_and_paths_that_exist() {
    let text = fs::read_to_string(root().join("docs/SYNC.md")).unwrap();
    let sources = sources();
    let (_, codes) = text.split_once("\n## Codes\n").expect("the codes");
    let mut counted = 0;
    for line in codes.lines().filter(|line| line.starts_with("| `")) {
        for code in line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("\"{code}\"")), "no code `{code}` is in the sources");
            counted += 1;
        }
    }
    assert!(counted >= 30, "{counted} codes");
    let metrics: BTreeSet<&str> = text
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("annika_sync_"))
        .collect();
    assert!(metrics.len() >= 20, "{metrics:?}");
    for metric in metrics {
        let name = metric.strip_prefix("annika_sync_").unwrap();
        let name = name.strip_suffix("_total").unwrap_or(name);
        assert!(sources.contains(&format!("\"{name}\"")), "no metric `{metric}` is in the sources");
    }
    // Every operation of the sync has a row, and no row is about another one.
    for (method, path) in annika::api::operations().iter().filter(|(_, path)| path.starts_with("/api/sync/"))
    {
        assert!(text.contains(&format!("`{method} {path}`")), "{method} {path} is not in docs/SYNC.md");
    }
    let (_, table) = text.split_once("| HTTP | command |").unwrap();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let named = line.split('`').nth(1).unwrap();
        let (method, path) = named.split_once(' ').unwrap();
        let known = annika::api::operations().contains(&(method.to_owned(), path.to_owned()));
        assert!(known, "{named} is no operation");
    }
}
