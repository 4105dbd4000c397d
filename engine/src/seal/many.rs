//! Operations on many points: eight at a time where the machine has the instructions, else one by one by the library.
//!
//! Both ways give the same results, byte for byte and verdict for verdict; only their speed differs, so which one is taken
//! may depend on the machine and on how many points there are. A multiplication by a secret is in constant time both ways.

#[cfg(feature = "bench")]
pub mod forced;
mod generator;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod library;
#[cfg(test)]
mod tests;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;

pub(crate) use self::generator::{Generator, double_fixed_products};
use super::lagrange::Coefficients;
#[cfg(target_arch = "x86_64")]
use crate::curve::{affine::Affine, avx2::Avx2, field::Element, ifma::Ifma, point::Extended};

/// A group element, perhaps the identity, with its encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    encoding: [u8; 32],
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Library(RistrettoPoint),
    #[cfg(target_arch = "x86_64")]
    Lanes(Affine),
}

impl Point {
    pub(super) fn encode(point: RistrettoPoint) -> Self {
        Self {
            encoding: point.compress().to_bytes(),
            form: Form::Library(point),
        }
    }

    pub(super) const fn encoding(&self) -> &[u8; 32] {
        &self.encoding
    }

    pub(super) fn is_identity(&self) -> bool {
        self.encoding == [0; 32]
    }

    /// As the library has it. Costs a decoding if lanes made the point.
    pub(super) fn library(&self) -> RistrettoPoint {
        match self.form {
            Form::Library(point) => point,
            #[cfg(target_arch = "x86_64")]
            Form::Lanes(_) => CompressedRistretto(self.encoding)
                .decompress()
                .expect("a point's own encoding decodes"),
        }
    }

    /// Whether it is `point`.
    pub(super) fn is(&self, point: &RistrettoPoint) -> bool {
        match self.form {
            Form::Library(own) => own == *point,
            #[cfg(target_arch = "x86_64")]
            Form::Lanes(_) => self.encoding == point.compress().to_bytes(),
        }
    }
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        self.encoding == other.encoding
    }
}

impl Eq for Point {}

/// `point`, which is not the identity, in the form that sums take fastest.
fn prepared(point: RistrettoPoint) -> Point {
    let encoding = point.compress().to_bytes();
    let decoded = Way::best().decode(&[encoding]).remove(0);
    decoded.expect("a point's encoding decodes")
}

/// What a point is multiplied by, in a sum of many. Public.
#[derive(Clone, Copy, Debug)]
pub(super) enum Factor {
    /// Half the work.
    Short(u128),
    Full(Scalar),
}

