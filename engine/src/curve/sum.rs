//! Sums of many points, each times a public number: a multi-scalar multiplication with a window in each lane.
//!
//! The bucket method (Pippenger, 1976; Bernstein et al., Faster batch forgery identification, INDOCRYPT 2012, section 4):
//! a number is digits in radix 2^C, and for each place there is a bucket for each size of a digit, to which a point is
//! added or from which it is taken. Here eight places are done at once, a lane each: all lanes add the same point, each to a
//! bucket of its own. Buckets lie in memory as rows and are turned into lanes and back.
//!
//! Digits are -2^(C-1) to 2^(C-1) - 1. A number below 2^253 gets them by adding 2^(C-1) at each place beforehand. One of 128
//! bits would not fit 128 bits then; it is left as it is, which makes each digit 2^(C-1) too small, and the sum of
//! these points times 2^(C-1) is added at each of those places in the end.
//!
//! Everything here is public: time and addresses depend on the digits.
//!
//! Cost for n points of which half have short numbers: with C = 8, 3 n additions of lanes, and 1,024 for the buckets; with
//! C = 4, 6 n and 128; and 250 doublings.

use std::arch::x86_64::__m512i;

use pulp::NullaryFnOnce;

use super::affine::Affine;
use super::constants::Constants;
use super::eights::{Eight, HALVINGS};
use super::field::Element;
use super::lanes::{Ifma, LANES, Lanes};
use super::point::{AffineNiels, Extended};
use super::rows::transposed;

/// What a point is multiplied by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Factor {
    /// Any number of 128 bits.
    Short(u128),
    /// Little-endian, below 2^253.
    Full([u8; 32]),
}

/// The sum of the products, as one point.
pub(crate) fn sum_of_products(ifma: Ifma, terms: &[(Factor, Affine)]) -> Extended<Element> {
    if terms.len() < WIDE_FROM {
        windowed::<4>(ifma, terms)
    } else {
        windowed::<8>(ifma, terms)
    }
}

/// With `C` bits a digit: 4 or 8.
fn windowed<const C: usize>(ifma: Ifma, terms: &[(Factor, Affine)]) -> Extended<Element> {
    let constants = Constants::shared();
    let prepared = prepared::<C>(ifma, constants, terms);
    let short: Vec<Affine> = terms
        .iter()
        .filter(|(factor, _)| matches!(factor, Factor::Short(_)))
        .map(|(_, point)| *point)
        .collect();
    let short_sum = ifma.vectorize(ShortSum {
        ifma,
        constants,
        points: &short,
        doublings: C as u32 - 1,
    });
    let mut buckets = Buckets::new(C);
    let mut sum = None;
    for group in (0..256 / (C * LANES)).rev() {
        let is_short = group * C * LANES < 128;
        buckets.clear();
        ifma.vectorize(Fill {
            ifma,
            terms: &prepared,
            digits_at: group * LANES,
            with_short: is_short,
            buckets: &mut buckets,
        });
        sum = Some(ifma.vectorize(Reduce {
            ifma,
            constants,
            buckets: &buckets,
            higher: sum.as_ref(),
            doublings: (C * LANES) as u32,
            more: is_short.then_some(&short_sum),
        }));
    }
    ifma.vectorize(Join {
        ifma,
        constants,
        sum: &sum.expect("there are two groups at least"),
        doublings: C as u32,
    })
}

/// A point prepared to be added, and its digits, each with the 2^(C-1) that is to be taken off.
struct Term {
    point: AffineNiels<[u64; 5]>,
    /// With 4 bits a digit 64, else 32 and the rest 0.
    digits: [i8; 64],
    is_short: bool,
}

fn prepared<const C: usize>(
    ifma: Ifma,
    constants: &Constants,
    terms: &[(Factor, Affine)],
) -> Vec<Term> {
    let mut prepared = Vec::with_capacity(terms.len());
    for terms in terms.chunks(LANES) {
        let mut points = [Affine::NEUTRAL; LANES];
        for (to, (_, point)) in points.iter_mut().zip(terms) {
            *to = *point;
        }
        let points = ifma.vectorize(Prepare {
            ifma,
            constants,
            points: &points,
        });
        let [y_plus_x, y_minus_x, xy2d] =
            [points.y_plus_x, points.y_minus_x, points.xy2d].map(Lanes::columns);
        for (lane, (factor, _)) in terms.iter().enumerate() {
            let of_lane = |columns: &[[u64; LANES]; 5]| columns.map(|limb| limb[lane]);
            prepared.push(Term {
                point: AffineNiels {
                    y_plus_x: of_lane(&y_plus_x),
                    y_minus_x: of_lane(&y_minus_x),
                    xy2d: of_lane(&xy2d),
                },
                digits: digits::<C>(factor),
                is_short: matches!(factor, Factor::Short(_)),
            });
        }
    }
    prepared
}

