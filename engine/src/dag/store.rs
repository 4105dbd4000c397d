//! The accepted part of the DAG.
//!
//! A vertex is accepted when all its parents are. What waits for parents is kept in `pending` and follows by itself.
//! Forks are accepted (others may build on either side) and kept as evidence, and so is a vertex that contradicts its
//! author's previous one: positions with a gap, time that runs backwards.
//!
//! Departure: design.md section 5 calls such a vertex invalid. But who took over a state may lack the previous one and
//! cannot tell; where it accepts and cites what the others refuse, they refuse all that cites it, and a correct node is
//! cut off by a faulty one. So acceptance asks for nothing but parents, and [`crate::commit`] judges positions and times
//! in the committed sequence, where all nodes judge alike: what it finds counts as a fork.
//!
//! Invariants. I1: the parents of an accepted vertex are accepted, or at or below the floor. I2: which vertices are
//! accepted follows from which were inserted, not from their order, while no slot has more than [`TWINS_UNASKED_MAX`]
//! and no bound on waiting is met. I3: the floor only rises.
//!
//! Cost of `insert`: O(n log w) for n authorities and w vertices above the floor, and O(n^2) amortized in `coverage`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::committee::Committee;
use crate::dag::coverage::{Coverage, cover};
use crate::dag::evidence::{ForkEvidence, continues_chain};
use crate::dag::header::{VertexRef, genesis};
use crate::dag::pending::{MissingVertex, Pending};
use crate::dag::vertex::VerifiedVertex;
use crate::types::{AuthorityIndex, AuthoritySet, Position, Round};

/// The vertices that this node has accepted, by slot, and what waits to be.
#[derive(Debug)]
pub struct Dag {
    committee: Arc<Committee>,
    genesis: Vec<VertexRef>,
    rounds: BTreeMap<Round, RoundTable>,
    floor: Round,
    /// Rounds at and below the floor, kept for peers that return.
    retained: BTreeMap<Round, RoundTable>,
    retained_rounds: u64,
    /// What a state sync brought: its anchor's round, and committed vertices above the floor that are not here.
    installed: Installed,
    newest: Vec<Option<VerifiedVertex>>,
    forks: BTreeMap<AuthorityIndex, ForkEvidence>,
    forked: AuthoritySet,
    broken_links: BTreeMap<AuthorityIndex, BrokenLink>,
    pending: Pending,
    coverage: Coverage,
    counters: DagCounters,
}

/// What became of an inserted vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It and perhaps some that waited for it are accepted: all of them, parents before children.
    Accepted(Vec<VerifiedVertex>),
    /// It waits for parents.
    Pending {
        /// Those not accepted yet; [`Dag::missing`] says which of them are to be fetched.
        missing: Vec<VertexRef>,
    },
    /// It was accepted or waits already.
    Known,
    /// Its round is at or below the floor.
    BelowFloor,
    /// It is refused and forgotten, and so is what waited for it.
    Refused(VertexFault),
}

/// Why a vertex was refused although it is well formed and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VertexFault {
    /// More than [`ROUNDS_AHEAD_MAX`] rounds above anything accepted. Not the author's fault: we are behind.
    #[error("more than {ROUNDS_AHEAD_MAX} rounds ahead")]
    TooFarAhead,
    /// The author has too many vertices waiting.
    #[error("too many vertices of the author wait")]
    PendingFull,
    /// The slot holds twins enough and nobody cites this one.
    #[error("the slot holds {TWINS_UNASKED_MAX} vertices and nobody cites this one")]
    UnaskedTwin,
}

/// A vertex that contradicts its author's previous one.
#[derive(Clone, Debug)]
pub struct BrokenLink {
    /// What it links to; none for a first vertex.
    pub previous: Option<VerifiedVertex>,
    /// The vertex.
    pub vertex: VerifiedVertex,
}

/// What the store has seen, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DagCounters {
    /// Vertices accepted.
    pub accepted: u64,
    /// Accepted with a gap in positions or time running backwards: proof of a faulty author.
    pub broken_links: u64,
    /// Refused as too far ahead of us.
    pub refused_far_ahead: u64,
    /// Refused as one too many to wait or to share a slot.
    pub refused_bounds: u64,
    /// Dropped while waiting because a lower one of its author needed the place.
    pub displaced: u64,
    /// Dropped while waiting because a parent was refused.
    pub dropped_with_parent: u64,
    /// Came at or below the floor.
    pub below_floor: u64,
}

/// See [`Dag::install`].
#[derive(Debug, Default)]
struct Installed {
    anchor: Round,
    committed: BTreeSet<VertexRef>,
}

