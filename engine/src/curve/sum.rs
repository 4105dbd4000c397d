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

use pulp::NullaryFnOnce;

use super::affine::Affine;
use super::constants::Constants;
use super::eights::{Eight, HALVINGS};
use super::field::Element;
use super::lanes::{LANES, Lanes, Machine};
use super::point::{AffineNiels, Extended};

/// What a point is multiplied by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Factor {
    /// Any number of 128 bits.
    Short(u128),
    /// Little-endian, below 2^253.
    Full([u8; 32]),
}

/// The sum of the products, as one point.
pub(crate) fn sum_of_products<M: Machine>(
    machine: M,
    terms: &[(Factor, Affine)],
) -> Extended<Element> {
    if terms.len() < WIDE_FROM {
        windowed::<M, 4>(machine, terms)
    } else {
        windowed::<M, 8>(machine, terms)
    }
}

/// With `C` bits a digit: 4 or 8.
fn windowed<M: Machine, const C: usize>(
    machine: M,
    terms: &[(Factor, Affine)],
) -> Extended<Element> {
    let constants = Constants::shared();
    let prepared = prepared::<M, C>(machine, constants, terms);
    let short: Vec<Affine> = terms
        .iter()
        .filter(|(factor, _)| matches!(factor, Factor::Short(_)))
        .map(|(_, point)| *point)
        .collect();
    let short_sum = machine.vectorize(ShortSum {
        machine,
        constants,
        points: &short,
        doublings: C as u32 - 1,
    });
    let mut buckets = Buckets::<M>::new(C);
    let mut sum = None;
    for group in (0..256 / (C * LANES)).rev() {
        let is_short = group * C * LANES < 128;
        buckets.clear();
        machine.vectorize(Fill {
            machine,
            terms: &prepared,
            digits_at: group * LANES,
            with_short: is_short,
            buckets: &mut buckets,
        });
        sum = Some(machine.vectorize(Reduce {
            machine,
            constants,
            buckets: &buckets,
            higher: sum.as_ref(),
            doublings: (C * LANES) as u32,
            more: is_short.then_some(&short_sum),
        }));
    }
    machine.vectorize(Join {
        machine,
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

fn prepared<M: Machine, const C: usize>(
    machine: M,
    constants: &Constants,
    terms: &[(Factor, Affine)],
) -> Vec<Term> {
    let mut prepared = Vec::with_capacity(terms.len());
    for terms in terms.chunks(LANES) {
        let mut points = [Affine::NEUTRAL; LANES];
        for (to, (_, point)) in points.iter_mut().zip(terms) {
            *to = *point;
        }
        let points = machine.vectorize(Prepare {
            machine,
            constants,
            points: &points,
        });
        let [y_plus_x, y_minus_x, xy2d] =
            [points.y_plus_x, points.y_minus_x, points.xy2d].map(M::Lanes::columns);
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

struct Prepare<'a, M> {
    machine: M,
    constants: &'a Constants,
    points: &'a [Affine; LANES],
}

impl<M: Machine> NullaryFnOnce for Prepare<'_, M> {
    type Output = AffineNiels<M::Lanes>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let (x, y) = Affine::to_lanes::<M::Lanes>(self.machine, self.points);
        AffineNiels::of(&self.constants.in_lanes(self.machine), x, y)
    }
}

/// The sum of points, doubled so many times, in all lanes.
struct ShortSum<'a, M> {
    machine: M,
    constants: &'a Constants,
    points: &'a [Affine],
    doublings: u32,
}

impl<M: Machine> NullaryFnOnce for ShortSum<'_, M> {
    type Output = Eight<M>;

    #[inline(always)]
    fn call(self) -> Eight<M> {
        let constants = self.constants.in_lanes(self.machine);
        let mut sum = Eight::<M>::neutral(&constants);
        for points in self.points.chunks(LANES) {
            let points = Eight::<M>::from_affine(self.machine, &constants, points);
            sum = sum.plus(&points.to_niels(constants.twice_d));
        }
        for from in HALVINGS {
            sum = sum.plus(&sum.permuted(from).to_niels(constants.twice_d));
        }
        sum.doubled_times(self.doublings)
    }
}

