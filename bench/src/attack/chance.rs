//! Seeded chance: one stream a purpose, so that a run differs from another only in what it was asked to differ in.
//!
//! SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), seeded with BLAKE3 of the seed and the purpose.

/// One stream.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of `seed` for `purpose`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&seed.to_be_bytes())
            .update(purpose.as_bytes());
        let mut bytes = [0; 8];
        hasher.finalize_xof().fill(&mut bytes);
        Self(u64::from_be_bytes(bytes))
    }

    /// 64 uniform bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform below `bound`, from 1.
    pub const fn below(&mut self, bound: usize) -> usize {
        ((self.next() as u128 * bound as u128) >> 64) as usize
    }

    /// Exponential with this mean, nanoseconds.
    pub fn exponential(&mut self, mean_ns: f64) -> u64 {
        // In (0, 1), so that the logarithm is finite: 53 bits and a half are exact in an f64.
        let unit = ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        (-unit.ln() * mean_ns) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_by_seed_and_differ_by_purpose() {
        let drawn = |seed, purpose| {
            let mut chance = Chance::new(seed, purpose);
            [chance.next(), chance.next()]
        };
        assert_eq!(drawn(1, "links"), drawn(1, "links"));
        assert_ne!(drawn(1, "links"), drawn(2, "links"));
        assert_ne!(drawn(1, "links"), drawn(1, "clients"));
    }

    #[test]
    fn exponentials_have_their_mean() {
        let mut chance = Chance::new(1, "mean");
        let sum: u64 = (0..10_000).map(|_| chance.exponential(1000.0)).sum();
        assert!((9_600_000..10_400_000).contains(&sum), "{sum}");
    }
}
