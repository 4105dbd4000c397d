//! Committees that make their own keys: from nothing, under load, with faulty dealers, across crashes and state sync.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use std::sync::Arc;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::dkg::{Failure, WINDOW_ANCHORS};
use fairlane_engine::effect::{Record, SnapshotPart};
use fairlane_engine::engine::snapshot::newest_snapshot;
use fairlane_engine::keyring::statement::{KeyStatement, is_signed_by};
use fairlane_engine::keyring::{CommitteeKey, KEYS_HELD_MAX};
#[cfg(feature = "sim")]
use fairlane_engine::types::AuthoritySet;
use fairlane_engine::types::{AuthorityIndex, Epoch};

const SECOND: u64 = 1_000_000;
const WINDOW: u64 = 40;

fn world(n: u8, renew_us: Option<u64>, is_undealt: bool) -> World {
    let (parameters, config) = (Parameters::default(), EngineConfig::default());
    World::generating(n, parameters, config, (WINDOW, renew_us), is_undealt)
}

/// The newest key of a node.
fn newest(world: &World, at: usize) -> &Arc<CommitteeKey> {
    world.nodes[at].engine.keys().newest().expect("a key")
}

/// Runs until `nodes` hold a key for `epoch`; all the same, and a share each.
fn run_to_key(world: &mut World, nodes: &[usize], epoch: u32) {
    let is_there = |world: &World, at: usize| {
        let newest = world.nodes[at].engine.keys().newest();
        newest.is_some_and(|key| key.sealing.epoch() >= Epoch(epoch))
    };
    let all = |world: &World| nodes.iter().all(|at| is_there(world, *at));
    assert!(
        world.run_until(20 * SECOND, all),
        "no key for epoch {epoch}"
    );
    let key = newest(world, nodes[0]).sealing.clone();
    for at in nodes {
        assert_eq!(newest(world, *at).sealing, key);
        assert!(newest(world, *at).share.is_some(), "{at} holds a share");
    }
    assert_vouched(world, nodes);
    world.key = Arc::new(key);
}

/// All of `nodes` sign the same bytes, each with its own key, and these name the key that they hold.
fn assert_vouched(world: &World, nodes: &[usize]) {
    let said = |at: usize| world.nodes[at].engine.vouch_for_key().expect("a key");
    let (bytes, _) = said(nodes[0]);
    let statement = KeyStatement::decode(&bytes).unwrap();
    assert_eq!(statement.key, newest(world, nodes[0]).sealing);
    assert!(statement.since <= world.nodes[nodes[0]].engine.consensus_time());
    for at in nodes {
        let (same, signature) = said(*at);
        assert_eq!(same, bytes, "{at} states the same");
        let author = AuthorityIndex(*at as u8);
        assert!(is_signed_by(&same, &world.committee, author, &signature));
    }
}

/// Submits sealed envelopes `ids` to `nodes`, one every millisecond.
fn load(world: &mut World, nodes: &[usize], ids: std::ops::Range<u64>) {
    for (after, id) in ids.enumerate() {
        let envelope = world.sealed(id, 30 * SECOND);
        for at in nodes {
            world.submit(*at, id, envelope.clone(), after as u64 * 1_000);
        }
    }
}

/// All of `nodes` have revealed the envelopes `ids`, in one order.
fn assert_revealed(world: &World, nodes: &[usize], ids: std::ops::Range<u64>) {
    let first = &world.nodes[nodes[0]].settled;
    for at in nodes {
        let settled = &world.nodes[*at].settled;
        assert_eq!(settled.payloads, first.payloads, "node {at}");
        assert_eq!(settled.hashes, first.hashes, "node {at}");
        assert_eq!(world.nodes[*at].engine.counters().divergence, 0);
    }
    let mut payloads: Vec<Vec<u8>> = first.payloads.iter().map(|p| p.clone().unwrap()).collect();
    payloads.sort();
    let all: Vec<Vec<u8>> = ids.map(|id| id.to_be_bytes().to_vec()).collect();
    assert_eq!(payloads, all, "each once, none void");
}

