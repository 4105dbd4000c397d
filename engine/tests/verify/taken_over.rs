//! Journals of nodes that had been away, or begin with a snapshot: what cannot be recomputed is vouched for, or found.

use std::sync::Arc;

use fairlane_engine::batch::{BatchHeader, HEADER_LEN, Outcome};
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::{Record, SnapshotPart};
use fairlane_engine::engine::snapshot::newest_snapshot;
use fairlane_engine::types::AuthorityIndex;
use fairlane_engine::verify::{Rule, TrustedFrom};

use crate::common::World;
use crate::edit::{Batch, batch_at, change_bytes, find, relink};
use crate::{Known, SECOND, load};

const AWAY: u8 = 3;

fn parameters() -> Parameters {
    Parameters {
        gc_depth_rounds: 8,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    }
}

/// Node 3 was away for longer than the others keep vertices, and has come back.
fn after_being_away() -> World {
    let config = EngineConfig {
        heartbeat_us: 1_000,
        leader_timeout_us: 1_500,
        round_interval_us_min: 500,
        ..EngineConfig::default()
    };
    let mut world = World::new(4, parameters(), config);
    load(&mut world, 0..20);
    world.run_for(SECOND / 10);
    world.part(usize::from(AWAY));
    load(&mut world, 20..60);
    let upto = world.nodes[0].engine.round().plus(1_000);
    assert!(world.run_until(20 * SECOND, |world| world.nodes[0].engine.round() >= upto));
    world.join(usize::from(AWAY));
    world.run_for(SECOND / 2);
    load(&mut world, 60..80);
    world.run_for(SECOND / 2);
    assert_eq!(world.nodes[3].engine.counters().states_taken, 1);
    world
}

fn state_at(records: &[Record]) -> usize {
    find(records, 0, |record| matches!(record, Record::State(_)))
}

#[test]
fn what_a_node_took_over_is_said_and_vouched_for_and_the_rest_is_recomputed() {
    let world = after_being_away();
    let known = Known::of(&world, AWAY);
    let verified = known.verify(&world.nodes[3].journal).unwrap();
    let [trusted] = verified.trusted[..] else {
        panic!("{:?}", verified.trusted);
    };
    assert_eq!(
        (trusted.from, trusted.is_vouched),
        (TrustedFrom::Peer, true)
    );
    let figures = verified.figures;
    assert!(figures.batches_taken > 3 && figures.batches > 3);
    assert!(figures.entries_taken >= 20 && figures.entries >= 30);
    assert_eq!(figures.entries + figures.entries_taken, 80);
    assert_eq!(
        verified.vouched,
        verified.span.unwrap().1.min(verified.vouched)
    );
}

#[test]
fn whoever_tampers_with_what_was_taken_over_is_found() {
    let world = after_being_away();
    let known = Known::of(&world, AWAY);
    let journal = &world.nodes[3].journal;
    let at = state_at(journal);
    let header = BatchHeader::decode(&journal[at].body()[..HEADER_LEN]).unwrap();
    let fetched = (0..header.seq.0).rev().find(|seq| {
        let batch = Batch::read(&journal[batch_at(journal, *seq)]).unwrap();
        batch
            .entries
            .iter()
            .any(|entry| matches!(entry.outcome, Outcome::Revealed { .. }))
    });
    let fetched = fetched.unwrap();
    let expect = |name: &str, rule: Rule, change: &dyn Fn(&mut Vec<Record>)| {
        let mut records = journal.clone();
        change(&mut records);
        let fault = known.verify(&records).expect_err(name);
        assert_eq!(fault.rule, rule, "{name}: {fault:?}");
    };
    expect("a byte of the state", Rule::State, &|records| {
        change_bytes(&mut records[at], |bytes| bytes[HEADER_LEN + 60] ^= 1);
    });
    expect("the state's header", Rule::Chain, &|records| {
        change_bytes(&mut records[at], |bytes| bytes[101] ^= 1);
    });
    expect("a fetched batch", Rule::Archive, &|records| {
        let at = batch_at(records, fetched);
        let mut batch = Batch::read(&records[at]).unwrap();
        batch.payload[0] ^= 1;
        records[at] = batch.write();
    });
    expect("a fetched batch left out", Rule::Chain, &|records| {
        records.remove(batch_at(records, fetched));
    });
    // All that can be made to fit is made to fit; but not what others have signed.
    expect(
        "a fetched batch, and the state's header",
        Rule::Settled,
        &|records| {
            let place = batch_at(records, fetched);
            let mut batch = Batch::read(&records[place]).unwrap();
            batch.payload[0] ^= 1;
            batch.seal_up();
            records[place] = batch.write();
            relink(records);
            let checkpoint = &records[batch_at(records, header.seq.0)].body()[..HEADER_LEN];
            let checkpoint = checkpoint.to_vec();
            change_bytes(&mut records[at], |bytes| {
                bytes[..HEADER_LEN].copy_from_slice(&checkpoint);
            });
        },
    );
}

