//! The portable way: one by one, by curve25519-dalek, which has fast ways of its own on several machines.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity as _, IsIdentity as _, VartimeMultiscalarMul as _};

use super::{Factor, Form, Point};
use crate::seal::lagrange::Coefficients;

pub(super) fn decode(encodings: &[[u8; 32]]) -> Vec<Option<Point>> {
    let decoded = encodings.iter().map(|encoding| {
        let point = CompressedRistretto(*encoding).decompress()?;
        (!point.is_identity()).then_some(Point {
            encoding: *encoding,
            form: Form::Library(point),
        })
    });
    decoded.collect()
}

pub(super) fn double_products<'a>(
    points: impl Iterator<Item = &'a Point>,
    secret: &Scalar,
) -> Vec<Point> {
    doubles(points.map(|point| point.library() * secret).collect())
}

pub(super) fn double_combinations(coefficients: &Coefficients, rows: &[&[Point]]) -> Vec<Point> {
    let columns = 0..rows.first().map_or(0, |row| row.len());
    let sums = match coefficients {
        Coefficients::Small(small) => {
            let digits: Vec<Vec<i8>> = small.iter().map(|c| signed_digits(*c)).collect();
            columns
                .map(|at| {
                    let points: Vec<RistrettoPoint> =
                        rows.iter().map(|row| row[at].library()).collect();
                    small_combination(&digits, &points)
                })
                .collect()
        }
        Coefficients::Full(full) => columns
            .map(|at| {
                let points = rows.iter().map(|row| row[at].library());
                RistrettoPoint::vartime_multiscalar_mul(full, points)
            })
            .collect(),
    };
    doubles(sums)
}

pub(super) fn sum(terms: &[(Factor, &Point)]) -> RistrettoPoint {
    let scalars = terms.iter().map(|(factor, _)| match factor {
        Factor::Short(number) => Scalar::from(*number),
        Factor::Full(scalar) => *scalar,
    });
    let points = terms.iter().map(|(_, point)| point.library());
    RistrettoPoint::vartime_multiscalar_mul(scalars, points)
}

/// The doubles of `halves`, encoded with one inversion for all.
fn doubles(halves: Vec<RistrettoPoint>) -> Vec<Point> {
    let encodings = RistrettoPoint::double_and_compress_batch(&halves);
    let both = encodings.iter().zip(halves);
    both.map(|(encoding, half)| Point {
        encoding: encoding.to_bytes(),
        form: Form::Library(half + half),
    })
    .collect()
}

/// `coefficient` as digits -1, 0, 1, least first, no two neighbours both non-zero; empty for 0.
fn signed_digits(coefficient: i64) -> Vec<i8> {
    let mut rest = i128::from(coefficient);
    let mut digits = Vec::new();
    while rest != 0 {
        let digit = match rest.rem_euclid(4) {
            1 => 1,
            3 => -1,
            _ => 0,
        };
        digits.push(digit);
        rest = (rest - i128::from(digit)) / 2;
    }
    digits
}

/// The sum of digits times point, the doublings shared.
fn small_combination(digits: &[Vec<i8>], points: &[RistrettoPoint]) -> RistrettoPoint {
    let length = digits.iter().map(Vec::len).max().unwrap_or(0);
    let mut sum = RistrettoPoint::identity();
    for place in (0..length).rev() {
        sum += sum;
        for (point, digits) in points.iter().zip(digits) {
            match digits.get(place) {
                Some(1) => sum += point,
                Some(-1) => sum -= point,
                _ => {}
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_digits_add_up_and_are_never_neighbours() {
        let samples = [0, 1, -1, 2, 3, -3, 240, -20, 1 << 58, i64::MAX, i64::MIN];
        for coefficient in samples.into_iter().chain(-70..70) {
            let digits = signed_digits(coefficient);
            let sum: i128 = digits
                .iter()
                .rev()
                .fold(0, |sum, digit| 2 * sum + i128::from(*digit));
            assert_eq!(sum, i128::from(coefficient));
            assert!(digits.windows(2).all(|pair| pair[0] == 0 || pair[1] == 0));
            assert_ne!(digits.last(), Some(&0), "no leading zero");
        }
    }
}
