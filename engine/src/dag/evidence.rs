//! Forks: two vertices of one author of which neither reaches the other by own-previous links.
//!
//! A correct author's vertices form one chain from its genesis, each naming the one before. Two vertices in one slot
//! break the chain, and so do two in different slots with a common predecessor. A fork is data: kept, shown, counted
//! by the commit rule, never a panic.

use crate::dag::header::VertexRef;
use crate::dag::vertex::{VerifiedVertex, Vertex};
use crate::types::AuthorityIndex;

/// Two signed vertices that prove a fork by themselves.
///
/// Of the two, `newer` is of the same or a later round, and its own-previous link leads past `older` (to the same or
/// an earlier round, and not to `older`), so neither can reach the other and no third vertex need be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkEvidence {
    /// The vertex of the lower round, or either one of twins.
    pub older: VerifiedVertex,
    /// The vertex whose chain passes `older` by.
    pub newer: VerifiedVertex,
}

impl ForkEvidence {
    /// Who forked.
    pub fn author(&self) -> AuthorityIndex {
        self.older.author()
    }

    /// Whether the two vertices prove a fork; their signatures were checked when they became [`VerifiedVertex`].
    pub fn holds(&self) -> bool {
        let (older, newer) = (self.older.reference(), self.newer.reference());
        let link = self.newer.own_previous();
        older.author == newer.author
            && older != newer
            && older.round <= newer.round
            && link.round <= older.round
            && link != older
    }

    /// Evidence from an accepted chain ending in `tip` and a newly accepted `vertex` that does not continue it.
    ///
    /// Walks down from `tip` to the first vertex whose own link reaches the round of `vertex` or below; `lookup` finds
    /// stored vertices. At most one step a round of the window. Nothing when the two do not prove a fork.
    pub(crate) fn find<'a>(
        tip: &'a VerifiedVertex,
        vertex: &VerifiedVertex,
        lookup: impl Fn(&VertexRef) -> Option<&'a VerifiedVertex>,
    ) -> Option<Self> {
        let evidence = if vertex.round() >= tip.round() {
            Self {
                older: tip.clone(),
                newer: vertex.clone(),
            }
        } else {
            let mut newer = tip;
            while newer.own_previous().round > vertex.round() {
                newer = lookup(&newer.own_previous())?;
            }
            Self {
                older: vertex.clone(),
                newer: newer.clone(),
            }
        };
        evidence.holds().then_some(evidence)
    }
}

/// Whether `vertex` continues its author's chain, of which `tip` is the last vertex known.
///
/// A link to a round after `tip` leads to a vertex left out below a pruning floor; that it continues the chain cannot
/// be disproved, and every node that commits the same sequence judges it alike.
pub(crate) fn continues_chain(tip: &VertexRef, vertex: &Vertex) -> bool {
    let link = vertex.own_previous();
    link == *tip || link.round > tip.round
}
