//! The settlement ring: batches in shared memory, written once by the node and read in place by a settlement
//! worker. Each worker has a ring of its own.
//!
//! ```text
//! data mapping (node writes, sealed against every other writer)      cursor mapping (the worker writes)
//! | page: magic, capacity, head, node parked | capacity bytes |      | page: tail, settled count, worker parked |
//!                                              ^ records, 16-byte aligned, never wrapping: a skip record fills the end
//! ```
//!
//! Ownership cycle. Positions count bytes since the ring was made and never wrap (2^64 bytes). The producer owns
//! `[head, tail + capacity)`, writes a record there and gives it away by storing `head` (Release). The consumer owns
//! `[tail, head)`, learns of it by loading `head` (Acquire), reads, and gives it back by storing `tail` (Release).
//!
//! I1 the data mapping's memfd is sealed (shrink, grow, future writes): a reader can neither write the data nor truncate
//!    it under the node, which would end the node by SIGBUS. The cursor's memfd is sealed in size.
//! I2 the producer never believes the cursor: a tail that goes back, passes the head or is not aligned is ignored and
//!    counted, so a lying reader loses its own records and harms nobody else.
//! I3 the consumer believes its node for memory; it still checks every length against the mapping.
//! I4 a record is 16-byte aligned, so that an archive in it can be read in place.
//!
//! Wake-ups cost a system call only when the other side says that it is parked: store, full fence, load on both sides
//! (Dekker), so no wake-up is lost. The node wakes the worker through a pipe, not an eventfd: an eventfd shares its
//! `O_NONBLOCK` flag with whoever holds it, so a lying reader could fill it, clear the flag, and block the node for
//! ever; the two ends of a pipe are separate. When the ring is full, [`Producer::reserve`] declines and the caller
//! keeps its batches back: nothing is ever dropped here.
//!
//! Not iceoryx2 (0.9), which was looked at: its services are found by name in the file system and their resources outlive a
//! process that is killed until somebody cleans up (its issue 601), where memfds over a socket vanish with their holders; its
//! ports trust each other with shared bookkeeping, where here a reader may write nothing but its own cursor and is believed
//! in nothing (I2); and it hands over samples of a pool, where batches need an order, a position to resume from and certificates
//! between them. What would be left to use is the copy that both save.
//!
//! Cost: one record is one copy of a 16-byte header and one Release store; no system call while both sides run.

mod consumer;
mod memory;
mod pass;
mod producer;
mod protocol;

pub use consumer::{Consumer, RecordKind, RingRecord};
pub use pass::{FDS_MAX, receive_fds, send_fds};
pub use producer::{Producer, RingFds, RingWatch, create};

/// Why a ring cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// A system call failed.
    #[error("settlement ring: {what}: {source}")]
    Os {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The capacity is not a power of two in [`CAPACITY_MIN`]`..=`[`CAPACITY_MAX`].
    #[error("a ring of {0} bytes: the capacity must be a power of two from 4 KiB to 4 GiB")]
    Capacity(u64),
    /// The mappings are not those of a ring of this version.
    #[error("the shared memory is not a settlement ring: {0}")]
    Layout(&'static str),
    /// A record's header is impossible: the node's memory is not what it says.
    #[error("the ring holds an impossible record at position {position}")]
    Record {
        /// Bytes since the ring was made.
        position: u64,
    },
}

impl RingError {
    pub(crate) fn os(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Os { what, source }
    }
}

/// Bytes of records that a ring holds unless the node is told otherwise.
pub const CAPACITY_DEFAULT: u64 = 64 << 20;
/// Smallest capacity, bytes.
pub const CAPACITY_MIN: u64 = 4096;
/// Largest capacity, bytes: half of it, the longest record, then fits a u32.
pub const CAPACITY_MAX: u64 = 1 << 32;
/// Bytes of a record's header; also the alignment of records.
pub const RECORD_HEADER_LEN: u64 = 16;

/// Longest record of a ring of `capacity` bytes: half of it, so that a record fits even behind a skip at the end.
pub const fn record_len_max(capacity: u64) -> u64 {
    capacity / 2 - RECORD_HEADER_LEN
}

/// Header of a record in the ring, in native byte order: both sides are on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordHeader {
    /// Bytes behind the header, without alignment padding.
    len: u32,
    kind: u32,
    seq: u64,
}

impl RecordHeader {
    fn encode(self) -> [u8; RECORD_HEADER_LEN as usize] {
        let mut out = [0; RECORD_HEADER_LEN as usize];
        out[..4].copy_from_slice(&self.len.to_ne_bytes());
        out[4..8].copy_from_slice(&self.kind.to_ne_bytes());
        out[8..].copy_from_slice(&self.seq.to_ne_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            len: u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?),
            kind: u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?),
            seq: u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?),
        })
    }
}

/// A record that carries bytes; an odd number, so that zeroed memory is no record.
const KIND_DATA: u32 = 0xFA1A_0001;
/// Nothing but the rest of the ring up to its end.
const KIND_SKIP: u32 = 0xFA1A_0002;
/// A record that carries a certificate of a batch before it.
const KIND_CERTIFICATE: u32 = 0xFA1A_0003;

/// "FAIRRING" and the version of the layout.
const MAGIC: u64 = u64::from_be_bytes(*b"FAIRRNG\x02");
/// One page before the records, and the whole cursor mapping.
const PAGE_LEN: u64 = 4096;

// Offsets in the data mapping's first page: what different sides poll stands in different cache lines.
const MAGIC_AT: usize = 0;
const CAPACITY_AT: usize = 8;
const HEAD_AT: usize = 64;
const NODE_PARKED_AT: usize = 128;

// Offsets in the cursor mapping.
const TAIL_AT: usize = 0;
const SETTLED_AT: usize = 64;
const READER_PARKED_AT: usize = 128;

#[cfg(test)]
mod tests;
