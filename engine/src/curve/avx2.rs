//! GF(2^255 - 19) eight elements at a time, on AVX2: two halves of four.
//!
//! The arithmetic of a half is in [`four`]; here it is done twice, and lanes are moved, chosen and stored.

mod four;
mod rows;

use std::arch::x86_64::{__m256d, __m256i};
use std::ops::{Add, Mul, Sub};

use pulp::NullaryFnOnce;
use zeroize::Zeroize;

use self::four::{Four, FourSum};
use super::field::Element;
use super::lanes::{Choice, LANES, Lanes, Machine, Packed, Sum};
use super::point::{Extended, Field};
use super::power::Power;

pulp::simd_type! {
    /// The instructions used here; to have one is to be able to use them.
    pub(crate) struct Avx2 {
        avx: "avx",
        avx2: "avx2",
        fma: "fma",
    }
}

impl Machine for Avx2 {
    type Lanes = Avx2Lanes;

    const PAIRS: bool = false;

    #[inline(always)]
    fn vectorize<Op: NullaryFnOnce>(self, op: Op) -> Op::Output {
        // Pulp's, which is found before the trait's.
        Self::vectorize(self, op)
    }
}

impl Avx2 {
    #[inline(always)]
    fn splat(self, value: u64) -> __m256i {
        self.avx._mm256_set1_epi64x(value as i64)
    }

    #[inline(always)]
    fn float(self, value: f64) -> __m256d {
        self.avx._mm256_set1_pd(value)
    }

    #[inline(always)]
    fn bits(self, floats: __m256d) -> __m256i {
        self.avx._mm256_castpd_si256(floats)
    }

    #[inline(always)]
    fn of_bits(self, bits: __m256i) -> __m256d {
        self.avx._mm256_castsi256_pd(bits)
    }

    /// All ones in the lanes of `mask`, for either half.
    #[inline(always)]
    fn spread(self, mask: u8) -> [__m256i; 2] {
        let all = self.splat(mask.into());
        let low = self.avx._mm256_setr_epi64x(1, 2, 4, 8);
        let high = self.avx._mm256_setr_epi64x(16, 32, 64, 128);
        [low, high].map(|bits| {
            let set = self.avx2._mm256_and_si256(all, bits);
            self.avx2._mm256_cmpeq_epi64(set, bits)
        })
    }

    /// The lanes that are all ones, of two halves in which each lane is all ones or all zeros.
    #[inline(always)]
    fn gathered(self, low: __m256i, high: __m256i) -> u8 {
        let bits = |half| self.avx._mm256_movemask_pd(self.of_bits(half));
        // Four bits each.
        (bits(low) | bits(high) << 4) as u8
    }
}

/// Eight elements.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Lanes {
    low: Four,
    high: Four,
    avx2: Avx2,
}

impl Field for Avx2Lanes {
    #[inline(always)]
    fn sum_as_factor(self, other: Self) -> Self {
        self.sum().plus(other).as_factor()
    }

    #[inline(always)]
    fn difference_as_factor(self, other: Self) -> Self {
        self.sum().minus(other).as_factor()
    }
}

impl Lanes for Avx2Lanes {
    type Machine = Avx2;
    type Sum = Avx2Sum;
    type Packed = Avx2Packed;
    type Index = __m256i;
    type Row = rows::Row;

    #[inline(always)]
    fn splat_limbs(avx2: Avx2, limbs: &[u64; 5]) -> Self {
        let all = Four::of_wide(avx2, limbs.map(|limb| avx2.splat(limb)));
        Self {
            low: all,
            high: all,
            avx2,
        }
    }

    #[inline(always)]
    fn from_columns(avx2: Avx2, columns: [[u64; LANES]; 5]) -> Self {
        let halves = columns.map(pulp::bytemuck::cast::<_, [__m256i; 2]>);
        Self {
            low: Four::of_wide(avx2, halves.map(|[low, _]| low)),
            high: Four::of_wide(avx2, halves.map(|[_, high]| high)),
            avx2,
        }
    }

