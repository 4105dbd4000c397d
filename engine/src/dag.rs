//! The uncertified DAG of Mysticeti-C: signed vertices, those accepted and those waiting, and what to propose next.
//!
//! Source: Babel et al., Mysticeti: Reaching the Latency Limits with Uncertified DAGs, NDSS 2025. Everything here is
//! data and pure questions about it. Nothing sends, waits or reads a clock, and the commit rule ([`crate::commit`])
//! reads this module without ever changing it.
//!
//! - [`header`]: the fixed-size signed header and what a vertex is named by;
//! - [`vertex`]: a whole vertex, and the only ways to get a [`VerifiedVertex`];
//! - [`store`]: the accepted vertices; `pending`: those that wait for parents; `coverage`: who knows which;
//! - [`evidence`]: what a fork is and what proves it;
//! - [`propose`]: when a round may be entered and what an own vertex should cite.

mod coverage;
#[cfg(test)]
pub(crate) mod drawn;
pub mod evidence;
pub mod header;
mod pending;
pub mod propose;
pub mod store;
pub mod vertex;

pub use evidence::ForkEvidence;
pub use header::{Settled, SignedHeader, VertexHeader, VertexRef, genesis};
pub use pending::{MissingVertex, PENDING_PER_AUTHOR_MAX};
pub use store::{BrokenLink, Dag, DagCounters, Inserted, VertexFault};
pub use vertex::{VerifiedVertex, Vertex, VertexDraft, VertexError, entry_leaf};
