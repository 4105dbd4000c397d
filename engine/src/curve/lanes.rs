//! GF(2^255 - 19) eight elements at a time, on AVX-512 IFMA.
//!
//! Radix 2^51, five limbs, one vector a limb, one element a lane. IFMA multiplies the low 52 bits of each lane and adds the
//! low or the high 52 bits of the product; the high half of a limb product thus weighs twice the next limb's unit.
//! Source: Gueron and Krasnov, Accelerating big integer arithmetic using Intel IFMA extensions, ARITH 2016; the radix and
//! the doubled high halves as in curve25519-dalek's notes on its IFMA backend.
//!
//! Invariants, each for every limb of every lane. I1: an operand of `*` is below 2^52. I2: what `+`, `-` and `*` give is
//! below 2^51 + 2^15, and `+` and `-` take only such. So I2 implies I1, and sums are carried before they are multiplied: two
//! uncarried ones would break I1. I3: limbs of a [`Sum`], which is not yet carried, are below 2^61. Only [`Lanes::negated_where`] gives values above I2 (and within I1): they may be multiplied only.
//!
//! Instructions come by pulp's tokens, which show that the machine has them: this crate has no unsafe code. A token is of no
//! size. What is done with lanes is done inside [`Ifma::vectorize`], which compiles it for these instructions whatever the
//! program as a whole is compiled for; so all that it calls is `#[inline(always)]`.

use std::arch::x86_64::__m512i;
use std::ops::{Add, Mul, Sub};

use zeroize::Zeroize;

use super::field::Element;
use super::power::Power;

pulp::simd_type! {
    /// The instructions used here; to have one is to be able to use them.
    pub(crate) struct Ifma {
        pub(crate) base: "avx512f",
        multiply: "avx512ifma",
    }
}

impl Ifma {
    #[inline(always)]
    fn splat(self, value: u64) -> __m512i {
        self.base._mm512_set1_epi64(value as i64)
    }
}

/// Ten digits in radix 2^51, to be folded to five. (Methods and no closures, which the compiler does not always inline.)
trait Digits {
    /// The digit of weight 2^(51 `at`).
    fn digit(&self, ifma: Ifma, at: usize) -> __m512i;

    /// The element that the digits make, as 2^255 = 19.
    #[inline(always)]
    fn folded(&self, ifma: Ifma) -> Lanes {
        let limbs = [
            self.folded_digit(ifma, 0),
            self.folded_digit(ifma, 1),
            self.folded_digit(ifma, 2),
            self.folded_digit(ifma, 3),
            self.folded_digit(ifma, 4),
        ];
        Sum { limbs, ifma }.carried()
    }

    /// Of either half there are at most five, each below 2^52: a digit is below 15 * 2^52 and a folded one below
    /// 20 * 15 * 2^52 < 2^60.3.
    #[inline(always)]
    fn folded_digit(&self, ifma: Ifma, at: usize) -> __m512i {
        let base = ifma.base;
        let high = self.digit(ifma, at + 5);
        let by_16 = base._mm512_slli_epi64::<4>(high);
        let by_3 = base._mm512_add_epi64(high, base._mm512_add_epi64(high, high));
        let by_19 = base._mm512_add_epi64(by_16, by_3);
        base._mm512_add_epi64(self.digit(ifma, at), by_19)
    }
}

/// Of two elements.
struct Product(Lanes, Lanes);

impl Digits for Product {
    /// The low halves of a_i b_j with i + j = `at` and, doubled, the high halves of those with i + j + 1 = `at`.
    #[inline(always)]
    fn digit(&self, ifma: Ifma, at: usize) -> __m512i {
        let (a, b) = (&self.0.limbs, &self.1.limbs);
        let mut sum = ifma.base._mm512_setzero_si512();
        for i in at.saturating_sub(5)..at.min(5) {
            sum = ifma
                .multiply
                ._mm512_madd52hi_epu64(sum, a[i], b[at - 1 - i]);
        }
        sum = ifma.base._mm512_add_epi64(sum, sum);
        for i in at.saturating_sub(4)..(at + 1).min(5) {
            sum = ifma.multiply._mm512_madd52lo_epu64(sum, a[i], b[at - i]);
        }
        sum
    }
}

/// Of an element and itself: each product of two different limbs is there twice and made once.
struct Square(Lanes);

impl Digits for Square {
    #[inline(always)]
    fn digit(&self, ifma: Ifma, at: usize) -> __m512i {
        let a = &self.0.limbs;
        let mut sum = ifma.base._mm512_setzero_si512();
        for i in at.saturating_sub(5)..at / 2 {
            sum = ifma
                .multiply
                ._mm512_madd52hi_epu64(sum, a[i], a[at - 1 - i]);
        }
        sum = ifma.base._mm512_add_epi64(sum, sum);
        if at % 2 == 1 {
            sum = ifma
                .multiply
                ._mm512_madd52hi_epu64(sum, a[at / 2], a[at / 2]);
        }
        for i in at.saturating_sub(4)..at.div_ceil(2) {
            sum = ifma.multiply._mm512_madd52lo_epu64(sum, a[i], a[at - i]);
        }
        sum = ifma.base._mm512_add_epi64(sum, sum);
        if at.is_multiple_of(2) {
            sum = ifma
                .multiply
                ._mm512_madd52lo_epu64(sum, a[at / 2], a[at / 2]);
        }
        sum
    }
}

