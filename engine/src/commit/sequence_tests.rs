//! Claims about decisions, the sequence of anchors and what sub-DAGs hold.
//!
//! In a committee of four (q = 3, f = 1) B leads round 1, C round 2, D round 3, A round 4, B round 5, and so on.

use super::*;
use crate::committee::Parameters;
use crate::dag::drawn::{Drawn, EPOCH_START, entry};
use crate::types::{AuthorityIndex, Entry};

fn sub_dags(drawn: &Drawn) -> Vec<SubDag> {
    Committer::new(&drawn.committee).advance(&drawn.dag())
}

fn anchors_of(drawn: &Drawn, sub_dags: &[SubDag]) -> String {
    drawn.names(sub_dags.iter().map(|sub_dag| &sub_dag.anchor))
}

/// The anchors that a committee of four commits, also when it sees the drawing vertex by vertex.
fn anchors(text: &str) -> String {
    let drawn = Drawn::new(4, text);
    let at_once = sub_dags(&drawn);
    let (mut dag, mut committer) = (drawn.empty_dag(), Committer::new(&drawn.committee));
    let mut stepwise = Vec::new();
    for vertex in drawn.vertices() {
        dag.insert(vertex.clone());
        stepwise.extend(committer.advance(&dag));
    }
    assert_eq!(stepwise, at_once);
    anchors_of(&drawn, &at_once)
}

/// What is known of the slot of `round` once all of `text` is there, before anything is output.
fn decision(text: &str, round: u64) -> (Drawn, Decision) {
    let drawn = Drawn::new(4, text);
    let mut committer = Committer::new(&drawn.committee);
    committer.decide(&drawn.dag());
    let decision = committer.decision(Round(round)).unwrap();
    (drawn, decision)
}

fn entries(names: &str) -> Vec<Entry> {
    names
        .split_whitespace()
        .map(|name| entry(name, 0))
        .collect()
}

#[test]
fn a_leader_with_a_quorum_of_certificates_commits_after_three_rounds() {
    assert_eq!(anchors("ABCD1; ABCD2; AB3"), "");
    assert_eq!(anchors("ABCD1; ABCD2; ABC3"), "B1");
    assert_eq!(anchors("ABCD1; ABCD2; ABCD3; ABCD4; ABCD5"), "B1 C2 D3");
}

#[test]
fn certificates_of_one_authors_twins_count_once() {
    assert_eq!(anchors("ABCD1; ABCD2; AB3; B3'"), "");
    assert_eq!(anchors("ABCD1; ABCD2; AB3; B3'; D3"), "B1");
}

#[test]
fn a_certificate_takes_a_quorum_of_voting_parents() {
    // B1 has three votes, but only A3 has all three of the voters as parents.
    let votes = "ABCD1; ABC2:[A1 B1 C1]; D2:[A1 C1 D1]";
    assert_eq!(anchors(&format!("{votes}; ABC3:[A2 B2 C2]")), "B1");
    let few = format!("{votes}; A3:[A2 B2 C2]; BC3:[B2 C2 D2]; D3:[A2 C2 D2]");
    assert_eq!(decision(&few, 1).1, Decision::Undecided);
}

#[test]
fn an_older_parent_in_the_leaders_slot_is_no_vote() {
    // C2 and D2 do not vote for B1; that their round 3 cites it as an older parent changes nothing.
    let text = "ABCD1; ACD2:[A1 C1 D1]; ACD3:[A2 C2 D2 + B1]; ACD4";
    let (_, decision) = decision(text, 1);
    assert_eq!(decision, Decision::Skip);
}

