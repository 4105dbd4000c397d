//! Shares and envelopes that nobody can give any more, asked for by a node that lags a little: it goes on by what the
//! others have settled, however little it is that waits.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;

const SECOND: u64 = 1_000_000;

fn world(gc_depth_rounds: u64, heartbeat_us: u64, snapshot_bytes: u64) -> World {
    let parameters = Parameters {
        gc_depth_rounds,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us,
        leader_timeout_us: 4_000,
        snapshot_bytes,
        ..EngineConfig::default()
    };
    World::new(4, parameters, config)
}

/// An envelope every 5 ms, to every node that is alive, valid for three seconds.
fn load(world: &mut World, ids: std::ops::Range<u64>) {
    for id in ids {
        let envelope = world.sealed(id, 3 * SECOND);
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), 0);
        }
        world.run_for(5_000);
    }
}

fn settled(world: &World, at: usize) -> usize {
    world.nodes[at].settled.digests.len()
}

fn assert_alike(world: &World, envelopes: usize) {
    for node in &world.nodes {
        assert_eq!(node.settled.digests.len(), envelopes);
        assert!(node.settled == world.nodes[0].settled, "the same, in order");
        let counters = node.engine.counters();
        assert_eq!((counters.forks, counters.divergence), (0, 0));
    }
}

/// All lose power; those who had opened start from a snapshot behind what one had not opened, and can give no share of it.
#[test]
fn shares_that_snapshots_have_left_behind() {
    let mut world = world(16, 2_000, 1);
    world.lost_shares_to = Some(3);
    load(&mut world, 0..40);
    world.run_for(SECOND / 10);
    assert_eq!(settled(&world, 0), 40);
    assert_eq!(settled(&world, 3), 0);
    for at in 0..4 {
        let durable = world.nodes[at].durable as usize;
        world.restart(at, durable);
    }
    world.lost_shares_to = None;
    for at in 0..3 {
        let held = world.nodes[at].engine.footprint();
        assert!(held.shares_kept < 40, "{at} keeps its shares");
    }
    load(&mut world, 40..45);
    world.run_for(20 * SECOND);
    assert!(!world.nodes[3].engine.is_paused(), "little waits");
    assert_alike(&world, 45);
    assert_eq!(world.nodes[3].engine.counters().states_taken, 0);
    assert!(world.nodes[3].engine.counters().planned_fetched > 0);
    // What it fetched it finds again.
    let durable = world.nodes[3].durable as usize;
    world.restart(3, durable);
    load(&mut world, 45..50);
    world.run_for(SECOND);
    assert_alike(&world, 50);
}

/// Few rounds go by while it is away, and much time: the others still have the envelopes of the batches it comes to.
#[test]
fn an_envelope_that_is_wanted_long_after_it_expired() {
    let mut world = world(200, SECOND, 1 << 30);
    load(&mut world, 0..5);
    world.run_for(SECOND);
    world.kill(3);
    load(&mut world, 5..6);
    world.run_for(120 * SECOND);
    assert_eq!((settled(&world, 0), settled(&world, 3)), (6, 5));
    let records = world.nodes[3].journal.len();
    world.restart(3, records);
    world.run_for(10 * SECOND);
    assert_alike(&world, 6);
    assert_eq!(world.nodes[3].engine.counters().states_taken, 0);
    // And so it is one of a quorum when another goes.
    world.kill(2);
    load(&mut world, 6..10);
    world.run_for(5 * SECOND);
    assert_eq!((settled(&world, 0), settled(&world, 3)), (10, 10));
    // Not for ever.
    let durable = world.nodes[2].durable as usize;
    world.restart(2, durable);
    world.run_for(500 * SECOND);
    assert_eq!(world.nodes[0].engine.footprint().envelopes, 0);
}

/// Nobody gives it the envelope: it takes the state of the next checkpoint.
#[test]
fn an_envelope_that_never_comes() {
    let mut world = world(200, SECOND, 1 << 30);
    load(&mut world, 0..5);
    world.run_for(SECOND);
    world.lost_envelopes_to = Some(3);
    let envelope = world.sealed(5, 3 * SECOND);
    for to in 0..3 {
        world.submit(to, 5, envelope.clone(), 0);
    }
    world.run_for(10 * SECOND);
    assert_eq!((settled(&world, 0), settled(&world, 3)), (6, 5));
    for id in 6..60 {
        load(&mut world, id..id + 1);
        world.run_for(SECOND / 2);
    }
    // While it was stuck it took nothing from clients either.
    assert!(world.nodes[3].engine.counters().states_taken > 0);
    world.lost_envelopes_to = None;
    world.run_for(10 * SECOND);
    assert_alike(&world, 60);
    // It finds all of that in its journal again.
    let durable = world.nodes[3].durable as usize;
    world.restart(3, durable);
    load(&mut world, 60..65);
    world.run_for(5 * SECOND);
    assert_alike(&world, 65);
}

/// What is planned lacks shares, and what is behind it an envelope.
#[test]
fn both_at_once() {
    let mut world = world(200, 100_000, 1 << 30);
    load(&mut world, 0..5);
    world.run_for(SECOND);
    world.lost_shares_to = Some(3);
    load(&mut world, 5..6);
    world.run_for(SECOND / 10);
    world.lost_envelopes_to = Some(3);
    let envelope = world.sealed(6, 3 * SECOND);
    for to in 0..3 {
        world.submit(to, 6, envelope.clone(), 0);
    }
    world.run_for(60 * SECOND);
    assert!(
        settled(&world, 3) >= 7,
        "{} are settled",
        settled(&world, 3)
    );
    world.lost_shares_to = None;
    load(&mut world, 7..12);
    world.run_for(10 * SECOND);
    assert_alike(&world, 12);
}