#[test]
fn a_committee_without_a_key_takes_nothing_sealed_until_it_has_made_one() {
    let mut world = world(4, None, true);
    let all = [0, 1, 2, 3];
    load(&mut world, &all, 0..5);
    run_to_key(&mut world, &all, 1);
    assert!(world.nodes[0].engine.keys().newest().is_some());
    assert!(
        world.nodes.iter().all(|node| node.acks.is_empty()),
        "another's key"
    );
    load(&mut world, &all, 5..105);
    world.run_for(2 * SECOND);
    assert_revealed(&world, &all, 5..105);
    for node in &world.nodes {
        let counters = node.engine.counters();
        assert_eq!((counters.keys_made, counters.key_messages_refused), (1, 0));
        assert!(!node.engine.keys().is_generating());
    }
}

#[test]
fn f_authorities_that_are_silent_cost_a_window_and_not_the_key() {
    for (n, silent) in [(4u8, vec![2]), (7, vec![0, 5])] {
        let mut world = world(n, None, true);
        let here: Vec<usize> = (0..usize::from(n))
            .filter(|at| !silent.contains(at))
            .collect();
        silent.iter().for_each(|at| world.kill(*at));
        run_to_key(&mut world, &here, 1);
        assert!(world.nodes[here[0]].engine.counters().anchors > WINDOW);
        load(&mut world, &here, 0..50);
        world.run_for(3 * SECOND);
        assert_revealed(&world, &here, 0..50);
    }
}

#[test]
fn keys_change_under_load_and_envelopes_of_both_are_revealed() {
    let mut world = world(4, Some(2 * SECOND), false);
    let all = [0, 1, 2, 3];
    let dealt = world.key.clone();
    let mut ids = 0..0;
    for epoch in 1..4 {
        // Sealed to the key before, and on their way while the next is made.
        ids = ids.end..ids.end + 1_500;
        load(&mut world, &all, ids.clone());
        run_to_key(&mut world, &all, epoch);
    }
    // A client that has not heard of the change still seals to the dealt key.
    let new = std::mem::replace(&mut world.key, dealt);
    load(&mut world, &all, ids.end..ids.end + 20);
    world.key = new;
    load(&mut world, &all, ids.end + 20..ids.end + 40);
    world.run_for(3 * SECOND);
    assert_revealed(&world, &all, 0..ids.end + 40);
    assert!(world.nodes[0].engine.counters().keys_made >= 3);
    assert_eq!(
        world.nodes[0].engine.counters().keys_ended,
        0,
        "they overlap"
    );
}

#[test]
fn a_key_ends_when_no_envelope_can_outlive_it_and_what_comes_then_is_refused() {
    let mut world = world(4, Some(30 * SECOND), false);
    let all = [0, 1, 2, 3];
    let dealt = world.key.clone();
    load(&mut world, &all, 0..20);
    world.run_for(115 * SECOND);
    assert!(world.nodes[0].engine.keys().find(dealt.key_id()).is_some());
    // An idle committee has about an anchor a second, and D of them must pass.
    world.run_for(95 * SECOND);
    for node in &world.nodes {
        assert!(
            node.engine.keys().find(dealt.key_id()).is_none(),
            "its share is erased"
        );
        assert!(node.engine.counters().keys_ended >= 1);
        assert!(node.engine.keys().keys().len() <= KEYS_HELD_MAX);
    }
    let accepted = world.nodes[0].engine.counters().accepted;
    world.key = dealt;
    load(&mut world, &all, 20..30);
    world.run_for(SECOND);
    assert_eq!(world.nodes[0].engine.counters().accepted, accepted);
    assert_revealed(&world, &all, 0..20);
}

#[test]
fn no_generation_begins_while_too_many_keys_are_held() {
    let mut world = world(4, Some(SECOND / 10), false);
    world.run_for(60 * SECOND);
    for node in &world.nodes {
        assert_eq!(node.engine.keys().keys().len(), KEYS_HELD_MAX);
        assert!(!node.engine.keys().is_generating());
    }
}

