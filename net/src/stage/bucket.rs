//! Token buckets.

use fairlane_engine::types::TimestampUs;

/// How many at once, and how soon again.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Tokens of a full bucket.
    pub burst: u32,
    /// Time for one more token.
    pub refill_us: u64,
}

/// Tokens of one source, all there at first.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: u32,
    /// When the last token came, or the first was taken.
    since: TimestampUs,
}

impl Bucket {
    /// A full bucket.
    pub const fn full(allowance: Allowance) -> Self {
        Self {
            tokens: allowance.burst,
            since: TimestampUs(0),
        }
    }

    /// Takes a token, if there is one. A clock that goes back only delays the next token.
    pub fn take(&mut self, allowance: Allowance, now: TimestampUs) -> bool {
        self.refill(allowance, now);
        let has_one = self.tokens > 0;
        self.tokens -= u32::from(has_one);
        has_one
    }

    /// How many there are.
    pub fn tokens(&mut self, allowance: Allowance, now: TimestampUs) -> u32 {
        self.refill(allowance, now);
        self.tokens
    }

    /// Whether nothing is remembered of its source.
    pub fn is_full(&mut self, allowance: Allowance, now: TimestampUs) -> bool {
        self.tokens(allowance, now) == allowance.burst
    }

    fn refill(&mut self, allowance: Allowance, now: TimestampUs) {
        if self.tokens == allowance.burst {
            self.since = now;
            return;
        }
        let came = now.since_us(self.since) / allowance.refill_us;
        let room = allowance.burst - self.tokens;
        if came >= u64::from(room) {
            self.tokens = allowance.burst;
            self.since = now;
        } else {
            self.tokens += came as u32;
            self.since = self.since.plus_us(came * allowance.refill_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Allowance = Allowance {
        burst: 2,
        refill_us: 100,
    };

    #[test]
    fn a_burst_is_allowed_and_then_one_a_refill() {
        let mut bucket = Bucket::full(TWO);
        let mut taken = |at| bucket.take(TWO, TimestampUs(at));
        assert!(taken(1_000) && taken(1_000) && !taken(1_099));
        assert!(taken(1_100) && !taken(1_199));
        assert!(taken(1_250) && !taken(1_299) && taken(1_300));
    }

    #[test]
    fn a_bucket_fills_up_to_its_burst_and_no_further() {
        let mut bucket = Bucket::full(TWO);
        assert!(bucket.take(TWO, TimestampUs(0)) && !bucket.is_full(TWO, TimestampUs(99)));
        assert!(bucket.is_full(TWO, TimestampUs(u64::MAX)));
        let at = TimestampUs(u64::MAX);
        assert!(bucket.take(TWO, at) && bucket.take(TWO, at) && bucket.tokens(TWO, at) == 0);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_breaks_nothing() {
        let mut bucket = Bucket::full(TWO);
        assert!(bucket.take(TWO, TimestampUs(500)) && bucket.take(TWO, TimestampUs(500)));
        assert!(!bucket.take(TWO, TimestampUs(0)));
        assert!(bucket.take(TWO, TimestampUs(600)));
    }
}