#[test]
fn a_quorum_of_authors_without_a_vote_skips_the_slot() {
    assert_eq!(decision("ABCD1; AC2:[A1 C1 D1]", 1).1, Decision::Undecided);
    assert_eq!(decision("ABCD1; ACD2:[A1 C1 D1]", 1).1, Decision::Skip);
    let drawn = Drawn::new(4, "ABCD1; ACD2:[A1 C1 D1]; ACD3; ACD4");
    let mut committer = Committer::new(&drawn.committee);
    assert_eq!(anchors_of(&drawn, &committer.advance(&drawn.dag())), "C2");
    let counters = CommitCounters {
        commits: 1,
        skips: 1,
        undecided_round: Round(3),
    };
    assert_eq!(committer.counters(), counters);
}

#[test]
fn skips_count_authors_not_twins() {
    let three_vertices_of_two = "ABCD1; AC2:[A1 C1 D1]; C2':[A1 C1 D1]";
    assert_eq!(decision(three_vertices_of_two, 1).1, Decision::Undecided);
    // An author with a voting twin and one that does not is one of the quorum that skips.
    let with_two_faced = "ABCD1; A2:[A1 B1 C1]; A2':[A1 C1 D1]; CD2:[A1 C1 D1]";
    assert_eq!(decision(with_two_faced, 1).1, Decision::Skip);
}

#[test]
fn a_vote_for_either_of_a_leaders_twins_counts_against_skipping() {
    // Each twin lacks the votes of three authors, and yet the slot is not skipped.
    let text = "ABCD1; B1'; A2:[A1 B1 C1]; C2:[B1' C1 D1]; D2:[A1 C1 D1]; B2:[A1 B1 D1]";
    assert_eq!(decision(text, 1).1, Decision::Undecided);
}

#[test]
fn of_a_leaders_twins_the_one_that_a_quorum_votes_for_commits() {
    let text = "ABCD1; B1'; B2:[A1 B1 C1]; ACD2:[A1 B1' C1 D1]; ACD3:[A2 C2 D2]; B3";
    assert_eq!(anchors(text), "B1'");
}

#[test]
fn twins_that_split_the_votes_are_skipped_through_a_later_anchor() {
    let split = "ABCD1; B1'; AB2:[A1 B1 C1 D1]; CD2:[A1 B1' C1 D1]; ABCD3; ABCD4; ABCD5";
    assert_eq!(anchors(split), "", "the next two are decided and must wait");
    assert_eq!(anchors(&format!("{split}; ABC6")), "C2 D3 A4");
}

/// A3 alone certifies B1: three vote, one does not, and nobody else has all three voters as parents.
const ONE_CERTIFICATE: &str = "ABCD1; ABC2:[A1 B1 C1]; D2:[A1 C1 D1]; A3:[A2 B2 C2]; B3:[A2 B2 D2]; C3:[B2 C2 D2]; D3:[A2 C2 D2]";

#[test]
fn a_certificate_in_a_later_anchors_history_commits() {
    let text = format!("{ONE_CERTIFICATE}; ABCD4; ABCD5");
    assert_eq!(
        anchors(&text),
        "",
        "B1 stays undecided and holds back C2 and D3"
    );
    assert_eq!(anchors(&format!("{text}; ABC6")), "B1 C2 D3 A4");
}

#[test]
fn a_certificate_outside_the_anchors_history_does_not() {
    // B3 alone certifies B1, and A4, the anchor that decides, does not have B3 in its history.
    let text = "ABCD1; ABC2:[A1 B1 C1]; D2:[A1 C1 D1]; \
                B3:[A2 B2 C2]; AD3:[A2 C2 D2]; C3:[B2 C2 D2]; \
                ACD4:[A3 C3 D3]; B4:[A3 B3 C3 D3]; ABCD5; ABC6";
    assert_eq!(anchors(text), "C2 D3 A4");
}

#[test]
fn an_undecided_slot_stops_the_output_though_later_ones_are_decided() {
    let text = format!("{ONE_CERTIFICATE}; ABCD4");
    let (drawn, later) = decision(&text, 2);
    assert_eq!(later, Decision::Commit(drawn.reference("C2")));
    assert_eq!(decision(&text, 1).1, Decision::Undecided);
    assert_eq!(anchors(&text), "");
}

