//! Fixed points, each times a secret scalar: one product in each lane, each lane with a point and a scalar of its own.
//!
//! 64 signed digits of radix 16. For every second place there is a table of one to eight times 256^i times the point, so a
//! product is 64 additions of entries and the four doublings between odd and even places. Source: Bernstein et al.,
//! High-speed high-security signatures, 2011, section 4. An entry is chosen inside registers: a table holds, for each limb,
//! the eight entries in the eight lanes of one vector, and a permutation by the digits gives each lane the entry of its own.
//! So addresses depend on the place only, and no branch depends on a digit: a zero adds the neutral point by the same
//! formulas, and a negative digit keeps the negative by mask. Digits and products are erased when dropped; what the registers
//! and the stack held of them is not.
//!
//! Cost of eight: 64 additions and four doublings of lanes, and 15 permutations an addition and table.

use pulp::NullaryFnOnce;
use zeroize::Zeroizing;

use super::affine::Affine;
use super::constants::{Constants, LaneConstants};
use super::digits::{PLACES, secret_digits};
use super::eights::Eight;
use super::lanes::{LANES, Lanes, Machine, Packed as _};
use super::point::AffineNiels;
use super::power::Power as _;

type PackedOf<M> = <<M as Machine>::Lanes as Lanes>::Packed;

/// Multiples of one point, 30 KiB.
pub(crate) struct FixedTable<M: Machine> {
    /// For each second place, least first, one to eight times 256^i times the point, one in each lane; canonical.
    rows: Vec<AffineNiels<PackedOf<M>>>,
}

impl<M: Machine> FixedTable<M> {
    /// Costs 264 doublings of lanes and one inversion.
    pub(crate) fn new(machine: M, point: &Affine) -> Self {
        let constants = Constants::shared();
        Self {
            rows: machine.vectorize(Rows {
                machine,
                constants,
                points: &[*point; LANES],
            }),
        }
    }
}

/// The product of each pair, by eights in their order; lanes behind the last hold the neutral point.
///
/// Scalars are little-endian and below 2^254. Pairs with one table should stand side by side: eight that share one take
/// fewer permutations.
pub(crate) fn times_fixed<M: Machine>(
    machine: M,
    terms: &[(&FixedTable<M>, &[u8; 32])],
) -> Zeroizing<Vec<Eight<M>>> {
    let constants = Constants::shared();
    let mut products = Zeroizing::new(Vec::with_capacity(terms.len().div_ceil(LANES)));
    for terms in terms.chunks(LANES) {
        let product = machine.vectorize(TimesFixed {
            machine,
            constants,
            tables: &by_table(terms),
            digits: &digits_by_place(terms),
        });
        products.push(product);
    }
    products
}

/// The digits of a place side by side, one a lane.
type Digits = [[i8; LANES]; PLACES];

fn digits_by_place<M: Machine>(terms: &[(&FixedTable<M>, &[u8; 32])]) -> Zeroizing<Digits> {
    let mut by_place = Zeroizing::new([[0; LANES]; PLACES]);
    for (lane, (_, scalar)) in terms.iter().enumerate() {
        let digits = secret_digits(scalar);
        for (place, digit) in by_place.iter_mut().zip(digits.iter()) {
            place[lane] = *digit;
        }
    }
    by_place
}

/// Each table once, with the lanes that it is for.
fn by_table<'a, M: Machine>(
    terms: &[(&'a FixedTable<M>, &[u8; 32])],
) -> Vec<(&'a FixedTable<M>, u8)> {
    let mut tables: Vec<(&FixedTable<M>, u8)> = Vec::with_capacity(terms.len());
    for (lane, (table, _)) in terms.iter().enumerate() {
        match tables
            .iter_mut()
            .find(|(known, _)| std::ptr::eq(*known, *table))
        {
            Some((_, lanes)) => *lanes |= 1 << lane,
            None => tables.push((table, 1 << lane)),
        }
    }
    tables
}

struct TimesFixed<'a, M: Machine> {
    machine: M,
    constants: &'a Constants,
    tables: &'a [(&'a FixedTable<M>, u8)],
    digits: &'a Digits,
}

