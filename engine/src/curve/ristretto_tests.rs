//! Decoding, multiplying and encoding in lanes against curve25519-dalek.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity as _, VartimeMultiscalarMul as _};
use proptest::prelude::*;

use super::{Kind, machine};
use crate::curve::affine::Affine;
use crate::curve::combine::{Sparse, combine};
use crate::curve::decode::decode;
use crate::curve::encode::double_and_encode;
use crate::curve::sum::{Factor, sum_of_products};
use crate::curve::times::times_secret;

/// A point that looks random, another for each `seed`.
pub(super) fn point(seed: u64) -> RistrettoPoint {
    let mut uniform = [0; 64];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut uniform);
    RistrettoPoint::from_uniform_bytes(&uniform)
}

pub(super) fn scalar(seed: u64) -> Scalar {
    let mut uniform = [0; 64];
    blake3::Hasher::new_keyed(&[1; 32])
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut uniform);
    Scalar::from_bytes_mod_order_wide(&uniform)
}

/// Points of dalek's as ones for lanes.
pub(super) fn affine(machine: Kind, points: &[RistrettoPoint]) -> Vec<Affine> {
    let encodings: Vec<[u8; 32]> = points.iter().map(|p| p.compress().to_bytes()).collect();
    decode(machine, &encodings).into_iter().flatten().collect()
}

/// The encodings of twice the points that lanes decode, `None` for what they refuse.
fn doubles_by_lanes(machine: Kind, encodings: &[[u8; 32]]) -> Vec<Option<[u8; 32]>> {
    let decoded = decode(machine, encodings);
    assert_eq!(decoded.len(), encodings.len());
    let points: Vec<Affine> = decoded
        .iter()
        .map(|p| p.unwrap_or(Affine::NEUTRAL))
        .collect();
    let doubles = double_and_encode(
        machine,
        &times_secret(machine, &points, Scalar::ONE.as_bytes()),
    );
    let both = decoded.iter().zip(doubles);
    both.map(|(point, (encoding, _))| point.map(|_| encoding))
        .collect()
}

/// The same by dalek.
fn double_by_dalek(encoding: &[u8; 32]) -> Option<[u8; 32]> {
    let point = CompressedRistretto(*encoding).decompress()?;
    (!point.is_identity()).then(|| (point + point).compress().to_bytes())
}

fn assert_decoded_alike(machine: Kind, encodings: &[[u8; 32]]) {
    let by_lanes = doubles_by_lanes(machine, encodings);
    for (encoding, double) in encodings.iter().zip(by_lanes) {
        assert_eq!(
            double,
            double_by_dalek(encoding),
            "{}",
            hex::encode(encoding)
        );
    }
}

/// Encodings at which decoders go wrong: of small and of non-canonical elements, of the negatives of both, and those that
/// RFC 9496, appendix A.2, lists.
fn edges() -> Vec<[u8; 32]> {
    let mut edges = Vec::new();
    for by in 0..40u8 {
        let mut small = [0; 32];
        small[0] = by;
        // 2^255 - 1 - by.
        let mut large = [0xff; 32];
        (large[0], large[31]) = (0xff - by, 0x7f);
        edges.extend([small, large]);
    }
    for bit in 0..256 {
        let mut one = [0u8; 32];
        one[bit / 8] = 1 << (bit % 8);
        edges.extend([one, one.map(|byte| !byte)]);
    }

    edges.extend(refused_by_the_source());
    let with_highest_bit = edges.iter().map(|bytes| {
        let mut set = *bytes;
        set[31] ^= 0x80;
        set
    });
    let all: Vec<[u8; 32]> = with_highest_bit.collect();
    edges.extend(all);
    edges
}

