//! What faulty clients and authorities send: well formed, properly signed or proven, and wrong.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signer, SigningKey};
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
    let label = sealed_label(key, rollup, valid_until, CONTENT_LEN);
    proven(&label, client_r(id), &[id as u8; 32 + CONTENT_LEN + 16])
}

/// A sealed envelope whose proof of r holds and which opens under `d` and nothing else, to `inner_r` and eight bytes. With
/// another D than rX it is what a client makes together with authorities that give false shares.
pub fn envelope_under(
    key: &SealingKey,
    rollup: RollupId,
    valid_until: TimestampUs,
    r: Scalar,
    d: &RistrettoPoint,
    inner_r: &Scalar,
) -> Vec<u8> {
    let content = [inner_r.as_bytes(), &b"stolen!!"[..]].concat();
    let label = sealed_label(key, rollup, valid_until, CONTENT_LEN);
    proven(&label, r, &encrypted(&label, &r, d, &content))
}

/// `content`, which should be r and a payload, under the content key of these.
pub fn encrypted(label: &[u8; 64], r: &Scalar, d: &RistrettoPoint, content: &[u8]) -> Vec<u8> {
    let u = encode(RistrettoPoint::mul_base(r));
    let mut content_key = [0; 32];
    tagged("fairlane/1/kem", &[&u, &encode(*d), label])
        .finalize_xof()
        .fill(&mut content_key);
    let mut ciphertext = content.to_vec();
    ChaCha20Poly1305::new(&content_key.into())
        .encrypt_in_place(&Nonce::default(), &[], &mut ciphertext)
        .expect("what an envelope holds is below the cipher's bound");
    ciphertext
}

/// What a client in league with others may take for its r.
pub fn client_r(id: u64) -> Scalar {
    scalar("test/r", &[&id.to_be_bytes()])
}

/// The label of a sealed envelope of `payload_len` bytes.
pub fn sealed_label(
    key: &SealingKey,
    rollup: RollupId,
    valid_until: TimestampUs,
    payload_len: usize,
) -> [u8; 64] {
    Label {
        kind: EnvelopeKind::Sealed,
        padding: Padding::None,
        rollup,
        chain_id: key.chain_id(),
        key_id: key.key_id(),
        valid_until,
        sender_tag: [0; 16],
        payload_len: payload_len as u32,
    }
    .encode()
}

/// The envelope of these bytes with a proof of r that holds, whatever the ciphertext is.
pub fn proven(label: &[u8; 64], r: Scalar, ciphertext: &[u8]) -> Vec<u8> {
    let s = scalar("test/s", &[r.as_bytes()]);
    let mut uniform = [0; 64];
    tagged("fairlane/1/second-generator", &[])
        .finalize_xof()
        .fill(&mut uniform);
    let second = RistrettoPoint::from_uniform_bytes(&uniform);
    let (u, u2) = (encode(RistrettoPoint::mul_base(&r)), encode(second * r));
    let (w, w2) = (encode(RistrettoPoint::mul_base(&s)), encode(second * s));
    let e = scalar(
        "fairlane/1/envelope",
        &[label, &u, &u2, &w, &w2, ciphertext],
    );
    let z = s + r * e;
    [&label[..], &u, &u2, &w, &w2, ciphertext, z.as_bytes()].concat()
}

/// The message changed and then signed again, as a faulty author does.
pub fn resigned(
    message: &ShareMessage,
    signing: &SigningKey,
    change: impl FnOnce(&mut ShareMessage),
) -> ShareMessage {
    let mut changed = message.clone();
    change(&mut changed);
    let bytes = changed.encode();
    let mut hash = [0; 32];
    tagged("fairlane/1/share-message", &[&bytes[..bytes.len() - 64]])
        .finalize_xof()
        .fill(&mut hash);
    let signed = [&b"fairlane/1/share-message"[..], &hash].concat();
    changed.signature = signing.sign(&signed).to_bytes();
    changed
}

/// The share of another point, this far off.
pub fn bent(share: &[u8; 32], by: &RistrettoPoint) -> [u8; 32] {
    let point = EncodedPoint::decode(share).expect("an honest share is a point");
    encode(point.point() + by)
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

fn encode(point: RistrettoPoint) -> [u8; 32] {
    point.compress().to_bytes()
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

/// Bytes of payload in what is made here.
const CONTENT_LEN: usize = 8;
