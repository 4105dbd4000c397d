//! A settlement that stands still bounds memory: commits are held back, rounds come to a stand, and all is settled later.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::engine::Footprint;

const SECOND: u64 = 1_000_000;
const UNOPENED_MAX: u32 = 12;

/// A committee with a short memory, whose rounds run on also when there is nothing to order.
fn world() -> World {
    let parameters = Parameters {
        gc_depth_rounds: 8,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 1_000,
        leader_timeout_us: 1_500,
        round_interval_us_min: 500,
        unopened_max: UNOPENED_MAX,
        ..EngineConfig::default()
    };
    World::new(4, parameters, config)
}

/// Rounds above its last anchor in which a full node proposes: G and two checkpoint intervals.
const WINDOW_ROUNDS: u64 = 8 + 2 * 16;

/// Offers an envelope every 5 ms to all; gives the next id.
fn load(world: &mut World, ids: std::ops::Range<u64>) -> u64 {
    for id in ids.clone() {
        let envelope = world.sealed(id, 60 * SECOND);
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), 0);
        }
        world.run_for(5_000);
    }
    ids.end
}

fn settled(world: &World, at: usize) -> usize {
    world.nodes[at].settled.hashes.len()
}

/// All have settled the same, and what anybody accepted is in it, once.
fn assert_all_is_settled(world: &World, accepted_at_least: usize) {
    let first = &world.nodes[0].settled;
    for node in &world.nodes {
        let len = node.settled.hashes.len().min(first.hashes.len());
        assert_eq!(node.settled.hashes[..len], first.hashes[..len]);
        assert_eq!(node.settled.digests, first.digests);
        let accepted = node.acks.iter().filter(|(_, accepted)| *accepted).count();
        assert!(accepted >= accepted_at_least, "{accepted}");
        assert!(
            first.digests.len() >= accepted,
            "{} of {accepted} are settled",
            first.digests.len()
        );
        let counters = node.engine.counters();
        assert_eq!((counters.forks, counters.divergence), (0, 0));
    }
    let mut digests = first.digests.clone();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), first.digests.len(), "each once");
}

#[test]
fn while_f_plus_1_withhold_their_shares_nothing_grows_and_then_all_is_settled() {
    let mut world = world();
    let mut id = load(&mut world, 0..10);
    world.without_shares = vec![2, 3];
    id = load(&mut world, id..id + 100);
    let footprints = |world: &World| -> Vec<Footprint> {
        let nodes = world.nodes.iter();
        nodes.map(|node| node.engine.footprint()).collect()
    };
    let rounds = |world: &World| -> Vec<u64> {
        let nodes = world.nodes.iter();
        nodes.map(|node| node.engine.round().0).collect()
    };
    let (early, early_rounds) = (footprints(&world), rounds(&world));
    let records: Vec<usize> = world.nodes.iter().map(|node| node.journal.len()).collect();
    let stood: Vec<usize> = (0..4).map(|at| settled(&world, at)).collect();
    // Twenty thousand rounds' time, were they not at a stand.
    id = load(&mut world, id..id + 400);
    world.run_for(8 * SECOND);
    for at in 0..4 {
        let node = &world.nodes[at];
        assert_eq!(settled(&world, at), stood[at], "nothing opens");
        assert!(node.engine.is_paused() && node.engine.counters().pauses > 0);
        let most = 2 * (WINDOW_ROUNDS as usize) * 4;
        let held = early[at];
        assert!(held.batches_active + held.emissions <= 2 * UNOPENED_MAX as usize);
        assert!(held.vertices <= most, "{held:?}");
        let late = node.engine.footprint();
        for ((name, early), (_, late)) in early[at].named().zip(late.named()) {
            assert!(late <= early, "{name} has grown from {early} to {late}");
        }
        assert_eq!(node.engine.round().0, early_rounds[at], "no round goes by");
        assert_eq!(node.journal.len(), records[at], "no record is written");
        let refused = node.acks.iter().filter(|(_, accepted)| !accepted).count();
        assert!(refused >= 400, "clients are told to come back: {refused}");
    }

    world.without_shares.clear();
    world.run_for(2 * SECOND);
    load(&mut world, id..id + 20);
    world.run_for(SECOND);
    assert_all_is_settled(&world, 40);
    let states: u64 = (0..4)
        .map(|at| world.nodes[at].engine.counters().states_taken)
        .sum();
    assert_eq!(states, 0, "what was missing came");
}

/// Those who were full before a crash are full after it, commit nothing further, and lose nothing.
#[test]
fn a_full_committee_that_restarts_again_and_again_is_as_full_as_before() {
    let mut world = world();
    let mut id = load(&mut world, 0..10);
    world.without_shares = vec![2, 3];
    id = load(&mut world, id..id + 100);
    let anchors = |world: &World| -> Vec<usize> {
        use fairlane_engine::effect::Record;
        let is_anchor = |record: &&Record| matches!(record, Record::Anchor(_));
        let nodes = world.nodes.iter();
        nodes
            .map(|node| node.journal.iter().filter(is_anchor).count())
            .collect()
    };
    let before = anchors(&world);
    for _ in 0..5 {
        for at in 0..4 {
            let durable = world.nodes[at].durable as usize;
            world.restart(at, durable);
        }
        id = load(&mut world, id..id + 20);
        for at in 0..4 {
            let held = world.nodes[at].engine.footprint();
            assert!(held.batches_active + held.emissions <= 2 * UNOPENED_MAX as usize);
        }
    }
    assert_eq!(anchors(&world), before);
    world.without_shares.clear();
    world.run_for(2 * SECOND);
    load(&mut world, id..id + 20);
    world.run_for(SECOND);
    assert_all_is_settled(&world, 30);
}

/// No share reaches one node, ever: it goes on by what the others have settled.
#[test]
fn one_that_never_gets_a_share_takes_what_others_have_settled() {
    let mut world = world();
    world.lost_shares_to = Some(3);
    let id = load(&mut world, 0..600);
    world.run_for(SECOND);
    let counters = *world.nodes[3].engine.counters();
    assert!(
        counters.states_taken > 0 && counters.pauses > 0,
        "{counters:?}"
    );
    assert!(settled(&world, 3) > 300, "{} batches", settled(&world, 3));
    let held = world.nodes[3].engine.footprint();
    assert!(held.batches_active + held.emissions <= 2 * UNOPENED_MAX as usize);
    world.lost_shares_to = None;
    load(&mut world, id..id + 5);
    world.run_for(SECOND);
    assert_all_is_settled(&world, 500);
}