#[test]
fn a_skipped_anchor_passes_the_decision_on_and_an_undecided_one_does_not() {
    // A is gone after round 3, so A4 is skipped and B5 decides B1.
    let text = format!("{ONE_CERTIFICATE}; BCD4:[A3 B3 C3 D3]; BCD5");
    assert_eq!(decision(&text, 4).1, Decision::Skip);
    assert_eq!(decision(&text, 1).1, Decision::Undecided);
    let text = format!("{text}; BCD6");
    assert_eq!(decision(&text, 1).1, Decision::Undecided);
    let (drawn, through_b5) = decision(&format!("{text}; BCD7"), 1);
    assert_eq!(through_b5, Decision::Commit(drawn.reference("B1")));

    // Here B5 commits, but A4 is undecided (two vote, two do not) and is asked first; only D7's commit settles A4.
    let text = format!("{ONE_CERTIFICATE}; ABCD4; AB5:[A4 B4 C4]; CD5:[B4 C4 D4]; ABCD6; ABCD7");
    let (drawn, of_b5) = decision(&text, 5);
    assert_eq!(of_b5, Decision::Commit(drawn.reference("B5")));
    assert_eq!(decision(&text, 4).1, Decision::Undecided);
    assert_eq!(decision(&text, 1).1, Decision::Undecided);
    assert_eq!(anchors(&text), "");
    assert_eq!(
        anchors(&format!("{text}; ABCD8; ABCD9")),
        "B1 C2 D3 B5 C6 D7"
    );
}

/// D is there for two rounds and then gone.
fn without_d_from_round_3(rounds: u64) -> String {
    let mut text = "ABCD1; ABCD2".to_owned();
    for round in 3..=rounds {
        text += &format!("; ABC{round}");
    }
    text
}

#[test]
fn a_crashed_leader_costs_one_slot_and_the_others_lead_in_its_place() {
    let drawn = Drawn::new(4, &without_d_from_round_3(13));
    let mut committer = Committer::new(&drawn.committee);
    let output = committer.advance(&drawn.dag());
    // Rounds 7 and 11 were D's.
    assert_eq!(
        anchors_of(&drawn, &output),
        "B1 C2 A4 B5 C6 B7 A8 B9 C10 C11"
    );
    let counters = CommitCounters {
        commits: 10,
        skips: 1,
        undecided_round: Round(12),
    };
    assert_eq!(committer.counters(), counters);
    let out: Vec<AuthorityIndex> = committer.schedule().out().iter().collect();
    assert_eq!(out, [AuthorityIndex(3)]);
}

#[test]
fn a_leader_that_comes_back_leads_again_after_enough_anchors() {
    let mut text = without_d_from_round_3(8);
    text += "; ABC9:[A8 B8 C8]; D3:[D2 A2 B2 C2]; D4:[D3 A3 B3 C3]; D5:[D4 A4 B4 C4]";
    text += "; D6:[D5 A5 B5 C5]; D7:[D6 A6 B6 C6]; D8:[D7 A7 B7 C7]; D9:[D8 A8 B8 C8]";
    for round in 10..=20 {
        text += &format!("; ABCD{round}");
    }
    let parameters = Parameters {
        leader_return_anchors: 3,
        ..Parameters::default()
    };
    let drawn = Drawn::with(4, parameters, &text);
    let output = sub_dags(&drawn);
    // C10, C11 and A12 cite D in the round before; 15 is D's again. Its old vertices, cited late, count for nothing.
    assert_eq!(
        anchors_of(&drawn, &output),
        "B1 C2 A4 B5 C6 B7 A8 B9 C10 C11 A12 B13 C14 D15 A16 B17 C18"
    );
}

