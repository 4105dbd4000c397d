//! Many points times one secret scalar, eight at a time.
//!
//! 64 signed digits of radix 16, the same for all lanes; for each, four doublings and one addition of an entry of a table
//! of one to eight times the points. No branch and no address depends on the scalar: an entry is chosen by going through all
//! of them and keeping one by mask, a negative digit by keeping the negative by mask, and a zero adds the neutral point by
//! the same formulas. The points are public. The digits are erased at the end; what the registers and the stack held of
//! them is not.
//!
//! Cost of eight: 260 doublings and 71 additions of lanes, and 512 choices of an entry.

use std::hint::black_box;

use pulp::NullaryFnOnce;

use super::affine::Affine;
use super::constants::{Constants, LaneConstants};
use super::digits::{PLACES, secret_digits};
use super::eights::Eight;
use super::lanes::{LANES, Lanes, Machine};
use super::point::{Extended, ProjectiveNiels};

/// `secret` times each of `points`, by eights in their order; lanes behind the last point hold the neutral one.
///
/// `secret` is little-endian and below 2^254.
pub(crate) fn times_secret<M: Machine>(
    machine: M,
    points: &[Affine],
    secret: &[u8; 32],
) -> Vec<Eight<M>> {
    let digits = secret_digits(secret);
    let constants = Constants::shared();
    let eights = points.chunks(LANES);
    eights
        .map(|points| {
            machine.vectorize(TimesSecret {
                machine,
                constants,
                points,
                digits: &digits,
            })
        })
        .collect()
}

struct TimesSecret<'a, M> {
    machine: M,
    constants: &'a Constants,
    points: &'a [Affine],
    digits: &'a [i8; PLACES],
}

impl<M: Machine> NullaryFnOnce for TimesSecret<'_, M> {
    type Output = Eight<M>;

    #[inline(always)]
    fn call(self) -> Eight<M> {
        let constants = self.constants.in_lanes(self.machine);
        let points = Eight::<M>::from_affine(self.machine, &constants, self.points);
        let table = Multiples::of(&constants, points);
        let mut product = Eight::<M>::neutral(&constants);
        for digit in self.digits.iter().rev() {
            product = product.doubled_times(4);
            product = product.plus(&table.chosen(&constants, *digit));
        }
        product
    }
}

/// One to eight times eight points.
struct Multiples<L: Lanes>([ProjectiveNiels<L::Packed>; 8]);

impl<L: Lanes> Multiples<L> {
    #[inline(always)]
    fn of(constants: &LaneConstants<L>, points: Extended<L>) -> Self {
        let once = points.to_niels(constants.twice_d);
        let mut multiples = [once.packed(); 8];
        let mut last = points;
        for multiple in &mut multiples[1..] {
            last = last.plus(&once);
            *multiple = last.to_niels(constants.twice_d).packed();
        }
        Self(multiples)
    }

    /// `digit` times the points, for a digit of -8 to 8, in constant time.
    #[inline(always)]
    fn chosen(&self, constants: &LaneConstants<L>, digit: i8) -> ProjectiveNiels<L> {
        // All ones where the digit is negative.
        let sign = (digit >> 7) as u8;
        let magnitude = (digit as u8 ^ sign).wrapping_sub(sign);
        let mut chosen = ProjectiveNiels::neutral(constants).packed();
        for (multiple, size) in self.0.iter().zip(1..) {
            // Hidden, lest the compiler make a branch of it.
            let mask = black_box(ones_if_equal(magnitude, size));
            chosen = chosen.changed_where(mask, multiple);
        }
        ProjectiveNiels::<L>::unpacked(chosen).negated_where(constants, black_box(sign))
    }
}

/// 0xff if the two are equal, else 0, without a branch.
#[inline(always)]
fn ones_if_equal(a: u8, b: u8) -> u8 {
    // Below 0 just when they do not differ; then the second byte is all ones.
    (u16::from(a ^ b).wrapping_sub(1) >> 8) as u8
}
