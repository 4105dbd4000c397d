//! A dealt committee, by default of five of which four open together, its envelopes, and its authorities' shares.

use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{SigningKey, VerifyingKey};
use fairlane_engine::seal::{
    EncodedPoint, Envelope, EnvelopeVerifier, KeyShare, LABEL_LEN, LabelFields, SEALED_OVERHEAD,
    SealingKey, ShareMessage, VerifiedEnvelope, VerifiedShare, deal,
};
use fairlane_engine::types::{BatchSeq, ChainId, Epoch, RollupId, Sha256Hash, TimestampUs};

/// The public key and everybody's secrets.
pub struct Sealing {
    /// The committee's key.
    pub key: SealingKey,
    /// One an authority, in their order.
    pub key_shares: Vec<KeyShare>,
    /// What authorities sign their share messages with, in their order.
    pub signing_keys: Vec<SigningKey>,
}

impl Sealing {
    /// Deals the committee of five, always the same.
    pub fn dealt() -> Self {
        Self::of(AUTHORITIES, THRESHOLD)
    }

    /// Deals a committee of `authorities` of which `threshold` open together, always the same.
    pub fn of(authorities: u32, threshold: u32) -> Self {
        let (key, key_shares) = deal(ChainId(1), Epoch(0), authorities, threshold, &[42; 32])
            .expect("the threshold is between v and q");
        let signing_keys = key_shares
            .iter()
            .map(|share| SigningKey::from_bytes(&[share.author().0 + 1; 32]))
            .collect();
        Self {
            key,
            key_shares,
            signing_keys,
        }
    }

    /// `count` different sealed envelopes, decoded and not yet checked.
    pub fn envelopes(&self, count: u32) -> Vec<Envelope> {
        let sealed = |number| {
            let bytes = self.sealed(number);
            Envelope::decode(bytes.into()).expect("what was just sealed decodes")
        };
        (0..count).map(sealed).collect()
    }

    /// `count` different sealed envelopes, checked.
    pub fn verified(&self, count: u32) -> Vec<VerifiedEnvelope> {
        let verdicts = self.verifier().check(self.envelopes(count));
        let holds =
            |verdict: Result<_, _>| verdict.expect("what was just sealed has a valid proof");
        verdicts.into_iter().map(holds).collect()
    }

    /// A sealed envelope, checked, whose proof holds and whose content opens under no D.
    pub fn garbage(&self) -> VerifiedEnvelope {
        let mut bytes = self.sealed(0);
        let (body, z) = bytes.split_at_mut(SEALED_OVERHEAD - 32 + PAYLOAD_LEN);
        let (label, points) = (&body[..LABEL_LEN], &body[LABEL_LEN..CONTENT_AT]);
        let secret = |tag| wide(tag, &[&ENTROPY, label, &payload(0)]);
        let (r, s) = (secret("fairlane/1/seal-r"), secret("fairlane/1/seal-s"));
        let (points, _) = points.as_chunks::<32>();
        let points: Vec<[u8; 32]> = points.to_vec();
        body[CONTENT_AT] ^= 1;
        let mut parts = vec![&body[..LABEL_LEN]];
        parts.extend(points.iter().map(|point| &point[..]));
        parts.push(&body[CONTENT_AT..]);
        z.copy_from_slice((s + r * wide("fairlane/1/envelope", &parts)).as_bytes());
        let envelope = Envelope::decode(bytes.into()).expect("its structure is untouched");
        let verdict = self.verifier().check(vec![envelope]).remove(0);
        verdict.expect("its proof was made for the changed bytes")
    }

    /// Checks envelopes for this committee.
    pub fn verifier(&self) -> EnvelopeVerifier {
        EnvelopeVerifier::new(self.key.clone(), [8; 32])
    }

    /// The shares of the authority at `author` (from 0) for the batch of `us`: as sent, and as verified.
    pub fn share(&self, author: usize, us: &[EncodedPoint]) -> (ShareMessage, VerifiedShare) {
        let (share, signing_key) = (&self.key_shares[author], &self.signing_keys[author]);
        ShareMessage::make(share, &self.key, signing_key, SEQ, ORDER_ROOT, us)
            .expect("its own share, and a batch of allowed size")
    }

