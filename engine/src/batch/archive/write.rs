//! Writing an archive behind a payload that is already in the buffer.
//!
//! rkyv would copy the payload into its writer; here the payload's archived vector is resolved at the place where the
//! bytes already stand, and the library only writes what comes behind. Allocates nothing.

use rkyv::rancor::{Failure, Fallible, Source};
use rkyv::ser::allocator::SubAllocator;
use rkyv::ser::{Allocator, Positional, Writer};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Place, Serialize};

use super::{
    ArchivedBatch, ArchivedBatchEntry, BATCH_PAYLOAD_MAX, BatchEntry, BatchError,
    PAYLOAD_SLACK_LEN, check_counts, check_max, for_each_gap,
};
use crate::batch::header::{BatchHeader, HEADER_LEN};

/// Writes one archive into a caller's buffer, payload first.
///
/// The buffer must start at a 16-byte aligned address if the archive is to be read where it is written.
#[derive(Debug)]
pub struct BatchWriter<'a> {
    bytes: &'a mut [u8],
    payload_end: usize,
}

impl<'a> BatchWriter<'a> {
    /// Takes a buffer whose payload region holds, or will hold, `payload_len` bytes.
    ///
    /// Leaves the buffer as it is: a payload that was decrypted into it before stays. Errors: payload too large, no room.
    pub fn new(bytes: &'a mut [u8], payload_len: usize) -> Result<Self, BatchError> {
        check_max("payload bytes", payload_len, BATCH_PAYLOAD_MAX)?;
        let payload_end = PAYLOAD_SLACK_LEN + payload_len;
        if bytes.len() < payload_end {
            return Err(BatchError::NoRoom {
                have: bytes.len() as u64,
            });
        }
        Ok(Self { bytes, payload_end })
    }

    /// Slack and payload region: the payload of an entry at `offset` starts at `PAYLOAD_SLACK_LEN + offset`, so that
    /// the 32 bytes before it are there for its r while it is decrypted.
    pub fn region_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.payload_end]
    }

    /// The payload region, without the slack.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[PAYLOAD_SLACK_LEN..self.payload_end]
    }

    /// Zeroes slack and gaps, writes entries and root, and returns the length of the archive in bytes.
    ///
    /// The header is the caller's: its counts must match, its roots are not recomputed here. Errors: a range outside the
    /// payload or out of order, a count that differs, too many entries, no room.
    pub fn finish(self, header: &BatchHeader, entries: &[BatchEntry]) -> Result<usize, BatchError> {
        check_counts(header, entries.len(), entries.iter().copied())?;
        let payload_len = self.payload_end - PAYLOAD_SLACK_LEN;
        let (slack, rest) = self.bytes.split_at_mut(PAYLOAD_SLACK_LEN);
        slack.fill(0);
        let payload = &mut rest[..payload_len];
        for_each_gap(entries.iter().copied(), payload_len, |gap| {
            payload[gap].fill(0)
        })?;

        let have = self.bytes.len() as u64;
        let root = BatchInPlace {
            header: header.encode(),
            payload: PayloadInPlace {
                at: PAYLOAD_SLACK_LEN,
                len: payload_len,
            },
            entries: EntriesInPlace(entries),
        };
        let writer = TailWriter {
            bytes: self.bytes,
            at: self.payload_end,
        };
        let written = rkyv::api::low::to_bytes_in_with_alloc::<_, _, Failure>(
            &root,
            writer,
            SubAllocator::empty(),
        )
        .map_err(|Failure| BatchError::NoRoom { have })?;
        Ok(written.at)
    }
}

/// Room that an archive of `entries` entries and `payload_len` payload bytes needs at most, in bytes.
pub const fn archive_len_max(entries: usize, payload_len: usize) -> usize {
    let entries_len = entries * size_of::<ArchivedBatchEntry>();
    let root_len = size_of::<ArchivedBatch>();
    PAYLOAD_SLACK_LEN + payload_len + entries_len + root_len + 2 * PADDING_MAX
}

/// What the writer serializes: archives as [`Batch`] does, but its payload is already in the buffer.
#[derive(Archive, Serialize)]
#[rkyv(as = ArchivedBatch, serialize_bounds(__S: Allocator + Writer))]
struct BatchInPlace<'a> {
    header: [u8; HEADER_LEN],
    payload: PayloadInPlace,
    #[rkyv(omit_bounds)]
    entries: EntriesInPlace<'a>,
}

/// A byte vector whose bytes already stand at `at` in the archive.
struct PayloadInPlace {
    at: usize,
    len: usize,
}

impl Archive for PayloadInPlace {
    type Archived = ArchivedVec<u8>;
    type Resolver = ();

    fn resolve(&self, (): (), out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(self.len, VecResolver::from_pos(self.at), out);
    }
}

impl<S: Fallible + ?Sized> Serialize<S> for PayloadInPlace {
    fn serialize(&self, _: &mut S) -> Result<(), S::Error> {
        Ok(())
    }
}

/// A borrowed slice of entries that archives as the vector of them, without rkyv's scratch allocation.
struct EntriesInPlace<'a>(&'a [BatchEntry]);

impl Archive for EntriesInPlace<'_> {
    type Archived = ArchivedVec<ArchivedBatchEntry>;
    type Resolver = VecResolver;

    fn resolve(&self, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(self.0.len(), resolver, out);
    }
}

impl<S: Fallible + Allocator + Writer + ?Sized> Serialize<S> for EntriesInPlace<'_> {
    fn serialize(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
        let mut entries = self.0.iter().copied();
        ArchivedVec::serialize_from_unknown_length_iter(&mut entries, serializer)
    }
}

/// Writes behind what the buffer already holds.
struct TailWriter<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Positional for TailWriter<'_> {
    fn pos(&self) -> usize {
        self.at
    }
}

impl<E: Source> Writer<E> for TailWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        match self
            .bytes
            .get_mut(self.at..)
            .and_then(|rest| rest.get_mut(..bytes.len()))
        {
            Some(room) => room.copy_from_slice(bytes),
            None => return Err(E::new(NoRoom)),
        }
        self.at += bytes.len();
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the buffer is too small")]
struct NoRoom;

/// Padding before the entries and before the root, each: one less than the largest alignment in the archive.
const PADDING_MAX: usize = 15;