#[test]
fn what_was_decided_behind_a_change_is_judged_anew() {
    // B1 hangs on its twins until round 6; C2 to B5 are long decided by then. As B is skipped, the slot of round 5 is
    // D's, and the same vertices commit D5.
    let text = "ABCD1; B1'; AB2:[A1 B1 C1 D1]; CD2:[A1 B1' C1 D1]; ABCD3; ABCD4; ABCD5; ABC6";
    let (drawn, of_b5) = decision(&format!("{text}; D6; ABCD7"), 5);
    assert_eq!(of_b5, Decision::Commit(drawn.reference("B5")));
    assert_eq!(
        anchors(&format!("{text}; D6; ABCD7; ABCD8")),
        "C2 D3 A4 D5 C6"
    );
}

#[test]
fn an_author_whose_fork_is_committed_leads_no_more() {
    let mut text = FORK.to_owned();
    for round in 7..=11 {
        text += &format!("; ABCD{round}");
    }
    // D3 shows A's fork: the slots of rounds 4 and 8 go to others.
    assert_eq!(anchors(&text), "B1 C2 D3 C4 B5 C6 D7 D8 B9");
}

#[test]
fn a_committee_of_one_commits_by_itself() {
    let drawn = Drawn::new(1, "A1; A2; A3; A4");
    assert_eq!(anchors_of(&drawn, &sub_dags(&drawn)), "A1 A2");
}

#[test]
fn a_sub_dag_holds_the_history_that_no_earlier_one_held_parents_first() {
    let drawn = Drawn::new(4, "ABCD1; ABC2:[A1 B1 C1]; D2; ABCD3; ABCD4; ABCD5");
    let output = sub_dags(&drawn);
    let held: Vec<String> = output
        .iter()
        .map(|sub_dag| drawn.names(&sub_dag.vertices))
        .collect();
    assert_eq!(held, ["B1", "A1 C1 C2", "D1 A2 B2 D2 D3"]);
    let indices: Vec<(u64, Round)> = output.iter().map(|s| (s.index, s.leader_round)).collect();
    assert_eq!(indices, [(0, Round(1)), (1, Round(2)), (2, Round(3))]);
}

#[test]
fn lists_grow_by_each_authors_new_entries_in_its_own_order() {
    let drawn = Drawn::new(4, "ABCD1 #2; ABC2:[A1 B1 C1]; D2; ABCD3; ABCD4; ABCD5");
    let appends = &sub_dags(&drawn)[2].appends;
    assert_eq!(appends[0], entries("A2"));
    assert_eq!(appends[1], entries("B2"));
    assert_eq!(appends[2], []);
    let of_d = [
        entry("D1", 0),
        entry("D1", 1),
        entry("D2", 0),
        entry("D3", 0),
    ];
    assert_eq!(appends[3], of_d);
}

#[test]
fn ties_are_keyed_by_the_anchors_parents_of_the_round_before_less_its_own() {
    // A4 also cites D1, which is older and keys nothing.
    let text = "ABC1; D1; ABC2:[A1 B1 C1]; ABC3; A4:[A3 B3 C3 + D1]; BC4; ABC5; ABC6";
    let drawn = Drawn::new(4, text);
    let output = sub_dags(&drawn);
    assert_eq!(anchors_of(&drawn, &output), "B1 C2 A4");
    let sorted_digests = |names| {
        let references = drawn.references(names);
        let mut digests: Vec<_> = references
            .iter()
            .map(|reference| reference.digest)
            .collect();
        digests.sort_unstable();
        digests
    };
    assert_eq!(output[0].tie_parents, sorted_digests("A0 C0 D0"));
    assert_eq!(output[1].tie_parents, sorted_digests("A1 B1"));
    assert_eq!(output[2].tie_parents, sorted_digests("B3 C3"));
}

