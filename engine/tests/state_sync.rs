//! A node that was away for longer than anybody keeps vertices: takes over a checkpoint, fills the gap, takes part again.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::sync::part::{Item, Part};

const SECOND: u64 = 1_000_000;
const AWAY: usize = 3;

/// A short memory.
fn parameters() -> Parameters {
    Parameters {
        gc_depth_rounds: 8,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    }
}

/// Rounds run on also when there is nothing to order.
fn config() -> EngineConfig {
    EngineConfig {
        heartbeat_us: 1_000,
        leader_timeout_us: 1_500,
        round_interval_us_min: 500,
        ..EngineConfig::default()
    }
}

fn world() -> World {
    World::new(4, parameters(), config())
}

/// One envelope every `gap_us`, to all that are there.
fn load(world: &mut World, ids: std::ops::Range<u64>, gap_us: u64) {
    let first = ids.start;
    for id in ids {
        let envelope = match id % 4 {
            0 => world.sealed(id, 30 * SECOND),
            _ => world.open_envelope(id, 30 * SECOND),
        };
        let linked: Vec<usize> = (0..4).filter(|to| world.is_linked(*to)).collect();
        for to in linked {
            world.submit(to, id, envelope.clone(), (id - first) * gap_us + to as u64);
        }
    }
}

/// Runs until node 0 is `rounds` further.
fn run_rounds(world: &mut World, rounds: u64) {
    let upto = world.nodes[0].engine.round().plus(rounds);
    let limit = rounds * 20_000;
    assert!(world.run_until(limit, |world| world.nodes[0].engine.round() >= upto));
}

/// After a rest all hold the same chain, node 3 among them.
fn assert_one_chain(world: &mut World, envelopes: usize) {
    world.run_for(SECOND / 2);
    let shortest = world
        .nodes
        .iter()
        .map(|node| node.settled.hashes.len())
        .min();
    let (shortest, first) = (shortest.unwrap(), &world.nodes[0].settled);
    assert!(first.hashes.len() - shortest < 20, "nobody is left behind");
    for node in &world.nodes {
        assert_eq!(node.settled.hashes[..shortest], first.hashes[..shortest]);
        assert_eq!(
            node.settled.digests.len(),
            envelopes,
            "every envelope, once"
        );
        assert_eq!(node.settled.digests, first.digests);
        assert_eq!(node.settled.payloads, first.payloads);
        let counters = node.engine.counters();
        assert_eq!((counters.forks, counters.divergence), (0, 0));
    }
}

/// Node 3 is away for `rounds`, in which others settle; gives the world in which it has just come back.
fn after_being_away(rounds: u64) -> (World, u64) {
    let mut world = world();
    load(&mut world, 0..20, 2_000);
    world.run_for(SECOND / 10);
    world.part(AWAY);
    load(&mut world, 20..60, 3_000);
    run_rounds(&mut world, rounds);
    assert!(world.nodes[AWAY].settled.hashes.len() < world.nodes[0].settled.hashes.len());
    world.join(AWAY);
    (world, 60)
}

fn takes_part(world: &mut World, id: u64) {
    let before = world.nodes[AWAY].engine.counters().vertices_made;
    // Nobody else has it: that it is settled shows that node 3's vertices are committed.
    let envelope = world.sealed(id, 30 * SECOND);
    world.submit(AWAY, id, envelope, 10_000);
    world.run_for(SECOND / 4);
    assert!(world.nodes[AWAY].engine.counters().vertices_made > before + 50);
}

#[test]
fn a_node_that_was_away_for_ten_thousand_rounds_settles_the_same_chain_and_proposes_again() {
    let (mut world, envelopes) = after_being_away(10_000);
    world.run_for(SECOND);
    takes_part(&mut world, envelopes);
    assert_one_chain(&mut world, envelopes as usize + 1);
    let counters = world.nodes[AWAY].engine.counters();
    assert_eq!(counters.states_taken, 1);
    assert!(counters.batches_fetched > 100, "{counters:?}");
    assert_eq!(counters.sync_parts_bad, 0);
}

#[test]
fn one_that_was_away_for_less_than_the_window_asks_for_rounds_alone() {
    let (mut world, envelopes) = after_being_away(20);
    takes_part(&mut world, envelopes);
    assert_one_chain(&mut world, envelopes as usize + 1);
    assert_eq!(world.nodes[AWAY].engine.counters().states_taken, 0);
}