#[test]
fn a_generation_that_fails_leaves_the_key_in_force_says_so_and_is_tried_again() {
    // With a window of one anchor no q deals are ordered in time.
    let plan = (1, Some(SECOND));
    let (parameters, config) = (Parameters::default(), EngineConfig::default());
    let mut world = World::generating(4, parameters, config, plan, false);
    let all = [0, 1, 2, 3];
    load(&mut world, &all, 0..2_000);
    world.run_for(5 * SECOND);
    assert_revealed(&world, &all, 0..2_000);
    for node in &world.nodes {
        let (counters, keys) = (node.engine.counters(), node.engine.keys());
        assert!(counters.key_generations_failed > 1);
        let (_, failure) = keys.last_failure().unwrap();
        assert!(matches!(failure, Failure::TooFewDeals { .. }), "{failure}");
        assert_eq!(keys.newest().unwrap().key_id(), world.key.key_id());
    }
}

#[test]
fn one_that_crashes_while_a_key_is_made_finds_key_and_share_in_its_records() {
    for after_us in [3_000, 8_000, 20_000, 60_000] {
        let mut world = world(4, None, true);
        let all = [0, 1, 2, 3];
        world.run_for(after_us);
        let durable = world.nodes[1].durable as usize;
        world.restart(1, durable);
        run_to_key(&mut world, &all, 1);
        load(&mut world, &all, 0..50);
        world.run_for(2 * SECOND);
        let records = world.nodes[1].journal.len();
        world.restart(1, records);
        assert!(
            newest(&world, 1).share.is_some(),
            "again from the records alone"
        );
        load(&mut world, &all, 50..80);
        world.run_for(2 * SECOND);
        assert_revealed(&world, &all, 0..80);
    }
}

#[test]
fn one_that_was_away_for_all_of_it_takes_key_and_share_from_a_checkpoint() {
    let parameters = Parameters {
        gc_depth_rounds: 8,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 1_000,
        leader_timeout_us: 1_500,
        round_interval_us_min: 500,
        ..EngineConfig::default()
    };
    let plan = (WINDOW, Some(SECOND));
    let mut world = World::generating(4, parameters, config, plan, true);
    let (all, here) = ([0, 1, 2, 3], [0, 1, 2]);
    world.part(3);
    run_to_key(&mut world, &here, 2);
    load(&mut world, &here, 0..50);
    world.run_for(SECOND / 2);
    world.join(3);
    run_to_key(&mut world, &all, 2);
    world.run_for(SECOND / 2);
    assert!(
        world.nodes[3].engine.counters().states_taken > 0,
        "by state sync"
    );
    // Its share is of use: without it there are too few.
    world.kill(2);
    load(&mut world, &[0, 1, 3], 50..80);
    world.run_for(3 * SECOND);
    assert_revealed(&world, &[0, 1, 3], 0..80);
}

/// Authority 1 deals a bad share to 3.
#[cfg(feature = "sim")]
fn cheating(world: &mut World, assures_nobody: bool) {
    let mut victims = AuthoritySet::EMPTY;
    victims.insert(AuthorityIndex(3));
    world.nodes[1].engine.deal_badly_to(victims, assures_nobody);
}