impl<M: Machine> TimesFixed<'_, M> {
    /// What is to be added at `place`.
    #[inline(always)]
    fn chosen(&self, constants: &LaneConstants<M::Lanes>, place: usize) -> AffineNiels<M::Lanes> {
        let digits = M::Lanes::choice(self.machine, &self.digits[place]);
        let mut chosen = AffineNiels {
            y_plus_x: constants.one.packed(),
            y_minus_x: constants.one.packed(),
            xy2d: constants.zero.packed(),
        };
        for (table, lanes) in self.tables {
            let (row, lanes) = (&table.rows[place / 2], lanes & digits.non_zero);
            chosen.y_plus_x = chosen.y_plus_x.taken(lanes, digits.index, &row.y_plus_x);
            chosen.y_minus_x = chosen.y_minus_x.taken(lanes, digits.index, &row.y_minus_x);
            chosen.xy2d = chosen.xy2d.taken(lanes, digits.index, &row.xy2d);
        }
        let [y_plus_x, y_minus_x, xy2d] =
            [chosen.y_plus_x, chosen.y_minus_x, chosen.xy2d].map(M::Lanes::unpacked);
        AffineNiels {
            y_plus_x: y_plus_x.replaced_where(digits.negative, &y_minus_x),
            y_minus_x: y_minus_x.replaced_where(digits.negative, &y_plus_x),
            xy2d: xy2d.negated_where(digits.negative),
        }
    }
}

impl<M: Machine> NullaryFnOnce for TimesFixed<'_, M> {
    type Output = Eight<M>;

    #[inline(always)]
    fn call(self) -> Eight<M> {
        let constants = self.constants.in_lanes(self.machine);
        let mut sum = Eight::<M>::neutral(&constants);
        for parity in [1, 0] {
            for place in (parity..PLACES).step_by(2) {
                sum = sum.plus_affine(&self.chosen(&constants, place));
            }
            if parity == 1 {
                sum = sum.doubled_times(4);
            }
        }
        sum
    }
}

/// The rows of a table, of one point in all lanes.
struct Rows<'a, M> {
    machine: M,
    constants: &'a Constants,
    points: &'a [Affine; LANES],
}

impl<M: Machine> NullaryFnOnce for Rows<'_, M> {
    type Output = Vec<AffineNiels<PackedOf<M>>>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let constants = self.constants.in_lanes(self.machine);
        let once = Eight::<M>::from_affine(self.machine, &constants, self.points);
        let mut multiples = once;
        for lane in 1..LANES {
            // In this lane and those behind it once more.
            let more = once.replaced_where((1 << lane) - 1, &Eight::<M>::neutral(&constants));
            multiples = multiples.plus(&more.to_niels(constants.twice_d));
        }
        // With the products of all z before, so that one inversion does.
        let mut points = Vec::with_capacity(PLACES / 2);
        let mut product = constants.one;
        for _ in 0..PLACES / 2 {
            points.push((multiples, product));
            product = product * multiples.z;
            multiples = multiples.doubled_times(8);
        }
        let mut inverse = product.power_p_less_2();
        let mut rows = Vec::with_capacity(PLACES / 2);
        for (point, before) in points.iter().rev() {
            let z_inverse = inverse * *before;
            inverse = inverse * point.z;
            let (x, y) = (point.x * z_inverse, point.y * z_inverse);
            let row = AffineNiels::of(&constants, x, y);
            rows.push(AffineNiels {
                y_plus_x: row.y_plus_x.packed(),
                y_minus_x: row.y_minus_x.packed(),
                xy2d: row.xy2d.packed(),
            });
        }
        rows.reverse();
        rows
    }
}