/// The digits in radix 2^`C`, least first; of a short number each 2^(C-1) too small.
fn digits<const C: usize>(factor: &Factor) -> [i8; 64] {
    let mut bytes = [0; 32];
    match factor {
        Factor::Short(number) => bytes[..16].copy_from_slice(&number.to_le_bytes()),
        Factor::Full(number) => {
            // 2^(C-1) at each place.
            let more = if C == 4 { 0x88 } else { 0x80 };
            let mut carry = 0;
            for (to, from) in bytes.iter_mut().zip(number) {
                let sum = u16::from(*from) + more + carry;
                // The low byte; the rest is the carry.
                *to = sum as u8;
                carry = sum >> 8;
            }
            assert_eq!(carry, 0, "the number is below 2^253");
        }
    }
    let mut digits = [0; 64];
    for (at, digit) in digits.iter_mut().take(256 / C).enumerate() {
        // Below 2^C before 2^(C-1) is taken off, so at most 127 after.
        let above = if C == 4 {
            bytes[at / 2] >> (4 * (at % 2)) & 15
        } else {
            bytes[at]
        };
        *digit = (i16::from(above) - (1 << (C - 1))) as i8;
    }
    digits
}

struct Prepare<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    points: &'a [Affine; LANES],
}

impl NullaryFnOnce for Prepare<'_> {
    type Output = AffineNiels<Lanes>;

    #[inline(always)]
    fn call(self) -> AffineNiels<Lanes> {
        let (x, y) = Affine::to_lanes(self.ifma, self.points);
        AffineNiels::of(&self.constants.in_lanes(self.ifma), x, y)
    }
}

/// The sum of points, doubled so many times, in all lanes.
struct ShortSum<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    points: &'a [Affine],
    doublings: u32,
}

impl NullaryFnOnce for ShortSum<'_> {
    type Output = Eight;

    #[inline(always)]
    fn call(self) -> Eight {
        let constants = self.constants.in_lanes(self.ifma);
        let mut sum = Eight::neutral(&constants);
        for points in self.points.chunks(LANES) {
            let points = Eight::from_affine(self.ifma, &constants, points);
            sum = sum.plus(&points.to_niels(constants.twice_d));
        }
        for from in HALVINGS {
            sum = sum.plus(&sum.permuted(from).to_niels(constants.twice_d));
        }
        sum.doubled_times(self.doublings)
    }
}

/// For each lane and size of a digit a sum of points; size 0 takes what is not wanted.
struct Buckets {
    /// By lane, then size.
    rows: Vec<Row>,
    sizes: usize,
}

/// A point: the limbs of x, y, z and t one after the other, then four zeros.
type Row = [__m512i; 3];

impl Buckets {
    fn new(bits: usize) -> Self {
        let sizes = (1 << (bits - 1)) + 1;
        Self {
            rows: vec![neutral_row(); LANES * sizes],
            sizes,
        }
    }

    fn clear(&mut self) {
        self.rows.fill(neutral_row());
    }

    #[inline(always)]
    fn load(&self, ifma: Ifma, at: &[usize; LANES]) -> Eight {
        let rows = &self.rows;
        let mut parts = [[rows[0][0]; LANES]; 3];
        for (lane, at) in at.iter().enumerate() {
            for (part, row) in parts.iter_mut().zip(rows[*at]) {
                part[lane] = row;
            }
        }
        let [a0, a1, a2, a3, a4, b0, b1, b2] = transposed(ifma, parts[0]);
        let [b3, b4, c0, c1, c2, c3, c4, d0] = transposed(ifma, parts[1]);
        let [d1, d2, d3, d4, ..] = transposed(ifma, parts[2]);
        Eight {
            x: Lanes::from_limbs(ifma, [a0, a1, a2, a3, a4]),
            y: Lanes::from_limbs(ifma, [b0, b1, b2, b3, b4]),
            z: Lanes::from_limbs(ifma, [c0, c1, c2, c3, c4]),
            t: Lanes::from_limbs(ifma, [d0, d1, d2, d3, d4]),
        }
    }

