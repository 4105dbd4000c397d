//! Workers on other machines: the same bytes over TCP, through a ring in the node like any worker's.
//!
//! ```text
//! greeting  version u8 = 1 | nonce 32                              node -> worker
//! opening   version u8 = 1 | gate 32 | Noise message 1 (120)       worker -> node; it carries the hello: chain, rollup, settled
//! reply     Noise message 2 (49), carries the answer's code        node -> worker
//! records   as between authorities (crate::session)                both ways
//! ```
//!
//! Noise_IK_25519_ChaChaPoly_BLAKE2s: the node's key is its link key, which the committee file has; the workers' keys are in
//! the node's configuration. The prologue names the protocol, chain, authority and nonce, so nothing of a link between
//! authorities passes here, nor the other way. The gate is a keyed BLAKE3 of nonce and message 1, one key for each pair:
//! bytes of strangers cost a hash for each worker known, and no curve operation.
//!
//! From the node come frames, each beginning with a record: kind u8 (1 batch, 2 certificate, 0 sign of life) | seq u64 | len
//! u32 | bytes. From the worker comes one record whenever it has settled something, and each second: the count of what is
//! final, u64. Integers are big-endian.
//!
//! R1 the worker trusts nothing here more than in the node's memory: it checks each batch against its header and the chain.
//! R2 a connection has a thread and a ring of its own: one that is slow blocks its own thread, its ring fills, and it is served
//!    from the journal; the node and the other workers never wait for it.
//! R3 it resumes from its own count, as a worker beside the node does.

mod feed;
mod handshake;
mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use feed::RemoteFeed;
pub use handshake::{NodeKey, WorkerKeys};
pub(super) use server::RemoteServer;

/// Connections of remote workers that were not to be had, by reason, and those that were.
#[derive(Debug, Default)]
pub(super) struct RemoteCounts([AtomicU64; REASONS]);

/// The same as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFigures {
    /// Workers taken in.
    pub workers: u64,
    /// Handshakes that gave way to others, as there were too many.
    pub crowded: u64,
    /// Said nothing, or not all, in time.
    pub silent: u64,
    /// Of another version.
    pub version: u64,
    /// Without the key of a worker that the node knows.
    pub gate: u64,
    /// With a handshake or a record that does not hold.
    pub broken: u64,
    /// Of another chain or rollup, behind the journal, or one worker too many.
    pub refused: u64,
}

/// Why a connection came to nothing; also what counts as one that did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Taken,
    Crowded,
    Silent,
    Version,
    Gate,
    Broken,
    Refused,
}

impl RemoteCounts {
    fn add(&self, cause: Cause) {
        self.0[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn figures(&self) -> RemoteFigures {
        let of = |cause: Cause| self.0[cause as usize].load(Ordering::Relaxed);
        RemoteFigures {
            workers: of(Cause::Taken),
            crowded: of(Cause::Crowded),
            silent: of(Cause::Silent),
            version: of(Cause::Version),
            gate: of(Cause::Gate),
            broken: of(Cause::Broken),
            refused: of(Cause::Refused),
        }
    }
}

impl RemoteFigures {
    /// Those that came to nothing, by name.
    pub const fn refusals(&self) -> [(&'static str, u64); 6] {
        [
            ("crowded", self.crowded),
            ("silent", self.silent),
            ("version", self.version),
            ("gate", self.gate),
            ("broken", self.broken),
            ("refused", self.refused),
        ]
    }
}

const REASONS: usize = 7;
const VERSION: u8 = 1;
const FRAME_HEAD_LEN: usize = 13;
const KIND_ALIVE: u8 = 0;
const KIND_BATCH: u8 = 1;
const KIND_CERTIFICATE: u8 = 2;
/// Connections at the settlement port, in a handshake or taken in; a further one takes the place of a handshake.
const REMOTE_CONNECTIONS_MAX: usize = 16;
/// How long a handshake may take in all.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(3);
/// Each end says something so often.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// A silence after which the other end counts as gone.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a write may find no room at all.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
