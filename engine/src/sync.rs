//! State sync: how a node that was away for longer than its peers keep vertices takes part again.
//!
//! A node is behind when v = f + 1 different authors have signed vertices of rounds that it has not reached: one of them
//! is correct. While the distance is below G + 2 checkpoint intervals, peers still have the rounds (they retain that
//! much), and it asks for them, oldest first. Beyond, it asks a peer for the newest checkpoint ([`proof`]) and its state
//! ([`part`], [`download`]), checks both, and goes on from there.
//!
//! Why that is enough:
//! - The state is that of an anchor which a correct node committed ([`proof`]), and it holds all that later anchors depend
//!   on ([`crate::state`]). Vertices above its floor that it names as committed are in no later sub-DAG, so nobody needs
//!   them: as parents, their names do. Those above it are fetched; peers retain two intervals below their floor, so those
//!   that belong to either of the two checkpoints they serve are there.
//! - Own vertices: the next one is made in a round that others have filled, above every round this node has signed in
//!   (rounds only rise, and are recovered from its records), so it never makes a second one in a slot. Its own-previous
//!   link still names its newest vertex, which lies at or below everybody's floor and so need not be there for anybody. A
//!   node whose floor is lower still fetches it: its author keeps its newest vertex for ever.
//! - Positions: others that have that newest vertex hold the next to it; others take the position as it comes, as for any
//!   link below the floor. This node takes the position after each author's tip from the state.
//! - Entries that its lost vertices listed come back to its local order and are listed again; those that were emitted
//!   meanwhile the state knows, and the fair order passes over them.
//! - Batches that it missed are fetched by hash and settled in order ([`gap`]), before those of its own; each once, by seq.
//!   Peers keep a window of settled batches in memory ([`served`]) and read what is older from their disks ([`loads`]). What
//!   no peer has any more leaves such a node taking part in consensus and settling nothing.
//!
//! Every answer is bounded before it takes memory; a peer that does not answer, has not got it, or lies is followed by the
//! next, with back-off, and counted.

use crate::types::BatchSeq;

/// How far a node is that takes part again from a peer's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// While a state is being fetched: how many of its parts are here, and of how many; these are 0 until the first has come.
    pub state_parts: Option<(u32, u32)>,
    /// Once it is taken: the next batch to settle, and the seq behind the last that is fetched from peers.
    pub batches: Option<(BatchSeq, BatchSeq)>,
}

pub mod checkpoints;
pub mod download;
pub mod gap;
pub mod loads;
pub mod part;
pub mod proof;
pub mod served;