#[test]
fn consensus_time_is_the_lower_median_of_everybodys_newest_committed_clock() {
    let text = "AB1 @100; C1 @300; D1 @900; ABCD2 @1000; ABCD3 @2000; ABCD4 @3000; ABCD5 @4000";
    let drawn = Drawn::new(4, text);
    let mut committer = Committer::new(&drawn.committee);
    assert_eq!(committer.consensus_time(), EPOCH_START);
    let output = committer.advance(&drawn.dag());
    let times: Vec<u64> = output
        .iter()
        .map(|s| s.consensus_time.since_us(EPOCH_START))
        .collect();
    // B1 alone: 0 100 0 0. With C2's history: 100 100 1000 900. With D3's: 1000 1000 1000 2000.
    assert_eq!(times, [0, 100, 1000]);
    assert_eq!(committer.consensus_time(), EPOCH_START.plus_us(1000));
}

#[test]
fn one_clock_far_ahead_does_not_move_consensus_time_beyond_the_others() {
    let mut text = "A1 @99999999; BCD1".to_owned();
    for round in 2..=6 {
        text += &format!(
            "; BCD{round}; A{round}:[A{0} B{0} C{0} D{0}] @99999999",
            round - 1
        );
    }
    let drawn = Drawn::new(4, &text);
    let output = sub_dags(&drawn);
    assert_eq!(output.len(), 4);
    for sub_dag in output {
        let newest_correct = EPOCH_START.plus_us(1000 * sub_dag.leader_round.0);
        assert!(sub_dag.consensus_time <= newest_correct);
    }
}

/// A forks in round 1; C2 cites A1 and B2 the twin, so D3 is the first anchor whose history shows both.
const FORK: &str = "ABCD1; A1'; C2:[A1 B1 C1 D1]; B2:[A1' B1 C1 D1]; AD2:[A1 B1 C1 D1]; \
                    ABCD3; ABCD4; ABCD5; ABCD6";

#[test]
fn a_forked_author_adds_nothing_from_the_anchor_that_shows_it_on() {
    let drawn = Drawn::new(4, FORK);
    let mut committer = Committer::new(&drawn.committee);
    let output = committer.advance(&drawn.dag());
    assert_eq!(anchors_of(&drawn, &output), "B1 C2 D3 C4");
    assert_eq!(output[1].new_forks, []);
    assert_eq!(
        output[1].appends[0],
        entries("A1"),
        "counted before it showed"
    );
    assert_eq!(output[2].new_forks, [AuthorityIndex(0)]);
    assert_eq!(drawn.names(&output[2].vertices), "A1' A2 B2 D2 D3");
    assert_eq!(
        output[2].appends[0],
        [],
        "not even what one chain would hold"
    );
    assert_eq!(output[2].appends[1], entries("B2"));
    assert_eq!(output[3].new_forks, [], "told once");
    assert!(output[3].vertices.contains(&drawn.reference("A3")));
    assert_eq!(
        output[3].appends[0],
        [],
        "its vertices commit, its entries do not"
    );
    assert!(committer.forked().contains(AuthorityIndex(0)));
}

#[test]
fn controls_come_in_the_order_of_their_vertices_and_a_forked_author_has_none() {
    let text = "A1 !a1; BCD1; A1'; C2:[A1 B1 C1 D1] !c2; B2:[A1' B1 C1 D1] !b2; AD2:[A1 B1 C1 D1]; \
                A3 !a3; BCD3; ABCD4; ABCD5; ABCD6";
    let drawn = Drawn::new(4, text);
    let mut committer = Committer::new(&drawn.committee);
    let output = committer.advance(&drawn.dag());
    assert_eq!(anchors_of(&drawn, &output), "B1 C2 D3 C4");
    let said = |at: usize| -> Vec<(u8, &[u8])> {
        let controls = output[at].controls.iter();
        controls
            .map(|(author, bytes)| (author.0, &bytes[..]))
            .collect()
    };
    assert_eq!(said(0), []);
    assert_eq!(said(1), [(0, &b"a1"[..]), (2, b"c2")]);
    assert_eq!(said(2), [(1, &b"b2"[..])]);
    assert_eq!(said(3), [], "what a forked author says counts for nothing");
}

