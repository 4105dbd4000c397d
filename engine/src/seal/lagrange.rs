//! Lagrange coefficients at 0, as small integers where the committee is small.
//!
//! After Shoup, Practical Threshold Signatures (EUROCRYPT 2000), who clears denominators with n!. We clear them with
//! their least common multiple Delta over all t-subsets: for n <= 16 every Delta * lambda then fits an `i64` (8 bits at
//! n = 5, 28 at n = 10, 58 at n = 16 for the default threshold; 59 at most), and combining shares is a few dozen
//! doublings instead of 253. Above 16 authorities Delta is 1 and coefficients are scalars.
//!
//! Cost: Delta at n = 16 visits 12,870 subsets, some milliseconds, once a key. Coefficients are O(t^2).

use curve25519_dalek::scalar::Scalar;

/// Coefficients of the chosen authorities, in their order, each times Delta.
pub(super) enum Coefficients {
    /// For at most [`SMALL_COMMITTEE_MAX`] authorities.
    Small(Vec<i64>),
    /// For more.
    Full(Vec<Scalar>),
}

impl Coefficients {
    /// For the share points `points`: distinct, from 1 to `authorities`; as many as the threshold that `delta` is for.
    pub(super) fn new(authorities: u32, delta: u64, points: &[u64]) -> Self {
        if authorities <= SMALL_COMMITTEE_MAX {
            Self::Small(points.iter().map(|at| small(delta, *at, points)).collect())
        } else {
            Self::Full(points.iter().map(|at| full(*at, points)).collect())
        }
    }
}

/// Delta for `threshold` of `authorities`: the least common multiple of the denominators, in lowest terms, of all
/// Lagrange coefficients over all subsets of that size; 1 above [`SMALL_COMMITTEE_MAX`] authorities. At most 41 bits.
pub(crate) fn delta(authorities: u32, threshold: u32) -> u64 {
    if authorities > SMALL_COMMITTEE_MAX {
        return 1;
    }
    let mut delta = 1;
    for subset in (0u32..1 << authorities).filter(|set| set.count_ones() == threshold) {
        let points: Vec<u64> = (0..authorities)
            .filter(|bit| subset & 1 << bit != 0)
            .map(|bit| u64::from(bit) + 1)
            .collect();
        for at in &points {
            let (_, _, denominator) = fraction(*at, &points);
            delta = delta / gcd(delta, denominator) * denominator;
        }
    }
    delta
}

/// The product over j != at of j / (j - at) in lowest terms: negative?, numerator, denominator.
///
/// Both products are below 17!, as the points are distinct and at most 16.
fn fraction(at: u64, points: &[u64]) -> (bool, u64, u64) {
    let (mut negative, mut numerator, mut denominator) = (false, 1, 1);
    for other in points.iter().filter(|other| **other != at) {
        numerator *= other;
        denominator *= other.abs_diff(at);
        negative ^= *other < at;
    }
    let common = gcd(numerator, denominator);
    (negative, numerator / common, denominator / common)
}

fn small(delta: u64, at: u64, points: &[u64]) -> i64 {
    let (negative, numerator, denominator) = fraction(at, points);
    assert_eq!(delta % denominator, 0, "Delta clears every denominator");
    let size = i64::try_from(u128::from(delta / denominator) * u128::from(numerator))
        .expect("Delta * lambda fits 59 bits for every n <= 16, enumerated in the tests");
    if negative { -size } else { size }
}

fn full(at: u64, points: &[u64]) -> Scalar {
    let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
    for other in points.iter().filter(|other| **other != at) {
        numerator *= Scalar::from(*other);
        denominator *= Scalar::from(*other) - Scalar::from(at);
    }
    numerator * denominator.invert()
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The largest committee whose coefficients are small integers.
pub(super) const SMALL_COMMITTEE_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::committee::Thresholds;

    fn default_threshold(authorities: u32) -> u32 {
        Thresholds::new(authorities as usize).unwrap().quorum()
    }

    /// All `size`-subsets of 1..=authorities.
    fn subsets(authorities: u32, size: u32) -> impl Iterator<Item = Vec<u64>> {
        (0u32..1 << authorities)
            .filter(move |set| set.count_ones() == size)
            .map(move |set| {
                (1..=u64::from(authorities))
                    .filter(|p| set & 1 << (p - 1) != 0)
                    .collect()
            })
    }

    fn coefficient_bits_max(authorities: u32, threshold: u32) -> u32 {
        let delta = delta(authorities, threshold);
        subsets(authorities, threshold)
            .flat_map(
                |points| match Coefficients::new(authorities, delta, &points) {
                    Coefficients::Small(small) => small,
                    Coefficients::Full(_) => panic!("{authorities} authorities are few"),
                },
            )
            .map(|coefficient| 64 - coefficient.unsigned_abs().leading_zeros())
            .max()
            .unwrap()
    }

    #[test]
    fn delta_of_the_default_threshold_is_this_table() {
        let table = [
            1,
            1,
            1,
            3,
            12,
            10,
            360,
            1_260,
            3_360,
            90_720,
            907_200,
            1_663_200,
            119_750_400,
            778_377_600,
            3_632_428_800,
            163_459_296_000,
        ];
        for (authorities, expected) in (1..).zip(table) {
            let found = delta(authorities, default_threshold(authorities));
            assert_eq!(found, expected, "n = {authorities}");
        }
        assert_eq!(delta(17, 12), 1);
    }

    #[test]
    fn coefficients_have_these_lengths_at_the_default_threshold() {
        for (authorities, bits) in [(4, 5), (5, 8), (7, 16), (10, 28), (13, 43), (16, 58)] {
            let threshold = default_threshold(authorities);
            assert_eq!(
                coefficient_bits_max(authorities, threshold),
                bits,
                "n = {authorities}"
            );
        }
    }

    #[test]
    fn coefficients_fit_59_bits_for_every_committee_and_threshold() {
        for authorities in 1..=SMALL_COMMITTEE_MAX {
            let thresholds = Thresholds::new(authorities as usize).unwrap();
            for threshold in thresholds.validity()..=thresholds.quorum() {
                assert!(coefficient_bits_max(authorities, threshold) <= 59);
            }
        }
    }

    #[test]
    fn small_and_full_coefficients_agree_up_to_delta() {
        let delta = delta(7, 5);
        for points in subsets(7, 5) {
            let Coefficients::Small(small) = Coefficients::new(7, delta, &points) else {
                panic!("7 authorities are few");
            };
            for (at, small) in points.iter().zip(small) {
                let size = Scalar::from(small.unsigned_abs());
                let signed = if small < 0 { -size } else { size };
                assert_eq!(signed, Scalar::from(delta) * full(*at, &points));
            }
        }
    }

    #[test]
    fn full_coefficients_recover_a_polynomial_at_zero() {
        let value = |x: u64| Scalar::from(11 + 7 * x + 5 * x * x);
        let points = [2, 17, 100];
        let Coefficients::Full(full) = Coefficients::new(100, 1, &points) else {
            panic!("100 authorities are many");
        };
        let at_zero: Scalar = points.iter().zip(full).map(|(x, c)| c * value(*x)).sum();
        assert_eq!(at_zero, Scalar::from(11u64));
    }
}
