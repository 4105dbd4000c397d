//! What a verifier finds wrong: the rule that does not hold, and where.

use std::fmt;

use crate::types::BatchSeq;

/// The rules that records are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A record decodes as what it is called.
    Record,
    /// A vertex is of this committee, whole, and its parents are as many and of the rounds that they must be.
    Vertex,
    /// Its author signed it.
    Signature,
    /// It stands behind its parents.
    Parents,
    /// Own vertices are of the journal's authority and one a round.
    Own,
    /// Anchors are those that the commit rule gives.
    Commit,
    /// Entries are those of the fair order, in its order.
    Order,
    /// An emission is cut into batches where its bounds say.
    Cut,
    /// A header's own fields follow from the anchor and the entries.
    Header,
    /// Batches follow each other by seq and hash, each once.
    Chain,
    /// A checkpoint's state root is the hash of the state recomputed.
    State,
    /// An archive is byte for byte what its header, entries and payload give.
    Archive,
    /// An envelope is here, of this chain and key, expires when its listings say, and its proof holds.
    Envelope,
    /// What is revealed follows from the envelope and r.
    Reveal,
    /// What is void opens under no D that t proven share messages give.
    Void,
    /// Not more than f authorities have signed that they settled another chain of batches.
    Settled,
    /// Evidence proves what it accuses of.
    Evidence,
    /// An own snapshot is of a checkpoint of this chain.
    Snapshot,
    /// A certificate is of a header of this chain, and at least q members have signed it.
    Certificate,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Record,
        Self::Vertex,
        Self::Signature,
        Self::Parents,
        Self::Own,
        Self::Commit,
        Self::Order,
        Self::Cut,
        Self::Header,
        Self::Chain,
        Self::State,
        Self::Archive,
        Self::Envelope,
        Self::Reveal,
        Self::Void,
        Self::Settled,
        Self::Evidence,
        Self::Snapshot,
        Self::Certificate,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Vertex => "vertex",
            Self::Signature => "signature",
            Self::Parents => "parents",
            Self::Own => "own vertices",
            Self::Commit => "commit rule",
            Self::Order => "fair order",
            Self::Cut => "cut",
            Self::Header => "header",
            Self::Chain => "chain",
            Self::State => "state root",
            Self::Archive => "archive",
            Self::Envelope => "envelope",
            Self::Reveal => "reveal",
            Self::Void => "void",
            Self::Settled => "settled",
            Self::Evidence => "evidence",
            Self::Snapshot => "snapshot",
            Self::Certificate => "certificate",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Fault {
    /// The rule that does not hold.
    pub rule: Rule,
    /// The record that shows it, counted from 0 over the life of the journal.
    pub record: u64,
    /// The batch, where it is about one.
    pub seq: Option<BatchSeq>,
    /// The entry in it, from 0, where it is about one.
    pub entry: Option<u32>,
    /// What is wrong, in words.
    pub what: String,
}

/// A fault that does not know yet in which record it was found.
#[derive(Debug)]
pub(super) struct Found {
    rule: Rule,
    record: Option<u64>,
    seq: Option<BatchSeq>,
    entry: Option<u32>,
    what: String,
}

impl Found {
    pub(super) fn new(rule: Rule, what: impl fmt::Display) -> Self {
        Self {
            rule,
            record: None,
            seq: None,
            entry: None,
            what: what.to_string(),
        }
    }

    /// About this batch, unless it says about which.
    pub(super) fn in_batch(mut self, seq: BatchSeq) -> Self {
        self.seq.get_or_insert(seq);
        self
    }

    pub(super) fn in_entry(mut self, index: usize) -> Self {
        // A batch has at most BATCH_ENTRIES_MAX.
        self.entry = Some(index as u32);
        self
    }

    /// Shown by an earlier record than the one that is looked at.
    pub(super) const fn in_record(mut self, record: u64) -> Self {
        self.record = Some(record);
        self
    }

    pub(super) fn at(self, record: u64) -> Fault {
        Fault {
            rule: self.rule,
            record: self.record.unwrap_or(record),
            seq: self.seq,
            entry: self.entry,
            what: self.what,
        }
    }
}
