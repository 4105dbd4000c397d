//! Sums of multiples of two points that have tables, eight additions at a time.
//!
//! k P + s Q is a sum of 128 table entries, one a digit. Lane j adds up those of the places j, j + 8 and so on, in 16 steps;
//! three more steps add the lanes up. No doubling is left to do. Everything here is public, so addresses and branches may
//! depend on the digits.

use std::arch::x86_64::__m512i;

use super::field::Element;
use super::lanes::{Ifma, Lanes};
use super::point::{AffineNiels, Extended};
use super::table::{Entry, PLACES, Table};

/// k P + s Q as an encoded point, for `k` and `s` little-endian and below 2^254, P and Q those of the tables.
///
/// Exact for any integers in that range and points of any order: k is not taken modulo the order of anything.
/// Cost: 19 additions of eight lanes and one inversion.
pub(super) fn sum_of_multiples(
    (k, p): (&[u8; 32], &Table),
    (s, q): (&[u8; 32], &Table),
    fixed: &Fixed,
) -> [u8; 32] {
    let ifma = fixed.ifma;
    let mut sum = fixed.neutral_lanes();
    for (number, table) in [(k, p), (s, q)] {
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
    let d2 = Lanes::splat(ifma, fixed.twice_d);
    for from in HALVINGS {
        let moved = Extended {
            x: sum.x.permuted(from),
            y: sum.y.permuted(from),
            z: sum.z.permuted(from),
            t: sum.t.permuted(from),
        };
        sum = sum.plus(&moved.to_niels(d2));
    }
    encoded(sum.x.first(), sum.y.first(), sum.z.first())
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
    fn neutral_lanes(&self) -> Extended<Lanes> {
        let [zero, one] = [Element::ZERO, Element::ONE].map(|e| Lanes::splat(self.ifma, e));
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
fn gathered(ifma: Ifma, entries: [&Entry; LANES], negative: u8) -> AffineNiels<Lanes> {
    let low = transposed(ifma, entries.map(|entry| entry[0]));
    let high = transposed(ifma, entries.map(|entry| entry[1]));
    let [a0, a1, a2, a3, a4, b0, b1, b2] = low;
    let [b3, b4, c0, c1, c2, c3, c4, _] = high;
    let y_plus_x = Lanes::from_limbs(ifma, [a0, a1, a2, a3, a4]);
    let y_minus_x = Lanes::from_limbs(ifma, [b0, b1, b2, b3, b4]);
    let xy2d = Lanes::from_limbs(ifma, [c0, c1, c2, c3, c4]);
    // -(x, y) = (-x, y).
    AffineNiels {
        y_plus_x: y_plus_x.replaced_where(negative, &y_minus_x),
        y_minus_x: y_minus_x.replaced_where(negative, &y_plus_x),
        xy2d: xy2d.negated_where(negative),
    }
}

/// Rows to columns, in three rounds of eight shuffles.
#[inline(always)]
fn transposed(ifma: Ifma, rows: [__m512i; 8]) -> [__m512i; 8] {
    let base = ifma.base;
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    // Of four rows, the even (of `lo`) or odd (of `hi`) columns: 0 and 4 in `outer`, 2 and 6 in `inner`, as pairs of words.
    let outer = |a, b| base._mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
    let inner = |a, b| base._mm512_shuffle_i64x2::<0b11_01_11_01>(a, b);
    let lo = |a, b| base._mm512_unpacklo_epi64(a, b);
    let hi = |a, b| base._mm512_unpackhi_epi64(a, b);
    let columns = |p01, p23, p45, p67| {
        let (top, bottom) = (outer(p01, p23), outer(p45, p67));
        let (top_next, bottom_next) = (inner(p01, p23), inner(p45, p67));
        [
            outer(top, bottom),
            outer(top_next, bottom_next),
            inner(top, bottom),
            inner(top_next, bottom_next),
        ]
    };
    let [c0, c2, c4, c6] = columns(lo(r0, r1), lo(r2, r3), lo(r4, r5), lo(r6, r7));
    let [c1, c3, c5, c7] = columns(hi(r0, r1), hi(r2, r3), hi(r4, r5), hi(r6, r7));
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The digits of a number below 2^254 in radix 16, each -8 to 7, least first.
///
/// With 8 added at each place beforehand, a digit is what stands there less 8; the sum is below 2^256.
pub(super) fn digits(number: &[u8; 32]) -> [i8; PLACES] {
    let mut shifted = [0u8; 32];
    let mut carry = 0u16;
    for (to, from) in shifted.iter_mut().zip(number) {
        let sum = u16::from(*from) + 0x88 + carry;
        // The low byte; the rest is the carry.
        *to = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "the number is below 2^254");
    let mut digits = [0; PLACES];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(shifted) {
        // Both are 0 to 15 before 8 is taken off.
        *pair = [(byte & 15) as i8 - 8, (byte >> 4) as i8 - 8];
    }
    digits
}

/// The canonical encoding of (x/z, y/z). Source: RFC 8032, section 5.1.2.
fn encoded(x: Element, y: Element, z: Element) -> [u8; 32] {
    let z_inverse = z.invert_public();
    let mut bytes = (y * z_inverse).to_bytes();
    bytes[31] |= u8::from((x * z_inverse).is_odd()) << 7;
    bytes
}

const LANES: usize = 8;

/// Where each lane takes what it adds: from four, two, one lanes further, round about.
const HALVINGS: [[i64; 8]; 3] = [
    [4, 5, 6, 7, 0, 1, 2, 3],
    [2, 3, 4, 5, 6, 7, 0, 1],
    [1, 2, 3, 4, 5, 6, 7, 0],
];
