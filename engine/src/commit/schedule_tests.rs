//! Claims about who leads, on anchors drawn in a committee of four or seven.

use super::*;
use crate::committee::Parameters;
use crate::dag::drawn;
use crate::types::{Digest, TimestampUs};
use proptest::prelude::*;
use std::sync::Arc;

const A: AuthorityIndex = AuthorityIndex(0);
const B: AuthorityIndex = AuthorityIndex(1);
const C: AuthorityIndex = AuthorityIndex(2);
const D: AuthorityIndex = AuthorityIndex(3);

/// A schedule, and what anchors it is given.
struct Stage {
    committee: Arc<Committee>,
    schedule: Schedule,
}

impl Stage {
    fn new(authorities: u8, leader_return_anchors: u32) -> Self {
        let parameters = Parameters {
            leader_return_anchors,
            ..Parameters::default()
        };
        let committee = drawn::committee(authorities, parameters);
        let schedule = Schedule::new(&committee);
        Self {
            committee,
            schedule,
        }
    }

    /// `times` anchors by A in round 10, each committing the vertices of these authors and rounds, too.
    fn anchor(&mut self, vertices: &[(AuthorityIndex, u64)], times: u32) -> bool {
        let sub_dag = sub_dag(A, vertices, &[]);
        (0..times).fold(false, |changed, _| {
            self.schedule.on_anchor(&sub_dag) || changed
        })
    }

    fn out(&self) -> Vec<AuthorityIndex> {
        self.schedule.out().iter().collect()
    }

    fn leaders(&self, rounds: std::ops::RangeInclusive<u64>) -> Vec<u8> {
        let leader = |round| self.schedule.leader(Round(round)).unwrap().0;
        rounds.map(leader).collect()
    }
}

#[test]
fn everybody_leads_in_turn_from_round_1() {
    let stage = Stage::new(4, 8);
    assert_eq!(stage.schedule.leader(Round(0)), None);
    assert_eq!(stage.leaders(1..=6), [1, 2, 3, 0, 1, 2]);
}

#[test]
fn a_missed_slot_puts_its_leader_out_and_the_others_take_its_slots_in_turn() {
    let mut stage = Stage::new(4, 8);
    assert!(stage.schedule.on_skip(D));
    assert_eq!(stage.out(), [D]);
    let mut regular = Stage::new(4, 8).leaders(1..=12);
    // Rounds 3, 7 and 11 were D's.
    (regular[2], regular[6], regular[10]) = (0, 1, 2);
    assert_eq!(stage.leaders(1..=12), regular);
}

#[test]
fn two_that_are_out_are_not_replaced_by_the_same_one() {
    let mut stage = Stage::new(7, 8);
    stage.schedule.on_skip(AuthorityIndex(5));
    stage.schedule.on_skip(AuthorityIndex(6));
    assert_eq!(stage.leaders(5..=6), [0, 1]);
    assert_eq!(stage.leaders(12..=13), [1, 2]);
}

#[test]
fn whoever_has_fresh_vertices_in_enough_sub_dags_leads_again() {
    let mut stage = Stage::new(4, 3);
    stage.schedule.on_skip(D);
    assert!(!stage.anchor(&[(B, 9), (C, 9)], 100), "nothing of D");
    assert!(!stage.anchor(&[(D, 9)], 2));
    assert!(stage.anchor(&[(D, 9)], 1));
    assert_eq!(stage.out(), []);
    assert_eq!(stage.schedule.changes(), 2);
}

#[test]
fn what_is_more_than_three_rounds_old_is_no_delivery_and_several_are_one() {
    let mut stage = Stage::new(4, 2);
    stage.schedule.on_skip(D);
    assert!(!stage.anchor(&[(D, 6), (D, 5)], 100));
    assert!(!stage.anchor(&[(D, 7), (D, 8), (D, 9)], 1));
    assert!(stage.anchor(&[(D, 7)], 1));
}

