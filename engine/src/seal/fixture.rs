//! A small committee for this module's tests, and envelopes that no honest client makes.

use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{SigningKey, VerifyingKey};

use super::crafted::{crafted_label, crafted_under};
use super::*;
use crate::types::{AuthorityIndex, BatchSeq, ChainId, Epoch, RollupId, Sha256Hash, TimestampUs};

/// A committee with all its secrets.
pub(super) struct Net {
    pub(super) key: SealingKey,
    pub(super) key_shares: Vec<KeyShare>,
    pub(super) signing_keys: Vec<SigningKey>,
}

impl Net {
    pub(super) fn new(epoch: u32, authorities: u32, threshold: u32) -> Self {
        let (key, key_shares) =
            deal(ChainId(1), Epoch(epoch), authorities, threshold, &[42; 32]).unwrap();
        let signing_keys = (0..authorities as u8)
            .map(|i| SigningKey::from_bytes(&[i; 32]))
            .collect();
        Self {
            key,
            key_shares,
            signing_keys,
        }
    }

    pub(super) fn verifying_key(&self, author: AuthorityIndex) -> VerifyingKey {
        self.signing_keys[author.as_usize()].verifying_key()
    }

    pub(super) fn sealed(&self, payload: &[u8], entropy: u8) -> Vec<u8> {
        seal(&self.key, &fields(), payload, &[entropy; 64]).unwrap()
    }

    pub(super) fn check(&self, bytes: Vec<u8>) -> Result<VerifiedEnvelope, EnvelopeError> {
        let envelope = Envelope::decode(bytes.into())?;
        let verifier = EnvelopeVerifier::new(self.key.clone(), [8; 32]);
        verifier.check(vec![envelope]).pop().unwrap()
    }

    pub(super) fn make(&self, author: usize, us: &[EncodedPoint]) -> (ShareMessage, VerifiedShare) {
        let (share, signing_key) = (&self.key_shares[author], &self.signing_keys[author]);
        ShareMessage::make(share, &self.key, signing_key, SEQ, ROOT, us).unwrap()
    }

    pub(super) fn verify(
        &self,
        message: &ShareMessage,
        us: &[EncodedPoint],
    ) -> Result<VerifiedShare, ShareError> {
        let verifying_key = self.verifying_key(message.author);
        message.verify(&self.key, &verifying_key, SEQ, ROOT, us)
    }

    /// D of each U, by every t-subset of the committee; fails unless all subsets agree.
    pub(super) fn combine_every_way(&self, us: &[EncodedPoint]) -> Vec<SharedPoint> {
        let verified: Vec<VerifiedShare> = (0..self.key_shares.len())
            .map(|author| self.verify(&self.make(author, us).0, us).unwrap())
            .collect();
        let mut found = None;
        for set in 0u32..1 << verified.len() {
            if set.count_ones() == self.key.threshold() {
                let chosen: Vec<&VerifiedShare> = verified
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| set & 1 << i != 0)
                    .map(|(_, s)| s)
                    .collect();
                let combined = combine(&self.key, &chosen).unwrap();
                assert_eq!(
                    found.get_or_insert(combined.clone()),
                    &combined,
                    "subset {set:b}"
                );
            }
        }
        found.unwrap()
    }
}

pub(super) fn fields() -> LabelFields {
    LabelFields {
        rollup: RollupId(5),
        valid_until: TimestampUs(1_000_000),
        sender_tag: [6; 16],
        padded_len: None,
    }
}

pub(super) fn us(envelopes: &[VerifiedEnvelope]) -> Vec<EncodedPoint> {
    envelopes
        .iter()
        .filter_map(|envelope| envelope.u().copied())
        .collect()
}

/// An envelope with a valid proof of `r` and `content` in the place of r | payload, sealed under the D of `r_of_d`.
pub(super) fn crafted(key: &SealingKey, r: Scalar, r_of_d: Scalar, content: &[u8]) -> Vec<u8> {
    let label = crafted_label(key, &fields(), content.len() as u32 - 32);
    let d = key.committee_key().point() * r_of_d;
    crafted_under(&label, r, &d.compress().to_bytes(), content)
}

pub(super) const SEQ: BatchSeq = BatchSeq(12);
pub(super) const ROOT: Sha256Hash = Sha256Hash([0x77; 32]);
