//! The latencies of a run: over all of it, and second by second.
//!
//! Pure: time comes in with every value, as microseconds after the start of the run. A second that is over is kept as
//! the values that occurred in it and their counts, since a whole histogram takes 200 KiB; a second without a value is
//! not kept.
//!
//! Cost: a value is recorded twice, O(1); four histograms are read and emptied once a second.

use hdrhistogram::Histogram;

use crate::outcome::Distribution;

/// To which notice a latency was measured; the discriminant indexes per-stage arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The first acceptance.
    Ack,
    /// The first receipt that verifies.
    Receipt,
    /// The first notice of its place in the order.
    Ordered,
    /// The notice that its batch is synced by the settlement worker.
    Settled,
}

impl Stage {
    /// All, in the order in which they are reached.
    pub const ALL: [Self; 4] = [Self::Ack, Self::Receipt, Self::Ordered, Self::Settled];

    /// As in reports and as a tag in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Receipt => "receipt",
            Self::Ordered => "ordered",
            Self::Settled => "settled",
        }
    }
}

/// The latencies to one stage that were noticed within one second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The stage.
    pub stage: Stage,
    /// When it began, microseconds after the start of the run.
    pub start_us: u64,
    /// How long it is, in microseconds.
    pub len_us: u64,
    /// Latencies in microseconds, ascending, and how many there were of each; never empty.
    pub counts: Vec<(u64, u64)>,
}

/// All latencies of a run.
#[derive(Debug)]
pub(crate) struct Latencies {
    total: [Histogram<u64>; 4],
    current: [Histogram<u64>; 4],
    /// Which second `current` is of.
    second: u64,
    closed: Vec<Interval>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            total: std::array::from_fn(|_| histogram()),
            current: std::array::from_fn(|_| histogram()),
            second: 0,
            closed: Vec::new(),
        }
    }

    /// Takes a latency of `latency_us` to `stage`, noticed `now_us` after the start; times never go back.
    pub(crate) fn record(&mut self, stage: Stage, now_us: u64, latency_us: u64) {
        let second = now_us / INTERVAL_US;
        if second != self.second {
            self.close();
            self.second = second;
        }
        self.total[stage as usize].saturating_record(latency_us);
        self.current[stage as usize].saturating_record(latency_us);
    }

    /// Over the whole run.
    pub(crate) const fn total(&self, stage: Stage) -> &Histogram<u64> {
        &self.total[stage as usize]
    }

    /// Second by second, what is not over yet included; by time, then by stage.
    pub(crate) fn intervals(&self) -> Vec<Interval> {
        let mut all = self.closed.clone();
        all.extend(self.open_intervals());
        all
    }

    /// The latencies to `stage` that were noticed in a second that is over; or is current, if nothing came since.
    pub(crate) fn of_second(&self, stage: Stage, second: u64) -> Distribution {
        if second == self.second {
            return Distribution::of(&self.current[stage as usize]);
        }
        let mut newest_first = self.closed.iter().rev();
        let start_us = second * INTERVAL_US;
        let interval = newest_first
            .by_ref()
            .take_while(|interval| interval.start_us >= start_us)
            .find(|interval| interval.start_us == start_us && interval.stage == stage);
        let mut all = histogram();
        for (latency_us, count) in interval.map_or(&[][..], |interval| &interval.counts) {
            all.saturating_record_n(*latency_us, *count);
        }
        Distribution::of(&all)
    }

    fn close(&mut self) {
        let closed: Vec<Interval> = self.open_intervals().collect();
        self.closed.extend(closed);
        for histogram in &mut self.current {
            histogram.reset();
        }
    }

    fn open_intervals(&self) -> impl Iterator<Item = Interval> + '_ {
        let stages = Stage::ALL.into_iter().zip(&self.current);
        stages
            .filter(|(_, histogram)| !histogram.is_empty())
            .map(|(stage, histogram)| Interval {
                stage,
                start_us: self.second * INTERVAL_US,
                len_us: INTERVAL_US,
                counts: histogram
                    .iter_recorded()
                    .map(|value| (value.value_iterated_to(), value.count_at_value()))
                    .collect(),
            })
    }
}

/// From 1 us to 10 minutes at three significant digits, some 200 KiB.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
        .expect("bounds in order and a precision of 0 to 5")
}

/// Longer ones count as this.
const LATENCY_US_MAX: u64 = 600_000_000;
/// How long an interval is.
const INTERVAL_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_total_and_in_the_second_in_which_it_was_noticed() {
        let mut latencies = Latencies::new();
        for (now_us, latency_us) in [(10, 7), (999_999, 9), (1_000_000, 9), (5_000_000, 70_000)] {
            latencies.record(Stage::Settled, now_us, latency_us);
        }
        latencies.record(Stage::Ack, 5_000_001, 3);

        let intervals = latencies.intervals();
        let seen: Vec<_> = intervals
            .iter()
            .map(|interval| (interval.stage, interval.start_us, interval.counts.len()))
            .collect();
        assert_eq!(
            seen,
            [
                (Stage::Settled, 0, 2),
                (Stage::Settled, 1_000_000, 1),
                (Stage::Ack, 5_000_000, 1),
                (Stage::Settled, 5_000_000, 1),
            ]
        );
        assert_eq!(intervals[0].counts, [(7, 1), (9, 1)]);
        let of_second = |second| latencies.of_second(Stage::Settled, second).count;
        assert_eq!([0, 1, 2, 5, 6].map(of_second), [2, 1, 0, 1, 0]);
        assert_eq!(latencies.total(Stage::Settled).len(), 4);
        assert_eq!(latencies.total(Stage::Ack).len(), 1);
    }

    #[test]
    fn the_intervals_merge_into_the_total() {
        let mut latencies = Latencies::new();
        for i in 0..50_000u64 {
            latencies.record(Stage::Ordered, i * 200, i * i % 9_999_999);
        }
        let mut merged = histogram();
        for interval in latencies.intervals() {
            for (value, count) in interval.counts {
                merged.record_n(value, count).expect("within its bounds");
            }
        }
        assert_eq!(&merged, latencies.total(Stage::Ordered));
    }
}
