//! Claims about acceptance, waiting, forks and pruning.

use super::*;
use crate::committee::Parameters;
use crate::dag::PENDING_PER_AUTHOR_MAX;
use crate::dag::drawn::{Drawn, EPOCH_START};
use crate::dag::vertex::Vertex;

fn insert(dag: &mut Dag, drawn: &Drawn, name: &str) -> Inserted {
    dag.insert(drawn.vertex(name))
}

/// Names of what an insertion accepted.
fn accepted(drawn: &Drawn, inserted: Inserted) -> String {
    match inserted {
        Inserted::Accepted(vertices) => {
            let references: Vec<VertexRef> = vertices.iter().map(|v| v.reference()).collect();
            drawn.names(&references)
        }
        other => panic!("not accepted: {other:?}"),
    }
}

fn missing(drawn: &Drawn, dag: &Dag) -> String {
    let references: Vec<VertexRef> = dag.missing().map(|missing| missing.reference).collect();
    drawn.names(&references)
}

#[test]
fn a_vertex_waits_for_its_parents_and_all_that_waited_follows_parents_first() {
    let drawn = Drawn::new(4, "ABCD1; ABC2:[A1 B1 C1 D1]; A3");
    let mut dag = drawn.empty_dag();
    let a3 = insert(&mut dag, &drawn, "A3");
    let missing_of_a3 = drawn.references("A2 B2 C2");
    assert_eq!(
        a3,
        Inserted::Pending {
            missing: missing_of_a3
        }
    );
    assert_eq!(missing(&drawn, &dag), "A2 B2 C2");
    for name in ["A2", "B2", "C2"] {
        assert!(matches!(
            insert(&mut dag, &drawn, name),
            Inserted::Pending { .. }
        ));
    }
    assert_eq!(
        missing(&drawn, &dag),
        "A1 B1 C1 D1",
        "what waits is not fetched again"
    );
    assert_eq!(dag.missing().next().unwrap().cited_by.len(), 3);
    for name in ["A1", "B1", "C1"] {
        assert_eq!(accepted(&drawn, insert(&mut dag, &drawn, name)), name);
    }
    assert_eq!(dag.pending_len(), 4);
    assert_eq!(
        accepted(&drawn, insert(&mut dag, &drawn, "D1")),
        "D1 A2 B2 C2 A3"
    );
    assert_eq!(dag.pending_len(), 0);
    assert_eq!(dag.missing().count(), 0);
    assert_eq!(dag.counters().accepted, 8);
}

#[test]
fn what_is_accepted_or_waits_already_is_known() {
    let drawn = Drawn::new(4, "ABCD1; A2");
    let mut dag = drawn.empty_dag();
    insert(&mut dag, &drawn, "A2");
    assert_eq!(insert(&mut dag, &drawn, "A2"), Inserted::Known);
    insert(&mut dag, &drawn, "A1");
    assert_eq!(insert(&mut dag, &drawn, "A1"), Inserted::Known);
}

#[test]
fn a_gap_or_an_overlap_in_positions_is_accepted_and_kept_as_evidence() {
    for (position, found) in [("^3", 3), ("^1", 1), ("^0", 0)] {
        let text =
            format!("ABCD1 #2; BCD2; A2:[A1 B1 C1] {position}; AB3:[A2 B2 C2]; CD3:[C2 B2 D2]; C4");
        let drawn = Drawn::new(4, &text);
        let mut dag = drawn.empty_dag();
        for name in ["A1", "B1", "C1", "D1", "B2", "C2", "D2"] {
            insert(&mut dag, &drawn, name);
        }
        for name in ["C4", "A3", "B3"] {
            assert!(matches!(
                insert(&mut dag, &drawn, name),
                Inserted::Pending { .. }
            ));
        }
        let inserted = insert(&mut dag, &drawn, "A2");
        assert_eq!(accepted(&drawn, inserted), "A2 A3 B3");
        let broken: Vec<&BrokenLink> = dag.broken_links().collect();
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].vertex.reference(), drawn.reference("A2"));
        assert_eq!(broken[0].vertex.first_position(), Position(found));
        let previous = broken[0]
            .previous
            .as_ref()
            .map(|previous| previous.reference());
        assert_eq!(previous, Some(drawn.reference("A1")));
    }
}

#[test]
fn the_first_vertex_starts_at_position_zero_and_not_before_the_epoch() {
    for (text, broken) in [("A1 ^1", 1), ("A1 @-1", 1), ("A1 @0", 0)] {
        let drawn = Drawn::new(4, text);
        let mut dag = drawn.empty_dag();
        assert_eq!(accepted(&drawn, insert(&mut dag, &drawn, "A1")), "A1");
        assert_eq!(dag.broken_links().count(), broken, "{text}");
        assert!(dag.broken_links().all(|link| link.previous.is_none()));
    }
}

#[test]
fn time_that_runs_backwards_is_evidence_and_time_that_stands_still_is_not() {
    let drawn = Drawn::new(4, "ABCD1 @500; A2 @499; B2 @500");
    let dag = drawn.dag();
    let broken: Vec<VertexRef> = dag
        .broken_links()
        .map(|link| link.vertex.reference())
        .collect();
    assert_eq!(drawn.names(&broken), "A2");
    assert_eq!(dag.counters().broken_links, 1);
}

