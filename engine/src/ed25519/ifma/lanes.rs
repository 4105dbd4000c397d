//! GF(2^255 - 19) eight elements at a time, on AVX-512 IFMA.
//!
//! Radix 2^51, five limbs, one vector a limb, one element a lane. IFMA multiplies the low 52 bits of each lane and adds the
//! low or the high 52 bits of the product; the high half of a limb product thus weighs twice the next limb's unit.
//! Source: Gueron and Krasnov, Accelerating big integer arithmetic using Intel IFMA extensions, ARITH 2016; the radix and
//! the doubled high halves as in curve25519-dalek's notes on its IFMA backend.
//!
//! Invariants, each for every limb of every lane. I1: an operand of `*` is below 2^52. I2: what `+`, `-` and `*` give is
//! below 2^51 + 2^15, and `+` and `-` take only such. So I2 implies I1, and sums are carried at once: two uncarried
//! ones would break I1. Only [`Lanes::negated_where`] gives values above I2 (and within I1): they may be multiplied only.
//!
//! Instructions come by pulp's tokens, which show that the machine has them: this crate has no unsafe code. A token is of no
//! size, and with the features known at compile time asking for one is free.

use std::arch::x86_64::__m512i;
use std::ops::{Add, Mul, Sub};

use pulp::core_arch::x86::{Avx512f, Avx512ifma};

use super::field::Element;

/// The instructions used here; to have one is to be able to use them.
#[derive(Clone, Copy)]
pub(super) struct Ifma {
    pub(super) base: Avx512f,
    multiply: Avx512ifma,
}

impl Ifma {
    /// If the machine has them.
    #[inline(always)]
    pub(super) fn try_new() -> Option<Self> {
        Some(Self {
            base: Avx512f::try_new()?,
            multiply: Avx512ifma::try_new()?,
        })
    }

    #[inline(always)]
    fn splat(self, value: u64) -> __m512i {
        self.base._mm512_set1_epi64(value as i64)
    }

    /// The digit of weight 2^(51 `at`) of a product: the low halves of a_i b_j with i + j = `at` and, doubled, the high
    /// halves of those with i + j + 1 = `at`.
    #[inline(always)]
    fn digit(self, at: usize, a: &[__m512i; 5], b: &[__m512i; 5]) -> __m512i {
        let mut sum = self.base._mm512_setzero_si512();
        for i in at.saturating_sub(5)..at.min(5) {
            sum = self
                .multiply
                ._mm512_madd52hi_epu64(sum, a[i], b[at - 1 - i]);
        }
        sum = self.base._mm512_add_epi64(sum, sum);
        for i in at.saturating_sub(4)..(at + 1).min(5) {
            sum = self.multiply._mm512_madd52lo_epu64(sum, a[i], b[at - i]);
        }
        sum
    }
}

/// Eight elements.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    limbs: [__m512i; 5],
    ifma: Ifma,
}

impl Lanes {
    /// From vectors of limbs, least first, that keep I2.
    #[inline(always)]
    pub(super) fn from_limbs(ifma: Ifma, limbs: [__m512i; 5]) -> Self {
        Self { limbs, ifma }
    }

    /// The same element in all lanes.
    #[inline(always)]
    pub(super) fn splat(ifma: Ifma, element: Element) -> Self {
        let limbs = element.canonical_limbs().map(|limb| ifma.splat(limb));
        Self { limbs, ifma }
    }

    /// Each lane's element, for lane `from[i]` in lane i.
    #[inline(always)]
    pub(super) fn permuted(self, from: [i64; 8]) -> Self {
        let base = self.ifma.base;
        let [a, b, c, d, e, f, g, h] = from;
        let index = base._mm512_setr_epi64(a, b, c, d, e, f, g, h);
        self.map(|limb| base._mm512_permutexvar_epi64(index, limb))
    }

    /// In lanes of `mask` the negative, for elements whose limbs are below 2^51. Keeps I1, not I2.
    #[inline(always)]
    pub(super) fn negated_where(self, mask: u8) -> Self {
        let base = self.ifma.base;
        let mut limbs = self.limbs;
        for (limb, twice) in limbs.iter_mut().zip(TWICE_P) {
            *limb = base._mm512_mask_sub_epi64(*limb, mask, self.ifma.splat(twice), *limb);
        }
        Self { limbs, ..self }
    }

