//! What an archive is made of: the types whose archived forms a settlement worker reads in place.

#![allow(
    missing_docs,
    reason = "rkyv's derive makes public resolvers whose fields cannot carry a docstring; ours are documented"
)]

use rkyv::{Archive, Serialize};

use crate::batch::header::HEADER_LEN;

/// The schema of the archive, [`ArchivedBatch`] being its archived form; written through [`BatchWriter`] only.
///
/// The order of the fields is the order of the regions in the archive: the checker walks them forward and would
/// otherwise refuse the archive.
#[derive(Archive, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Batch {
    /// The encoded [`BatchHeader`].
    pub header: [u8; HEADER_LEN],
    /// The revealed bytes of all entries, contiguous.
    pub payload: Vec<u8>,
    /// The entries, in order.
    pub entries: Vec<BatchEntry>,
}

/// One entry of a batch.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct BatchEntry {
    /// Digest of the envelope.
    pub digest: [u8; 32],
    /// The rollup that the envelope is for.
    pub rollup_id: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an envelope. Offsets count from the start of the payload region (behind the slack), in bytes.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub enum Outcome {
    /// The envelope was never sealed.
    Open {
        /// First byte of the payload.
        offset: u32,
        /// Bytes of payload.
        len: u32,
    },
    /// The envelope was sealed and opens.
    Revealed {
        /// The scalar of the seal, so that anyone checks the reveal from the envelope alone.
        r: [u8; 32],
        /// First byte of the payload.
        offset: u32,
        /// Bytes of payload.
        len: u32,
    },
    /// The envelope was sealed and opens for nobody.
    Void,
}

impl Outcome {
    /// Where the payload lies, (offset, length) in bytes; none for a void entry.
    pub const fn range(&self) -> Option<(u32, u32)> {
        match *self {
            Self::Open { offset, len } | Self::Revealed { offset, len, .. } => Some((offset, len)),
            Self::Void => None,
        }
    }

    /// The code that stands in the payload leaf: 0 open, 1 revealed, 2 void.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Open { .. } => 0,
            Self::Revealed { .. } => 1,
            Self::Void => 2,
        }
    }
}
