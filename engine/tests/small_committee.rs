//! A small committee in one process, from submission to opened batch.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use std::collections::BTreeSet;

use common::{START, World};
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::{Record, header_of_batch};
use fairlane_engine::evidence::{Evidence, EvidenceKind};
use fairlane_engine::seal::ShareMessage;
use fairlane_engine::types::AuthorityIndex;

const SECOND: u64 = 1_000_000;

fn world(n: u8) -> World {
    World::new(n, Parameters::default(), EngineConfig::default())
}

/// Submits `count` envelopes to everybody, one every `gap_us`, and gives their payload ids.
fn load(world: &mut World, count: u64, gap_us: u64) {
    load_from(world, 0, count, gap_us);
}

/// As [`load`], with ids from `first`.
fn load_from(world: &mut World, first: u64, count: u64, gap_us: u64) {
    for at in 0..count {
        let id = first + at;
        let envelope = world.sealed(id, 30 * SECOND);
        for to in 0..world.nodes.len() {
            world.submit(to, id, envelope.clone(), at * gap_us + to as u64 % 3);
        }
    }
}

fn assert_agreement(world: &World, alive: &[usize]) {
    let first = &world.nodes[alive[0]].settled;
    for at in alive {
        assert_eq!(&world.nodes[*at].settled, first, "node {at}");
    }
}

#[test]
fn every_committee_size_settles_all_it_accepted_in_the_same_batches() {
    for n in [1, 2, 3, 4, 5, 7] {
        let mut world = world(n);
        load(&mut world, 60, 700);
        world.run_for(2 * SECOND);
        let all: Vec<usize> = (0..n as usize).collect();
        assert_agreement(&world, &all);
        let settled = &world.nodes[0].settled;
        assert_eq!(settled.digests.len(), 60, "n = {n}");
        let ids: Vec<u64> = settled
            .payloads
            .iter()
            .map(|payload| u64::from_be_bytes(payload.as_deref().unwrap().try_into().unwrap()))
            .collect();
        assert_eq!(
            ids,
            (0..60).collect::<Vec<_>>(),
            "received 700 us apart, so in that order"
        );
        for node in &world.nodes {
            assert_eq!(
                node.acks.iter().filter(|(_, accepted)| *accepted).count(),
                60
            );
            assert_eq!((node.receipts, node.ordered), (60, 60));
            assert!(node.engine.is_drained());
        }
    }
}

#[test]
fn open_and_sealed_envelopes_share_batches_and_each_keeps_its_place() {
    let mut world = world(4);
    for id in 0..20 {
        let envelope = if id % 2 == 0 {
            world.open_envelope(id, 30 * SECOND)
        } else {
            world.sealed(id, 30 * SECOND)
        };
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), id * 2_000);
        }
    }
    world.run_for(SECOND);
    assert_agreement(&world, &[0, 1, 2, 3]);
    let payloads = &world.nodes[0].settled.payloads;
    let ids: Vec<u64> = payloads
        .iter()
        .map(|payload| u64::from_be_bytes(payload.as_deref().unwrap().try_into().unwrap()))
        .collect();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
}

#[test]
fn f_crashed_authorities_stop_nothing() {
    for (n, crashed) in [(4, vec![1]), (5, vec![4]), (7, vec![0, 3])] {
        let mut world = world(n);
        load(&mut world, 100, 3_000);
        world.run_for(100_000);
        for at in &crashed {
            world.kill(*at);
        }
        world.run_for(4 * SECOND);
        let alive: Vec<usize> = (0..n as usize).filter(|at| !crashed.contains(at)).collect();
        assert_agreement(&world, &alive);
        assert_eq!(world.nodes[alive[0]].settled.digests.len(), 100, "n = {n}");
    }
}

/// Own vertices that each of those alive made by timeout since the last call.
fn timeouts(world: &World, alive: &[usize], before: &mut Vec<u64>) -> Vec<u64> {
    let made = |at: &usize| world.nodes[*at].engine.counters().vertices_by_timeout;
    let now: Vec<u64> = alive.iter().map(made).collect();
    let since = now
        .iter()
        .zip(before.iter())
        .map(|(now, before)| now - before);
    let since = since.collect();
    *before = now;
    since
}