    /// In lanes of `mask` the element of `other`.
    #[inline(always)]
    pub(super) fn replaced_where(self, mask: u8, other: &Self) -> Self {
        let mut limbs = self.limbs;
        for (limb, other) in limbs.iter_mut().zip(other.limbs) {
            *limb = self.ifma.base._mm512_mask_blend_epi64(mask, *limb, other);
        }
        Self { limbs, ..self }
    }

    /// The element of lane 0.
    #[inline(always)]
    pub(super) fn first(self) -> Element {
        Element::from_limbs(
            self.limbs
                .map(|limb| pulp::bytemuck::cast::<__m512i, [u64; 8]>(limb)[0]),
        )
    }

    /// The limbs, for tests.
    #[cfg(test)]
    pub(super) fn limbs(self) -> [__m512i; 5] {
        self.limbs
    }

    #[inline(always)]
    fn map(self, change: impl Fn(__m512i) -> __m512i) -> Self {
        Self {
            limbs: self.limbs.map(change),
            ..self
        }
    }

    /// The same elements, I2 kept, for limbs below 2^61: then 19 times a carry is below 2^14.3.
    #[inline(always)]
    fn carried(self) -> Self {
        let (base, ifma) = (self.ifma.base, self.ifma);
        let low = ifma.splat(LOW_51);
        let [c0, c1, c2, c3, c4] = self.limbs.map(|limb| base._mm512_srli_epi64::<51>(limb));
        let [z0, z1, z2, z3, z4] = self.limbs.map(|limb| base._mm512_and_si512(limb, low));
        let add = |limb, carry| base._mm512_add_epi64(limb, carry);
        Self {
            limbs: [
                ifma.multiply._mm512_madd52lo_epu64(z0, c4, ifma.splat(19)),
                add(z1, c0),
                add(z2, c1),
                add(z3, c2),
                add(z4, c3),
            ],
            ifma,
        }
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut sums = self.limbs;
        for (sum, limb) in sums.iter_mut().zip(other.limbs) {
            *sum = self.ifma.base._mm512_add_epi64(*sum, limb);
        }
        Self {
            limbs: sums,
            ..self
        }
        .carried()
    }
}

impl Sub for Lanes {
    type Output = Self;

    /// 2p is added, so no limb falls below 0.
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let base = self.ifma.base;
        let mut limbs = self.limbs;
        for ((limb, other), twice) in limbs.iter_mut().zip(other.limbs).zip(TWICE_P) {
            let above = base._mm512_add_epi64(*limb, self.ifma.splat(twice));
            *limb = base._mm512_sub_epi64(above, other);
        }
        Self { limbs, ..self }.carried()
    }
}

impl Mul for Lanes {
    type Output = Self;

    /// Fifty multiply-adds, a fold and one carry.
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let base = self.ifma.base;
        // Of either half there are at most five, each below 2^52: a digit is below 15 * 2^52 and a folded one, as
        // 2^255 = 19, below 20 * 15 * 2^52 < 2^60.3.
        let add = |a, b| base._mm512_add_epi64(a, b);
        let digit = |at| self.ifma.digit(at, &self.limbs, &other.limbs);
        let folded = |at: usize| {
            let high = digit(at + 5);
            let by_16 = base._mm512_slli_epi64::<4>(high);
            let by_3 = add(high, add(high, high));
            add(digit(at), add(by_16, by_3))
        };
        Self {
            limbs: [folded(0), folded(1), folded(2), folded(3), folded(4)],
            ..self
        }
        .carried()
    }
}

const LOW_51: u64 = (1 << 51) - 1;

/// 2p in limbs, each above every limb that keeps I2.
const TWICE_P: [u64; 5] = [
    (1 << 52) - 38,
    (1 << 52) - 2,
    (1 << 52) - 2,
    (1 << 52) - 2,
    (1 << 52) - 2,
];