#[test]
fn a_void_entry_without_share_messages_is_no_fault_once_its_batch_is_vouched_for() {
    let mut world = crate::world();
    load(&mut world, 0..40);
    world.run_for(SECOND);
    let known = Known::of(&world, 1);
    let mut records = world.nodes[1].journal.clone();
    records.retain(|record| !matches!(record, Record::Share(_)));
    let verified = known.verify(&records).unwrap();
    assert!(verified.figures.void > 0);
    assert_eq!(verified.figures.void_vouched, verified.figures.void);
}

/// A journal with snapshots, of node 1.
fn with_snapshots() -> (World, Vec<Arc<[u8]>>) {
    let config = EngineConfig {
        heartbeat_us: 2_000,
        leader_timeout_us: 4_000,
        snapshot_bytes: 20_000,
        ..EngineConfig::default()
    };
    let mut world = World::new(4, parameters(), config);
    load(&mut world, 0..40);
    world.run_for(2 * SECOND);
    let snapshot = newest_snapshot(&world.nodes[1].journal).unwrap();
    (world, snapshot)
}

#[test]
fn whoever_tampers_with_a_snapshot_is_found() {
    let (world, snapshot) = with_snapshots();
    let known = Known::of(&world, 1);
    let journal = &world.nodes[1].journal;
    let first = SnapshotPart::decode(&snapshot[0]).unwrap();
    let changed = |change: &dyn Fn(&mut SnapshotPart<'_>, &mut Vec<u8>)| -> Vec<Arc<[u8]>> {
        let (mut part, mut bytes) = (first, first.bytes.to_vec());
        change(&mut part, &mut bytes);
        part.bytes = &bytes;
        vec![part.encode().into()]
    };
    assert_eq!(first.of, 1);
    let state = changed(&|_, bytes| *bytes.last_mut().unwrap() ^= 1);
    let own = changed(&|_, bytes| bytes[40] ^= 1);
    let header = changed(&|part, _| part.header.payload_root.0[0] ^= 1);
    for (name, parts, rule) in [
        ("its state", &state, Rule::State),
        ("its own vertex", &own, Rule::Snapshot),
        ("its header", &header, Rule::Snapshot),
    ] {
        let mut records = journal.clone();
        let at = find(&records, 0, |record| record.body() == &snapshot[0]);
        records[at] = Record::Snapshot(parts[0].clone());
        let fault = known.verify(&records).expect_err(name);
        assert_eq!(fault.rule, rule, "{name}: {fault:?}");
        let started = known.verify_tail(journal, parts);
        // Where the chain before it is gone, others have signed what its header is.
        let rule = if rule == Rule::Snapshot && name == "its header" {
            Rule::Settled
        } else {
            rule
        };
        assert_eq!(started.expect_err(name).rule, rule, "{name}");
    }
    let mut other = known;
    other.own = AuthorityIndex(2);
    let fault = other.verify_tail(journal, &snapshot).unwrap_err();
    assert_eq!(fault.rule, Rule::Snapshot);
}
