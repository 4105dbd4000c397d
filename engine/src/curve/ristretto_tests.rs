//! Decoding, multiplying and encoding in lanes against curve25519-dalek.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use proptest::prelude::*;

use super::affine::Affine;
use super::decode::decode;
use super::encode::double_and_encode;
use super::lanes::Ifma;
use super::tests::ifma;
use super::times::times_secret;

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
pub(super) fn affine(ifma: Ifma, points: &[RistrettoPoint]) -> Vec<Affine> {
    let encodings: Vec<[u8; 32]> = points.iter().map(|p| p.compress().to_bytes()).collect();
    let decoded = decode(ifma, &encodings).into_iter();
    decoded
        .map(|p| p.expect("no identity among them"))
        .collect()
}

/// The encodings of twice the points that lanes decode, `None` for what they refuse.
fn doubles_by_lanes(ifma: Ifma, encodings: &[[u8; 32]]) -> Vec<Option<[u8; 32]>> {
    let decoded = decode(ifma, encodings);
    assert_eq!(decoded.len(), encodings.len());
    let points: Vec<Affine> = decoded
        .iter()
        .map(|p| p.unwrap_or(Affine::NEUTRAL))
        .collect();
    let doubles = double_and_encode(ifma, &times_secret(ifma, &points, Scalar::ONE.as_bytes()));
    let both = decoded.iter().zip(doubles);
    both.map(|(point, (encoding, _))| point.map(|_| encoding))
        .collect()
}

/// The same by dalek.
fn double_by_dalek(encoding: &[u8; 32]) -> Option<[u8; 32]> {
    let point = CompressedRistretto(*encoding).decompress()?;
    (!point.is_identity()).then(|| (point + point).compress().to_bytes())
}

fn assert_decoded_alike(ifma: Ifma, encodings: &[[u8; 32]]) {
    let by_lanes = doubles_by_lanes(ifma, encodings);
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
    let Some(ifma) = ifma() else { return };
    let edges = edges();
    assert_decoded_alike(ifma, &edges);
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
        let Some(ifma) = ifma() else { return Ok(()) };
        if is_even {
            // Else three of four are refused by the first and last byte alone.
            encodings.iter_mut().for_each(|e| { e[0] &= 0xfe; e[31] &= 0x7f; });
        }
        assert_decoded_alike(ifma, &encodings);
    }

    #[test]
    fn encodings_of_points_decode_and_no_neighbour_differs(seed: u64, count in 1..40usize, at: usize, bit in 0..256usize) {
        let Some(ifma) = ifma() else { return Ok(()) };
        let mut encodings: Vec<[u8; 32]> = (0..count as u64).map(|n| point(seed ^ n).compress().to_bytes()).collect();
        prop_assert!(decode(ifma, &encodings).iter().all(Option::is_some));
        encodings[at % count][bit / 8] ^= 1 << (bit % 8);
        assert_decoded_alike(ifma, &encodings);
    }

    #[test]
    fn products_with_a_secret_are_dalek_s(seed: u64, count in 1..20usize, edge in 0..8usize) {
        let Some(ifma) = ifma() else { return Ok(()) };
        let points: Vec<RistrettoPoint> = (0..count as u64).map(|n| point(seed ^ n)).collect();
        let secret = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(u128::MAX), Scalar::ONE.div_by_2()]
            .get(edge).copied().unwrap_or_else(|| scalar(seed));
        let eights = times_secret(ifma, &affine(ifma, &points), secret.as_bytes());
        let encoded = double_and_encode(ifma, &eights);
        prop_assert_eq!(encoded.len(), count.next_multiple_of(8));
        let again = double_and_encode(ifma, &times_secret(ifma, &encoded.iter().map(|(_, p)| *p).collect::<Vec<_>>(), Scalar::ONE.as_bytes()));
        for (at, (encoding, _)) in encoded.iter().enumerate() {
            let double = points.get(at).map_or_else(RistrettoPoint::default, |point| point * (secret + secret));
            prop_assert_eq!(*encoding, double.compress().to_bytes());
            // The point that comes with an encoding is the one it encodes.
            prop_assert_eq!(again[at].0, (double + double).compress().to_bytes());
        }
    }
}

#[test]
fn multiples_of_the_base_point_up_to_a_thousand_are_encoded_as_by_dalek() {
    let Some(ifma) = ifma() else { return };
    let mut multiples = vec![RISTRETTO_BASEPOINT_POINT];
    for _ in 0..1000 {
        multiples.push(multiples[multiples.len() - 1] + RISTRETTO_BASEPOINT_POINT);
    }
    let encodings: Vec<[u8; 32]> = multiples.iter().map(|p| p.compress().to_bytes()).collect();
    assert_decoded_alike(ifma, &encodings);
}

#[test]
fn encodings_that_rfc_9496_calls_invalid_are_refused() {
    let Some(ifma) = ifma() else { return };
    assert!(
        decode(ifma, &refused_by_the_source())
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