#[test]
fn a_forked_authors_clock_stands_where_it_was_last_counted() {
    let drawn = Drawn::new(4, FORK);
    let output = sub_dags(&drawn);
    // At C4 the newest counted are A 1000 (A1, for ever), B 3000, C 3000, D 3000; at D3 1000, 2000, 2000, 3000.
    let times: Vec<u64> = output
        .iter()
        .map(|s| s.consensus_time.since_us(EPOCH_START))
        .collect();
    assert_eq!(times, [0, 1000, 2000, 3000]);
}

#[test]
fn a_fork_across_slots_shows_in_committed_history() {
    // A3' leads back to A1, past A2 that C3 and others have in their history.
    let text =
        "ABCD1; ABCD2; BCD3; A3; A3':[A1 B2 C2 D2]; BCD4:[A3' B3 C3 D3]; BCD5; BCD6; BCD7; BCD8";
    let drawn = Drawn::new(4, text);
    let output = sub_dags(&drawn);
    assert_eq!(anchors_of(&drawn, &output), "B1 C2 D3 B5 C6");
    assert_eq!(output[2].appends[0], entries("A2"));
    assert_eq!(output[3].new_forks, [AuthorityIndex(0)]);
    assert_eq!(output[3].appends[0], []);
}

#[test]
fn positions_and_times_that_do_not_follow_put_their_author_out_where_they_are_committed() {
    for (a2, is_out) in [
        ("A2", false),
        ("A2 ^9", true),
        ("A2 ^0", true),
        ("A2 @999", true),
        ("A2 @1000", false),
    ] {
        let drawn = Drawn::new(4, &format!("ABCD1; {a2}; BCD2; ABCD3; ABCD4; ABCD5; ABCD6"));
        let output = sub_dags(&drawn);
        assert_eq!(output[1].appends[0], entries("A1"), "{a2}");
        let shown: Vec<AuthorityIndex> = match is_out {
            true => vec![AuthorityIndex(0)],
            false => Vec::new(),
        };
        assert_eq!(output[2].new_forks, shown, "{a2}");
        let listed = match is_out {
            true => Vec::new(),
            false => entries("A2"),
        };
        assert_eq!(output[2].appends[0], listed, "{a2}");
        assert_eq!(output[2].appends[1], entries("B2"), "{a2}");
        let later = output[3..].iter();
        let later: usize = later.map(|sub_dag| sub_dag.appends[0].len()).sum();
        assert_eq!(later == 0, is_out, "{a2}");
    }
}

#[test]
fn a_fork_that_committed_history_does_not_show_changes_nothing() {
    let drawn = Drawn::new(4, "ABCD1; A1'; ABCD2; ABCD3; ABCD4; ABCD5");
    assert!(!drawn.dag().forked().is_empty(), "the store has seen it");
    let output = sub_dags(&drawn);
    assert_eq!(output[1].appends[0], entries("A1"));
    assert!(output.iter().all(|sub_dag| sub_dag.new_forks.is_empty()));
}

/// D is silent after round 1, which A cites only in round 13.
fn late_history(gc_depth_rounds: u64) -> Drawn {
    let mut text = "ABC1; D1".to_owned();
    for round in 2..=12 {
        let before = round - 1;
        text += &format!("; ABC{round}:[A{before} B{before} C{before}]");
    }
    text += "; BC13; A13:[A12 B12 C12 + D1]; ABC14; ABC15; ABC16; ABC17; ABC18";
    let parameters = Parameters {
        gc_depth_rounds,
        ..Parameters::default()
    };
    Drawn::with(4, parameters, &text)
}

#[test]
fn a_sub_dag_leaves_out_rounds_too_far_below_the_previous_anchor() {
    let d1 = |drawn: &Drawn, output: &[SubDag]| {
        let d1 = drawn.reference("D1");
        output.iter().any(|sub_dag| sub_dag.vertices.contains(&d1))
    };
    // C14 is the first anchor with A13 below it; the one before is B13.
    let drawn = late_history(13);
    assert!(d1(&drawn, &sub_dags(&drawn)), "floor 0");
    let drawn = late_history(12);
    assert!(!d1(&drawn, &sub_dags(&drawn)), "floor 1");
}