#[test]
fn edge_encodings_have_dalek_s_verdict() {
    let Some(machine) = machine() else { return };
    let edges = edges();
    assert_decoded_alike(machine, &edges);
    let accepted = edges
        .iter()
        .filter(|edge| double_by_dalek(edge).is_some())
        .count();
    assert!(accepted > 20 && accepted < edges.len() / 2, "{accepted}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_bytes_have_dalek_s_verdict(mut encodings in prop::collection::vec(any::<[u8; 32]>(), 0..80), is_even: bool) {
        let Some(machine) = machine() else { return Ok(()) };
        if is_even {
            // Else three of four are refused by the first and last byte alone.
            encodings.iter_mut().for_each(|e| { e[0] &= 0xfe; e[31] &= 0x7f; });
        }
        assert_decoded_alike(machine, &encodings);
    }

    #[test]
    fn encodings_of_points_decode_and_no_neighbour_differs(seed: u64, count in 1..40usize, at: usize, bit in 0..256usize) {
        let Some(machine) = machine() else { return Ok(()) };
        let mut encodings: Vec<[u8; 32]> = (0..count as u64).map(|n| point(seed ^ n).compress().to_bytes()).collect();
        prop_assert!(decode(machine, &encodings).iter().all(Option::is_some));
        encodings[at % count][bit / 8] ^= 1 << (bit % 8);
        assert_decoded_alike(machine, &encodings);
    }

    #[test]
    fn products_with_a_secret_are_dalek_s(seed: u64, count in 1..20usize, edge in 0..8usize) {
        let Some(machine) = machine() else { return Ok(()) };
        let points: Vec<RistrettoPoint> = (0..count as u64).map(|n| point(seed ^ n)).collect();
        let secret = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(u128::MAX), Scalar::ONE.div_by_2()]
            .get(edge).copied().unwrap_or_else(|| scalar(seed));
        let eights = times_secret(machine, &affine(machine, &points), secret.as_bytes());
        let encoded = double_and_encode(machine, &eights);
        prop_assert_eq!(encoded.len(), count.next_multiple_of(8));
        let again = double_and_encode(machine, &times_secret(machine, &encoded.iter().map(|(_, p)| *p).collect::<Vec<_>>(), Scalar::ONE.as_bytes()));
        for (at, (encoding, _)) in encoded.iter().enumerate() {
            let double = points.get(at).map_or_else(RistrettoPoint::default, |point| point * (secret + secret));
            prop_assert_eq!(*encoding, double.compress().to_bytes());
            // The point that comes with an encoding is the one it encodes.
            prop_assert_eq!(again[at].0, (double + double).compress().to_bytes());
        }
    }
}

/// Numbers at which digits carry, and one that looks random.
pub(super) fn any_scalar() -> impl Strategy<Value = Scalar> {
    let power = |bit: usize| {
        let mut bytes = [0; 32];
        bytes[bit / 8] = 1 << (bit % 8);
        Scalar::from_bytes_mod_order(bytes)
    };
    prop_oneof![
        Just(Scalar::ZERO),
        Just(Scalar::ONE),
        Just(-Scalar::ONE),
        (0..253usize).prop_map(power),
        (0..253usize).prop_map(move |bit| power(bit) - Scalar::ONE),
        any::<u64>().prop_map(scalar),
    ]
}

fn any_short() -> impl Strategy<Value = u128> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u128::MAX),
        (0..128u32).prop_map(|bit| 1 << bit),
        any::<u128>(),
    ]
}

fn any_factor() -> impl Strategy<Value = Factor> {
    prop_oneof![
        any_scalar().prop_map(|scalar| Factor::Full(scalar.to_bytes())),
        any_short().prop_map(Factor::Short),
    ]
}

fn scalar_of(factor: &Factor) -> Scalar {
    match factor {
        Factor::Short(number) => Scalar::from(*number),
        Factor::Full(bytes) => Scalar::from_canonical_bytes(*bytes).unwrap(),
    }
}