/// For each lane and size of a digit a sum of points; size 0 takes what is not wanted.
struct Buckets<M: Machine> {
    /// By lane, then size.
    rows: Vec<<M::Lanes as Lanes>::Row>,
    sizes: usize,
}

impl<M: Machine> Buckets<M> {
    fn new(bits: usize) -> Self {
        let sizes = (1 << (bits - 1)) + 1;
        Self {
            rows: vec![M::Lanes::neutral_row(); LANES * sizes],
            sizes,
        }
    }

    fn clear(&mut self) {
        self.rows.fill(M::Lanes::neutral_row());
    }

    #[inline(always)]
    fn load(&self, machine: M, at: &[usize; LANES]) -> Eight<M> {
        let mut rows = [&self.rows[0]; LANES];
        for (row, at) in rows.iter_mut().zip(at) {
            *row = &self.rows[*at];
        }
        M::Lanes::of_rows(machine, rows)
    }

    #[inline(always)]
    fn store(&mut self, at: &[usize; LANES], points: &Eight<M>) {
        for (row, at) in M::Lanes::to_rows(points).into_iter().zip(at) {
            self.rows[*at] = row;
        }
    }
}

/// Adds each term to a bucket of each lane.
struct Fill<'a, M: Machine> {
    machine: M,
    terms: &'a [Term],
    /// Of the lowest lane; the others have the next.
    digits_at: usize,
    with_short: bool,
    buckets: &'a mut Buckets<M>,
}

impl<M: Machine> NullaryFnOnce for Fill<'_, M> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (machine, sizes) = (self.machine, self.buckets.sizes);
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
            let y_plus_x = M::Lanes::splat_limbs(machine, &term.point.y_plus_x);
            let y_minus_x = M::Lanes::splat_limbs(machine, &term.point.y_minus_x);
            let xy2d = M::Lanes::splat_limbs(machine, &term.point.xy2d);
            let point = AffineNiels {
                y_plus_x: y_plus_x.replaced_where(negative, &y_minus_x),
                y_minus_x: y_minus_x.replaced_where(negative, &y_plus_x),
                xy2d: xy2d.negated_where(negative),
            };
            let sum = self.buckets.load(machine, &at).plus_affine(&point);
            self.buckets.store(&at, &sum);
        }
    }
}

/// The sum over all sizes of size times bucket, plus `more`, plus `higher` doubled so many times.
struct Reduce<'a, M: Machine> {
    machine: M,
    constants: &'a Constants,
    buckets: &'a Buckets<M>,
    higher: Option<&'a Eight<M>>,
    doublings: u32,
    more: Option<&'a Eight<M>>,
}

impl<M: Machine> NullaryFnOnce for Reduce<'_, M> {
    type Output = Eight<M>;

    #[inline(always)]
    fn call(self) -> Eight<M> {
        let constants = self.constants.in_lanes(self.machine);
        let d2 = constants.twice_d;
        let (mut running, mut sum) = (
            Eight::<M>::neutral(&constants),
            Eight::<M>::neutral(&constants),
        );
        for size in (1..self.buckets.sizes).rev() {
            let mut at = [0; LANES];
            for (lane, at) in at.iter_mut().enumerate() {
                *at = lane * self.buckets.sizes + size;
            }
            let bucket = self.buckets.load(self.machine, &at);
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
struct Join<'a, M: Machine> {
    machine: M,
    constants: &'a Constants,
    sum: &'a Eight<M>,
    doublings: u32,
}

impl<M: Machine> NullaryFnOnce for Join<'_, M> {
    type Output = Extended<Element>;

    #[inline(always)]
    fn call(self) -> Extended<Element> {
        let d2 = self.constants.in_lanes(self.machine).twice_d;
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
