//! The batches between what a node had settled and the checkpoint that it took over: fetched, checked, settled in order.
//!
//! I1: hashes come first, backward from the checkpoint's header, each header named by the one after it; a batch is taken
//! only if its header has the known hash and its content the header's roots. So a wrong batch is found at once, whoever
//! sent it. I2: batches leave in order of seq, each once, and nothing above the checkpoint before them. I3: at most
//! [`GAP_MAX`] hashes and [`GAP_READY_MAX`] batches are held. I4: a later checkpoint that is taken over meanwhile adds to
//! what is known: a node that needs one again and again still gets through a long gap.

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
    /// What is known of the headers up to an earlier checkpoint, until `known` has come down to it.
    below: Option<Known>,
    /// What is known of the headers up to the checkpoint's.
    known: Known,
    ready: BTreeMap<BatchSeq, GapBatch>,
}

/// Hashes of headers that follow each other.
#[derive(Debug)]
struct Known {
    /// Of the first.
    from: BatchSeq,
    hashes: VecDeque<Sha256Hash>,
    /// Hash of the header before the first.
    before: Sha256Hash,
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

impl Known {
    fn new(checkpoint: &BatchHeader) -> Self {
        Self {
            from: checkpoint.seq,
            hashes: VecDeque::from([checkpoint.hash()]),
            before: checkpoint.previous,
        }
    }

    /// The seq behind the last.
    fn end(&self) -> BatchSeq {
        BatchSeq(self.from.0 + self.hashes.len() as u64)
    }

    fn hash(&self, seq: BatchSeq) -> Option<Sha256Hash> {
        let at = usize::try_from(seq.0.checked_sub(self.from.0)?).ok()?;
        self.hashes.get(at).copied()
    }

    /// Lets go of the first if it is this header's.
    fn pass(&mut self, header: &BatchHeader) {
        if self.from == header.seq && self.hashes.pop_front().is_some() {
            (self.from, self.before) = (header.seq.next(), header.hash());
        }
    }
}

impl Gap {
    /// From the first batch that is not settled, `next`, to that of the `checkpoint`; `previous` is the last settled hash.
    pub fn new(next: BatchSeq, previous: Sha256Hash, checkpoint: &BatchHeader) -> Self {
        Self {
            next,
            previous,
            below: None,
            known: Known::new(checkpoint),
            ready: BTreeMap::new(),
        }
    }

    /// The gap up to a later `checkpoint`; what is known stays known.
    #[must_use]
    pub fn up_to(self, checkpoint: &BatchHeader) -> Self {
        let known = Known::new(checkpoint);
        // Of two that have not met the lower is the one that batches are settled from.
        let below = self.below.unwrap_or(self.known);
        Self {
            below: Some(below).filter(|below| !below.hashes.is_empty()),
            known,
            ..self
        }
    }

    /// How many batches are settled, and the hash of the last one's header.
    pub const fn settled(&self) -> (u64, Sha256Hash) {
        (self.next.0, self.previous)
    }

    /// The next batch to settle, and the seq behind the checkpoint's.
    pub fn span(&self) -> (BatchSeq, BatchSeq) {
        (self.next, self.known.end())
    }

    /// Whether every batch is settled.
    pub fn is_closed(&self) -> bool {
        self.next >= self.known.end()
    }

    /// What to fetch now, at most `most` items.
    pub fn wanted(&self, most: usize) -> Vec<Item> {
        let mut wanted = Vec::new();
        if self.known.from > self.known_down_to() {
            wanted.push(Item::Headers(BatchSeq(self.known.from.0 - 1)));
        }
        let window = (self.next.0..).take(GAP_READY_MAX).map(BatchSeq);
        let window = window.take_while(|seq| self.hash(*seq).is_some());
        let absent = window.filter(|seq| !self.ready.contains_key(seq));
        wanted.extend(
            absent
                .map(Item::Batch)
                .take(most.saturating_sub(wanted.len())),
        );
        wanted
    }

    /// Where what is known from the checkpoint down has to arrive.
    fn known_down_to(&self) -> BatchSeq {
        self.below.as_ref().map_or(self.next, Known::end)
    }

    fn hash(&self, seq: BatchSeq) -> Option<Sha256Hash> {
        let below = self.below.as_ref().and_then(|below| below.hash(seq));
        below.or_else(|| self.known.hash(seq))
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
        let down_to = self.known_down_to();
        let (mut from, mut expected) = (self.known.from, self.known.before);
        let mut hashes = Vec::new();
        for header in headers
            .iter()
            .rev()
            .take_while(|header| header.seq >= down_to)
        {
            let hash = header.hash();
            if hash != expected || header.seq.0 + 1 != from.0 {
                return false;
            }
            hashes.push(hash);
            (from, expected) = (header.seq, header.previous);
        }
        if hashes.is_empty() {
            return false;
        }
        let known = &mut self.known;
        for hash in hashes {
            known.hashes.push_front(hash);
        }
        (known.from, known.before) = (from, expected);
        self.join();
        true
    }

    /// Makes one of what is known below and above, once they meet.
    fn join(&mut self) {
        let Some(mut below) = self.below.take_if(|below| below.end() == self.known.from) else {
            return;
        };
        // Else the two checkpoints are of different chains, and the later one counts.
        if below.hashes.back() == Some(&self.known.before) {
            below.hashes.append(&mut self.known.hashes);
            self.known = below;
        }
    }

    /// Whether the chain that was fetched is not the one that was settled here: somebody diverged.
    pub fn is_foreign(&self) -> bool {
        self.known.from == self.next && self.known.before != self.previous
    }

    /// Takes in the archive of a batch. False when it is not that batch.
    pub fn take_batch(&mut self, seq: BatchSeq, bytes: &[u8]) -> bool {
        let Some(hash) = self.hash(seq) else {
            return false;
        };
        let mut archive = rkyv::util::AlignedVec::<16>::new();
        archive.extend_from_slice(bytes);
        let (header, digests) = match validate(&archive) {
            Ok(view) if view.header().hash() == hash => {
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
        if let Some(below) = &mut self.below {
            below.pass(header);
        }
        // Where it is behind its last, what is known above is settled next.
        self.below.take_if(|below| below.hashes.is_empty());
        self.known.pass(header);
        (self.next, self.previous) = (header.seq.next(), header.hash());
        true
    }

    /// How many hashes and batches are held.
    pub fn len(&self) -> usize {
        let below = self.below.as_ref().map_or(0, |below| below.hashes.len());
        below + self.known.hashes.len() + self.ready.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
#[path = "gap_tests.rs"]
mod tests;
