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

use std::arch::x86_64::__m512i;

use pulp::NullaryFnOnce;
use zeroize::Zeroizing;

use super::affine::Affine;
use super::constants::{Constants, LaneConstants};
use super::digits::{PLACES, secret_digits};
use super::eights::Eight;
use super::lanes::{Ifma, LANES, Lanes};
use super::point::AffineNiels;
use super::power::Power as _;

/// Multiples of one point, 30 KiB.
pub(crate) struct FixedTable {
    /// For each second place, least first, one to eight times 256^i times the point, one in each lane; canonical.
    rows: Vec<AffineNiels<Lanes>>,
}

impl FixedTable {
    /// Costs 264 doublings of lanes and one inversion.
    pub(crate) fn new(ifma: Ifma, point: &Affine) -> Self {
        let constants = Constants::shared();
        Self {
            rows: ifma.vectorize(Rows {
                ifma,
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
pub(crate) fn times_fixed(ifma: Ifma, terms: &[(&FixedTable, &[u8; 32])]) -> Zeroizing<Vec<Eight>> {
    let constants = Constants::shared();
    let mut products = Zeroizing::new(Vec::with_capacity(terms.len().div_ceil(LANES)));
    for terms in terms.chunks(LANES) {
        let product = ifma.vectorize(TimesFixed {
            ifma,
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

fn digits_by_place(terms: &[(&FixedTable, &[u8; 32])]) -> Zeroizing<Digits> {
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
fn by_table<'a>(terms: &[(&'a FixedTable, &[u8; 32])]) -> Vec<(&'a FixedTable, u8)> {
    let mut tables: Vec<(&FixedTable, u8)> = Vec::with_capacity(terms.len());
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

struct TimesFixed<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    tables: &'a [(&'a FixedTable, u8)],
    digits: &'a Digits,
}

impl TimesFixed<'_> {
    /// What is to be added at `place`.
    #[inline(always)]
    fn chosen(&self, constants: &LaneConstants, place: usize) -> AffineNiels<Lanes> {
        let digits = Chosen::of(self.ifma, &self.digits[place]);
        let mut chosen = AffineNiels {
            y_plus_x: constants.one,
            y_minus_x: constants.one,
            xy2d: constants.zero,
        };
        for (table, lanes) in self.tables {
            let (row, lanes) = (&table.rows[place / 2], lanes & digits.non_zero);
            chosen.y_plus_x = chosen.y_plus_x.taken(lanes, digits.entry, &row.y_plus_x);
            chosen.y_minus_x = chosen.y_minus_x.taken(lanes, digits.entry, &row.y_minus_x);
            chosen.xy2d = chosen.xy2d.taken(lanes, digits.entry, &row.xy2d);
        }
        let AffineNiels {
            y_plus_x,
            y_minus_x,
            xy2d,
        } = chosen;
        AffineNiels {
            y_plus_x: y_plus_x.replaced_where(digits.negative, &y_minus_x),
            y_minus_x: y_minus_x.replaced_where(digits.negative, &y_plus_x),
            xy2d: xy2d.negated_where(digits.negative),
        }
    }
}

impl NullaryFnOnce for TimesFixed<'_> {
    type Output = Eight;

    #[inline(always)]
    fn call(self) -> Eight {
        let constants = self.constants.in_lanes(self.ifma);
        let mut sum = Eight::neutral(&constants);
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

/// What the digits of one place say, of -8 to 7 each.
struct Chosen {
    /// Size less one, of which a permutation takes the lowest three bits.
    entry: __m512i,
    non_zero: u8,
    negative: u8,
}

impl Chosen {
    #[inline(always)]
    fn of(ifma: Ifma, digits: &[i8; LANES]) -> Self {
        let base = ifma.base;
        let digits = pulp::bytemuck::cast([pulp::bytemuck::cast::<_, i64>(*digits), 0]);
        let digits = base._mm512_cvtepi8_epi64(digits);
        let minus_one = base._mm512_set1_epi64(-1);
        Self {
            entry: base._mm512_add_epi64(base._mm512_abs_epi64(digits), minus_one),
            non_zero: base._mm512_test_epi64_mask(digits, digits),
            negative: base._mm512_cmplt_epi64_mask(digits, base._mm512_setzero_si512()),
        }
    }
}

/// The rows of a table, of one point in all lanes.
struct Rows<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    points: &'a [Affine; LANES],
}

impl NullaryFnOnce for Rows<'_> {
    type Output = Vec<AffineNiels<Lanes>>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let constants = self.constants.in_lanes(self.ifma);
        let once = Eight::from_affine(self.ifma, &constants, self.points);
        let mut multiples = once;
        for lane in 1..LANES {
            // In this lane and those behind it once more.
            let more = once.replaced_where((1 << lane) - 1, &Eight::neutral(&constants));
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
            rows.push(AffineNiels::of(&constants, x, y));
        }
        rows.reverse();
        rows
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::scalar::Scalar;
    use proptest::prelude::*;

    use super::*;
    use crate::curve::encode::double_and_encode;
    use crate::curve::ristretto_tests::{affine, any_scalar, point};
    use crate::curve::tests::ifma;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn products_of_fixed_points_are_dalek_s(
            terms in prop::collection::vec((0..3usize, any_scalar()), 0..20),
            seed: u64,
        ) {
            let Some(ifma) = ifma() else { return Ok(()) };
            let points = [point(seed), point(seed ^ 1), point(seed ^ 2)];
            let tables: Vec<FixedTable> = affine(ifma, &points)
                .iter()
                .map(|point| FixedTable::new(ifma, point))
                .collect();
            let pairs: Vec<_> = terms
                .iter()
                .map(|(at, scalar)| (&tables[*at], scalar.as_bytes()))
                .collect();
            let products = double_and_encode(ifma, &times_fixed(ifma, &pairs));
            prop_assert_eq!(products.len(), terms.len().next_multiple_of(LANES));
            for (lane, (encoding, _)) in products.iter().enumerate() {
                let (at, scalar) = terms.get(lane).copied().unwrap_or((0, Scalar::ZERO));
                let double = points[at] * (scalar + scalar);
                prop_assert_eq!(*encoding, double.compress().to_bytes());
            }
        }
    }

    /// Digits of every size and sign at every place.
    #[test]
    fn every_entry_of_a_table_is_its_multiple() {
        let Some(ifma) = ifma() else { return };
        let point = point(5);
        let table = FixedTable::new(ifma, &affine(ifma, &[point])[0]);
        for byte in (0..=0xff).step_by(0x11) {
            let mut number = [byte; 32];
            // Below 2^252, so below the order.
            number[31] &= 0x0f;
            let scalar = Scalar::from_canonical_bytes(number).unwrap();
            let product = double_and_encode(ifma, &times_fixed(ifma, &[(&table, &number)]));
            let double = point * (scalar + scalar);
            assert_eq!(product[0].0, double.compress().to_bytes(), "{byte:#x}");
        }
    }
}
