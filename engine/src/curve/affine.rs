//! Points as they are kept between operations on many: affine, outside of vectors.

use zeroize::Zeroize;

use super::lanes::{LANES, Lanes};

/// A point (x, y), each as the limbs of its canonical representation. Of a ristretto255 element, any point of its coset.
#[derive(Clone, Copy, Debug, Zeroize)]
pub(crate) struct Affine {
    x: Limbs,
    y: Limbs,
}

type Limbs = [u64; 5];

impl Affine {
    /// The neutral point.
    pub(crate) const NEUTRAL: Self = Self {
        x: [0; 5],
        y: [1, 0, 0, 0, 0],
    };

    /// The points of all lanes, from x and y in canonical representation.
    pub(crate) fn from_lanes<L: Lanes>(x: L, y: L) -> [Self; LANES] {
        let (x, y) = (x.columns(), y.columns());
        std::array::from_fn(|lane| Self {
            x: std::array::from_fn(|limb| x[limb][lane]),
            y: std::array::from_fn(|limb| y[limb][lane]),
        })
    }

    /// x and y of at most eight points, a lane each; lanes without one get the neutral point.
    pub(crate) fn to_lanes<L: Lanes>(machine: L::Machine, points: &[Self]) -> (L, L) {
        let (mut x, mut y) = ([[0; LANES]; 5], [[0; LANES]; 5]);
        for lane in 0..LANES {
            let point = points.get(lane).unwrap_or(&Self::NEUTRAL);
            for limb in 0..5 {
                (x[limb][lane], y[limb][lane]) = (point.x[limb], point.y[limb]);
            }
        }
        (L::from_columns(machine, x), L::from_columns(machine, y))
    }
}
