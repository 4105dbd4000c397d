//! Four elements of GF(2^255 - 19), one in each lane of five vectors of 64-bit floats.
//!
//! Radix 2^51, limbs signed and whole numbers. A fused multiply-add rounds once, so two of them give a product of limbs whole: the
//! first, on top of a number whose last bit weighs 2^51, its upper half; the second what that leaves, on top of a number whose
//! last bit weighs 1. Read as integers, the results are the halves and a constant, and are added up as such. That is five
//! instructions for a product of 51 bits, where `vpmuludq`, of 32, takes eight.
//! Source: Emmart, Zheng and Weems, Faster modular exponentiation using double precision floating point arithmetic on the
//! GPU, ARITH 2018, section III; departs: the halves are rounded to nearest, as is the default, and signed.
//!
//! Invariants, for every limb of every lane. J1: the product of two limbs to be multiplied is at most 2^102 in absolute value;
//! that of twice a limb to be squared and another, too. J2: what is *carried* is at most 2^50 + 2^14 in absolute value. J3: sums
//! are at most 2^53 in absolute value, and so exact. By J1 something carried can be multiplied by anything carried, canonical,
//! or the sum of up to three carried elements; something canonical by something canonical; and nothing but carried elements
//! can be squared.
//!
//! Time: the instructions take the same time for all operands but subnormal ones, infinities and NaN (Kohlbrenner and
//! Shacham, On the effectiveness of mitigations against floating-point timing channels, USENIX Security 2017), of which none
//! comes up: all are whole numbers.

use std::arch::x86_64::{__m256d, __m256i};
use std::hint::black_box;

use super::Avx2;

#[derive(Clone, Copy)]
pub(super) struct Four {
    pub(super) limbs: [__m256d; 5],
}

impl Four {
    /// From limbs below 2^51; carried.
    #[inline(always)]
    pub(super) fn of_wide(avx2: Avx2, wide: [__m256i; 5]) -> Self {
        Self::of_whole(avx2, wide).sum(avx2).carried()
    }

    /// From limbs below 2^52, as they are.
    #[inline(always)]
    fn of_whole(avx2: Avx2, whole: [__m256i; 5]) -> Self {
        let start = avx2.float(TWO_52);
        let mut limbs = [start; 5];
        for (limb, whole) in limbs.iter_mut().zip(whole) {
            let above = avx2.avx2._mm256_or_si256(whole, avx2.bits(start));
            *limb = avx2.avx._mm256_sub_pd(avx2.of_bits(above), start);
        }
        Self { limbs }
    }

    /// As limbs below 2^51, for canonical elements.
    #[inline(always)]
    pub(super) fn wide(&self, avx2: Avx2) -> [__m256i; 5] {
        let start = avx2.float(TWO_52);
        let mut wide = [avx2.splat(0); 5];
        for (wide, limb) in wide.iter_mut().zip(self.limbs) {
            let above = avx2.bits(avx2.avx._mm256_add_pd(limb, start));
            *wide = avx2.avx2._mm256_xor_si256(above, avx2.bits(start));
        }
        wide
    }

    /// Where `mask` is all ones the negative.
    #[inline(always)]
    pub(super) fn negated_where(&self, avx2: Avx2, mask: __m256i) -> Self {
        let sign = avx2.avx2._mm256_and_si256(mask, avx2.splat(1 << 63));
        let mut limbs = self.limbs;
        for limb in &mut limbs {
            *limb = avx2.avx._mm256_xor_pd(*limb, avx2.of_bits(sign));
        }
        Self { limbs }
    }

    /// Where `mask` is all ones the element of `other`.
    #[inline(always)]
    pub(super) fn replaced_where(&self, avx2: Avx2, mask: __m256i, other: &Self) -> Self {
        let mut limbs = self.limbs;
        for (limb, other) in limbs.iter_mut().zip(other.limbs) {
            *limb = avx2.avx._mm256_blendv_pd(*limb, other, avx2.of_bits(mask));
        }
        Self { limbs }
    }

    /// The start of a sum.
    #[inline(always)]
    pub(super) fn sum(&self, avx2: Avx2) -> FourSum {
        FourSum {
            limbs: self.limbs,
            avx2,
        }
    }

