//! Eight rows of eight words as eight columns, and back: between elements in memory and elements in lanes of IFMA.

use std::arch::x86_64::__m512i;

use super::ifma::{Ifma, IfmaLanes};
use super::lanes::LANES;
use super::point::Extended;

/// A point: the limbs of x, y, z and t one after the other, then four zeros.
pub(crate) type Row = [__m512i; 3];

pub(crate) fn neutral() -> Row {
    let mut words = [[0u64; 8]; 3];
    // The lowest limbs of y and z.
    (words[0][5], words[1][2]) = (1, 1);
    words.map(pulp::bytemuck::cast)
}

/// One point a lane.
#[inline(always)]
pub(crate) fn to_lanes(ifma: Ifma, rows: [&Row; LANES]) -> Extended<IfmaLanes> {
    let mut parts = [[rows[0][0]; LANES]; 3];
    for (lane, row) in rows.into_iter().enumerate() {
        for (part, row) in parts.iter_mut().zip(row) {
            part[lane] = *row;
        }
    }
    let [a0, a1, a2, a3, a4, b0, b1, b2] = transposed(ifma, parts[0]);
    let [b3, b4, c0, c1, c2, c3, c4, d0] = transposed(ifma, parts[1]);
    let [d1, d2, d3, d4, ..] = transposed(ifma, parts[2]);
    Extended {
        x: IfmaLanes::from_limbs(ifma, [a0, a1, a2, a3, a4]),
        y: IfmaLanes::from_limbs(ifma, [b0, b1, b2, b3, b4]),
        z: IfmaLanes::from_limbs(ifma, [c0, c1, c2, c3, c4]),
        t: IfmaLanes::from_limbs(ifma, [d0, d1, d2, d3, d4]),
    }
}

/// One point a row.
#[inline(always)]
pub(crate) fn of_lanes(ifma: Ifma, points: &Extended<IfmaLanes>) -> [Row; LANES] {
    let [a0, a1, a2, a3, a4] = points.x.limbs();
    let [b0, b1, b2, b3, b4] = points.y.limbs();
    let [c0, c1, c2, c3, c4] = points.z.limbs();
    let [d0, d1, d2, d3, d4] = points.t.limbs();
    let none = ifma.base._mm512_setzero_si512();
    let parts = [
        transposed(ifma, [a0, a1, a2, a3, a4, b0, b1, b2]),
        transposed(ifma, [b3, b4, c0, c1, c2, c3, c4, d0]),
        transposed(ifma, [d1, d2, d3, d4, none, none, none, none]),
    ];
    let mut rows = [[none; 3]; LANES];
    for (lane, row) in rows.iter_mut().enumerate() {
        *row = [parts[0][lane], parts[1][lane], parts[2][lane]];
    }
    rows
}

/// Rows to columns, in three rounds of eight shuffles.
#[inline(always)]
pub(crate) fn transposed(ifma: Ifma, rows: [__m512i; 8]) -> [__m512i; 8] {
    let base = ifma.base;
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let even = [
        base._mm512_unpacklo_epi64(r0, r1),
        base._mm512_unpacklo_epi64(r2, r3),
        base._mm512_unpacklo_epi64(r4, r5),
        base._mm512_unpacklo_epi64(r6, r7),
    ];
    let odd = [
        base._mm512_unpackhi_epi64(r0, r1),
        base._mm512_unpackhi_epi64(r2, r3),
        base._mm512_unpackhi_epi64(r4, r5),
        base._mm512_unpackhi_epi64(r6, r7),
    ];
    let [c0, c2, c4, c6] = every_second(ifma, even);
    let [c1, c3, c5, c7] = every_second(ifma, odd);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The even or the odd columns, from pairs of rows that were interleaved word by word.
#[inline(always)]
fn every_second(ifma: Ifma, [p01, p23, p45, p67]: [__m512i; 4]) -> [__m512i; 4] {
    let top = outer(ifma, p01, p23);
    let bottom = outer(ifma, p45, p67);
    let top_next = inner(ifma, p01, p23);
    let bottom_next = inner(ifma, p45, p67);
    [
        outer(ifma, top, bottom),
        outer(ifma, top_next, bottom_next),
        inner(ifma, top, bottom),
        inner(ifma, top_next, bottom_next),
    ]
}

/// The first and third quarter of each.
#[inline(always)]
fn outer(ifma: Ifma, a: __m512i, b: __m512i) -> __m512i {
    ifma.base._mm512_shuffle_i64x2::<0b10_00_10_00>(a, b)
}

/// The second and fourth quarter of each.
#[inline(always)]
fn inner(ifma: Ifma, a: __m512i, b: __m512i) -> __m512i {
    ifma.base._mm512_shuffle_i64x2::<0b11_01_11_01>(a, b)
}
