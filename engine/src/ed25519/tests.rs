//! The verdict is that of `verify_strict`, on every kind of input that is known to divide implementations.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use ed25519_dalek::{Signer as _, SigningKey};

use super::*;

/// The verdict of both, which must be the same.
fn verdict(verifier: &StrictVerifier, message: &[u8], r: &[u8; 32], s: &[u8; 32]) -> bool {
    let signature = Signature::from_components(*r, *s);
    let strict = verifier.key().verify_strict(message, &signature).is_ok();
    let case = (verifier, hex::encode(message), signature);
    assert_eq!(verifier.verify(message, &signature), strict, "{case:?}");
    strict
}

fn hash(r: &[u8; 32], key: &VerifyingKey, message: &[u8]) -> Scalar {
    let parts = [r.as_slice(), key.as_bytes(), message].concat();
    Scalar::from_hash(Sha512::new().chain_update(parts))
}

/// A scalar that looks random, another for each `seed`.
fn scalar(seed: u64) -> Scalar {
    Scalar::from_hash(Sha512::new().chain_update(seed.to_le_bytes()))
}

/// Every encoding of a point of small order, canonical or not, that decodes.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let canonical = EIGHT_TORSION.map(|point| point.compress().to_bytes());
    // 2^255 - 19 + y for y from 0 to 18, and either sign of x.
    let above_p = (0..19u8).map(|y| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + y, 0x7f);
        bytes
    });
    let both_signs = canonical.into_iter().chain(above_p).flat_map(|bytes| {
        let mut negative = bytes;
        negative[31] ^= 0x80;
        [bytes, negative]
    });
    let mut encodings: Vec<[u8; 32]> = both_signs
        .filter(|bytes| VerifyingKey::from_bytes(bytes).is_ok_and(|key| key.is_weak()))
        .collect();
    encodings.sort_unstable();
    encodings.dedup();
    encodings
}

#[test]
fn random_signatures_hold_and_altered_ones_do_not() {
    for seed in 0..8u8 {
        let signing = SigningKey::from_bytes(&[seed; 32]);
        let verifier = StrictVerifier::new(signing.verifying_key());
        for number in 0..1024usize {
            let message = number.to_be_bytes().repeat(number % 40);
            let good = signing.sign(&message);
            let (r, s) = (good.r_bytes(), good.s_bytes());
            assert!(verdict(&verifier, &message, r, s));
            let (mut r, mut s) = (*r, *s);
            let altered = if number & 1 == 0 { &mut r } else { &mut s };
            altered[number / 16 % 32] ^= 1 << (number / 2 % 8);
            assert!(!verdict(&verifier, &message, &r, &s), "{seed} {number}");
        }
    }
}

#[test]
fn another_message_or_key_is_refused() {
    let [one, other] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
    let verifier = StrictVerifier::new(one.verifying_key());
    for (signed, message) in [(&other, b"a"), (&one, b"b")] {
        let signature = signed.sign(b"a");
        assert!(!verdict(
            &verifier,
            message,
            signature.r_bytes(),
            signature.s_bytes()
        ));
    }
}

#[test]
fn s_is_below_the_order_of_the_base_point() {
    let signing = SigningKey::from_bytes(&[7; 32]);
    let verifier = StrictVerifier::new(signing.verifying_key());
    let order_less_1 = (-Scalar::ONE).to_bytes();
    let plus = |a: &[u8; 32], b: &[u8; 32], carry: u16| {
        let mut carry = carry;
        std::array::from_fn::<u8, 32, _>(|at| {
            let sum = u16::from(a[at]) + u16::from(b[at]) + carry;
            carry = sum >> 8;
            sum as u8
        })
    };
    let order = plus(&order_less_1, &[0; 32], 1);
    for number in 0..64u32 {
        let message = number.to_be_bytes();
        let signature = signing.sign(&message);
        let (r, s) = (signature.r_bytes(), signature.s_bytes());
        assert!(verdict(&verifier, &message, r, s));
        let mut same = *s;
        for _ in 0..15 {
            // s + l, s + 2 l .. s + 15 l are all congruent to s and below 2^256.
            same = plus(&same, &order, 0);
            assert!(!verdict(&verifier, &message, r, &same));
        }
    }
    let r = ED25519_BASEPOINT_POINT.compress().to_bytes();
    for s in [[0; 32], order_less_1, order, [0xff; 32]] {
        assert!(!verdict(&verifier, b"", &r, &s));
    }
}

