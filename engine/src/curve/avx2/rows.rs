//! Points in memory, each by itself, and points in four lanes.

use std::arch::x86_64::__m256d;

use super::Avx2;
use super::four::Four;

/// A point: the limbs of x, y, z and t one after the other.
pub(crate) type Row = [__m256d; 5];

pub(super) fn neutral() -> Row {
    let mut words = [[0.0; 4]; 5];
    // The lowest limbs of y and z, words 5 and 10.
    (words[1][1], words[2][2]) = (1.0, 1.0);
    words.map(pulp::bytemuck::cast)
}

/// One point a lane; its x, y, z and t in this order.
#[inline(always)]
pub(super) fn to_limbs(avx2: Avx2, [a, b, c, d]: [&Row; 4]) -> [Four; 4] {
    let mut words = [avx2.float(0.0); 20];
    for (part, words) in words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *words = transposed(avx2, [a[part], b[part], c[part], d[part]]);
    }
    let mut elements = [Four {
        limbs: [avx2.float(0.0); 5],
    }; 4];
    for (element, words) in elements.iter_mut().zip(words.as_chunks::<5>().0) {
        element.limbs = *words;
    }
    elements
}

/// One point a row, of its x, y, z and t.
#[inline(always)]
pub(super) fn of_limbs(avx2: Avx2, elements: [&Four; 4]) -> [Row; 4] {
    let mut words = [avx2.float(0.0); 20];
    for (element, words) in elements.iter().zip(words.as_chunks_mut::<5>().0) {
        *words = element.limbs;
    }
    let mut rows = [[avx2.float(0.0); 5]; 4];
    for (part, words) in words.as_chunks::<4>().0.iter().enumerate() {
        for (row, column) in rows.iter_mut().zip(transposed(avx2, *words)) {
            row[part] = column;
        }
    }
    rows
}

/// Rows to columns, and back.
#[inline(always)]
fn transposed(avx2: Avx2, [a, b, c, d]: [__m256d; 4]) -> [__m256d; 4] {
    let avx = avx2.avx;
    let (ab_even, cd_even) = (avx._mm256_unpacklo_pd(a, b), avx._mm256_unpacklo_pd(c, d));
    let (ab_odd, cd_odd) = (avx._mm256_unpackhi_pd(a, b), avx._mm256_unpackhi_pd(c, d));
    [
        avx._mm256_permute2f128_pd::<0x20>(ab_even, cd_even),
        avx._mm256_permute2f128_pd::<0x20>(ab_odd, cd_odd),
        avx._mm256_permute2f128_pd::<0x31>(ab_even, cd_even),
        avx._mm256_permute2f128_pd::<0x31>(ab_odd, cd_odd),
    ]
}
