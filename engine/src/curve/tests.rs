//! The lanes against fiat's field, the inversion against itself.

use proptest::prelude::*;

use super::{CARRIED, Kind, machine};
use crate::curve::field::Element;
use crate::curve::invert;
use crate::curve::lanes::{Lanes as _, Machine};
use crate::curve::power::Power as _;

type Lanes = <Kind as Machine>::Lanes;

/// Limbs of eight elements.
type Limbs = [[u64; 5]; 8];

fn lanes(machine: Kind, limbs: &Limbs) -> Lanes {
    let column = |at| std::array::from_fn(|lane| limbs[lane][at]);
    Lanes::from_columns(machine, std::array::from_fn(column))
}

/// The element in `lane`, by a way round that `first` is not told of.
fn in_lane(lanes: Lanes, lane: usize) -> Element {
    let limbs = lanes.columns();
    Element::from_limbs(limbs.map(|limb| limb[lane]))
}

fn is_carried(lanes: Lanes) -> bool {
    let limbs = lanes.columns();
    limbs.as_flattened().iter().all(|limb| *limb < CARRIED)
}

/// What carried limbs may be: the bound of I2 in `ifma.rs`; limbs below it keep J2 of `avx2/four.rs`, too.
const I2: u64 = (1 << 51) + (1 << 15);

/// Limbs below `bound`, those at its ends and at those of 51 bits more often than by chance.
fn limbs_below(bound: u64) -> impl Strategy<Value = Limbs> {
    let limb = prop_oneof![
        3 => 0..bound,
        2 => Just(bound - 1),
        1 => Just(0),
        1 => Just((1 << 51) - 1),
        1 => Just((1 << 51) - 19),
    ];
    prop::array::uniform8(prop::array::uniform5(limb))
}

/// Limbs below I2, of elements whose value is often about 0, p or the largest.
fn limbs_near_p() -> impl Strategy<Value = Limbs> {
    let near = |limbs: [u64; 5]| {
        (0..40u64).prop_map(move |by| {
            let mut limbs = limbs;
            limbs[0] = (limbs[0] + by).min(I2 - 1);
            limbs
        })
    };
    let top = (1 << 51) - 1;
    let element = prop_oneof![
        2 => near([0; 5]),
        2 => near([top - 38, top, top, top, top]),
        1 => near([I2 - 38; 5]),
        1 => near([top - 37, I2 - 1, top, top, top]),
        1 => prop::array::uniform5(0..I2),
    ];
    prop::array::uniform8(element)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn lanes_add_and_subtract_each_by_itself(a in limbs_below(I2), b in limbs_below(I2)) {
        let Some(machine) = machine() else { return Ok(()) };
        let (sum, difference) = (lanes(machine, &a) + lanes(machine, &b), lanes(machine, &a) - lanes(machine, &b));
        prop_assert!(is_carried(sum) && is_carried(difference));
        for lane in 0..8 {
            let (a, b) = (Element::from_limbs(a[lane]), Element::from_limbs(b[lane]));
            prop_assert!(in_lane(sum, lane) == a + b);
            prop_assert!(in_lane(difference, lane) == a - b);
        }
    }

    #[test]
    fn lanes_multiply_each_by_itself(a in limbs_below(1 << 52), b in limbs_below(1 << 52)) {
        let Some(machine) = machine() else { return Ok(()) };
        let product = lanes(machine, &a) * lanes(machine, &b);
        prop_assert!(is_carried(product));
        for lane in 0..8 {
            let (a, b) = (Element::from_limbs(a[lane]), Element::from_limbs(b[lane]));
            prop_assert!(in_lane(product, lane) == a * b);
        }
    }

    #[test]
    fn lanes_square_each_by_itself(a in limbs_below(1 << 52)) {
        let Some(machine) = machine() else { return Ok(()) };
        let square = lanes(machine, &a).square();
        prop_assert!(is_carried(square));
        for lane in 0..8 {
            let a = Element::from_limbs(a[lane]);
            prop_assert!(in_lane(square, lane) == a * a);
        }
    }

    #[test]
    fn canonical_lanes_are_canonical_and_know_zero_odd_and_equal(a in limbs_near_p(), b in limbs_near_p()) {
        let Some(machine) = machine() else { return Ok(()) };
        let (all_a, all_b) = (lanes(machine, &a), lanes(machine, &b));
        let canonical = all_a.canonical();
        for lane in 0..8 {
            let (a, b) = (Element::from_limbs(a[lane]), Element::from_limbs(b[lane]));
            let is_set = |mask: u8| mask >> lane & 1 == 1;
            prop_assert_eq!(canonical.columns().map(|limb| limb[lane]), a.canonical_limbs());
            prop_assert_eq!(is_set(canonical.zero()), a == Element::ZERO);
            prop_assert_eq!(is_set(canonical.odd()), a.is_odd());
            prop_assert_eq!(is_set(all_a.equal(all_b)), a == b);
        }
    }

    #[test]
    fn lanes_move_change_sign_and_give_way_by_mask(
        a in limbs_below(1 << 51),
        b in limbs_below(1 << 51),
        mask: u8,
        from in prop::array::uniform8(0..8i64),
    ) {
        let Some(machine) = machine() else { return Ok(()) };
        let (all_a, all_b) = (lanes(machine, &a), lanes(machine, &b));
        let negated = all_a.negated_where(mask);
        let replaced = all_a.replaced_where(mask, &all_b);
        let permuted = all_a.permuted(from);
        let one = Lanes::splat(machine, Element::ONE);
        let product = negated * one;
        prop_assert!(in_lane(all_a, 0) == all_a.first());
        for lane in 0..8 {
            let (a, b) = (Element::from_limbs(a[lane]), Element::from_limbs(b[lane]));
            let is_in = mask >> lane & 1 == 1;
            let (signed, chosen) = if is_in { (-a, b) } else { (a, a) };
            prop_assert!(in_lane(product, lane) == signed);
            prop_assert!(in_lane(replaced, lane) == chosen);
            prop_assert!(in_lane(permuted, lane) == in_lane(all_a, from[lane] as usize));
        }
    }

    #[test]
    fn inverses_multiply_to_one(bytes: [u8; 32]) {
        let x = Element::from_bytes(&bytes);
        prop_assert!(x.invert() * x == Element::ONE);
        prop_assert!(invert::divided(x) * x == Element::ONE, "without the way out");
    }
}

#[test]
fn inverses_of_special_elements_multiply_to_one() {
    let two = Element::small(2);
    let mut power = Element::ONE;
    for _ in 0..255 {
        for x in [power, -power, power + Element::ONE, power - two] {
            if x == Element::ZERO {
                continue;
            }
            assert!(invert::divided(x) * x == Element::ONE && x.invert() * x == Element::ONE);
        }
        power = power * two;
    }
    assert!(Element::ZERO.invert_public() == Element::ZERO);
}

#[test]
fn roots_are_found_where_there_are_any() {
    let mut found = [0; 2];
    for v in 1..200 {
        let (u, v) = (Element::small(v * v + 7), Element::small(v));
        match Element::root_of_ratio(u, v) {
            Some(root) => assert!(root.square() * v == u),
            // 2 is no square modulo p = 5 mod 8, so exactly one of u / v and 2 u / v is one.
            None => assert!(Element::root_of_ratio(u + u, v).is_some()),
        }
        found[usize::from(Element::root_of_ratio(u, v).is_some())] += 1;
    }
    assert!(found.iter().all(|count| *count > 50), "{found:?}");
}
