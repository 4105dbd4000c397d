//! The own share messages of batches cut so far, kept for peers that are behind.
//!
//! I1: at most [`SHARES_KEPT_MAX`] batches and [`SHARES_KEPT_BYTES_MAX`] bytes are kept, the newest. I2: a message is a
//! function of the batch and the own key, so one that was made before a restart is made again, byte for byte; it is made
//! when it is asked for, because most are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::seal::group::EncodedPoint;
use crate::types::{BatchSeq, KeyId, Sha256Hash};

/// Share messages kept for a peer that is behind, in batches.
pub const SHARES_KEPT_MAX: usize = 4096;
/// Share messages kept for a peer that is behind, in bytes.
pub const SHARES_KEPT_BYTES_MAX: usize = 32 << 20;

/// The newest own share messages.
#[derive(Debug, Default)]
pub(super) struct Kept {
    messages: BTreeMap<BatchSeq, OwnMessage>,
    bytes: usize,
}

/// An own share message, or what it is made of.
#[derive(Clone, Debug)]
pub(super) enum OwnMessage {
    /// Encoded.
    Made(Arc<[u8]>),
    /// Of a batch opened before a restart.
    Unmade {
        /// The key that its entries are sealed to.
        key_id: KeyId,
        /// Merkle root of the batch's digests.
        order_root: Sha256Hash,
        /// The points of its sealed entries, in order.
        points: Vec<EncodedPoint>,
    },
}

impl OwnMessage {
    fn len(&self) -> usize {
        match self {
            Self::Made(bytes) => bytes.len(),
            Self::Unmade { points, .. } => points.len() * size_of::<EncodedPoint>(),
        }
    }
}

impl Kept {
    /// Keeps the message of `seq`, in place of what was kept of it; lets go of the oldest above the bounds.
    pub(super) fn keep(&mut self, seq: BatchSeq, message: OwnMessage) {
        self.bytes += message.len();
        if let Some(before) = self.messages.insert(seq, message) {
            self.bytes -= before.len();
        }
        while self.messages.len() > SHARES_KEPT_MAX || self.bytes > SHARES_KEPT_BYTES_MAX {
            let (_, dropped) = self.messages.pop_first().expect("it holds what it counts");
            self.bytes -= dropped.len();
        }
    }

    /// What is kept of `seq`.
    pub(super) fn find(&self, seq: BatchSeq) -> Option<&OwnMessage> {
        self.messages.get(&seq)
    }

    /// How many batches' messages are kept.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_both_bounds_hold() {
        let mut kept = Kept::default();
        let made = |len: usize| OwnMessage::Made(vec![0; len].into());
        for seq in 0..=SHARES_KEPT_MAX as u64 {
            kept.keep(BatchSeq(seq), made(1));
        }
        assert_eq!(
            (kept.messages.len(), kept.bytes),
            (SHARES_KEPT_MAX, SHARES_KEPT_MAX)
        );
        assert!(kept.find(BatchSeq(0)).is_none() && kept.find(BatchSeq(1)).is_some());
        kept.keep(BatchSeq(5_000), made(SHARES_KEPT_BYTES_MAX));
        assert_eq!(
            (kept.messages.len(), kept.bytes),
            (1, SHARES_KEPT_BYTES_MAX)
        );
        kept.keep(BatchSeq(5_000), made(7));
        assert_eq!(
            (kept.messages.len(), kept.bytes),
            (1, 7),
            "in place of the other"
        );
    }
}
