//! Settlement: workers that take batches out of the node's shared memory and hand them to a sink, exactly once and in order.
//!
//! ```text
//! node: core thread --Producer--> ring (shared memory) --Consumer--> worker: validate, append, sync --> sink
//!          ^                                                            |
//!          +---- hook <- server thread <- a byte on the Unix socket <---+  advance(settled count)
//! ```
//!
//! A worker connects to the node's Unix socket, says for which rollup it settles and up to which seq it has, and gets the
//! descriptors of a ring of its own, fed from there on. From then on the socket carries only one-byte wake-ups from worker
//! to node, and its hang-up tells each side that the other is gone. Up to [`WORKERS_MAX`] at a time, of one rollup or several;
//! those on other machines come over TCP (`settle/remote.rs`).
//!
//! I1 exactly once: the sink alone says what is settled (it reads that back from its own file), and the ring begins there;
//!    its cursor only follows the sink. A batch that the sink has is skipped, one that would leave a gap is an error.
//! I2 a batch is settled after the sink's sync that covers it, never before; then the cursor moves, then the node is told.
//! I3 each batch is validated against its header, and each header against the one before (hash chain), so what stands in
//!    the sink is one chain whatever node it came from.
//! I4 where the words of f + 1 authorities or certificates are waited for, a batch is final for this worker, which tells the
//!    node so, only when such a proof, which the worker has verified, covers it and is synced behind it. Until then it is
//!    kept. The node tells its clients that a batch is settled when the first of its workers has said so, by whatever proof that
//!    one waits for.
//! I5 a chain may carry several rollups. A worker settles every batch of it, in order and once, whether it has entries of its
//!    rollup or not: the roots of a header are over all entries, so nobody could check less. Others' entries stand in it with
//!    their payloads, as everything is public once it is opened; [`SettledBatch::entries_of`] gives the own ones.
//! I6 the worker trusts its own node for memory, the node trusts the worker for nothing.

mod attach;
mod fault;
mod feed;
mod handshake;
mod journal_sink;
mod ndjson;
mod proof;
mod reader;
mod remote;
mod serve;
mod server;
mod sink_format;
mod survey;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;

use fairlane_engine::batch::{BatchError, BatchHeader, BatchView};
use fairlane_engine::types::{BatchSeq, ChainId, RollupId};
use fairlane_engine::wire::DecodeError;

use crate::journal::JournalError;
use crate::ring::RingError;

pub use attach::{Attachment, MakeLoader, WORKERS_MAX, WorkerLink};
pub use journal_sink::{JournalSink, UNCOVERED_MAX};
pub use ndjson::NdjsonSink;
pub use proof::{Proof, ProofError, ProofRule, Words};
pub use reader::{SettleReader, SettledBatch, check_continues};
pub use remote::{NodeKey, RemoteFigures, WorkerKeys};
pub use serve::{Event, serve};
pub use server::{ServerConfig, SettleServer};
pub use sink_format::Finality;
pub use survey::SettleSurvey;
pub use worker::{Ended, RemoteNode, SettleConfig, SettleReport, run, run_with};

/// Where settled batches go: a [`JournalSink`], lines of JSON ([`NdjsonSink`]), or what a user's rollup makes of them.
///
/// The worker gives a sink every batch of the chain, of every rollup, once and in order, each checked against its own
/// header; a batch's bytes lie in shared memory and are gone when [`append`](Self::append) returns. After as many as were
/// there it asks for one [`sync`](Self::sync), and only then tells the node how far it is. What a sink says in
/// [`settled`](Self::settled) when it is opened is all that the worker knows of what went before: it starts there, so a sink that
/// says what it has on disk gets each batch exactly once, whoever was killed and when.
///
/// A sink that keeps a state of its own, with no log beside it:
///
/// ```
/// use std::collections::BTreeMap;
///
/// use fairlane_engine::batch::{BatchHeader, BatchView};
/// use fairlane_engine::types::RollupId;
/// use fairlane_net::settle::{SettleError, Sink};
///
/// /// Counts the payload bytes of each rollup. A real one would write `bytes` and `settled` in one transaction.
/// #[derive(Default)]
/// struct Counter {
///     bytes: BTreeMap<RollupId, u64>,
///     appended: Option<BatchHeader>,
///     settled: Option<BatchHeader>,
/// }
///
/// impl Sink for Counter {
///     fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
///         for entry in batch.entries() {
///             *self.bytes.entry(entry.rollup_id).or_default() += entry.payload.len() as u64;
///         }
///         self.appended = Some(*batch.header());
///         Ok(())
///     }
///
///     fn sync(&mut self) -> Result<(), SettleError> {
///         // Here the state and the header would be made durable, together.
///         self.settled = self.appended;
///         Ok(())
///     }
///
///     fn settled(&self) -> Option<&BatchHeader> {
///         self.settled.as_ref()
///     }
/// }
///
/// assert_eq!(Counter::default().settled_count(), 0);
/// ```
///
/// [`serve`] runs it beside a node; `net/examples/matching` is a whole rollup.
pub trait Sink {
    /// Takes the next batch of the chain; it counts as settled after the next [`sync`](Self::sync) only.
    ///
    /// Errors: it does not continue what was taken before ([`check_continues`] says so), or the sink's own; the worker ends.
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError>;