#[test]
fn distances_around_the_window_are_all_bridged() {
    for rounds in (20..140).step_by(8) {
        let (mut world, envelopes) = after_being_away(rounds);
        takes_part(&mut world, envelopes);
        assert_one_chain(&mut world, envelopes as usize + 1);
    }
}

/// Away again and again, and each time its disk loses what was not durable.
#[test]
fn a_node_that_crashes_while_it_catches_up_goes_on_from_its_records() {
    for after_us in (2_000..60_000).step_by(4_321) {
        let (mut world, envelopes) = after_being_away(150);
        world.run_for(after_us);
        let durable = world.nodes[AWAY].durable as usize;
        world.restart(AWAY, durable);
        takes_part(&mut world, envelopes);
        let all = world.nodes[AWAY].journal.len();
        world.restart(AWAY, all);
        assert_one_chain(&mut world, envelopes as usize + 1);
    }
}

/// While all peers lie nothing is taken; when one of them stops to, it is found.
fn assert_lies_are_refused(lie: fn(Part) -> Part) {
    for honest in 0..3 {
        let (mut world, envelopes) = after_being_away(200);
        (world.liars, world.lie) = (vec![0, 1, 2], lie);
        world.run_for(SECOND / 5);
        let counters = world.nodes[AWAY].engine.counters();
        assert!(counters.sync_parts_bad >= 3, "each was asked: {counters:?}");
        assert!(
            world.nodes[AWAY].settled.hashes.len() + 20 < world.nodes[0].settled.hashes.len(),
            "nothing wrong was settled, and nothing before what is missing"
        );
        world.liars.retain(|liar| *liar != honest);
        world.run_for(SECOND);
        takes_part(&mut world, envelopes);
        assert_one_chain(&mut world, envelopes as usize + 1);
        assert_eq!(world.nodes[AWAY].engine.counters().states_taken, 1);
    }
}

#[test]
fn a_wrong_state_is_refused_and_the_next_peer_asked() {
    assert_lies_are_refused(|mut part| {
        if matches!(part.want.item, Item::State(_)) && !part.bytes.is_empty() {
            let middle = part.bytes.len() / 2;
            part.bytes[middle] ^= 1;
        }
        part
    });
}

#[test]
fn a_wrong_header_in_a_proof_is_refused_and_the_next_peer_asked() {
    assert_lies_are_refused(|mut part| {
        if matches!(part.want.item, Item::Proof(_)) && !part.bytes.is_empty() {
            part.bytes[4 + 60] ^= 1;
        }
        part
    });
}

/// The headers are right, and only the liar itself vouches for them.
#[test]
fn a_proof_with_too_few_signatures_is_refused_and_the_next_peer_asked() {
    assert_lies_are_refused(|mut part| {
        if matches!(part.want.item, Item::Proof(_)) && !part.bytes.is_empty() {
            let headers = u32::from_be_bytes(part.bytes[..4].try_into().unwrap()) as usize;
            let signers_at = 4 + headers * 181;
            let signers = u32::from_be_bytes(part.bytes[signers_at..][..4].try_into().unwrap());
            assert_eq!(signers, 2, "f + 1 of four");
            part.bytes[signers_at + 3] = 1;
            part.bytes.drain(signers_at + 4..signers_at + 4 + 211);
            part.of_len = part.bytes.len() as u32;
        }
        part
    });
}

#[test]
fn a_wrong_batch_and_wrong_headers_are_refused_and_the_next_peer_asked() {
    assert_lies_are_refused(|mut part| {
        if matches!(part.want.item, Item::Batch(_) | Item::Headers(_)) && !part.bytes.is_empty() {
            let last = part.bytes.len() - 1;
            part.bytes[last / 2] ^= 1;
            part.bytes[last] ^= 1;
        }
        part
    });
}

#[test]
fn a_peer_that_has_nothing_or_says_nothing_sensible_keeps_nobody_away() {
    assert_lies_are_refused(|mut part| {
        part.of_len = u32::MAX;
        part
    });
}

