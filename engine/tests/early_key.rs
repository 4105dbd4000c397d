//! A node that is some anchors behind is sent what is sealed to a key that it does not know yet.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use std::sync::Arc;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::types::Epoch;

const SECOND: u64 = 1_000_000;

fn newest_epoch(world: &World, at: usize) -> Epoch {
    let newest = world.nodes[at].engine.keys().newest();
    newest.unwrap().sealing.epoch()
}

/// What a correct authority lists every correct authority lists. Node 3 opens nothing, so it decides nothing, while the
/// others go on to the next key; with node 2 gone, what is sealed to that key is ordered when node 3 lists it, too.
#[test]
fn what_is_sealed_to_a_key_that_is_news_to_a_node_is_listed_once_it_is_not() {
    let config = EngineConfig {
        unopened_max: 1,
        ..EngineConfig::default()
    };
    let mut world = World::generating(
        4,
        Parameters::default(),
        config,
        (40, Some(2 * SECOND)),
        false,
    );
    world.run_for(SECOND);
    world.lost_shares_to = Some(3);
    for id in 0..3 {
        let envelope = world.sealed(id, 30 * SECOND);
        (0..4).for_each(|at| world.submit(at, id, envelope.clone(), id * 50_000));
    }
    let has_key = |world: &World| newest_epoch(world, 0) > Epoch(0);
    assert!(world.run_until(10 * SECOND, has_key), "a new key");
    assert_eq!(newest_epoch(&world, 3), Epoch(0), "node 3 is behind");
    world.key = Arc::new(
        world.nodes[0]
            .engine
            .keys()
            .newest()
            .unwrap()
            .sealing
            .clone(),
    );
    let late = world.sealed(3, 30 * SECOND);
    (0..2).for_each(|at| world.submit(at, 3, late.clone(), 0));
    world.run_for(SECOND / 2);
    let counters = world.nodes[3].engine.counters();
    assert!(counters.peer_envelopes_early > 0, "it came too early");
    assert_eq!(counters.peer_envelopes_refused, 0);
    world.kill(2);
    world.lost_shares_to = None;
    world.run_for(5 * SECOND);
    for at in [0, 1, 3] {
        assert!(newest_epoch(&world, at) > Epoch(0));
        assert_eq!(world.nodes[at].settled.payloads.len(), 4, "node {at}");
    }
}
