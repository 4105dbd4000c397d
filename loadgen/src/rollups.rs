//! Which rollup an envelope is for: one, or several by their weights.
//!
//! What belongs together goes to one rollup: a cancel goes where its order went, a session stays where it began. So the draw
//! is a function of the seed and of what the content is about ([`crate::content::Content::subject`]), and nothing is remembered.
//!
//! Cost: O(rollups) an envelope.

use std::fmt;
use std::str::FromStr;

use fairlane_engine::types::RollupId;

use crate::rng::Rng;

/// Rollups and how much of a load is for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupMix {
    /// Each rollup once, with a weight from 1.
    shares: Vec<RollupShare>,
    total: u64,
    seed: u64,
}

/// One rollup's part of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupShare {
    /// The rollup.
    pub id: RollupId,
    /// Its weight: the part of the load is this over the sum of all weights.
    pub weight: u32,
}

impl RollupMix {
    /// Everything is for one rollup.
    pub fn one(id: RollupId) -> Self {
        Self {
            shares: vec![RollupShare { id, weight: 1 }],
            total: 1,
            seed: 0,
        }
    }

    /// Errors: no rollup or more than [`ROLLUPS_MAX`], one that is named twice, a weight of 0; in a sentence.
    pub fn new(shares: Vec<RollupShare>) -> Result<Self, String> {
        if !(1..=ROLLUPS_MAX).contains(&shares.len()) {
            return Err(format!("a load is for 1 to {ROLLUPS_MAX} rollups"));
        }
        for (at, share) in shares.iter().enumerate() {
            if share.weight == 0 {
                return Err(format!("rollup {} has weight 0", share.id.0));
            }
            if shares[..at].iter().any(|other| other.id == share.id) {
                return Err(format!("rollup {} is named twice", share.id.0));
            }
        }
        let total = shares.iter().map(|share| u64::from(share.weight)).sum();
        Ok(Self {
            shares,
            total,
            seed: 0,
        })
    }

    /// The same mix, drawn from another seed.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The rollups, in the order in which they were named.
    pub fn shares(&self) -> &[RollupShare] {
        &self.shares
    }

    /// Index of the rollup that contents about `subject` are for.
    pub fn index_of(&self, subject: u64) -> usize {
        if self.shares.len() == 1 {
            return 0;
        }
        // The number `subject` of the generator's sequence from the seed.
        let at = subject.wrapping_mul(GOLDEN).wrapping_add(self.seed);
        let mut drawn = Rng::new(at).next_below(self.total);
        let mut weights = self.shares.iter().map(|share| u64::from(share.weight));
        let index = weights.position(|weight| match drawn.checked_sub(weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        index.unwrap_or(0)
    }
}

/// `1`, or `1:3,2` where rollup 1 gets three envelopes for each one of rollup 2.
impl FromStr for RollupMix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "rollups are ID or ID:WEIGHT, with commas between them, as in 1:3,2:1; a weight is a number from 1"
                .to_owned()
        };
        let share = |text: &str| {
            let (id, weight) = text.split_once(':').unwrap_or((text, "1"));
            let id = id.trim().parse().map_err(|_| wrong())?;
            let weight = weight.trim().parse().map_err(|_| wrong())?;
            Ok(RollupShare {
                id: RollupId(id),
                weight,
            })
        };
        let shares: Result<Vec<RollupShare>, String> = text.split(',').map(share).collect();
        Self::new(shares?)
    }
}

/// `1` or `1:3,2:1`.
impl fmt::Display for RollupMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.shares[..] {
            return write!(f, "{}", only.id.0);
        }
        for (at, share) in self.shares.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", share.id.0, share.weight)?;
        }
        Ok(())
    }
}

/// Most rollups of a load.
pub const ROLLUPS_MAX: usize = 64;
/// The step of the generator's state.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rollup_gets_its_weight_and_a_subject_keeps_its_rollup() {
        let mix: RollupMix = "7:3,9,1000:6".parse().unwrap();
        for seed in [0, 1, u64::MAX] {
            let mix = mix.clone().seeded(seed);
            let mut counts = [0u32; 3];
            for subject in 0..100_000 {
                counts[mix.index_of(subject)] += 1;
            }
            // Five standard deviations of a share of 100,000 draws are below 800.
            for (count, expected) in counts.into_iter().zip([30_000u32, 10_000, 60_000]) {
                assert!(count.abs_diff(expected) < 800, "seed {seed}: {counts:?}");
            }
        }
        let draws = |mix: &RollupMix| (0..99).map(|at| mix.index_of(at)).collect::<Vec<_>>();
        assert_eq!(draws(&mix), draws(&mix.clone()));
        assert_ne!(draws(&mix), draws(&mix.clone().seeded(5)));
    }

    #[test]
    fn a_mix_reads_back_and_what_is_none_is_refused() {
        for text in ["4", "1:3,2:1"] {
            assert_eq!(text.parse::<RollupMix>().unwrap().to_string(), text);
        }
        for (text, words) in [
            ("", "ID:WEIGHT"),
            ("a", "ID:WEIGHT"),
            ("1:x", "ID:WEIGHT"),
            ("1,,2", "ID:WEIGHT"),
            ("1:0", "weight 0"),
            ("1,2,1", "named twice"),
        ] {
            let error = text.parse::<RollupMix>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(RollupMix::new(Vec::new()).is_err());
    }
}
