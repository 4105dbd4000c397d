//! Each way by itself, whatever the number of points: for the bench from which the constants of [`super`] are, and for nothing
//! else.

use std::sync::OnceLock;

use curve25519_dalek::scalar::Scalar;

use super::{Factor, Point, Way};
use crate::seal::group::base_generator;

/// One way.
#[derive(Clone, Copy, Debug)]
pub struct Forced(Way);

/// Instead of the best way, if one was chosen.
pub(super) fn chosen() -> Option<Way> {
    CHOSEN.get().copied()
}

static CHOSEN: OnceLock<Way> = OnceLock::new();

/// Points in the form of one way.
#[derive(Debug)]
pub struct Decoded(Vec<Point>);

impl Forced {
    /// All that this machine has, the portable one first, with their names.
    pub fn all() -> Vec<(&'static str, Self)> {
        let ways = Way::all().into_iter();
        ways.map(|way| (way.name(), Self(way))).collect()
    }

    /// Takes the way of this name for the best one in all that this process does from now on; before anything else is done,
    /// as tables are made once. Says whether the machine has it and none was chosen before.
    pub fn choose(name: &str) -> bool {
        let way = Way::all().into_iter().find(|way| way.name() == name);
        way.is_some_and(|way| CHOSEN.set(way).is_ok())
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
