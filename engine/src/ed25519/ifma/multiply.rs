//! Sums of multiples of two points that have tables, eight additions at a time.
//!
//! k P + s Q is a sum of 128 table entries, one a digit. Lane j adds up those of the places j, j + 8 and so on, in 16 steps;
//! three more steps add the lanes up. No doubling is left to do. Everything here is public, so addresses and branches may
//! depend on the digits.

use pulp::NullaryFnOnce;

use super::table::{Entry, Table};
use crate::curve::digits::{PLACES, digits};
use crate::curve::eights::HALVINGS;
use crate::curve::field::Element;
use crate::curve::ifma::{Ifma, IfmaLanes};
use crate::curve::lanes::{LANES, Lanes as _};
use crate::curve::point::{AffineNiels, Extended};
use crate::curve::rows::transposed;

/// k P + s Q as an encoded point, for `k` and `s` little-endian and below 2^254, P and Q those of the tables.
///
/// Exact for any integers in that range and points of any order: k is not taken modulo the order of anything.
/// Cost: 19 additions of eight lanes and one inversion.
pub(super) fn sum_of_multiples(
    p: (&[u8; 32], &Table),
    q: (&[u8; 32], &Table),
    fixed: &Fixed,
) -> [u8; 32] {
    let [x, y, z] = fixed.ifma.vectorize(Sum { p, q, fixed });
    encoded(x, y, z)
}

/// The sum in projective coordinates x, y, z.
struct Sum<'a> {
    p: (&'a [u8; 32], &'a Table),
    q: (&'a [u8; 32], &'a Table),
    fixed: &'a Fixed,
}

impl NullaryFnOnce for Sum<'_> {
    type Output = [Element; 3];

    #[inline(always)]
    fn call(self) -> [Element; 3] {
        let fixed = self.fixed;
        let ifma = fixed.ifma;
        let mut sum = fixed.neutral_lanes();
        for (number, table) in [self.p, self.q] {
            let digits = digits(number);
            for first in (0..PLACES).step_by(LANES) {
                let mut entries = [&fixed.neutral; LANES];
                let mut negative = 0u8;
                for (lane, entry) in entries.iter_mut().enumerate() {
                    let place = first + lane;
                    let digit = digits[place];
                    negative |= u8::from(digit < 0) << lane;
                    if digit != 0 {
                        *entry = table.multiple(place, usize::from(digit.unsigned_abs()));
                    }
                }
                sum = sum.plus_affine(&gathered(ifma, entries, negative));
            }
        }
        let d2 = IfmaLanes::splat(ifma, fixed.twice_d);
        for from in HALVINGS {
            sum = sum.plus(&sum.permuted(from).to_niels(d2));
        }
        [sum.x.first(), sum.y.first(), sum.z.first()]
    }
}

/// What every multiplication uses: the instructions and some constants.
pub(super) struct Fixed {
    ifma: Ifma,
    neutral: Entry,
    twice_d: Element,
}

impl Fixed {
    /// If the machine has the instructions.
    pub(super) fn try_new() -> Option<Self> {
        Some(Self {
            ifma: Ifma::try_new()?,
            neutral: super::table::neutral(),
            twice_d: super::table::twice_d(),
        })
    }

    #[inline(always)]
    fn neutral_lanes(&self) -> Extended<IfmaLanes> {
        let [zero, one] = [Element::ZERO, Element::ONE].map(|e| IfmaLanes::splat(self.ifma, e));
        Extended {
            x: zero,
            y: one,
            z: one,
            t: zero,
        }
    }
}

/// Entries of eight lanes as lanes of entries, negated where `negative` has a bit.
#[inline(always)]
fn gathered(ifma: Ifma, entries: [&Entry; LANES], negative: u8) -> AffineNiels<IfmaLanes> {
    let low = transposed(ifma, entries.map(|entry| entry[0]));
    let high = transposed(ifma, entries.map(|entry| entry[1]));
    let [a0, a1, a2, a3, a4, b0, b1, b2] = low;
    let [b3, b4, c0, c1, c2, c3, c4, _] = high;
    let y_plus_x = IfmaLanes::from_limbs(ifma, [a0, a1, a2, a3, a4]);
    let y_minus_x = IfmaLanes::from_limbs(ifma, [b0, b1, b2, b3, b4]);
    let xy2d = IfmaLanes::from_limbs(ifma, [c0, c1, c2, c3, c4]);
    // -(x, y) = (-x, y).
    AffineNiels {
        y_plus_x: y_plus_x.replaced_where(negative, &y_minus_x),
        y_minus_x: y_minus_x.replaced_where(negative, &y_plus_x),
        xy2d: xy2d.negated_where(negative),
    }
}

/// The canonical encoding of (x/z, y/z). Source: RFC 8032, section 5.1.2.
fn encoded(x: Element, y: Element, z: Element) -> [u8; 32] {
    let z_inverse = z.invert_public();
    let mut bytes = (y * z_inverse).to_bytes();
    bytes[31] |= u8::from((x * z_inverse).is_odd()) << 7;
    bytes
}