#[test]
fn each_further_miss_doubles_what_it_takes_and_each_own_anchor_makes_up_for_one() {
    let mut stage = Stage::new(4, 1);
    let anchors_needed = |stage: &mut Stage| (1..).find(|_| stage.anchor(&[(D, 9)], 1)).unwrap();
    let mut needed = Vec::new();
    for _ in 0..9 {
        stage.schedule.on_skip(D);
        needed.push(anchors_needed(&mut stage));
    }
    assert_eq!(needed, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    for _ in 0..5 {
        assert!(!stage.schedule.on_anchor(&sub_dag(D, &[], &[])));
    }
    stage.schedule.on_skip(D);
    assert_eq!(anchors_needed(&mut stage), 4);
}

#[test]
fn with_f_out_the_one_that_has_delivered_makes_room() {
    let mut stage = Stage::new(4, 8);
    stage.schedule.on_skip(D);
    assert!(!stage.schedule.on_skip(C), "D has not been heard of since");
    assert_eq!(stage.out(), [D]);
    stage.anchor(&[(D, 9)], 1);
    assert!(stage.schedule.on_skip(C));
    assert_eq!(stage.out(), [C]);
}

#[test]
fn a_fork_puts_its_author_out_for_good_and_makes_room_for_itself() {
    let mut stage = Stage::new(4, 1);
    stage.schedule.on_skip(C);
    assert!(stage.schedule.on_anchor(&sub_dag(A, &[], &[D])));
    assert_eq!(stage.out(), [D]);
    assert!(!stage.anchor(&[(D, 9)], 100));
    assert!(!stage.schedule.on_skip(B), "a forked one makes no room");
    assert!(
        !stage.schedule.on_anchor(&sub_dag(A, &[], &[B])),
        "nor for a second"
    );
    assert_eq!(stage.out(), [D]);
}

#[test]
fn a_committee_that_bears_no_fault_keeps_its_schedule() {
    for authorities in 1..=3 {
        let mut stage = Stage::new(authorities, 1);
        assert!(!stage.schedule.on_skip(A));
        assert!(!stage.schedule.on_anchor(&sub_dag(A, &[], &[A])));
        assert_eq!(stage.out(), []);
    }
}

/// An anchor of round 10 by `leader` that also commits `vertices` and shows forks of `new_forks`.
fn sub_dag(
    leader: AuthorityIndex,
    vertices: &[(AuthorityIndex, u64)],
    new_forks: &[AuthorityIndex],
) -> SubDag {
    let reference = |author, round| VertexRef {
        round: Round(round),
        author,
        digest: Digest([0; 32]),
    };
    let anchor = reference(leader, 10);
    let mut references: Vec<VertexRef> = vertices.iter().map(|(a, r)| reference(*a, *r)).collect();
    references.push(anchor);
    references.sort_unstable();
    SubDag {
        index: 0,
        anchor,
        leader_round: anchor.round,
        vertices: references,
        appends: Vec::new(),
        controls: Vec::new(),
        tie_parents: Vec::new(),
        consensus_time: TimestampUs(0),
        new_forks: new_forks.to_vec(),
        state: None,
    }
}

fn encoded(schedule: &Schedule) -> Vec<u8> {
    let mut bytes = Vec::new();
    schedule.encode_state(&mut Writer::new(&mut bytes));
    bytes
}

#[test]
fn golden_state() {
    let mut stage = Stage::new(4, 8);
    stage.schedule.on_skip(D);
    stage.anchor(&[(D, 9)], 2);
    let golden = "000000000000000000000000000000000000010100000002\
                  0000000000000001";
    assert_eq!(hex::encode(encoded(&stage.schedule)), golden);
}

#[test]
fn states_that_no_sequence_leads_to_are_refused() {
    let stage = Stage::new(4, 8);
    let good = encoded(&stage.schedule);
    let refused = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        Schedule::decode_state(&mut Reader::new(&bad), &stage.committee).is_err()
    };
    assert!(refused(0, 4), "an unknown standing");
    assert!(refused(0, 1), "out without a strike");
    assert!(refused(1, 8), "more strikes than count");
    assert!(refused(5, 1), "deliveries of one that leads");
    let short = Schedule::decode_state(&mut Reader::new(&good[1..]), &stage.committee);
    assert!(short.is_err());
    // Two are out where one may be.
    let mut two = good.clone();
    (two[0], two[1], two[6], two[7]) = (1, 1, 1, 1);
    assert!(Schedule::decode_state(&mut Reader::new(&two), &stage.committee).is_err());
}

proptest! {
    #[test]
    fn whatever_happens_a_quorum_leads_and_the_state_is_read_back(
        authorities in prop::sample::select(vec![4u8, 7]),
        return_anchors in 1u32..4,
        happenings in prop::collection::vec(0u8..12, 0..60),
    ) {
        let mut stage = Stage::new(authorities, return_anchors);
        let f = stage.schedule.thresholds.faulty_max();
        for (round, happening) in (1..).zip(happenings) {
            let leader = stage.schedule.leader(Round(round)).unwrap();
            prop_assert!(!stage.schedule.out().contains(leader));
            let before = (stage.schedule.out(), stage.schedule.changes());
            let changed = match happening {
                0..4 => stage.schedule.on_skip(leader),
                4..8 => {
                    let all: Vec<_> = stage.schedule.thresholds.members().map(|a| (a, 9)).collect();
                    stage.schedule.on_anchor(&sub_dag(leader, &all, &[]))
                }
                8..11 => stage.schedule.on_anchor(&sub_dag(leader, &[], &[])),
                _ => {
                    let forked = AuthorityIndex((round % u64::from(authorities)) as u8);
                    stage.schedule.on_anchor(&sub_dag(leader, &[], &[forked]))
                }
            };
            prop_assert!(stage.schedule.out().len() <= f);
            prop_assert_eq!(changed, before.1 != stage.schedule.changes());
            prop_assert!(changed || before.0 == stage.schedule.out());
            let bytes = encoded(&stage.schedule);
            let mut reader = Reader::new(&bytes);
            let read = Schedule::decode_state(&mut reader, &stage.committee).unwrap();
            prop_assert_eq!(&read, &stage.schedule);
            prop_assert_eq!(reader.left(), 0);
        }
    }
}
