//! What an anchor commits: its history that no earlier anchor committed, as lists of entries and a consensus time.
//!
//! Invariants. I1: a vertex is in one sub-DAG at most. I2: a sub-DAG leaves out rounds at or below the round of the
//! previous anchor less G, the same on every node, whatever a node has pruned. I3: consensus time never falls. I4: in
//! the anchor whose committed history first shows that an author's vertices form no chain, and ever after, that author
//! adds no entries and no timestamps; what earlier anchors counted stays counted.
//!
//! I4 judges by committed vertices alone, so it is a function of the committed sequence: an author's committed vertices,
//! ascending, must each continue the chain of those before, by link (else it is a fork), by position and by time. Where
//! vertices between were left out below the floor, positions and times may have gone up, never down. A position or time
//! that does not follow is called a fork here, too: the author has signed what contradicts itself.
//!
//! What is carried from anchor to anchor is part of the canonical state ([`crate::state`]): [`History::encode_state`].

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::committee::Committee;
use crate::dag::evidence::continues_chain;
use crate::dag::header::{VertexRef, bounded_position, bounded_round, genesis};
use crate::dag::store::Dag;
use crate::dag::vertex::VerifiedVertex;
use crate::mutant::{self, Mutant};
use crate::types::{AuthorityIndex, AuthoritySet, Digest, Entry, Position, Round, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// What one anchor newly commits; the one input of the fair order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubDag {
    /// How many anchors were committed before this one in the epoch.
    pub index: u64,
    /// The anchor.
    pub anchor: VertexRef,
    /// The anchor's round.
    pub leader_round: Round,
    /// Newly committed vertices, the anchor among them, ascending by (round, author, digest): parents first.
    pub vertices: Vec<VertexRef>,
    /// For each authority what its committed local order grows by; empty for one that forked.
    pub appends: Vec<Vec<Entry>>,
    /// What authorities that have not forked order about the committee itself, in order: one a vertex that says something.
    pub controls: Vec<(AuthorityIndex, Arc<[u8]>)>,
    /// Digests of the anchor's parents of the round before by other authors than the leader, ascending.
    pub tie_parents: Vec<Digest>,
    /// max(previous, lower median over all authorities of the newest committed vertex timestamp), microseconds.
    pub consensus_time: TimestampUs,
    /// Authorities whose fork the committed history shows from this anchor on, ascending.
    pub new_forks: Vec<AuthorityIndex>,
    /// The commit rule's part of the canonical state after this anchor, where it is a checkpoint.
    pub state: Option<Vec<u8>>,
}

/// What has been committed so far, as far as later anchors need to know.
#[derive(Debug)]
pub(crate) struct History {
    gc_depth_rounds: u64,
    checkpoint_interval_rounds: u64,
    anchors: u64,
    /// Round of the last anchor; 0 before the first.
    last_anchor: Round,
    floor: Round,
    /// Committed vertices above the floor.
    committed: BTreeSet<VertexRef>,
    chains: Vec<Chain>,
    forked: AuthoritySet,
    consensus_time: TimestampUs,
}

/// The committed vertices of one author, as far as the next one must continue them.
#[derive(Clone, Copy, Debug)]
struct Chain {
    /// The newest.
    tip: VertexRef,
    /// Where the local order goes on after it.
    end: Position,
    /// Its timestamp.
    timestamp: TimestampUs,
}

impl Chain {
    /// Moves on to `vertex`; gives whether it continues the chain.
    fn try_extend(&mut self, vertex: &VerifiedVertex) -> bool {
        let (found, end) = (vertex.first_position(), self.end);
        let is_next = match vertex.own_previous() == self.tip {
            true => found == end,
            false => found >= end,
        };
        let is_later = vertex.timestamp() >= self.timestamp;
        let continues = continues_chain(&self.tip, vertex)
            && (is_next || mutant::is(Mutant::NoPositionCheck))
            && (is_later || mutant::is(Mutant::NoTimestampCheck))
            || mutant::is(Mutant::NoForkRule);
        if continues {
            self.tip = vertex.reference();
            self.end = vertex.end_position();
            self.timestamp = vertex.timestamp();
        }
        continues
    }
}

