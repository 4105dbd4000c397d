//! What faulty clients and authorities send: well formed, properly signed or proven, and wrong.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::SigningKey;
use fairlane_engine::seal::{
    EncodedPoint, EnvelopeKind, KeyShare, Label, Padding, SealingKey, ShareMessage,
};
use fairlane_engine::types::{RollupId, TimestampUs};

/// A sealed envelope whose proof holds and whose ciphertext is garbage.
pub fn garbage_envelope(
    key: &SealingKey,
    rollup: RollupId,
    valid_until: TimestampUs,
    id: u64,
) -> Vec<u8> {
    let label = Label {
        kind: EnvelopeKind::Sealed,
        padding: Padding::None,
        rollup,
        chain_id: key.chain_id(),
        key_id: key.key_id(),
        valid_until,
        sender_tag: [0; 16],
        payload_len: 8,
    }
    .encode();
    let (r, s) = (
        scalar("test/r", &[&id.to_be_bytes()]),
        scalar("test/s", &[&id.to_be_bytes()]),
    );
    let mut uniform = [0; 64];
    tagged("fairlane/1/second-generator", &[])
        .finalize_xof()
        .fill(&mut uniform);
    let second = RistrettoPoint::from_uniform_bytes(&uniform);
    let encode = |point: RistrettoPoint| point.compress().to_bytes();
    let (u, u2) = (encode(RistrettoPoint::mul_base(&r)), encode(second * r));
    let (w, w2) = (encode(RistrettoPoint::mul_base(&s)), encode(second * s));
    let ciphertext = [id as u8; 32 + 8 + 16];
    let e = scalar(
        "fairlane/1/envelope",
        &[&label, &u, &u2, &w, &w2, &ciphertext],
    );
    let z = s + r * e;
    [&label[..], &u, &u2, &w, &w2, &ciphertext, z.as_bytes()].concat()
}

/// The message of `share`'s author for the same batch as `honest`, with shares for points of its own choice: signed, well
/// formed, and proving nothing about the batch.
pub fn wrong_shares(
    honest: &ShareMessage,
    share: &KeyShare,
    key: &SealingKey,
    signing: &SigningKey,
) -> ShareMessage {
    let point = |at: usize| {
        let multiple = RistrettoPoint::mul_base(&Scalar::from(at as u64 + 2));
        EncodedPoint::encode(multiple).unwrap()
    };
    let points: Vec<EncodedPoint> = (0..honest.shares.len()).map(point).collect();
    ShareMessage::make(share, key, signing, honest.seq, honest.order_root, &points)
        .unwrap()
        .0
}

fn scalar(tag: &str, parts: &[&[u8]]) -> Scalar {
    let mut wide = [0; 64];
    tagged(tag, parts).finalize_xof().fill(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn tagged(tag: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(tag);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher
}
