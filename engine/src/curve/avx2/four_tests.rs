use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::curve::field::Element;

/// Limbs of four elements, each at most `bound` in absolute value, and at these bounds more often than by chance.
fn limbs(bound: i64) -> impl Strategy<Value = [[i64; 4]; 5]> {
    let limb = prop_oneof![
        3 => -bound..=bound,
        1 => Just(bound),
        1 => Just(-bound),
        1 => Just(0),
    ];
    prop::array::uniform5(prop::array::uniform4(limb))
}

fn four(limbs: &[[i64; 4]; 5]) -> Four {
    Four {
        limbs: limbs.map(|lanes| pulp::bytemuck::cast(lanes.map(|limb| limb as f64))),
    }
}

fn lanes_of(four: &Four) -> [[i64; 4]; 5] {
    let lanes = four.limbs.map(pulp::bytemuck::cast::<_, [f64; 4]>);
    lanes.map(|lanes| {
        lanes.map(|limb| {
            assert!(limb.fract() == 0.0 && limb.abs() <= 2.0 * TWO_52);
            limb as i64
        })
    })
}

fn element(limbs: &[[i64; 4]; 5], lane: usize) -> Element {
    let small = |number: u64| {
        Element::small(number >> 32) * Element::small(1 << 32)
            + Element::small(number & u64::from(u32::MAX))
    };
    let mut sum = Element::ZERO;
    for limb in limbs.iter().rev() {
        let size = small(limb[lane].unsigned_abs());
        sum = sum * small(1 << 51);
        sum = if limb[lane] < 0 {
            sum - size
        } else {
            sum + size
        };
    }
    sum
}

fn assert_is(result: Four, expected: impl Fn(usize) -> Element) {
    let limbs = lanes_of(&result);
    assert!(limbs.as_flattened().iter().all(|limb| limb.abs() <= J2));
    for lane in 0..4 {
        assert!(element(&limbs, lane) == expected(lane));
    }
}

fn assert_multiplied(avx2: Avx2, a: &[[i64; 4]; 5], b: &[[i64; 4]; 5]) {
    for (one, other) in [(a, b), (b, a)] {
        let product = four(one).times(avx2, &four(other));
        assert_is(product, |lane| element(one, lane) * element(other, lane));
    }
}

fn assert_squared(avx2: Avx2, a: &[[i64; 4]; 5]) {
    let square = four(a).square(avx2);
    assert_is(square, |lane| element(a, lane) * element(a, lane));
}

const J2: i64 = (1 << 50) + (1 << 14);
const CANONICAL: i64 = (1 << 51) - 1;

fn avx2() -> Option<Avx2> {
    let avx2 = Avx2::try_new();
    if avx2.is_none() {
        // Past the capture of output: a test that tests nothing must be seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: the machine has no AVX2 with FMA"
        );
    }
    avx2
}

#[test]
fn the_largest_limbs_multiply_whatever_their_signs() {
    let Some(avx2) = avx2() else { return };
    for signs in 0..1 << 10 {
        let signed = |bound: i64, from: usize| {
            std::array::from_fn(|at| {
                [if signs >> (from + at) & 1 == 0 {
                    bound
                } else {
                    -bound
                }; 4]
            })
        };
        assert_multiplied(avx2, &signed(J2, 0), &signed(3 * J2, 5));
        assert_multiplied(avx2, &signed(1 << 51, 0), &signed(1 << 51, 5));
        assert_squared(avx2, &signed(J2, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn limbs_within_j1_multiply(
        carried in limbs(J2),
        sum in limbs(3 * J2),
        one in limbs(CANONICAL),
        other in limbs(CANONICAL),
    ) {
        let Some(avx2) = avx2() else { return Ok(()) };
        assert_multiplied(avx2, &carried, &sum);
        assert_multiplied(avx2, &one, &other);
        assert_squared(avx2, &carried);
    }

    #[test]
    fn limbs_within_j3_are_carried(a in limbs(1 << 53)) {
        let Some(avx2) = avx2() else { return Ok(()) };
        assert_is(four(&a).sum(avx2).carried(), |lane| element(&a, lane));
    }

    #[test]
    fn sums_and_differences_are_exact(a in limbs(1 << 52), b in limbs(1 << 52)) {
        let Some(avx2) = avx2() else { return Ok(()) };
        let (sum, difference) = (four(&a).sum(avx2).plus(&four(&b)), four(&a).sum(avx2).minus(&four(&b)));
        assert_is(sum.carried(), |lane| element(&a, lane) + element(&b, lane));
        assert_is(difference.carried(), |lane| element(&a, lane) - element(&b, lane));
    }

    #[test]
    fn carried_limbs_become_canonical(a in limbs(J2)) {
        let Some(avx2) = avx2() else { return Ok(()) };
        let once = four(&a).canonical(avx2);
        for canonical in [once, once.canonical(avx2)] {
            let wide = canonical.wide(avx2).map(pulp::bytemuck::cast::<_, [u64; 4]>);
            for lane in 0..4 {
                prop_assert_eq!(wide.map(|limb| limb[lane]), element(&a, lane).canonical_limbs());
            }
        }
        assert_is(Four::of_wide(avx2, once.wide(avx2)), |lane| element(&a, lane));
    }
}
