//! GF(2^255 - 19) eight elements at a time, on AVX-512 IFMA.
//!
//! Radix 2^51, five limbs, one vector a limb, one element a lane. IFMA multiplies the low 52 bits of each lane and adds the
//! low or the high 52 bits of the product; the high half of a limb product thus weighs twice the next limb's unit.
//! Source: Gueron and Krasnov, Accelerating big integer arithmetic using Intel IFMA extensions, ARITH 2016; the radix and
//! the doubled high halves as in curve25519-dalek's notes on its IFMA backend.
//!
//! Invariants, each for every limb of every lane. I1: an operand of `*` is below 2^52. I2: what `+`, `-` and `*` give is
//! below 2^51 + 2^15, and `+` and `-` take only such. So I2 implies I1, and sums are carried before they are multiplied: two
//! uncarried ones would break I1. I3: limbs of an [`IfmaSum`], which is not yet carried, are below 2^61. Only `negated_where` gives
//! values above I2 (and within I1): they may be multiplied only.
//!
//! Instructions come by pulp's tokens, which show that the machine has them: this crate has no unsafe code.

use std::arch::x86_64::__m512i;
use std::ops::{Add, Mul, Sub};

use pulp::NullaryFnOnce;
use zeroize::Zeroize;

use super::field::Element;
use super::lanes::{Choice, LANES, Lanes, Machine, Packed, Sum};
use super::point::{Extended, Field};
use super::power::Power;
use super::rows;

pulp::simd_type! {
    /// The instructions used here; to have one is to be able to use them.
    pub(crate) struct Ifma {
        pub(crate) base: "avx512f",
        multiply: "avx512ifma",
    }
}

impl Machine for Ifma {
    type Lanes = IfmaLanes;

    const PAIRS: bool = true;

