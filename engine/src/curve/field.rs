//! GF(2^255 - 19) one element at a time, for what the lanes do not do: tables, roots and inverses.
//!
//! The arithmetic is fiat-crypto's, generated with a proof of its bounds and results (Erbsen et al., S&P 2019); here it
//! gets operators. I1: every [`Element`] is *tight* in fiat's sense, each limb at most 2^51, so that all operators may
//! take it; a sum or difference is carried at once.

use std::ops::{Add, Mul, Neg, Sub};

use fiat_crypto::curve25519_64 as fiat;

use super::point::Field;
use super::power::Power;

/// An element, in five limbs of 51 bits; one value has several representations.
#[derive(Clone, Copy)]
pub(crate) struct Element(fiat::fiat_25519_tight_field_element);

impl Element {
    pub(crate) const ZERO: Self = Self::small(0);
    pub(crate) const ONE: Self = Self::small(1);

    /// An integer below 2^51.
    pub(crate) const fn small(value: u64) -> Self {
        assert!(value < 1 << 51, "one limb holds it");
        Self(fiat::fiat_25519_tight_field_element([value, 0, 0, 0, 0]))
    }

    /// The element that `limbs`, least first and each at most 3 * 2^51, add up to.
    pub(crate) fn from_limbs(limbs: [u64; 5]) -> Self {
        assert!(limbs.iter().all(|limb| *limb <= 3 << 51), "loose limbs");
        Self::carried(&fiat::fiat_25519_loose_field_element(limbs))
    }

    /// Little-endian; the highest bit is left out of account, and 2^255 - 19 to 2^255 - 1 mean what they are congruent to.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut low = *bytes;
        low[31] &= 0x7f;
        let mut out = Self::ZERO;
        fiat::fiat_25519_from_bytes(&mut out.0, &low);
        out
    }

    /// The one canonical encoding: little-endian, below 2^255 - 19.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        fiat::fiat_25519_to_bytes(&mut out, &self.0);
        out
    }

    /// The limbs of the canonical representation, each below 2^51.
    pub(crate) fn canonical_limbs(self) -> [u64; 5] {
        Self::from_bytes(&self.to_bytes()).0.0
    }

    /// Whether the canonical representation is odd: the *sign* of RFC 8032.
    pub(crate) fn is_odd(self) -> bool {
        self.to_bytes()[0] & 1 == 1
    }

    /// 1 / self, and 0 for 0.
    pub(crate) fn invert(self) -> Self {
        self.power_p_less_2()
    }

    /// A root of u / v, if there is one and v is not 0; which of the two is not said.
    ///
    /// Source: RFC 8032, section 5.1.3.
    pub(crate) fn root_of_ratio(u: Self, v: Self) -> Option<Self> {
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
    pub(crate) fn root_of_minus_one() -> Self {
        // (p - 1) / 4 = 2 (2^252 - 3) + 1.
        let two = Self::small(2);
        two.power_2_252_less_3().square() * two
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

impl Field for Element {}

impl Power for Element {
    fn square(self) -> Self {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry_square(&mut out.0, &self.loose());
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
