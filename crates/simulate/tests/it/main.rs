//! Seeds that are played with every test run.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

mod pinned;

use std::{collections::BTreeMap, ops::Range};

use annika_simulate::{
    play::{play, run},
    world::faults::Faults,
};

/// Plays the seeds; what happened over all of them.
fn check(seeds: Range<u64>, faults: fn(u64) -> Faults) -> BTreeMap<&'static str, u64> {
    let run = run(seeds, 2, faults, false, |_, _| {});
    println!("{:#?}", run.tally);
    let line = |(seed, wrong): (&u64, &Vec<String>)| format!("seed {seed}: {}", wrong.join("; "));
    let failed: Vec<String> = run.failed.iter().map(line).collect();
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    run.tally
}

/// `ANNIKA_SIM_SEEDS` (`from..to`) plays others than the usual ones.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let asked = std::env::var("ANNIKA_SIM_SEEDS").ok();
    let parse = |text: String| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    asked.and_then(parse).unwrap_or(usual)
}

#[test]
fn without_faults_both_sides_agree() {
    check(seeds(0..60), |_| Faults::default());
}

#[test]
fn without_faults_each_child_is_the_one_item_of_its_parent() {
    let tally = check(seeds(0..28), |_| Faults { families: true, ..Faults::default() });
    for what in ["agent writes a child", "agent lets a child go"] {
        assert!(tally.get(what).is_some_and(|n| *n > 10), "{what}: {tally:?}");
    }
}

#[test]
fn with_faults_both_sides_agree_and_nothing_is_lost() {
    let tally = check(seeds(0..300), Faults::of);
    // A world in which these do not happen would prove nothing.
    for what in [
        "kill",
        "pause",
        "store fault",
        "graph fault",
        "graph write refused",
        "document moved",
        "lease lost",
        "stored, due again",
        "told: created",
        "told: uploaded",
        "told: downloaded",
        "told: conflict",
        "told: deleted in Planner",
        "told: deleted in Redis",
        "told: restored",
        "told: create unresolved",
    ] {
        assert!(tally.contains_key(what), "{what} never happened");
    }
}

/// Seeds that found something once.
#[test]
fn a_day_at_the_office_ends_with_both_sides_equal() {
    let annika_simulate::day::Day { figures, wrong } = annika_simulate::day::play(1);
    assert_eq!(wrong, [""; 0], "{figures:?}");
    let figure =
        |name: &str| figures.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    assert_eq!(figure("echo writes to Graph").as_deref(), Some("0"));
    assert_eq!(figure("conflicts"), figure("losers logged"));
}

#[test]
fn seeds_that_failed_once() {
    let of_one_task = [
        17, 158, 872, 1_020, 1_030, 1_061, 1_109, 1_148, 1_608, 1_650, 2_122, 2_175, 2_221, 2_499, 2_921,
        3_086, 3_099, 3_260, 4_046, 4_148, 4_270, 4_318, 4_631, 4_711, 4_773, 89_770, 132_323,
    ];
    let of_moves_and_failovers = [
        143, 309, 319, 345, 670, 696, 704, 714, 809, 975, 997, 1_250, 1_266, 1_300, 1_456, 1_460, 2_255,
        2_291, 2_437, 3_801, 4_673, 4_718, 4_853, 5_360, 7_540, 9_512, 11_461, 12_298, 12_394, 18_410,
        20_580, 23_186, 26_202, 50_408, 52_917, 56_615, 67_775, 70_845, 75_430, 87_591, 99_792, 116_536,
        128_807, 139_667, 151_471, 151_903, 171_428, 186_752, 188_084, 190_240, 197_158,
    ];
    let of_creates_sent_twice = [74_491, 138_222, 155_753, 157_844, 161_726, 176_426];
    for seed in of_one_task.into_iter().chain(of_moves_and_failovers).chain(of_creates_sent_twice) {
        if let Err(wrong) = play(seed, Faults::of(seed)) {
            panic!("seed {seed}: {}", wrong.join("; "));
        }
    }
    let of_families = [54, 56, 279, 332, 367, 426, 450, 458, 459, 526, 918];
    for seed in of_families {
        if let Err(wrong) = play(seed, Faults::of_families(seed)) {
            panic!("seed {seed} with families: {}", wrong.join("; "));
        }
    }
    let without_faults = [1_162, 13_045, 15_804, 16_659, 45_208, 50_005];
    for seed in without_faults {
        if let Err(wrong) = play(seed, Faults::default()) {
            panic!("seed {seed} without faults: {}", wrong.join("; "));
        }
    }
    for seed in [28, 125, 138, 619, 917, 1_097, 1_246, 1_442] {
        if let Err(wrong) = play(seed, Faults { families: true, ..Faults::default() }) {
            panic!("seed {seed} of families without faults: {}", wrong.join("; "));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..6 {
        assert_eq!(play(seed, Faults::of(seed)), play(seed, Faults::of(seed)), "seed {seed}");
    }
}