    #[inline(always)]
    fn columns(self) -> [[u64; LANES]; 5] {
        let Self { low, high, avx2 } = self.canonical();
        let (low, high) = (low.wide(avx2), high.wide(avx2));
        let mut columns = [[0; LANES]; 5];
        for ((column, low), high) in columns.iter_mut().zip(low).zip(high) {
            *column = pulp::bytemuck::cast([low, high]);
        }
        columns
    }

    #[inline(always)]
    fn first(self) -> Element {
        let wide = self.low.canonical(self.avx2).wide(self.avx2);
        Element::from_limbs(wide.map(|limb| pulp::bytemuck::cast::<__m256i, [u64; 4]>(limb)[0]))
    }

    /// Through memory: seldom done, and with public indices.
    #[inline(always)]
    fn permuted(self, from: [i64; LANES]) -> Self {
        let mut permuted = self;
        let limbs = self.low.limbs.iter().zip(&self.high.limbs);
        let to = permuted.low.limbs.iter_mut().zip(&mut permuted.high.limbs);
        for ((low, high), (to_low, to_high)) in limbs.zip(to) {
            let words: [f64; LANES] = pulp::bytemuck::cast([*low, *high]);
            let mut moved = [0.0; LANES];
            for (word, from) in moved.iter_mut().zip(from) {
                *word = words[from as usize % LANES];
            }
            [*to_low, *to_high] = pulp::bytemuck::cast(moved);
        }
        permuted
    }

    #[inline(always)]
    fn negated_where(self, mask: u8) -> Self {
        let [low, high] = self.avx2.spread(mask);
        Self {
            low: self.low.negated_where(self.avx2, low),
            high: self.high.negated_where(self.avx2, high),
            ..self
        }
    }

    #[inline(always)]
    fn replaced_where(self, mask: u8, other: &Self) -> Self {
        let [low, high] = self.avx2.spread(mask);
        Self {
            low: self.low.replaced_where(self.avx2, low, &other.low),
            high: self.high.replaced_where(self.avx2, high, &other.high),
            ..self
        }
    }

    #[inline(always)]
    fn sum(self) -> Avx2Sum {
        Avx2Sum {
            low: self.low.sum(self.avx2),
            high: self.high.sum(self.avx2),
            avx2: self.avx2,
        }
    }

    #[inline(always)]
    fn canonical(self) -> Self {
        Self {
            low: self.low.canonical(self.avx2),
            high: self.high.canonical(self.avx2),
            ..self
        }
    }

    #[inline(always)]
    fn odd(self) -> u8 {
        let (low, high) = (self.low.odd(self.avx2), self.high.odd(self.avx2));
        self.avx2.gathered(low, high)
    }

    #[inline(always)]
    fn zero(self) -> u8 {
        let (low, high) = (self.low.zero(self.avx2), self.high.zero(self.avx2));
        self.avx2.gathered(low, high)
    }

    /// The entry of a table, as is.
    #[inline(always)]
    fn entry(self) -> Self {
        self
    }

    #[inline(always)]
    fn packed(self) -> Avx2Packed {
        let avx = self.avx2.avx;
        let mut words = [self.avx2.splat(0); 10];
        let limbs = self.low.limbs.into_iter().zip(self.high.limbs);
        for ([lower, upper], (low, high)) in words.as_chunks_mut().0.iter_mut().zip(limbs) {
            let (low, high) = (avx._mm256_castpd_ps(low), avx._mm256_castpd_ps(high));
            *lower = avx._mm256_castps_si256(avx._mm256_shuffle_ps::<0b10_00_10_00>(low, high));
            *upper = avx._mm256_castps_si256(avx._mm256_shuffle_ps::<0b11_01_11_01>(low, high));
        }
        Avx2Packed {
            words,
            avx2: self.avx2,
        }
    }

