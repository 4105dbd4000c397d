//! A node that starts again from its durable records: no second vertex in a slot, no batch left out, the same chain.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::Record;

const SECOND: u64 = 1_000_000;
const ENVELOPES: u64 = 12;

/// A committee of four that is sent some envelopes, sealed and open, each to one or to all.
fn loaded() -> World {
    let mut world = World::new(4, Parameters::default(), EngineConfig::default());
    for id in 0..ENVELOPES {
        let envelope = match id % 3 {
            0 => world.sealed(id, 30 * SECOND),
            _ => world.open_envelope(id, 30 * SECOND),
        };
        let to = (0..4).filter(|to| id % 4 != 1 || *to == id as usize % 3);
        for to in to {
            world.submit(to, id, envelope.clone(), id * 2_500 + to as u64 * 300);
        }
    }
    world
}

fn assert_all_settled_alike(world: &World, envelopes: u64, what: &str) {
    for (at, node) in world.nodes.iter().enumerate() {
        assert_eq!(node.settled, world.nodes[0].settled, "node {at}, {what}");
        let counters = node.engine.counters();
        assert_eq!(counters.forks, 0, "node {at}, {what}");
        assert_eq!(counters.vertices_refused, 0, "node {at}, {what}");
        assert_eq!(counters.divergence, 0, "node {at}, {what}");
    }
    let digests = &world.nodes[0].settled.digests;
    assert_eq!(digests.len() as u64, envelopes, "{what}");
}

/// A crash right after each record was written, with the tail from there on lost.
#[test]
fn any_prefix_of_the_records_is_a_valid_start() {
    const NODE: usize = 1;
    let records = {
        let mut world = loaded();
        world.run_for(SECOND / 5);
        world.nodes[NODE].journal.len()
    };
    assert!(records > 100, "{records} records");
    for prefix in 0..=records {
        let mut world = loaded();
        assert!(world.run_until(SECOND, |world| {
            world.nodes[NODE].journal.len() >= prefix
        }));
        let before = world.nodes[NODE].engine.round();
        world.restart(NODE, prefix);
        let after = world.nodes[NODE].engine.round();
        assert!(
            after <= before.next() && after.plus(1) >= before,
            "it goes on where it stopped: {before:?}, {after:?}"
        );
        // Nobody else has this one: that it is settled shows that the node proposes again.
        let envelope = world.sealed(ENVELOPES, 30 * SECOND);
        world.submit(NODE, ENVELOPES, envelope, SECOND / 2);
        world.run_for(SECOND);
        assert_all_settled_alike(&world, ENVELOPES + 1, &format!("prefix {prefix}"));
    }
}

#[test]
fn a_node_that_crashes_again_and_again_loses_nothing() {
    const NODE: usize = 2;
    let mut world = World::new(4, Parameters::default(), EngineConfig::default());
    for id in 0..60 {
        let envelope = world.sealed(id, 30 * SECOND);
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), id * 5_000);
        }
    }
    for crash in 0..20u64 {
        world.run_for(15_000 + crash * 377);
        let node = &world.nodes[NODE];
        // Sometimes all of the tail is lost, sometimes none of it.
        let kept = match crash % 2 {
            0 => node.durable as usize,
            _ => node.journal.len(),
        };
        world.restart(NODE, kept);
    }
    world.run_for(3 * SECOND);
    // What a client submitted and was lost before any record of it is durable, the others have.
    assert_all_settled_alike(&world, 60, "20 crashes");
}

/// What only the node itself was sent and had made durable is listed after the restart, once.
#[test]
fn what_was_accepted_and_not_listed_is_listed_after_the_restart() {
    let mut world = World::new(4, Parameters::default(), EngineConfig::default());
    world.run_for(SECOND);
    let envelopes: Vec<_> = (0..5).map(|id| world.sealed(id, 30 * SECOND)).collect();
    for (id, envelope) in envelopes.into_iter().enumerate() {
        world.submit(3, id as u64, envelope, 10 * id as u64);
    }
    let accepted = |world: &World| {
        let journal = world.nodes[3].journal.iter();
        journal
            .filter(|record| matches!(record, Record::Envelope(_)))
            .count()
    };
    assert!(world.run_until(SECOND, |world| accepted(world) == 5));
    let kept = world.nodes[3].journal.len();
    world.restart(3, kept);
    world.run_for(2 * SECOND);
    assert_all_settled_alike(&world, 5, "after the restart");
}

/// All four at once: nobody has anything but its own records, and none of the shares that were on their way.
#[test]
fn a_whole_committee_that_restarts_goes_on_with_its_chain() {
    let mut world = loaded();
    world.run_for(20_000);
    for at in 0..4 {
        let durable = world.nodes[at].durable as usize;
        world.restart(at, durable);
    }
    world.run_for(3 * SECOND);
    for node in &world.nodes[1..] {
        assert_eq!(node.settled, world.nodes[0].settled);
        assert_eq!(node.engine.counters().forks, 0);
    }
}