    /// Returns when everything appended survives the loss of power. When the disk has no room
    /// ([`SettleError::is_disk_full`]) it may be asked for again; after any other error the sink is not to be used.
    fn sync(&mut self) -> Result<(), SettleError>;

    /// Header of the last batch that is settled; none at the start of the chain.
    fn settled(&self) -> Option<&BatchHeader>;

    /// One above the seq of the last settled batch; 0 at the start.
    fn settled_count(&self) -> u64 {
        self.settled().map_or(0, |header| header.seq.0 + 1)
    }

    /// Takes a proof that holds; what it covers is final after the next [`sync`](Self::sync). False when it covers
    /// nothing that waits for one, which is so for sinks that wait for none.
    ///
    /// Errors: it names another batch than was appended under its seq.
    fn certify(&mut self, _proof: &Proof) -> Result<bool, SettleError> {
        Ok(false)
    }

    /// One above the seq of the last batch that is settled and final; what is settled is, where nobody waits for more.
    fn final_count(&self) -> u64 {
        self.settled_count()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
        (**self).append(batch)
    }

    fn sync(&mut self) -> Result<(), SettleError> {
        (**self).sync()
    }

    fn settled(&self) -> Option<&BatchHeader> {
        (**self).settled()
    }

    fn settled_count(&self) -> u64 {
        (**self).settled_count()
    }

    fn certify(&mut self, proof: &Proof) -> Result<bool, SettleError> {
        (**self).certify(proof)
    }

    fn final_count(&self) -> u64 {
        (**self).final_count()
    }
}

/// Why settlement stops. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The sink's file or folder.
    #[error(transparent)]
    File(#[from] JournalError),
    /// The node's socket.
    #[error("{what} the node's settlement socket {}: {source}", path.display())]
    Socket {
        /// What was being done.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The node's settlement port.
    #[error("{what} {address}: {source}")]
    Node {
        /// What was being done.
        what: &'static str,
        /// The port.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The node does not take this worker.
    #[error("the node refuses this worker: {0}")]
    Refused(&'static str),
    /// The node has no seat for this worker now.
    #[error("the node refuses this worker: it serves as many workers as it can: stop one")]
    Busy,
    /// The other side does not speak this protocol.
    #[error("the settlement handshake: {0}")]
    Handshake(&'static str),
    /// The ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A batch does not hold against its own header.
    #[error("batch {seq}: {source}")]
    Batch {
        /// The seq that the node gave it.
        seq: u64,
        /// What does not hold.
        source: BatchError,
    },
    /// A batch belongs to another chain, or does not continue what is settled.
    #[error("batch {} does not continue what is settled ({}): {reason}", seq.0, settled_name(*settled))]
    Chain {
        /// Seq of the batch.
        seq: BatchSeq,
        /// Last settled seq.
        settled: Option<BatchSeq>,
        /// What does not fit.
        reason: &'static str,
    },
    /// What a sink of a user's own says.
    #[error("the sink: {0}")]
    Sink(String),
    /// A certificate does not hold, or the words of authorities do not.
    #[error("the node handed on a proof that does not hold: {0}")]
    Proof(#[from] ProofError),
    /// The sink's file belongs to another chain or rollup.
    #[error(
        "{} says at byte 16 that it is of rollup {} of chain {}, and this worker settles rollup {} of chain {}: choose another folder",
        path.display(), found.1.0, found.0.0, expected.1.0, expected.0.0
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Chain and rollup that it is of.
        found: (ChainId, RollupId),
        /// Those that it should be of.
        expected: (ChainId, RollupId),
    },
    /// The sink's file does not begin as such files do, or another version wrote it.
    #[error(
        "{} does not begin at byte 0 as a settlement journal does ({source}): restore it, or use the version of fairlane that wrote it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
}

impl SettleError {
    /// Whether the disk has no room: the same may work later.
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::File(JournalError::Full { .. }))
    }

    /// Whether the node is to blame, so that it may be otherwise later: it is away, or its seats are taken, perhaps by
    /// connections that are dead and of which it does not know yet.
    pub const fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::Socket { .. } | Self::Node { .. } | Self::Handshake(_) | Self::Busy
        )
    }
}

fn settled_name(settled: Option<BatchSeq>) -> String {
    settled.map_or("nothing yet".into(), |seq| format!("up to batch {}", seq.0))
}

#[cfg(test)]
mod corruption_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod finality_tests;
#[cfg(test)]
mod rollups_tests;
#[cfg(test)]
mod tests;