    #[inline(always)]
    fn vectorize<Op: NullaryFnOnce>(self, op: Op) -> Op::Output {
        // Pulp's, which is found before the trait's.
        Self::vectorize(self, op)
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
    fn folded(&self, ifma: Ifma) -> IfmaLanes {
        let limbs = [
            self.folded_digit(ifma, 0),
            self.folded_digit(ifma, 1),
            self.folded_digit(ifma, 2),
            self.folded_digit(ifma, 3),
            self.folded_digit(ifma, 4),
        ];
        IfmaSum { limbs, ifma }.carried()
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
struct Product(IfmaLanes, IfmaLanes);

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
struct Square(IfmaLanes);

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

impl Power for IfmaLanes {
    #[inline(always)]
    fn square(self) -> Self {
        Square(self).folded(self.ifma)
    }
}

/// Eight elements.
#[derive(Clone, Copy)]
pub(crate) struct IfmaLanes {
    limbs: [__m512i; 5],
    ifma: Ifma,
}

impl IfmaLanes {
    /// From vectors of limbs, least first, that keep I2.
    #[inline(always)]
    pub(crate) fn from_limbs(ifma: Ifma, limbs: [__m512i; 5]) -> Self {
        Self { limbs, ifma }
    }

    /// The limbs.
    #[inline(always)]
    pub(crate) fn limbs(self) -> [__m512i; 5] {
        self.limbs
    }

    #[inline(always)]
    fn map(self, change: impl Fn(__m512i) -> __m512i) -> Self {
        Self {
            limbs: self.limbs.map(change),
            ..self
        }
    }
}

impl Field for IfmaLanes {}

impl Lanes for IfmaLanes {
    type Machine = Ifma;
    type Sum = IfmaSum;
    type Packed = Self;
    type Index = __m512i;
    type Row = rows::Row;

    #[inline(always)]
    fn splat_limbs(ifma: Ifma, limbs: &[u64; 5]) -> Self {
        let mut all = [ifma.base._mm512_setzero_si512(); 5];
        for (all, limb) in all.iter_mut().zip(limbs) {
            *all = ifma.splat(*limb);
        }
        Self { limbs: all, ifma }
    }

    #[inline(always)]
    fn from_columns(ifma: Ifma, columns: [[u64; 8]; 5]) -> Self {
        Self::from_limbs(ifma, columns.map(pulp::bytemuck::cast))
    }

    #[inline(always)]
    fn columns(self) -> [[u64; 8]; 5] {
        self.limbs.map(pulp::bytemuck::cast)
    }

    #[inline(always)]
    fn first(self) -> Element {
        Element::from_limbs(
            self.limbs
                .map(|limb| pulp::bytemuck::cast::<__m512i, [u64; 8]>(limb)[0]),
        )
    }

    #[inline(always)]
    fn permuted(self, from: [i64; 8]) -> Self {
        let base = self.ifma.base;
        let [a, b, c, d, e, f, g, h] = from;
        let index = base._mm512_setr_epi64(a, b, c, d, e, f, g, h);
        self.map(|limb| base._mm512_permutexvar_epi64(index, limb))
    }

    /// Keeps I1, not I2.
    #[inline(always)]
    fn negated_where(self, mask: u8) -> Self {
        let base = self.ifma.base;
        let mut limbs = self.limbs;
        for (limb, twice) in limbs.iter_mut().zip(TWICE_P) {
            *limb = base._mm512_mask_sub_epi64(*limb, mask, self.ifma.splat(twice), *limb);
        }
        Self { limbs, ..self }
    }

    #[inline(always)]
    fn replaced_where(self, mask: u8, other: &Self) -> Self {
        let mut limbs = self.limbs;
        for (limb, other) in limbs.iter_mut().zip(other.limbs) {
            *limb = self.ifma.base._mm512_mask_blend_epi64(mask, *limb, other);
        }
        Self { limbs, ..self }
    }

    #[inline(always)]
    fn sum(self) -> IfmaSum {
        IfmaSum {
            limbs: self.limbs,
            ifma: self.ifma,
        }
    }

    #[inline(always)]
    fn canonical(self) -> Self {
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

    #[inline(always)]
    fn odd(self) -> u8 {
        let one = self.ifma.splat(1);
        self.ifma.base._mm512_test_epi64_mask(self.limbs[0], one)
    }

    #[inline(always)]
    fn zero(self) -> u8 {
        let base = self.ifma.base;
        let [a, b, c, d, e] = self.limbs;
        let or = |a, b| base._mm512_or_si512(a, b);
        let any = or(or(a, b), or(c, or(d, e)));
        base._mm512_testn_epi64_mask(any, any)
    }

    /// Canonical.
    #[inline(always)]
    fn entry(self) -> Self {
        self.canonical()
    }

    #[inline(always)]
    fn packed(self) -> Self {
        self
    }

    #[inline(always)]
    fn unpacked(packed: Self) -> Self {
        packed
    }

    #[inline(always)]
    fn choice(ifma: Ifma, digits: &[i8; LANES]) -> Choice<__m512i> {
        let base = ifma.base;
        let digits = pulp::bytemuck::cast([pulp::bytemuck::cast::<_, i64>(*digits), 0]);
        let digits = base._mm512_cvtepi8_epi64(digits);
        let minus_one = base._mm512_set1_epi64(-1);
        Choice {
            // Size less one, of which a permutation takes the lowest three bits.
            index: base._mm512_add_epi64(base._mm512_abs_epi64(digits), minus_one),
            non_zero: base._mm512_test_epi64_mask(digits, digits),
            negative: base._mm512_cmplt_epi64_mask(digits, base._mm512_setzero_si512()),
        }
    }

    fn neutral_row() -> rows::Row {
        rows::neutral()
    }

    #[inline(always)]
    fn of_rows(ifma: Ifma, rows: [&rows::Row; LANES]) -> Extended<Self> {
        rows::to_lanes(ifma, rows)
    }

    #[inline(always)]
    fn to_rows(points: &Extended<Self>) -> [rows::Row; LANES] {
        rows::of_lanes(points.x.ifma, points)
    }
}

impl Packed for IfmaLanes {
    type Index = __m512i;

    #[inline(always)]
    fn changed_where(self, mask: u8, other: &Self) -> Self {
        self.replaced_where(mask, other)
    }

    #[inline(always)]
    fn taken(self, mask: u8, index: __m512i, from: &Self) -> Self {
        let base = self.ifma.base;
        let mut limbs = self.limbs;
        for (limb, from) in limbs.iter_mut().zip(from.limbs) {
            *limb = base._mm512_mask_permutexvar_epi64(*limb, mask, index, from);
        }
        Self { limbs, ..self }
    }
}

/// Sums and differences of elements, not yet carried.
#[derive(Clone, Copy)]
pub(crate) struct IfmaSum {
    limbs: [__m512i; 5],
    ifma: Ifma,
}

impl IfmaSum {
    #[inline(always)]
    fn zipped(
        mut self,
        other: IfmaLanes,
        change: impl Fn(Ifma, __m512i, __m512i, u64) -> __m512i,
    ) -> Self {
        for ((limb, other), twice) in self.limbs.iter_mut().zip(other.limbs).zip(TWICE_P) {
            *limb = change(self.ifma, *limb, other, twice);
        }
        self
    }
}

impl Sum for IfmaSum {
    type Lanes = IfmaLanes;

    #[inline(always)]
    fn plus(self, other: IfmaLanes) -> Self {
        self.zipped(other, |ifma, limb, other, _| {
            ifma.base._mm512_add_epi64(limb, other)
        })
    }

    /// Plus 2p, so that no limb falls below 0.
    #[inline(always)]
    fn minus(self, other: IfmaLanes) -> Self {
        self.zipped(other, |ifma, limb, other, twice| {
            let above = ifma.base._mm512_add_epi64(limb, ifma.splat(twice));
            ifma.base._mm512_sub_epi64(above, other)
        })
    }

    /// Carried, lest I1 break.
    #[inline(always)]
    fn as_factor(self) -> IfmaLanes {
        self.carried()
    }

    /// The elements, I2 kept: by I3, 19 times a carry is below 2^14.3.
    #[inline(always)]
    fn carried(self) -> IfmaLanes {
        let (base, ifma) = (self.ifma.base, self.ifma);
        let low = ifma.splat(LOW_51);
        let [c0, c1, c2, c3, c4] = self.limbs.map(|limb| base._mm512_srli_epi64::<51>(limb));
        let [z0, z1, z2, z3, z4] = self.limbs.map(|limb| base._mm512_and_si512(limb, low));
        let add = |limb, carry| base._mm512_add_epi64(limb, carry);
        IfmaLanes {
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

impl Zeroize for IfmaLanes {
    fn zeroize(&mut self) {
        self.limbs.zeroize();
    }
}

impl Add for IfmaLanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.sum().plus(other).carried()
    }
}

impl Sub for IfmaLanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.sum().minus(other).carried()
    }
}

impl Mul for IfmaLanes {
    type Output = Self;

    /// Fifty multiply-adds, a fold and one carry; a square takes thirty multiply-adds.
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Product(self, other).folded(self.ifma)
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
