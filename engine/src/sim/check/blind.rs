//! Blindness: a share message leaves a node only after the node has committed the anchor that emits the batch, and names
//! the order of that batch.
//!
//! Which anchor emits a batch is known when its header is; shares that left before are judged then.

use std::collections::BTreeMap;

use super::Found;
use crate::batch::header::BatchHeader;
use crate::types::{Round, Sha256Hash};

/// Share messages of correct nodes that left, and how far each node has committed.
#[derive(Default)]
pub(crate) struct Blind {
    anchor_round: BTreeMap<usize, Round>,
    left: BTreeMap<u64, Vec<Left>>,
    judged: BTreeMap<u64, (Round, Sha256Hash)>,
    shares: u64,
}

struct Left {
    node: usize,
    order_root: Sha256Hash,
    anchor_round: Round,
}

impl Blind {
    /// A node commits an anchor: `record` is what it writes down.
    pub(crate) fn on_anchor(&mut self, node: usize, record: &[u8]) {
        let mut round = [0; 8];
        round.copy_from_slice(&record[8..16]);
        self.anchor_round
            .insert(node, Round(u64::from_be_bytes(round)));
    }

    /// A node starts again; the newest anchor that its records hold is of `round`.
    pub(crate) fn on_restart(&mut self, node: usize, round: Round) {
        self.anchor_round.insert(node, round);
    }

    /// A share message leaves a node.
    pub(crate) fn on_share(&mut self, node: usize, message: &[u8]) -> Found {
        let (mut seq, mut root) = ([0; 8], [0; 32]);
        seq.copy_from_slice(&message[SEQ_AT..SEQ_AT + 8]);
        root.copy_from_slice(&message[ROOT_AT..ROOT_AT + 32]);
        let seq = u64::from_be_bytes(seq);
        let left = Left {
            node,
            order_root: Sha256Hash(root),
            anchor_round: self.anchor_round.get(&node).copied().unwrap_or_default(),
        };
        self.shares += 1;
        if let Some(batch) = self.judged.get(&seq) {
            return left.judge(seq, batch);
        }
        self.left.entry(seq).or_default().push(left);
        Ok(())
    }

    /// The first correct node has opened a batch.
    pub(crate) fn on_settled(&mut self, header: &BatchHeader) -> Found {
        let batch = (header.anchor_round, header.order_root);
        let seq = header.seq.0;
        for left in self.left.remove(&seq).unwrap_or_default() {
            left.judge(seq, &batch)?;
        }
        self.judged.insert(seq, batch);
        Ok(())
    }

    /// Share messages seen.
    pub(crate) const fn shares(&self) -> u64 {
        self.shares
    }
}

impl Left {
    fn judge(&self, seq: u64, (emitted, order_root): &(Round, Sha256Hash)) -> Found {
        let node = self.node;
        if self.anchor_round < *emitted {
            return Err(format!(
                "node {node} gave shares for batch {seq} at anchor round {}, and it is emitted at {}",
                self.anchor_round.0, emitted.0
            ));
        }
        if self.order_root != *order_root {
            return Err(format!(
                "node {node} gave shares for another order of batch {seq}"
            ));
        }
        Ok(())
    }
}

/// Where a share message says for which batch it is: behind version and key id.
const SEQ_AT: usize = 1 + 16;
/// And of which order.
const ROOT_AT: usize = SEQ_AT + 8;
