//! When a round may be entered, when its vertex is due, and which parents it cites. Pure questions about the DAG.
//!
//! Source: Mysticeti, NDSS 2025, with the vote wait that it needs to be live: waiting for the leader's vertex alone
//! lets one faulty authority and the order of messages stop every commit (Starfish, eprint 2025/567; Qiu et al.,
//! S&P 2026). The own vertex of round r is due when
//!
//! - (a) the leader's vertex of r-1 is here and, among the vertices of r-1, q authors vote for the leader of r-2 or q
//!   authors do not: [`leader_wait_over`]; or
//! - (b) twice the timeout has passed since the round was entered: the caller's clock; or
//! - (c) q authors' vertices of r are here: [`is_overtaken`].
//!
//! Every count is of different authors. A forked leader's votes are counted together in (a), so that twins cannot
//! make everybody wait for (b).

use crate::commit::schedule::Schedule;
use crate::dag::header::VertexRef;
use crate::dag::store::Dag;
use crate::dag::vertex::VerifiedVertex;
use crate::mutant::{self, Mutant};
use crate::types::{AuthorityIndex, AuthoritySet, Round};

/// Whether `own` may enter `round`: q authors have a vertex in the round before, and `own` is one of them.
///
/// One whose newest vertex is at or below the floor may enter any round: it was away, or took over a state.
/// Round 0 holds everybody's implicit vertex, so round 1 may be entered at once.
pub fn may_enter(dag: &Dag, own: AuthorityIndex, round: Round) -> bool {
    if round == Round(0) {
        return false;
    }
    let before = dag.authors_of(round.minus(1));
    (before.contains(own) || dag.is_below_floor(own))
        && before.len() >= dag.committee().thresholds().quorum()
}

/// The highest round that can be entered by one whose newest vertex is at or below the floor.
pub fn round_to_enter(dag: &Dag) -> Option<Round> {
    let highest = dag.highest_round();
    let quorum = dag.committee().thresholds().quorum();
    let is_full = |round: &Round| dag.authors_of(*round).len() >= quorum;
    let before = [highest, highest.minus(1)].into_iter().find(is_full)?;
    Some(before.next())
}

/// Rule (a) for the own vertex of `round`, from 1. O(n^2).
pub fn leader_wait_over(dag: &Dag, schedule: &Schedule, round: Round) -> bool {
    let (votes, led) = (round.minus(1), round.minus(2));
    let leader_is_here = match schedule.leader(votes) {
        Some(leader) => !dag.slot(votes, leader).is_empty(),
        None => true,
    };
    let quorum = dag.committee().thresholds().quorum();
    if mutant::is(Mutant::NoVoteWait) {
        return leader_is_here;
    }
    leader_is_here
        && match schedule.leader(led) {
            Some(leader) => {
                let tally = Tally::of(dag, led, leader);
                tally.voters.len() >= quorum || tally.others.len() >= quorum
            }
            None => true,
        }
}

/// Rule (c) for the own vertex of `round`: q authors have theirs.
pub fn is_overtaken(dag: &Dag, round: Round) -> bool {
    dag.authors_of(round).len() >= dag.committee().thresholds().quorum()
}

/// The parents of the vertex that `own` makes in `round`, or none while [`may_enter`] is false.
///
/// Own previous vertex first; then, by author, each one's vertex of the round before, of twins the one that helps to
/// witness (a); then, for authors without one, the newest older vertex that nothing cited so far covers.
/// O(n^2 + vertices that own history does not cover).
pub fn choose_parents(
    dag: &Dag,
    schedule: &Schedule,
    own: AuthorityIndex,
    round: Round,
) -> Option<Vec<VertexRef>> {
    if !may_enter(dag, own, round) {
        return None;
    }
    let before = round.minus(1);
    if before == Round(0) {
        let others = dag.authors_of(before).iter().filter(|other| *other != own);
        let own_first = std::iter::once(own).chain(others);
        return Some(own_first.map(|author| dag.genesis(author)).collect());
    }
    let preferred = PreferredVote::of(dag, schedule, round.minus(2));
    let members = dag.committee().thresholds().members();
    let others = members.filter(|author| *author != own);
    let own_before = preferred.pick(dag.slot(before, own));
    let own_newest = || dag.newest(own).map(|newest| newest.reference());
    let own_previous = own_before
        .or_else(own_newest)
        .unwrap_or_else(|| dag.genesis(own));
    let picked = others.filter_map(|author| preferred.pick(dag.slot(before, author)));
    let mut parents: Vec<VertexRef> = std::iter::once(own_previous).chain(picked).collect();
    add_older(dag, own, round, &mut parents);
    Some(parents)
}