#[test]
fn a_crashed_leader_costs_one_timeout_and_not_one_a_rotation() {
    for (n, crashed) in [(4u8, vec![2]), (5, vec![4]), (7, vec![3]), (7, vec![2, 3])] {
        let mut world = world(n);
        let alive: Vec<usize> = (0..n as usize).filter(|at| !crashed.contains(at)).collect();
        let mut before = vec![0; alive.len()];
        load(&mut world, 100, 10_000);
        world.run_for(SECOND / 5);
        timeouts(&world, &alive, &mut before);
        let round = world.nodes[alive[0]].engine.round();
        for at in &crashed {
            world.kill(*at);
        }
        world.run_for(SECOND);
        let rounds = world.nodes[alive[0]].engine.round().0 - round.0;
        assert!(rounds > 200, "{rounds} rounds, many rotations");
        let since = timeouts(&world, &alive, &mut before);
        assert!(
            since.iter().all(|times| *times <= crashed.len() as u64),
            "n = {n}: {since:?}"
        );
        let out = world.nodes[alive[0]].engine.leaders_out();
        let expected: Vec<usize> = out.iter().map(|author| author.as_usize()).collect();
        assert_eq!(expected, crashed);
        assert_eq!(world.nodes[alive[0]].settled.digests.len(), 100, "n = {n}");
        assert_agreement(&world, &alive);
    }
}

#[test]
fn an_authority_that_was_cut_off_leads_again_once_it_delivers() {
    let mut world = world(4);
    load(&mut world, 600, 2_000);
    world.run_for(200_000);
    let links: Vec<(usize, usize)> = (0..3).flat_map(|peer| [(peer, 3), (3, peer)]).collect();
    world.cut.extend(&links);
    world.run_for(SECOND / 4);
    let out = world.nodes[0].engine.leaders_out();
    assert!(out.contains(AuthorityIndex(3)) && out.len() == 1);
    world.cut.clear();
    world.run_for(SECOND / 2);
    assert!(world.nodes[0].engine.leaders_out().is_empty());
    let mut before = vec![0; 4];
    timeouts(&world, &[0, 1, 2, 3], &mut before);
    world.run_for(SECOND / 2);
    assert_eq!(timeouts(&world, &[0, 1, 2, 3], &mut before), [0; 4]);
    assert_agreement(&world, &[0, 1, 2]);
    let (behind, ahead) = (&world.nodes[3].settled, &world.nodes[0].settled);
    assert!(
        ahead.hashes.starts_with(&behind.hashes),
        "it still asks for shares"
    );
}

#[test]
fn an_envelope_given_to_one_authority_is_fetched_by_the_others_and_settled_everywhere() {
    let mut world = world(5);
    let envelope = world.sealed(1, 30 * SECOND);
    world.submit(3, 1, envelope, 0);
    world.run_for(SECOND);
    assert_agreement(&world, &[0, 1, 2, 3, 4]);
    assert_eq!(world.nodes[0].settled.digests.len(), 1);
    assert_eq!(world.nodes[0].engine.counters().fetched, 1);
}

#[test]
fn a_resent_envelope_gets_its_receipt_again_and_a_settled_one_is_a_duplicate() {
    let mut world = world(4);
    let envelope = world.sealed(1, 30 * SECOND);
    world.submit(0, 1, envelope.clone(), 0);
    world.submit(0, 2, envelope.clone(), 3_000);
    world.run_for(SECOND);
    world.submit(0, 3, envelope, 0);
    world.run_for(SECOND);
    let node = &world.nodes[0];
    assert_eq!(node.receipts, 2);
    let accepted: Vec<bool> = node.acks.iter().map(|(_, accepted)| *accepted).collect();
    assert_eq!(accepted, [true, true, false]);
    assert_eq!(node.settled.digests.len(), 1);
}

#[test]
fn lost_messages_are_recovered_by_fetching() {
    let mut world = world(4);
    // What 0 sends never reaches 2 directly, nor what 1 sends 3.
    world.cut.extend([(0, 2), (1, 3)]);
    load(&mut world, 50, 2_000);
    world.run_for(5 * SECOND);
    assert_agreement(&world, &[0, 1, 2, 3]);
    assert_eq!(world.nodes[2].settled.digests.len(), 50);
}

