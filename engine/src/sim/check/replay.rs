//! What each anchor commits, once more, from the vertices that correct nodes keep: as simple as it can be said.
//!
//! History of the anchor that no earlier one had, above the floor; authors whose vertices form no chain add nothing;
//! consensus time is the lower median of the newest timestamps. The result drives [`super::order`], and its time must be the one that nodes wrote down.

use std::collections::{BTreeMap, BTreeSet};

use crate::dag::{VerifiedVertex, VertexRef};
use crate::sim::clock::START;
use crate::types::{AuthorityIndex, Entry, Position, Round, TimestampUs};

/// All that is committed, as far as later anchors need to know.
pub(crate) struct Replay {
    n: usize,
    gc_depth_rounds: u64,
    vertices: BTreeMap<VertexRef, VerifiedVertex>,
    committed: BTreeSet<VertexRef>,
    floor: Round,
    /// The newest vertex of each author that continued its chain, less what an anchor that shows a fork counted.
    tips: Vec<Option<VerifiedVertex>>,
    times: Vec<TimestampUs>,
    forked: Vec<bool>,
    now: TimestampUs,
}

/// What one anchor adds.
pub(crate) struct Step {
    pub(crate) time: TimestampUs,
    pub(crate) tie_seed: [u8; 32],
    pub(crate) appends: Vec<Vec<Entry>>,
    /// What the anchor newly commits.
    pub(crate) vertices: Vec<VertexRef>,
    /// Whose forks it shows, ascending.
    pub(crate) new_forks: Vec<AuthorityIndex>,
}

impl Replay {
    /// Nothing committed by `n` authorities.
    pub(crate) fn new(n: usize, gc_depth_rounds: u64) -> Self {
        Self {
            n,
            gc_depth_rounds,
            vertices: BTreeMap::new(),
            committed: BTreeSet::new(),
            floor: Round(0),
            tips: vec![None; n],
            times: vec![START; n],
            forked: vec![false; n],
            now: START,
        }
    }

    /// A correct node keeps `vertex`.
    pub(crate) fn keep(&mut self, vertex: &VerifiedVertex) {
        self.vertices
            .entry(vertex.reference())
            .or_insert_with(|| vertex.clone());
    }

    /// The next anchor. Errors: it is a vertex that nobody keeps.
    pub(crate) fn commit(&mut self, anchor: VertexRef) -> Result<Step, String> {
        let mut stack = vec![anchor];
        let mut fresh = BTreeSet::new();
        while let Some(reference) = stack.pop() {
            if reference.round <= self.floor || self.committed.contains(&reference) {
                continue;
            }
            if fresh.insert(reference) {
                let Some(vertex) = self.vertices.get(&reference) else {
                    return Err(format!("{reference:?} is committed and nobody has it"));
                };
                stack.extend(vertex.parents());
            }
        }
        let mut appends = vec![Vec::new(); self.n];
        let forked_before = self.forked.clone();
        // A fork shows before anything of the author is counted in the anchor that shows it.
        for reference in &fresh {
            let vertex = &self.vertices[reference];
            let author = reference.author.as_usize();
            match follows(self.tips[author].as_ref(), vertex) {
                true if !self.forked[author] => self.tips[author] = Some(vertex.clone()),
                _ => self.forked[author] = true,
            }
        }
        for reference in &fresh {
            let (vertex, author) = (&self.vertices[reference], reference.author.as_usize());
            if !self.forked[author] {
                appends[author].extend_from_slice(vertex.entries());
                self.times[author] = vertex.timestamp();
            }
        }
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        self.now = self.now.max(sorted[(self.n - 1) / 2]);
        let vertices = fresh.iter().copied().collect();
        let new_forks = (0..self.n)
            .filter(|author| self.forked[*author] && !forked_before[*author])
            .map(|author| AuthorityIndex(author as u8))
            .collect();
        self.committed.append(&mut fresh);
        let tie_seed = self.tie_seed(&anchor);
        self.raise_floor(Round(anchor.round.0.saturating_sub(self.gc_depth_rounds)));
        Ok(Step {
            time: self.now,
            tie_seed,
            appends,
            vertices,
            new_forks,
        })
    }

    fn raise_floor(&mut self, floor: Round) {
        self.floor = floor;
        let is_above = |reference: &VertexRef| reference.round > floor;
        while self.committed.first().is_some_and(|first| !is_above(first)) {
            self.committed.pop_first();
        }
        while let Some(first) = self
            .vertices
            .first_entry()
            .filter(|first| !is_above(first.key()))
        {
            first.remove();
        }
    }

    /// Keyed by what neither the leader alone nor a client chooses.
    fn tie_seed(&self, anchor: &VertexRef) -> [u8; 32] {
        let parents = self.vertices[anchor].parents();
        let mut digests: Vec<[u8; 32]> = parents
            .iter()
            .filter(|parent| parent.round.next() == anchor.round && parent.author != anchor.author)
            .map(|parent| parent.digest.0)
            .collect();
        digests.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key("fairlane/1/tie-seed");
        hasher.update(digests.as_flattened());
        *hasher.finalize().as_bytes()
    }
}

/// Whether `vertex` may be the author's next committed one after `tip`; none when it has none yet.
///
/// Vertices in between may have been left out below the floor.
fn follows(tip: Option<&VerifiedVertex>, vertex: &VerifiedVertex) -> bool {
    let link = vertex.own_previous();
    let (tip_round, position, time) = match tip {
        Some(tip) => (tip.round(), tip.end_position(), tip.timestamp()),
        None => (Round(0), Position(0), START),
    };
    let is_direct = match tip {
        Some(tip) => link == tip.reference(),
        None => link.round == Round(0),
    };
    let found = vertex.first_position();
    let in_place = if is_direct {
        found == position
    } else {
        link.round > tip_round && found >= position
    };
    in_place && vertex.timestamp() >= time
}