impl History {
    /// Nothing committed: genesis tips, all clocks at the epoch's start.
    pub(crate) fn new(committee: &Committee) -> Self {
        let thresholds = committee.thresholds();
        Self {
            gc_depth_rounds: committee.parameters.gc_depth_rounds,
            checkpoint_interval_rounds: committee.parameters.checkpoint_interval_rounds,
            anchors: 0,
            last_anchor: Round(0),
            floor: Round(0),
            committed: BTreeSet::new(),
            chains: thresholds
                .members()
                .map(|author| Chain {
                    tip: genesis(committee, author),
                    end: Position(0),
                    timestamp: committee.epoch_start,
                })
                .collect(),
            forked: AuthoritySet::EMPTY,
            consensus_time: committee.epoch_start,
        }
    }

    /// Round at and below which no later sub-DAG takes a vertex: the last anchor's less G.
    pub(crate) const fn floor(&self) -> Round {
        self.floor
    }

    /// Consensus time of the last anchor.
    pub(crate) const fn consensus_time(&self) -> TimestampUs {
        self.consensus_time
    }

    /// Who forked in committed history.
    pub(crate) const fn forked(&self) -> AuthoritySet {
        self.forked
    }

    /// Whether a vertex above the floor is committed.
    pub(crate) fn contains(&self, reference: &VertexRef) -> bool {
        self.committed.contains(reference)
    }

    /// Commits `anchor`. O(m n log w) for m newly committed vertices and w committed above the floor.
    ///
    /// Panics: when the store was pruned above [`History::floor`] or lacks a parent, or the anchor is committed
    /// already. Each would be our bug, and going on would let nodes part.
    pub(crate) fn commit(&mut self, dag: &Dag, anchor: VertexRef) -> SubDag {
        assert!(
            dag.floor() <= self.floor,
            "the store keeps all that anchors may commit"
        );
        let vertices = self.collect(dag, anchor);
        let new_forks = self.extend_chains(&vertices);
        let appends = self.append(&vertices);
        let controls = self.controls(&vertices);
        let median = lower_median(self.chains.iter().map(|chain| chain.timestamp));
        self.consensus_time = self.consensus_time.max(median);
        let index = self.anchors;
        self.anchors += 1;
        let interval = self.checkpoint_interval_rounds;
        let is_checkpoint = anchor.round.0 / interval > self.last_anchor.0 / interval;
        self.last_anchor = anchor.round;
        self.floor = anchor.round.minus(self.gc_depth_rounds);
        while self
            .committed
            .first()
            .is_some_and(|first| first.round <= self.floor)
        {
            self.committed.pop_first();
        }
        SubDag {
            index,
            anchor,
            leader_round: anchor.round,
            vertices: vertices.iter().map(|vertex| vertex.reference()).collect(),
            appends,
            controls,
            tie_parents: tie_parents(dag, &anchor),
            consensus_time: self.consensus_time,
            new_forks,
            // Written by the caller, which holds the rest of the commit rule's state.
            state: is_checkpoint.then(Vec::new),
        }
    }

    /// Appends what later anchors need to know: all of it a function of the committed sequence.
    ///
    /// Anchors u64, round of the last u64, consensus time u64, forked authors (mask of 16 bytes), one tip an author
    /// (reference, end position u64, newest timestamp u64), then the committed vertices above the floor (u32, references
    /// ascending). The floor follows from the last anchor. O(w) for w committed above the floor.
    pub(crate) fn encode_state(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u64(self.anchors)
            .u64(self.last_anchor.0)
            .u64(self.consensus_time.0)
            .bytes(&self.forked.mask().to_be_bytes());
        for chain in &self.chains {
            chain.tip.encode(out);
            Writer::new(out).u64(chain.end.0).u64(chain.timestamp.0);
        }
        Writer::new(out).count_u32(self.committed.len());
        for vertex in &self.committed {
            vertex.encode(out);
        }
    }