#[derive(Debug)]
struct RoundTable {
    /// One slot an authority, each ascending by digest.
    slots: Vec<Vec<VerifiedVertex>>,
    authors: AuthoritySet,
    vertices: u64,
}

impl Dag {
    /// An empty DAG above the implicit genesis vertices.
    pub fn new(committee: Arc<Committee>) -> Self {
        let authors = committee.thresholds().authorities() as usize;
        Self {
            genesis: committee
                .thresholds()
                .members()
                .map(|author| genesis(&committee, author))
                .collect(),
            rounds: BTreeMap::new(),
            floor: Round(0),
            retained: BTreeMap::new(),
            // A peer may have to start from the older of two checkpoints.
            retained_rounds: 2 * committee.parameters.checkpoint_interval_rounds,
            installed: Installed::default(),
            newest: vec![None; authors],
            forks: BTreeMap::new(),
            forked: AuthoritySet::EMPTY,
            broken_links: BTreeMap::new(),
            pending: Pending::new(authors),
            coverage: Coverage::new(authors),
            counters: DagCounters::default(),
            committee,
        }
    }

    /// Takes in a vertex; see [`Inserted`] for what becomes of it.
    pub fn insert(&mut self, vertex: VerifiedVertex) -> Inserted {
        let reference = vertex.reference();
        if reference.round <= self.floor {
            self.counters.below_floor += 1;
            return Inserted::BelowFloor;
        }
        let is_here = self.vertex(&reference).is_some() || self.pending.contains(&reference);
        // One that is known to be committed is not needed, and would come out of its chain's order.
        if is_here || self.installed.committed.contains(&reference) {
            return Inserted::Known;
        }
        if reference.round > self.highest_round().plus(ROUNDS_AHEAD_MAX) {
            self.counters.refused_far_ahead += 1;
            return Inserted::Refused(VertexFault::TooFarAhead);
        }
        let missing = self.missing_parents(&vertex);
        if missing.is_empty() {
            let (accepted, fault) = self.accept_all(vec![vertex]);
            return match fault {
                Some(fault) if accepted.is_empty() => Inserted::Refused(fault),
                _ => Inserted::Accepted(accepted),
            };
        }
        let waiting = self.pending.len();
        if !self.pending.try_insert(vertex, &missing) {
            self.counters.refused_bounds += 1;
            return Inserted::Refused(VertexFault::PendingFull);
        }
        // One more and yet not more: its author's highest made room.
        self.counters.displaced += u64::from(self.pending.len() == waiting);
        Inserted::Pending { missing }
    }

    /// Takes in a vertex that this node has made and that is durable: one that others may build on, so it is accepted
    /// however many of its slot are here. Else as [`Self::insert`].
    ///
    /// Its parents were accepted when it was made, and stay so unless the floor has passed them. Those that wait for it,
    /// because another process with the own key sent it first, are accepted with it.
    pub(crate) fn insert_own(&mut self, vertex: VerifiedVertex) -> Inserted {
        let reference = vertex.reference();
        if reference.round <= self.floor {
            self.counters.below_floor += 1;
            return Inserted::BelowFloor;
        }
        if self.vertex(&reference).is_some() || self.installed.committed.contains(&reference) {
            return Inserted::Known;
        }
        assert!(
            self.missing_parents(&vertex).is_empty(),
            "an own vertex is made from accepted parents"
        );
        self.link(vertex.clone());
        let complete = self.pending.arrived(&reference);
        let mut accepted = vec![vertex];
        accepted.extend(self.accept_all(complete).0);
        Inserted::Accepted(accepted)
    }

    /// Takes in a vertex that this node accepted before, from its durable records, which stand in order of acceptance.
    ///
    /// It was judged then, and what decided about its twin or its distance is not here any more, so it is not judged
    /// again. Gives whether it is linked: not when it is here, or at or below the floor.
    ///
    /// Errors: a parent is missing, so these are not the records of what was accepted.
    pub fn restore(&mut self, vertex: VerifiedVertex) -> Result<bool, VertexRef> {
        let reference = vertex.reference();
        if reference.round <= self.floor || self.vertex(&reference).is_some() {
            return Ok(false);
        }
        if let Some(missing) = self.missing_parents(&vertex).first() {
            return Err(*missing);
        }
        self.link(vertex);
        Ok(true)
    }

