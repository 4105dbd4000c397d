//! The archive of a batch: rkyv, written once, read in place.
//!
//! The payload region comes first and is already there when the archive is written: opening decrypts each entry straight
//! into its place, and [`BatchWriter::finish`] puts the entries and the root behind it. No payload byte moves.
//!
//! ```text
//! | 32 bytes of slack | payload, contiguous | padding | entries | root: header, payload range, entries range |
//! ```
//!
//! The slack is where r of the first entry lands when its ciphertext (r, then payload) is decrypted in place.
//!
//! I1 an archive is a function of (header, entries, payload): slack, gaps and padding are zero, so that two nodes write
//!    the same bytes.
//! I2 [`validate`] accepts only archives whose entries hash to the header's roots. It is the only maker of
//!    [`BatchView`], so who holds a view may use it without asking again.
//! I3 nothing here trusts a length or an offset before checking it against the bytes that are there.
//!
//! Cost: writing is O(entries); validating hashes every payload byte once and 2 x entries leaves, and allocates nothing.

mod read;
mod schema;
mod write;

pub use self::read::{BatchView, EntryView, access, validate};
pub use self::schema::{
    ArchivedBatch, ArchivedBatchEntry, ArchivedOutcome, Batch, BatchEntry, Outcome,
};
pub use self::write::{BatchWriter, archive_len_max};
use super::header::BatchHeader;
use crate::merkle::{leaf_hash, root_in_place, root_of};
use crate::types::{Digest, RollupId, Sha256Hash};
use crate::wire::DecodeError;

/// Why bytes are not the archive of a batch, or a batch cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// rkyv's checks refuse the bytes: a pointer leaves them, is misaligned, or a discriminant is unknown.
    #[error("not a batch archive of {len} bytes, or not at a 16-byte aligned address")]
    Archive {
        /// Bytes that were offered.
        len: u64,
    },
    /// The header inside does not decode.
    #[error("batch header: {0}")]
    Header(#[from] DecodeError),
    /// Above [`BATCH_ENTRIES_MAX`] or [`BATCH_PAYLOAD_MAX`].
    #[error("{field} is {value}, above its bound {max}")]
    TooLarge {
        /// `entries` or `payload bytes`.
        field: &'static str,
        /// What was claimed.
        value: u64,
        /// The bound.
        max: u64,
    },
    /// An entry's range leaves the payload, or overlaps or precedes the range before it.
    #[error("entry {index}: its payload range is outside the payload or out of order")]
    Range {
        /// Index of the entry.
        index: u32,
    },
    /// A byte of the payload region that belongs to no entry is not zero.
    #[error("a payload byte that belongs to no entry is not zero")]
    Gap,
    /// A count in the header differs from the entries.
    #[error("the header counts {header} {field}, the archive holds {archive}")]
    Count {
        /// `entries` or `void entries`.
        field: &'static str,
        /// The header's count.
        header: u32,
        /// What is there.
        archive: u64,
    },
    /// The digests do not hash to the header's order root.
    #[error("the digests do not hash to the header's order root")]
    OrderRoot,
    /// The reveals do not hash to the header's payload root.
    #[error("the reveals do not hash to the header's payload root")]
    PayloadRoot,
    /// The buffer is too small; [`archive_len_max`] gives the room to reserve.
    #[error("a buffer of {have} bytes is too small for the batch")]
    NoRoom {
        /// Bytes in the buffer.
        have: u64,
    },
}

/// Merkle root over the digests, in order.
pub fn order_root(digests: impl Iterator<Item = Digest>) -> Sha256Hash {
    root_of(digests.map(|digest| leaf_hash(&[&digest.0])))
}

/// Leaf under the payload root: digest, rollup id, outcome code, r (zero unless revealed), the entry's own payload
/// bytes. All but the last are of fixed length, so no two entries share an input.
pub fn payload_leaf(
    digest: Digest,
    rollup_id: RollupId,
    outcome: &Outcome,
    payload: &[u8],
) -> Sha256Hash {
    let r = match outcome {
        Outcome::Revealed { r, .. } => *r,
        Outcome::Open { .. } | Outcome::Void => [0; 32],
    };
    leaf_hash(&[
        &digest.0,
        &rollup_id.0.to_be_bytes(),
        &[outcome.code()],
        &r,
        payload,
    ])
}

/// Merkle root over the reveals of `entries`, whose ranges point into `payload`.
///
/// Errors: a range outside the payload.
pub fn payload_root(entries: &[BatchEntry], payload: &[u8]) -> Result<Sha256Hash, BatchError> {
    let mut leaves = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let bytes = payload_of(&entry.outcome, payload).ok_or(range_error(index))?;
        let (digest, rollup_id) = (Digest(entry.digest), RollupId(entry.rollup_id));
        leaves.push(payload_leaf(digest, rollup_id, &entry.outcome, bytes));
    }
    Ok(root_in_place(&mut leaves))
}

/// The bytes of one outcome, none when its range leaves the payload; a void entry has the empty slice.
fn payload_of<'a>(outcome: &Outcome, payload: &'a [u8]) -> Option<&'a [u8]> {
    let (offset, len) = outcome.range().unwrap_or((0, 0));
    payload.get(offset as usize..)?.get(..len as usize)
}

/// Walks the ranges forward and hands out the stretches between them, which stand where an entry turned out void.
fn for_each_gap(
    entries: impl Iterator<Item = BatchEntry>,
    payload_len: usize,
    mut gap: impl FnMut(std::ops::Range<usize>),
) -> Result<(), BatchError> {
    let mut end = 0usize;
    for (index, entry) in entries.enumerate() {
        let Some((offset, len)) = entry.outcome.range() else {
            continue;
        };
        let (start, stop) = (offset as usize, offset as usize + len as usize);
        if start < end || stop > payload_len {
            return Err(range_error(index));
        }
        gap(end..start);
        end = stop;
    }
    gap(end..payload_len);
    Ok(())
}

fn range_error(index: usize) -> BatchError {
    // Entries are counted against BATCH_ENTRIES_MAX first, so the index fits.
    BatchError::Range {
        index: index as u32,
    }
}

fn check_counts(
    header: &BatchHeader,
    len: usize,
    entries: impl Iterator<Item = BatchEntry>,
) -> Result<(), BatchError> {
    check_max("entries", len, BATCH_ENTRIES_MAX)?;
    let void = entries
        .filter(|entry| entry.outcome == Outcome::Void)
        .count() as u64;
    let counts = [
        ("entries", header.entries, len as u64),
        ("void entries", header.void, void),
    ];
    match counts
        .into_iter()
        .find(|(_, claimed, found)| u64::from(*claimed) != *found)
    {
        Some((field, header, archive)) => Err(BatchError::Count {
            field,
            header,
            archive,
        }),
        None => Ok(()),
    }
}

fn check_max(field: &'static str, value: usize, max: usize) -> Result<(), BatchError> {
    if value > max {
        return Err(BatchError::TooLarge {
            field,
            value: value as u64,
            max: max as u64,
        });
    }
    Ok(())
}

/// Bytes before the payload region.
pub const PAYLOAD_SLACK_LEN: usize = 32;
/// Payload bytes in a batch at most; a longer emission is several batches.
pub const BATCH_PAYLOAD_MAX: usize = 1 << 20;
/// Entries in a batch at most; a longer emission is several batches.
pub const BATCH_ENTRIES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
