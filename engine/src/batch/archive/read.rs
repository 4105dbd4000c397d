//! Reading an archive in place: checked access, then the check against its own header.

use rkyv::rancor::Failure;

use super::{
    ArchivedBatch, ArchivedBatchEntry, ArchivedOutcome, BATCH_PAYLOAD_MAX, BatchEntry, BatchError,
    Outcome, check_counts, check_max, for_each_gap, order_root, payload_leaf, payload_of,
};
use crate::batch::header::BatchHeader;
use crate::merkle::root_of;
use crate::types::{Digest, RollupId, Sha256Hash};

/// Checked access to an archive at a 16-byte aligned address: pointers and discriminants are sound, contents unchecked.
///
/// Errors: [`BatchError::Archive`].
pub fn access(bytes: &[u8]) -> Result<&ArchivedBatch, BatchError> {
    rkyv::api::low::access::<ArchivedBatch, Failure>(bytes).map_err(|Failure| BatchError::Archive {
        len: bytes.len() as u64,
    })
}

/// Checks an archive against its own header: bounds, ranges, counts, order root and payload root.
///
/// Says nothing of whether the header is the right one: that is for the hash chain and the certificate.
pub fn validate(bytes: &[u8]) -> Result<BatchView<'_>, BatchError> {
    let archived = access(bytes)?;
    check_max("payload bytes", archived.payload.len(), BATCH_PAYLOAD_MAX)?;
    let header = BatchHeader::decode(&archived.header)?;
    let view = BatchView {
        header,
        bytes,
        archived,
    };
    let entries = || archived.entries.iter().map(ArchivedBatchEntry::to_entry);
    check_counts(&header, archived.entries.len(), entries())?;

    let payload = archived.payload.as_slice();
    let mut gaps_zero = true;
    for_each_gap(entries(), payload.len(), |gap| {
        gaps_zero &= payload[gap].iter().all(|byte| *byte == 0);
    })?;
    if !gaps_zero {
        return Err(BatchError::Gap);
    }
    if order_root(view.entries().map(|entry| entry.digest)) != header.order_root {
        return Err(BatchError::OrderRoot);
    }
    if root_of(view.entries().map(|entry| entry.leaf())) != header.payload_root {
        return Err(BatchError::PayloadRoot);
    }
    Ok(view)
}

/// A validated batch, read in place.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
    archived: &'a ArchivedBatch,
}

impl<'a> BatchView<'a> {
    /// The decoded header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The archive itself.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The entries, in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = EntryView<'a>> + Clone + use<'a> {
        let payload = self.archived.payload.as_slice();
        self.archived.entries.iter().map(move |archived| {
            let entry = archived.to_entry();
            EntryView {
                digest: Digest(entry.digest),
                rollup_id: RollupId(entry.rollup_id),
                outcome: entry.outcome,
                payload: payload_of(&entry.outcome, payload).unwrap_or_default(),
            }
        })
    }
}

/// One entry of a validated batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView<'a> {
    /// Digest of the envelope.
    pub digest: Digest,
    /// The rollup that the envelope is for.
    pub rollup_id: RollupId,
    /// What became of it.
    pub outcome: Outcome,
    /// The revealed bytes; empty for a void entry.
    pub payload: &'a [u8],
}

impl EntryView<'_> {
    /// The entry's leaf under the payload root.
    pub fn leaf(&self) -> Sha256Hash {
        payload_leaf(self.digest, self.rollup_id, &self.outcome, self.payload)
    }
}

impl ArchivedBatchEntry {
    /// The entry as it was written; its range is as unchecked as the archive.
    pub fn to_entry(&self) -> BatchEntry {
        let outcome = match &self.outcome {
            ArchivedOutcome::Open { offset, len } => Outcome::Open {
                offset: offset.to_native(),
                len: len.to_native(),
            },
            ArchivedOutcome::Revealed { r, offset, len } => Outcome::Revealed {
                r: *r,
                offset: offset.to_native(),
                len: len.to_native(),
            },
            ArchivedOutcome::Void => Outcome::Void,
        };
        BatchEntry {
            digest: self.digest,
            rollup_id: self.rollup_id.to_native(),
            outcome,
        }
    }
}
