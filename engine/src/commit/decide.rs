//! Decides one leader slot from the votes of its wave, or through the history of a later anchor.
//!
//! Source: Mysticeti, NDSS 2025, section 3.2. For the leader slot of round r:
//!
//! - a vertex of r + 1 votes for its parent in the slot, if it has one;
//! - a certificate for L is a vertex of r + 2 with q parents that vote for L;
//! - commit L: q authors have a vertex of r + 2 that certifies L;
//! - skip: q authors have a vertex of r + 1 with no parent in the slot;
//! - else the lowest slot from r + 3 that is not skipped decides once it is committed, as anchor A: commit the L that
//!   has a certificate in A's history, else skip.
//!
//! Invariants, with at most f faulty authorities. I1: at most one L of a slot is ever certified, because two quorums
//! of voters share a correct author, who has one vertex a round. I2: no slot is both certified and skipped, for the
//! same reason; a skip counts authors against the whole slot, never against one twin. I3: a decision never changes as
//! the DAG grows, while the slot is the same leader's. Beyond f faults these may break, and nothing here panics.

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::schedule;
use crate::dag::header::VertexRef;
use crate::dag::store::Dag;
use crate::dag::vertex::VerifiedVertex;
use crate::mutant::{self, Mutant};
use crate::types::{AuthorityIndex, AuthoritySet, Round};

/// What became of a leader slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not known yet.
    Undecided,
    /// This vertex of the slot is an anchor.
    Commit(VertexRef),
    /// The slot has no anchor.
    Skip,
}

/// Decides the slot of `leader` in the round `led` by its own wave alone, or leaves it undecided.
///
/// Reads rounds `led + 1` and `led + 2`: O(n^2 log n) for n authorities.
pub fn decide_directly(dag: &Dag, led: Round, leader: AuthorityIndex) -> Decision {
    let quorum = quorum(dag);
    // Most calls end at one of these two: the wave is not complete yet.
    if dag.authors_of(schedule::voting_round(led)).len() < quorum {
        return Decision::Undecided;
    }
    if without_vote(dag, led, leader).len() >= quorum {
        return Decision::Skip;
    }
    if dag.authors_of(schedule::certifying_round(led)).len() < quorum {
        return Decision::Undecided;
    }
    let votes = Votes::of(dag, led, leader);
    let mut certifiers: BTreeMap<VertexRef, Count> = BTreeMap::new();
    for vertex in dag.vertices_of(schedule::certifying_round(led)) {
        if let Some(certified) = votes.certified_by(vertex, quorum) {
            certifiers
                .entry(certified)
                .or_default()
                .insert(vertex.author());
        }
    }
    certifiers
        .into_iter()
        .find(|(_, authors)| authors.len() >= quorum)
        .map_or(Decision::Undecided, |(anchor, _)| Decision::Commit(anchor))
}

/// Decides the slot of `leader` in the round `led` through the committed `anchor` of round `led + 3` or later. Never undecided.
///
/// O(n^2) for each round between the two.
///
/// Panics: when `anchor` is of a lower round, which would be a bug of the caller.
pub fn decide_through(
    dag: &Dag,
    led: Round,
    leader: AuthorityIndex,
    anchor: &VertexRef,
) -> Decision {
    assert!(
        anchor.round >= schedule::first_deciding_anchor(led),
        "an anchor decides slots at least three rounds below"
    );
    let votes = Votes::of(dag, led, leader);
    let quorum = quorum(dag);
    // The least of several keeps this a function of the DAG should I1 ever break.
    vertices_reached(dag, anchor, schedule::certifying_round(led))
        .filter_map(|vertex| votes.certified_by(vertex, quorum))
        .min()
        .map_or(Decision::Skip, Decision::Commit)
}

/// Authors of a vertex of the voting round with no parent in the slot.
fn without_vote(dag: &Dag, led: Round, leader: AuthorityIndex) -> Count {
    let mut without = Count::default();
    for vertex in dag.vertices_of(schedule::voting_round(led)) {
        let vote = vertex.parent_in(led, leader);
        let first = || dag.slot(led, leader).first().map(|twin| twin.reference());
        let is_for_the_other = mutant::is(Mutant::SkipsOnOneTwin) && vote.copied() != first();
        if vote.is_none() || is_for_the_other {
            without.insert(vertex.author());
        }
    }
    without
}

/// How many authors a vertex that certifies, or a slot, needs.
fn quorum(dag: &Dag) -> u32 {
    dag.committee().thresholds().quorum() - u32::from(mutant::is(Mutant::QuorumLessOne))
}

/// How many different authors have a vertex of some kind: twins count once.
#[derive(Default)]
struct Count {
    authors: AuthoritySet,
    /// Vertices beside their authors' first ones: nobody counts them.
    doubled: u32,
}

impl Count {
    fn insert(&mut self, author: AuthorityIndex) {
        let is_double = !self.authors.insert(author);
        self.doubled += u32::from(is_double && mutant::is(Mutant::VerticesNotAuthors));
    }

    const fn len(&self) -> u32 {
        self.authors.len() + self.doubled
    }
}

/// The votes in one leader slot: which vertex of it each voting vertex of the next round has as its parent.
struct Votes {
    for_leader: BTreeMap<VertexRef, VertexRef>,
}

impl Votes {
    fn of(dag: &Dag, led: Round, leader: AuthorityIndex) -> Self {
        let mut votes = Self {
            for_leader: BTreeMap::new(),
        };
        for vertex in dag.vertices_of(schedule::voting_round(led)) {
            if let Some(vote) = vertex.parent_in(led, leader) {
                votes.for_leader.insert(vertex.reference(), *vote);
            }
        }
        votes
    }

    /// The vertex that `vertex`, of the certifying round, has q voting parents for. Parents are of different authors.
    fn certified_by(&self, vertex: &VerifiedVertex, quorum: u32) -> Option<VertexRef> {
        let mut tally: BTreeMap<VertexRef, u32> = BTreeMap::new();
        for vote in vertex
            .parents()
            .iter()
            .filter_map(|parent| self.for_leader.get(parent))
        {
            *tally.entry(*vote).or_default() += 1;
        }
        tally
            .into_iter()
            .find(|(_, parents)| *parents >= quorum)
            .map(|(leader, _)| leader)
    }
}

/// The vertices of `round` in the history of `from`, ascending.
fn vertices_reached<'a>(
    dag: &'a Dag,
    from: &VertexRef,
    round: Round,
) -> impl Iterator<Item = &'a VerifiedVertex> {
    let mut seen = BTreeSet::from([*from]);
    let mut stack = vec![*from];
    while let Some(reference) = stack.pop() {
        if reference.round <= round {
            continue;
        }
        for parent in dag
            .vertex(&reference)
            .map_or(&[][..], |vertex| vertex.parents())
        {
            if parent.round >= round && seen.insert(*parent) {
                stack.push(*parent);
            }
        }
    }
    seen.into_iter()
        .filter(move |reference| reference.round == round)
        .filter_map(|reference| dag.vertex(&reference))
}
