//! Laws of the commit rule on random DAGs with silent, forking and skewed authorities.
//!
//! At most f authorities of n = 4..=7 are faulty, except where a law says otherwise. A failing case prints n, rounds
//! and seed, and these are the whole case.

#![forbid(unsafe_code)]

#[path = "commit_properties/oracle.rs"]
mod oracle;
#[path = "commit_properties/random_dag.rs"]
mod random_dag;

use std::collections::BTreeSet;

use fairlane_engine::commit::decide::decide_directly;
use fairlane_engine::commit::{Decision, SubDag};
use fairlane_engine::dag::VertexRef;
use fairlane_engine::types::{AuthorityIndex, Entry, Round};
use proptest::prelude::*;

use oracle::Oracle;
use random_dag::{Random, Scenario};

const NO_GC: u64 = 1000;

fn is_prefix(shorter: &[SubDag], longer: &[SubDag]) -> bool {
    shorter.len() <= longer.len() && shorter == &longer[..shorter.len()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_insertion_order_gives_the_same_sequence_at_every_point(
        authorities in 4u8..=7, rounds in 1u64..=14, seed: u64,
    ) {
        let scenario = Scenario::new(authorities, rounds, seed, NO_GC);
        let whole = scenario.committer().advance(&scenario.dag());
        let mut random = Random(!seed);
        for _ in 0..3 {
            let mut order = scenario.vertices.clone();
            random.shuffle(&mut order);
            // Whatever is output vertex by vertex is the one sequence: each step's output is its continuation.
            prop_assert_eq!(&scenario.sequence(&order, false), &whole);
        }
    }

    #[test]
    fn the_sequence_is_that_of_the_recursive_rule(
        authorities in 4u8..=7, rounds in 1u64..=14, seed: u64,
    ) {
        let scenario = Scenario::new(authorities, rounds, seed, NO_GC);
        let dag = scenario.dag();
        let sequence = scenario.committer().advance(&dag);
        let anchors: Vec<VertexRef> = sequence.iter().map(|sub_dag| sub_dag.anchor).collect();
        let slots = Oracle::slots(&dag, &sequence);
        let expected = slots.into_iter().filter_map(|(_, _, decision)| match decision {
            Decision::Commit(anchor) => Some(anchor),
            _ => None,
        });
        prop_assert_eq!(anchors, expected.collect::<Vec<_>>());
    }

    #[test]
    fn two_views_never_disagree(authorities in 4u8..=7, rounds in 1u64..=14, seed: u64) {
        let scenario = Scenario::new(authorities, rounds, seed, NO_GC);
        let whole = scenario.committer().advance(&scenario.dag());
        let mut random = Random(!seed);
        for _ in 0..4 {
            let (one, other) = (scenario.view(&mut random), scenario.view(&mut random));
            let one = scenario.sequence(&one, false);
            let other = scenario.sequence(&other, false);
            prop_assert!(is_prefix(&one, &other) || is_prefix(&other, &one));
            prop_assert!(is_prefix(&one, &whole) && is_prefix(&other, &whole));
        }
    }

    #[test]
    fn pruning_and_leaving_out_old_rounds_keep_the_sequence(
        authorities in 4u8..=7, rounds in 12u64..=30, seed: u64,
    ) {
        let scenario = Scenario::new(authorities, rounds, seed, 8);
        let whole = scenario.committer().advance(&scenario.dag());
        let mut random = Random(!seed);
        let mut order = scenario.vertices.clone();
        prop_assert_eq!(&scenario.sequence(&order, true), &whole);
        random.shuffle(&mut order);
        prop_assert_eq!(&scenario.sequence(&order, true), &whole);
    }

    #[test]
    fn sub_dags_part_the_history_and_forked_authors_stay_silent(
        authorities in 4u8..=7, rounds in 1u64..=14, seed: u64,
    ) {
        let scenario = Scenario::new(authorities, rounds, seed, NO_GC);
        let dag = scenario.dag();
        let mut committed = BTreeSet::new();
        let mut forked = BTreeSet::new();
        let mut time = scenario.committee.epoch_start;
        for (index, sub_dag) in scenario.committer().advance(&dag).into_iter().enumerate() {
            prop_assert_eq!(sub_dag.index, index as u64);
            prop_assert!(sub_dag.vertices.is_sorted());
            prop_assert_eq!(sub_dag.vertices.last(), Some(&sub_dag.anchor));
            for vertex in &sub_dag.vertices {
                prop_assert!(committed.insert(*vertex), "committed twice");
            }
            for vertex in sub_dag.vertices.iter().filter_map(|vertex| dag.vertex(vertex)) {
                for parent in vertex.parents() {
                    prop_assert!(parent.round == Round(0) || committed.contains(parent));
                }
            }
            prop_assert!(sub_dag.consensus_time >= time);
            time = sub_dag.consensus_time;
            for author in &sub_dag.new_forks {
                prop_assert!(forked.insert(*author), "a fork is told once");
                prop_assert!(dag.forked().contains(*author), "and the store has seen it");
            }
            for (author, appended) in sub_dag.appends.iter().enumerate() {
                let author = AuthorityIndex(author as u8);
                let vertices = sub_dag.vertices.iter().filter(|vertex| vertex.author == author);
                let listed: Vec<Entry> = vertices
                    .filter_map(|vertex| dag.vertex(vertex))
                    .flat_map(|vertex| vertex.entries().to_vec())
                    .collect();
                let expected = if forked.contains(&author) { vec![] } else { listed };
                prop_assert_eq!(appended, &expected);
            }
        }
        for evidence in dag.forks() {
            prop_assert!(evidence.holds());
        }
        prop_assert_eq!(dag.forks().count(), dag.forked().len() as usize);
    }
}

proptest! {
    #[test]
    fn more_faulty_authorities_than_f_break_promises_but_never_the_process(
        authorities in 1u8..=5, rounds in 1u64..=20, seed: u64,
    ) {
        let random = Random(seed);
        let scenario = Scenario::with_faulty(authorities, authorities, rounds, random, 8);
        let sequence = scenario.sequence(&scenario.vertices, true);
        prop_assert!(sequence.windows(2).all(|pair| pair[0].leader_round < pair[1].leader_round));
    }
}

/// The laws above would hold of DAGs in which nothing happens: here each rule is seen to decide something.
#[test]
fn the_random_dags_reach_every_rule() {
    let (mut direct, mut indirect, mut direct_skips, mut indirect_skips) = (0, 0, 0, 0);
    let (mut forks, mut twin_anchors) = (0, 0);
    let (mut changes, mut returns, mut stand_ins) = (0, 0, 0);
    for seed in 0..500 {
        let scenario = Scenario::new(4 + (seed % 4) as u8, 14, seed, NO_GC);
        let dag = scenario.dag();
        let mut committer = scenario.committer();
        let sequence = committer.advance(&dag);
        let mut anchors = sequence.iter().map(|sub_dag| sub_dag.anchor).peekable();
        for (round, leader, _) in Oracle::slots(&dag, &sequence) {
            let anchor = anchors.next_if(|anchor| anchor.round == round);
            let n = u64::from(scenario.committee.thresholds().authorities());
            stand_ins += u64::from(u64::from(leader.0) != round.0 % n);
            match (decide_directly(&dag, round, leader), anchor) {
                (Decision::Undecided, Some(_)) => indirect += 1,
                (Decision::Undecided, None) => indirect_skips += 1,
                (Decision::Skip, _) => direct_skips += 1,
                (Decision::Commit(_), _) => direct += 1,
            }
            if let Some(anchor) = anchor {
                twin_anchors += usize::from(dag.slot(round, anchor.author).len() > 1);
            }
        }
        forks += sequence
            .iter()
            .map(|sub_dag| sub_dag.new_forks.len())
            .sum::<usize>();
        let schedule = committer.schedule();
        changes += schedule.changes();
        // Whoever left and is not out has come back; each of the two is one change.
        returns += (schedule.changes() - u64::from(schedule.out().len())) / 2;
    }
    let reached = [
        direct,
        indirect,
        direct_skips,
        indirect_skips,
        forks,
        twin_anchors,
        changes as usize,
        returns as usize,
        stand_ins as usize,
    ];
    assert!(reached.iter().all(|times| *times >= 10), "{reached:?}");
}
