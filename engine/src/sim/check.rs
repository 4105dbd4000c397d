//! The checkers: what must hold of every run, judged from what nodes are given and what they ask for, apart from how they
//! come to it and from what clients happen to send.
//!
//! - [`chain`]: the same anchors and batches everywhere, no duplicate, no gap, and the contents that their makers know;
//! - [`structure`]: what correct nodes accept and send obeys the rules of the DAG, and own vertices are durable before
//!   they are sent and never contradict each other;
//! - [`blind`]: no share leaves before the anchor that emits its batch is committed at the sender;
//! - [`live`]: what was promised is settled, within a bound in rounds;
//! - [`decide`]: each anchor follows by the plain commit rule from what its node has, with [`leaders`] as the sequence
//!   makes them;
//! - [`fair`]: what is emitted is what the definition emits ([`order`]) from the sub-DAGs as replayed ([`replay`]);
//! - [`keys`]: one sealing key an epoch, and a share of it on every node;
//! - [`law`]: the law of the fair order, by the receive orders of correct nodes.
//!
//! Thresholds are computed here once more, from n alone: a checker must not share the mistake that it is to find.

pub(crate) mod blind;
pub(crate) mod chain;
pub(crate) mod decide;
pub(crate) mod fair;
pub(crate) mod keys;
pub(crate) mod law;
pub(crate) mod leaders;
pub(crate) mod live;
pub(crate) mod order;
pub(crate) mod replay;
pub(crate) mod structure;

use std::fmt;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which checker found it.
    pub checker: &'static str,
    /// When, microseconds of virtual time.
    pub at_us: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} us: {}", self.checker, self.at_us, self.what)
    }
}

/// A broken promise, in words; the world adds when.
pub(crate) type Found = Result<(), String>;

/// How many of `n` may be faulty.
pub(crate) const fn faulty_max(n: usize) -> usize {
    (n - 1) / 3
}

/// How many of `n` make a quorum.
pub(crate) const fn quorum(n: usize) -> usize {
    n - faulty_max(n)
}