#[test]
fn twins_in_a_slot_are_a_fork_and_both_are_accepted() {
    let drawn = Drawn::new(4, "ABCD1; A1'; B2:[A1 B1 C1]; C2:[A1' B1 C1]");
    let dag = drawn.dag();
    assert_eq!(dag.slot(Round(1), AuthorityIndex(0)).len(), 2);
    assert_eq!(dag.count_of(Round(1)), 5);
    assert_eq!(dag.authors_of(Round(1)).len(), 4);
    let forks: Vec<&ForkEvidence> = dag.forks().collect();
    assert_eq!(forks.len(), 1);
    assert!(forks[0].holds());
    assert_eq!(forks[0].author(), AuthorityIndex(0));
    assert!(dag.forked().contains(AuthorityIndex(0)));
}

#[test]
fn a_fork_across_slots_is_found_from_either_side() {
    // A3' leads to A1, past A2; neither of A2 and A3' reaches the other.
    let text = "ABCD1; ABCD2; BCD3; A3; A3':[A1 B2 C2 D2]";
    let drawn = Drawn::new(4, text);
    for order in ["A2 A3 A3'", "A3' A2 A3", "A2 A3' A3"] {
        let mut dag = drawn.empty_dag();
        for vertex in drawn.vertices().filter(|v| v.author() != AuthorityIndex(0)) {
            dag.insert(vertex.clone());
        }
        insert(&mut dag, &drawn, "A1");
        for name in order.split(' ') {
            insert(&mut dag, &drawn, name);
        }
        assert_eq!(dag.pending_len(), 0, "{order}");
        let forks: Vec<&ForkEvidence> = dag.forks().collect();
        assert_eq!(forks.len(), 1, "{order}");
        assert!(forks[0].holds(), "{order}");
    }
}

#[test]
fn a_chain_that_misses_rounds_is_no_fork_and_no_evidence_holds_against_it() {
    let drawn = Drawn::new(4, "ABCD1; BCD2; BCD3; A4:[A1 B3 C3 D3]");
    let dag = drawn.dag();
    assert!(dag.forked().is_empty());
    for (older, newer) in [("A1", "A4"), ("A4", "A1"), ("A1", "A1"), ("B1", "A4")] {
        let evidence = ForkEvidence {
            older: drawn.vertex(older),
            newer: drawn.vertex(newer),
        };
        assert!(!evidence.holds(), "{older} {newer}");
    }
}

#[test]
fn a_third_twin_is_taken_only_when_somebody_cites_it() {
    let drawn = Drawn::new(4, "ABCD1; A1'; A1''; A1'''; B2:[A1''' B1 C1]");
    let mut dag = drawn.empty_dag();
    for name in ["A1", "A1'", "B1", "C1"] {
        insert(&mut dag, &drawn, name);
    }
    let refused = Inserted::Refused(VertexFault::UnaskedTwin);
    assert_eq!(insert(&mut dag, &drawn, "A1''"), refused);
    assert_eq!(insert(&mut dag, &drawn, "A1'''"), refused);
    assert!(matches!(
        insert(&mut dag, &drawn, "B2"),
        Inserted::Pending { .. }
    ));
    assert_eq!(
        accepted(&drawn, insert(&mut dag, &drawn, "A1'''")),
        "A1''' B2"
    );
    assert_eq!(dag.counters().refused_bounds, 2);
}

#[test]
fn too_many_waiting_of_one_author_lose_the_highest_and_leave_the_others_alone() {
    let drawn = Drawn::new(4, "ABCD1; B2");
    // Twins of A2, each waiting for A1, one more than may wait; a higher round first.
    let twins: Vec<VerifiedVertex> = (0..PENDING_PER_AUTHOR_MAX as u64)
        .map(|at| Drawn::new(4, &format!("ABCD1; ABCD2; A3 @{}", 3000 + at)).vertex("A3"))
        .collect();
    let mut dag = drawn.empty_dag();
    for twin in twins {
        assert!(matches!(dag.insert(twin), Inserted::Pending { .. }));
    }
    let higher = Drawn::new(4, "ABCD1; ABCD2; ABCD3; A4").vertex("A4");
    assert_eq!(
        dag.insert(higher),
        Inserted::Refused(VertexFault::PendingFull)
    );
    let lower = Drawn::new(4, "ABCD1; A2").vertex("A2");
    assert!(matches!(dag.insert(lower), Inserted::Pending { .. }));
    assert_eq!(dag.pending_len(), PENDING_PER_AUTHOR_MAX);
    assert!(matches!(
        insert(&mut dag, &drawn, "B2"),
        Inserted::Pending { .. }
    ));
    assert_eq!(dag.counters().refused_bounds, 1);
}

