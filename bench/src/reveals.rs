//! The reveal stage of authority 0, one batch, and what the others may send for it.

use std::sync::Arc;

use fairlane_engine::batch::archive::order_root;
use fairlane_engine::committee::{Committee, Parameters};
use fairlane_engine::reveal::plan::BatchPlan;
use fairlane_engine::reveal::{OpenedBatch, Reveal, RevealKeys};
use fairlane_engine::seal::{EncodedPoint, KeyShare, ShareMessage, VerifiedEnvelope};
use fairlane_engine::types::{
    AuthorityIndex, BatchSeq, ChainId, Epoch, Round, Sha256Hash, TimestampUs,
};
use rkyv::util::AlignedVec;

use crate::sealing::{Sealing, us};

/// A committee and a batch whose order is final.
pub struct Revealing {
    sealing: Sealing,
    committee: Arc<Committee>,
    plan: BatchPlan,
}

/// Which messages come, and in what state they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arriving {
    /// Honest ones of just as many others as are needed: opened without checking a proof.
    Honest,
    /// The first of them has its shares in another order: found out, proven, replaced by one more.
    OneBad,
    /// Honest ones that are checked before use, as those of an author that was found out before.
    Checked,
}

impl Revealing {
    /// A batch of `entries` sealed envelopes of honest clients, in the committee of five.
    pub fn new(entries: u32) -> Self {
        let sealing = Sealing::dealt();
        let envelopes = sealing.verified(entries);
        Self::of(sealing, envelopes)
    }

    /// As [`Self::new`], but the last entry's content is garbage under a proof that holds: a client's way to keep a batch
    /// from opening without proofs.
    pub fn with_a_void(entries: u32) -> Self {
        let sealing = Sealing::dealt();
        let mut envelopes = sealing.verified(entries - 1);
        envelopes.push(sealing.garbage());
        Self::of(sealing, envelopes)
    }

    fn of(sealing: Sealing, envelopes: Vec<VerifiedEnvelope>) -> Self {
        let keys = sealing.signing_keys.iter().map(|key| key.verifying_key());
        let committee = Committee::new(
            ChainId(1),
            Epoch(0),
            TimestampUs(0),
            Parameters::default(),
            Vec::new(),
            keys.collect(),
        );
        let plan = BatchPlan {
            seq: BatchSeq(0),
            anchor_round: Round(2),
            time: TimestampUs(10),
            order_root: order_root(envelopes.iter().map(|envelope| envelope.digest())),
            envelopes,
            state_root: Sha256Hash::default(),
            group_wait_cut: 0,
            cap_fired: 0,
        };
        Self {
            sealing,
            committee: Arc::new(committee.expect("distinct keys")),
            plan,
        }
    }

    /// The messages that come, in order.
    pub fn messages(&self, arriving: Arriving) -> Vec<ShareMessage> {
        let us = us(&self.plan.envelopes);
        let mut others: Vec<ShareMessage> = (1..self.sealing.key_shares.len())
            .map(|author| self.message(author, &us))
            .collect();
        if arriving == Arriving::OneBad {
            let mut reversed = us;
            reversed.reverse();
            others[0] = self.message(1, &reversed);
        } else {
            others.truncate(self.sealing.key.threshold() as usize - 1);
        }
        others
    }

    fn message(&self, author: usize, us: &[EncodedPoint]) -> ShareMessage {
        let sealing = &self.sealing;
        let (share, signing) = (&sealing.key_shares[author], &sealing.signing_keys[author]);
        let (seq, root) = (self.plan.seq, self.plan.order_root);
        ShareMessage::make(share, &self.sealing.key, signing, seq, root, us)
            .expect("its own share, and a batch of allowed size")
            .0
    }

    /// The reveal stage with the batch started: what follows is what a bench measures.
    pub fn started(&self) -> Reveal {
        let own = &self.sealing.key_shares[0];
        let share = KeyShare::from_bytes(&self.sealing.key, &own.to_bytes());
        let keys = RevealKeys {
            sealing: Arc::new(self.sealing.key.clone()),
            share: share.expect("a share survives its bytes"),
            signing: self.sealing.signing_keys[0].clone(),
            process_secret: [8; 32],
        };
        let mut reveal = Reveal::new(self.committee.clone(), AuthorityIndex(0), keys);
        reveal.start(self.plan.clone(), TimestampUs(0));
        reveal
    }

    /// A buffer that the opened batch fits in.
    pub fn buffer(&self) -> AlignedVec<16> {
        let mut buffer = AlignedVec::new();
        buffer.resize(self.plan.archive_len_max(), 0);
        buffer
    }
}

/// Takes the messages one by one and opens the batch as soon as it can.
///
/// Panics when they do not open it.
pub fn open(
    reveal: &mut Reveal,
    arriving: Arriving,
    messages: Vec<ShareMessage>,
    buffer: &mut [u8],
) -> OpenedBatch {
    for message in messages {
        let from = match arriving {
            // A message over another's link is checked before use, too.
            Arriving::Checked => AuthorityIndex(0),
            _ => message.author,
        };
        // A refused message is one that did not help.
        let _ = reveal.on_share(from, Box::new(message));
        if reveal.ready_len_max().is_some()
            && let Some(opened) = reveal.open_next(buffer)
        {
            return opened;
        }
    }
    panic!("these messages open the batch");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(revealing: &Revealing, arriving: Arriving) -> (u32, u32, u64) {
        let mut reveal = revealing.started();
        let messages = revealing.messages(arriving);
        let header = open(&mut reveal, arriving, messages, &mut revealing.buffer()).header;
        (header.entries, header.void, reveal.fallbacks())
    }

    #[test]
    fn each_case_opens_the_batch_by_the_path_that_it_names() {
        let honest = Revealing::new(5);
        assert_eq!(opened(&honest, Arriving::Honest), (5, 0, 0));
        assert_eq!(opened(&honest, Arriving::OneBad), (5, 0, 1));
        assert_eq!(opened(&honest, Arriving::Checked), (5, 0, 0));
        let void = Revealing::with_a_void(5);
        assert_eq!(opened(&void, Arriving::Honest), (5, 1, 1));
        assert_eq!(opened(&void, Arriving::Checked), (5, 1, 0));
    }
}