/// D comes back in round 13 with a link to `link`, which no anchor committed and which is left out by then.
fn returns_with_a_link_left_out(link: &str) -> (Drawn, Vec<SubDag>) {
    returns(link, "")
}

/// The same, at this position.
fn returns(link: &str, position: &str) -> (Drawn, Vec<SubDag>) {
    let mut text = "ABCD1; D1'; ABC2; D2".to_owned();
    for round in 3..=12 {
        let before = round - 1;
        text += &format!("; ABC{round}:[A{before} B{before} C{before}]");
    }
    text += &format!("; ABC13; D13:[{link} A12 B12 C12] {position}; ABC14; ABC15; ABC16");
    let parameters = Parameters {
        gc_depth_rounds: 8,
        ..Parameters::default()
    };
    let drawn = Drawn::with(4, parameters, &text);
    let output = sub_dags(&drawn);
    assert!(
        output
            .iter()
            .all(|sub_dag| !sub_dag.vertices.contains(&drawn.reference(link)))
    );
    (drawn, output)
}

#[test]
fn a_chain_that_runs_through_a_vertex_left_out_goes_on() {
    let (drawn, output) = returns_with_a_link_left_out("D2");
    let back = output
        .iter()
        .find(|sub_dag| sub_dag.vertices.contains(&drawn.reference("D13")));
    let back = back.unwrap();
    assert_eq!(drawn.names([&back.anchor]), "C14");
    assert_eq!(back.appends[3], entries("D13"));
    assert!(back.new_forks.is_empty());
}

#[test]
fn behind_a_vertex_left_out_positions_may_have_gone_up_and_never_down() {
    for (position, is_out) in [("^2", false), ("^7", false), ("^0", true)] {
        let (_, output) = returns("D2", position);
        let shown = output.iter().any(|sub_dag| !sub_dag.new_forks.is_empty());
        assert_eq!(shown, is_out, "{position}");
    }
}

#[test]
fn a_link_past_the_last_committed_vertex_shows_a_fork_though_its_target_is_left_out() {
    let (_, output) = returns_with_a_link_left_out("D1'");
    let shown: Vec<_> = output.iter().filter(|s| !s.new_forks.is_empty()).collect();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].leader_round, Round(14));
    assert_eq!(shown[0].new_forks, [AuthorityIndex(3)]);
    assert_eq!(shown[0].appends[3], []);
}

#[test]
fn pruning_the_store_up_to_the_floor_changes_no_sub_dag() {
    let drawn = late_history(8);
    let unpruned = sub_dags(&drawn);
    let (mut dag, mut committer) = (drawn.empty_dag(), Committer::new(&drawn.committee));
    let mut pruned = Vec::new();
    for vertex in drawn.vertices() {
        dag.insert(vertex.clone());
        pruned.extend(committer.advance(&dag));
        dag.raise_floor(committer.floor());
    }
    assert_eq!(pruned, unpruned);
    assert_eq!(dag.floor(), Round(8), "the last anchor is A16");
    assert!(dag.vertex(&drawn.reference("A8")).is_none());
    assert!(dag.vertex(&drawn.reference("A9")).is_some());
    assert!(committer.is_committed(&drawn.reference("A9")));
}

#[test]
#[should_panic(expected = "the store keeps all that anchors may commit")]
fn a_store_pruned_above_the_floor_is_a_bug_and_stops_us() {
    let drawn = Drawn::new(4, "ABCD1; ABCD2; ABCD3; ABCD4; ABCD5");
    let mut dag = drawn.dag();
    let mut committer = Committer::new(&drawn.committee);
    dag.raise_floor(Round(1));
    committer.next = Round(3);
    committer.advance(&dag);
}
