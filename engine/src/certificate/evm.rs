//! The same points as contracts take them (EIP-2537), and what a contract has to compute.
//!
//! ```text
//! Fp     16 zero bytes | 48 big-endian          64
//! Fp2    c0 | c1                                128    blst and ZCash write c1 first
//! G1     x | y                                  128    the identity is all zeros
//! G2     x | y, each an Fp2                     256
//! ```
//!
//! A contract holds the keys as G2 points whose possession was checked when they were registered, and checks for a
//! certificate: the message is made of its own chain id, epoch and the header's seq and hash; at least q bits of members;
//! a signature that is not the identity; then [`pairing_input`] at PAIRING_CHECK (0x0f). That call checks subgroups.
//! `net/client/WIRE.md` says it step by step, `engine/tests/vectors/certificate.json` has every value on the way.

use blst::min_sig::{AggregatePublicKey, PublicKey, SecretKey, Signature};
use sha2::{Digest as _, Sha256};

use super::cert::Certificate;
use super::key::{CertificateKey, SIGNATURE_DST, SignatureBytes, decode_signature};
use super::keys::CertificateKeys;

/// A field element.
pub type Fp = [u8; FP_LEN];
/// A point of G1.
pub type G1 = [u8; G1_LEN];
/// A point of G2.
pub type G2 = [u8; G2_LEN];

/// The point of a signature; none when it is none that a signature may be.
pub fn signature_point(bytes: &SignatureBytes) -> Option<G1> {
    decode_signature(bytes).map(|signature| g1_of(&signature))
}

/// The point of a key.
pub fn key_point(key: &CertificateKey) -> G2 {
    g2_of(key.point())
}

/// u0 and u1 of RFC 9380, section 5.2, for `message` under `dst`: MAP_FP_TO_G1 of both, added, is the message's point.
///
/// Panics when `dst` is longer than 255 bytes: ours are 43.
pub fn hash_to_field(message: &[u8], dst: &[u8]) -> [Fp; 2] {
    let uniform = expand_message(message, dst);
    let (low, high) = uniform.split_at(UNIFORM_LEN / 2);
    [low, high].map(reduce)
}

/// The point that signatures of `message` under `dst` are multiples of.
pub fn hash_to_curve(message: &[u8], dst: &[u8]) -> G1 {
    let mut one = [0; 32];
    one[31] = 1;
    let one = SecretKey::from_bytes(&one).expect("1 is below the group's order");
    g1_of(&one.sign(message, dst, &[]))
}

/// What PAIRING_CHECK takes, so that it answers 1 for a certificate that holds: e(signature, -g2) e(H(message), sum of the
/// signers' keys) = 1. None when the signature is no point, or nobody of the committee signed.
pub fn pairing_input(certificate: &Certificate, keys: &CertificateKeys) -> Option<Vec<u8>> {
    let message = certificate.header.message();
    let mut input = Vec::with_capacity(PAIRING_INPUT_LEN);
    input.extend_from_slice(&signature_point(&certificate.signature)?);
    input.extend_from_slice(&minus_generator());
    input.extend_from_slice(&hash_to_curve(&message, SIGNATURE_DST));
    input.extend_from_slice(&sum_of_keys(certificate, keys)?);
    Some(input)
}

/// The sum of the signers' keys.
fn sum_of_keys(certificate: &Certificate, keys: &CertificateKeys) -> Option<G2> {
    let signers = certificate.signers.iter();
    let points: Vec<_> = signers.filter_map(|who| keys.find(who)).collect();
    let points: Vec<&PublicKey> = points.iter().map(|key| key.point()).collect();
    let sum = AggregatePublicKey::aggregate(&points, false).ok()?;
    Some(g2_of(&sum.to_public_key()))
}

/// The generator of G2, negated.
pub fn minus_generator() -> G2 {
    let minus_one = SecretKey::from_bytes(&GROUP_ORDER_MINUS_1);
    g2_of(&minus_one.expect("it is below the group's order").sk_to_pk())
}

fn g1_of(point: &Signature) -> G1 {
    let mut out = [0; G1_LEN];
    for (into, from) in out
        .chunks_exact_mut(FP_LEN)
        .zip(point.serialize().chunks_exact(48))
    {
        into[FP_PADDING..].copy_from_slice(from);
    }
    out
}

