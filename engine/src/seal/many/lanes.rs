//! The way in lanes: eight at a time. What the library has made is decoded once more, sixteen at a time.

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::{Factor, Form, Point};
use crate::curve::affine::Affine;
use crate::curve::combine::{Sparse, combine};
use crate::curve::encode::double_and_encode;
use crate::curve::field::Element;
use crate::curve::fixed::{FixedTable, times_fixed};
use crate::curve::lanes::Machine;
use crate::curve::point::Extended;
use crate::curve::{decode as curve_decode, sum as curve_sum, times::times_secret};
use crate::seal::lagrange::Coefficients;

pub(super) fn decode<M: Machine>(machine: M, encodings: &[[u8; 32]]) -> Vec<Option<Point>> {
    let points = curve_decode::decode(machine, encodings).into_iter();
    let both = points.zip(encodings);
    both.map(|(point, encoding)| {
        Some(Point {
            encoding: *encoding,
            form: Form::Lanes(point?),
        })
    })
    .collect()
}

pub(super) fn double_products<'a, M: Machine>(
    machine: M,
    points: impl ExactSizeIterator<Item = &'a Point>,
    secret: &Scalar,
) -> Vec<Point> {
    let count = points.len();
    let products = times_secret(machine, &affine(machine, points), secret.as_bytes());
    points_of(double_and_encode(machine, &products), count)
}

pub(super) fn double_combinations<M: Machine>(
    machine: M,
    coefficients: &Coefficients,
    rows: &[&[Point]],
) -> Vec<Point> {
    let factors: Vec<Sparse> = match coefficients {
        Coefficients::Small(small) => small.iter().map(|c| Sparse::of_small(*c)).collect(),
        Coefficients::Full(full) => full
            .iter()
            .map(|c| Sparse::of_scalar(c.as_bytes()))
            .collect(),
    };
    let points: Vec<Vec<Affine>> = rows.iter().map(|row| affine(machine, row.iter())).collect();
    let points: Vec<&[Affine]> = points.iter().map(Vec::as_slice).collect();
    let count = rows.first().map_or(0, |row| row.len());
    points_of(
        double_and_encode(machine, &combine(machine, &factors, &points)),
        count,
    )
}

pub(super) fn sum<M: Machine>(machine: M, terms: &[(Factor, &Point)]) -> Extended<Element> {
    let points = affine(machine, terms.iter().map(|(_, point)| *point));
    let factors = terms.iter().map(|(factor, _)| match factor {
        Factor::Short(number) => curve_sum::Factor::Short(*number),
        Factor::Full(scalar) => curve_sum::Factor::Full(scalar.to_bytes()),
    });
    let terms: Vec<(curve_sum::Factor, Affine)> = factors.zip(points).collect();
    curve_sum::sum_of_products(machine, &terms)
}

/// The points of the first `count` lanes.
fn points_of(encoded: Vec<([u8; 32], Affine)>, count: usize) -> Vec<Point> {
    let points = encoded.into_iter().take(count);
    points
        .map(|(encoding, point)| Point {
            encoding,
            form: Form::Lanes(point),
        })
        .collect()
}

/// The points in the form of lanes.
fn affine<'a, M: Machine>(machine: M, points: impl Iterator<Item = &'a Point>) -> Vec<Affine> {
    let mut foreign = Vec::new();
    let mut affine: Vec<Affine> = points
        .enumerate()
        .map(|(at, point)| match point.form {
            Form::Lanes(point) => point,
            Form::Library(_) => {
                foreign.push((at, point.encoding));
                // What decoding refuses is the identity, and stays it.
                Affine::NEUTRAL
            }
        })
        .collect();
    let encodings: Vec<[u8; 32]> = foreign.iter().map(|(_, encoding)| *encoding).collect();
    let decoded = curve_decode::decode(machine, &encodings);
    for ((at, _), point) in foreign.into_iter().zip(decoded) {
        if let Some(point) = point {
            affine[at] = point;
        }
    }
    affine
}

/// The table of a point that is not the identity.
pub(super) fn table<M: Machine>(machine: M, point: &Point) -> FixedTable<M> {
    FixedTable::new(machine, &affine(machine, std::iter::once(point))[0])
}

/// The encodings of the doubles of the products.
pub(super) fn double_fixed_products<M: Machine>(
    machine: M,
    terms: &[(&FixedTable<M>, &[u8; 32])],
) -> Zeroizing<Vec<[u8; 32]>> {
    let doubles = Zeroizing::new(double_and_encode(machine, &times_fixed(machine, terms)));
    let encodings = doubles.iter().take(terms.len());
    Zeroizing::new(encodings.map(|(encoding, _)| *encoding).collect())
}
