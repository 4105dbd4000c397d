//! GF(2^255 - 19) one element at a time, for what the lanes do not do: tables, roots and inverses.
//!
//! The arithmetic is fiat-crypto's, generated with a proof of its bounds and results (Erbsen et al., S&P 2019); here it
//! gets operators. I1: every [`Element`] is *tight* in fiat's sense, each limb at most 2^51, so that all operators may
//! take it; a sum or difference is carried at once.

use std::ops::{Add, Mul, Neg, Sub};

use fiat_crypto::curve25519_64 as fiat;

/// An element, in five limbs of 51 bits; one value has several representations.
#[derive(Clone, Copy)]
pub(super) struct Element(fiat::fiat_25519_tight_field_element);

impl Element {
    pub(super) const ZERO: Self = Self::small(0);
    pub(super) const ONE: Self = Self::small(1);

    /// An integer below 2^51.
    pub(super) const fn small(value: u64) -> Self {
        assert!(value < 1 << 51, "one limb holds it");
        Self(fiat::fiat_25519_tight_field_element([value, 0, 0, 0, 0]))
    }

    /// The element that `limbs`, least first and each at most 3 * 2^51, add up to.
    pub(super) fn from_limbs(limbs: [u64; 5]) -> Self {
        assert!(limbs.iter().all(|limb| *limb <= 3 << 51), "loose limbs");
        Self::carried(&fiat::fiat_25519_loose_field_element(limbs))
    }

    /// Little-endian; the highest bit is left out of account, and 2^255 - 19 to 2^255 - 1 mean what they are congruent to.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut low = *bytes;
        low[31] &= 0x7f;
        let mut out = Self::ZERO;
        fiat::fiat_25519_from_bytes(&mut out.0, &low);
        out
    }

    /// The one canonical encoding: little-endian, below 2^255 - 19.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        fiat::fiat_25519_to_bytes(&mut out, &self.0);
        out
    }

    /// The limbs of the canonical representation, each below 2^51.
    pub(super) fn canonical_limbs(self) -> [u64; 5] {
        Self::from_bytes(&self.to_bytes()).0.0
    }

    /// Whether the canonical representation is odd: the *sign* of RFC 8032.
    pub(super) fn is_odd(self) -> bool {
        self.to_bytes()[0] & 1 == 1
    }

    pub(super) fn square(self) -> Self {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry_square(&mut out.0, &self.loose());
        out
    }

    /// 1 / self, and 0 for 0.
    pub(super) fn invert(self) -> Self {
        // p - 2 = 8 (2^252 - 3) + 3.
        self.power_2_252_less_3().square_times(3) * (self.square() * self)
    }

    /// A root of u / v, if there is one and v is not 0; which of the two is not said.
    ///
    /// Source: RFC 8032, section 5.1.3.
    pub(super) fn root_of_ratio(u: Self, v: Self) -> Option<Self> {
        let v3 = v.square() * v;
        let root = u * v3 * (u * v3.square() * v).power_2_252_less_3();
        let check = v * root.square();
        if check == u {
            Some(root)
        } else if check == -u {
            Some(root * Self::root_of_minus_one())
        } else {
            None
        }
    }

    /// 2^((p - 1) / 4).
    fn root_of_minus_one() -> Self {
        // (p - 1) / 4 = 2 (2^252 - 3) + 1.
        let two = Self::small(2);
        two.power_2_252_less_3().square() * two
    }

    /// self^(2^252 - 3), where 2^252 - 3 = (p - 5) / 8. Costs 251 squarings and 11 multiplications.
    ///
    /// Source: the addition chain of Bernstein, Curve25519, 2006.
    fn power_2_252_less_3(self) -> Self {
        let x9 = self.square_times(3) * self;
        let x11 = x9 * self.square();
        let ones5 = x11.square() * x9;
        let ones10 = ones5.square_times(5) * ones5;
        let ones20 = ones10.square_times(10) * ones10;
        let ones40 = ones20.square_times(20) * ones20;
        let ones50 = ones40.square_times(10) * ones10;
        let ones100 = ones50.square_times(50) * ones50;
        let ones200 = ones100.square_times(100) * ones100;
        let ones250 = ones200.square_times(50) * ones50;
        ones250.square_times(2) * self
    }

    fn square_times(self, count: u32) -> Self {
        (0..count).fold(self, |power, _| power.square())
    }

    fn loose(self) -> fiat::fiat_25519_loose_field_element {
        fiat::fiat_25519_loose_field_element(self.0.0)
    }

    fn carried(loose: &fiat::fiat_25519_loose_field_element) -> Self {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry(&mut out.0, loose);
        out
    }
}

impl Add for Element {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let mut sum = self.loose();
        fiat::fiat_25519_add(&mut sum, &self.0, &other.0);
        Self::carried(&sum)
    }
}

impl Sub for Element {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let mut difference = self.loose();
        fiat::fiat_25519_sub(&mut difference, &self.0, &other.0);
        Self::carried(&difference)
    }
}

impl Neg for Element {
    type Output = Self;

    fn neg(self) -> Self {
        Self::ZERO - self
    }
}

impl Mul for Element {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let mut product = Self::ZERO;
        fiat::fiat_25519_carry_mul(&mut product.0, &self.loose(), &other.loose());
        product
    }
}

/// Equal as elements, whatever the representations.
impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}
