//! 1 / x in GF(2^255 - 19) for public x, by divisions by two instead of 254 squarings: four times as fast.
//!
//! Source: Bernstein and Yang, Fast constant-time gcd computation and modular inversion, CHES 2019 (*divsteps*), in the
//! variable-time form of libsecp256k1's modinv64 (Wuille, doc/safegcd_implementation.md): 62 steps at a time on the
//! low words of f and g give a matrix t, which is then applied to f, g and to d, e, where d x = f and e x = g mod p.
//!
//! Numbers are five signed limbs of radix 2^62, all but the last 0 to 2^62 - 1. Invariants. I1: entries of t are at most
//! 2^62 in absolute value, as are the sums of those of a row. I2: |f|, |g| <= p and -2p < d, e < p. I3: so a
//! limb's sum, of two products of entries and limbs, one of a multiple of p below 2^62 and a limb of p, and a carry, is below
//! 2^126 in absolute value and fits an i128. Wrapping operators are used where I3 or arithmetic modulo 2^64 is meant.
//!
//! The result is multiplied by x; if that is not 1, Fermat's inversion decides. A mistake here costs time and no verdict.

use super::field::Element;

impl Element {
    /// 1 / self, and 0 for 0. Its time depends on the value, which must be public.
    pub(crate) fn invert_public(self) -> Self {
        let inverse = divided(self);
        if inverse * self == Self::ONE {
            inverse
        } else {
            self.invert()
        }
    }
}

/// The inverse of `x`, if the steps come to their end.
pub(crate) fn divided(x: Element) -> Element {
    let (mut f, mut g) = (P, Limbs::from_bytes(&x.to_bytes()));
    let (mut d, mut e) = (Limbs([0; 5]), Limbs([1, 0, 0, 0, 0]));
    let mut eta = -1;
    for _ in 0..ROUNDS {
        let t = steps(&mut eta, f.0[0] as u64, g.0[0] as u64);
        (d, e) = t.applied_modulo_p(&d, &e);
        (f, g) = t.applied(&f, &g);
        if g.0 == [0; 5] {
            break;
        }
    }
    // f is now 1 or -1, and d that times the inverse.
    let magnitude = d.to_element();
    if f.0[4] < 0 { -magnitude } else { magnitude }
}

/// Five signed limbs of radix 2^62.
#[derive(Clone, Copy)]
struct Limbs([i64; 5]);

impl Limbs {
    /// From 255 bits, little-endian.
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0u64; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let [a, b, c, d] = words;
        let limbs = [a, a >> 62 | b << 2, b >> 60 | c << 4, c >> 58 | d << 6];
        let [l0, l1, l2, l3] = limbs.map(|limb| (limb & LOW_62) as i64);
        Self([l0, l1, l2, l3, (d >> 56) as i64])
    }

    /// The residue, for a number that is above -2p and below p (I2).
    fn to_element(self) -> Element {
        // With 2p added it is 0 to 3p, and the highest limb below 2^9.
        let mut limbs = [0u64; 5];
        let mut sum = 0;
        for (at, limb) in limbs.iter_mut().enumerate() {
            sum += self.0[at] + 2 * P.0[at];
            *limb = sum as u64 & LOW_62;
            sum >>= 62;
        }
        let [a, b, c, d, e] = limbs;
        let low = (1 << 51) - 1;
        Element::from_limbs([
            a & low,
            (a >> 51 | b << 11) & low,
            (b >> 40 | c << 22) & low,
            (c >> 29 | d << 33) & low,
            d >> 18 | e << 44,
        ])
    }
}

/// What 62 steps do: f to (u f + v g) / 2^62 and g to (q f + r g) / 2^62.
struct Matrix {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

impl Matrix {
    /// Applied to f and g, of which all but the low words were unknown to the steps. The division is exact.
    #[inline(always)]
    fn applied(&self, f: &Limbs, g: &Limbs) -> (Limbs, Limbs) {
        let row = |a, b| {
            let mut out = [0; 5];
            let mut sum = products(a, f.0[0], b, g.0[0]) >> 62;
            for at in 1..5 {
                sum = sum.wrapping_add(products(a, f.0[at], b, g.0[at]));
                out[at - 1] = sum as i64 & LOW_62 as i64;
                sum >>= 62;
            }
            out[4] = sum as i64;
            Limbs(out)
        };
        (row(self.u, self.v), row(self.q, self.r))
    }

