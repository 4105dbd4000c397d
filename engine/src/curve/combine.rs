//! Sums of a few points, each times a number that is the same in many sums: a sum in each lane.
//!
//! This is how shares combine: the coefficient of an authority is the same for all entries of a batch. The doublings of
//! a sum serve all its points, and digits are sparse. Coefficients and points are public.
//!
//! Cost of eight sums of t points: for coefficients of b bits b doublings and t b / 3 additions; for scalars 253 doublings
//! and 50 t additions.

use pulp::NullaryFnOnce;

use super::affine::Affine;
use super::constants::{Constants, LaneConstants};
use super::eights::Eight;
use super::lanes::{LANES, Lanes, Machine};
use super::point::{Extended, ProjectiveNiels};

/// The sums over all of `factors` of factor times point, by eights; lanes behind the last sum hold the neutral point.
///
/// `points` has as many rows as there are factors, all of one length: a sum takes the points of one column. All factors are
/// of one width.
pub(crate) fn combine<M: Machine>(
    machine: M,
    factors: &[Sparse],
    points: &[&[Affine]],
) -> Vec<Eight<M>> {
    assert_eq!(factors.len(), points.len(), "a row for each factor");
    let count = points.first().map_or(0, |row| row.len());
    let constants = Constants::shared();
    let firsts = (0..count).step_by(LANES);
    firsts
        .map(|first| {
            machine.vectorize(Combine {
                machine,
                constants,
                factors,
                points,
                columns: first..count.min(first + LANES),
            })
        })
        .collect()
}

/// A number in radix 2 with digits that are 0 or odd.
pub(crate) struct Sparse {
    negative: bool,
    /// Least first; below 2^(width - 1) in absolute value, and of `width` neighbours at most one is not 0.
    digits: Vec<i8>,
    width: usize,
}

impl Sparse {
    /// For numbers so short that making multiples of the points does not pay.
    pub(crate) fn of_small(number: i64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.unsigned_abs().to_le_bytes());
        Self {
            negative: number < 0,
            ..Self::of_bytes(&bytes, 2)
        }
    }

    /// For scalars, little-endian and below 2^253.
    pub(crate) fn of_scalar(scalar: &[u8; 32]) -> Self {
        Self::of_bytes(scalar, 5)
    }

    fn of_bytes(bytes: &[u8; 32], width: usize) -> Self {
        let bit = |at: usize| {
            bytes
                .get(at / 8)
                .map_or(0, |byte| i32::from(byte >> (at % 8) & 1))
        };
        let mut digits = vec![0; 256 + width];
        let (mut at, mut carry) = (0, 0);
        while at < 256 {
            let window = (0..width).fold(carry, |sum, more| sum + (bit(at + more) << more));
            if window % 2 == 0 {
                at += 1;
                continue;
            }
            carry = i32::from(window >= 1 << (width - 1));
            // At most 2^(width - 1) in absolute value, of a width of 5 at most.
            digits[at] = (window - (carry << width)) as i8;
            at += width;
        }
        assert_eq!(carry, 0, "the number is below 2^255");
        let length = digits
            .iter()
            .rposition(|digit| *digit != 0)
            .map_or(0, |last| last + 1);
        digits.truncate(length);
        Self {
            negative: false,
            digits,
            width,
        }
    }
}

struct Combine<'a, M> {
    machine: M,
    constants: &'a Constants,
    factors: &'a [Sparse],
    points: &'a [&'a [Affine]],
    columns: std::ops::Range<usize>,
}

impl<M: Machine> NullaryFnOnce for Combine<'_, M> {
    type Output = Eight<M>;

    #[inline(always)]
    fn call(self) -> Eight<M> {
        let constants = self.constants.in_lanes(self.machine);
        let mut tables = Vec::with_capacity(self.factors.len());
        for (factor, row) in self.factors.iter().zip(self.points) {
            let points =
                Eight::<M>::from_affine(self.machine, &constants, &row[self.columns.clone()]);
            tables.push(odd_multiples(&constants, points, factor.width));
        }
        let length = self.factors.iter().map(|f| f.digits.len()).max();
        let mut sum = Eight::<M>::neutral(&constants);
        for place in (0..length.unwrap_or(0)).rev() {
            sum = sum.doubled_times(1);
            for (factor, table) in self.factors.iter().zip(&tables) {
                let digit = factor.digits.get(place).copied().unwrap_or(0);
                if digit == 0 {
                    continue;
                }
                let multiple = &table[usize::from(digit.unsigned_abs() / 2)];
                if (digit < 0) == factor.negative {
                    sum = sum.plus(multiple);
                } else {
                    sum = sum.plus(&multiple.negated(&constants));
                }
            }
        }
        sum
    }
}

/// 1, 3, .. 2^(width - 1) - 1 times the points.
#[inline(always)]
fn odd_multiples<L: Lanes>(
    constants: &LaneConstants<L>,
    points: Extended<L>,
    width: usize,
) -> Vec<ProjectiveNiels<L>> {
    let once = points.to_niels(constants.twice_d);
    let mut multiples = vec![once];
    if width > 2 {
        let twice = points.plus(&once);
        let step = twice.to_niels(constants.twice_d);
        let mut last = points;
        for _ in 1..1 << (width - 2) {
            last = last.plus(&step);
            multiples.push(last.to_niels(constants.twice_d));
        }
    }
    multiples
}