    /// What the signatures of the authority at `author` (from 0) are checked with.
    pub fn verifying_key(&self, author: usize) -> VerifyingKey {
        self.signing_keys[author].verifying_key()
    }

    /// The bytes of the sealed envelope of that number.
    fn sealed(&self, number: u32) -> Vec<u8> {
        let payload = payload(number);
        fairlane_engine::seal::seal(&self.key, &label_fields(), &payload, &ENTROPY)
            .expect("the payload is far below the bound")
    }
}

fn wide(tag: &str, parts: &[&[u8]]) -> Scalar {
    let mut hasher = blake3::Hasher::new_derive_key(tag);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut bytes = [0; 64];
    hasher.finalize_xof().fill(&mut bytes);
    Scalar::from_bytes_mod_order_wide(&bytes)
}

/// The U of each of these sealed envelopes, in order.
pub fn us(envelopes: &[VerifiedEnvelope]) -> Vec<EncodedPoint> {
    let u = |envelope: &VerifiedEnvelope| *envelope.u().expect("a sealed envelope has a U");
    envelopes.iter().map(u).collect()
}

/// What the labels of all envelopes say.
pub fn label_fields() -> LabelFields {
    LabelFields {
        rollup: RollupId(5),
        valid_until: TimestampUs(60_000_000),
        sender_tag: [6; 16],
        padded_len: None,
    }
}

/// The payload of that number; different numbers have different payloads.
pub fn payload(number: u32) -> [u8; PAYLOAD_LEN] {
    let mut payload = [0x5a; PAYLOAD_LEN];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Where the content of a sealed envelope begins: behind label and four points.
const CONTENT_AT: usize = LABEL_LEN + 4 * 32;
/// n.
pub const AUTHORITIES: u32 = 5;
/// t: so many open together.
pub const THRESHOLD: u32 = 4;
/// Bytes of payload in an envelope.
pub const PAYLOAD_LEN: usize = 256;
/// Stands for a client's randomness; envelopes of different payloads differ all the same.
pub const ENTROPY: [u8; 64] = [1; 64];
/// The batch that shares are for.
pub const SEQ: BatchSeq = BatchSeq(12);
/// The order that shares are for.
pub const ORDER_ROOT: Sha256Hash = Sha256Hash([0x77; 32]);

#[cfg(test)]
mod tests {
    use super::*;
    use fairlane_engine::seal::{Outcome, combine, open_into, opened_len};

    #[test]
    fn any_four_verified_shares_open_every_envelope_to_its_payload() {
        let sealing = Sealing::dealt();
        let envelopes = sealing.verified(3);
        let us = us(&envelopes);
        let shares: Vec<VerifiedShare> = (0..AUTHORITIES as usize)
            .map(|author| {
                let verifying_key = sealing.verifying_key(author);
                let (message, _) = sealing.share(author, &us);
                let verified = message.verify(&sealing.key, &verifying_key, SEQ, ORDER_ROOT, &us);
                verified.unwrap()
            })
            .collect();
        for without in 0..AUTHORITIES as usize {
            let mut four: Vec<&VerifiedShare> = shares.iter().collect();
            four.remove(without);
            let ds = combine(&sealing.key, &four).unwrap();
            for ((envelope, d), number) in envelopes.iter().zip(&ds).zip(0..) {
                let mut out = vec![0; opened_len(envelope)];
                let outcome = open_into(envelope, envelope.u().unwrap(), d, &mut out);
                assert!(matches!(outcome, Outcome::Revealed { .. }));
                assert_eq!(out[32..], payload(number));
            }
        }
    }

    #[test]
    fn envelopes_differ_and_every_run_has_the_same() {
        let digests = |sealing: Sealing| {
            let envelopes = sealing.envelopes(20);
            let digests: Vec<_> = envelopes.iter().map(Envelope::digest).collect();
            digests
        };
        let first = digests(Sealing::dealt());
        assert_eq!(first, digests(Sealing::dealt()));
        let different: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(different.len(), 20);
    }
}
