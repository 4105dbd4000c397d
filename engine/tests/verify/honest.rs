//! What honest nodes record holds, and all of it is looked at.

use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::Record;
use fairlane_engine::engine::snapshot::newest_snapshot;
use fairlane_engine::verify::{Trusted, TrustedFrom};

use crate::common::World;
use crate::{Known, SECOND, load, world};

fn count(records: &[Record], is_it: impl Fn(&Record) -> bool) -> u64 {
    records.iter().filter(|record| is_it(record)).count() as u64
}

#[test]
fn every_record_of_every_node_holds_and_is_counted() {
    let mut world = world();
    load(&mut world, 0..60);
    world.run_for(2 * SECOND);
    for at in 0..4u8 {
        let node = &world.nodes[usize::from(at)];
        let verified = Known::of(&world, at).verify(&node.journal).unwrap();
        let figures = verified.figures;
        let records = &node.journal;
        let is_vertex =
            |record: &Record| matches!(record, Record::Vertex(_) | Record::OwnVertex(_));
        assert_eq!(figures.records, records.len() as u64);
        assert_eq!(figures.vertices, count(records, is_vertex));
        let is_batch = |record: &Record| matches!(record, Record::Batch(_));
        assert_eq!(figures.batches, count(records, is_batch));
        assert_eq!(figures.batches, node.settled.hashes.len() as u64);
        let is_share = |record: &Record| matches!(record, Record::Share(_));
        assert_eq!(figures.shares, count(records, is_share));
        assert_eq!(
            (figures.entries, figures.open, figures.void),
            (60, 12, 7),
            "by what was sent"
        );
        assert_eq!(figures.revealed, 60 - 12 - 7);
        assert!(figures.checkpoints > 3 && figures.anchors > 50);
        assert_eq!(figures.envelopes_left, 0, "nothing is held without need");
        assert!(verified.trusted.is_empty() && verified.faulty.is_empty());
        assert!(verified.vouched + 20 > figures.batches);
        assert_eq!(verified.span.map(|(first, _)| first.0), Some(0));
    }
}

#[test]
fn any_prefix_of_a_journal_holds() {
    let mut world = world();
    load(&mut world, 0..30);
    world.run_for(SECOND);
    let known = Known::of(&world, 1);
    let journal = &world.nodes[1].journal;
    for len in (0..journal.len()).step_by(37) {
        known.verify(&journal[..len]).unwrap();
    }
}

#[test]
fn a_node_that_started_again_and_again_recorded_what_holds() {
    let mut world = world();
    for turn in 0..4 {
        load(&mut world, turn * 30..turn * 30 + 30);
        world.run_for(SECOND / 25);
        let durable = world.nodes[2].durable as usize;
        world.restart(2, durable);
        world.run_for(SECOND);
    }
    for at in 0..4 {
        let journal = &world.nodes[usize::from(at)].journal;
        let verified = Known::of(&world, at).verify(journal).unwrap();
        assert_eq!(verified.figures.entries, 120);
    }
}

#[test]
fn wrong_shares_of_f_authorities_leave_evidence_that_holds_and_nothing_that_does_not() {
    let mut world = world();
    world.corrupt_shares_of = Some(3);
    load(&mut world, 0..60);
    world.run_for(2 * SECOND);
    let mut evidence = 0;
    for at in 0..3 {
        let journal = &world.nodes[usize::from(at)].journal;
        let verified = Known::of(&world, at).verify(journal).unwrap();
        evidence += verified.figures.evidence;
        assert_eq!((verified.figures.entries, verified.figures.void), (60, 7));
    }
    assert!(evidence > 0);
}

#[test]
fn a_trimmed_journal_holds_from_its_snapshot_on_and_says_so() {
    let parameters = Parameters {
        gc_depth_rounds: 16,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 2_000,
        leader_timeout_us: 4_000,
        snapshot_bytes: 20_000,
        ..EngineConfig::default()
    };
    let mut world = World::new(4, parameters, config);
    load(&mut world, 0..40);
    // What is settled is held 30 s beyond its expiry, and so is its record.
    world.run_for(40 * SECOND);
    load(&mut world, 40..80);
    world.run_for(2 * SECOND);
    let known = Known::of(&world, 1);
    let journal = &world.nodes[1].journal;
    let whole = known.verify(journal).unwrap();
    assert!(whole.figures.snapshots > 3 && whole.trusted.is_empty());
    // Not the last one: something is to come behind it.
    let snapshot = newest_snapshot(&journal[..journal.len() * 3 / 4]).unwrap();
    let tail = known.verify_tail(journal, &snapshot).unwrap();
    let [
        Trusted {
            seq,
            from,
            is_vouched,
        },
    ] = tail.trusted[..]
    else {
        panic!("{:?}", tail.trusted);
    };
    assert_eq!((from, is_vouched), (TrustedFrom::Snapshot, true));
    let (first, upto) = tail.span.unwrap();
    assert_eq!((first.0, upto), (seq + 1, whole.span.unwrap().1));
    assert!(tail.figures.batches < whole.figures.batches);
    assert!(tail.figures.checkpoints > 0, "state roots go on from it");
}

#[test]
fn a_committee_that_makes_and_renews_its_own_keys_recorded_what_holds() {
    let (parameters, config) = (Parameters::default(), EngineConfig::default());
    let plan = (40, Some(3 * SECOND));
    let mut world = World::generating(4, parameters, config, plan, true);
    let has_key = |world: &World, epoch: u32| {
        let of = |at: usize| world.nodes[at].engine.keys().newest().cloned();
        let newest = (0..4).map(of);
        newest
            .into_iter()
            .all(|key| key.is_some_and(|key| key.sealing.epoch().0 >= epoch))
    };
    for epoch in 1..=3 {
        assert!(world.run_until(60 * SECOND, |world| has_key(world, epoch)));
        let key = world.nodes[0].engine.keys().newest().unwrap();
        world.key = std::sync::Arc::new(key.sealing.clone());
        let first = 100 * u64::from(epoch);
        load(&mut world, first..first + 30);
        world.run_for(SECOND / 2);
    }
    for at in 0..4 {
        let mut known = Known::of(&world, at);
        known.dealt = None;
        let journal = &world.nodes[usize::from(at)].journal;
        let verified = known.verify(journal).unwrap();
        assert_eq!(verified.figures.entries, 90);
    }
}
