//! The lanes against fiat's field, the inversion against itself, the sums against dalek's.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::traits::VartimeMultiscalarMul as _;
use proptest::prelude::*;
use pulp::bytemuck::cast;

use super::field::Element;
use super::lanes::{Ifma, Lanes};
use super::multiply::digits;
use super::*;

/// Limbs of eight elements.
type Limbs = [[u64; 5]; 8];

fn lanes(limbs: &Limbs) -> Lanes {
    let ifma = Ifma::try_new().expect("built for a machine that has it");
    let column = |at| cast(std::array::from_fn::<u64, 8, _>(|lane| limbs[lane][at]));
    Lanes::from_limbs(ifma, std::array::from_fn(column))
}

/// The element in `lane`, by a way round that `first` is not told of.
fn in_lane(lanes: Lanes, lane: usize) -> Element {
    let limbs: [[u64; 8]; 5] = lanes.limbs().map(cast);
    Element::from_limbs(limbs.map(|limb| limb[lane]))
}

fn keeps_i2(lanes: Lanes) -> bool {
    let limbs: [[u64; 8]; 5] = lanes.limbs().map(cast);
    limbs.as_flattened().iter().all(|limb| *limb < I2)
}

/// The bound of I2 in `lanes.rs`.
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn lanes_add_and_subtract_each_by_itself(a in limbs_below(I2), b in limbs_below(I2)) {
        let (sum, difference) = (lanes(&a) + lanes(&b), lanes(&a) - lanes(&b));
        prop_assert!(keeps_i2(sum) && keeps_i2(difference));
        for lane in 0..8 {
            let (a, b) = (Element::from_limbs(a[lane]), Element::from_limbs(b[lane]));
            prop_assert!(in_lane(sum, lane) == a + b);
            prop_assert!(in_lane(difference, lane) == a - b);
        }
    }

    #[test]
    fn lanes_multiply_each_by_itself(a in limbs_below(1 << 52), b in limbs_below(1 << 52)) {
        let product = lanes(&a) * lanes(&b);
        prop_assert!(keeps_i2(product));
        for lane in 0..8 {
            let (a, b) = (Element::from_limbs(a[lane]), Element::from_limbs(b[lane]));
            prop_assert!(in_lane(product, lane) == a * b);
        }
    }

    #[test]
    fn lanes_move_change_sign_and_give_way_by_mask(
        a in limbs_below(1 << 51),
        b in limbs_below(1 << 51),
        mask: u8,
        from in prop::array::uniform8(0..8i64),
    ) {
        let (all_a, all_b) = (lanes(&a), lanes(&b));
        let negated = all_a.negated_where(mask);
        let replaced = all_a.replaced_where(mask, &all_b);
        let permuted = all_a.permuted(from);
        let one = Lanes::splat(Ifma::try_new().expect("as above"), Element::ONE);
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

    #[test]
    fn digits_add_up(mut number: [u8; 32]) {
        number[31] &= 0x3f;
        assert_digits_add_up(&number);
    }
}

fn assert_digits_add_up(number: &[u8; 32]) {
    let digits = digits(number);
    assert!(digits.iter().all(|digit| (-8..8).contains(digit)));
    let mut carry = 0i32;
    for (pair, byte) in digits.as_chunks::<2>().0.iter().zip(number) {
        let sum = i32::from(pair[0]) + 16 * i32::from(pair[1]) + carry;
        assert_eq!(sum & 0xff, i32::from(*byte));
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
}

#[test]
fn digits_of_the_ends_of_the_range_add_up() {
    let mut largest = [0xff; 32];
    largest[31] = 0x3f;
    for number in [[0; 32], [0x88; 32].map(|b| b & 0x3f), largest, [0x37; 32]] {
        assert_digits_add_up(&number);
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

#[test]
fn sums_are_those_of_dalek_for_keys_of_any_order() {
    let bounds = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(8u8)];
    let drawn = (1..9u64).map(|n| (Scalar::from(n) * -Scalar::from(u128::MAX)).invert());
    let scalars: Vec<Scalar> = bounds.into_iter().chain(drawn).collect();
    for (index, torsion) in EIGHT_TORSION.iter().enumerate() {
        for a in [
            ED25519_BASEPOINT_POINT * scalars[5 + index % 4] + torsion,
            *torsion,
        ] {
            let table = KeyTable::new(&a).expect("built for a machine that has it");
            for (k, s) in scalars
                .iter()
                .flat_map(|k| scalars.iter().map(move |s| (k, s)))
            {
                let expected =
                    EdwardsPoint::vartime_multiscalar_mul([k, s], [-a, ED25519_BASEPOINT_POINT]);
                assert_eq!(table.expected_r(k, s), expected.compress().to_bytes());
            }
        }
    }
}
