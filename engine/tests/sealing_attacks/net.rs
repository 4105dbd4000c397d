//! A committee with all its secrets, and a reveal stage for whichever authority a test looks through.

use std::sync::Arc;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::SigningKey;
use fairlane_engine::batch::archive::{Outcome, order_root, validate};
use fairlane_engine::committee::{Committee, Parameters};
use fairlane_engine::reveal::plan::BatchPlan;
use fairlane_engine::reveal::{Reveal, RevealKeys, ShareFault};
use fairlane_engine::seal::{
    Envelope, EnvelopeError, EnvelopeVerifier, KeyShare, LabelFields, SealingKey, ShareMessage,
    VerifiedEnvelope, deal, seal,
};
use fairlane_engine::types::{
    AuthorityIndex, BatchSeq, ChainId, Epoch, RollupId, Round, Sha256Hash, TimestampUs,
};

use crate::common::hostile;

pub(crate) const CHAIN: ChainId = ChainId(1);
pub(crate) const FIRST: BatchSeq = BatchSeq(0);
pub(crate) const ROLLUP: RollupId = RollupId(5);
pub(crate) const UNTIL: TimestampUs = TimestampUs(1_000_000);
pub(crate) const FIELDS: LabelFields = LabelFields {
    rollup: ROLLUP,
    valid_until: UNTIL,
    sender_tag: [6; 16],
    padded_len: None,
};

/// The committee of one epoch.
pub(crate) struct Net {
    pub(crate) key: SealingKey,
    committee: Arc<Committee>,
    threshold: u32,
}

pub(crate) fn signing_key(author: usize) -> SigningKey {
    SigningKey::from_bytes(&[author as u8 + 1; 32])
}

impl Net {
    pub(crate) fn new(epoch: u32, authorities: u32, threshold: u32) -> Self {
        let keys = (0..authorities as usize).map(|author| signing_key(author).verifying_key());
        let (start, parameters) = (TimestampUs(0), Parameters::default());
        let (epoch, keys) = (Epoch(epoch), keys.collect());
        let committee = Committee::new(CHAIN, epoch, start, parameters, Vec::new(), keys).unwrap();
        let (key, _) = deal(CHAIN, epoch, authorities, threshold, &[9; 32]).unwrap();
        Self {
            key,
            committee: Arc::new(committee),
            threshold,
        }
    }

    pub(crate) fn authorities(&self) -> usize {
        self.key.thresholds().authorities() as usize
    }

    pub(crate) fn share(&self, author: usize) -> KeyShare {
        let (n, t) = (self.authorities() as u32, self.threshold);
        deal(CHAIN, self.key.epoch(), n, t, &[9; 32])
            .unwrap()
            .1
            .remove(author)
    }

    /// The reveal stage of `own`.
    pub(crate) fn reveal(&self, own: usize) -> Reveal {
        let keys = RevealKeys {
            sealing: Arc::new(self.key.clone()),
            share: self.share(own),
            signing: signing_key(own),
            process_secret: [own as u8; 32],
        };
        Reveal::new(self.committee.clone(), AuthorityIndex(own as u8), keys)
    }

    pub(crate) fn sealed(&self, payload: &[u8], entropy: u8) -> Vec<u8> {
        seal(&self.key, &FIELDS, payload, &[entropy; 64]).unwrap()
    }

    /// Sealed soundly but for the content.
    pub(crate) fn garbage(&self, id: u64) -> Vec<u8> {
        hostile::garbage_envelope(&self.key, ROLLUP, UNTIL, id)
    }

    /// Sealed soundly but for the r inside, which is another.
    pub(crate) fn wrong_r(&self, id: u64) -> Vec<u8> {
        let (r, other) = (hostile::client_r(id), hostile::client_r(id + 1));
        let d = self.key.committee_key().point() * r;
        hostile::envelope_under(&self.key, ROLLUP, UNTIL, r, &d, &other)
    }

