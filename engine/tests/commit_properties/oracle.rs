//! The commit rule as the paper writes it, recursive and without incremental state, and the schedule by its plain rule:
//! the oracle of the laws.

use std::collections::{BTreeMap, BTreeSet};

use fairlane_engine::commit::{Decision, SubDag};
use fairlane_engine::dag::{Dag, VerifiedVertex, VertexRef};
use fairlane_engine::types::{AuthorityIndex, Round};

/// Decides by recursion over later slots.
pub(crate) struct Oracle<'a> {
    dag: &'a Dag,
    quorum: usize,
    /// Decisions under the present schedule.
    memory: BTreeMap<Round, Decision>,
    leaders: Leaders,
}

impl Oracle<'_> {
    /// The slots up to the first undecided one, who led them and what became of them. What an anchor commits is taken
    /// from `sequence`.
    pub(crate) fn slots(dag: &Dag, sequence: &[SubDag]) -> Vec<(Round, AuthorityIndex, Decision)> {
        let thresholds = dag.committee().thresholds();
        let mut oracle = Oracle {
            dag,
            quorum: thresholds.quorum() as usize,
            memory: BTreeMap::new(),
            leaders: Leaders {
                n: thresholds.authorities() as u64,
                f: thresholds.faulty_max() as usize,
                needed: dag.committee().parameters.leader_return_anchors,
                out: BTreeMap::new(),
                strikes: BTreeMap::new(),
            },
        };
        let mut slots = Vec::new();
        for round in (1..).map(Round) {
            let decision = oracle.decide(round);
            if decision == Decision::Undecided {
                break;
            }
            slots.push((round, oracle.leaders.of(round), decision));
            match decision {
                Decision::Undecided => {}
                Decision::Skip => oracle.leaders.on_skip(round),
                Decision::Commit(anchor) => {
                    let shown = sequence.iter().find(|sub_dag| sub_dag.anchor == anchor);
                    oracle
                        .leaders
                        .on_anchor(shown.expect("the sequence has it"));
                }
            }
            oracle.memory.clear();
        }
        slots
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
        let leader = self.leaders.of(led);
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
        let leader = self.leaders.of(led);
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

/// Who leads, as the header of the schedule's module says it.
struct Leaders {
    n: u64,
    f: usize,
    needed: u32,
    /// Deliveries of those who are out; none for one that forked.
    out: BTreeMap<AuthorityIndex, Option<u32>>,
    strikes: BTreeMap<AuthorityIndex, u32>,
}

impl Leaders {
    fn of(&self, round: Round) -> AuthorityIndex {
        let regular = AuthorityIndex((round.0 % self.n) as u8);
        if !self.out.contains_key(&regular) {
            return regular;
        }
        let members = (0..self.n as u8).map(AuthorityIndex);
        let leading: Vec<_> = members.filter(|a| !self.out.contains_key(a)).collect();
        leading[(round.0 / self.n + u64::from(regular.0)) as usize % leading.len()]
    }

    fn on_skip(&mut self, round: Round) {
        let leader = self.of(round);
        if self.out.len() >= self.f {
            match self.busiest() {
                Some((delivered, back)) if delivered > 0 => self.out.remove(&back),
                _ => return,
            };
        }
        self.put_out(leader, Some(0));
    }

    fn on_anchor(&mut self, sub_dag: &SubDag) {
        let anchor = sub_dag.anchor;
        if let Some(strikes) = self.strikes.get_mut(&anchor.author) {
            *strikes = strikes.saturating_sub(1);
        }
        let strikes = &self.strikes;
        self.out.retain(|author, delivered| {
            let Some(delivered) = delivered else {
                return true;
            };
            let of_author = sub_dag.vertices.iter().filter(|v| v.author == *author);
            let newest = of_author.map(|vertex| vertex.round.0).max();
            if newest.is_some_and(|round| anchor.round.0 <= round + 3) {
                *delivered += 1;
            }
            *delivered < self.needed * 2u32.pow(strikes[author] - 1)
        });
        for author in &sub_dag.new_forks {
            if let Some(delivered) = self.out.get_mut(author) {
                *delivered = None;
                continue;
            }
            if self.out.len() >= self.f
                && let Some((_, back)) = self.busiest()
            {
                self.out.remove(&back);
            }
            if self.out.len() < self.f {
                self.put_out(*author, None);
            }
        }
    }

    fn put_out(&mut self, author: AuthorityIndex, delivered: Option<u32>) {
        self.out.insert(author, delivered);
        let strikes = self.strikes.entry(author).or_default();
        *strikes = 7.min(*strikes + 1);
    }

    fn busiest(&self) -> Option<(u32, AuthorityIndex)> {
        let mut found: Option<(u32, AuthorityIndex)> = None;
        for (author, delivered) in &self.out {
            if let Some(delivered) = delivered
                && found.is_none_or(|(most, _)| *delivered > most)
            {
                found = Some((*delivered, *author));
            }
        }
        found
    }
}
