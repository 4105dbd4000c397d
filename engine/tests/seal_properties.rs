//! Laws of sealing, through the public interface only: what is sealed is revealed whichever t authorities open it,
//! whatever is changed on the way is refused, and nothing opens without the true D.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use ed25519_dalek::SigningKey;
use fairlane_engine::committee::Thresholds;
use fairlane_engine::seal::{
    EncodedPoint, Envelope, EnvelopeVerifier, KeyShare, LabelFields, Outcome, SealingKey,
    ShareMessage, SharedPoint, VerifiedEnvelope, VerifiedShare, check_reveal, combine, deal,
    open_envelope, open_into, opened_len, seal,
};
use fairlane_engine::types::{BatchSeq, ChainId, Epoch, RollupId, Sha256Hash, TimestampUs};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

const SEQ: BatchSeq = BatchSeq(3);
const ROOT: Sha256Hash = Sha256Hash([9; 32]);
const FIELDS: LabelFields = LabelFields {
    rollup: RollupId(1),
    valid_until: TimestampUs(2),
    sender_tag: [3; 16],
    padded_len: None,
};

/// n and t: small committees, two whose coefficients are large, and one above sixteen.
fn sizes() -> impl Strategy<Value = (u32, u32)> {
    prop::sample::select(vec![1u32, 2, 3, 4, 5, 7, 10, 16, 17]).prop_flat_map(|authorities| {
        let thresholds = Thresholds::new(authorities as usize).unwrap();
        (
            Just(authorities),
            thresholds.validity()..=thresholds.quorum(),
        )
    })
}

/// n, t, and two choices of t among n.
fn two_choices() -> impl Strategy<Value = (u32, u32, Vec<usize>, Vec<usize>)> {
    sizes().prop_flat_map(|(authorities, threshold)| {
        let choice = || subsequence(Vec::from_iter(0..authorities as usize), threshold as usize);
        (Just(authorities), Just(threshold), choice(), choice())
    })
}