    /// Forgets vertices of round `floor` and below; parents there are no longer needed for acceptance.
    ///
    /// Gives the vertices that are accepted by that, parents before children. A lower floor changes nothing.
    pub fn raise_floor(&mut self, floor: Round) -> Vec<VerifiedVertex> {
        if floor <= self.floor {
            return Vec::new();
        }
        self.floor = floor;
        let above = self.rounds.split_off(&floor.next());
        self.retained
            .extend(std::mem::replace(&mut self.rounds, above));
        let lowest_retained = floor.minus(self.retained_rounds).next();
        self.retained = self.retained.split_off(&lowest_retained);
        while let Some(first) = self.installed.committed.first()
            && first.round <= floor
        {
            self.installed.committed.pop_first();
        }
        self.coverage.raise_floor(floor);
        let complete = self.pending.raise_floor(floor);
        self.accept_all(complete).0
    }

    /// Takes over where a state that was checked stands: its anchor's round, its floor, and the `committed` vertices above
    /// that floor.
    ///
    /// What is committed need not be here to be a parent: no later sub-DAG takes it in. Gives the vertices that are
    /// accepted by that, parents before children.
    pub(crate) fn install(
        &mut self,
        anchor: Round,
        floor: Round,
        committed: &BTreeSet<VertexRef>,
    ) -> Vec<VerifiedVertex> {
        let absent = committed
            .iter()
            .filter(|vertex| self.vertex(vertex).is_none());
        let absent: BTreeSet<VertexRef> = absent.copied().collect();
        self.installed = Installed {
            anchor,
            committed: absent.clone(),
        };
        for vertex in &absent {
            self.pending.take(vertex);
        }
        let mut accepted = self.raise_floor(floor);
        for vertex in &absent {
            let complete = self.pending.arrived(vertex);
            accepted.extend(self.accept_all(complete).0);
        }
        accepted
    }

    /// Takes note of an own vertex that is below the floor by the time it is durable: others may see it, so the next one
    /// must follow it.
    pub(crate) fn remember_own(&mut self, vertex: VerifiedVertex) {
        let newest = &mut self.newest[vertex.author().as_usize()];
        if newest
            .as_ref()
            .is_none_or(|newest| newest.round() < vertex.round())
        {
            *newest = Some(vertex);
        }
    }

    /// Whether everything that `author` has here is at or below the floor, so that its next vertex may skip rounds.
    pub fn is_below_floor(&self, author: AuthorityIndex) -> bool {
        let newest = self
            .newest(author)
            .map_or(Round(0), |newest| newest.round());
        self.floor > Round(0) && newest <= self.floor
    }

    /// A vertex to give to a peer that asks: also below the floor, as far as it is retained.
    pub fn find(&self, reference: &VertexRef) -> Option<&VerifiedVertex> {
        let newest = self.newest.get(reference.author.as_usize())?.as_ref();
        self.vertex(reference)
            .or_else(|| vertex_in(&self.retained, reference))
            .or_else(|| newest.filter(|newest| newest.reference() == *reference))
    }

    /// The vertices of the rounds from `first` to `last` that are here or retained, by round and author.
    pub fn vertices_between(
        &self,
        first: Round,
        last: Round,
    ) -> impl Iterator<Item = &VerifiedVertex> {
        let rounds = first.max(Round(1))..=last.max(first).max(Round(1));
        let retained = self.retained.range(rounds.clone());
        let tables = retained.chain(self.rounds.range(rounds));
        tables.flat_map(|(_, table)| table.slots.iter().flatten())
    }

    /// How many vertices are kept: above the floor, retained below it, and known by name only.
    pub fn kept_len(&self) -> (usize, usize, usize) {
        let count = |rounds: &BTreeMap<Round, RoundTable>| {
            rounds.values().map(|table| table.vertices as usize).sum()
        };
        let named = self.installed.committed.len();
        (count(&self.rounds), count(&self.retained), named)
    }

    /// The committee.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The implicit vertex of `author` in round 0.
    pub fn genesis(&self, author: AuthorityIndex) -> VertexRef {
        self.genesis[author.as_usize()]
    }

    /// The round at and below which nothing is kept; 0 at the start.
    pub const fn floor(&self) -> Round {
        self.floor
    }

    /// The highest round with an accepted vertex, or of an anchor taken over with a state; the floor at least.
    pub fn highest_round(&self) -> Round {
        self.rounds
            .last_key_value()
            .map_or(self.floor, |(round, _)| *round)
            .max(self.installed.anchor)
    }

    /// An accepted vertex above the floor.
    pub fn vertex(&self, reference: &VertexRef) -> Option<&VerifiedVertex> {
        vertex_in(&self.rounds, reference)
    }

