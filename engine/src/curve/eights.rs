//! Eight points in lanes: what the formulas that hold for any field leave out.

use zeroize::Zeroize;

use super::affine::Affine;
use super::constants::LaneConstants;
use super::lanes::{Lanes, Machine, Packed, Sum as _};
use super::point::{AffineNiels, Extended, ProjectiveNiels};

/// Eight points.
pub(crate) type Eight<M> = Extended<<M as Machine>::Lanes>;

impl<L: Lanes> Extended<L> {
    /// At most eight, a lane each; lanes without a point get the neutral one.
    #[inline(always)]
    pub(crate) fn from_affine(
        machine: L::Machine,
        constants: &LaneConstants<L>,
        points: &[Affine],
    ) -> Self {
        let (x, y) = Affine::to_lanes::<L>(machine, points);
        Self {
            x,
            y,
            z: constants.one,
            t: x * y,
        }
    }

    /// The neutral point in all lanes.
    #[inline(always)]
    pub(crate) fn neutral(constants: &LaneConstants<L>) -> Self {
        Self {
            x: constants.zero,
            y: constants.one,
            z: constants.one,
            t: constants.zero,
        }
    }

    /// In lanes of `mask` the point of `other`.
    #[inline(always)]
    pub(crate) fn replaced_where(self, mask: u8, other: &Self) -> Self {
        Self {
            x: self.x.replaced_where(mask, &other.x),
            y: self.y.replaced_where(mask, &other.y),
            z: self.z.replaced_where(mask, &other.z),
            t: self.t.replaced_where(mask, &other.t),
        }
    }

    /// Each lane's point, for lane `from[i]` in lane i.
    #[inline(always)]
    pub(crate) fn permuted(self, from: [i64; 8]) -> Self {
        Self {
            x: self.x.permuted(from),
            y: self.y.permuted(from),
            z: self.z.permuted(from),
            t: self.t.permuted(from),
        }
    }

    /// 2^`count` times these, for a `count` of 1 or more: four squarings and three multiplications each, and one
    /// multiplication for t, which none of the doublings needs.
    #[inline(always)]
    pub(crate) fn doubled_times(self, count: u32) -> Self {
        let mut point = self;
        for _ in 1..count {
            point = point.projective_doubled(false);
        }
        point.projective_doubled(true)
    }

    /// Source: Hisil et al., as in `point.rs`, section 3.3; e, f, g and h here are the negatives of those there, which changes
    /// none of the products and saves subtractions. Without `with_t` the old t stays, which is wrong.
    #[inline(always)]
    fn projective_doubled(self, with_t: bool) -> Self {
        let (a, b, c) = (self.x.square(), self.y.square(), self.z.square());
        let s = (self.x + self.y).square();
        let e = a.sum().plus(b).minus(s).as_factor();
        let f = a.sum().minus(b).plus(c).plus(c).carried();
        let (g, h) = (a.difference_as_factor(b), a + b);
        Self {
            x: e * f,
            y: g * h,
            z: f * g,
            t: if with_t { e * h } else { self.t },
        }
    }
}

impl<L: Lanes> Zeroize for Extended<L> {
    fn zeroize(&mut self) {
        for lanes in [&mut self.x, &mut self.y, &mut self.z, &mut self.t] {
            lanes.zeroize();
        }
    }
}

impl<L: Lanes> AffineNiels<L> {
    /// Of points (x, y).
    #[inline(always)]
    pub(crate) fn of(constants: &LaneConstants<L>, x: L, y: L) -> Self {
        Self {
            y_plus_x: (y + x).entry(),
            y_minus_x: (y - x).entry(),
            xy2d: (x * y * constants.twice_d).entry(),
        }
    }
}

impl<L: Lanes> ProjectiveNiels<L> {
    /// The neutral point in all lanes.
    #[inline(always)]
    pub(crate) fn neutral(constants: &LaneConstants<L>) -> Self {
        Self {
            y_plus_x: constants.one,
            y_minus_x: constants.one,
            twice_z: constants.one + constants.one,
            t2d: constants.zero,
        }
    }

    /// As tables keep them.
    #[inline(always)]
    pub(crate) fn packed(self) -> ProjectiveNiels<L::Packed> {
        ProjectiveNiels {
            y_plus_x: self.y_plus_x.packed(),
            y_minus_x: self.y_minus_x.packed(),
            twice_z: self.twice_z.packed(),
            t2d: self.t2d.packed(),
        }
    }

    /// What was packed.
    #[inline(always)]
    pub(crate) fn unpacked(packed: ProjectiveNiels<L::Packed>) -> Self {
        Self {
            y_plus_x: L::unpacked(packed.y_plus_x),
            y_minus_x: L::unpacked(packed.y_minus_x),
            twice_z: L::unpacked(packed.twice_z),
            t2d: L::unpacked(packed.t2d),
        }
    }

    /// The negatives, (-x, y).
    #[inline(always)]
    pub(crate) fn negated(self, constants: &LaneConstants<L>) -> Self {
        Self {
            y_plus_x: self.y_minus_x,
            y_minus_x: self.y_plus_x,
            t2d: constants.zero - self.t2d,
            ..self
        }
    }

    /// In lanes of `mask` the negative.
    #[inline(always)]
    pub(crate) fn negated_where(self, constants: &LaneConstants<L>, mask: u8) -> Self {
        let negative = constants.zero - self.t2d;
        Self {
            y_plus_x: self.y_plus_x.replaced_where(mask, &self.y_minus_x),
            y_minus_x: self.y_minus_x.replaced_where(mask, &self.y_plus_x),
            t2d: self.t2d.replaced_where(mask, &negative),
            ..self
        }
    }
}

impl<P: Packed> ProjectiveNiels<P> {
    /// In lanes of `mask` the point of `other`.
    #[inline(always)]
    pub(crate) fn changed_where(self, mask: u8, other: &Self) -> Self {
        Self {
            y_plus_x: self.y_plus_x.changed_where(mask, &other.y_plus_x),
            y_minus_x: self.y_minus_x.changed_where(mask, &other.y_minus_x),
            twice_z: self.twice_z.changed_where(mask, &other.twice_z),
            t2d: self.t2d.changed_where(mask, &other.t2d),
        }
    }
}

/// Where lanes take what they add, to add up all eight: from four, two, one lanes further, round about.
pub(crate) const HALVINGS: [[i64; 8]; 3] = [
    [4, 5, 6, 7, 0, 1, 2, 3],
    [2, 3, 4, 5, 6, 7, 0, 1],
    [1, 2, 3, 4, 5, 6, 7, 0],
];