    /// Applied to d and e, a multiple of p added to each so that the division is exact and I2 stays true.
    #[inline(always)]
    fn applied_modulo_p(&self, d: &Limbs, e: &Limbs) -> (Limbs, Limbs) {
        let row = |a: i64, b: i64| {
            // p once for each that is negative, then what makes the lowest 62 bits zero.
            let wanted = (a & (d.0[4] >> 63)).wrapping_add(b & (e.0[4] >> 63));
            let mut sum = products(a, d.0[0], b, e.0[0]);
            let correction = P_INVERSE
                .wrapping_mul(sum as u64)
                .wrapping_add(wanted as u64);
            let times = wanted.wrapping_sub((correction & LOW_62) as i64);
            sum = sum.wrapping_add(product(times, P.0[0])) >> 62;
            let mut out = [0; 5];
            for at in 1..5 {
                sum = sum.wrapping_add(products(a, d.0[at], b, e.0[at]));
                if at == 4 {
                    sum = sum.wrapping_add(product(times, P.0[4]));
                }
                out[at - 1] = sum as i64 & LOW_62 as i64;
                sum >>= 62;
            }
            out[4] = sum as i64;
            Limbs(out)
        };
        (row(self.u, self.v), row(self.q, self.r))
    }
}

/// 62 division steps on the low words of f, which is odd, and g; `eta` is -delta of the source.
#[inline(always)]
fn steps(eta: &mut i64, mut f: u64, mut g: u64) -> Matrix {
    // Two's complement throughout; the entries are within I1.
    let (mut u, mut v, mut q, mut r) = (1u64, 0u64, 0u64, 1u64);
    let mut left = 62u32;
    loop {
        // Steps at which g is even; no more than are left.
        let zeros = (g | u64::MAX << left).trailing_zeros();
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        *eta -= i64::from(zeros);
        left -= zeros;
        if left == 0 {
            break;
        }
        // Now both are odd. A multiple w of f clears as many low bits of g as no step in between could swap.
        let w = if *eta < 0 {
            *eta = -*eta;
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, u.wrapping_neg());
            (v, r) = (r, v.wrapping_neg());
            // f (f^2 - 2) = -1 / f modulo 2^6.
            let negative_inverse = f.wrapping_mul(f.wrapping_mul(f).wrapping_sub(2));
            negative_inverse.wrapping_mul(g) & low_bits(*eta, left) & 63
        } else {
            // f + 8 where bit 2 of f + 1 is set: 1 / f modulo 2^4.
            let inverse = f.wrapping_add((f.wrapping_add(1) & 4) << 1);
            inverse.wrapping_neg().wrapping_mul(g) & low_bits(*eta, left) & 15
        };
        g = g.wrapping_add(f.wrapping_mul(w));
        q = q.wrapping_add(u.wrapping_mul(w));
        r = r.wrapping_add(v.wrapping_mul(w));
    }
    Matrix {
        u: u as i64,
        v: v as i64,
        q: q as i64,
        r: r as i64,
    }
}

/// As many ones as steps can be taken at once: eta + 1, and no more than are left.
#[inline(always)]
fn low_bits(eta: i64, left: u32) -> u64 {
    let count = (eta + 1).min(i64::from(left)) as u32;
    u64::MAX >> (64 - count)
}

#[inline(always)]
fn product(a: i64, b: i64) -> i128 {
    i128::from(a).wrapping_mul(i128::from(b))
}

#[inline(always)]
fn products(a: i64, b: i64, c: i64, d: i64) -> i128 {
    product(a, b).wrapping_add(product(c, d))
}

const LOW_62: u64 = (1 << 62) - 1;

/// p = 2^255 - 19; its lowest limb is taken negative.
const P: Limbs = Limbs([-19, 0, 0, 0, 1 << 7]);

/// 1 / p modulo 2^62: p is -19 there.
const P_INVERSE: u64 = 0x3943_5e50_d794_35e5;

const _: () = assert!(P_INVERSE.wrapping_mul(P.0[0] as u64) & LOW_62 == 1);

/// 741 steps suffice for 256 bits (the source, theorem 11.2), 62 at a time.
const ROUNDS: usize = 12;
