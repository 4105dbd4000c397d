//! Both ways against each other: the same results and verdicts, on whatever form the points have.

use std::io::Write as _;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::traits::Identity as _;
use proptest::prelude::*;

use super::*;
use crate::seal::group::Transcript;

fn random(seed: u64, tag: &str) -> Transcript {
    Transcript::new(tag).part(&seed.to_be_bytes())
}

fn scalar(seed: u64) -> Scalar {
    random(seed, "test/scalar").scalar()
}

/// The library's way and one of lanes, of each kind in turn; where there is but one, says so, and the tests compare it with
/// itself.
fn ways(seed: u64) -> [Way; 2] {
    let all = Way::all();
    let [library, lanes @ ..] = all.as_slice() else {
        unreachable!("the library is always there")
    };
    if lanes.is_empty() {
        // Past the capture of output: a test that tests nothing must be seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED: the machine has one way only");
        return [*library; 2];
    }
    [*library, lanes[(seed % lanes.len() as u64) as usize]]
}

/// `count` different points, some in the form of one way and some in that of the other.
fn points(seed: u64, count: usize) -> Vec<Point> {
    let [library, best] = ways(seed >> 32);
    let points = (0..count as u64).map(|at| {
        let point = RistrettoPoint::mul_base(&scalar(seed ^ at));
        let way = if seed >> (at % 64) & 1 == 0 {
            library
        } else {
            best
        };
        way.decode(&[point.compress().to_bytes()])[0].expect("a point")
    });
    points.collect()
}

fn encodings(points: &[Point]) -> Vec<[u8; 32]> {
    points.iter().map(|point| *point.encoding()).collect()
}

/// Checks that each point is the one that its encoding encodes, whatever its form.
fn assert_sound(points: &[Point]) {
    for point in points {
        let decoded = CompressedRistretto(*point.encoding()).decompress().unwrap();
        assert_eq!(point.library(), decoded);
        assert!(point.is(&decoded) && !point.is(&(decoded + RISTRETTO_BASEPOINT_POINT)));
        let alone = Way::all()
            .into_iter()
            .map(|way| way.sum(&[(Factor::Short(1), point)]));
        for sum in alone {
            assert_eq!(sum.point().encoding(), point.encoding());
            assert_eq!(sum.is_identity(), point.is_identity());
        }
    }
}

fn with_identity(mut points: Vec<Point>, at: Option<usize>) -> Vec<Point> {
    let count = points.len();
    if let Some(at) = at {
        points[at % count] = Point::encode(RistrettoPoint::identity());
    }
    points
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn both_multiply_fixed_points_alike(seed: u64, terms in prop::collection::vec((0..3usize, any::<u64>()), 0..20)) {
        let others = [scalar(seed), scalar(!seed)].map(|s| RistrettoPoint::mul_base(&s));
        let scalars: Vec<Scalar> = terms.iter().map(|(_, number)| scalar(*number)).collect();
        let [one, other] = ways(seed).map(|way| {
            let [a, b] = others.map(|point| Generator::by(way, point));
            let generators = [Generator::base_by(way), a, b];
            let terms = terms.iter().zip(&scalars).map(|((at, _), scalar)| (&generators[*at], scalar));
            double_fixed_products(&terms.collect::<Vec<_>>())
        });
        prop_assert_eq!(&one, &other);
        let points = [RISTRETTO_BASEPOINT_POINT, others[0], others[1]];
        for (((at, _), scalar), encoding) in terms.iter().zip(&scalars).zip(one.iter()) {
            prop_assert_eq!(*encoding, (points[*at] * (scalar + scalar)).compress().to_bytes());
        }
    }

    #[test]
    fn both_decode_alike(seed: u64, count in 1..40usize, flips in prop::collection::vec((any::<usize>(), 0..256usize), 0..20)) {
        let mut all = encodings(&points(seed, count));
        for (at, bit) in flips {
            all[at % count][bit / 8] ^= 1 << (bit % 8);
        }
        let [one, other] = ways(seed).map(|way| way.decode(&all));
        for ((one, other), encoding) in one.iter().zip(&other).zip(&all) {
            prop_assert_eq!(one.is_some(), other.is_some(), "{}", hex::encode(encoding));
        }
        let decoded: Vec<Point> = other.into_iter().flatten().collect();
        assert_sound(&decoded);
    }

    #[test]
    fn both_multiply_alike(seed: u64, count in 1..20usize, identity in prop::option::of(any::<usize>())) {
        let points = with_identity(points(seed, count), identity);
        let secret = scalar(seed);
        let [one, other] = ways(seed).map(|way| way.double_products(points.iter(), &secret));
        prop_assert_eq!(encodings(&one), encodings(&other));
        assert_sound(&other);
        prop_assert_eq!(other[0].library(), points[0].library() * (secret + secret));
    }

    #[test]
    fn both_combine_alike(
        seed: u64,
        small in prop::collection::vec(any::<i64>(), 1..6),
        is_small: bool,
        count in 1..20usize,
        identity in prop::option::of(any::<usize>()),
    ) {
        let rows: Vec<Vec<Point>> = (0..small.len() as u64)
            .map(|row| with_identity(points(seed.wrapping_add(row), count), identity))
            .collect();
        let rows: Vec<&[Point]> = rows.iter().map(Vec::as_slice).collect();
        let coefficients = if is_small {
            Coefficients::Small(small)
        } else {
            Coefficients::Full(small.iter().map(|number| scalar(*number as u64)).collect())
        };
        let [one, other] = ways(seed).map(|way| way.double_combinations(&coefficients, &rows));
        prop_assert_eq!(encodings(&one), encodings(&other));
        assert_sound(&other);
    }

    #[test]
    fn both_sum_alike(seed: u64, factors in prop::collection::vec((any::<bool>(), any::<u128>()), 0..30)) {
        let points = points(seed, factors.len());
        let factor = |(is_short, number): &(bool, u128)| {
            if *is_short { Factor::Short(*number) } else { Factor::Full(scalar(*number as u64)) }
        };
        let terms: Vec<(Factor, &Point)> = factors.iter().map(factor).zip(&points).collect();
        let [one, other] = ways(seed).map(|way| way.sum(&terms));
        prop_assert_eq!(one.point(), other.point());
        prop_assert_eq!(one.is_identity(), other.is_identity());
        let sum = one.point();
        let less = [terms, vec![(Factor::Full(-Scalar::ONE), &sum)]].concat();
        prop_assert!(Way::all().iter().all(|way| way.sum(&less).is_identity()));
    }
}
