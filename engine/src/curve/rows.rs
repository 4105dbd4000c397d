//! Eight rows of eight words as eight columns, and back: between elements in memory and elements in lanes.

use std::arch::x86_64::__m512i;

use super::lanes::Ifma;

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
