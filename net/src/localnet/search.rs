//! The highest rate that holds: accepted, settled soon enough, and without a growing backlog.
//!
//! Short probes go up in steps until one fails, then halve the gap; the rate found must hold for the full time, else it is
//! lowered and tried again. What is reported is that last full run, never a probe.

use std::time::Duration;

use fairlane_loadgen::LoadOutcome;
use serde::{Deserialize, Serialize};

/// One rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Envelopes a second.
    pub rate: f64,
    /// For how long.
    pub duration_s: f64,
    /// Whether it held.
    pub held: bool,
    /// Part of the offered that was accepted.
    pub accepted_part: f64,
    /// 99 % settled within, microseconds.
    pub settled_p99_us: u64,
    /// Backlog when sending ended, in seconds of load.
    pub backlog_s: f64,
    /// Accepted and never settled.
    pub lost: u64,
    /// The load generator could not keep up: what was offered says nothing about the committee.
    pub generator_limited: bool,
}

impl Step {
    fn of(rate: f64, duration: Duration, outcome: &LoadOutcome) -> Self {
        let offered = outcome.tally.offered.max(1) as f64;
        let accepted_part = outcome.tally.accepted as f64 / offered;
        let settled_p99_us = outcome.latency_us.settled.p99;
        let held = accepted_part >= ACCEPTED_PART_MIN
            && settled_p99_us <= SETTLED_P99_US_MAX
            && outcome.backlog_s <= BACKLOG_S_MAX
            && outcome.tally.lost == 0
            && outcome.is_drained
            && !outcome.offering.was_limited;
        Self {
            rate,
            duration_s: duration.as_secs_f64(),
            held,
            accepted_part,
            settled_p99_us,
            backlog_s: outcome.backlog_s,
            lost: outcome.tally.lost,
            generator_limited: outcome.offering.was_limited,
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The full run at the rate that held, or at the lowest rate that was tried when none did.
    pub outcome: LoadOutcome,
    /// Every rate that was tried, in order.
    pub steps: Vec<Step>,
}

/// Looks for the highest rate that holds for `duration`; `run` offers a rate for a time.
pub fn highest_rate(
    duration: Duration,
    mut run: impl FnMut(f64, Duration) -> anyhow::Result<LoadOutcome>,
) -> anyhow::Result<Found> {
    let probe = duration.min(PROBE);
    let mut steps = Vec::new();
    let mut try_rate = |rate: f64, duration: Duration| -> anyhow::Result<(bool, LoadOutcome)> {
        let outcome = run(rate, duration)?;
        let step = Step::of(rate, duration, &outcome);
        let stopped = outcome.is_stopped;
        steps.push(step);
        anyhow::ensure!(!stopped, "the search for the highest rate was interrupted");
        Ok((step.held, outcome))
    };
    let (mut low, mut high): (f64, Option<f64>) = (RATE_FIRST, None);
    while high.is_none_or(|high| high > low * PRECISION) {
        let rate = high.map_or(low * GROWTH, |high| (low * high).sqrt());
        if try_rate(rate.round(), probe)?.0 {
            low = rate;
        } else {
            high = Some(rate);
        }
        if rate > RATE_MAX {
            break;
        }
    }
    let mut rate = low;
    loop {
        let (held, outcome) = try_rate(rate.round(), duration)?;
        if held || rate < RATE_FIRST / 8.0 {
            return Ok(Found { outcome, steps });
        }
        rate *= LOWERED;
    }
}

/// Part of the offered that must be accepted.
pub const ACCEPTED_PART_MIN: f64 = 0.999;
/// Longest 99th percentile from planned to settled, microseconds.
pub const SETTLED_P99_US_MAX: u64 = 250_000;
/// Largest backlog when sending ends, in seconds of load.
pub const BACKLOG_S_MAX: f64 = 0.1;
const PROBE: Duration = Duration::from_secs(4);
const RATE_FIRST: f64 = 500.0;
const RATE_MAX: f64 = 500_000.0;
const GROWTH: f64 = 1.5;
/// Probing ends when the rate is known this well.
const PRECISION: f64 = 1.08;
const LOWERED: f64 = 0.93;

#[cfg(test)]
mod tests {
    use super::*;

    /// A committee that settles fast up to a rate and drowns above it.
    fn committee(capacity: f64) -> impl FnMut(f64, Duration) -> anyhow::Result<LoadOutcome> {
        move |rate, _| {
            let mut outcome = LoadOutcome {
                is_drained: true,
                ..LoadOutcome::default()
            };
            outcome.tally.offered = 1_000;
            outcome.tally.accepted = 1_000;
            outcome.latency_us.settled.p99 = if rate <= capacity { 20_000 } else { 900_000 };
            Ok(outcome)
        }
    }

    #[test]
    fn the_rate_found_is_close_below_the_capacity() {
        for capacity in [700.0, 1_234.0, 5_000.0, 40_000.0] {
            let found = highest_rate(Duration::from_secs(10), committee(capacity)).unwrap();
            let last = found.steps.last().unwrap();
            assert!(last.held && last.rate <= capacity, "{last:?}");
            assert!(last.rate > capacity / 1.1, "{} of {capacity}", last.rate);
            assert_eq!(last.duration_s, 10.0);
        }
    }

    #[test]
    fn a_rate_that_holds_only_in_probes_is_lowered() {
        let mut full_runs = 0;
        let mut probe = committee(1_000.0);
        let found = highest_rate(Duration::from_secs(10), |rate, duration| {
            let mut outcome = probe(rate, duration)?;
            if duration.as_secs() == 10 {
                full_runs += 1;
                outcome.backlog_s = if full_runs == 1 { 0.2 } else { 0.0 };
            }
            Ok(outcome)
        });
        let steps = found.unwrap().steps;
        let full: Vec<&Step> = steps
            .iter()
            .filter(|step| step.duration_s == 10.0)
            .collect();
        assert_eq!(full.len(), 2);
        assert!(!full[0].held && full[1].held && full[1].rate < full[0].rate);
    }
}
