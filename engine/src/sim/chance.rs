//! All chance in a simulation: a stream of numbers that follows from the seed and the name of what draws.
//!
//! BLAKE3's extendable output, so no generator of our own and none of a library whose stream may change with a version.
//! Each user has a stream of its own: that one draws more does not change what another draws.

/// One stream of numbers.
pub(crate) struct Chance {
    stream: blake3::OutputReader,
    buffer: [u8; BUFFER_LEN],
    at: usize,
}

impl Chance {
    /// The stream of `user` in the run of `seed`.
    pub(crate) fn new(seed: u64, user: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("fairlane/1/simulation");
        hasher.update(&seed.to_be_bytes());
        hasher.update(user.as_bytes());
        Self {
            stream: hasher.finalize_xof(),
            buffer: [0; BUFFER_LEN],
            at: BUFFER_LEN,
        }
    }

    /// Uniform over all values.
    pub(crate) fn draw(&mut self) -> u64 {
        if self.at == BUFFER_LEN {
            self.stream.fill(&mut self.buffer);
            self.at = 0;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.buffer[self.at..self.at + 8]);
        self.at += 8;
        u64::from_be_bytes(bytes)
    }

    /// Uniform over `0..bound`. Panics: a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is something to choose from");
        // The high half of the product: the bias is below bound / 2^64.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform over `from..=to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in one of `times` cases.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// True in `permille` of a thousand cases; draws nothing when that is never.
    pub(crate) fn permille(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1000) < permille
    }

    /// One of `choices`. Panics: there is none.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Every order equally likely.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }

    /// Uniform bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.draw().to_be_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        bytes
    }
}

const BUFFER_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_follows_from_seed_and_user_alone() {
        let first = |seed, user| {
            let mut chance = Chance::new(seed, user);
            (0..300).map(|_| chance.draw()).collect::<Vec<_>>()
        };
        assert_eq!(first(7, "a"), first(7, "a"));
        assert_ne!(first(7, "a"), first(7, "b"));
        assert_ne!(first(7, "a"), first(8, "a"));
    }

    #[test]
    fn what_is_drawn_stays_in_its_bounds_and_reaches_them() {
        let mut chance = Chance::new(1, "bounds");
        let drawn: Vec<u64> = (0..1000).map(|_| chance.between(3, 9)).collect();
        assert_eq!(
            (drawn.iter().min(), drawn.iter().max()),
            (Some(&3), Some(&9))
        );
    }
}
