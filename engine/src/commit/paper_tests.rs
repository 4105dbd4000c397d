//! The patterns and decision steps that the paper draws, and those of the same kind that it leaves to the reader.
//!
//! Mysticeti, NDSS 2025, section 3: figure 2 (skip and certificate pattern) and figure 3 (decision steps, of which the
//! last three panels are an undecided anchor, a committed one with a certificate in its history, and one without). The
//! paper's validators v0 to v3 are A to D here, and one slot a round leads: B1, C2, D3, A4, B5.

use crate::commit::decide::{Decision, decide_directly, decide_through};
use crate::commit::schedule::Schedule;
use crate::commit::sequence::Committer;
use crate::dag::drawn::Drawn;
use crate::types::{AuthorityIndex, Round};

/// Slot 1 has one certificate (A3); slot 2 three votes and no certificate; slot 3 a skip pattern.
const STEPS: &str = "ABCD1; ABC2:[A1 B1 C1]; D2:[A1 C1 D1]; \
    A3:[A2 B2 C2]; B3:[A2 B2 D2]; C3:[B2 C2 D2]; D3:[A2 C2 D2]; \
    ABC4:[A3 B3 C3]; D4:[B3 C3 D3]";

/// The slot of `round` judged by its own wave, under the first schedule.
fn directly(text: &str, authorities: u8, round: u64) -> (Drawn, Decision) {
    let drawn = Drawn::new(authorities, text);
    let leader = Schedule::new(&drawn.committee).leader(Round(round));
    let decision = decide_directly(&drawn.dag(), Round(round), leader.unwrap());
    (drawn, decision)
}

/// The anchors, and the lowest slot that is open.
fn output(text: &str) -> (String, u64) {
    let drawn = Drawn::new(4, text);
    let mut committer = Committer::new(&drawn.committee);
    let sub_dags = committer.advance(&drawn.dag());
    let anchors = drawn.names(sub_dags.iter().map(|sub_dag| &sub_dag.anchor));
    (anchors, committer.counters().undecided_round.0)
}

#[test]
fn figure_2_a_skip_pattern_and_a_certificate_pattern() {
    let skip = "ABCD1; ACD2:[A1 C1 D1]; B2";
    assert_eq!(directly(skip, 4, 1).1, Decision::Skip);
    let certified = "ABCD1; ABC2:[A1 B1 C1]; D2:[A1 C1 D1]";
    for certificates in 1..=4 {
        let names = &"ABCD"[..certificates];
        let mut text = certified.to_owned();
        for name in names.chars() {
            // D takes its own vertex along, which does not vote.
            let own = if name == 'D' { " D2" } else { "" };
            text += &format!("; {name}3:[A2 B2 C2{own}]");
        }
        let (drawn, decision) = directly(&text, 4, 1);
        let expected = match certificates {
            1 | 2 => Decision::Undecided,
            _ => Decision::Commit(drawn.reference("B1")),
        };
        assert_eq!(decision, expected, "{certificates} certificates");
    }
}

#[test]
fn figure_3_the_decision_steps_one_after_the_other() {
    // By their own waves: one certificate is not enough, none is not a skip, three without a vote are.
    let rounds_5_and_6 = format!("{STEPS}; ABCD5; ABCD6");
    assert_eq!(directly(&rounds_5_and_6, 4, 1).1, Decision::Undecided);
    assert_eq!(directly(&rounds_5_and_6, 4, 2).1, Decision::Undecided);
    assert_eq!(directly(&rounds_5_and_6, 4, 3).1, Decision::Skip);
    let (drawn, of_a4) = directly(&rounds_5_and_6, 4, 4);
    assert_eq!(of_a4, Decision::Commit(drawn.reference("A4")));
    // (e) A4 is committed, and A3 in its history certifies B1. (d) C2 waits for B5, which is undecided.
    assert_eq!(output(&rounds_5_and_6), ("B1".to_owned(), 2));
    // (f) B5 is committed, and nothing in its history certifies C2.
    let round_7 = format!("{rounds_5_and_6}; ABCD7");
    assert_eq!(output(&round_7), ("B1 A4 B5".to_owned(), 6));
}

#[test]
fn before_its_anchor_is_decided_a_slot_stays_open_however_much_is_known_of_later_ones() {
    assert_eq!(output(STEPS), (String::new(), 1));
    assert_eq!(output(&format!("{STEPS}; ABCD5")), (String::new(), 1));
}

