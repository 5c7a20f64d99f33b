//! The guide's text against the files that it shows.

use std::{collections::BTreeMap, fs};

use super::{agents, root};

/// File name → the block that stands under its marker, `<!-- docs/agents/{name} -->`.
fn blocks(guide: &str) -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("<!-- docs/agents/").and_then(|rest| rest.strip_suffix(" -->"))
        else {
            continue;
        };
        let fence = lines.next().unwrap_or_default();
        assert!(fence.starts_with("```"), "{name}: a fence follows its marker");
        let block: String =
            lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
        assert!(blocks.insert(name.to_owned(), block).is_none(), "{name} is shown twice");
    }
    blocks
}

#[test]
fn the_guide_shows_the_files_byte_for_byte() {
    let guide = fs::read_to_string(root().join("docs/AGENTS-GUIDE.md")).unwrap();
    let files: BTreeMap<String, String> = fs::read_dir(agents())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    let shown = blocks(&guide);
    assert_eq!(shown.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    for (name, text) in files {
        assert_eq!(shown[&name], text, "docs/AGENTS-GUIDE.md does not show docs/agents/{name} as it is");
    }
}

/// Agents use the contract's keys only: nothing of theirs may depend on what we keep to ourselves.
#[test]
fn the_files_name_only_keys_of_the_contract() {
    use annika::keys::FAMILIES;
    let mut named = 0;
    for entry in fs::read_dir(agents()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for (at, _) in text.match_indices("annika:") {
            let key: String =
                text[at..].chars().take_while(|c| c.is_alphanumeric() || ":_".contains(*c)).collect();
            let key = key.trim_end_matches(':');
            let known = FAMILIES.iter().any(|family| {
                let fixed = family.pattern.split('{').next().unwrap_or_default().trim_end_matches(':');
                !family.private && fixed == key
            });
            assert!(known, "{key} is no key of the contract");
            named += 1;
        }
    }
    assert!(named > 5, "the files name keys");
}
