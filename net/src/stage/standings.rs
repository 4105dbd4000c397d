//! Whose proofs are worth checking now.
//!
//! A proof costs the node more than it costs who invents one that does not hold. So a client is trusted until its proofs
//! fail, and then only so many of its proofs are checked in a time; what it sends beyond is answered Busy, unchecked. It
//! falls behind the others, who are not charged.

use std::collections::BTreeMap;

use fairlane_engine::types::TimestampUs;

use super::bucket::{Allowance, Bucket};

/// Clients whose proofs failed lately; others are not kept.
#[derive(Debug)]
pub struct Standings {
    failures: Allowance,
    lately: BTreeMap<u64, Standing>,
}

#[derive(Debug)]
struct Standing {
    failures: Bucket,
    /// Let through and not checked yet.
    unchecked: u32,
}

impl Standings {
    /// Nobody has failed. `failures`: how many are suffered from one client.
    pub const fn new(failures: Allowance) -> Self {
        Self {
            failures,
            lately: BTreeMap::new(),
        }
    }

    /// Whether one more proof of a client is checked now; every one that is has to be told of by [`Self::on_checked`].
    ///
    /// Errors: in how many microseconds it may try again.
    pub fn try_check(&mut self, connection: u64, now: TimestampUs) -> Result<(), u64> {
        let Some(standing) = self.lately.get_mut(&connection) else {
            return Ok(());
        };
        if standing.failures.tokens(self.failures, now) <= standing.unchecked {
            return Err(self.failures.refill_us);
        }
        standing.unchecked += 1;
        Ok(())
    }

    /// A proof of a client was checked.
    pub fn on_checked(&mut self, connection: u64, held: bool, now: TimestampUs) {
        if held && self.lately.is_empty() {
            return;
        }
        let failures = self.failures;
        if let Some(standing) = self.lately.get_mut(&connection) {
            // Of what was let through before its first failure, nothing is counted here.
            standing.unchecked = standing.unchecked.saturating_sub(1);
            if !held {
                standing.failures.take(failures, now);
            } else if standing.unchecked == 0 && standing.failures.is_full(failures, now) {
                self.lately.remove(&connection);
            }
        } else if !held {
            let mut standing = Standing {
                failures: Bucket::full(failures),
                unchecked: 0,
            };
            standing.failures.take(failures, now);
            self.lately.insert(connection, standing);
        }
    }

    /// A client is gone.
    pub fn forget(&mut self, connection: u64) {
        self.lately.remove(&connection);
    }

    /// How many clients' proofs failed lately.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lately.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampUs = TimestampUs(1_000_000);
    const FOUR: Allowance = Allowance {
        burst: 4,
        refill_us: 100,
    };

    /// Sends `count` proofs at once and has those checked that may be; gives how many were.
    fn send(standings: &mut Standings, of: u64, count: u32, held: bool, at: TimestampUs) -> u32 {
        let let_through = (0..count).filter(|_| standings.try_check(of, at).is_ok());
        let checked = let_through.count() as u32;
        for _ in 0..checked {
            standings.on_checked(of, held, at);
        }
        checked
    }

    #[test]
    fn a_client_whose_proofs_hold_is_never_put_off() {
        let mut standings = Standings::new(FOUR);
        for _ in 0..100 {
            assert_eq!(send(&mut standings, 1, 256, true, NOW), 256);
        }
        assert!(standings.lately.is_empty());
    }

    #[test]
    fn a_client_whose_proofs_fail_costs_its_allowance_and_then_one_a_refill() {
        let mut standings = Standings::new(FOUR);
        assert_eq!(send(&mut standings, 1, 1, false, NOW), 1);
        assert_eq!(send(&mut standings, 1, 1_000, false, NOW), 3);
        assert_eq!(send(&mut standings, 1, 1_000, false, NOW), 0);
        assert_eq!(standings.try_check(1, NOW), Err(100));
        let mut checked = 0;
        for step in 1..=1_000 {
            checked += send(&mut standings, 1, 10, false, NOW.plus_us(10 * step));
        }
        assert_eq!(checked, 100, "10,000 us at one in 100 us, of 10,000 sent");
    }

    #[test]
    fn the_others_are_not_charged() {
        let mut standings = Standings::new(FOUR);
        for _ in 0..10 {
            send(&mut standings, 1, 1_000, false, NOW);
            assert_eq!(send(&mut standings, 2, 50, true, NOW), 50);
        }
    }

    #[test]
    fn a_burst_before_the_first_verdict_is_paid_for_after_it() {
        let mut standings = Standings::new(FOUR);
        assert_eq!(send(&mut standings, 1, 256, false, NOW), 256);
        assert_eq!(send(&mut standings, 1, 256, false, NOW), 0);
    }

    #[test]
    fn a_client_that_mends_its_ways_is_trusted_again_and_one_that_left_is_forgotten() {
        let mut standings = Standings::new(FOUR);
        send(&mut standings, 1, 3, false, NOW);
        let later = NOW.plus_us(300);
        assert_eq!(send(&mut standings, 1, 9, true, later), 4);
        assert!(standings.lately.is_empty());
        assert_eq!(send(&mut standings, 1, 9, true, later), 9);
        send(&mut standings, 2, 3, false, NOW);
        standings.forget(2);
        assert!(standings.lately.is_empty());
    }
}