fn label_fields() -> impl Strategy<Value = LabelFields> {
    let padded_len = prop::option::of(301u32..400);
    (any::<u64>(), any::<u64>(), any::<[u8; 16]>(), padded_len).prop_map(
        |(rollup, valid_until, sender_tag, padded_len)| LabelFields {
            rollup: RollupId(rollup),
            valid_until: TimestampUs(valid_until),
            sender_tag,
            padded_len,
        },
    )
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

fn entropy() -> impl Strategy<Value = [u8; 64]> {
    any::<[[u8; 32]; 2]>().prop_map(|halves| {
        let mut both = [0; 64];
        both.copy_from_slice(halves.as_flattened());
        both
    })
}

fn dealt(authorities: u32, threshold: u32) -> (SealingKey, Vec<KeyShare>) {
    deal(ChainId(4), Epoch(1), authorities, threshold, &[6; 32]).unwrap()
}

fn check(key: &SealingKey, bytes: Vec<u8>) -> Option<VerifiedEnvelope> {
    let envelope = Envelope::decode(bytes.into()).ok()?;
    let verifier = EnvelopeVerifier::new(key.clone(), [1; 32]);
    verifier.check(vec![envelope]).pop()?.ok()
}

/// The shares of one authority, through their bytes and the check.
fn share_of(key: &SealingKey, share: &KeyShare, us: &[EncodedPoint]) -> VerifiedShare {
    let signing_key = SigningKey::from_bytes(&[share.author().0; 32]);
    let (message, _) = ShareMessage::make(share, key, &signing_key, SEQ, ROOT, us).unwrap();
    let message = ShareMessage::decode(&message.encode()).unwrap();
    let verifying_key = signing_key.verifying_key();
    message.verify(key, &verifying_key, SEQ, ROOT, us).unwrap()
}

fn combined(
    key: &SealingKey,
    shares: &[KeyShare],
    chosen: &[usize],
    us: &[EncodedPoint],
) -> Vec<SharedPoint> {
    let verified: Vec<VerifiedShare> = chosen
        .iter()
        .map(|i| share_of(key, &shares[*i], us))
        .collect();
    combine(key, &verified.iter().collect::<Vec<_>>()).unwrap()
}

fn open(envelope: &VerifiedEnvelope, d: &SharedPoint) -> (Outcome, Vec<u8>) {
    let mut out = vec![0xee; opened_len(envelope)];
    let outcome = open_into(envelope, envelope.u().unwrap(), d, &mut out);
    (outcome, out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_sealed_is_revealed_whichever_authorities_open_it(
        (authorities, threshold, left, right) in two_choices(),
        sealed in prop::collection::vec((label_fields(), payload(), entropy()), 1..4),
    ) {
        let (key, shares) = dealt(authorities, threshold);
        let envelopes: Vec<VerifiedEnvelope> = sealed
            .iter()
            .map(|(fields, payload, entropy)| {
                check(&key, seal(&key, fields, payload, entropy).unwrap()).unwrap()
            })
            .collect();
        let us: Vec<EncodedPoint> = envelopes.iter().map(|e| *e.u().unwrap()).collect();
        let ds = combined(&key, &shares, &left, &us);
        prop_assert_eq!(&ds, &combined(&key, &shares, &right, &us));
        for ((envelope, d), (_, payload, _)) in envelopes.iter().zip(&ds).zip(&sealed) {
            let (outcome, out) = open(envelope, d);
            let Outcome::Revealed { r } = outcome else {
                return Err(TestCaseError::fail("an honest envelope is void"));
            };
            prop_assert_eq!(envelope.label().content(&out[32..]), Some(&payload[..]));
            let mut again = vec![0; out.len()];
            prop_assert!(check_reveal(&key, envelope, &r, &mut again));
            prop_assert_eq!(again, out);
        }
    }

    #[test]
    fn a_sealed_envelope_with_any_bit_flipped_is_refused(
        fields in label_fields(),
        payload in payload(),
        entropy in entropy(),
        bit in any::<Index>(),
    ) {
        let (key, _) = dealt(4, 3);
        let mut bytes = seal(&key, &fields, &payload, &entropy).unwrap();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(check(&key, bytes).is_none(), "bit {}", bit);
    }

    #[test]
    fn an_envelope_with_any_stretch_overwritten_is_refused(
        payload in payload(),
        at in any::<Index>(),
        noise in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let (key, _) = dealt(4, 3);
        let honest = seal(&key, &FIELDS, &payload, &[5; 64]).unwrap();
        let mut bytes = honest.clone();
        let at = at.index(bytes.len() - 63);
        bytes[at..at + noise.len()].copy_from_slice(&noise);
        prop_assume!(bytes != honest);
        prop_assert!(check(&key, bytes).is_none());
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let (key, _) = dealt(4, 3);
        prop_assert!(check(&key, bytes.clone()).is_none());
        prop_assert!(ShareMessage::decode(&bytes).is_err());
        prop_assert!(KeyShare::from_bytes(&key, &bytes).is_err());
    }

    #[test]
    fn random_points_and_proof_behind_a_sound_label_are_refused_without_a_panic(
        payload in payload(),
        noise in prop::collection::vec(any::<u8>(), 600),
    ) {
        let (key, _) = dealt(4, 3);
        let mut bytes = seal(&key, &FIELDS, &payload, &[5; 64]).unwrap();
        let len = bytes.len();
        bytes[64..].copy_from_slice(&noise[64..len]);
        prop_assert!(check(&key, bytes).is_none());
    }

    #[test]
    fn fewer_than_t_shares_do_not_open(
        payload in payload(),
        entropy in entropy(),
        chosen in subsequence(vec![0usize, 1, 2, 3, 4], 3),
    ) {
        let (key, shares) = dealt(5, 4);
        let envelope = check(&key, seal(&key, &FIELDS, &payload, &entropy).unwrap()).unwrap();
        let us = [*envelope.u().unwrap()];
        let verified: Vec<VerifiedShare> =
            chosen.iter().map(|i| share_of(&key, &shares[*i], &us)).collect();
        let three: Vec<&VerifiedShare> = verified.iter().collect();
        prop_assert!(combine(&key, &three).is_err());
        // Nor does a key of another threshold take them, or its own shares open this envelope.
        let (lower_key, lower_shares) = dealt(5, 3);
        prop_assert!(combine(&lower_key, &three).is_err());
        let (outcome, out) = open(&envelope, &combined(&lower_key, &lower_shares, &chosen, &us)[0]);
        prop_assert_eq!(outcome, Outcome::Void);
        prop_assert!(out.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn an_open_envelope_gives_back_its_payload(fields in label_fields(), payload in payload()) {
        let (key, _) = dealt(4, 3);
        let envelope = check(&key, open_envelope(&key, &fields, &payload).unwrap()).unwrap();
        let carried = envelope.open_payload().unwrap();
        prop_assert_eq!(envelope.label().content(carried), Some(&payload[..]));
        prop_assert!(envelope.u().is_none());
    }

    #[test]
    fn a_share_message_with_any_bit_flipped_is_refused(
        count in 1usize..4,
        author in 0usize..5,
        bit in any::<Index>(),
    ) {
        let (key, shares) = dealt(5, 4);
        // Any points will do for U.
        let us: Vec<EncodedPoint> = key.verification_shares()[..count].to_vec();
        let signing_key = SigningKey::from_bytes(&[7; 32]);
        let (message, _) =
            ShareMessage::make(&shares[author], &key, &signing_key, SEQ, ROOT, &us).unwrap();
        let mut bytes = message.encode();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let passed = ShareMessage::decode(&bytes).is_ok_and(|flipped| {
            flipped.verify(&key, &signing_key.verifying_key(), SEQ, ROOT, &us).is_ok()
        });
        prop_assert!(!passed, "bit {}", bit);
    }
}
