//! Agreement: one sequence of anchors and one chain of batches, gapless and without duplicates, on all correct nodes; and
//! every entry turns out to be what its maker put into it.

use std::collections::BTreeMap;

use super::Found;
use crate::batch::archive::{Outcome, validate};
use crate::batch::header::BatchHeader;
use crate::reveal::OpenedBatch;
use crate::sim::workload::Truth;
use crate::types::{Digest, Sha256Hash, TimestampUs};

/// What the first correct node to get there settled.
#[derive(Default)]
pub(crate) struct Chain {
    anchors: Vec<[u8; 16]>,
    batches: Vec<Batch>,
    /// Where each digest stands: its batch.
    places: BTreeMap<Digest, usize>,
    /// How many batches each node has opened.
    opened: BTreeMap<usize, usize>,
    entries: u64,
}

/// One settled batch.
pub(crate) struct Batch {
    pub(crate) hash: Sha256Hash,
    pub(crate) header: BatchHeader,
    pub(crate) digests: Vec<Digest>,
}

/// What makers of envelopes know of them.
pub(crate) type Truths = BTreeMap<Digest, (Truth, TimestampUs)>;

impl Chain {
    /// A node asks that an anchor be written down. Gives whether it is the first to have it.
    pub(crate) fn on_anchor(&mut self, node: usize, record: &[u8]) -> Result<bool, String> {
        let index = anchor_index(record);
        let content = crate::sim::memo::content(record);
        match self.anchors.get(index) {
            Some(known) if *known == content => Ok(false),
            Some(_) => Err(format!("node {node} commits another anchor {index}")),
            None if index == self.anchors.len() => {
                self.anchors.push(content);
                Ok(true)
            }
            None => Err(format!("node {node} skips to anchor {index}")),
        }
    }

    /// A correct node has opened a batch into `bytes`. Gives whether it is the first to have it.
    pub(crate) fn on_opened(
        &mut self,
        node: usize,
        opened: &OpenedBatch,
        bytes: &[u8],
        truths: &Truths,
    ) -> Result<bool, String> {
        let count = self.opened.entry(node).or_default();
        let at = *count;
        if opened.seq.0 != at as u64 {
            let seq = opened.seq.0;
            return Err(format!("node {node} opens batch {seq} where {at} is next"));
        }
        *count += 1;
        if let Some(known) = self.batches.get(at) {
            return match known.hash == opened.header_hash {
                true => Ok(false),
                false => Err(format!(
                    "node {node} has another batch {at}: {:?}, not {:?}",
                    opened.header, known.header
                )),
            };
        }
        let follows = match self.batches.last() {
            Some(last) => opened.header.follows(&last.header),
            None => opened.header.is_first(),
        };
        if !follows {
            return Err(format!("batch {at} does not follow the one before"));
        }
        self.judge_contents(at, bytes, truths)?;
        self.batches.push(Batch {
            hash: opened.header_hash,
            header: opened.header,
            digests: opened.digests.clone(),
        });
        Ok(true)
    }

    fn judge_contents(&mut self, at: usize, bytes: &[u8], truths: &Truths) -> Found {
        let view = validate(bytes).map_err(|error| format!("batch {at}: {error}"))?;
        for entry in view.entries() {
            self.entries += 1;
            if let Some(before) = self.places.insert(entry.digest, at) {
                let digest = entry.digest;
                return Err(format!("{digest:?} stands in batch {before} and in {at}"));
            }
            let Some((truth, _)) = truths.get(&entry.digest) else {
                return Err(format!("{:?} was made by nobody", entry.digest));
            };
            let is_true = match truth {
                Truth::Void => entry.outcome == Outcome::Void,
                Truth::Payload(payload) => {
                    entry.outcome != Outcome::Void && entry.payload == payload
                }
            };
            if !is_true {
                let (digest, outcome) = (entry.digest, entry.outcome);
                return Err(format!(
                    "{digest:?} became {outcome:?}, and its maker put in {truth:?}"
                ));
            }
        }
        Ok(())
    }

    /// The batch in which an envelope stands.
    pub(crate) fn batch_of(&self, digest: &Digest) -> Option<usize> {
        self.places.get(digest).copied()
    }

    /// All batches, in order.
    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// How many batches `node` has opened.
    pub(crate) fn opened_by(&self, node: usize) -> usize {
        self.opened.get(&node).copied().unwrap_or(0)
    }

    /// Anchors of the longest sequence.
    pub(crate) const fn anchors_len(&self) -> usize {
        self.anchors.len()
    }

    /// Entries in all batches.
    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }
}

/// Which anchor a record is of, from 0.
pub(crate) fn anchor_index(record: &[u8]) -> usize {
    let mut index = [0; 8];
    index.copy_from_slice(&record[..8]);
    u64::from_be_bytes(index) as usize
}
