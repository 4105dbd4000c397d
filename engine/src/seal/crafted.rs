//! Envelopes that no honest client makes, for tests and the simulator: any content under any key, with a proof that holds.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};

use super::envelope::{LabelFields, SealedFields};
use super::group::second_generator;
use super::key::SealingKey;
use super::label::{EnvelopeKind, LABEL_LEN, Label, Padding};

/// The label of a sealed envelope that says it carries `payload_len` bytes.
pub(crate) fn crafted_label(
    key: &SealingKey,
    fields: &LabelFields,
    payload_len: u32,
) -> [u8; LABEL_LEN] {
    Label {
        kind: EnvelopeKind::Sealed,
        padding: Padding::None,
        rollup: fields.rollup,
        chain_id: key.chain_id(),
        key_id: key.key_id(),
        valid_until: fields.valid_until,
        sender_tag: fields.sender_tag,
        payload_len,
    }
    .encode()
}

/// An envelope with a valid proof of `r`, and `content` in the place of r | payload, sealed under `d` in the place of D.
pub(crate) fn crafted_under(
    label: &[u8; LABEL_LEN],
    r: Scalar,
    d: &[u8; 32],
    content: &[u8],
) -> Vec<u8> {
    let s = Scalar::from(77u64);
    let second = second_generator().library();
    let encode = |point: RistrettoPoint| point.compress().to_bytes();
    let [u, u2, w, w2] = [
        RistrettoPoint::mul_base(&r),
        second * r,
        RistrettoPoint::mul_base(&s),
        second * s,
    ]
    .map(encode);
    let mut proof = SealedFields {
        label,
        u: &u,
        u2: &u2,
        w: &w,
        w2: &w2,
        ciphertext: &[],
        z: &[0; 32],
    };
    let content_key = proof.content_key(d);
    let mut ciphertext = content.to_vec();
    ChaCha20Poly1305::new((&*content_key).into())
        .encrypt_in_place(&Nonce::default(), &[], &mut ciphertext)
        .expect("an envelope is far below the cipher's bound");
    proof.ciphertext = &ciphertext;
    let z = s + r * proof.challenge();
    [label, &u[..], &u2, &w, &w2, &ciphertext, z.as_bytes()].concat()
}