    #[inline(always)]
    fn unpacked(packed: Avx2Packed) -> Self {
        let avx2 = packed.avx2;
        let none = [avx2.float(0.0); 5];
        let (mut low, mut high) = (Four { limbs: none }, Four { limbs: none });
        let limbs = low.limbs.iter_mut().zip(&mut high.limbs);
        for ([lower, upper], (low, high)) in packed.words.as_chunks().0.iter().zip(limbs) {
            *low = avx2.of_bits(avx2.avx2._mm256_unpacklo_epi32(*lower, *upper));
            *high = avx2.of_bits(avx2.avx2._mm256_unpackhi_epi32(*lower, *upper));
        }
        Self { low, high, avx2 }
    }

    #[inline(always)]
    fn choice(_: Avx2, digits: &[i8; LANES]) -> Choice<__m256i> {
        let (mut index, mut non_zero, mut negative) = ([0u32; LANES], 0, 0);
        for (lane, digit) in digits.iter().enumerate() {
            // All ones where the digit is negative.
            let sign = (digit >> 7) as u8;
            let size = (*digit as u8 ^ sign).wrapping_sub(sign);
            index[place(lane as u32) as usize] = place(size.wrapping_sub(1).into());
            // The sign bit of -size, for a size of 0 to 8.
            non_zero |= (size.wrapping_neg() >> 7) << lane;
            negative |= (sign & 1) << lane;
        }
        Choice {
            index: pulp::bytemuck::cast(index),
            non_zero,
            negative,
        }
    }

    fn neutral_row() -> rows::Row {
        rows::neutral()
    }

    #[inline(always)]
    fn of_rows(avx2: Avx2, [a, b, c, d, e, f, g, h]: [&rows::Row; LANES]) -> Extended<Self> {
        let low = rows::to_limbs(avx2, [a, b, c, d]);
        let high = rows::to_limbs(avx2, [e, f, g, h]);
        // Not by `map`, which copies vectors through memory, here and below.
        let element = |at: usize| Self {
            low: low[at],
            high: high[at],
            avx2,
        };
        let (x, y, z, t) = (element(0), element(1), element(2), element(3));
        Extended { x, y, z, t }
    }

    #[inline(always)]
    fn to_rows(points: &Extended<Self>) -> [rows::Row; LANES] {
        let Extended { x, y, z, t } = points;
        let [a, b, c, d] = rows::of_limbs(x.avx2, [&x.low, &y.low, &z.low, &t.low]);
        let [e, f, g, h] = rows::of_limbs(x.avx2, [&x.high, &y.high, &z.high, &t.high]);
        [a, b, c, d, e, f, g, h]
    }
}

/// Eight elements: for each limb a vector of the lower halves of its bits and one of the upper halves.
///
/// Lane l stands at [`place`] of l, which is where shuffles of each half of a vector by itself leave it.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Packed {
    words: [__m256i; 10],
    avx2: Avx2,
}

impl Avx2Packed {
    /// All ones in the lanes of `mask`.
    #[inline(always)]
    fn spread(self, mask: u8) -> __m256i {
        let avx2 = self.avx2;
        let mut bits = [0u32; LANES];
        for (lane, bit) in (0..).zip(&mut bits) {
            *bit = 1 << place(lane);
        }
        let bits = pulp::bytemuck::cast(bits);
        let all = avx2.avx._mm256_set1_epi32(mask.into());
        let set = avx2.avx2._mm256_and_si256(all, bits);
        avx2.avx2._mm256_cmpeq_epi32(set, bits)
    }
}

/// Where a lane stands in a vector of [`Avx2Packed`], and which lane stands at a place; of more than 7, something below 8.
#[inline(always)]
const fn place(lane: u32) -> u32 {
    // 0, 1, 4, 5, 2, 3, 6, 7.
    lane & 1 | (lane & 2) << 1 | (lane & 4) >> 1
}