/// How operations are done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Library,
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Way {
    /// The fastest way for large numbers of points that the machine has.
    pub(super) fn best() -> Self {
        #[cfg(feature = "bench")]
        if let Some(way) = forced::chosen() {
            return way;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = Ifma::try_new() {
            return Self::Ifma(ifma);
        } else if let Some(avx2) = Avx2::try_new() {
            return Self::Avx2(avx2);
        }
        Self::Library
    }

    /// All that the machine has, the portable one first.
    #[cfg(any(test, feature = "bench"))]
    fn all() -> Vec<Self> {
        let mut all = vec![Self::Library];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Ifma::try_new().map(Self::Ifma));
            all.extend(Avx2::try_new().map(Self::Avx2));
        }
        all
    }

    #[cfg(feature = "bench")]
    const fn name(self) -> &'static str {
        match self {
            Self::Library => "library",
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(_) => "ifma",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
        }
    }

    /// The fastest way to decode or multiply `points`.
    pub(super) fn for_each_of(points: usize) -> Self {
        Self::best().or_library(points, |way| way.pays_from().points)
    }

    /// The fastest way for a sum of `terms`; to be taken for the decoding of its points, too.
    pub(super) fn for_sum_of(terms: usize) -> Self {
        Self::best().or_library(terms, |way| way.pays_from().terms)
    }

    fn or_library(self, count: usize, least: impl Fn(Self) -> usize) -> Self {
        if count < least(self) {
            Self::Library
        } else {
            self
        }
    }

    /// From how many on this way is faster than the library.
    const fn pays_from(self) -> PaysFrom {
        match self {
            Self::Library => PaysFrom {
                points: 0,
                terms: 0,
            },
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(_) => IFMA_PAYS_FROM,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => AVX2_PAYS_FROM,
        }
    }

    /// Decodes each strictly; `None` for what is not canonical and for the identity.
    pub(super) fn decode(self, encodings: &[[u8; 32]]) -> Vec<Option<Point>> {
        match self {
            Self::Library => library::decode(encodings),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(ifma) => lanes::decode(ifma, encodings),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => lanes::decode(avx2, encodings),
        }
    }

    /// 2 `secret` times each point, in constant time; to halve the secret is cheaper than to encode its multiples.
    pub(super) fn double_products<'a>(
        self,
        points: impl ExactSizeIterator<Item = &'a Point>,
        secret: &Scalar,
    ) -> Vec<Point> {
        match self {
            Self::Library => library::double_products(points, secret),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(ifma) => lanes::double_products(ifma, points, secret),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => lanes::double_products(avx2, points, secret),
        }
    }

    /// For each column of `rows` twice the sum of coefficient times point; a row for each coefficient, all of one length.
    pub(super) fn double_combinations(
        self,
        coefficients: &Coefficients,
        rows: &[&[Point]],
    ) -> Vec<Point> {
        match self {
            Self::Library => library::double_combinations(coefficients, rows),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(ifma) => lanes::double_combinations(ifma, coefficients, rows),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => lanes::double_combinations(avx2, coefficients, rows),
        }
    }

    /// The sum of the products.
    pub(super) fn sum(self, terms: &[(Factor, &Point)]) -> Sum {
        match self {
            Self::Library => Sum::Library(library::sum(terms)),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(ifma) => Sum::Lanes(lanes::sum(ifma, terms)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => Sum::Lanes(lanes::sum(avx2, terms)),
        }
    }
}

/// What a sum came to.
pub(super) enum Sum {
    Library(RistrettoPoint),
    #[cfg(target_arch = "x86_64")]
    Lanes(Extended<Element>),
}

impl Sum {
    pub(super) fn is_identity(&self) -> bool {
        match self {
            Self::Library(point) => point.is_identity(),
            #[cfg(target_arch = "x86_64")]
            Self::Lanes(point) => point.is_ristretto_identity(),
        }
    }

    /// As the library has it, with its encoding.
    pub(super) fn point(&self) -> Point {
        match self {
            Self::Library(point) => Point::encode(*point),
            #[cfg(target_arch = "x86_64")]
            Self::Lanes(point) => {
                let encoding = point.ristretto_encoding();
                let point = CompressedRistretto(encoding).decompress();
                Point {
                    encoding,
                    form: Form::Library(point.expect("what was just encoded decodes")),
                }
            }
        }
    }
}

/// So many points pay for the lanes that stay empty, and so many terms for the doublings that a sum in lanes takes however few
/// there are.
struct PaysFrom {
    points: usize,
    terms: usize,
}

/// Bench `seal_ways`, native flags: one to eight decodings take 7 us in lanes and 4.2 us each by the library, so two are
/// enough; one to eight multiplications take 42 to 46 us in lanes and 21, 40, 56, .. us by the library, so it takes three. With
/// decoding included, six points and a generator take 69 us in lanes and 56 us by the library, eight 69 and 70, twelve 72
/// and 92. A library without AVX-512 is slower, and is overtaken no later.
#[cfg(target_arch = "x86_64")]
const IFMA_PAYS_FROM: PaysFrom = PaysFrom {
    points: 3,
    terms: 8,
};

/// The same bench compiled for x86-64-v3: four multiplications take 170 us in lanes and 140 us by the library, six 200 and
/// 217, eight 195 and 270. With decoding included, sixteen points and a generator take 231 us in lanes and 182 us by the
/// library, 24 280 and 274, and each further one 6 and 11.
#[cfg(target_arch = "x86_64")]
const AVX2_PAYS_FROM: PaysFrom = PaysFrom {
    points: 6,
    terms: 32,
};