fn g2_of(point: &PublicKey) -> G2 {
    let mut out = [0; G2_LEN];
    let bytes = point.serialize();
    // x.c1 | x.c0 | y.c1 | y.c0
    let parts = [1, 0, 3, 2].map(|part| &bytes[48 * part..48 * (part + 1)]);
    for (into, from) in out.chunks_exact_mut(FP_LEN).zip(parts) {
        into[FP_PADDING..].copy_from_slice(from);
    }
    out
}

/// expand_message_xmd of RFC 9380, section 5.3.1, with SHA-256.
fn expand_message(message: &[u8], dst: &[u8]) -> [u8; UNIFORM_LEN] {
    let dst_len = u8::try_from(dst.len()).expect("a domain is at most 255 bytes");
    let mut first = Sha256::new();
    first.update([0; 64]);
    first.update(message);
    first.update((UNIFORM_LEN as u16).to_be_bytes());
    first.update([0]);
    first.update(dst);
    first.update([dst_len]);
    let first: [u8; 32] = first.finalize().into();
    let (mut out, mut before) = ([0; UNIFORM_LEN], [0; 32]);
    for (index, block) in (1u8..).zip(out.chunks_exact_mut(32)) {
        let mut mixed = first;
        for (byte, other) in mixed.iter_mut().zip(before) {
            *byte ^= other;
        }
        let mut hash = Sha256::new();
        hash.update(mixed);
        hash.update([index]);
        hash.update(dst);
        hash.update([dst_len]);
        before = hash.finalize().into();
        block.copy_from_slice(&before);
    }
    out
}

/// A big-endian integer of any length modulo p, bit by bit: contracts use MODEXP.
fn reduce(bytes: &[u8]) -> Fp {
    let mut rest = [0u8; FP_LEN];
    for bit in (0..8 * bytes.len()).map(|at| bytes[at / 8] >> (7 - at % 8) & 1) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let doubled = (u16::from(*byte) << 1) | u16::from(carry);
            [carry, *byte] = doubled.to_be_bytes();
        }
        // 2 rest + bit < 2p < 2^384, so nothing is carried out of 64 bytes, and one subtraction is enough.
        if rest[FP_PADDING..] >= MODULUS[..] {
            let mut borrow = 0;
            for (byte, minus) in rest[FP_PADDING..].iter_mut().zip(MODULUS).rev() {
                let difference = i16::from(*byte) - i16::from(minus) - borrow;
                borrow = i16::from(difference < 0);
                *byte = difference.rem_euclid(256) as u8;
            }
        }
    }
    rest
}

/// Bytes of an encoded field element.
pub const FP_LEN: usize = FP_PADDING + 48;
/// Bytes of an encoded point of G1.
pub const G1_LEN: usize = 2 * FP_LEN;
/// Bytes of an encoded point of G2.
pub const G2_LEN: usize = 4 * FP_LEN;
/// Two pairs of points.
const PAIRING_INPUT_LEN: usize = 2 * (G1_LEN + G2_LEN);
const FP_PADDING: usize = 16;
/// Bytes hashed to for two field elements.
const UNIFORM_LEN: usize = 128;
/// p, big-endian.
const MODULUS: [u8; 48] = [
    0x1a, 0x01, 0x11, 0xea, 0x39, 0x7f, 0xe6, 0x9a, 0x4b, 0x1b, 0xa7, 0xb6, 0x43, 0x4b, 0xac, 0xd7,
    0x64, 0x77, 0x4b, 0x84, 0xf3, 0x85, 0x12, 0xbf, 0x67, 0x30, 0xd2, 0xa0, 0xf6, 0xb0, 0xf6, 0x24,
    0x1e, 0xab, 0xff, 0xfe, 0xb1, 0x53, 0xff, 0xff, 0xb9, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xaa, 0xab,
];
/// r - 1, big-endian.
const GROUP_ORDER_MINUS_1: [u8; 32] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05,
    0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_reduced_modulo_p() {
        let mut below = MODULUS;
        below[47] -= 1;
        assert_eq!(reduce(&below)[FP_PADDING..], below);
        assert_eq!(reduce(&MODULUS), [0; FP_LEN]);
        let mut above = MODULUS;
        above[47] += 3;
        assert_eq!(reduce(&above)[FP_LEN - 1], 3);
        let shifted = [&MODULUS[..], &[0; 16]].concat();
        assert_eq!(reduce(&shifted), [0; FP_LEN], "p times 2^128");
    }
}
