//! How much was checked, and what was not.

use serde::Serialize;

use crate::types::{AuthorityIndex, BatchSeq, TimestampUs};

/// Counts of what holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Records looked at.
    pub records: u64,
    /// Envelopes: bytes hashed, label and length.
    pub envelopes: u64,
    /// Vertices: signature, roots, parents.
    pub vertices: u64,
    /// Entries that they list.
    pub listed: u64,
    /// Anchors recomputed, each a step of the fair order.
    pub anchors: u64,
    /// State roots recomputed.
    pub checkpoints: u64,
    /// Batches made once more, header and archive.
    pub batches: u64,
    /// Entries of these; their envelopes' proofs are checked, too.
    pub entries: u64,
    /// Of them never sealed.
    pub open: u64,
    /// Of them revealed: opened once more with the published r.
    pub revealed: u64,
    /// Of them void.
    pub void: u64,
    /// Of the void ones those without share messages, whose batch f + 1 authorities vouch for.
    pub void_vouched: u64,
    /// Share messages of batches with void entries.
    pub shares: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Pieces of evidence that hold.
    pub evidence: u64,
    /// Pieces that cannot be judged: of a key that has ended, or before there is one.
    pub evidence_unjudged: u64,
    /// Certificates that hold.
    pub certificates: u64,
    /// Of them those of batches too old to be held to: they hold for some header of that seq.
    pub certificates_unplaced: u64,
    /// Up to how many batches, from the first of the epoch, they cover.
    pub certified: u64,
    /// Own snapshots that are of this chain.
    pub snapshots: u64,
    /// Batches taken from peers with a state: chain and contents checked, the order not recomputed.
    pub batches_taken: u64,
    /// Entries of these.
    pub entries_taken: u64,
    /// Envelopes still held at the end.
    pub envelopes_left: u64,
}

/// A state that could not be recomputed from the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Trusted {
    /// The checkpoint's seq: what comes behind it is recomputed.
    pub seq: u64,
    /// Where it is from.
    pub from: TrustedFrom,
    /// Whether f + 1 authorities' signed vertices name its header, or a later one of this chain.
    pub is_vouched: bool,
}

/// Where a state is from that was not recomputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustedFrom {
    /// An own snapshot: the journal before it was removed.
    Snapshot,
    /// A peer: the node had been away.
    Peer,
}

/// What came of a journal in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How much was checked.
    pub figures: Figures,
    /// The seq of the first batch that was recomputed, and how many batches there are up to the last.
    pub span: Option<(BatchSeq, u64)>,
    /// Consensus time of the first and the last anchor.
    pub times: Option<(TimestampUs, TimestampUs)>,
    /// Up to how many batches, from the first of the epoch, f + 1 authorities' signed vertices vouch for.
    pub vouched: u64,
    /// States that were not recomputed.
    pub trusted: Vec<Trusted>,
    /// Batches that the order gives and that are not recorded (yet).
    pub unrecorded_batches: u64,
    /// Anchors that the vertices decide and that are not recorded (yet).
    pub unrecorded_anchors: u64,
    /// Authorities whose vertices contradict each other: proven faulty, and no fault of this journal.
    pub faulty: Vec<AuthorityIndex>,
}