    #[inline(always)]
    fn store(&mut self, ifma: Ifma, at: &[usize; LANES], points: &Eight) {
        let [a0, a1, a2, a3, a4] = points.x.limbs();
        let [b0, b1, b2, b3, b4] = points.y.limbs();
        let [c0, c1, c2, c3, c4] = points.z.limbs();
        let [d0, d1, d2, d3, d4] = points.t.limbs();
        let none = ifma.base._mm512_setzero_si512();
        let parts = [
            transposed(ifma, [a0, a1, a2, a3, a4, b0, b1, b2]),
            transposed(ifma, [b3, b4, c0, c1, c2, c3, c4, d0]),
            transposed(ifma, [d1, d2, d3, d4, none, none, none, none]),
        ];
        for (lane, at) in at.iter().enumerate() {
            self.rows[*at] = [parts[0][lane], parts[1][lane], parts[2][lane]];
        }
    }
}

fn neutral_row() -> Row {
    let mut words = [[0u64; 8]; 3];
    // The lowest limbs of y and z.
    (words[0][5], words[1][2]) = (1, 1);
    words.map(pulp::bytemuck::cast)
}

/// Adds each term to a bucket of each lane.
struct Fill<'a> {
    ifma: Ifma,
    terms: &'a [Term],
    /// Of the lowest lane; the others have the next.
    digits_at: usize,
    with_short: bool,
    buckets: &'a mut Buckets,
}

impl NullaryFnOnce for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (ifma, sizes) = (self.ifma, self.buckets.sizes);
        for term in self.terms {
            if term.is_short && !self.with_short {
                continue;
            }
            let (mut at, mut negative) = ([0; LANES], 0u8);
            for (lane, at) in at.iter_mut().enumerate() {
                let digit = term.digits[self.digits_at + lane];
                *at = lane * sizes + usize::from(digit.unsigned_abs());
                negative |= u8::from(digit < 0) << lane;
            }
            let y_plus_x = Lanes::splat_limbs(ifma, &term.point.y_plus_x);
            let y_minus_x = Lanes::splat_limbs(ifma, &term.point.y_minus_x);
            let xy2d = Lanes::splat_limbs(ifma, &term.point.xy2d);
            let point = AffineNiels {
                y_plus_x: y_plus_x.replaced_where(negative, &y_minus_x),
                y_minus_x: y_minus_x.replaced_where(negative, &y_plus_x),
                xy2d: xy2d.negated_where(negative),
            };
            let sum = self.buckets.load(ifma, &at).plus_affine(&point);
            self.buckets.store(ifma, &at, &sum);
        }
    }
}

/// The sum over all sizes of size times bucket, plus `more`, plus `higher` doubled so many times.
struct Reduce<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    buckets: &'a Buckets,
    higher: Option<&'a Eight>,
    doublings: u32,
    more: Option<&'a Eight>,
}

impl NullaryFnOnce for Reduce<'_> {
    type Output = Eight;

    #[inline(always)]
    fn call(self) -> Eight {
        let constants = self.constants.in_lanes(self.ifma);
        let d2 = constants.twice_d;
        let (mut running, mut sum) = (Eight::neutral(&constants), Eight::neutral(&constants));
        for size in (1..self.buckets.sizes).rev() {
            let mut at = [0; LANES];
            for (lane, at) in at.iter_mut().enumerate() {
                *at = lane * self.buckets.sizes + size;
            }
            let bucket = self.buckets.load(self.ifma, &at);
            running = running.plus(&bucket.to_niels(d2));
            sum = sum.plus(&running.to_niels(d2));
        }
        if let Some(more) = self.more {
            sum = sum.plus(&more.to_niels(d2));
        }
        if let Some(higher) = self.higher {
            sum = sum.plus(&higher.doubled_times(self.doublings).to_niels(d2));
        }
        sum
    }
}

/// Lane 0 plus lane 1 doubled so many times, plus lane 2 doubled twice as many times, and so on.
struct Join<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    sum: &'a Eight,
    doublings: u32,
}

impl NullaryFnOnce for Join<'_> {
    type Output = Extended<Element>;

    #[inline(always)]
    fn call(self) -> Extended<Element> {
        let d2 = self.constants.in_lanes(self.ifma).twice_d;
        let (mut sum, mut doublings) = (*self.sum, self.doublings);
        for from in HALVINGS.into_iter().rev() {
            let higher = sum.permuted(from).doubled_times(doublings);
            sum = sum.plus(&higher.to_niels(d2));
            doublings *= 2;
        }
        Extended {
            x: sum.x.first(),
            y: sum.y.first(),
            z: sum.z.first(),
            t: sum.t.first(),
        }
    }
}

/// From so many points on, digits of 8 bits cost less than of 4: measured.
const WIDE_FROM: usize = 300;