/// Without the share of 3 nothing would open: 1 keeps its own to itself.
#[cfg(feature = "sim")]
#[test]
fn one_that_was_away_and_cheated_holds_its_share_and_the_cheater_can_keep_nothing_closed() {
    let far_behind = Parameters {
        gc_depth_rounds: 8,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 1_000,
        leader_timeout_us: 1_500,
        round_interval_us_min: 500,
        snapshot_bytes: 20_000,
        ..EngineConfig::default()
    };
    for (parameters, config, is_synced) in [
        (Parameters::default(), EngineConfig::default(), false),
        (far_behind, config, true),
    ] {
        let plan = (WINDOW, Some(SECOND));
        let mut world = World::generating(4, parameters, config, plan, false);
        let (here, others) = ([0, 1, 2], [0, 2, 3]);
        cheating(&mut world, false);
        world.part(3);
        load(&mut world, &here, 0..1_500);
        run_to_key(&mut world, &here, 1);
        let key = world.key.clone();
        world.run_for(SECOND / 2);
        world.join(3);
        let has_it = |world: &World| {
            let at = &world.nodes[3];
            at.engine.keys().find(key.key_id()).is_some()
        };
        assert!(world.run_until(10 * SECOND, has_it), "it hears of the key");
        let holds_share = |world: &World| {
            let held = world.nodes[3].engine.keys().find(key.key_id()).unwrap();
            held.share.is_some()
        };
        assert!(holds_share(&world));
        let (epoch, by) = world.nodes[3].engine.keys().cheated_by().unwrap();
        assert_eq!((epoch, by.len()), (key.epoch(), 1));
        assert!(by.contains(AuthorityIndex(1)), "and it knows by whom");
        let counters = world.nodes[3].engine.counters();
        assert_eq!(counters.states_taken > 0, is_synced);
        assert_eq!(counters.keys_without_share, 0);
        assert!(world.nodes[0].engine.counters().key_shares_assured >= 3);
        assert_eq!(counters.key_shares_mended, u64::from(!is_synced), "live");
        world.without_shares = vec![1];
        load(&mut world, &[0, 1, 2, 3], 1_500..1_550);
        world.run_for(2 * SECOND);
        assert_revealed(&world, &others, 0..1_550);
        // From its records, or from a snapshot behind which the generation lies.
        let durable = world.nodes[3].durable as usize;
        world.restart(3, durable);
        assert!(holds_share(&world));
        load(&mut world, &[0, 1, 2, 3], 1_550..1_600);
        world.run_for(2 * SECOND);
        assert_revealed(&world, &others, 0..1_600);
    }
}

#[cfg(feature = "sim")]
#[test]
fn a_cheat_that_mends_nothing_makes_no_key_while_its_victim_is_away_and_the_old_one_stays() {
    let mut world = world(4, Some(SECOND), false);
    let (all, here) = ([0, 1, 2, 3], [0, 1, 2]);
    let dealt = world.key.clone();
    cheating(&mut world, true);
    world.part(3);
    load(&mut world, &here, 0..2_000);
    let has_failed = |world: &World| world.nodes[0].engine.counters().key_generations_failed > 0;
    assert!(world.run_until(20 * SECOND, has_failed));
    let keys = world.nodes[0].engine.keys();
    let (_, failure) = keys.last_failure().unwrap();
    assert!(
        matches!(failure, Failure::TooFewSettled { settled: 2, .. }),
        "{failure}"
    );
    assert_eq!(newest(&world, 0).key_id(), dealt.key_id());
    // The next time it is there and complains.
    world.join(3);
    run_to_key(&mut world, &all, 1);
    load(&mut world, &all, 2_000..2_050);
    world.run_for(SECOND);
    assert_revealed(&world, &all, 0..2_050);
}

#[test]
fn the_usual_window_is_one_that_a_committee_at_full_pace_passes_in_seconds() {
    let config = EngineConfig::default();
    let shortest_us = WINDOW_ANCHORS * config.round_interval_us_min;
    assert!((SECOND..10 * SECOND).contains(&shortest_us));
}

/// The records of the generation are no part of the tail any more.
#[test]
fn all_that_start_again_from_snapshots_have_the_key_and_their_shares() {
    let parameters = Parameters {
        gc_depth_rounds: 8,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 1_000,
        leader_timeout_us: 1_500,
        round_interval_us_min: 500,
        snapshot_bytes: 20_000,
        ..EngineConfig::default()
    };
    let mut world = World::generating(4, parameters, config, (WINDOW, None), true);
    let all = [0, 1, 2, 3];
    run_to_key(&mut world, &all, 1);
    world.run_for(SECOND);
    for at in all {
        let records = &world.nodes[at].journal[..world.nodes[at].durable as usize];
        let parts = newest_snapshot(records).expect("a snapshot");
        let part = SnapshotPart::decode(&parts[0]).unwrap();
        let is_said = |record: &Record| matches!(record, Record::OwnVertex(_));
        assert!(
            records[..part.tail_from as usize]
                .iter()
                .filter(|record| is_said(record))
                .count()
                > 60,
            "the generation lies before the tail"
        );
    }
    for at in all {
        let durable = world.nodes[at].durable as usize;
        world.restart(at, durable);
    }
    for at in all {
        assert!(newest(&world, at).share.is_some(), "{at} holds a share");
    }
    load(&mut world, &all, 0..50);
    world.run_for(2 * SECOND);
    assert_revealed(&world, &all, 0..50);
}
