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
    /// The anchor that each node commits next, unless it starts again or goes on from a checkpoint.
    next_anchor: BTreeMap<usize, usize>,
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
        let next = self.next_anchor.insert(node, index + 1);
        if let Some(next) = next.filter(|next| *next != index) {
            return Err(format!(
                "node {node} commits anchor {index} where {next} is next"
            ));
        }
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

    /// A node takes over a checkpoint: it does not commit what lies before.
    pub(crate) fn on_state(&mut self, node: usize) {
        self.next_anchor.remove(&node);
    }

    /// A node starts again and goes on at batch `next`; its records hold the headers of all before `recorded`.
    pub(crate) fn on_restart(&mut self, node: usize, next: usize, recorded: usize) -> Found {
        self.next_anchor.remove(&node);
        let before = self.opened.insert(node, next).unwrap_or(0);
        match next == recorded && next <= before {
            true => Ok(()),
            false => Err(format!(
                "node {node} had opened {before} batches, has the headers of {recorded}, and goes on at {next}"
            )),
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
            if known.hash != opened.header_hash {
                return Err(format!(
                    "node {node} has another batch {at}: {:?}, not {:?}",
                    opened.header, known.header
                ));
            }
            // What it took from a peer is checked as what it opened itself: the header has the roots of the content.
            let view = validate(bytes).map_err(|error| format!("batch {at}: {error}"))?;
            let digests = view.entries().map(|entry| entry.digest);
            return match digests.eq(known.digests.iter().copied()) {
                true if opened.digests == known.digests => Ok(false),
                _ => Err(format!("node {node} has other entries in batch {at}")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_goes_on_behind_the_last_recorded_header_and_nowhere_else() {
        let opened = |count| Chain {
            opened: BTreeMap::from([(0, count)]),
            ..Chain::default()
        };
        assert_eq!(opened(5).on_restart(0, 3, 3), Ok(()));
        assert_eq!(opened(5).on_restart(0, 5, 5), Ok(()));
        assert!(opened(5).on_restart(0, 4, 3).is_err(), "one is skipped");
        assert!(opened(5).on_restart(0, 2, 3).is_err(), "one is repeated");
        assert!(opened(5).on_restart(0, 6, 6).is_err(), "never opened");
    }

    #[test]
    fn anchors_follow_each_other_but_behind_a_restart_or_a_checkpoint() {
        let record = |index: u64| index.to_be_bytes();
        let mut chain = Chain::default();
        for index in 0..4 {
            assert_eq!(chain.on_anchor(0, &record(index)), Ok(true));
        }
        assert_eq!(chain.on_anchor(1, &record(0)), Ok(false));
        assert!(chain.on_anchor(1, &record(2)).is_err());
        chain.on_state(1);
        assert_eq!(chain.on_anchor(1, &record(3)), Ok(false));
        assert_eq!(chain.on_restart(1, 0, 0), Ok(()));
        assert_eq!(chain.on_anchor(1, &record(1)), Ok(false));
    }
}