/// Adds the newest uncovered vertex of each author that has no parent yet, newest first.
fn add_older(dag: &Dag, own: AuthorityIndex, round: Round, parents: &mut Vec<VertexRef>) {
    let mut cited = AuthoritySet::EMPTY;
    for parent in parents.iter() {
        cited.insert(parent.author);
    }
    let uncovered = dag.uncovered_by(own, parents);
    // Newest first: an older one that a newer one covers would only lengthen the vertex, and a newer one of the same
    // author covers it by the own-previous link.
    for vertex in uncovered.iter().rev() {
        if vertex.round < round.minus(1) && cited.insert(vertex.author) {
            parents.push(*vertex);
        }
    }
}

/// Who votes in a leader's slot and who does not, by the vertices of the round after it.
struct Tally {
    voters: AuthoritySet,
    others: AuthoritySet,
    /// The vertices voted for, each with its voters.
    candidates: Vec<(VertexRef, AuthoritySet)>,
}

impl Tally {
    fn of(dag: &Dag, led: Round, leader: AuthorityIndex) -> Self {
        let mut tally = Self {
            voters: AuthoritySet::EMPTY,
            others: AuthoritySet::EMPTY,
            candidates: Vec::new(),
        };
        for vertex in dag.vertices_of(led.next()) {
            let Some(vote) = vertex.parent_in(led, leader) else {
                tally.others.insert(vertex.author());
                continue;
            };
            tally.voters.insert(vertex.author());
            let known = tally.candidates.iter_mut().find(|(seen, _)| seen == vote);
            if let Some((_, voters)) = known {
                voters.insert(vertex.author());
            } else {
                let mut voters = AuthoritySet::EMPTY;
                voters.insert(vertex.author());
                tally.candidates.push((*vote, voters));
            }
        }
        tally
    }
}

/// Of an author's twins the one to cite: the one that votes like the quorum that ended the wait.
struct PreferredVote {
    slot: Option<(Round, AuthorityIndex)>,
    vote: Option<VertexRef>,
}

impl PreferredVote {
    fn of(dag: &Dag, schedule: &Schedule, led: Round) -> Self {
        let Some(leader) = schedule.leader(led) else {
            return Self {
                slot: None,
                vote: None,
            };
        };
        let tally = Tally::of(dag, led, leader);
        let quorum = dag.committee().thresholds().quorum();
        let skips = tally.others.len() >= quorum && tally.voters.len() < quorum;
        // The most voters, of equals the least reference: any fixed choice will do.
        let favourite = tally
            .candidates
            .iter()
            .max_by_key(|(vote, voters)| (voters.len(), std::cmp::Reverse(*vote)))
            .map(|(vote, _)| *vote);
        Self {
            slot: Some((led, leader)),
            vote: favourite.filter(|_| !skips),
        }
    }