#[test]
fn a_vertex_far_ahead_of_all_is_refused_and_counted() {
    let drawn = Drawn::new(4, "ABCD1");
    let far = crate::dag::VertexDraft {
        chain_id: drawn.committee.chain_id,
        epoch: drawn.committee.epoch,
        round: Round(ROUNDS_AHEAD_MAX + 1),
        author: AuthorityIndex(0),
        timestamp: EPOCH_START,
        first_position: Position(0),
        parents: (0..4)
            .map(|author| VertexRef {
                round: Round(ROUNDS_AHEAD_MAX),
                author: AuthorityIndex(author),
                digest: crate::types::Digest([author; 32]),
            })
            .collect(),
        entries: Vec::new(),
        settled: crate::dag::Settled::default(),
    };
    let bytes = far.sign(&crate::dag::drawn::key(0)).bytes().to_vec();
    let far = Vertex::verify(&bytes, &drawn.committee).unwrap();
    let mut dag = drawn.empty_dag();
    assert_eq!(
        dag.insert(far.clone()),
        Inserted::Refused(VertexFault::TooFarAhead)
    );
    assert_eq!(dag.counters().refused_far_ahead, 1);
    insert(&mut dag, &drawn, "A1");
    assert!(
        matches!(dag.insert(far), Inserted::Pending { .. }),
        "one round nearer"
    );
}

#[test]
fn parents_at_or_below_the_floor_are_not_needed_and_nothing_below_is_taken() {
    let drawn = Drawn::new(4, "ABCD1; ABCD2; ABCD3; ABCD4");
    let mut dag = drawn.empty_dag();
    for name in ["A1", "B1", "A3", "B3", "C3", "A4"] {
        insert(&mut dag, &drawn, name);
    }
    assert_eq!(dag.highest_round(), Round(1));
    let freed = dag.raise_floor(Round(2));
    let freed: Vec<VertexRef> = freed.iter().map(|vertex| vertex.reference()).collect();
    assert_eq!(drawn.names(&freed), "A3 B3 C3");
    assert_eq!(insert(&mut dag, &drawn, "D2"), Inserted::BelowFloor);
    assert!(dag.vertex(&drawn.reference("A1")).is_none());
    assert_eq!(missing(&drawn, &dag), "D3");
    assert_eq!(accepted(&drawn, insert(&mut dag, &drawn, "D3")), "D3 A4");
    assert_eq!(dag.raise_floor(Round(1)), Vec::new());
    assert_eq!(dag.floor(), Round(2), "the floor only rises");
    assert_eq!(dag.counters().below_floor, 1);
}

#[test]
fn positions_are_checked_against_the_authors_newest_vertex_also_below_the_floor() {
    let text = "ABCD1; BCD2; BCD3; A4':[A1 B3 C3 D3] ^7";
    let drawn = Drawn::new(4, text);
    let mut dag = drawn.empty_dag();
    for vertex in drawn.vertices().filter(|vertex| vertex.round() < Round(4)) {
        dag.insert(vertex.clone());
    }
    dag.raise_floor(Round(2));
    assert_eq!(accepted(&drawn, insert(&mut dag, &drawn, "A4'")), "A4'");
    assert_eq!(dag.broken_links().count(), 1);
}

#[test]
fn a_peer_may_lack_all_that_none_of_its_vertices_reaches() {
    let drawn = Drawn::new(4, "ABCD1; ABC2:[A1 B1 C1]; A3");
    let dag = drawn.dag();
    let unknown_to = |author| {
        let unknown = dag.unknown_to(AuthorityIndex(author));
        let references: Vec<VertexRef> = unknown.map(|vertex| vertex.reference()).collect();
        drawn.names(&references)
    };
    assert_eq!(unknown_to(0), "D1");
    assert_eq!(unknown_to(1), "D1 A2 C2 A3");
    assert_eq!(unknown_to(3), "A1 B1 C1 A2 B2 C2 A3");
}

#[test]
fn which_vertices_are_accepted_does_not_hang_on_their_order() {
    let text =
        "ABCD1; A1'; ABC2:[A1 B1 C1]; D2:[A1' B1 D1]; BCD3; A3:[A2 B2 D2] ^9; A3':[A1' B2 C2 D2]";
    let drawn = Drawn::with(4, Parameters::default(), text);
    let all: Vec<VerifiedVertex> = drawn.vertices().cloned().collect();
    let accepted_of = |order: Vec<VerifiedVertex>| {
        let mut dag = drawn.empty_dag();
        for vertex in order {
            dag.insert(vertex);
        }
        let rounds = (1..=3).flat_map(|round| {
            let vertices = dag.vertices_of(Round(round));
            vertices
                .map(|vertex| vertex.reference())
                .collect::<Vec<_>>()
        });
        (rounds.collect::<Vec<_>>(), dag.forked())
    };
    let forwards = accepted_of(all.clone());
    assert_eq!(forwards.0.len(), all.len(), "the gap, too");
    assert_eq!(accepted_of(all.iter().rev().cloned().collect()), forwards);
    for shift in 1..all.len() {
        let mut order = all.clone();
        order.rotate_left(shift);
        assert_eq!(accepted_of(order), forwards);
    }
}
