//! The batches between what a node had settled and the checkpoint that it took over: fetched, checked, settled in order.
//!
//! I1: hashes come first, backward from the checkpoint's header, each header named by the one after it; a batch is taken
//! only if its header has the known hash and its content the header's roots. So a wrong batch is found at once, whoever
//! sent it. I2: batches leave in order of seq, each once, and nothing above the checkpoint before them. I3: at most
//! [`GAP_MAX`] hashes and [`GAP_READY_MAX`] batches are held.

use std::collections::{BTreeMap, VecDeque};

use super::part::Item;
use crate::batch::archive::validate;
use crate::batch::header::{BatchHeader, HEADER_LEN};
use crate::types::{BatchSeq, Digest, Sha256Hash};

/// Longest gap that is filled, in batches.
pub const GAP_MAX: u64 = 1 << 20;
/// Fetched batches that wait to be settled.
pub const GAP_READY_MAX: usize = 4;

/// Batches that were settled by others while this node was away.
#[derive(Debug)]
pub struct Gap {
    /// The next batch to settle here, and the hash of the header before it.
    next: BatchSeq,
    previous: Sha256Hash,
    /// Hashes of the headers from `known_from` to the checkpoint's.
    known_from: BatchSeq,
    hashes: VecDeque<Sha256Hash>,
    /// Hash of the header before `known_from`.
    before_known: Sha256Hash,
    ready: BTreeMap<BatchSeq, GapBatch>,
}

/// A fetched batch whose content was checked.
#[derive(Debug)]
pub struct GapBatch {
    /// Its header.
    pub header: BatchHeader,
    /// Its archive.
    pub archive: rkyv::util::AlignedVec<16>,
    /// Digests in order.
    pub digests: Vec<Digest>,
}

impl Gap {
    /// From the first batch that is not settled, `next`, to that of the `checkpoint`; `previous` is the last settled hash.
    pub fn new(next: BatchSeq, previous: Sha256Hash, checkpoint: &BatchHeader) -> Self {
        Self {
            next,
            previous,
            known_from: checkpoint.seq,
            hashes: VecDeque::from([checkpoint.hash()]),
            before_known: checkpoint.previous,
            ready: BTreeMap::new(),
        }
    }

    /// How many batches are settled, and the hash of the last one's header.
    pub const fn settled(&self) -> (u64, Sha256Hash) {
        (self.next.0, self.previous)
    }

    /// Whether every batch is settled.
    pub fn is_closed(&self) -> bool {
        self.next.0 >= self.known_from.0 + self.hashes.len() as u64
    }

    /// What to fetch now, at most `most` items.
    pub fn wanted(&self, most: usize) -> Vec<Item> {
        if self.known_from > self.next {
            return vec![Item::Headers(BatchSeq(self.known_from.0 - 1))];
        }
        let end = self.known_from.0 + self.hashes.len() as u64;
        let window = (self.next.0..end).take(GAP_READY_MAX).map(BatchSeq);
        let absent = window.filter(|seq| !self.ready.contains_key(seq));
        absent.take(most).map(Item::Batch).collect()
    }

    /// Takes in headers that end just below the known ones. False when they are not those.
    pub fn take_headers(&mut self, bytes: &[u8]) -> bool {
        let mut headers = Vec::new();
        for chunk in bytes.chunks(HEADER_LEN) {
            match BatchHeader::decode(chunk) {
                Ok(header) => headers.push(header),
                Err(_) => return false,
            }
        }
        let (mut known_from, mut expected) = (self.known_from, self.before_known);
        let mut hashes = Vec::new();
        for header in headers
            .iter()
            .rev()
            .take_while(|header| header.seq >= self.next)
        {
            let hash = header.hash();
            if hash != expected || header.seq.0 + 1 != known_from.0 {
                return false;
            }
            hashes.push(hash);
            (known_from, expected) = (header.seq, header.previous);
        }
        if hashes.is_empty() {
            return false;
        }
        hashes
            .into_iter()
            .for_each(|hash| self.hashes.push_front(hash));
        (self.known_from, self.before_known) = (known_from, expected);
        true
    }

    /// Whether the chain that was fetched is not the one that was settled here: somebody diverged.
    pub fn is_foreign(&self) -> bool {
        self.known_from == self.next && self.before_known != self.previous
    }

    /// Takes in the archive of a batch. False when it is not that batch.
    pub fn take_batch(&mut self, seq: BatchSeq, bytes: &[u8]) -> bool {
        let at = seq.0.checked_sub(self.known_from.0).map(|at| at as usize);
        let Some(hash) = at.and_then(|at| self.hashes.get(at)) else {
            return false;
        };
        let mut archive = rkyv::util::AlignedVec::<16>::new();
        archive.extend_from_slice(bytes);
        let (header, digests) = match validate(&archive) {
            Ok(view) if view.header().hash() == *hash => {
                let digests = view.entries().map(|entry| entry.digest);
                (*view.header(), digests.collect())
            }
            _ => return false,
        };
        let batch = GapBatch {
            header,
            archive,
            digests,
        };
        self.ready.insert(seq, batch);
        true
    }

    /// The next batch, if it is here.
    pub fn ready(&self) -> Option<&GapBatch> {
        self.ready.get(&self.next)
    }

    /// Takes out the next batch, if it is here: it is settled now.
    pub fn settle(&mut self) -> Option<GapBatch> {
        let batch = self.ready.remove(&self.next)?;
        self.pass(&batch.header);
        Some(batch)
    }

    /// The next batch was settled before a restart. False when it is not the next.
    pub fn pass(&mut self, header: &BatchHeader) -> bool {
        if header.seq != self.next || header.previous != self.previous {
            return false;
        }
        if self.known_from == self.next && self.hashes.len() > 1 {
            self.hashes.pop_front();
            self.known_from = self.next.next();
            self.before_known = header.hash();
        } else if self.known_from == self.next {
            self.hashes.clear();
        }
        (self.next, self.previous) = (header.seq.next(), header.hash());
        true
    }

    /// How many hashes and batches are held.
    pub fn len(&self) -> usize {
        self.hashes.len() + self.ready.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
