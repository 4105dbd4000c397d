//! Who knows which vertex: an authority knows the history of each vertex it signed.
//!
//! For each authority the accepted vertices outside its history are kept: for ourselves they are what an own vertex
//! may still have to cite, for a peer the history that it may lack.
//!
//! Cost: each (vertex, authority) pair enters and leaves a set once, so O(n (log size + parents)) a vertex over its
//! life, whatever order vertices come in. Bounded by n sets of the vertices above the floor.

use std::collections::BTreeSet;

use crate::dag::header::VertexRef;
use crate::types::{AuthorityIndex, Round};

/// For each authority, the accepted vertices that none of its own vertices reaches.
#[derive(Debug)]
pub(crate) struct Coverage {
    unknown_to: Vec<BTreeSet<VertexRef>>,
}

impl Coverage {
    /// For `authors` authorities, with nothing accepted.
    pub(crate) fn new(authors: usize) -> Self {
        Self {
            unknown_to: vec![BTreeSet::new(); authors],
        }
    }

    /// The accepted vertices that `authority` is not known to have, ascending.
    pub(crate) fn unknown_to(&self, authority: AuthorityIndex) -> &BTreeSet<VertexRef> {
        &self.unknown_to[authority.as_usize()]
    }

    /// Takes in an accepted vertex; `parents` gives those of any stored vertex, none for one below the floor.
    pub(crate) fn accept<'a>(
        &mut self,
        vertex: VertexRef,
        parents: impl Fn(&VertexRef) -> &'a [VertexRef],
    ) {
        for unknown in &mut self.unknown_to {
            unknown.insert(vertex);
        }
        cover(
            &mut self.unknown_to[vertex.author.as_usize()],
            vertex,
            parents,
        );
    }

    /// Forgets vertices of round `floor` and below.
    pub(crate) fn raise_floor(&mut self, floor: Round) {
        for unknown in &mut self.unknown_to {
            while unknown.first().is_some_and(|first| first.round <= floor) {
                unknown.pop_first();
            }
        }
    }
}

/// Takes `vertex` and its history out of `unknown`, going no further where something is out already.
pub(crate) fn cover<'a>(
    unknown: &mut BTreeSet<VertexRef>,
    vertex: VertexRef,
    parents: impl Fn(&VertexRef) -> &'a [VertexRef],
) {
    let mut stack = vec![vertex];
    while let Some(vertex) = stack.pop() {
        if unknown.remove(&vertex) {
            stack.extend(parents(&vertex));
        }
    }
}