/// Checks the sum of the factors times different points, one of them twice and one beside its negative.
fn assert_summed_alike(machine: Kind, factors: &[Factor], seed: u64) {
    let mut points: Vec<RistrettoPoint> =
        (0..factors.len() as u64).map(|n| point(seed ^ n)).collect();
    if let [first, second, .., before_last, last] = points.as_mut_slice() {
        (*second, *last) = (*first, -*before_last);
    }
    let terms: Vec<(Factor, Affine)> = factors
        .iter()
        .copied()
        .zip(affine(machine, &points))
        .collect();
    let sum = sum_of_products(machine, &terms);
    let expected = RistrettoPoint::vartime_multiscalar_mul(factors.iter().map(scalar_of), &points);
    assert_eq!(sum.ristretto_encoding(), expected.compress().to_bytes());
    assert_eq!(sum.is_ristretto_identity(), expected.is_identity());
    // And with what takes the sum to the identity.
    if let [rest] = affine(machine, &[expected])[..] {
        let terms = [terms, vec![(Factor::Full((-Scalar::ONE).to_bytes()), rest)]].concat();
        let none = sum_of_products(machine, &terms);
        assert!(none.is_ristretto_identity());
        assert_eq!(none.ristretto_encoding(), [0; 32]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sums_with_narrow_digits_are_dalek_s(factors in prop::collection::vec(any_factor(), 0..60), seed: u64) {
        let Some(machine) = machine() else { return Ok(()) };
        assert_summed_alike(machine, &factors, seed);
    }

    #[test]
    fn small_and_full_coefficients_combine_as_by_dalek(
        small in prop::collection::vec(prop_oneof![any::<i64>(), -300..300i64], 1..8),
        full in prop::collection::vec(any_scalar(), 1..8),
        count in 1..20u64,
        seed: u64,
    ) {
        let Some(machine) = machine() else { return Ok(()) };
        let signed = |number: &i64| {
            let size = Scalar::from(number.unsigned_abs());
            if *number < 0 { -size } else { size }
        };
        let both = [
            (small.iter().map(signed).collect(), small.iter().map(|n| Sparse::of_small(*n)).collect()),
            (full.clone(), full.iter().map(|s| Sparse::of_scalar(s.as_bytes())).collect()),
        ];
        for (scalars, factors) in both {
            let (scalars, factors): (Vec<Scalar>, Vec<Sparse>) = (scalars, factors);
            let row = |at: u64| (0..count).map(|n| point(seed ^ at << 32 ^ n)).collect();
            let rows: Vec<Vec<RistrettoPoint>> = (0..scalars.len() as u64).map(row).collect();
            let own: Vec<Vec<Affine>> = rows.iter().map(|row| affine(machine, row)).collect();
            let own: Vec<&[Affine]> = own.iter().map(Vec::as_slice).collect();
            let sums = double_and_encode(machine, &combine(machine, &factors, &own));
            for (column, (encoding, _)) in sums.iter().take(count as usize).enumerate() {
                let points = rows.iter().map(|row| &row[column]);
                let sum = RistrettoPoint::vartime_multiscalar_mul(&scalars, points);
                prop_assert_eq!(*encoding, (sum + sum).compress().to_bytes());
            }
        }
    }
}

#[test]
fn sums_of_many_points_are_dalek_s() {
    let Some(machine) = machine() else { return };
    for count in [299, 300, 301, 517] {
        let factors: Vec<Factor> = (0..count)
            .map(|n| match n % 3 {
                0 => Factor::Short(scalar(n).as_bytes()[0].into()),
                1 => Factor::Short(u128::MAX - u128::from(n)),
                _ => Factor::Full(scalar(n).to_bytes()),
            })
            .collect();
        assert_summed_alike(machine, &factors, 7);
    }
}

#[test]
fn multiples_of_the_base_point_up_to_a_thousand_are_encoded_as_by_dalek() {
    let Some(machine) = machine() else { return };
    let mut multiples = vec![RISTRETTO_BASEPOINT_POINT];
    for _ in 0..1000 {
        multiples.push(multiples[multiples.len() - 1] + RISTRETTO_BASEPOINT_POINT);
    }
    let encodings: Vec<[u8; 32]> = multiples.iter().map(|p| p.compress().to_bytes()).collect();
    assert_decoded_alike(machine, &encodings);
}

#[test]
fn encodings_that_rfc_9496_calls_invalid_are_refused() {
    let Some(machine) = machine() else { return };
    assert!(
        decode(machine, &refused_by_the_source())
            .iter()
            .all(Option::is_none)
    );
}

fn refused_by_the_source() -> Vec<[u8; 32]> {
    let bytes = |text: &&str| hex::decode(text).unwrap().try_into().unwrap();
    REFUSED_BY_RFC_9496.iter().map(bytes).collect()
}

/// RFC 9496, appendix A.2.
const REFUSED_BY_RFC_9496: [&str; 29] = [
    // Not canonical.
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    // Negative.
    "0100000000000000000000000000000000000000000000000000000000000000",
    "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
    "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
    "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
    "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
    "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
    // x^2 is no square.
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
    "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
    "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
    "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
    "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
    "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
    "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
    // x y is negative.
    "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
    "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
    "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
    "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
    "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
    "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
    "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
    // s = -1: y is 0.
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
