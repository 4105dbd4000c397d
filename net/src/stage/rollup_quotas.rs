//! How much of a node one rollup may take.
//!
//! A bucket for each rollup of the committee: submissions beyond the rate are answered Busy with the time until the next
//! token, so that a rollup under a flood does not use up the proofs and places of the others. Off unless the operator sets
//! a rate. Only what clients submit to this node is charged; what other authorities list is taken as ever.

use std::collections::BTreeMap;

use fairlane_engine::types::{RollupId, TimestampUs};

use super::bucket::{Allowance, Bucket};

/// Buckets of the rollups that were heard of; the engine has refused all others before, so these are the committee's.
#[derive(Debug)]
pub struct RollupQuotas {
    /// None: no bound.
    rate: Option<Allowance>,
    buckets: BTreeMap<RollupId, Bucket>,
}

impl RollupQuotas {
    /// So many submissions a second of one rollup, a quarter of a second's at once; 0: as many as come.
    ///
    /// Time is counted in whole microseconds a submission, so up to [`RATE_MAX`] the true rate is at most a tenth higher.
    pub fn new(per_second: u32) -> Self {
        let rate = (per_second > 0).then(|| Allowance {
            burst: (per_second / 4).max(1),
            refill_us: 1_000_000 / u64::from(per_second.min(RATE_MAX)),
        });
        Self {
            rate,
            buckets: BTreeMap::new(),
        }
    }

    /// Whether a submission of this rollup is taken now. Errors: in how many microseconds it may try again.
    pub fn check(&mut self, rollup: RollupId, now: TimestampUs) -> Result<(), u64> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let bucket = self.buckets.entry(rollup).or_insert(Bucket::full(rate));
        match bucket.tokens(rate, now) {
            0 => Err(rate.refill_us),
            _ => Ok(()),
        }
    }

    /// A submission that [`Self::check`] let pass is taken.
    pub fn charge(&mut self, rollup: RollupId, now: TimestampUs) {
        if let Some(rate) = self.rate
            && let Some(bucket) = self.buckets.get_mut(&rollup)
        {
            bucket.take(rate, now);
        }
    }
}

/// Highest rate that can be set.
pub const RATE_MAX: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` submissions a millisecond are taken in `millis` milliseconds.
    fn offer(quotas: &mut RollupQuotas, rollup: u64, count: u32, millis: u64) -> u32 {
        let mut taken = 0;
        for milli in 0..millis {
            let now = TimestampUs(1_000_000 + milli * 1_000);
            for _ in 0..count {
                if quotas.check(RollupId(rollup), now).is_ok() {
                    quotas.charge(RollupId(rollup), now);
                    taken += 1;
                }
            }
        }
        taken
    }

    #[test]
    fn without_a_rate_everything_is_taken_and_nothing_is_kept() {
        let mut quotas = RollupQuotas::new(0);
        assert_eq!(offer(&mut quotas, 1, 100, 1_000), 100_000);
        assert!(quotas.buckets.is_empty());
    }

    #[test]
    fn a_rollup_gets_its_rate_and_the_burst_and_the_others_are_not_charged() {
        let mut quotas = RollupQuotas::new(1_000);
        let flooded = offer(&mut quotas, 1, 10, 2_000);
        assert!((2_249..=2_251).contains(&flooded), "{flooded}");
        assert_eq!(offer(&mut quotas, 2, 1, 1_000), 1_000);
        let last = TimestampUs(1_000_000 + 1_999_000);
        assert_eq!(quotas.check(RollupId(1), last), Err(1_000));
    }

    #[test]
    fn the_true_rate_is_at_most_a_tenth_higher_than_the_one_set() {
        for per_second in [1, 3, 999, 6_400, 51_000, 95_000, RATE_MAX] {
            let refill_us = RollupQuotas::new(per_second).rate.unwrap().refill_us;
            let rate = 1_000_000 / refill_us;
            let set = u64::from(per_second);
            assert!(rate >= set && rate * 10 <= set * 11 + 10, "{set}: {rate}");
        }
    }

    #[test]
    fn what_is_only_asked_for_is_not_charged() {
        let mut quotas = RollupQuotas::new(4);
        let now = TimestampUs(9);
        for _ in 0..10 {
            assert!(quotas.check(RollupId(1), now).is_ok());
        }
        quotas.charge(RollupId(1), now);
        assert_eq!(quotas.check(RollupId(1), now), Err(250_000));
    }
}