    /// What a client in league with `author` seals: it opens, to `inner_r` and a payload, just when the share of
    /// `author`, off by `error`, is combined with those of `others`.
    pub(crate) fn league(
        &self,
        id: u64,
        author: usize,
        others: &[usize],
        error: &RistrettoPoint,
        inner_r: Option<Scalar>,
    ) -> Vec<u8> {
        assert_eq!(others.len() + 1, self.threshold as usize);
        let at = Scalar::from(author as u64 + 1);
        let lambda: Scalar = others
            .iter()
            .map(|other| Scalar::from(*other as u64 + 1))
            .map(|other| other * (other - at).invert())
            .product();
        let r = hostile::client_r(id);
        let scale = lambda * Scalar::from(2 * self.key.delta());
        let d = self.key.committee_key().point() * r + error * scale;
        hostile::envelope_under(&self.key, ROLLUP, UNTIL, r, &d, &inner_r.unwrap_or(r))
    }

    pub(crate) fn check(&self, bytes: Vec<u8>) -> Result<VerifiedEnvelope, EnvelopeError> {
        let envelope = Envelope::decode(bytes.into())?;
        let verifier = EnvelopeVerifier::new(self.key.clone(), [8; 32]);
        verifier.check(vec![envelope]).remove(0)
    }

    /// A batch of these envelopes, all of which have sound proofs.
    pub(crate) fn plan(&self, seq: BatchSeq, envelopes: &[Vec<u8>]) -> BatchPlan {
        let verified = envelopes.iter().map(|bytes| self.check(bytes.clone()));
        let envelopes: Vec<VerifiedEnvelope> = verified.collect::<Result<_, _>>().unwrap();
        BatchPlan {
            seq,
            anchor_round: Round(2),
            time: TimestampUs(10),
            order_root: order_root(envelopes.iter().map(|envelope| envelope.digest())),
            envelopes,
            group_wait_cut: 0,
            cap_fired: 0,
            state_root: Sha256Hash::default(),
        }
    }

    /// What `author` honestly sends for the batch.
    pub(crate) fn message(&self, author: usize, plan: &BatchPlan) -> ShareMessage {
        let (share, signing) = (self.share(author), signing_key(author));
        let us = plan.sealed_points();
        let made = ShareMessage::make(&share, &self.key, &signing, plan.seq, plan.order_root, &us);
        made.unwrap().0
    }

    /// The batch as `own` opens it when these messages arrive, each over its author's link; and its reveal stage then.
    pub(crate) fn run(
        &self,
        own: usize,
        plan: &BatchPlan,
        arriving: impl IntoIterator<Item = ShareMessage>,
    ) -> (Option<Opened>, Reveal) {
        let mut reveal = self.reveal(own);
        let opened = open_with(&mut reveal, plan, arriving);
        (opened, reveal)
    }
}

/// Everything that a batch is on one node, and what became of each entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) archive: Vec<u8>,
    /// Payloads in order, none for what is void.
    pub(crate) payloads: Vec<Option<Vec<u8>>>,
}

/// Starts the batch, takes the messages one by one, and opens as soon as it can.
pub(crate) fn open_with(
    reveal: &mut Reveal,
    plan: &BatchPlan,
    arriving: impl IntoIterator<Item = ShareMessage>,
) -> Option<Opened> {
    reveal.start(plan.clone(), TimestampUs(0));
    let mut opened = None;
    for message in arriving {
        send(reveal, message).ok();
        if let Some(found) = open(reveal) {
            assert_eq!(opened.replace(found), None, "a batch opens once");
        }
    }
    opened
}

/// A message over its author's link.
pub(crate) fn send(reveal: &mut Reveal, message: ShareMessage) -> Result<bool, ShareFault> {
    reveal.on_share(message.author, Box::new(message))
}

/// Opens the next batch if it is ready.
pub(crate) fn open(reveal: &mut Reveal) -> Option<Opened> {
    let mut bytes = rkyv::util::AlignedVec::<16>::new();
    bytes.resize(reveal.ready_len_max()?, 0);
    let opened = reveal.open_next(&mut bytes)?;
    let view = validate(&bytes[..opened.archive_len]).unwrap();
    let payloads = view
        .entries()
        .map(|entry| (entry.outcome != Outcome::Void).then(|| entry.payload.to_vec()));
    Some(Opened {
        payloads: payloads.collect(),
        archive: bytes[..opened.archive_len].to_vec(),
    })
}