    /// Reads what [`History::encode_state`] wrote. Errors: anything that it does not write.
    pub(crate) fn decode_state(
        committee: &Committee,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut history = Self::new(committee);
        history.anchors = reader.u64()?;
        history.last_anchor = bounded_round(reader)?;
        history.floor = history.last_anchor.minus(history.gc_depth_rounds);
        history.consensus_time = reader.timestamp()?;
        let forked = u128::from_be_bytes(reader.array()?);
        history.forked = AuthoritySet::from_mask(forked);
        let members = committee.thresholds();
        if history
            .forked
            .iter()
            .any(|author| !members.has_member(author))
        {
            return Err(DecodeError::NotCanonical("forked"));
        }
        for author in members.members() {
            let (at, tip) = (author.as_usize(), VertexRef::decode(reader)?);
            if tip.author != author || tip.round > history.last_anchor {
                return Err(DecodeError::NotCanonical("tip"));
            }
            history.chains[at] = Chain {
                tip,
                end: bounded_position(reader)?,
                timestamp: reader.timestamp()?,
            };
        }
        let most = reader.left() / VertexRef::LEN;
        let count = reader.count_u32("committed vertices", most.try_into().unwrap_or(u32::MAX))?;
        for _ in 0..count {
            let vertex = VertexRef::decode(reader)?;
            let ascends = history.committed.last().is_none_or(|last| *last < vertex);
            let in_window = vertex.round > history.floor && vertex.round <= history.last_anchor;
            if !ascends || !in_window || !members.has_member(vertex.author) {
                return Err(DecodeError::NotCanonical("committed vertices"));
            }
            history.committed.insert(vertex);
        }
        Ok(history)
    }

    /// Round of the last anchor; 0 before the first.
    pub(crate) const fn last_anchor(&self) -> Round {
        self.last_anchor
    }

    /// How many anchors were committed.
    pub(crate) const fn anchors(&self) -> u64 {
        self.anchors
    }

    /// The committed vertices above the floor, ascending.
    pub(crate) const fn committed(&self) -> &BTreeSet<VertexRef> {
        &self.committed
    }

    /// The uncommitted history of `anchor` above the floor, ascending; committed from now on.
    fn collect(&mut self, dag: &Dag, anchor: VertexRef) -> Vec<VerifiedVertex> {
        assert!(
            self.committed.insert(anchor),
            "an anchor of a higher round is in no earlier history"
        );
        let mut stack = vec![anchor];
        let mut vertices = Vec::new();
        while let Some(reference) = stack.pop() {
            let vertex = dag
                .vertex(&reference)
                .expect("parents above the floor of an accepted vertex are accepted");
            for parent in vertex.parents() {
                if parent.round > self.floor && self.committed.insert(*parent) {
                    stack.push(*parent);
                }
            }
            vertices.push(vertex.clone());
        }
        vertices.sort_unstable_by_key(|vertex| vertex.reference());
        vertices
    }

    /// Moves each author's chain along; gives the authors whose chain breaks here. Theirs stays as earlier anchors left it.
    fn extend_chains(&mut self, vertices: &[VerifiedVertex]) -> Vec<AuthorityIndex> {
        let before = self.chains.clone();
        let mut new_forks = AuthoritySet::EMPTY;
        for vertex in vertices {
            let (author, at) = (vertex.author(), vertex.author().as_usize());
            if !self.forked.contains(author) && !self.chains[at].try_extend(vertex) {
                self.chains[at] = before[at];
                self.forked.insert(author);
                new_forks.insert(author);
            }
        }
        new_forks.iter().collect()
    }

    /// The new entries of each author that has not forked, in its local order.
    fn append(&self, vertices: &[VerifiedVertex]) -> Vec<Vec<Entry>> {
        let mut appends = vec![Vec::new(); self.chains.len()];
        for vertex in vertices {
            let author = vertex.author();
            if !self.forked.contains(author) {
                appends[author.as_usize()].extend_from_slice(vertex.entries());
            }
        }
        appends
    }

    /// The control sections of authors that have not forked.
    fn controls(&self, vertices: &[VerifiedVertex]) -> Vec<(AuthorityIndex, Arc<[u8]>)> {
        let said = vertices.iter().filter(|vertex| {
            !vertex.control().is_empty() && !self.forked.contains(vertex.author())
        });
        said.map(|vertex| (vertex.author(), vertex.control().into()))
            .collect()
    }
}

fn tie_parents(dag: &Dag, anchor: &VertexRef) -> Vec<Digest> {
    let before = anchor.round.minus(1);
    let mut digests: Vec<Digest> = dag
        .vertex(anchor)
        .map_or(&[][..], |vertex| vertex.parents())
        .iter()
        .filter(|parent| parent.round == before && parent.author != anchor.author)
        .map(|parent| parent.digest)
        .collect();
    digests.sort_unstable();
    digests
}

/// The middle value, of an even number the lower one: with f < n/3 liars it lies between two correct clocks.
fn lower_median(timestamps: impl Iterator<Item = TimestampUs>) -> TimestampUs {
    let mut sorted: Vec<TimestampUs> = timestamps.collect();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) / 2]
}