    /// The accepted vertices of `author` in `round`, ascending by digest: several when it forked.
    pub fn slot(&self, round: Round, author: AuthorityIndex) -> &[VerifiedVertex] {
        self.rounds
            .get(&round)
            .and_then(|table| table.slots.get(author.as_usize()))
            .map_or(&[], Vec::as_slice)
    }

    /// The accepted vertices of `round`, by author, then digest.
    pub fn vertices_of(&self, round: Round) -> impl Iterator<Item = &VerifiedVertex> {
        self.rounds
            .get(&round)
            .into_iter()
            .flat_map(|table| table.slots.iter().flatten())
    }

    /// How many vertices `round` has, twins included: changes exactly when the round does.
    pub fn count_of(&self, round: Round) -> u64 {
        self.rounds.get(&round).map_or(0, |table| table.vertices)
    }

    /// Who has a vertex in `round`; everybody in round 0.
    pub fn authors_of(&self, round: Round) -> AuthoritySet {
        if round == Round(0) {
            let mut all = AuthoritySet::EMPTY;
            for author in self.committee.thresholds().members() {
                all.insert(author);
            }
            return all;
        }
        self.rounds
            .get(&round)
            .map_or(AuthoritySet::EMPTY, |table| table.authors)
    }

    /// The accepted vertex of the highest round by `author`, kept also below the floor; none before its first.
    pub fn newest(&self, author: AuthorityIndex) -> Option<&VerifiedVertex> {
        self.newest[author.as_usize()].as_ref()
    }

    /// The vertex of the highest round by `author` that is here, accepted or waiting for parents.
    pub fn newest_here(&self, author: AuthorityIndex) -> Option<&VerifiedVertex> {
        let accepted = self.newest(author);
        let waiting = self.pending.newest(author);
        accepted
            .into_iter()
            .chain(waiting)
            .max_by_key(|vertex| vertex.round())
    }

    /// What to fetch, ascending.
    pub fn missing(&self) -> impl Iterator<Item = MissingVertex> {
        self.pending.missing()
    }

    /// Whether this vertex is here and waits for parents.
    pub fn is_waiting(&self, reference: &VertexRef) -> bool {
        self.pending.contains(reference)
    }

    /// How many vertices wait for parents.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Who has forked, as far as this node has seen (the commit rule judges by committed history instead).
    pub const fn forked(&self) -> AuthoritySet {
        self.forked
    }

    /// One proof for each author that forked, by author.
    pub fn forks(&self) -> impl Iterator<Item = &ForkEvidence> {
        self.forks.values()
    }

    /// The first vertex of each author that contradicts its own previous one, by author.
    pub fn broken_links(&self) -> impl Iterator<Item = &BrokenLink> {
        self.broken_links.values()
    }

    /// How many proofs of faulty authors [`Dag::forks`] and [`Dag::broken_links`] hold: never falls.
    pub fn faults_len(&self) -> usize {
        self.forks.len() + self.broken_links.len()
    }

    /// What was accepted, refused and dropped since the start.
    pub const fn counters(&self) -> DagCounters {
        self.counters
    }

    /// The accepted vertices that no vertex of `authority` reaches, ascending by round: the history it may lack.
    pub fn unknown_to(
        &self,
        authority: AuthorityIndex,
    ) -> impl DoubleEndedIterator<Item = &VerifiedVertex> {
        self.coverage
            .unknown_to(authority)
            .iter()
            .filter_map(|reference| self.vertex(reference))
    }

    /// [`Dag::unknown_to`] less what `citing` and their history cover. O(size of the former times parents).
    pub(crate) fn uncovered_by(
        &self,
        authority: AuthorityIndex,
        citing: &[VertexRef],
    ) -> Vec<VertexRef> {
        let mut uncovered = self.coverage.unknown_to(authority).clone();
        for parent in citing {
            cover(&mut uncovered, *parent, |reference| self.parents(reference));
        }
        uncovered.into_iter().collect()
    }

    fn parents(&self, reference: &VertexRef) -> &[VertexRef] {
        self.vertex(reference)
            .map_or(&[], |vertex| vertex.parents())
    }

    fn missing_parents(&self, vertex: &VerifiedVertex) -> Vec<VertexRef> {
        vertex
            .parents()
            .iter()
            .filter(|parent| {
                parent.round > self.floor
                    && self.vertex(parent).is_none()
                    && !self.installed.committed.contains(parent)
            })
            .copied()
            .collect()
    }

