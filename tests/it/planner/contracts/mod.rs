//! Every script against a small model of what it promises, on a real server: random calls of two to four clients,
//! documents of both kinds, keys of other types, short leases, a full Redis, and kill -9 in between.
//!
//! A sequence is fixed by its seed: `ANNIKA_CONTRACT_SEED=n` plays from that one on, `ANNIKA_CONTRACT_SEQUENCES=n`
//! so many. The clients take turns in an order drawn from the seed, so what differs between two runs is time alone.

mod beside;
mod calls;
mod clients;
mod epoch;
mod keyspace;
mod play;
mod promises;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::Instant,
};

use annika_devkit::redis_server::redis_json_module;
use futures::FutureExt;
use play::Theatre;

use crate::process::say;

/// Each script, with the calls of [`calls::Call`] that run it, by name.
const MODELLED: &[(&str, &[&str])] = &[
    ("src/tasks/lua/write.lua", &["create", "replace", "patch", "delete"]),
    ("src/erasure/lua/swap.lua", &["swap"]),
    ("src/erasure/lua/task.lua", &["erase"]),
    ("src/planner/lua/age.lua", &["age"]),
    ("src/planner/lua/claim.lua", &["claim"]),
    ("src/planner/lua/commit.lua", &["commit"]),
    ("src/planner/lua/free.lua", &["take the lease"]),
    ("src/planner/lua/guard.lua", &["guard"]),
    ("src/planner/lua/hold.lua", &["hold"]),
    ("src/planner/lua/ingest.lua", &["ingest"]),
    ("src/planner/lua/lease.lua", &["lease", "give the lease back"]),
    ("src/planner/lua/mark_many.lua", &["mark", "missing"]),
    ("src/planner/lua/note.lua", &["absent", "recheck"]),
    ("src/planner/lua/observe.lua", &["observe"]),
    ("src/planner/lua/pace.lua", &["pace"]),
    ("src/planner/lua/pause.lua", &["pause"]),
    ("src/planner/lua/release.lua", &["release"]),
    ("src/planner/lua/restore.lua", &["restore"]),
    ("docs/agents/update.lua", &["update"]),
];

/// Scripts with tests of their own: two of a rare moment, raced in [`epoch`], for in a random sequence they would end
/// it, and two that only write what they are given (`a_full_redis_keeps_the_schedule_of_its_plans`,
/// `a_full_redis_takes_the_engines_health`).
const BY_HAND: &[&str] = &[
    "src/planner/lua/epoch.lua",
    "src/planner/lua/reclaim.lua",
    "src/planner/lua/keep.lua",
    "src/planner/lua/health.lua",
];

/// Parts of scripts, checked through the scripts that they stand in front of.
const PARTS: &[&str] =
    &["src/tasks/lua/mark.lua", "src/tasks/lua/index.lua", "src/planner/lua/same_epoch.lua"];

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sequences_of_calls_keep_every_scripts_promises() {
    let start = Instant::now();
    let first = setting("ANNIKA_CONTRACT_SEED", 1);
    let count = setting("ANNIKA_CONTRACT_SEQUENCES", 300);
    let folder = tempfile::tempdir().unwrap();
    let module = redis_json_module(folder.path()).unwrap();
    let workers = (0..2).map(|worker| {
        let module = module.clone();
        tokio::spawn(async move {
            let mut theatre = Theatre::open(&module).await;
            for seed in (first..first + count).filter(|seed| seed % 2 == worker) {
                let played = AssertUnwindSafe(theatre.play(seed)).catch_unwind().await;
                if played.is_err() {
                    say(&theatre.story());
                    panic!("sequence {seed} broke a promise: ANNIKA_CONTRACT_SEED={seed} plays it again");
                }
            }
            (theatre.version().to_owned(), theatre.counts)
        })
    });
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut version = String::new();
    for worker in workers.collect::<Vec<_>>() {
        let (name, more) = worker.await.unwrap();
        version = name;
        for (name, n) in more {
            *counts.entry(name).or_default() += n;
        }
    }
    say(&format!(
        "contracts: {count} sequences from seed {first} on {version}, {} calls in {:.1} s: {counts:?}",
        counts.values().sum::<usize>(),
        start.elapsed().as_secs_f64()
    ));
    if count >= 100 {
        for (script, calls) in MODELLED {
            for call in *calls {
                assert!(
                    counts.get(*call).is_some_and(|n| *n >= 5),
                    "{script}: '{call}' was hardly ever called"
                );
            }
        }
    }
}

#[test]
fn every_script_has_a_model() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "docs"] {
        scripts(&root.join(folder), &mut found);
    }
    let mut found: Vec<String> =
        found.iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect();
    found.sort();
    let mut known: Vec<&str> =
        MODELLED.iter().map(|(script, _)| *script).chain(BY_HAND.iter().chain(PARTS).copied()).collect();
    known.sort_unstable();
    assert_eq!(found, known, "a script without a model, or a model without a script");
}

fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "lua") {
            found.push(path);
        }
    }
}