#[test]
fn an_anchor_decides_alike_whichever_anchor_it_is() {
    // Every vertex of round 4 and later has A3 in its history, so each of them would commit B1 and skip C2.
    let drawn = Drawn::new(4, &format!("{STEPS}; ABCD5; ABCD6"));
    let dag = drawn.dag();
    let committed = Decision::Commit(drawn.reference("B1"));
    for anchor in ["A4", "B4", "A5", "B5", "C5", "D5", "D6"] {
        let anchor = drawn.reference(anchor);
        let of_b1 = decide_through(&dag, Round(1), AuthorityIndex(1), &anchor);
        assert_eq!(of_b1, committed, "{anchor:?}");
        if anchor.round >= Round(5) {
            let of_c2 = decide_through(&dag, Round(2), AuthorityIndex(2), &anchor);
            assert_eq!(of_c2, Decision::Skip, "{anchor:?}");
        }
    }
}

#[test]
fn a_voter_that_says_both_gives_its_vote_only_where_the_voting_twin_is_cited() {
    // C votes for B1 and does not. A3 and B3 build upon the vote and certify, C3 and D3 upon its twin and do not; D's
    // no and the twin's are two, too few to skip.
    let both = "ABCD1; AB2:[A1 B1 C1]; C2:[A1 B1 C1]; C2':[A1 C1 D1]; D2:[A1 C1 D1]; \
                AB3:[A2 B2 C2]; C3:[A2 C2' D2]; D3:[A2 C2' D2]";
    assert_eq!(directly(both, 4, 1).1, Decision::Undecided);
    // An anchor with A3 or B3 in its history commits, and every anchor has one: three of four authors' vertices.
    let later = format!("{both}; A4:[A3 C3 D3]; BCD4:[B3 C3 D3]; ABCD5; ABCD6");
    assert_eq!(output(&later), ("B1".to_owned(), 2), "C's own slot waits");
}

#[test]
fn a_leader_whose_twins_are_both_cited_commits_the_certified_one_through_an_anchor() {
    // B1 has three votes and one certificate; B1' has D's vote and none.
    let twins = "ABCD1; B1'; ABC2:[A1 B1 C1]; D2:[A1 B1' D1]; \
                 A3:[A2 B2 C2]; B3:[A2 B2 D2]; C3:[B2 C2 D2]; D3:[A2 C2 D2]; ABCD4; ABCD5; ABC6";
    let (anchors, _) = output(twins);
    assert!(anchors.starts_with("B1 C2 D3"), "{anchors}");
}

#[test]
fn a_leader_whose_vertex_nobody_has_seen_is_skipped_and_its_late_vertex_commits_nothing() {
    let absent = "ACD1; ACD2:[A1 C1 D1]";
    assert_eq!(directly(absent, 4, 1).1, Decision::Skip);
    let late = format!("{absent}; ACD3; B1; ACD4; ACD5; ACD6");
    let (anchors, _) = output(&late);
    assert!(!anchors.contains("B1"), "{anchors}");
}

#[test]
fn thresholds_are_those_of_the_committee_with_five_and_with_seven() {
    // Five: q = 4, B leads round 1. Three certificates are too few, four do.
    let five = "ABCDE1; ABCDE2; ABC3";
    assert_eq!(directly(five, 5, 1).1, Decision::Undecided);
    let (drawn, decision) = directly(&format!("{five}; D3"), 5, 1);
    assert_eq!(decision, Decision::Commit(drawn.reference("B1")));
    let no_votes = |authors: &str| format!("ABCDE1; {authors}2:[A1 C1 D1 E1]");
    assert_eq!(directly(&no_votes("ACD"), 5, 1).1, Decision::Undecided);
    assert_eq!(directly(&no_votes("ACDE"), 5, 1).1, Decision::Skip);
    // Seven: q = 5.
    let seven = "ABCDEFG1; ABCDEFG2; ABCD3";
    assert_eq!(directly(seven, 7, 1).1, Decision::Undecided);
    let (drawn, decision) = directly(&format!("{seven}; G3"), 7, 1);
    assert_eq!(decision, Decision::Commit(drawn.reference("B1")));
    let no_votes = |authors: &str| format!("ABCDEFG1; {authors}2:[A1 C1 D1 E1 F1 G1]");
    assert_eq!(directly(&no_votes("ACDE"), 7, 1).1, Decision::Undecided);
    assert_eq!(directly(&no_votes("ACDEF"), 7, 1).1, Decision::Skip);
}