/// Asked every 50 us: what is said fits what is settled, only grows, and ends when nothing is taken any more.
#[test]
fn a_node_that_catches_up_says_how_far_it_is_and_the_others_say_nothing() {
    let (mut world, envelopes) = after_being_away(1_000);
    let missed_from = world.nodes[AWAY].settled.hashes.len() as u64;
    let (mut states, mut spans) = (Vec::new(), Vec::new());
    for _ in 0..SECOND / 50 {
        world.run_for(50);
        for node in &world.nodes[..AWAY] {
            assert_eq!(node.engine.catch_up(), None, "they miss nothing");
        }
        let Some(said) = world.nodes[AWAY].engine.catch_up() else {
            continue;
        };
        if let Some((here, of)) = said.state_parts {
            assert!(here < of || (here, of) == (0, 0), "{here} of {of}");
            states.push((here, of));
        }
        if let Some((next, end)) = said.batches {
            assert_eq!(next.0, world.nodes[AWAY].settled.hashes.len() as u64);
            assert!(next < end);
            spans.push((next, end));
        }
    }
    assert_eq!(states.first(), Some(&(0, 0)), "it was asked for");
    assert!(spans.first().is_some_and(|(next, _)| next.0 == missed_from));
    assert!(spans.is_sorted() && spans.windows(2).all(|pair| pair[0].1 == pair[1].1));
    let steps = spans.chunk_by(|before, after| before == after).count();
    assert!(steps > 5, "{steps} steps of the gap were seen");
    assert_eq!(world.nodes[AWAY].engine.catch_up(), None, "it is there");
    takes_part(&mut world, envelopes);
    assert_one_chain(&mut world, envelopes as usize + 1);
    assert_eq!(world.nodes[AWAY].engine.counters().states_taken, 1);
}

/// The others keep next to nothing in memory and have all restarted meanwhile: every batch comes from a disk.
#[test]
fn one_that_missed_more_than_is_kept_in_memory_gets_every_batch_from_disks() {
    for batches_kept_max in [0, 5] {
        let config = EngineConfig {
            batches_kept_max,
            ..config()
        };
        let mut world = World::new(4, parameters(), config);
        load(&mut world, 0..20, 2_000);
        world.run_for(SECOND / 10);
        world.part(AWAY);
        load(&mut world, 20..260, 3_000);
        run_rounds(&mut world, 4_000);
        for at in 0..3 {
            let durable = world.nodes[at].durable as usize;
            world.restart(at, durable);
        }
        run_rounds(&mut world, 200);
        let missed = world.nodes[0].settled.hashes.len() - world.nodes[AWAY].settled.hashes.len();
        assert!(missed > 200, "{missed}");
        world.join(AWAY);
        world.run_for(SECOND);
        takes_part(&mut world, 260);
        assert_one_chain(&mut world, 261);
        let counters = *world.nodes[AWAY].engine.counters();
        assert_eq!((counters.states_taken, counters.sync_parts_bad), (1, 0));
        let loads = |at: usize| world.nodes[at].engine.counters().loads;
        let read: u64 = (0..3).map(loads).sum();
        assert!(read > missed as u64, "{read} readings for {missed} batches");
        for node in &world.nodes {
            let held = node.engine.footprint();
            assert!(held.batches_kept <= batches_kept_max as usize && held.loads_waiting == 0);
        }
    }
}

/// Journals that were shortened: who asks hears that it is not there, from everybody, and goes on asking now and then.
#[test]
fn what_no_disk_has_any_more_is_not_here_and_costs_little() {
    let config = EngineConfig {
        batches_kept_max: 0,
        ..config()
    };
    let mut world = World::new(4, parameters(), config);
    load(&mut world, 0..20, 2_000);
    world.run_for(SECOND / 10);
    world.part(AWAY);
    load(&mut world, 20..60, 3_000);
    run_rounds(&mut world, 2_000);
    world.are_disks_shortened = true;
    world.join(AWAY);
    world.run_for(SECOND);
    let before = *world.nodes[AWAY].engine.counters();
    let settled = world.nodes[AWAY].settled.hashes.len();
    world.run_for(2 * SECOND);
    let counters = *world.nodes[AWAY].engine.counters();
    assert_eq!((counters.states_taken, counters.sync_parts_bad), (1, 0));
    assert_eq!(
        world.nodes[AWAY].settled.hashes.len(),
        settled,
        "nothing is made up"
    );
    let asked = counters.sync_requests - before.sync_requests;
    assert!((1..=20).contains(&asked), "{asked} requests in 2 s");
    assert!(
        counters.vertices_made > before.vertices_made,
        "it takes part"
    );

    world.are_disks_shortened = false;
    world.run_for(4 * SECOND);
    assert_one_chain(&mut world, 60);
}