    fn pick(&self, twins: &[VerifiedVertex]) -> Option<VertexRef> {
        let misfit = |vertex: &VerifiedVertex| {
            let vote = self
                .slot
                .and_then(|(led, leader)| vertex.parent_in(led, leader).copied());
            (vote != self.vote, vote.is_some() != self.vote.is_some())
        };
        // `min_by_key` keeps the first of equals, and slots ascend by digest.
        twins
            .iter()
            .min_by_key(|vertex| misfit(vertex))
            .map(|vertex| vertex.reference())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::drawn::Drawn;

    const A: AuthorityIndex = AuthorityIndex(0);

    fn chosen(text: &str, own: AuthorityIndex, round: u64) -> String {
        let drawn = Drawn::new(4, text);
        let schedule = Schedule::new(&drawn.committee);
        let parents = choose_parents(&drawn.dag(), &schedule, own, Round(round));
        parents.map_or_else(|| "none".to_owned(), |parents| drawn.names(&parents))
    }

    fn wait_is_over(text: &str, round: Round) -> bool {
        let drawn = Drawn::new(4, text);
        leader_wait_over(&drawn.dag(), &Schedule::new(&drawn.committee), round)
    }

    #[test]
    fn a_round_is_entered_with_a_quorum_of_the_round_before_and_an_own_vertex_in_it() {
        let enter = |text: &str| may_enter(&Drawn::new(4, text).dag(), A, Round(2));
        assert!(enter("ABC1"));
        assert!(!enter("AB1"));
        assert!(!enter("BCD1"), "a round is never jumped");
        assert!(!enter("AB1; B1'"), "twins are one author");
        let empty = Drawn::new(4, "").empty_dag();
        assert!(may_enter(&empty, A, Round(1)));
        assert!(!may_enter(&empty, A, Round(0)));
    }

    // In a committee of four, B leads round 1, C round 2, D round 3, A round 4.

    #[test]
    fn the_first_two_vertices_wait_at_most_for_a_leader_and_for_no_votes() {
        assert!(wait_is_over("", Round(1)));
        assert!(!wait_is_over("ACD1", Round(2)));
        assert!(wait_is_over("B1", Round(2)));
    }

    #[test]
    fn the_leaders_vertex_alone_does_not_end_the_wait() {
        let wait_over = |text: &str| wait_is_over(text, Round(3));
        let split = "ABCD1; AC2:[A1 B1 C1]; D2:[A1 C1 D1]";
        assert!(!wait_over(split), "two vote for B1 and one does not");
        assert!(wait_over(&format!("{split}; B2:[B1 C1 D1]")), "three vote");
        assert!(
            !wait_over("ABCD1; ABD2"),
            "three vote but the leader of round 2 is away"
        );
        assert!(wait_over("ABCD1; ACD2:[A1 C1 D1]"), "three do not vote");
    }

    #[test]
    fn votes_split_between_a_leaders_twins_end_the_wait() {
        let text = "ABCD1; B1'; AC2:[A1 B1 C1]; D2:[A1 B1' D1]";
        assert!(wait_is_over(text, Round(3)));
    }

    #[test]
    fn a_voter_and_its_own_twin_count_once() {
        let text = "ABCD1; AC2:[A1 B1 C1]; A2':[A1 B1 D1]";
        assert!(!wait_is_over(text, Round(3)));
    }

    #[test]
    fn a_quorum_in_the_round_itself_overtakes() {
        let text = "ABCD1; AB2; B2'";
        assert!(!is_overtaken(&Drawn::new(4, text).dag(), Round(2)));
        assert!(is_overtaken(
            &Drawn::new(4, &format!("{text}; D2")).dag(),
            Round(2)
        ));
    }

    #[test]
    fn parents_are_the_own_previous_vertex_then_all_of_the_round_before() {
        assert_eq!(chosen("ABCD1", A, 2), "A1 B1 C1 D1");
        assert_eq!(chosen("ABCD1", AuthorityIndex(2), 2), "C1 A1 B1 D1");
        assert_eq!(chosen("", AuthorityIndex(2), 1), "C0 A0 B0 D0");
        assert_eq!(chosen("BCD1", A, 2), "none");
    }

    #[test]
    fn older_vertices_are_cited_while_nothing_else_covers_them() {
        let late = "ABC1; ABC2:[A1 B1 C1]; D1";
        assert_eq!(chosen(late, A, 3), "A2 B2 C2 D1");
        let covered = "ABCD1; AC2:[A1 B1 C1]; B2:[A1 B1 D1]";
        assert_eq!(chosen(covered, A, 3), "A2 B2 C2");
        let once = "ABC1; ABC2:[A1 B1 C1]; D1; A3:[A2 B2 C2 D1]; BC3:[A2 B2 C2]";
        assert_eq!(chosen(once, A, 4), "A3 B3 C3");
        assert_eq!(chosen(once, AuthorityIndex(1), 4), "B3 A3 C3");
    }

    #[test]
    fn of_an_authors_older_vertices_the_newest_is_cited() {
        let text = "ABC1; ABC2:[A1 B1 C1]; D1; ABC3:[A2 B2 C2]; D2:[D1 A1 B1]";
        assert_eq!(chosen(text, A, 4), "A3 B3 C3 D2");
    }

    #[test]
    fn a_peer_that_is_ahead_is_not_cited_from_the_own_round() {
        let text = "ABCD1; ACD2; B3:[B1 A2 C2 D2]";
        assert_eq!(chosen(text, A, 3), "A2 C2 D2");
    }

    #[test]
    fn of_twins_the_one_that_votes_with_the_quorum_is_cited() {
        // D's twins differ in their vote for B1; with A and C voting, the voting twin witnesses the quorum.
        let votes = "ABCD1; AC2:[A1 B1 C1]; D2:[A1 C1 D1]; D2':[A1 B1 D1]";
        assert_eq!(chosen(votes, A, 3), "A2 C2 D2'");
        let skips = "ABCD1; AC2:[A1 C1 D1]; D2:[A1 C1 D1]; D2':[A1 B1 D1]";
        assert_eq!(chosen(skips, A, 3), "A2 C2 D2 B1");
    }

    #[test]
    fn chosen_parents_make_a_valid_vertex() {
        let drawn = Drawn::new(4, "ABC1; ABC2:[A1 B1 C1]; D1; B2'");
        let dag = drawn.dag();
        let schedule = Schedule::new(&drawn.committee);
        let parents = choose_parents(&dag, &schedule, A, Round(3)).unwrap();
        let text = format!(
            "ABC1; ABC2:[A1 B1 C1]; D1; B2'; A3:[{}]",
            drawn.names(&parents)
        );
        assert_eq!(Drawn::new(4, &text).vertex("A3").parents(), parents);
    }
}
