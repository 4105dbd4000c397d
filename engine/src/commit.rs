//! The commit rule of Mysticeti-C: which leader vertices become anchors, in which order, and what each one commits.
//!
//! Source: Babel et al., Mysticeti, NDSS 2025, section 3. One leader a round. A pure function of the DAG: same DAG,
//! same answer, whatever order the vertices came in; this module reads [`crate::dag`] and never changes it.
//!
//! - [`schedule`]: who leads which round, by what was output, and the rounds of a wave;
//! - [`decide`]: one slot: commit, skip or undecided;
//! - [`sequence`]: all slots from the highest down, output from the lowest up;
//! - [`history`]: the sub-DAG of an anchor, consensus time and forked authors.

pub mod decide;
pub mod history;
pub mod schedule;
pub mod sequence;

#[cfg(test)]
mod paper_tests;

pub use decide::Decision;
pub use history::SubDag;
pub use sequence::{CommitCounters, Committer};