impl Power for Lanes {
    #[inline(always)]
    fn square(self) -> Self {
        Square(self).folded(self.ifma)
    }
}

/// Sixteen elements: a chain of squarings waits for each result, and two chains fill each other's waits.
#[derive(Clone, Copy)]
pub(crate) struct Pair(pub(crate) Lanes, pub(crate) Lanes);

impl Mul for Pair {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0, self.1 * other.1)
    }
}

impl Power for Pair {
    #[inline(always)]
    fn square(self) -> Self {
        Self(self.0.square(), self.1.square())
    }
}

/// Eight elements.
#[derive(Clone, Copy)]
pub(crate) struct Lanes {
    limbs: [__m512i; 5],
    ifma: Ifma,
}

impl Lanes {
    /// From vectors of limbs, least first, that keep I2.
    #[inline(always)]
    pub(crate) fn from_limbs(ifma: Ifma, limbs: [__m512i; 5]) -> Self {
        Self { limbs, ifma }
    }

    /// The same element in all lanes.
    #[inline(always)]
    pub(crate) fn splat(ifma: Ifma, element: Element) -> Self {
        Self::splat_limbs(ifma, &element.canonical_limbs())
    }

    /// The same element in all lanes, from limbs that keep I2.
    #[inline(always)]
    pub(crate) fn splat_limbs(ifma: Ifma, limbs: &[u64; 5]) -> Self {
        let mut all = [ifma.base._mm512_setzero_si512(); 5];
        for (all, limb) in all.iter_mut().zip(limbs) {
            *all = ifma.splat(*limb);
        }
        Self { limbs: all, ifma }
    }

    /// Each lane's element, for lane `from[i]` in lane i.
    #[inline(always)]
    pub(crate) fn permuted(self, from: [i64; 8]) -> Self {
        let base = self.ifma.base;
        let [a, b, c, d, e, f, g, h] = from;
        let index = base._mm512_setr_epi64(a, b, c, d, e, f, g, h);
        self.map(|limb| base._mm512_permutexvar_epi64(index, limb))
    }

    /// In lanes of `mask` the negative, for elements whose limbs are below 2^51. Keeps I1, not I2.
    #[inline(always)]
    pub(crate) fn negated_where(self, mask: u8) -> Self {
        let base = self.ifma.base;
        let mut limbs = self.limbs;
        for (limb, twice) in limbs.iter_mut().zip(TWICE_P) {
            *limb = base._mm512_mask_sub_epi64(*limb, mask, self.ifma.splat(twice), *limb);
        }
        Self { limbs, ..self }
    }

    /// In lanes of `mask` the element of `other`.
    #[inline(always)]
    pub(crate) fn replaced_where(self, mask: u8, other: &Self) -> Self {
        let mut limbs = self.limbs;
        for (limb, other) in limbs.iter_mut().zip(other.limbs) {
            *limb = self.ifma.base._mm512_mask_blend_epi64(mask, *limb, other);
        }
        Self { limbs, ..self }
    }

    /// In lanes of `mask` the element that lane `from[i]`, modulo 8, of `other` holds, for lane i.
    #[inline(always)]
    pub(crate) fn taken(self, mask: u8, from: __m512i, other: &Self) -> Self {
        let base = self.ifma.base;
        let mut limbs = self.limbs;
        for (limb, other) in limbs.iter_mut().zip(other.limbs) {
            *limb = base._mm512_mask_permutexvar_epi64(*limb, mask, from, other);
        }
        Self { limbs, ..self }
    }

    /// The element of lane 0.
    #[inline(always)]
    pub(crate) fn first(self) -> Element {
        Element::from_limbs(
            self.limbs
                .map(|limb| pulp::bytemuck::cast::<__m512i, [u64; 8]>(limb)[0]),
        )
    }

    /// The limbs.
    #[inline(always)]
    pub(crate) fn limbs(self) -> [__m512i; 5] {
        self.limbs
    }

    /// The limbs of each lane, by limb and lane.
    #[inline(always)]
    pub(crate) fn columns(self) -> [[u64; 8]; 5] {
        self.limbs.map(pulp::bytemuck::cast)
    }

    /// From the limbs of each lane, by limb and lane, that keep I2.
    #[inline(always)]
    pub(crate) fn from_columns(ifma: Ifma, columns: [[u64; 8]; 5]) -> Self {
        Self::from_limbs(ifma, columns.map(pulp::bytemuck::cast))
    }

