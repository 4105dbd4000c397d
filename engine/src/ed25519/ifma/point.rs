//! Points of the twisted Edwards curve -x^2 + y^2 = 1 + d x^2 y^2, over one element or over lanes of elements.
//!
//! The formulas are those of Hisil, Wong, Carter and Dawson, Asiacrypt 2008, section 3.1 (a = -1, extended coordinates).
//! -1 is a square and d is not, so they are complete: they hold for any two points, equal, opposite, neutral or of small
//! order alike. Nothing here branches on a value.

use std::ops::{Add, Mul, Sub};

/// What the formulas need of a field.
pub(super) trait Field:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
}

impl<T: Copy + Add<Output = T> + Sub<Output = T> + Mul<Output = T>> Field for T {}

/// A point (x/z, y/z), with t = xy/z.
#[derive(Clone, Copy)]
pub(super) struct Extended<F> {
    pub(super) x: F,
    pub(super) y: F,
    pub(super) z: F,
    pub(super) t: F,
}

/// An affine point (x, y) prepared to be added: y + x, y - x and 2dxy.
///
/// Source: Bernstein et al., High-speed high-security signatures, 2011, section 4 (after Niels Duif).
#[derive(Clone, Copy)]
pub(super) struct AffineNiels<F> {
    pub(super) y_plus_x: F,
    pub(super) y_minus_x: F,
    pub(super) xy2d: F,
}

/// A point prepared to be added: y + x, y - x, z and 2dt of an extended one.
#[derive(Clone, Copy)]
pub(super) struct ProjectiveNiels<F> {
    y_plus_x: F,
    y_minus_x: F,
    z: F,
    t2d: F,
}

impl<F: Field> Extended<F> {
    /// Prepares the point to be added; `d2` is 2d.
    #[inline(always)]
    pub(super) fn to_niels(self, d2: F) -> ProjectiveNiels<F> {
        ProjectiveNiels {
            y_plus_x: self.y + self.x,
            y_minus_x: self.y - self.x,
            z: self.z,
            t2d: self.t * d2,
        }
    }

    /// Eight multiplications.
    #[inline(always)]
    pub(super) fn plus(self, other: &ProjectiveNiels<F>) -> Self {
        let a = (self.y - self.x) * other.y_minus_x;
        let b = (self.y + self.x) * other.y_plus_x;
        let c = self.t * other.t2d;
        let zz = self.z * other.z;
        Self::completed(a, b, c, zz + zz)
    }

    /// Seven multiplications.
    #[inline(always)]
    pub(super) fn plus_affine(self, other: &AffineNiels<F>) -> Self {
        let a = (self.y - self.x) * other.y_minus_x;
        let b = (self.y + self.x) * other.y_plus_x;
        let c = self.t * other.xy2d;
        Self::completed(a, b, c, self.z + self.z)
    }

    /// The second half of both additions; a, b, c, d as the source names them.
    #[inline(always)]
    fn completed(a: F, b: F, c: F, d: F) -> Self {
        let (e, f, g, h) = (b - a, d - c, d + c, b + a);
        Self {
            x: e * f,
            y: g * h,
            z: f * g,
            t: e * h,
        }
    }
}
