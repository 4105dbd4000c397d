//! Vertices that wait for parents, and which parents are to be fetched.
//!
//! Invariants. I1: a waiting vertex lacks at least one parent. I2: at most [`PENDING_PER_AUTHOR_MAX`] vertices wait an
//! author, so at most n times that in all and no author can crowd out another. I3: when an author is full, its lower
//! rounds win: they are what others wait for. Cost: O(parents log size) a vertex.

use std::collections::{BTreeMap, BTreeSet};

use crate::dag::header::VertexRef;
use crate::dag::vertex::VerifiedVertex;
use crate::types::{AuthorityIndex, AuthoritySet, Round};

/// A vertex that others wait for and that has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingVertex {
    /// What is to be fetched.
    pub reference: VertexRef,
    /// Authors of vertices that cite it, and so must have it.
    pub cited_by: AuthoritySet,
}

/// The waiting vertices of all authors.
#[derive(Debug)]
pub(crate) struct Pending {
    waiting: BTreeMap<VertexRef, Waiting>,
    wanted: BTreeMap<VertexRef, BTreeSet<VertexRef>>,
    by_author: Vec<BTreeSet<VertexRef>>,
}

#[derive(Debug)]
struct Waiting {
    vertex: VerifiedVertex,
    missing: BTreeSet<VertexRef>,
}

impl Pending {
    /// For `authors` authorities.
    pub(crate) fn new(authors: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            wanted: BTreeMap::new(),
            by_author: vec![BTreeSet::new(); authors],
        }
    }

    /// How many vertices wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The waiting vertex of the highest round by `author`.
    pub(crate) fn newest(&self, author: AuthorityIndex) -> Option<&VerifiedVertex> {
        let newest = self.by_author.get(author.as_usize())?.last()?;
        self.waiting.get(newest).map(|waiting| &waiting.vertex)
    }

    /// Whether this vertex waits.
    pub(crate) fn contains(&self, reference: &VertexRef) -> bool {
        self.waiting.contains_key(reference)
    }

    /// Whether a waiting vertex cites this one.
    pub(crate) fn is_wanted(&self, reference: &VertexRef) -> bool {
        self.wanted.contains_key(reference)
    }

    /// What to fetch, ascending: cited, not here, and not waiting itself.
    pub(crate) fn missing(&self) -> impl Iterator<Item = MissingVertex> {
        self.wanted
            .iter()
            .filter(|(reference, _)| !self.waiting.contains_key(reference))
            .map(|(reference, waiters)| {
                let mut cited_by = AuthoritySet::EMPTY;
                for waiter in waiters {
                    cited_by.insert(waiter.author);
                }
                MissingVertex {
                    reference: *reference,
                    cited_by,
                }
            })
    }

    /// Lets `vertex` wait for `missing`; false when its author has too many waiting of lower rounds already.
    pub(crate) fn try_insert(&mut self, vertex: VerifiedVertex, missing: &[VertexRef]) -> bool {
        assert!(!missing.is_empty(), "only what lacks a parent waits");
        let reference = vertex.reference();
        let of_author = &self.by_author[reference.author.as_usize()];
        if of_author.len() >= PENDING_PER_AUTHOR_MAX {
            match of_author.last().copied() {
                Some(highest) if reference < highest => drop(self.take(&highest)),
                _ => return false,
            }
        }
        self.by_author[reference.author.as_usize()].insert(reference);
        for parent in missing {
            self.wanted.entry(*parent).or_default().insert(reference);
        }
        let missing = missing.iter().copied().collect();
        self.waiting.insert(reference, Waiting { vertex, missing });
        true
    }

    /// `parent` is here (or no longer needed): the vertices that waited for nothing else, ascending, taken out.
    pub(crate) fn arrived(&mut self, parent: &VertexRef) -> Vec<VerifiedVertex> {
        let mut complete = Vec::new();
        for waiter in self.wanted.remove(parent).unwrap_or_default() {
            let Some(waiting) = self.waiting.get_mut(&waiter) else {
                continue;
            };
            waiting.missing.remove(parent);
            if waiting.missing.is_empty() {
                complete.extend(self.take(&waiter));
            }
        }
        complete
    }

    /// `parent` was refused: drops what waited for it, and what waited for that. Gives how many were dropped.
    pub(crate) fn refused(&mut self, parent: &VertexRef) -> u64 {
        let mut dropped = 0;
        let mut refused = vec![*parent];
        while let Some(parent) = refused.pop() {
            for waiter in self.wanted.remove(&parent).unwrap_or_default() {
                if self.take(&waiter).is_some() {
                    dropped += 1;
                    refused.push(waiter);
                }
            }
        }
        dropped
    }

    /// Drops what is of round `floor` or below and gives what waited for nothing above it, ascending.
    pub(crate) fn raise_floor(&mut self, floor: Round) -> Vec<VerifiedVertex> {
        let below: Vec<VertexRef> = self
            .waiting
            .keys()
            .take_while(|reference| reference.round <= floor)
            .copied()
            .collect();
        for reference in below {
            self.take(&reference);
        }
        let unneeded: Vec<VertexRef> = self
            .wanted
            .keys()
            .take_while(|reference| reference.round <= floor)
            .copied()
            .collect();
        unneeded
            .iter()
            .flat_map(|parent| self.arrived(parent))
            .collect()
    }

    /// Takes a waiting vertex out and forgets what it waited for.
    pub(crate) fn take(&mut self, reference: &VertexRef) -> Option<VerifiedVertex> {
        let waiting = self.waiting.remove(reference)?;
        self.by_author[reference.author.as_usize()].remove(reference);
        for parent in &waiting.missing {
            if let Some(waiters) = self.wanted.get_mut(parent) {
                waiters.remove(reference);
                if waiters.is_empty() {
                    self.wanted.remove(parent);
                }
            }
        }
        Some(waiting.vertex)
    }
}

/// How many vertices of one author may wait: what a peer cannot exceed, and enough to catch up without losing any.
pub const PENDING_PER_AUTHOR_MAX: usize = 256;
