//! The group and its hashes: generators, framed transcripts, strict decoding of points and scalars.
//!
//! Each part of a transcript is preceded by its length, so no two lists of parts hash the same bytes: what moves
//! from one field to its neighbour changes the hash (a frame left out is how mauled ciphertexts come to verify).

use std::sync::LazyLock;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, Zeroizing};

use super::many::{Generator, Point, Way};

/// A group element with its encoding: decoding and encoding cost as much as a tenth of a multiplication, so both are
/// kept. Never the identity.
#[derive(Clone, Copy)]
pub struct EncodedPoint(Point);

impl EncodedPoint {
    /// Decodes strictly: `None` for an encoding that is not canonical and for the identity. About 4 us.
    pub fn decode(bytes: &[u8; 32]) -> Option<Self> {
        Way::Library.decode(&[*bytes]).remove(0).map(Self)
    }

    /// Decodes each as [`EncodedPoint::decode`] does, many in less time: 0.5 us each with AVX-512 IFMA.
    pub fn decode_all(encodings: &[[u8; 32]]) -> Vec<Option<Self>> {
        let decoded = Way::for_each_of(encodings.len()).decode(encodings);
        decoded.into_iter().map(|point| point.map(Self)).collect()
    }

    /// Encodes `point`; `None` for the identity.
    pub fn encode(point: RistrettoPoint) -> Option<Self> {
        let point = Point::encode(point);
        (!point.is_identity()).then_some(Self(point))
    }

    /// `None` for the identity.
    pub(super) fn new(point: Point) -> Option<Self> {
        (!point.is_identity()).then_some(Self(point))
    }

    /// The group element. Costs a decoding if the point was decoded together with many.
    pub fn point(&self) -> RistrettoPoint {
        self.0.library()
    }

    /// For operations on many.
    pub(super) const fn as_point(&self) -> &Point {
        &self.0
    }

    /// Whether it is `point`.
    pub(super) fn is(&self, point: &RistrettoPoint) -> bool {
        self.0.is(point)
    }

    /// Its one encoding.
    pub const fn bytes(&self) -> &[u8; 32] {
        self.0.encoding()
    }
}

impl PartialEq for EncodedPoint {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for EncodedPoint {}

impl std::fmt::Debug for EncodedPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncodedPoint({})", hex::encode(&self.bytes()[..4]))
    }
}

/// A hash over a tag and framed parts. For secret parts, finish with [`Transcript::secret_scalar`] or
/// [`Transcript::secret_key`], which erase the state.
pub(crate) struct Transcript {
    hasher: blake3::Hasher,
}

impl Transcript {
    /// Starts a hash of its own for `tag`, which no other use may have.
    pub(crate) fn new(tag: &str) -> Self {
        Self {
            hasher: blake3::Hasher::new_derive_key(tag),
        }
    }

    /// Adds one part with its length.
    pub(crate) fn part(mut self, bytes: &[u8]) -> Self {
        self.hasher.update(&(bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
        self
    }

    /// Adds each part with its length.
    pub(crate) fn parts<'a>(self, parts: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        parts.into_iter().fold(self, |hash, part| hash.part(part))
    }

    /// The first 32 bytes.
    pub(crate) fn hash(self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// As many bytes as are read.
    pub(crate) fn stream(self) -> blake3::OutputReader {
        self.hasher.finalize_xof()
    }

    /// 64 bytes reduced modulo the group order: uniform to within 2^-259.
    pub(crate) fn scalar(self) -> Scalar {
        let mut wide = [0u8; 64];
        self.hasher.finalize_xof().fill(&mut wide);
        Scalar::from_bytes_mod_order_wide(&wide)
    }

    /// As [`Transcript::scalar`], with the state erased.
    pub(crate) fn secret_scalar(mut self) -> Zeroizing<Scalar> {
        let mut wide = Zeroizing::new([0u8; 64]);
        let mut reader = self.hasher.finalize_xof();
        reader.fill(wide.as_mut());
        reader.zeroize();
        self.hasher.zeroize();
        Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
    }

    /// As [`Transcript::hash`], with the state erased.
    pub(crate) fn secret_key(mut self) -> Zeroizing<[u8; 32]> {
        let key = Zeroizing::new(*self.hasher.finalize().as_bytes());
        self.hasher.zeroize();
        key
    }
}

/// The next 128-bit weight of a random linear combination.
pub(super) fn next_weight(stream: &mut blake3::OutputReader) -> u128 {
    let mut bytes = [0u8; 16];
    stream.fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// Decodes a scalar strictly: `None` unless below the group order.
pub(crate) fn decode_scalar(bytes: &[u8; 32]) -> Option<Scalar> {
    Scalar::from_canonical_bytes(*bytes).into_option()
}

/// The generator g, with multiples for constant-time multiplication.
pub(crate) fn base_generator() -> &'static Generator {
    static BASE: LazyLock<Generator> = LazyLock::new(Generator::base);
    &BASE
}

/// The second generator g2, whose logarithm to base g nobody knows, with multiples for constant-time multiplication.
pub(super) fn second_generator() -> &'static Generator {
    static SECOND: LazyLock<Generator> = LazyLock::new(|| {
        let mut uniform = [0u8; 64];
        Transcript::new(TAG_SECOND_GENERATOR)
            .stream()
            .fill(&mut uniform);
        Generator::new(RistrettoPoint::from_uniform_bytes(&uniform))
    });
    &SECOND
}

const TAG_SECOND_GENERATOR: &str = "fairlane/1/second-generator";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_generator_is_this_point() {
        assert_eq!(
            hex::encode(second_generator().library().compress().to_bytes()),
            "024712c995fecbe15818d878e9190b3e3402cd801c14288afe1db8e3874cc473"
        );
    }

    #[test]
    fn bytes_that_move_between_parts_change_the_hash() {
        let split = |at: usize| {
            Transcript::new("test/frame")
                .part(&b"abcd"[..at])
                .part(&b"abcd"[at..])
                .hash()
        };
        assert_ne!(split(1), split(2));
        assert_ne!(split(0), Transcript::new("test/frame").part(b"abcd").hash());
    }

    #[test]
    fn tags_separate_and_secret_endings_agree_with_plain_ones() {
        let hash = |tag| Transcript::new(tag).part(b"x");
        assert_ne!(hash("test/a").hash(), hash("test/b").hash());
        assert_eq!(hash("test/a").hash(), *hash("test/a").secret_key());
        assert_eq!(hash("test/a").scalar(), *hash("test/a").secret_scalar());
    }

    #[test]
    fn identity_and_non_canonical_points_are_refused() {
        assert!(EncodedPoint::decode(&[0; 32]).is_none(), "identity");
        assert!(EncodedPoint::encode(RistrettoPoint::default()).is_none());
        // From RFC 9496, appendix A.2: a field element above p, a negative one, and one that is no square.
        for bad in [
            "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
        ] {
            let bytes: [u8; 32] = hex::decode(bad).unwrap().try_into().unwrap();
            assert!(EncodedPoint::decode(&bytes).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_scalar_at_or_above_the_order_is_refused() {
        let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let mut bytes: [u8; 32] = hex::decode(order).unwrap().try_into().unwrap();
        assert!(decode_scalar(&bytes).is_none());
        bytes[0] -= 1;
        assert!(decode_scalar(&bytes).is_some());
        assert!(decode_scalar(&[0xff; 32]).is_none());
    }
}