#[test]
fn a_round_whose_vertices_were_all_lost_is_sent_again() {
    let mut world = world(4);
    load(&mut world, 100, 2_000);
    world.run_for(50_000);
    // Everything is lost for a while, and no link notices.
    let all: Vec<(usize, usize)> = (0..4)
        .flat_map(|from| (0..4).map(move |to| (from, to)))
        .collect();
    world.cut.extend(&all);
    world.run_for(40_000);
    world.cut.clear();
    world.run_for(5 * SECOND);
    assert_agreement(&world, &[0, 1, 2, 3]);
    assert_eq!(world.nodes[0].settled.digests.len(), 100);
    assert!(world.nodes[0].engine.counters().resends > 0);
}

#[test]
fn a_partitioned_authority_catches_up_after_it_heals() {
    let mut world = world(4);
    load(&mut world, 200, 5_000);
    let links: Vec<(usize, usize)> = (0..3).flat_map(|peer| [(peer, 3), (3, peer)]).collect();
    world.run_for(100_000);
    world.cut.extend(&links);
    world.run_for(SECOND / 2);
    assert!(world.nodes[3].settled.digests.len() < world.nodes[0].settled.digests.len());
    world.cut.clear();
    world.run_for(5 * SECOND);
    assert_agreement(&world, &[0, 1, 2, 3]);
    assert_eq!(world.nodes[3].settled.digests.len(), 200);
}

#[test]
fn who_was_away_while_envelopes_settled_and_expired_still_gets_their_bytes() {
    let mut world = world(4);
    let links: Vec<(usize, usize)> = (0..3).flat_map(|peer| [(peer, 3), (3, peer)]).collect();
    world.cut.extend(&links);
    for id in 0..20 {
        let envelope = world.open_envelope(id, 3 * SECOND);
        for to in 0..3 {
            world.submit(to, id, envelope.clone(), id * 2_000);
        }
    }
    world.run_for(12 * SECOND);
    assert_eq!(world.nodes[0].settled.digests.len(), 20);
    assert!(world.nodes[0].engine.consensus_time() > START.plus_us(4 * SECOND));
    world.cut.clear();
    world.run_for(10 * SECOND);
    assert_agreement(&world, &[0, 1, 2, 3]);
}

#[test]
fn an_idle_committee_only_beats_its_heart() {
    let mut world = world(4);
    world.run_for(10 * SECOND);
    for node in &world.nodes {
        let made = node.engine.counters().vertices_made;
        assert!(
            (5..=20).contains(&made),
            "{made} vertices in ten idle seconds"
        );
    }
}

