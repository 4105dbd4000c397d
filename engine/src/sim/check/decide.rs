//! The commit rule, once more and plainly: what a node outputs must follow from the vertices which that node has accepted.
//!
//! Source: Mysticeti, NDSS 2025, section 3.2, as `design.md` section 5 words it; shares no code with `commit/`. At each
//! anchor that a correct node writes down, all slots since the anchor before are judged by the node's own part of the DAG:
//! each slot in between must be a skip, and the last one must commit that anchor. So an output is found wrong when it is
//! made, and not only where it parts two nodes: a slot decided by too few, or through an anchor past an undecided slot.
//!
//! Each vertex is kept once, with the set of nodes that have it. A node that lost vertices in a crash still counts as
//! having them: what more vertices decide, fewer never decide otherwise, so no correct output is called wrong. Its own are
//! the exception: one that no disk kept was nobody's, and beside the one made in its place it would give its author two
//! voices.
//!
//! Cost: n^2 parents an output of a slot that its own wave decides; one that a later anchor decides takes as much for each
//! round above it that the node has. Rounds are kept for [`KEPT_ROUNDS`]; what a node outputs from below is not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::chain::anchor_index;
use super::leaders::Leaders;
use super::replay::Step;
use super::structure::{AUTHOR_AT, round_of};
use super::{Found, quorum};
use crate::committee::Parameters;
use crate::dag::header::VertexHeader;
use crate::dag::{VerifiedVertex, VertexRef};
use crate::types::{AuthorityIndex, Digest, Round};

/// All vertices that correct nodes accepted, and what follows from them.
pub(crate) struct Decide {
    n: usize,
    rounds: BTreeMap<Round, Vec<Kept>>,
    /// For each anchor known and the one after: the first slot behind the anchor before it, and who leads from there on.
    before: Vec<(Round, Leaders)>,
    /// Each node's newest own vertices, each with the number of its record.
    own: BTreeMap<usize, Vec<(u64, VertexRef)>>,
    /// Outputs judged.
    pub(crate) judged: u64,
}

struct Kept {
    vertex: VerifiedVertex,
    /// Which nodes have accepted it.
    nodes: Nodes,
}

/// A set of nodes, or of authors: one bit each.
type Nodes = u128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Undecided,
    Commit(VertexRef),
    Skip,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecided => f.write_str("undecided"),
            Self::Commit(anchor) => write!(f, "committed with {:?}", anchor.digest),
            Self::Skip => f.write_str("skipped"),
        }
    }
}

impl Decide {
    /// At the start of an epoch.
    pub(crate) fn new(n: usize, parameters: &Parameters) -> Self {
        let leaders = Leaders::new(n, parameters.leader_return_anchors);
        Self {
            n,
            rounds: BTreeMap::new(),
            before: vec![(Round(1), leaders)],
            own: BTreeMap::new(),
            judged: 0,
        }
    }

    /// Some correct node has this vertex; [`Self::on_accepted`] says which.
    pub(crate) fn keep(&mut self, vertex: &VerifiedVertex) {
        let kept = self.rounds.entry(vertex.round()).or_default();
        if !kept
            .iter()
            .any(|known| known.vertex.reference() == vertex.reference())
        {
            kept.push(Kept {
                vertex: vertex.clone(),
                nodes: 0,
            });
        }
        if self.rounds.len() > KEPT_ROUNDS {
            self.rounds.pop_first();
        }
    }

    /// A correct node has accepted the vertex that `bytes` encode, and which is kept.
    pub(crate) fn on_accepted(&mut self, node: usize, bytes: &[u8]) {
        if let Some(kept) = self.kept_mut(&name_of(bytes)) {
            kept.nodes |= bit(node);
        }
    }

    /// A correct node writes the vertex that it has made, as its record `number`.
    pub(crate) fn on_own_record(&mut self, node: usize, number: u64, bytes: &[u8]) {
        self.on_accepted(node, bytes);
        let own = self.own.entry(node).or_default();
        own.push((number, name_of(bytes)));
        if own.len() > OWN_KEPT {
            own.remove(0);
        }
    }

