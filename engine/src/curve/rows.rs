//! Eight rows of eight words as eight columns, and back: between elements in memory and elements in lanes.

use std::arch::x86_64::__m512i;

use super::lanes::Ifma;

/// Rows to columns, in three rounds of eight shuffles.
#[inline(always)]
pub(crate) fn transposed(ifma: Ifma, rows: [__m512i; 8]) -> [__m512i; 8] {
    let base = ifma.base;
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    // Of four rows, the even (of `lo`) or odd (of `hi`) columns: 0 and 4 in `outer`, 2 and 6 in `inner`, as pairs of words.
    let outer = |a, b| base._mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
    let inner = |a, b| base._mm512_shuffle_i64x2::<0b11_01_11_01>(a, b);
    let lo = |a, b| base._mm512_unpacklo_epi64(a, b);
    let hi = |a, b| base._mm512_unpackhi_epi64(a, b);
    let columns = |p01, p23, p45, p67| {
        let (top, bottom) = (outer(p01, p23), outer(p45, p67));
        let (top_next, bottom_next) = (inner(p01, p23), inner(p45, p67));
        [
            outer(top, bottom),
            outer(top_next, bottom_next),
            inner(top, bottom),
            inner(top_next, bottom_next),
        ]
    };
    let [c0, c2, c4, c6] = columns(lo(r0, r1), lo(r2, r3), lo(r4, r5), lo(r6, r7));
    let [c1, c3, c5, c7] = columns(hi(r0, r1), hi(r2, r3), hi(r4, r5), hi(r6, r7));
    [c0, c1, c2, c3, c4, c5, c6, c7]
}
