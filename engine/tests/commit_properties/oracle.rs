//! The commit rule as the paper writes it, recursive and without incremental state: the oracle of the laws.

use std::collections::{BTreeMap, BTreeSet};

use fairlane_engine::commit::Decision;
use fairlane_engine::dag::{Dag, VerifiedVertex, VertexRef};
use fairlane_engine::types::{AuthorityIndex, Round};

/// Decides by recursion over later slots.
pub(crate) struct Oracle<'a> {
    dag: &'a Dag,
    quorum: usize,
    memory: BTreeMap<Round, Decision>,
}

impl Oracle<'_> {
    /// The anchors up to the first undecided slot.
    pub(crate) fn anchors(dag: &Dag) -> Vec<VertexRef> {
        let mut oracle = Oracle {
            dag,
            quorum: dag.committee().thresholds().quorum() as usize,
            memory: BTreeMap::new(),
        };
        let mut anchors = Vec::new();
        for round in 1.. {
            match oracle.decide(Round(round)) {
                Decision::Undecided => break,
                Decision::Skip => {}
                Decision::Commit(anchor) => anchors.push(anchor),
            }
        }
        anchors
    }

    fn decide(&mut self, led: Round) -> Decision {
        if let Some(known) = self.memory.get(&led) {
            return *known;
        }
        let decision = self.judge(led);
        self.memory.insert(led, decision);
        decision
    }

    fn judge(&mut self, led: Round) -> Decision {
        let leader = self.dag.committee().leader(led);
        let no_vote = |vertex: &&VerifiedVertex| vertex.parent_in(led, leader).is_none();
        let voting = self.dag.vertices_of(led.plus(1));
        let skippers: BTreeSet<AuthorityIndex> =
            voting.filter(no_vote).map(|v| v.author()).collect();
        if skippers.len() >= self.quorum {
            return Decision::Skip;
        }
        for candidate in self.dag.slot(led, leader) {
            let certified = self.dag.vertices_of(led.plus(2));
            let certified = certified.filter(|v| self.certifies(v, &candidate.reference()));
            let authors: BTreeSet<AuthorityIndex> = certified.map(|v| v.author()).collect();
            if authors.len() >= self.quorum {
                return Decision::Commit(candidate.reference());
            }
        }
        let mut above = led.plus(3);
        while above <= self.dag.highest_round() {
            match self.decide(above) {
                Decision::Skip => above = above.next(),
                Decision::Undecided => return Decision::Undecided,
                Decision::Commit(anchor) => return self.judge_through(led, &anchor),
            }
        }
        Decision::Undecided
    }

    fn judge_through(&self, led: Round, anchor: &VertexRef) -> Decision {
        let leader = self.dag.committee().leader(led);
        for candidate in self.dag.slot(led, leader) {
            for vertex in self.dag.vertices_of(led.plus(2)) {
                if self.certifies(vertex, &candidate.reference())
                    && self.reaches(anchor, &vertex.reference())
                {
                    return Decision::Commit(candidate.reference());
                }
            }
        }
        Decision::Skip
    }

    fn certifies(&self, vertex: &VerifiedVertex, candidate: &VertexRef) -> bool {
        let votes = |parent: &&VertexRef| {
            parent.round == candidate.round.plus(1)
                && self
                    .dag
                    .vertex(parent)
                    .is_some_and(|v| v.parents().contains(candidate))
        };
        vertex.parents().iter().filter(votes).count() >= self.quorum
    }

    fn reaches(&self, from: &VertexRef, to: &VertexRef) -> bool {
        let mut layer = BTreeSet::from([*from]);
        while let Some(vertex) = layer.pop_last() {
            if vertex == *to {
                return true;
            }
            if let Some(vertex) = self.dag.vertex(&vertex) {
                layer.extend(vertex.parents());
            }
        }
        false
    }
}
