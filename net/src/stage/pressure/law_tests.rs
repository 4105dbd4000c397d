//! The law of admission on committees that share nothing but what they are offered: goodput, wait, fairness, agreement.

use super::*;

/// One authority.
struct Authority {
    gauge: Gauge,
    gate: Gate,
    /// Taken from clients, of those counted.
    taken: u64,
}

/// A committee that opens `capacity` a second of what any authority took.
struct Committee {
    authorities: Vec<Authority>,
    capacity: u64,
    /// Checks of proofs, as each has timed them.
    proofs: Step,
    /// What was taken by any and not opened, by when it was offered.
    queue: VecDeque<u64>,
    union: u64,
    opened: u64,
    /// The longest waits of what was opened, by second, ms.
    waits: Vec<u64>,
}

/// By then the burst that was taken whole is opened.
const COUNTED_FROM_MS: u64 = 7_000;

impl Committee {
    fn new(n: usize, capacity: u64) -> Self {
        let authority = || {
            let shared = Pressure::new();
            Authority {
                gauge: Gauge::new(shared.clone()),
                gate: Gate::new(shared),
                taken: 0,
            }
        };
        Self {
            authorities: (0..n).map(|_| authority()).collect(),
            capacity,
            proofs: Step::default(),
            queue: VecDeque::new(),
            union: 0,
            opened: 0,
            waits: Vec::new(),
        }
    }

    /// A millisecond passes: what is offered (client, and whom to), then what is opened.
    ///
    /// Each authority hears everything up to `skew_ms` later than the one before it. Gives how many were taken by anybody.
    fn step(&mut self, ms: u64, offered: &[(usize, Option<usize>)], skew_ms: u64) -> Vec<bool> {
        let mut fates = Vec::new();
        for (index, (client, whom)) in offered.iter().enumerate() {
            let bytes = [ms.to_be_bytes(), (index as u64).to_be_bytes()].concat();
            let mut is_taken = false;
            for (place, authority) in self.authorities.iter_mut().enumerate() {
                if whom.is_some_and(|whom| whom != place) {
                    continue;
                }
                let now = at(ms + place as u64 * skew_ms);
                if authority.gate.takes(*client, &bytes, 0, now) {
                    is_taken = true;
                    authority.taken += u64::from(ms >= COUNTED_FROM_MS);
                }
            }
            if is_taken {
                self.queue.push_back(ms);
                self.union += u64::from(ms >= COUNTED_FROM_MS);
            }
            fates.push(is_taken);
        }
        let second = (ms / 1_000) as usize;
        self.waits.resize(second + 1, 0);
        let until = (ms + 1) * self.capacity / 1_000 - ms * self.capacity / 1_000;
        for _ in 0..until {
            let Some(taken) = self.queue.pop_front() else {
                break;
            };
            self.opened += 1;
            self.waits[second] = self.waits[second].max(ms - taken);
        }
        let counts = Fates {
            taken: self.opened + self.queue.len() as u64,
            opened: self.opened,
            dropped: 0,
        };
        for authority in &mut self.authorities {
            let is_idle = self.queue.is_empty();
            authority.gauge.look(at(ms), counts, self.proofs, is_idle);
        }
        fates
    }
}

const fn at(ms: u64) -> TimestampUs {
    TimestampUs(1_000_000_000 + ms * 1_000)
}

#[test]
fn five_times_the_capacity_gives_the_capacity_a_bounded_wait_and_nearly_the_same_everywhere() {
    for (n, capacity, skew_ms) in [
        (5, 3_000, 0),
        (5, 3_000, 7),
        (16, 12_000, 2),
        (4, 2_000, 20),
    ] {
        let mut committee = Committee::new(n, capacity);
        let mut modest_refused = 0;
        for ms in 0..16_000 {
            let mut offered = vec![(1, None); (capacity * 5 / 1_000) as usize];
            if ms % 50 == 0 {
                offered.push((2, None));
            }
            let fates = committee.step(ms, &offered, skew_ms);
            modest_refused += u64::from(ms % 50 == 0 && !fates[offered.len() - 1]);
        }
        let what = format!("n {n}, capacity {capacity}, skew {skew_ms} ms");
        assert_eq!(modest_refused, 0, "{what}");
        let all = 16 * capacity;
        assert!(
            committee.opened * 100 >= all * 98,
            "{what}: {}",
            committee.opened
        );
        let waits = &committee.waits[COUNTED_FROM_MS as usize / 1_000..];
        assert!(waits.iter().all(|ms| *ms <= 500), "{what}: {waits:?}");
        for authority in &committee.authorities {
            let missed = committee.union - authority.taken;
            assert!(
                missed * 10 <= committee.union,
                "{what}: {missed} of {}",
                committee.union
            );
        }
    }
}

#[test]
fn clients_of_one_authority_each_are_held_to_what_the_committee_opens() {
    let mut committee = Committee::new(5, 3_000);
    for ms in 0..14_000 {
        let offered: Vec<_> = (0..15).map(|index| (1, Some(index % 5))).collect();
        committee.step(ms, &offered, 0);
    }
    assert!(
        committee.opened * 100 >= 14 * 3_000 * 98,
        "{}",
        committee.opened
    );
    let waits = &committee.waits[COUNTED_FROM_MS as usize / 1_000..];
    assert!(waits.iter().all(|ms| *ms <= 600), "{waits:?}");
}

/// Five times what is opened, from quiet on: the longest wait of what was opened at all, ms.
fn longest_wait(capacity: u64, proofs: Step) -> u64 {
    let mut committee = Committee::new(5, capacity);
    committee.proofs = proofs;
    for ms in 0..10_000 {
        committee.step(ms, &vec![(1, None); (capacity * 5 / 1_000) as usize], 0);
    }
    committee.waits.into_iter().max().unwrap()
}

#[test]
fn whose_checks_are_slow_takes_no_burst_that_waits_for_more_than_two_seconds() {
    let slow = Step {
        items: 1_000,
        ns: 1_000 * 200_000,
    };
    assert!(longest_wait(2_000, slow) <= 2_000);
    // It is by that that it knows: with all taken whole the last waits for four.
    assert!(longest_wait(2_000, Step::default()) > 3_500);
}

#[test]
fn after_the_overload_a_burst_is_taken_whole_again() {
    let mut committee = Committee::new(5, 3_000);
    let half = |ms: u64| vec![(1, None); if ms.is_multiple_of(2) { 3 } else { 0 }];
    for ms in 0..6_000 {
        committee.step(ms, &vec![(1, None); 15], 0);
    }
    for ms in 6_000..9_000 {
        let fates = committee.step(ms, &half(ms), 0);
        // What waits is opened within a second.
        assert!(ms < 7_000 || fates.iter().all(|is_taken| *is_taken), "{ms}");
    }
    let fates = committee.step(9_000, &vec![(1, None); 5_000], 0);
    assert!(fates.iter().all(|is_taken| *is_taken));
}