    /// The same elements below 2^255 - 19, each limb below 2^51 and none negative; for carried and for canonical ones.
    #[inline(always)]
    pub(super) fn canonical(&self, avx2: Avx2) -> Self {
        let simd = avx2.avx2;
        // By J2 the value is below p in absolute value. With p on top it is between 0 and 2 p, and with 2^52 each limb is the
        // number that its bits are, up to a constant.
        let mut limbs = [avx2.splat(0); 5];
        for ((limb, own), p) in limbs.iter_mut().zip(self.limbs).zip(P) {
            let above = avx2.avx._mm256_add_pd(own, avx2.float(TWO_52 + p as f64));
            *limb = simd._mm256_xor_si256(avx2.bits(above), avx2.bits(avx2.float(TWO_52)));
        }
        // Whether it is p or more: whether 19 more is 2^255 or more.
        let mut above = avx2.splat(19);
        for limb in limbs {
            above = simd._mm256_srli_epi64::<51>(simd._mm256_add_epi64(limb, above));
        }
        // What is taken off is p: 19 is added and 2^255 left out.
        let mut rest = simd._mm256_mul_epu32(above, avx2.splat(19));
        for limb in &mut limbs {
            let sum = simd._mm256_add_epi64(*limb, rest);
            *limb = simd._mm256_and_si256(sum, avx2.splat(LOW_51));
            rest = simd._mm256_srli_epi64::<51>(sum);
        }
        Self::of_whole(avx2, limbs)
    }

    /// All ones in lanes of odd numbers, for canonical elements.
    #[inline(always)]
    pub(super) fn odd(&self, avx2: Avx2) -> __m256i {
        let [lowest, ..] = self.wide(avx2);
        let one = avx2.splat(1);
        let lowest = avx2.avx2._mm256_and_si256(lowest, one);
        avx2.avx2._mm256_cmpeq_epi64(lowest, one)
    }

    /// All ones in lanes of 0, for canonical elements.
    #[inline(always)]
    pub(super) fn zero(&self, avx2: Avx2) -> __m256i {
        let mut any = avx2.splat(0);
        for limb in self.wide(avx2) {
            any = avx2.avx2._mm256_or_si256(any, limb);
        }
        avx2.avx2._mm256_cmpeq_epi64(any, avx2.splat(0))
    }

    #[inline(always)]
    pub(super) fn times(&self, avx2: Avx2, other: &Self) -> Self {
        Product {
            avx2,
            a: self,
            b: other,
        }
        .made()
    }

    /// For carried elements.
    #[inline(always)]
    pub(super) fn square(&self, avx2: Avx2) -> Self {
        Square { avx2, a: self }.made()
    }
}

struct Product<'a> {
    avx2: Avx2,
    a: &'a Four,
    b: &'a Four,
}

impl Product<'_> {
    /// Adds the lower halves of a_i b_j with i + j = `AT` to digit `AT`, the upper ones to the next.
    #[inline(always)]
    fn column<const AT: usize>(&self, digits: &mut Digits) {
        for i in AT.saturating_sub(4)..(AT + 1).min(5) {
            digits.add(self.avx2, AT, self.a.limbs[i], self.b.limbs[AT - i]);
        }
    }

    #[inline(always)]
    fn made(self) -> Four {
        let mut digits = Digits::new(self.avx2);
        self.column::<0>(&mut digits);
        self.column::<1>(&mut digits);
        self.column::<2>(&mut digits);
        self.column::<3>(&mut digits);
        self.column::<4>(&mut digits);
        self.column::<5>(&mut digits);
        self.column::<6>(&mut digits);
        self.column::<7>(&mut digits);
        self.column::<8>(&mut digits);
        digits.folded(self.avx2, &PRODUCT_START)
    }
}

struct Square<'a> {
    avx2: Avx2,
    a: &'a Four,
}