    /// The start of a sum that is carried once, at its end.
    #[inline(always)]
    pub(crate) fn sum(self) -> Sum {
        Sum {
            limbs: self.limbs,
            ifma: self.ifma,
        }
    }

    /// The same elements in their canonical representation: below 2^255 - 19, each limb below 2^51.
    #[inline(always)]
    pub(crate) fn canonical(self) -> Self {
        let (base, ifma) = (self.ifma.base, self.ifma);
        let low = ifma.splat(LOW_51);
        let carry = |sum| base._mm512_srli_epi64::<51>(sum);
        let add = |a, b| base._mm512_add_epi64(a, b);
        // By I2 the value is below 2 p. Whether it is p or more: whether 19 more is 2^255 or more.
        let mut above = ifma.splat(19);
        for limb in self.limbs {
            above = carry(add(limb, above));
        }
        // What is taken off is p: 19 is added and 2^255 left out.
        let mut rest =
            ifma.multiply
                ._mm512_madd52lo_epu64(base._mm512_setzero_si512(), above, ifma.splat(19));
        let mut limbs = self.limbs;
        for limb in &mut limbs {
            let sum = add(*limb, rest);
            *limb = base._mm512_and_si512(sum, low);
            rest = carry(sum);
        }
        Self { limbs, ifma }
    }

    /// Which lanes hold an odd number, for elements in canonical representation: the *negative* ones of RFC 9496.
    #[inline(always)]
    pub(crate) fn odd(self) -> u8 {
        let one = self.ifma.splat(1);
        self.ifma.base._mm512_test_epi64_mask(self.limbs[0], one)
    }

    /// Which lanes hold 0, for elements in canonical representation.
    #[inline(always)]
    pub(crate) fn zero(self) -> u8 {
        let base = self.ifma.base;
        let [a, b, c, d, e] = self.limbs;
        let or = |a, b| base._mm512_or_si512(a, b);
        let any = or(or(a, b), or(c, or(d, e)));
        base._mm512_testn_epi64_mask(any, any)
    }

    /// Which lanes hold the same element as in `other`, whatever the representation.
    #[inline(always)]
    pub(crate) fn equal(self, other: Self) -> u8 {
        (self - other).canonical().zero()
    }

    #[inline(always)]
    fn map(self, change: impl Fn(__m512i) -> __m512i) -> Self {
        Self {
            limbs: self.limbs.map(change),
            ..self
        }
    }
}

/// Sums and differences of elements, not yet carried.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    limbs: [__m512i; 5],
    ifma: Ifma,
}

impl Sum {
    /// Plus `other`.
    #[inline(always)]
    pub(crate) fn plus(self, other: Lanes) -> Self {
        self.zipped(other, |ifma, limb, other, _| {
            ifma.base._mm512_add_epi64(limb, other)
        })
    }

    /// Minus `other`, plus 2p so that no limb falls below 0.
    #[inline(always)]
    pub(crate) fn minus(self, other: Lanes) -> Self {
        self.zipped(other, |ifma, limb, other, twice| {
            let above = ifma.base._mm512_add_epi64(limb, ifma.splat(twice));
            ifma.base._mm512_sub_epi64(above, other)
        })
    }

    #[inline(always)]
    fn zipped(
        mut self,
        other: Lanes,
        change: impl Fn(Ifma, __m512i, __m512i, u64) -> __m512i,
    ) -> Self {
        for ((limb, other), twice) in self.limbs.iter_mut().zip(other.limbs).zip(TWICE_P) {
            *limb = change(self.ifma, *limb, other, twice);
        }
        self
    }

    /// The elements, I2 kept: by I3, 19 times a carry is below 2^14.3.
    #[inline(always)]
    pub(crate) fn carried(self) -> Lanes {
        let (base, ifma) = (self.ifma.base, self.ifma);
        let low = ifma.splat(LOW_51);
        let [c0, c1, c2, c3, c4] = self.limbs.map(|limb| base._mm512_srli_epi64::<51>(limb));
        let [z0, z1, z2, z3, z4] = self.limbs.map(|limb| base._mm512_and_si512(limb, low));
        let add = |limb, carry| base._mm512_add_epi64(limb, carry);
        Lanes {
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

impl Zeroize for Lanes {
    fn zeroize(&mut self) {
        self.limbs.zeroize();
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.sum().plus(other).carried()
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.sum().minus(other).carried()
    }
}

impl Mul for Lanes {
    type Output = Self;

    /// Fifty multiply-adds, a fold and one carry; a square takes thirty multiply-adds.
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Product(self, other).folded(self.ifma)
    }
}

/// Elements in a [`Lanes`].
pub(crate) const LANES: usize = 8;

const LOW_51: u64 = (1 << 51) - 1;

/// 2p in limbs, each above every limb that keeps I2.
const TWICE_P: [u64; 5] = [
    (1 << 52) - 38,
    (1 << 52) - 2,
    (1 << 52) - 2,
    (1 << 52) - 2,
    (1 << 52) - 2,
];