    /// A correct node crashes, and its records after the first `durable` are lost.
    pub(crate) fn on_crash(&mut self, node: usize, durable: u64) {
        let own = self.own.remove(&node).unwrap_or_default();
        let (kept, lost): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|(number, _)| *number <= durable);
        self.own.insert(node, kept);
        for (_, name) in lost {
            if let Some(kept) = self.kept_mut(&name) {
                kept.nodes &= !bit(node);
            }
        }
    }

    /// A correct node, whose disk called durable what was not, has only the vertices left that `left` encode: another vertex
    /// may come in the place of one that is lost.
    pub(crate) fn on_loss<'a>(&mut self, node: usize, left: impl Iterator<Item = &'a [u8]>) {
        let left: BTreeSet<VertexRef> = left.map(name_of).collect();
        for kept in self.rounds.values_mut().flatten() {
            if !left.contains(&kept.vertex.reference()) {
                kept.nodes &= !bit(node);
            }
        }
    }

    fn kept_mut(&mut self, name: &VertexRef) -> Option<&mut Kept> {
        let of_round = self.rounds.get_mut(&name.round)?;
        of_round
            .iter_mut()
            .find(|kept| kept.vertex.reference() == *name)
    }

    /// A correct node writes an anchor down. Errors: it does not follow from what the node has.
    pub(crate) fn on_anchor(&mut self, node: usize, record: &[u8]) -> Found {
        let index = anchor_index(record);
        // One that skips anchors is the chain's to judge.
        let Some((from, leaders)) = self.before.get(index) else {
            return Ok(());
        };
        let lowest = self.rounds.keys().next();
        if lowest.is_none_or(|lowest| lowest > from) {
            return Ok(());
        }
        let anchor = super::fair::anchor_of(record);
        let mut leaders = leaders.clone();
        for round in (from.0..=anchor.round.0).map(Round) {
            let view = View {
                of: self,
                node: bit(node),
                leaders: &leaders,
            };
            let is_last = round == anchor.round;
            let expected = match is_last {
                true => Decision::Commit(anchor),
                false => Decision::Skip,
            };
            let found = view.decide(round);
            if found != expected {
                return Err(format!(
                    "node {node} has anchor {index} in round {}, and takes slot {} for {expected}; by what it has accepted it is {found}",
                    anchor.round.0, round.0
                ));
            }
            if !is_last {
                leaders.on_skip(round);
            }
        }
        self.judged += 1;
        Ok(())
    }

    /// The next anchor is known, with what it commits.
    pub(crate) fn on_committed(&mut self, anchor: VertexRef, step: &Step) {
        let (from, leaders) = self.before.last().expect("the first slot is there");
        let mut leaders = leaders.clone();
        for round in from.0..anchor.round.0 {
            leaders.on_skip(Round(round));
        }
        leaders.on_anchor(&anchor, &step.vertices, &step.new_forks);
        self.before.push((anchor.round.next(), leaders));
    }

    fn vertex(&self, name: &VertexRef) -> Option<&VerifiedVertex> {
        let of_round = self.rounds.get(&name.round)?;
        of_round
            .iter()
            .map(|kept| &kept.vertex)
            .find(|vertex| vertex.reference() == *name)
    }

    /// What `vertex` certifies in the slot below its two rounds: a quorum of authors among its parents vote for it.
    fn certified_by(&self, vertex: &VerifiedVertex, slot: &Slot) -> Option<VertexRef> {
        let mut voters: BTreeMap<VertexRef, Nodes> = BTreeMap::new();
        let voting = vertex
            .parents()
            .iter()
            .filter(|parent| parent.round == slot.round.next());
        for parent in voting {
            let parent = self.vertex(parent)?;
            if let Some(vote) = slot.vote_of(parent) {
                *voters.entry(vote).or_default() |= bit(parent.author().as_usize());
            }
        }
        let of_quorum = |(_, authors): &(VertexRef, Nodes)| self.is_quorum(*authors);
        voters.into_iter().find(of_quorum).map(|(vote, _)| vote)
    }

    const fn is_quorum(&self, authors: Nodes) -> bool {
        authors.count_ones() as usize >= quorum(self.n)
    }
}

/// The part of the DAG that one node has, under one schedule.
struct View<'a> {
    of: &'a Decide,
    node: Nodes,
    leaders: &'a Leaders,
}

struct Slot {
    round: Round,
    leader: AuthorityIndex,
}