impl Square<'_> {
    /// As of a product; each product of two different limbs is there twice and made once.
    #[inline(always)]
    fn column<const AT: usize>(&self, digits: &mut Digits, twice: &[__m256d; 5]) {
        let a = &self.a.limbs;
        for i in AT.saturating_sub(4)..AT.div_ceil(2) {
            digits.add(self.avx2, AT, twice[i], a[AT - i]);
        }
        if AT.is_multiple_of(2) {
            digits.add(self.avx2, AT, a[AT / 2], a[AT / 2]);
        }
    }

    #[inline(always)]
    fn made(self) -> Four {
        let mut twice = self.a.limbs;
        for limb in &mut twice {
            *limb = self.avx2.avx._mm256_add_pd(*limb, *limb);
        }
        let mut digits = Digits::new(self.avx2);
        self.column::<0>(&mut digits, &twice);
        self.column::<1>(&mut digits, &twice);
        self.column::<2>(&mut digits, &twice);
        self.column::<3>(&mut digits, &twice);
        self.column::<4>(&mut digits, &twice);
        self.column::<5>(&mut digits, &twice);
        self.column::<6>(&mut digits, &twice);
        self.column::<7>(&mut digits, &twice);
        self.column::<8>(&mut digits, &twice);
        digits.folded(self.avx2, &SQUARE_START)
    }
}

/// Ten digits in radix 2^51, signed, each with the bits of as many floats on top as halves were added to it.
struct Digits([__m256i; 10]);

impl Digits {
    #[inline(always)]
    fn new(avx2: Avx2) -> Self {
        Self([avx2.splat(0); 10])
    }

    /// Adds a product of limbs, in halves: the lower one to digit `at`, the upper one to the next.
    ///
    /// By J1 what is rounded stays between 2^103 and 2^104, where the last bit weighs 2^51; so the rest is 2^50 at most, and
    /// stays between 2^52 and 2^53 with what it is put on top of. All but the first rounding are of what needs none.
    #[inline(always)]
    fn add(&mut self, avx2: Avx2, at: usize, a: __m256d, b: __m256d) {
        let (fma, simd) = (avx2.fma, avx2.avx2);
        let upper = fma._mm256_fmadd_pd(a, b, avx2.float(UPPER));
        let less = avx2.avx._mm256_sub_pd(avx2.float(UPPER + LOWER), upper);
        let lower = fma._mm256_fmadd_pd(a, b, less);
        self.0[at] = simd._mm256_add_epi64(self.0[at], avx2.bits(lower));
        self.0[at + 1] = simd._mm256_add_epi64(self.0[at + 1], avx2.bits(upper));
    }

    /// The element that the digits make, as 2^255 = 19, carried. `start` is what makes each folded digit positive.
    ///
    /// Of either half there are at most five, upper ones of 2^51 and lower ones of 2^50 at most. So a digit is at most
    /// 15 * 2^50, and a folded one at most 300 * 2^50 < 2^58.3; with `start` it is between 0 and 2^60, so that it carries less
    /// than 2^9, and 19 times that is less than 2^14.
    #[inline(always)]
    fn folded(&self, avx2: Avx2, start: &[u64; 5]) -> Four {
        let simd = avx2.avx2;
        let add = |a, b| simd._mm256_add_epi64(a, b);
        let mut limbs = [avx2.splat(0); 5];
        // Hidden, lest the compiler reorder the sums, fold first, and run out of registers.
        let (digits, four) = black_box((self.0, avx2.splat(4)));
        for (at, limb) in limbs.iter_mut().enumerate() {
            let (low, high) = (digits[at], digits[at + 5]);
            let by_16 = simd._mm256_sllv_epi64(high, four);
            let by_2 = add(high, high);
            let more = add(add(by_16, by_2), high);
            *limb = add(add(low, avx2.splat(start[at])), more);
        }
        let [c0, c1, c2, c3, c4] = limbs.map(|limb| simd._mm256_srli_epi64::<51>(limb));
        let carries = [simd._mm256_mul_epu32(c4, avx2.splat(19)), c0, c1, c2, c3];
        let mut carried = [avx2.float(0.0); 5];
        for ((to, limb), carry) in carried.iter_mut().zip(limbs).zip(carries) {
            // Below 2^51 + 2^14, and less 2^50 as a float.
            let sum = add(simd._mm256_and_si256(limb, avx2.splat(LOW_51)), carry);
            let above = simd._mm256_or_si256(sum, avx2.bits(avx2.float(TWO_52)));
            *to = avx2
                .avx
                ._mm256_sub_pd(avx2.of_bits(above), avx2.float(TWO_52 + TWO_50));
        }
        Four { limbs: carried }
    }
}