    /// Accepts `complete`, whose parents are all here, and what follows from them.
    ///
    /// Gives what was accepted and why the last refused one was; those that waited for a refused one are dropped.
    fn accept_all(
        &mut self,
        complete: Vec<VerifiedVertex>,
    ) -> (Vec<VerifiedVertex>, Option<VertexFault>) {
        let mut accepted = complete;
        let mut fault = None;
        let mut at = 0;
        while let Some(vertex) = accepted.get(at).cloned() {
            let reference = vertex.reference();
            if self.is_unasked_twin(&reference) {
                self.counters.refused_bounds += 1;
                self.counters.dropped_with_parent += self.pending.refused(&reference);
                accepted.remove(at);
                fault = Some(VertexFault::UnaskedTwin);
                continue;
            }
            self.link(vertex);
            accepted.extend(self.pending.arrived(&reference));
            at += 1;
        }
        (accepted, fault)
    }

    fn is_unasked_twin(&self, reference: &VertexRef) -> bool {
        let slot_len = self.slot(reference.round, reference.author).len();
        slot_len >= TWINS_UNASKED_MAX && !self.pending.is_wanted(reference)
    }

    /// Keeps evidence when `vertex` contradicts its author's previous one. Once an author, and only where that one is
    /// here: it may be below the floor.
    fn note_broken_link(&mut self, vertex: &VerifiedVertex) {
        let link = vertex.own_previous();
        let newest = self.newest(link.author);
        let previous = self
            .vertex(&link)
            .or(newest.filter(|newest| newest.reference() == link));
        let (position, time) = match previous {
            Some(previous) => (previous.end_position(), previous.timestamp()),
            None if link.round == Round(0) => (Position(0), self.committee.epoch_start),
            None => return,
        };
        if vertex.first_position() == position && vertex.timestamp() >= time {
            return;
        }
        let broken = BrokenLink {
            previous: previous.cloned(),
            vertex: vertex.clone(),
        };
        self.counters.broken_links += 1;
        self.broken_links.entry(link.author).or_insert(broken);
    }

    /// Puts a vertex into its slot and brings evidence, newest and coverage up to date.
    fn link(&mut self, vertex: VerifiedVertex) {
        let reference = vertex.reference();
        let author = reference.author;
        self.note_fork(&vertex);
        self.note_broken_link(&vertex);
        let authors = self.genesis.len();
        let table = self
            .rounds
            .entry(reference.round)
            .or_insert_with(|| RoundTable::new(authors));
        table.insert(vertex.clone());
        let newest = &mut self.newest[author.as_usize()];
        if newest
            .as_ref()
            .is_none_or(|newest| newest.round() < reference.round)
        {
            *newest = Some(vertex);
        }
        self.counters.accepted += 1;
        let rounds = &self.rounds;
        self.coverage.accept(reference, |reference| {
            vertex_in(rounds, reference).map_or(&[], |vertex| vertex.parents())
        });
    }

    /// Keeps evidence when `vertex`, not linked yet, does not continue its author's chain. Once an author.
    fn note_fork(&mut self, vertex: &VerifiedVertex) {
        let author = vertex.author();
        if self.forked.contains(author) {
            return;
        }
        let Some(tip) = self.newest(author) else {
            return;
        };
        if continues_chain(&tip.reference(), vertex) {
            return;
        }
        let evidence = ForkEvidence::find(tip, vertex, |reference| self.vertex(reference));
        self.forked.insert(author);
        if let Some(evidence) = evidence {
            self.forks.insert(author, evidence);
        }
    }
}

impl RoundTable {
    fn new(authors: usize) -> Self {
        Self {
            slots: vec![Vec::new(); authors],
            authors: AuthoritySet::EMPTY,
            vertices: 0,
        }
    }

    fn insert(&mut self, vertex: VerifiedVertex) {
        let reference = vertex.reference();
        let slot = &mut self.slots[reference.author.as_usize()];
        let at = slot.partition_point(|other| other.reference() < reference);
        slot.insert(at, vertex);
        self.authors.insert(reference.author);
        self.vertices += 1;
    }
}

fn vertex_in<'a>(
    rounds: &'a BTreeMap<Round, RoundTable>,
    reference: &VertexRef,
) -> Option<&'a VerifiedVertex> {
    rounds
        .get(&reference.round)?
        .slots
        .get(reference.author.as_usize())?
        .iter()
        .find(|vertex| vertex.reference() == *reference)
}

/// How far above the highest accepted round a vertex may be to wait for its parents.
pub const ROUNDS_AHEAD_MAX: u64 = 512;

/// How many vertices a slot takes that nobody cites: two prove a fork, more only cost memory.
pub const TWINS_UNASKED_MAX: usize = 2;

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
