//! The cryptography of `WIRE.md` written out from its text alone, with none of the engine's code: what an implementer
//! in another language would write.

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// H(tag; parts): BLAKE3 key derivation, each part behind its length.
fn tagged(tag: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(tag);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher
}

/// The first 32 bytes of H.
pub(crate) fn hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    *tagged(tag, parts).finalize().as_bytes()
}

/// The first 64 bytes of H as a scalar.
fn scalar(tag: &str, parts: &[&[u8]]) -> Scalar {
    let mut wide = [0; 64];
    tagged(tag, parts).finalize_xof().fill(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// g2.
pub(crate) fn second_generator() -> RistrettoPoint {
    let mut wide = [0; 64];
    tagged("fairlane/1/second-generator", &[])
        .finalize_xof()
        .fill(&mut wide);
    RistrettoPoint::from_uniform_bytes(&wide)
}

/// All that arises while sealing.
pub(crate) struct Sealed {
    pub(crate) r: [u8; 32],
    pub(crate) s: [u8; 32],
    pub(crate) d: [u8; 32],
    pub(crate) k: [u8; 32],
    pub(crate) e: [u8; 32],
    pub(crate) envelope: Vec<u8>,
}

/// Seals `payload`, carried as `carried`, to `committee_key`.
pub(crate) fn seal(
    committee_key: &[u8; 32],
    label: &[u8; 64],
    payload: &[u8],
    carried: &[u8],
    entropy: &[u8; 64],
) -> Sealed {
    let r = scalar("fairlane/1/seal-r", &[entropy, label, payload]);
    let s = scalar("fairlane/1/seal-s", &[entropy, label, payload]);
    let x = CompressedRistretto(*committee_key).decompress().unwrap();
    let g2 = second_generator();
    let encode = |point: RistrettoPoint| point.compress().to_bytes();
    let (u, u2) = (encode(RistrettoPoint::mul_base(&r)), encode(g2 * r));
    let (w, w2) = (encode(RistrettoPoint::mul_base(&s)), encode(g2 * s));
    let d = encode(x * r);
    let k = hash("fairlane/1/kem", &[&u, &d, label]);
    let plain = [r.as_bytes(), carried].concat();
    let c = ChaCha20Poly1305::new((&k).into())
        .encrypt(&Nonce::default(), &plain[..])
        .unwrap();
    let e = scalar("fairlane/1/envelope", &[label, &u, &u2, &w, &w2, &c]);
    let z = s + r * e;
    Sealed {
        r: r.to_bytes(),
        s: s.to_bytes(),
        d,
        k,
        e: e.to_bytes(),
        envelope: [&label[..], &u, &u2, &w, &w2, &c, z.as_bytes()].concat(),
    }
}

/// Whether the receipt at `receipt` (from its tag on) under `signed_header` is for (digest, valid_until).
pub(crate) fn is_receipt_for(
    signed_header: &[u8],
    receipt: &[u8],
    signing_key: &VerifyingKey,
    digest: &[u8; 32],
    valid_until: u64,
) -> bool {
    let (header, signature) = signed_header.split_at(147);
    let message = [b"fairlane/1/vertex", &blake3::hash(header).as_bytes()[..]].concat();
    let signature = Signature::from_slice(signature).unwrap();
    let is_signed = signing_key.verify_strict(&message, &signature).is_ok();

    let (at, len) = (u32_at(receipt, 8), u32_at(header, 38));
    let leaf = sha256(&[&[0], digest, &valid_until.to_be_bytes()]);
    is_signed && leads(leaf, (at, len), &receipt[12..], &header[42..74])
}

/// Whether the entry of an included frame stands under the header's payload root.
pub(crate) fn is_included(header: &[u8], entry: &[u8]) -> bool {
    let payload_len = u32_at(entry, 85) as usize;
    let Some(payload) = entry.get(89..89 + payload_len) else {
        return false;
    };
    // Digest, rollup id, outcome and r stand behind each other in the frame and in the leaf.
    let leaf = sha256(&[&[0], &entry[12..85], payload]);
    let place = (u32_at(entry, 8), u32_at(header, 165));
    leads(leaf, place, &entry[89 + payload_len..], &header[101..133])
}

/// Walks the path behind its length in bytes.
fn leads(leaf: [u8; 32], (mut at, mut len): (u64, u64), path: &[u8], root: &[u8]) -> bool {
    let whole = 32 * usize::from(path[0]);
    if at >= len || path.len() != 1 + whole {
        return false;
    }
    let mut siblings = path[1..].chunks(32);
    let mut node = leaf;
    while len > 1 {
        if at ^ 1 < len {
            let Some(sibling) = siblings.next() else {
                return false;
            };
            node = match at % 2 {
                0 => sha256(&[&[1], &node, sibling]),
                _ => sha256(&[&[1], sibling, &node]),
            };
        }
        (at, len) = (at / 2, len.div_ceil(2));
    }
    siblings.next().is_none() && node == root
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
}

/// Whether signature and proof of a share message for the points `us` hold.
pub(crate) fn share_holds(
    message: &[u8],
    x_i: &[u8; 32],
    us: &[&[u8]],
    signing_key: &VerifyingKey,
) -> (bool, bool) {
    let m = us.len();
    let (unsigned, signature) = message.split_at(158 + 32 * m);
    let tag = "fairlane/1/share-message";
    let signed = [tag.as_bytes(), &hash(tag, &[unsigned])].concat();
    let signature = Signature::from_slice(signature).unwrap();
    let is_signed = signing_key.verify_strict(&signed, &signature).is_ok();

    let ds: Vec<&[u8]> = unsigned[62..62 + 32 * m].chunks(32).collect();
    let count = (m as u64).to_be_bytes();
    let [key_id, seq, root, author] = [1..17, 17..25, 25..57, 57..58].map(|at| &unsigned[at]);
    let head = [key_id, seq, root, author, &x_i[..], &count];
    let t = hash("fairlane/1/share", &[&head[..], us, &ds].concat());
    let mut weights = vec![0; 16 * m];
    tagged("fairlane/1/share-weights", &[&t])
        .finalize_xof()
        .fill(&mut weights);
    let point = |bytes: &[u8]| {
        let encoded = CompressedRistretto::from_slice(bytes).unwrap();
        encoded.decompress().unwrap()
    };
    let sum = |points: &[&[u8]]| -> RistrettoPoint {
        let weighted = points.iter().zip(weights.chunks(16));
        weighted
            .map(|(bytes, rho)| {
                point(bytes) * Scalar::from(u128::from_le_bytes(rho.try_into().unwrap()))
            })
            .sum()
    };
    let (u_star, d_star) = (sum(us), sum(&ds));
    let [a, b, zeta] = [62, 94, 126].map(|at| &unsigned[at + 32 * m..at + 32 * m + 32]);
    let stars = [u_star, d_star].map(|star| star.compress().to_bytes());
    let c = scalar("fairlane/1/share-proof", &[&t, &stars[0], &stars[1], a, b]);
    let zeta = Scalar::from_canonical_bytes(zeta.try_into().unwrap()).unwrap();
    let same_base = RistrettoPoint::mul_base(&zeta) == point(a) + point(x_i) * c;
    let same_ratio = u_star * zeta == point(b) + d_star * c;
    (is_signed, same_base && same_ratio)
}
