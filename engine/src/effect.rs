//! Everything an engine asks of its shell, in order.
//!
//! Order is a promise: what a later effect relies on was asked for by an earlier one. The shell may batch, never reorder.
//! An own vertex is not even emitted before [`crate::input::Input::Durable`] covers its record.

use std::sync::Arc;

use crate::admit::refusal::Refusal;
use crate::batch::header::{BatchHeader, HEADER_LEN};
use crate::dag::SignedHeader;
use crate::input::ClientTag;
use crate::message::PeerMessage;
use crate::sync::part::Item;
use crate::types::{AuthorityIndex, BatchSeq, Sha256Hash};
use crate::wire::{DecodeError, Reader, Writer};

/// One effect of [`crate::engine::Engine::handle`].
#[derive(Clone, Debug)]
pub enum Effect {
    /// Append to the journal. Records are counted from 1, the journal's first; those that an engine was recovered from
    /// count.
    Persist(Record),
    /// Send to one peer; lost messages are recovered by fetching.
    Send {
        /// To whom.
        to: AuthorityIndex,
        /// What.
        message: PeerMessage,
    },
    /// Send to every peer.
    Broadcast(PeerMessage),
    /// Answer a submission: accepted, or refused with a reason.
    Ack {
        /// To whom.
        client: ClientTag,
        /// `Ok` when accepted.
        outcome: Result<(), Refusal>,
    },
    /// Receipts for entries of one own vertex that is durable.
    Receipts {
        /// The signed header, the same for all of them.
        header: Arc<SignedHeader>,
        /// One an entry and client.
        items: Vec<ReceiptItem>,
    },
    /// Places in a batch are final.
    Ordered {
        /// The batch.
        seq: BatchSeq,
        /// Whose entry got which index in it.
        items: Vec<(ClientTag, u32)>,
    },
    /// Read something from the journal for a peer that is behind: of batches whose record was asked for, the headers or the
    /// archive. To be answered with [`crate::input::Input::Loaded`], in any order; what is not there any more, too. At most
    /// [`crate::sync::loads::LOADS_MAX`] are unanswered at a time.
    Load {
        /// [`Item::Headers`] or [`Item::Batch`].
        item: Item,
    },
    /// [`crate::engine::Engine::open_next`] can write this batch.
    BatchReady {
        /// The batch.
        seq: BatchSeq,
    },
}

/// A receipt without its header: the place of an entry in the vertex and the path from `entries_root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptItem {
    /// Whose.
    pub client: ClientTag,
    /// Index of the entry in the vertex.
    pub index: u32,
    /// Sibling hashes, lowest first.
    pub path: Vec<Sha256Hash>,
}

/// A journal record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An accepted envelope's bytes.
    Envelope(Arc<[u8]>),
    /// An own vertex, before it is sent.
    OwnVertex(Arc<[u8]>),
    /// A peer's vertex, accepted.
    Vertex(Arc<[u8]>),
    /// A committed anchor: index u64, round u64, author u8, digest 32, consensus time u64.
    Anchor(Arc<[u8]>),
    /// An opened batch: its header 181, its archive.
    Batch(Arc<[u8]>),
    /// A share message whose proof was checked. Those of t authorities stand before a batch opened here that has void
    /// entries: that nothing opens these, nobody can check from their envelopes alone.
    Share(Arc<[u8]>),
    /// Evidence, encoded: once an author and kind.
    Evidence(Arc<[u8]>),
    /// Part of a state that was taken over from a peer: the checkpoint's header 181, index u32, how many parts u32, bytes.
    State(Arc<[u8]>),
    /// Part of an own snapshot; see [`SnapshotPart`].
    Snapshot(Arc<[u8]>),
    /// A [`crate::certificate::Certificate`], encoded, of a batch that is recorded before it.
    Certificate(Arc<[u8]>),
}

impl Record {
    /// Its bytes.
    pub const fn body(&self) -> &Arc<[u8]> {
        match self {
            Self::Envelope(body)
            | Self::OwnVertex(body)
            | Self::Vertex(body)
            | Self::Anchor(body)
            | Self::Batch(body)
            | Self::Share(body)
            | Self::Evidence(body)
            | Self::State(body)
            | Self::Snapshot(body)
            | Self::Certificate(body) => body,
        }
    }
}

/// The body of a [`Record::Snapshot`]: the checkpoint's header 181, the first record to be read with it u64, index u32, how
/// many parts u32, bytes. The parts of one snapshot follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPart<'a> {
    /// The header of the checkpoint whose state it holds.
    pub header: BatchHeader,
    /// With the snapshot, no record before this one (counted from 1) is needed to start again.
    pub tail_from: u64,
    /// Which part, from 0.
    pub index: u32,
    /// Of how many.
    pub of: u32,
    /// Its share of the content.
    pub bytes: &'a [u8],
}

impl<'a> SnapshotPart<'a> {
    /// Reads one. Errors: too short, no header, or no part of that many.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let part = Self {
            header: BatchHeader::decode(reader.bytes(HEADER_LEN)?)?,
            tail_from: reader.u64()?,
            index: reader.u32()?,
            of: reader.u32()?,
            bytes: reader.bytes(reader.left())?,
        };
        match part.index < part.of {
            true => Ok(part),
            false => Err(DecodeError::NotCanonical("part of a snapshot")),
        }
    }

    /// Its encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEADER_LEN + 16 + self.bytes.len());
        Writer::new(&mut body)
            .bytes(&self.header.encode())
            .u64(self.tail_from)
            .u32(self.index)
            .u32(self.of)
            .bytes(self.bytes);
        body
    }

    /// Whether this is the part of the same snapshot that follows `before`.
    pub fn follows(&self, before: &Self) -> bool {
        (self.header, self.tail_from, self.of) == (before.header, before.tail_from, before.of)
            && self.index == before.index + 1
    }
}

/// The header in the body of a [`Record::Batch`]. Errors: too short, or no header.
pub fn header_of_batch(body: &[u8]) -> Result<BatchHeader, DecodeError> {
    BatchHeader::decode(&body[..body.len().min(HEADER_LEN)])
}

/// The archive in the body of a [`Record::Batch`]; none where a body has only the header.
pub fn archive_of_batch(body: &[u8]) -> Option<&[u8]> {
    body.get(HEADER_LEN..).filter(|archive| !archive.is_empty())
}