impl Packed for Avx2Packed {
    type Index = __m256i;

    #[inline(always)]
    fn changed_where(self, mask: u8, other: &Self) -> Self {
        let mask = self.spread(mask);
        let mut words = self.words;
        for (word, other) in words.iter_mut().zip(other.words) {
            *word = self.avx2.avx2._mm256_blendv_epi8(*word, other, mask);
        }
        Self { words, ..self }
    }

    #[inline(always)]
    fn taken(self, mask: u8, index: __m256i, from: &Self) -> Self {
        let (simd, mask) = (self.avx2.avx2, self.spread(mask));
        let mut words = self.words;
        for (word, from) in words.iter_mut().zip(from.words) {
            let entry = simd._mm256_permutevar8x32_epi32(from, index);
            *word = simd._mm256_blendv_epi8(*word, entry, mask);
        }
        Self { words, ..self }
    }
}

/// Sums and differences of elements, not yet carried.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Sum {
    low: FourSum,
    high: FourSum,
    avx2: Avx2,
}

impl Sum for Avx2Sum {
    type Lanes = Avx2Lanes;

    #[inline(always)]
    fn plus(self, other: Avx2Lanes) -> Self {
        Self {
            low: self.low.plus(&other.low),
            high: self.high.plus(&other.high),
            ..self
        }
    }

    #[inline(always)]
    fn minus(self, other: Avx2Lanes) -> Self {
        Self {
            low: self.low.minus(&other.low),
            high: self.high.minus(&other.high),
            ..self
        }
    }

    #[inline(always)]
    fn as_factor(self) -> Avx2Lanes {
        Avx2Lanes {
            low: self.low.uncarried(),
            high: self.high.uncarried(),
            avx2: self.avx2,
        }
    }

    #[inline(always)]
    fn carried(self) -> Avx2Lanes {
        Avx2Lanes {
            low: self.low.carried(),
            high: self.high.carried(),
            avx2: self.avx2,
        }
    }
}

impl Zeroize for Avx2Lanes {
    fn zeroize(&mut self) {
        self.low.limbs.zeroize();
        self.high.limbs.zeroize();
    }
}

impl Add for Avx2Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.sum().plus(other).carried()
    }
}

impl Sub for Avx2Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.sum().minus(other).carried()
    }
}

/// A function of its own: where all products stood in line, code would not fit the cache. Of both halves, so that what it gives
/// is where it is to be, and nobody moves it there by pieces that the processor then waits for.
struct Product<'a>(&'a Avx2Lanes, &'a Avx2Lanes);

impl NullaryFnOnce for Product<'_> {
    type Output = Avx2Lanes;

    #[inline(always)]
    fn call(self) -> Avx2Lanes {
        let Self(a, b) = self;
        Avx2Lanes {
            low: a.low.times(a.avx2, &b.low),
            high: a.high.times(a.avx2, &b.high),
            avx2: a.avx2,
        }
    }
}

/// Likewise; a chain of squarings, the halves side by side, as each fills the waits of the other.
struct Squares<'a>(&'a Avx2Lanes, u32);

impl NullaryFnOnce for Squares<'_> {
    type Output = Avx2Lanes;

    #[inline(always)]
    fn call(self) -> Avx2Lanes {
        let Self(lanes, count) = self;
        let mut power = *lanes;
        for _ in 0..count {
            power.low = power.low.square(power.avx2);
            power.high = power.high.square(power.avx2);
        }
        power
    }
}

impl Mul for Avx2Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.avx2.vectorize(Product(&self, &other))
    }
}

impl Power for Avx2Lanes {
    #[inline(always)]
    fn square(self) -> Self {
        self.square_times(1)
    }

    #[inline(always)]
    fn square_times(self, count: u32) -> Self {
        self.avx2.vectorize(Squares(&self, count))
    }
}
