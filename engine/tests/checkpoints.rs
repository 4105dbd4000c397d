//! Checkpoints: the same state root on every node, also of an idle committee, and a state that can be gone on from.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::batch::BatchHeader;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::{Record, header_of_batch};
use fairlane_engine::state::State;
use fairlane_engine::types::Sha256Hash;

const SECOND: u64 = 1_000_000;
const INTERVAL: u64 = 16;

fn world(n: u8) -> World {
    let parameters = Parameters {
        checkpoint_interval_rounds: INTERVAL,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 50_000,
        ..EngineConfig::default()
    };
    World::new(n, parameters, config)
}

fn headers(world: &World, at: usize) -> Vec<BatchHeader> {
    let headers = world.nodes[at]
        .journal
        .iter()
        .filter_map(|record| match record {
            Record::Batch(bytes) => Some(header_of_batch(bytes).unwrap()),
            _ => None,
        });
    headers.collect()
}

fn is_checkpoint(header: &BatchHeader) -> bool {
    header.state_root != Sha256Hash::default()
}

#[test]
fn the_first_anchor_past_each_interval_carries_the_state_root_on_every_node() {
    for n in [1, 4, 7] {
        let mut world = world(n);
        for id in 0..40 {
            let envelope = world.open_envelope(id, 30 * SECOND);
            for to in 0..n as usize {
                world.submit(to, id, envelope.clone(), id * 4_000 + to as u64);
            }
        }
        world.run_for(4 * SECOND);
        let all: Vec<Vec<BatchHeader>> = (0..n as usize).map(|at| headers(&world, at)).collect();
        let shortest = all.iter().map(Vec::len).min().unwrap();
        for headers in &all {
            assert_eq!(headers[..shortest], all[0][..shortest], "n = {n}");
        }
        let checkpoints = all[0].iter().filter(|header| is_checkpoint(header));
        let intervals: Vec<u64> = checkpoints
            .map(|header| header.anchor_round.0 / INTERVAL)
            .collect();
        assert!(intervals.len() >= 4, "n = {n}: {intervals:?}");
        let consecutive: Vec<u64> = (1..=intervals.len() as u64).collect();
        assert_eq!(intervals, consecutive, "one an interval, n = {n}");
        let empty = all[0].iter().filter(|header| header.entries == 0);
        assert!(
            empty.clone().count() >= 2,
            "idle checkpoints are empty batches"
        );
        assert!(empty.into_iter().all(is_checkpoint), "and nothing else is");
    }
}

/// Every batch of an anchor but its last is none, so a reader of the chain knows that the anchor is complete.
#[test]
fn the_last_batch_of_the_anchor_carries_it() {
    let mut world = world(4);
    for id in 0..200 {
        let envelope = world.open_envelope(id, 30 * SECOND);
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), id * 1_000);
        }
    }
    world.run_for(SECOND);
    for pair in headers(&world, 0).windows(2) {
        if is_checkpoint(&pair[0]) {
            assert!(pair[1].anchor_round > pair[0].anchor_round);
        }
    }
}

#[test]
fn a_state_read_back_has_the_same_root_and_any_other_bytes_are_refused() {
    let mut world = world(4);
    for id in 0..60 {
        let envelope = world.open_envelope(id, 30 * SECOND);
        // In another order to each, so that something is pending at a checkpoint.
        for to in 0..4u64 {
            world.submit(
                to as usize,
                id,
                envelope.clone(),
                id * 900 + (id * to * 7_919) % 9_000,
            );
        }
    }
    let mut pending = 0;
    for _ in 0..10 {
        world.run_for(20_000);
        let Some(checkpoint) = world.nodes[2].engine.checkpoint() else {
            continue;
        };
        let root = checkpoint.header.state_root;
        let transferred = checkpoint.state.transfer();
        assert_eq!(transferred.len(), checkpoint.state.transfer_len());
        let restored = State::restore(&world.committee, root, &transferred).unwrap();
        let again = restored.state(&world.committee);
        assert_eq!((again.root, again.transfer()), (root, transferred.clone()));
        pending += restored.fair.pending_len();
        for at in (0..transferred.len()).step_by(97) {
            let mut other = transferred.clone();
            other[at] ^= 1;
            assert!(
                State::restore(&world.committee, root, &other).is_err(),
                "byte {at}"
            );
            assert!(State::restore(&world.committee, root, &transferred[..at]).is_err());
        }
    }
    assert!(pending > 0, "some state had something pending");
}

#[test]
fn a_recovered_node_serves_the_checkpoints_that_it_had() {
    let mut world = world(4);
    for id in 0..20 {
        let envelope = world.sealed(id, 30 * SECOND);
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), id * 4_000);
        }
    }
    world.run_for(2 * SECOND);
    let before = world.nodes[1].engine.checkpoint().unwrap().clone();
    let all = world.nodes[1].journal.len();
    world.restart(1, all);
    let after = world.nodes[1].engine.checkpoint().unwrap();
    assert_eq!(after.header, before.header);
    assert_eq!(after.state.transfer(), before.state.transfer());
}
