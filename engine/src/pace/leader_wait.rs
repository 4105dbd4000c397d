//! How long a round waits for the leader and its votes: grows with the network, forgets what is long past.
//!
//! Local: it decides when this node acts, never what is agreed. The wait is three times the longest wait that was needed in
//! the last [`WINDOW_ROTATIONS`] rotations, within configured bounds; a wait that ran out counts as if two thirds of
//! twice its length had been needed, so it doubles. Only rounds entered with something to order count: an idle leader
//! beats its heart, and says nothing about the network.
//!
//! Sources: the doubling of view timers in PBFT (Castro and Liskov, OSDI 1999); the windowed maximum of BBR (Cardwell
//! et al., ACM Queue 2016), which takes a bad moment back without a decay rate to tune.
//!
//! Why it is live. After GST a wait of some c that depends on the delays is long enough; let the upper bound cover c, and let
//! it be at most 2^7 times the lower. A wait that runs out doubles all that follow for a whole window, so a node gives
//! up on a correct leader at most 7 times in 16 n busy rounds, and all together in at most 7 n of any 16 n rounds. In more than
//! half of the rounds, hence in two that follow each other, nobody does: then a correct leader's vertex gets every
//! correct vote and every correct certificate.
//!
//! Cost: O(1) amortized a round. At most as many samples as the window has rounds are kept.

use std::collections::VecDeque;

/// The wait of one node, in force for the round that it is in.
#[derive(Debug)]
pub struct LeaderWait {
    bounds: LeaderWaitBounds,
    window_rounds: u64,
    rounds: u64,
    /// (round counted here, what it needed), the needs falling: the first is the maximum of the window.
    needed: VecDeque<(u64, u64)>,
}

/// Bounds of the wait, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderWaitBounds {
    /// Never shorter.
    pub min_us: u64,
    /// Until something is known.
    pub initial_us: u64,
    /// Never longer; wins over the other two.
    pub max_us: u64,
}

impl LeaderWait {
    /// For a committee of `authorities`, with nothing observed yet.
    pub fn new(bounds: LeaderWaitBounds, authorities: u32) -> Self {
        let mut wait = Self {
            bounds,
            window_rounds: WINDOW_ROTATIONS * u64::from(authorities),
            rounds: 0,
            needed: VecDeque::new(),
        };
        wait.note(bounds.initial_us.div_ceil(MARGIN));
        wait
    }

    /// How long to wait at most after a round was entered, microseconds.
    pub fn wait_us(&self) -> u64 {
        let needed = self.needed.front().map_or(0, |(_, needed)| *needed);
        needed
            .saturating_mul(MARGIN)
            .max(self.bounds.min_us)
            .min(self.bounds.max_us)
    }

    /// A round was entered busy and had what it waited for after `waited_us`.
    pub fn on_over(&mut self, waited_us: u64) {
        self.note(waited_us);
    }

    /// A round was entered busy and its wait ran out.
    pub fn on_timeout(&mut self) {
        self.note(self.wait_us().saturating_mul(2).div_ceil(MARGIN));
    }

    fn note(&mut self, needed_us: u64) {
        let needed_us = needed_us.min(self.bounds.max_us);
        while self
            .needed
            .back()
            .is_some_and(|(_, last)| *last <= needed_us)
        {
            self.needed.pop_back();
        }
        self.needed.push_back((self.rounds, needed_us));
        self.rounds += 1;
        let oldest = self.rounds.saturating_sub(self.window_rounds);
        while self
            .needed
            .front()
            .is_some_and(|(round, _)| *round < oldest)
        {
            self.needed.pop_front();
        }
    }
}

/// The wait is so many times what was needed.
const MARGIN: u64 = 3;

/// How many rotations of the schedule are remembered.
const WINDOW_ROTATIONS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: LeaderWaitBounds = LeaderWaitBounds {
        min_us: 20_000,
        initial_us: 60_000,
        max_us: 2_000_000,
    };
    const WINDOW: usize = 16 * 5;

    fn wait() -> LeaderWait {
        LeaderWait::new(BOUNDS, 5)
    }

    #[test]
    fn it_starts_as_configured_and_falls_to_three_times_what_is_needed() {
        let mut wait = wait();
        assert_eq!(wait.wait_us(), 60_000);
        for _ in 0..WINDOW - 1 {
            wait.on_over(10_000);
            assert_eq!(wait.wait_us(), 60_000, "within the first window");
        }
        wait.on_over(10_000);
        assert_eq!(wait.wait_us(), 30_000);
    }

    #[test]
    fn on_a_fast_network_it_rests_at_the_lower_bound() {
        let mut wait = wait();
        (0..WINDOW).for_each(|_| wait.on_over(900));
        assert_eq!(wait.wait_us(), BOUNDS.min_us);
    }

    #[test]
    fn each_wait_that_runs_out_doubles_it_up_to_the_upper_bound() {
        let mut wait = wait();
        let waits = (0..7).map(|_| {
            wait.on_timeout();
            wait.wait_us()
        });
        let doubled = [
            120_000, 240_000, 480_000, 960_000, 1_920_000, 2_000_000, 2_000_000,
        ];
        assert_eq!(waits.collect::<Vec<_>>(), doubled);
    }

    #[test]
    fn one_timeout_is_forgotten_after_a_window_without() {
        let mut wait = wait();
        (0..WINDOW).for_each(|_| wait.on_over(900));
        wait.on_timeout();
        assert!(wait.wait_us() >= 2 * BOUNDS.min_us);
        (0..WINDOW - 1).for_each(|_| wait.on_over(900));
        assert!(wait.wait_us() >= 2 * BOUNDS.min_us);
        wait.on_over(900);
        assert_eq!(wait.wait_us(), BOUNDS.min_us);
    }

    proptest! {
        #[test]
        fn it_is_three_times_the_greatest_need_of_the_window(
            needs in prop::collection::vec(prop::option::weighted(0.9, 0u64..800_000), 1..300),
        ) {
            let mut wait = wait();
            let mut all = vec![BOUNDS.initial_us.div_ceil(3)];
            for need in needs {
                match need {
                    Some(waited) => {
                        all.push(waited);
                        wait.on_over(waited);
                    }
                    None => {
                        all.push((2 * wait.wait_us()).div_ceil(3).min(BOUNDS.max_us));
                        wait.on_timeout();
                    }
                }
                let window = &all[all.len().saturating_sub(WINDOW)..];
                let greatest = window.iter().max().unwrap();
                let expected = (3 * greatest).clamp(BOUNDS.min_us, BOUNDS.max_us);
                prop_assert_eq!(wait.wait_us(), expected);
                prop_assert!(wait.needed.len() <= WINDOW);
            }
        }

        /// As the module header says: whatever the needs below c, a node gives up at most 7 times in a window.
        #[test]
        fn at_most_seven_waits_run_out_in_a_window(
            needs in prop::collection::vec(0u64..=2_000_000, 1..600),
        ) {
            let mut wait = wait();
            let mut ran_out = Vec::new();
            for need in needs {
                let out = need > wait.wait_us();
                ran_out.push(out);
                if out {
                    wait.on_timeout();
                } else {
                    wait.on_over(need);
                }
                let window = &ran_out[ran_out.len().saturating_sub(WINDOW)..];
                prop_assert!(window.iter().filter(|out| **out).count() <= 7);
            }
        }
    }
}