impl Slot {
    /// The parent that `vertex`, of the round after, has in the slot.
    fn vote_of(&self, vertex: &VerifiedVertex) -> Option<VertexRef> {
        let is_in =
            |parent: &&VertexRef| (parent.round, parent.author) == (self.round, self.leader);
        vertex.parents().iter().find(is_in).copied()
    }
}

impl View<'_> {
    fn slot(&self, round: Round) -> Slot {
        let leader = self.leaders.of(round);
        Slot { round, leader }
    }

    fn vertices_of(&self, round: Round) -> impl Iterator<Item = &VerifiedVertex> {
        let kept = self.of.rounds.get(&round).into_iter().flatten();
        kept.filter(|kept| kept.nodes & self.node != 0)
            .map(|kept| &kept.vertex)
    }

    /// What became of the slot of `led`.
    fn decide(&self, led: Round) -> Decision {
        let by_itself = self.by_its_wave(&self.slot(led));
        if by_itself != Decision::Undecided {
            return by_itself;
        }
        let is_here = |round: &&Round| self.vertices_of(**round).next().is_some();
        let highest = self.of.rounds.keys().rev().find(is_here).copied();
        let mut above: BTreeMap<Round, Decision> = BTreeMap::new();
        for round in (led.0..highest.unwrap_or(led).0).rev().map(Round) {
            let slot = self.slot(round);
            let mut decision = self.by_its_wave(&slot);
            if decision == Decision::Undecided {
                let first = Round(round.0 + 3);
                let decider = above.range(first..).find(|(_, at)| **at != Decision::Skip);
                if let Some((_, Decision::Commit(anchor))) = decider {
                    decision = self.through(&slot, anchor);
                }
            }
            above.insert(round, decision);
        }
        above.get(&led).copied().unwrap_or(Decision::Undecided)
    }

    fn by_its_wave(&self, slot: &Slot) -> Decision {
        let without_vote = self
            .vertices_of(Round(slot.round.0 + 1))
            .filter(|vertex| slot.vote_of(vertex).is_none());
        if self.of.is_quorum(authors(without_vote)) {
            return Decision::Skip;
        }
        let mut certifiers: BTreeMap<VertexRef, Nodes> = BTreeMap::new();
        for vertex in self.vertices_of(Round(slot.round.0 + 2)) {
            if let Some(certified) = self.of.certified_by(vertex, slot) {
                *certifiers.entry(certified).or_default() |= bit(vertex.author().as_usize());
            }
        }
        let of_quorum = |(_, authors): &(VertexRef, Nodes)| self.of.is_quorum(*authors);
        let committed = certifiers.into_iter().find(of_quorum);
        committed.map_or(Decision::Undecided, |(anchor, _)| Decision::Commit(anchor))
    }

    /// By the history of `anchor`, layer by layer.
    fn through(&self, slot: &Slot, anchor: &VertexRef) -> Decision {
        let certifying = Round(slot.round.0 + 2);
        let mut layer = BTreeSet::from([*anchor]);
        while let Some(name) = layer.pop_last() {
            let Some(vertex) = self.of.vertex(&name) else {
                continue;
            };
            if name.round == certifying {
                if let Some(certified) = self.of.certified_by(vertex, slot) {
                    return Decision::Commit(certified);
                }
                continue;
            }
            let parents = vertex.parents().iter();
            layer.extend(parents.filter(|parent| parent.round >= certifying));
        }
        Decision::Skip
    }
}

fn authors<'a>(vertices: impl Iterator<Item = &'a VerifiedVertex>) -> Nodes {
    vertices.fold(0, |authors, vertex| {
        authors | bit(vertex.author().as_usize())
    })
}

fn name_of(bytes: &[u8]) -> VertexRef {
    VertexRef {
        round: Round(round_of(bytes)),
        author: AuthorityIndex(bytes[AUTHOR_AT]),
        digest: Digest(*blake3::hash(&bytes[..VertexHeader::LEN]).as_bytes()),
    }
}

const fn bit(at: usize) -> Nodes {
    1 << at
}

/// Rounds of which vertices are kept: more than any node of a run falls behind by, lowest first to go.
const KEPT_ROUNDS: usize = 8192;

/// Own vertices remembered a node: many more than a node makes while one write of its disk lasts.
const OWN_KEPT: usize = 256;

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
