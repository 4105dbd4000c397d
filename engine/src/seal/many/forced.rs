//! Each way by itself, whatever the number of points: for the bench from which the constants of [`super`] are, and for nothing
//! else.

use curve25519_dalek::scalar::Scalar;

use super::{Factor, Point, Way};
use crate::seal::group::base_generator;

/// One way.
#[derive(Clone, Copy, Debug)]
pub struct Forced(Way);

/// Points in the form of one way.
#[derive(Debug)]
pub struct Decoded(Vec<Point>);

impl Forced {
    /// All that this machine has, the portable one first, with their names.
    pub fn all() -> Vec<(&'static str, Self)> {
        let mut all = vec![("library", Self(Way::Library))];
        if !matches!(Way::best(), Way::Library) {
            all.push(("lanes", Self(Way::best())));
        }
        all
    }

    /// The points; what encodes none is left out.
    pub fn decode(self, encodings: &[[u8; 32]]) -> Decoded {
        Decoded(self.0.decode(encodings).into_iter().flatten().collect())
    }

    /// Twice `secret` times each point, as an authority makes its shares.
    pub fn multiply(self, points: &Decoded, secret: &Scalar) -> Decoded {
        Decoded(self.0.double_products(points.0.iter(), secret))
    }

    /// Whether the points, each decoded and multiplied, half of them by short numbers, and the base point add up to the
    /// identity: as envelopes and reveals are checked.
    pub fn check(self, encodings: &[[u8; 32]], scalar: &Scalar) -> bool {
        let points = self.decode(encodings);
        let short = u128::from_le_bytes(*scalar.as_bytes().first_chunk().expect("32 bytes"));
        let factors = [Factor::Short(short), Factor::Full(*scalar)]
            .into_iter()
            .cycle();
        let mut terms: Vec<(Factor, &Point)> = factors.zip(&points.0).collect();
        let base = base_generator().point_for(self.0);
        terms.push((Factor::Full(*scalar), &base));
        self.0.sum(&terms).is_identity()
    }
}
