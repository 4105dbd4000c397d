//! A node that starts again from a snapshot of its own and the tail that is read with it: the records before are gone, and
//! nobody can tell.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::{Record, SnapshotPart};
use fairlane_engine::engine::snapshot::newest_snapshot;

const SECOND: u64 = 1_000_000;

fn world(snapshot_bytes: u64) -> World {
    let parameters = Parameters {
        gc_depth_rounds: 16,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 2_000,
        leader_timeout_us: 4_000,
        snapshot_bytes,
        ..EngineConfig::default()
    };
    World::new(4, parameters, config)
}

/// Open and sealed envelopes, one every 4 ms, to all; each is valid for three seconds.
fn load(world: &mut World, ids: std::ops::Range<u64>) {
    let first = ids.start;
    for id in ids {
        let envelope = match id % 8 {
            0 => world.sealed(id, 3 * SECOND),
            _ => world.open_envelope(id, 3 * SECOND),
        };
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), (id - first) * 4_000 + to as u64);
        }
    }
}

/// The first record that the newest snapshot of a node needs.
fn tail_from(records: &[Record]) -> Option<u64> {
    let parts = newest_snapshot(records)?;
    Some(SnapshotPart::decode(&parts[0]).unwrap().tail_from)
}

fn assert_alike(world: &World, envelopes: usize) {
    for node in &world.nodes {
        assert_eq!(node.settled, world.nodes[0].settled);
        assert_eq!(node.engine.counters().forks, 0);
        assert_eq!(node.engine.counters().divergence, 0);
    }
    assert_eq!(world.nodes[0].settled.digests.len(), envelopes);
}

#[test]
fn what_must_be_kept_of_a_journal_does_not_grow_with_it() {
    let mut world = world(100_000);
    // An envelope is held 33 s, and so is its record.
    let (mut kept, mut envelopes) = (Vec::new(), 0);
    for turn in 0..10u64 {
        load(&mut world, envelopes..envelopes + 20);
        envelopes += 20;
        world.run_for(10 * SECOND);
        let node = &world.nodes[2];
        let records = node.journal.len();
        kept.push(records - tail_from(&node.journal).map_or(0, |from| from as usize - 1));
        // Sometimes one starts again, sometimes all do.
        match turn % 4 {
            1 => world.restart(2, records),
            3 => (0..4).for_each(|at| {
                let durable = world.nodes[at].durable as usize;
                world.restart(at, durable);
            }),
            _ => {}
        }
    }
    world.run_for(SECOND);
    assert_alike(&world, envelopes as usize);
    let most = kept[4..].iter().max().unwrap();
    assert!(
        *most < 2 * kept[3] && *most < world.nodes[2].journal.len() * 3 / 4,
        "{kept:?}"
    );
}

#[test]
fn a_start_from_any_prefix_is_the_same_with_and_without_a_snapshot() {
    let mut world = world(1);
    load(&mut world, 0..150);
    world.run_for(SECOND);
    let journal = world.nodes[1].journal.clone();
    let (mut from_snapshots, mut last) = (0, 0);
    for prefix in (0..=journal.len()).rev().step_by(61) {
        let records = journal[..prefix].to_vec();
        let without = records
            .iter()
            .map(|record| match record {
                // Of the same number, and no snapshot.
                Record::Snapshot(_) => Record::Snapshot(Vec::new().into()),
                other => other.clone(),
            })
            .collect();
        let tail = tail_from(&records).unwrap_or(1);
        from_snapshots += u64::from(tail > 1);
        last = last.max(tail);
        let (with, _) = world.recover(1, records).unwrap();
        let (without, _) = world.recover(1, without).unwrap();
        assert_eq!(with.round(), without.round(), "prefix {prefix}");
        assert_eq!(with.next_open_seq(), without.next_open_seq(), "{prefix}");
        let (a, b) = (with.footprint(), without.footprint());
        assert_eq!(with.counters().forks, 0, "prefix {prefix}");
        assert_eq!(a.unlisted, b.unlisted, "prefix {prefix}");
        assert_eq!(a.vertices, b.vertices, "prefix {prefix}");
        assert_eq!(a.fair_pending, b.fair_pending, "prefix {prefix}");
        assert_eq!(a.batches_active, b.batches_active, "prefix {prefix}");
    }
    assert!(
        from_snapshots > 5,
        "{from_snapshots} with a shorter tail, {last}"
    );
}

#[test]
fn envelopes_that_may_be_submitted_again_hold_the_tail_back_and_no_others() {
    let mut world = world(20_000);
    // What is settled is held 30 s beyond its expiry.
    load(&mut world, 0..50);
    world.run_for(2 * SECOND);
    let held = tail_from(&world.nodes[0].journal);
    world.run_for(40 * SECOND);
    let records = world.nodes[0].journal.len() as u64;
    let free = tail_from(&world.nodes[0].journal).unwrap();
    let first = |record: &Record| matches!(record, Record::Envelope(_));
    let first = world.nodes[0].journal.iter().position(first).unwrap() as u64;
    assert!(
        held.is_none_or(|held| held <= first + 1),
        "{held:?}, {first}"
    );
    assert!(
        free > first + 1 && records - free < records / 10,
        "{free} of {records}"
    );
    for at in 0..4 {
        let durable = world.nodes[at].durable as usize;
        world.restart(at, durable);
    }
    load(&mut world, 50..100);
    world.run_for(2 * SECOND);
    assert_alike(&world, 100);
}
