//! The simulator as a test: kept seeds hold, a run is its seed, and what is memoised changes nothing.
#![cfg(feature = "sim")]

use fairlane_engine::sim::{Keyring, Options, run};

fn kept_seeds() -> Vec<(u64, Options)> {
    include_str!("seeds.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut number = || -> u64 {
                let word = words
                    .next()
                    .expect("a kept seed says seed, n and what it was");
                word.parse().expect("seed and n are numbers")
            };
            let (seed, n) = (number(), number() as u8);
            let is_losing_power = match words.next() {
                Some("any") => false,
                Some("power") => true,
                other => panic!("{other:?} are no faults"),
            };
            let n = (n > 0).then_some(n);
            (
                seed,
                Options {
                    n,
                    is_losing_power,
                    ..Options::default()
                },
            )
        })
        .collect()
}

#[test]
fn every_kept_seed_holds() {
    let mut keyring = Keyring::default();
    let seeds = kept_seeds();
    assert!(!seeds.is_empty());
    for (seed, options) in seeds {
        let report = run(seed, options, &mut keyring);
        assert_eq!(report.failure, None, "seed {seed}, {options:?}");
    }
}

#[test]
fn a_run_is_its_seed_with_and_without_memory_of_verdicts() {
    let mut keyring = Keyring::default();
    for seed in 0..6 {
        let options = Options {
            n: Some(4),
            ..Options::default()
        };
        let report = run(seed, options, &mut keyring);
        assert_eq!(run(seed, options, &mut keyring), report, "seed {seed}");
        let checked = Options {
            is_without_memo: true,
            ..options
        };
        assert_eq!(run(seed, checked, &mut keyring), report, "seed {seed}");
        assert_ne!(run(seed + 1, options, &mut keyring).trace, report.trace);
    }
}

#[test]
fn nodes_that_restart_or_were_away_for_long_keep_every_promise() {
    let mut keyring = Keyring::default();
    let (mut restarts, mut states_taken) = (0, 0);
    for seed in 64..80 {
        let options = Options {
            n: Some(4),
            ..Options::default()
        };
        let report = run(seed, options, &mut keyring);
        assert_eq!(report.failure, None, "seed {seed}");
        restarts += report.restarts;
        states_taken += report.states_taken;
    }
    assert!(restarts > 10, "{restarts} restarts");
    assert!(states_taken > 0, "nobody was away for long enough");
}

#[test]
fn nothing_acknowledged_is_gone_when_some_or_all_lose_power_at_once() {
    let mut keyring = Keyring::default();
    let (mut losses, mut receipts) = (0, 0);
    for seed in 0..16 {
        let options = Options {
            n: Some(5),
            is_losing_power: true,
            ..Options::default()
        };
        let report = run(seed, options, &mut keyring);
        assert_eq!(report.failure, None, "seed {seed}");
        losses += report.power_losses;
        receipts += report.receipts;
    }
    assert!(losses > 16 && receipts > 100, "{losses}, {receipts}");
}

#[test]
fn keys_change_under_faults_and_every_node_has_a_share_of_each() {
    let mut keyring = Keyring::default();
    // Two blocks of seeds: without absences, and with.
    let (mut made, mut restarts) = (0, 0);
    let (mut assured, mut mended) = (0, 0);
    for seed in (128..140).chain(192..204) {
        let options = Options {
            n: Some(4),
            ..Options::default()
        };
        let report = run(seed, options, &mut keyring);
        assert_eq!(report.failure, None, "seed {seed}");
        made += report.keys_made;
        assured += report.shares_assured;
        mended += report.shares_mended;
        restarts += report.restarts;
    }
    assert!(made > 10, "{made} keys made");
    assert!(restarts > 0, "nobody was away");
    assert!(assured > 10, "{assured} shares assured");
    assert!(mended > 0, "nobody was cheated while it was away");
}
