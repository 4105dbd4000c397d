//! Points of the twisted Edwards curve -x^2 + y^2 = 1 + d x^2 y^2, over one element or over lanes of elements.
//!
//! The formulas are those of Hisil, Wong, Carter and Dawson, Asiacrypt 2008, section 3.1 (a = -1, extended coordinates).
//! -1 is a square and d is not, so they are complete: they hold for any two points, equal, opposite, neutral or of small
//! order alike. Nothing here branches on a value.

use std::ops::{Add, Mul, Sub};

/// What the formulas need of a field.
pub(crate) trait Field:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// The sum of two carried elements, to be multiplied by something carried and for nothing else: some need not carry it
    /// for that.
    #[inline(always)]
    fn sum_as_factor(self, other: Self) -> Self {
        self + other
    }

    /// The difference, likewise.
    #[inline(always)]
    fn difference_as_factor(self, other: Self) -> Self {
        self - other
    }
}

/// A point (x/z, y/z), with t = xy/z.
#[derive(Clone, Copy)]
pub(crate) struct Extended<F> {
    pub(crate) x: F,
    pub(crate) y: F,
    pub(crate) z: F,
    pub(crate) t: F,
}

/// An affine point (x, y) prepared to be added: y + x, y - x and 2dxy.
///
/// Source: Bernstein et al., High-speed high-security signatures, 2011, section 4 (after Niels Duif).
#[derive(Clone, Copy)]
pub(crate) struct AffineNiels<F> {
    pub(crate) y_plus_x: F,
    pub(crate) y_minus_x: F,
    pub(crate) xy2d: F,
}

/// A point prepared to be added: y + x, y - x, 2z and 2dt of an extended one.
#[derive(Clone, Copy)]
pub(crate) struct ProjectiveNiels<F> {
    pub(crate) y_plus_x: F,
    pub(crate) y_minus_x: F,
    pub(crate) twice_z: F,
    pub(crate) t2d: F,
}

impl<F: Field> Extended<F> {
    /// Prepares the point to be added, and for nothing else; `d2` is 2d.
    #[inline(always)]
    pub(crate) fn to_niels(self, d2: F) -> ProjectiveNiels<F> {
        ProjectiveNiels {
            y_plus_x: self.y + self.x,
            y_minus_x: self.y - self.x,
            twice_z: self.z.sum_as_factor(self.z),
            t2d: self.t * d2,
        }
    }

    /// Eight multiplications.
    #[inline(always)]
    pub(crate) fn plus(self, other: &ProjectiveNiels<F>) -> Self {
        let a = self.y.difference_as_factor(self.x) * other.y_minus_x;
        let b = self.y.sum_as_factor(self.x) * other.y_plus_x;
        let c = self.t * other.t2d;
        let d = self.z * other.twice_z;
        Self::completed(a, b, c, d)
    }

    /// Seven multiplications.
    #[inline(always)]
    pub(crate) fn plus_affine(self, other: &AffineNiels<F>) -> Self {
        let a = self.y.difference_as_factor(self.x) * other.y_minus_x;
        let b = self.y.sum_as_factor(self.x) * other.y_plus_x;
        let c = self.t * other.xy2d;
        Self::completed(a, b, c, self.z + self.z)
    }

    /// The second half of both additions; a, b, c, d, all carried, as the source names them.
    #[inline(always)]
    fn completed(a: F, b: F, c: F, d: F) -> Self {
        // Of each two that are multiplied below, one is carried.
        let (e, g) = (b.difference_as_factor(a), d.sum_as_factor(c));
        let (f, h) = (d - c, b + a);
        Self {
            x: e * f,
            y: g * h,
            z: f * g,
            t: e * h,
        }
    }
}