#[test]
fn the_same_inputs_give_the_same_batches_byte_for_byte() {
    let run = || {
        let mut world = world(4);
        load(&mut world, 40, 900);
        world.run_for(SECOND);
        (
            world.nodes[1].settled.clone(),
            world.nodes[1].journal.clone(),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn an_envelope_that_expires_before_a_quorum_lists_it_is_dropped_everywhere() {
    let mut world = world(4);
    // Only node 3 has it, and nobody hears of it from node 3 in time.
    let links: Vec<(usize, usize)> = (0..3).flat_map(|peer| [(peer, 3), (3, peer)]).collect();
    world.cut.extend(&links);
    let envelope = world.sealed(1, 3 * SECOND);
    world.submit(3, 1, envelope, 0);
    world.run_for(5 * SECOND);
    world.cut.clear();
    world.run_for(5 * SECOND);
    for node in &world.nodes {
        assert_eq!(node.settled.digests.len(), 0);
    }
    assert_agreement(&world, &[0, 1, 2, 3]);
}

#[test]
fn wrong_shares_of_f_authorities_change_no_outcome_and_are_found() {
    let mut world = world(4);
    // Authority 3 gives shares of another secret: well formed, and signed.
    world.corrupt_shares_of = Some(3);
    load(&mut world, 40, 3_000);
    let garbage = world.garbage(99, 30 * SECOND);
    for to in 0..4 {
        world.submit(to, 99, garbage.clone(), 10_000);
    }
    world.run_for(3 * SECOND);
    assert_agreement(&world, &[0, 1, 2]);
    let payloads = &world.nodes[0].settled.payloads;
    assert_eq!(payloads.len(), 41);
    assert_eq!(
        payloads.iter().filter(|payload| payload.is_none()).count(),
        1,
        "one is void"
    );
    let found: u64 = (0..3)
        .map(|at| world.nodes[at].engine.counters().shares_bad_proof)
        .sum();
    assert!(found >= 1, "somebody used one of them");
    let mut proven = 0;
    for node in &world.nodes {
        let kept: Vec<&Evidence> = node.engine.evidence().iter().collect();
        let recorded = node.journal.iter().filter_map(|record| match record {
            Record::Evidence(bytes) => Some(Evidence::decode(bytes).unwrap()),
            _ => None,
        });
        let recorded: Vec<Evidence> = recorded.collect();
        assert_eq!(recorded.iter().collect::<Vec<_>>(), kept, "each piece once");
        for evidence in recorded {
            let accused = (evidence.author(), evidence.kind());
            assert_eq!(accused, (AuthorityIndex(3), EvidenceKind::BadShare));
            evidence.check(&world.committee, &world.key).unwrap();
            proven += 1;
        }
    }
    assert!(proven >= 1, "whoever used one keeps the proof");
}

#[test]
fn an_envelope_whose_content_is_garbage_is_void_on_every_node_and_stalls_nothing() {
    let mut world = world(5);
    load(&mut world, 20, 1_000);
    for id in 0..3 {
        let garbage = world.garbage(1_000 + id, 30 * SECOND);
        for to in 0..5 {
            world.submit(to, 1_000 + id, garbage.clone(), 5_000 * id);
        }
    }
    world.run_for(2 * SECOND);
    assert_agreement(&world, &[0, 1, 2, 3, 4]);
    let payloads = &world.nodes[0].settled.payloads;
    assert_eq!(
        (payloads.len(), payloads.iter().flatten().count()),
        (23, 20)
    );
    for node in &world.nodes {
        assert_eq!(
            node.engine.counters().shares_bad_proof,
            0,
            "nobody is blamed for it"
        );
    }
}

#[test]
fn a_batch_with_void_entries_is_recorded_behind_a_quorums_share_messages_and_no_other_is() {
    let mut world = world(4);
    load(&mut world, 20, 1_000);
    for to in 0..4 {
        let garbage = world.garbage(1_000, 30 * SECOND);
        world.submit(to, 1_000, garbage, 5_000);
    }
    world.corrupt_shares_of = Some(3);
    world.run_for(2 * SECOND);
    for node in &world.nodes[..3] {
        let (mut before, mut with_void) = (Vec::new(), 0);
        for record in &node.journal {
            match record {
                Record::Share(bytes) => before.push(ShareMessage::decode(bytes).unwrap()),
                Record::Batch(bytes) => {
                    let header = header_of_batch(bytes).unwrap();
                    let authors: BTreeSet<_> = before.iter().map(|of| of.author).collect();
                    let wanted = if header.void > 0 { 3 } else { 0 };
                    assert_eq!((before.len(), authors.len()), (wanted, wanted));
                    let is_of_it = |of: &ShareMessage| {
                        (of.seq, of.order_root) == (header.seq, header.order_root)
                    };
                    assert!(before.iter().all(is_of_it), "of this batch");
                    with_void += u32::from(header.void > 0);
                    before.clear();
                }
                _ => {}
            }
        }
        assert_eq!(with_void, 1);
    }
}

#[test]
fn an_envelope_that_nobody_listed_cannot_be_pushed_by_a_peer() {
    let mut world = world(4);
    let envelope = world.sealed(1, 30 * SECOND);
    world.push_envelope(3, 0, envelope);
    world.run_for(SECOND);
    let counters = world.nodes[0].engine.counters();
    assert_eq!((counters.accepted, counters.peer_envelopes_unasked), (0, 1));
    assert_eq!(world.nodes[0].settled.digests.len(), 0);
}

#[test]
fn a_committee_far_apart_stays_live_and_learns_how_long_to_wait() {
    let mut world = world(5);
    world.delay_us = 150_000;
    load(&mut world, 100, 100_000);
    world.run_for(15 * SECOND);
    let mut before = vec![0; 5];
    let early = timeouts(&world, &[0, 1, 2, 3, 4], &mut before);
    load_from(&mut world, 100, 100, 100_000);
    world.run_for(15 * SECOND);
    assert_agreement(&world, &[0, 1, 2, 3, 4]);
    assert_eq!(world.nodes[0].settled.digests.len(), 200);
    let late = timeouts(&world, &[0, 1, 2, 3, 4], &mut before);
    assert_eq!(late, [0; 5], "it has learnt, after {early:?}");
}