/// Sums and differences of elements, not yet carried.
#[derive(Clone, Copy)]
pub(super) struct FourSum {
    limbs: [__m256d; 5],
    avx2: Avx2,
}

impl FourSum {
    #[inline(always)]
    pub(super) fn plus(mut self, other: &Four) -> Self {
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            *limb = self.avx2.avx._mm256_add_pd(*limb, other);
        }
        self
    }

    #[inline(always)]
    pub(super) fn minus(mut self, other: &Four) -> Self {
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            *limb = self.avx2.avx._mm256_sub_pd(*limb, other);
        }
        self
    }

    /// As a factor.
    #[inline(always)]
    pub(super) fn uncarried(self) -> Four {
        Four { limbs: self.limbs }
    }

    /// The elements, J2 kept: each limb is rounded to a multiple of 2^51, which is what it carries; by J3 that is 2^2 at most, and
    /// what is left 2^50.
    #[inline(always)]
    pub(super) fn carried(self) -> Four {
        let avx2 = self.avx2;
        let round = avx2.float(UPPER);
        let mut carries = self.limbs;
        let mut limbs = self.limbs;
        for (carry, limb) in carries.iter_mut().zip(&mut limbs) {
            let above = avx2.avx._mm256_add_pd(*limb, round);
            *carry = avx2.avx._mm256_sub_pd(above, round);
            *limb = avx2.avx._mm256_sub_pd(*limb, *carry);
        }
        // Named one by one: `rotate_right` is a call that copies through memory, twice in every sum.
        let [c0, c1, c2, c3, c4] = carries;
        let [round_about, once] = [avx2.float(19.0 / TWO_51), avx2.float(1.0 / TWO_51)];
        let factors = [round_about, once, once, once, once];
        for ((limb, carry), factor) in limbs.iter_mut().zip([c4, c0, c1, c2, c3]).zip(factors) {
            *limb = avx2.fma._mm256_fmadd_pd(carry, factor, *limb);
        }
        Four { limbs }
    }
}

const LOW_51: u64 = (1 << 51) - 1;
const TWO_50: f64 = (1u64 << 50) as f64;
const TWO_51: f64 = (1u64 << 51) as f64;
const TWO_52: f64 = (1u64 << 52) as f64;

/// Upper halves are put on top of this, lower halves on top of the other: the middles of ranges in which the last bit weighs
/// 2^51 and 1.
const UPPER: f64 = 1.5 * TWO_52 * TWO_51;
const LOWER: f64 = 1.5 * TWO_52;

/// The limbs of p.
const P: [u64; 5] = [LOW_51 - 18, LOW_51, LOW_51, LOW_51, LOW_51];

const PRODUCT_START: [u64; 5] = start([1, 2, 3, 4, 5, 4, 3, 2, 1]);
const SQUARE_START: [u64; 5] = start([1, 1, 2, 2, 3, 2, 2, 1, 1]);

/// What is added to each folded digit: 2^8 p, lest it be negative; 2^50, which is taken off again once it is a float; and less the
/// bits of the floats that halves were put on top of, for so many products a column.
const fn start(products: [u64; 9]) -> [u64; 5] {
    let mut bits = [0u64; 10];
    let mut at = 0;
    while at < 9 {
        let (lower, upper) = (LOWER.to_bits(), UPPER.to_bits());
        bits[at] = bits[at].wrapping_add(products[at].wrapping_mul(lower));
        bits[at + 1] = bits[at + 1].wrapping_add(products[at].wrapping_mul(upper));
        at += 1;
    }
    let mut start = [0; 5];
    at = 0;
    while at < 5 {
        let folded = bits[at].wrapping_add(bits[at + 5].wrapping_mul(19));
        start[at] = ((P[at] << 8) + (1 << 50)).wrapping_sub(folded);
        at += 1;
    }
    start
}

#[cfg(test)]
#[path = "four_tests.rs"]
mod tests;
