//! The multiples of one point by which any multiple of it is a sum of 64, made once and kept.
//!
//! For each of the 64 places i of a number in radix 16, 16^i P, 2 16^i P .. 8 16^i P, affine and prepared to be added.
//! A digit is -8 to 7, so eight multiples and a change of sign do. Source: Bernstein et al., High-speed high-security
//! signatures, 2011, section 4, whose table has every second place and is followed by four doublings; here are all of them,
//! since eight lanes have no use for doublings in between. I1: limbs are below 2^51.
//!
//! Cost: 64 KiB, and some 9,000 multiplications of field elements to make (0.2 ms).

use std::arch::x86_64::__m512i;

use crate::curve::digits::PLACES;
use crate::curve::field::Element;
use crate::curve::point::{AffineNiels, Extended};
use crate::curve::power::Power as _;

/// Multiples of one point.
pub(super) struct Table {
    /// By place, then multiple less one.
    entries: Vec<[Entry; MULTIPLES]>,
}

/// One multiple: the limbs of y + x, y - x and 2dxy one after the other, then a zero.
pub(super) type Entry = [__m512i; 2];

impl Table {
    /// The multiples of the negative of the point that `compressed` encodes, `None` when it encodes none.
    pub(super) fn of_negative(compressed: &[u8; 32]) -> Option<Self> {
        let point = decompress(compressed)?;
        let x = Element::ZERO - point.x;
        let t = Element::ZERO - point.t;
        Some(Self::of(Extended { x, t, ..point }))
    }

    /// The multiples of the point that `compressed` encodes, `None` when it encodes none.
    pub(super) fn of_point(compressed: &[u8; 32]) -> Option<Self> {
        Some(Self::of(decompress(compressed)?))
    }

    fn of(point: Extended<Element>) -> Self {
        let d2 = twice_d();
        let mut multiples = Vec::with_capacity(PLACES * MULTIPLES);
        let mut base = point;
        for _ in 0..PLACES {
            let step = base.to_niels(d2);
            let mut multiple = base;
            for _ in 1..MULTIPLES {
                multiples.push(multiple);
                multiple = multiple.plus(&step);
            }
            multiples.push(multiple);
            base = multiple.plus(&multiple.to_niels(d2));
        }
        let prepared = affine(&multiples, d2);
        let places = prepared.as_chunks::<MULTIPLES>().0;
        Self {
            entries: places.iter().map(|place| place.map(entry)).collect(),
        }
    }

    /// `digit` times 16^`place` times the point, for a digit of 1 to 8.
    #[inline(always)]
    pub(super) fn multiple(&self, place: usize, digit: usize) -> &Entry {
        &self.entries[place][digit - 1]
    }
}

/// What encodes the neutral point as an entry: y + x = y - x = 1 and 2dxy = 0.
pub(super) fn neutral() -> Entry {
    entry(AffineNiels {
        y_plus_x: Element::ONE,
        y_minus_x: Element::ONE,
        xy2d: Element::ZERO,
    })
}

/// 2d of the curve, d = -121665 / 121666.
pub(super) fn twice_d() -> Element {
    let d = -Element::small(121_665) * Element::small(121_666).invert();
    d + d
}

/// Source: RFC 8032, section 5.1.3. Takes canonical encodings; what it says of others is not used.
fn decompress(compressed: &[u8; 32]) -> Option<Extended<Element>> {
    let y = Element::from_bytes(compressed);
    let yy = y.square();
    let d2 = twice_d();
    // x^2 = (y^2 - 1) / (d y^2 + 1), both doubled.
    let (u, v) = (yy - Element::ONE, d2 * yy + Element::small(2));
    let root = Element::root_of_ratio(u + u, v)?;
    let is_odd = compressed[31] >> 7 == 1;
    let x = if root.is_odd() == is_odd { root } else { -root };
    Some(Extended {
        x,
        y,
        z: Element::ONE,
        t: x * y,
    })
}

/// The points made affine and prepared, with one inversion for all. Source: Montgomery, 1987, section 10.3.1.
fn affine(points: &[Extended<Element>], d2: Element) -> Vec<AffineNiels<Element>> {
    let mut product = Element::ONE;
    let mut before = Vec::with_capacity(points.len());
    for point in points {
        before.push(product);
        product = product * point.z;
    }
    let mut inverse = product.invert();
    let mut prepared = Vec::with_capacity(points.len());
    for (point, before) in points.iter().zip(before).rev() {
        let z_inverse = inverse * before;
        inverse = inverse * point.z;
        let (x, y) = (point.x * z_inverse, point.y * z_inverse);
        prepared.push(AffineNiels {
            y_plus_x: y + x,
            y_minus_x: y - x,
            xy2d: x * y * d2,
        });
    }
    prepared.reverse();
    prepared
}

fn entry(point: AffineNiels<Element>) -> Entry {
    let mut words = [[0u64; 8]; 2];
    let coordinates = [point.y_plus_x, point.y_minus_x, point.xy2d];
    let limbs = coordinates.into_iter().flat_map(Element::canonical_limbs);
    for (word, limb) in words.as_flattened_mut().iter_mut().zip(limbs) {
        *word = limb;
    }
    words.map(pulp::bytemuck::cast)
}

/// Digits are -8 to 7.
const MULTIPLES: usize = 8;