/// A = a B + T, R = r B + T' and s = r + k a: the equation holds iff k T = -T', and then it is accepted.
#[test]
fn parts_of_small_order_count_exactly() {
    let (a, r) = (scalar(1), scalar(2));
    let mut accepted = [0; 8];
    for (index, of_a) in EIGHT_TORSION.iter().enumerate() {
        let key = VerifyingKey::from(EdwardsPoint::mul_base(&a) + of_a);
        let verifier = StrictVerifier::new(key);
        for (of_r, message) in EIGHT_TORSION
            .iter()
            .flat_map(|t| (0..64u8).map(move |m| (t, [m])))
        {
            let r_bytes = (EdwardsPoint::mul_base(&r) + of_r).compress().to_bytes();
            let k = hash(&r_bytes, &key, &message);
            let s = (r + k * a).to_bytes();
            let holds = EdwardsPoint::mul_base(&r) + of_r == EdwardsPoint::mul_base(&r) - of_a * k;
            assert_eq!(verdict(&verifier, &message, &r_bytes, &s), holds);
            accepted[index] += u32::from(holds);
        }
    }
    assert!(accepted.iter().all(|count| *count >= 20), "{accepted:?}");
}

/// With s = k a the equation asks for R = -k T: true for one R of small order, and refused all the same.
#[test]
fn r_of_small_order_is_refused_where_the_equation_holds() {
    let a = scalar(3);
    let mut held = 0;
    let encodings = small_order_encodings();
    assert!(encodings.len() > 8, "some are not canonical");
    for of_a in EIGHT_TORSION {
        let key = VerifyingKey::from(EdwardsPoint::mul_base(&a) + of_a);
        let verifier = StrictVerifier::new(key);
        for (r, message) in encodings
            .iter()
            .flat_map(|r| (0..16u8).map(move |m| (r, [m])))
        {
            let k = hash(r, &key, &message);
            assert!(!verdict(&verifier, &message, r, &(k * a).to_bytes()));
            held += u32::from((-(of_a * k)).compress().to_bytes() == *r);
        }
    }
    assert!(held >= 100, "{held}");
}

/// With A of small order and s = r the equation holds for R = r B wherever k A = 0.
#[test]
fn keys_of_small_order_verify_nothing() {
    let r = scalar(4);
    let r_bytes = EdwardsPoint::mul_base(&r).compress().to_bytes();
    for encoding in small_order_encodings() {
        let key = VerifyingKey::from_bytes(&encoding).unwrap();
        let verifier = StrictVerifier::new(key);
        let mut held = 0;
        for message in (0..64u8).map(|m| [m]) {
            assert!(!verdict(&verifier, &message, &r_bytes, &r.to_bytes()));
            let signature = Signature::from_components(r_bytes, r.to_bytes());
            held += u32::from(ed25519_dalek::Verifier::verify(&key, &message, &signature).is_ok());
        }
        assert!(held > 0, "the check that is not strict lets some through");
    }
}

#[test]
fn r_is_encoded_in_the_one_canonical_way_and_decodes() {
    let verifier = StrictVerifier::new(SigningKey::from_bytes(&[9; 32]).verifying_key());
    let signature = SigningKey::from_bytes(&[9; 32]).sign(b"");
    for low in 0..=255u8 {
        for high in [0x7f, 0xff] {
            let mut r = [0xff; 32];
            (r[0], r[31]) = (low, high);
            assert!(!verdict(&verifier, b"", &r, signature.s_bytes()));
        }
    }
}

#[test]
fn keys_in_other_encodings_are_taken_as_by_the_library() {
    // y = p + 3 and the like: of those of full order nobody knows the discrete logarithm, so nothing verifies.
    let signature = SigningKey::from_bytes(&[9; 32]).sign(b"");
    let mut found = 0;
    for (y, high) in (0..19u8).flat_map(|y| [(y, 0x7f), (y, 0xff)]) {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + y, high);
        if let Ok(key) = VerifyingKey::from_bytes(&bytes) {
            let verifier = StrictVerifier::new(key);
            assert!(!verdict(
                &verifier,
                b"",
                signature.r_bytes(),
                signature.s_bytes()
            ));
            found += 1;
        }
    }
    assert!(found >= 8, "{found}");
}

#[test]
fn published_edge_cases_have_the_verdict_of_the_library() {
    let mut accepted = Vec::new();
    let cases = include_str!("edge_cases.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    for (number, case) in cases.enumerate() {
        let fields: Vec<Vec<u8>> = case
            .split(' ')
            .map(|field| hex::decode(field).unwrap())
            .collect();
        let key = VerifyingKey::from_bytes(fields[1].as_slice().try_into().unwrap()).unwrap();
        let signature = Signature::from_slice(&fields[2]).unwrap();
        let (r, s) = (signature.r_bytes(), signature.s_bytes());
        if verdict(&StrictVerifier::new(key), &fields[0], r, s) {
            accepted.push(number);
        }
    }
    // Key and R have parts of small order, and these cancel.
    assert_eq!(accepted, [6]);
}

#[test]
fn the_list_of_small_orders_is_the_librarys() {
    let ys: std::collections::BTreeSet<[u8; 32]> = EIGHT_TORSION
        .iter()
        .map(|point| {
            let mut y = point.compress().to_bytes();
            y[31] &= 0x7f;
            y
        })
        .collect();
    assert_eq!(ys, SMALL_ORDER_Y.into_iter().collect());
    assert!(!is_small_order(
        &ED25519_BASEPOINT_POINT.compress().to_bytes()
    ));
}
