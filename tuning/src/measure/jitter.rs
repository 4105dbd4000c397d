//! Who takes a processor away from a thread that never waits, how often, and for how long.
//!
//! As sysjitter: the thread reads the clock over and over; two readings further apart than a microsecond are an
//! interruption: an interrupt, another thread, the hypervisor. One processor after the other, so that the machine
//! stays usable.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Collected, Times, on};

/// The interruptions on one processor.
#[derive(Clone, Debug, Serialize)]
pub struct CoreJitter {
    /// The processor.
    pub cpu: usize,
    /// The interruptions, or why they could not be taken.
    #[serde(serialize_with = "super::or_failed")]
    pub found: Result<Interruptions, String>,
}

/// Interruptions over a time.
#[derive(Clone, Debug, Serialize)]
pub struct Interruptions {
    /// How long the thread ran.
    pub time_ns: u64,
    /// How much of that was taken away.
    pub lost_ns: u64,
    /// How long they were; none when there were none.
    pub times: Option<Times>,
    /// How many lasted at least as long as each of [`BUCKETS_US`], and shorter than the next.
    pub counts: [u64; BUCKETS_US.len()],
}

pub(super) fn of_core(cpu: usize, time: Duration) -> CoreJitter {
    CoreJitter {
        cpu,
        found: on(cpu, || Ok(watch(time.min(SPIN_MAX)))),
    }
}

fn watch(time: Duration) -> Interruptions {
    let mut times = Collected::new();
    let mut counts = [0; BUCKETS_US.len()];
    let mut lost = Duration::ZERO;
    let start = Instant::now();
    let mut last = start;
    while last - start < time {
        let now = Instant::now();
        let gap = now - last;
        if gap >= THRESHOLD {
            times.record(gap);
            counts[bucket(gap)] += 1;
            lost += gap;
        }
        last = now;
    }
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Interruptions {
        time_ns: nanoseconds(last - start),
        lost_ns: nanoseconds(lost),
        times: times.finish().ok(),
        counts,
    }
}

fn bucket(gap: Duration) -> usize {
    let is_reached = |least: &&u64| gap >= Duration::from_micros(**least);
    BUCKETS_US
        .iter()
        .take_while(is_reached)
        .count()
        .saturating_sub(1)
}

/// Least length of each bucket.
pub const BUCKETS_US: [u64; 8] = [1, 2, 5, 10, 50, 100, 1000, 10_000];
const THRESHOLD: Duration = Duration::from_micros(BUCKETS_US[0]);
/// For one processor.
const SPIN_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_counted_where_its_length_belongs() {
        let places = [
            1_000,
            1_999,
            2_000,
            99_999,
            100_000,
            9_999_999,
            10_000_000,
            9_000_000_000,
        ];
        let found = places.map(|ns| bucket(Duration::from_nanos(ns)));
        assert_eq!(found, [0, 0, 1, 4, 5, 6, 7, 7]);
    }

    #[test]
    fn what_is_lost_is_part_of_the_time_and_counted_once() {
        let found = watch(Duration::from_millis(20));
        assert!(found.lost_ns <= found.time_ns);
        let counted: u64 = found.counts.iter().sum();
        assert_eq!(counted, found.times.map_or(0, |times| times.count));
    }
}