#[test]
fn a_share_message_from_before_the_restart_is_made_again_byte_for_byte() {
    let mut world = World::new(4, Parameters::default(), EngineConfig::default());
    let envelope = world.sealed(1, 30 * SECOND);
    for to in 0..4 {
        world.submit(to, 1, envelope.clone(), 0);
    }
    // Node 3 hears of nobody's shares, so that it has to ask for them later.
    world.lost_shares_to = Some(3);
    world.run_until(SECOND, |world| {
        (0..3).all(|at| world.nodes[at].settled.hashes.len() == 1)
    });
    assert_eq!(world.nodes[3].settled.hashes.len(), 0);
    world.run_for(10_000);
    for at in 0..3 {
        let all = world.nodes[at].journal.len();
        world.restart(at, all);
    }
    world.lost_shares_to = None;
    world.run_for(2 * SECOND);
    assert_eq!(world.nodes[3].settled, world.nodes[0].settled);
    assert_eq!(world.nodes[3].settled.digests.len(), 1);
}

#[test]
fn records_that_do_not_fit_together_are_refused() {
    let mut world = loaded();
    world.run_for(SECOND / 2);
    let journal = world.nodes[0].journal.clone();
    let refused = |records: Vec<Record>| world.recover(0, records).is_err();
    assert!(!refused(journal.clone()));
    let first = |wanted: fn(&Record) -> bool| journal.iter().position(wanted).unwrap();
    let without = |at: usize| {
        let mut records = journal.clone();
        records.remove(at);
        records
    };
    let vertex = first(|record| matches!(record, Record::Vertex(_)));
    assert!(refused(without(vertex)), "a parent is missing");
    let anchor = first(|record| matches!(record, Record::Anchor(_)));
    assert!(refused(without(anchor)), "an anchor is missing");
    let batch = first(|record| matches!(record, Record::Batch(_)));
    assert!(refused(without(batch)), "a batch is missing");
    let mut own = journal.clone();
    let Record::Vertex(bytes) = own[vertex].clone() else {
        unreachable!("it was found as one");
    };
    own[vertex] = Record::OwnVertex(bytes);
    assert!(refused(own), "another's vertex as an own one");
}

/// With durability async: the disk had called durable what it had not kept.
#[test]
fn one_that_lost_vertices_which_it_had_sent_takes_them_over_and_contradicts_none() {
    const NODE: usize = 1;
    for lost in [1, 10, 40, 90] {
        let mut world = loaded();
        world.run_for(SECOND / 5);
        let left = world.nodes[NODE].journal.len() - lost;
        world.restart_distrusting(NODE, left);
        assert!(world.nodes[NODE].engine.is_asking());
        let envelope = world.sealed(ENVELOPES, 30 * SECOND);
        world.submit(NODE, ENVELOPES, envelope, SECOND / 2);
        world.run_for(3 * SECOND);
        assert!(!world.nodes[NODE].engine.is_asking());
        let adopted = world.nodes[NODE].engine.counters().vertices_adopted;
        assert!(adopted > 0 || lost == 1, "{lost} records lost");
        for node in &world.nodes {
            assert_eq!(node.engine.counters().forks, 0, "{lost} records lost");
            assert_eq!(node.settled, world.nodes[0].settled);
        }
        let digests = &world.nodes[0].settled.digests;
        assert_eq!(digests.len() as u64, ENVELOPES + 1, "{lost} records lost");
    }
}

/// Who asks answers, too.
#[test]
fn all_that_ask_at_once_are_answered_and_go_on() {
    let mut world = loaded();
    world.run_for(SECOND / 5);
    for at in 0..4 {
        let records = world.nodes[at].journal.len();
        world.restart_distrusting(at, records);
    }
    let envelope = world.sealed(ENVELOPES, 30 * SECOND);
    world.submit(2, ENVELOPES, envelope, SECOND / 2);
    world.run_for(3 * SECOND);
    assert_all_settled_alike(&world, ENVELOPES + 1, "all at once");
}

/// One is gone for good: the others answer, and after a while that is enough.
#[test]
fn one_that_asks_does_not_wait_for_ever_for_one_that_is_gone() {
    let mut world = loaded();
    world.run_for(SECOND / 5);
    world.kill(3);
    let left = world.nodes[1].journal.len() - 20;
    world.restart_distrusting(1, left);
    world.run_for(SECOND);
    assert!(world.nodes[1].engine.is_asking(), "all are waited for");
    world.run_for(2 * SECOND);
    assert!(!world.nodes[1].engine.is_asking(), "a quorum is enough");
    assert_eq!(world.nodes[0].engine.counters().forks, 0);
}
