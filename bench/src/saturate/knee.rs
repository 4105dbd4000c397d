//! The knee of a latency-throughput curve: the rule, and the search that finds it.
//!
//! Rule: *a rate holds when at least 99 % of what was offered is settled within `times` times the 99th percentile at low
//! load; the knee is the highest rate that holds.* One condition says both halves of what is usually asked for: the tail
//! has not left the flat part of the "hockey stick", and the goodput is 99 % of the offered load, for what is refused, lost
//! or unanswered counts as settled too late.
//!
//! Why not a knee by curvature (Satopaa et al., Finding a "Kneedle" in a Haystack, ICDCS workshops 2011)? Kneedle scales
//! both axes to the range that was measured. Above saturation an open loop's latency grows with the length of the run
//! without bound, so one step further to the right moves the point; a threshold against the same committee's low load does
//! not depend on how far somebody happened to push, and it can be found by bisection, with the fine steps where they
//! count. The price is the constant, 3 by default: queueing alone (M/M/1: the sojourn time grows as 1/(1 - load)) makes a
//! tail three times as long at two thirds of the capacity, so the knee keeps a third in reserve, as operators do.
//!
//! Beside it stands the parameter-free rule of Kleinrock (Power and deterministic rules of thumb for probabilistic problems
//! in computer communications, ICC 1979): the rate of greatest *power*, throughput by delay, here settled/s by p50. Where
//! the two lie far apart, the tail saturates long before the middle does.
//!
//! Search: the lowest rate twice (the lower tail is the yardstick, so that one hiccup does not lower the bar), then rates
//! that grow by half until one fails, then bisection (geometric) until the gap is below 8 %. A rate that fails is offered
//! once more before it is believed: on a shared machine a pause of the host looks just like saturation, once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What counts as holding, and where the search begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Rate of the low load, envelopes a second.
    pub low_rate: f64,
    /// No higher rate is tried.
    pub rate_max: f64,
    /// So many times the 99th percentile at low load is in time.
    pub times: f64,
}

impl Rule {
    /// Part of the offered that must settle in time.
    pub const PART: f64 = 0.99;
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a rate holds when {:.0} % of the offered settle within {} x the p99 at {} a second; knee: the highest that holds",
            100.0 * Self::PART,
            self.times,
            self.low_rate
        )
    }
}

/// What is asked of whoever runs a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Envelopes a second.
    pub rate: f64,
}

/// What a step came to.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Envelopes.
    pub offered: u64,
    /// A second, as planned.
    pub offered_tps: f64,
    /// Envelopes.
    pub settled: u64,
    /// Envelopes.
    pub refused: u64,
    /// Envelopes, lost or never answered.
    pub lost: u64,
    /// A second, from the start to the last settlement.
    pub settled_tps: f64,
    /// From the planned time to settled, microseconds.
    pub p50_us: u64,
    /// The same.
    pub p99_us: u64,
    /// The same.
    pub p999_us: u64,
    /// Processor time of all nodes for one settled envelope, microseconds.
    pub cpu_us: f64,
    /// The load generator could not keep up.
    pub was_limited: bool,
    /// Latencies of the settled, microseconds, and how many had each.
    pub counts: Vec<(u64, u64)>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} a second offered, {:.0} settled, p50 {:.1} ms, p99 {:.1} ms",
            self.offered_tps,
            self.settled_tps,
            self.p50_us as f64 / 1e3,
            self.p99_us as f64 / 1e3
        )
    }
}

/// One rate that was offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Envelopes a second.
    pub rate: f64,
    /// Settled a second.
    pub settled_tps: f64,
    /// Settled in time a second.
    pub goodput_tps: f64,
    /// Part of the offered that settled in time.
    pub in_time: f64,
    /// From the planned time to settled, microseconds.
    pub p50_us: u64,
    /// The same.
    pub p99_us: u64,
    /// The same.
    pub p999_us: u64,
    /// Envelopes refused.
    pub refused: u64,
    /// Envelopes lost or never answered.
    pub lost: u64,
    /// Processor time of all nodes for one settled envelope, microseconds.
    pub cpu_us: f64,
    /// The load generator could not keep up: then the rate does not hold, and says nothing of the committee.
    pub was_limited: bool,
    /// Whether it holds.
    pub holds: bool,
}

/// A committee's curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The 99th percentile at low load, microseconds: the lower of two steps.
    pub low_p99_us: u64,
    /// What settles within is in time, microseconds.
    pub limit_us: u64,
    /// In the order in which they were tried.
    pub steps: Vec<Step>,
    /// The highest rate was offered and held: the knee lies above it.
    pub is_open_ended: bool,
}

/// Looks for the knee; `run` offers a rate. Errors: those of `run`.
pub fn find(
    rule: &Rule,
    run: &mut dyn FnMut(Offer) -> anyhow::Result<Seen>,
) -> anyhow::Result<Curve> {
    let low = Offer {
        rate: rule.low_rate,
    };
    let first = [run(low)?, run(low)?];
    let low_p99_us = first[0].p99_us.min(first[1].p99_us);
    let limit_us = (low_p99_us as f64 * rule.times) as u64;
    let mut steps: Vec<Step> = (first.iter())
        .map(|seen| Step::of(low.rate, seen, limit_us))
        .collect();
    let mut offer_twice = |rate: f64| -> anyhow::Result<bool> {
        for _ in 0..2 {
            let step = Step::of(rate, &run(Offer { rate })?, limit_us);
            let holds = step.holds;
            steps.push(step);
            if holds {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let (mut held, mut failed): (f64, Option<f64>) = (rule.low_rate, None);
    let mut is_open_ended = false;
    while failed.is_none_or(|failed| failed > held * PRECISION) {
        let rate = failed.map_or(held * GROWTH, |failed| (held * failed).sqrt());
        let rate = rate.round().min(rule.rate_max);
        if !offer_twice(rate)? {
            failed = Some(rate);
        } else {
            held = rate;
            is_open_ended = rate >= rule.rate_max;
        }
        if is_open_ended {
            break;
        }
    }
    Ok(Curve {
        low_p99_us,
        limit_us,
        steps,
        is_open_ended,
    })
}

impl Step {
    fn of(rate: f64, seen: &Seen, limit_us: u64) -> Self {
        let counts = seen.counts.iter();
        let in_time: u64 = counts
            .filter(|(latency, _)| *latency <= limit_us)
            .map(|(_, count)| count)
            .sum();
        let part = in_time as f64 / seen.offered.max(1) as f64;
        Self {
            rate,
            settled_tps: seen.settled_tps,
            goodput_tps: seen.offered_tps * part,
            in_time: part,
            p50_us: seen.p50_us,
            p99_us: seen.p99_us,
            p999_us: seen.p999_us,
            refused: seen.refused,
            lost: seen.lost,
            cpu_us: seen.cpu_us,
            was_limited: seen.was_limited,
            holds: part >= Rule::PART && !seen.was_limited,
        }
    }

    /// Settled a second by the median delay in seconds.
    fn power(&self) -> f64 {
        self.settled_tps / (self.p50_us.max(1) as f64 / 1e6)
    }
}

impl Curve {
    /// The last held step of the highest rate that held; `None` when not even the low load does.
    pub fn knee(&self) -> Option<&Step> {
        let held = self.steps.iter().filter(|step| step.holds);
        held.max_by(|a, b| a.rate.total_cmp(&b.rate))
    }

    /// The step of greatest power.
    pub fn most_power(&self) -> Option<&Step> {
        let steps = self.steps.iter();
        steps.max_by(|a, b| a.power().total_cmp(&b.power()))
    }

    /// The steps by rate, as a plot wants them: of several at one rate the one that held, or else the last.
    pub fn by_rate(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by(|a, b| {
            (a.rate, a.holds)
                .partial_cmp(&(b.rate, b.holds))
                .expect("rates are numbers")
        });
        steps.reverse();
        steps.dedup_by(|later, kept| later.rate == kept.rate);
        steps.reverse();
        steps
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            "offered/s",
            "settled/s",
            "in time/s",
            "in time",
            "p50 ms",
            "p99 ms",
            "refused",
            "lost",
            "CPU us",
        ];
        let [
            offered,
            settled,
            goodput,
            part,
            p50,
            p99,
            refused,
            lost,
            cpu,
        ] = columns;
        writeln!(
            f,
            "{offered:>10}{settled:>11}{goodput:>11}{part:>10}{p50:>9}{p99:>10}{refused:>9}{lost:>6}{cpu:>8}"
        )?;
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        for step in steps {
            let note = match (step.holds, step.was_limited) {
                (true, _) => "",
                (false, true) => "  the load generator could not",
                (false, false) => "  fails",
            };
            writeln!(
                f,
                "{:>10.0}{:>11.0}{:>11.0}{:>8.2} %{:>9.1}{:>10.1}{:>9}{:>6}{:>8.0}{note}",
                step.rate,
                step.settled_tps,
                step.goodput_tps,
                100.0 * step.in_time,
                step.p50_us as f64 / 1e3,
                step.p99_us as f64 / 1e3,
                step.refused,
                step.lost,
                step.cpu_us
            )?;
        }
        let limit_ms = self.limit_us as f64 / 1e3;
        match self.knee() {
            Some(knee) if self.is_open_ended => {
                write!(f, "no knee up to {:.0} a second", knee.rate)?
            }
            Some(knee) => write!(f, "knee: {:.0} a second", knee.rate)?,
            None => write!(f, "NO RATE HOLDS, not even the lowest")?,
        }
        write!(f, " (in time: {limit_ms:.1} ms)")?;
        if let Some(step) = self.most_power() {
            write!(f, "; greatest power at {:.0}", step.rate)?;
        }
        writeln!(f)
    }
}

const GROWTH: f64 = 1.5;
/// The search ends when the knee is known this well.
const PRECISION: f64 = 1.08;

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        low_rate: 100.0,
        rate_max: 100_000.0,
        times: 3.0,
    };

    /// Latencies of an M/M/1 queue: exponential with mean `1 / (capacity - rate)`; beyond it, nobody in time.
    fn queue(capacity: f64, rate: f64) -> Seen {
        let mean_us = if rate < capacity {
            1e6 / (capacity - rate)
        } else {
            1e9
        };
        let counts: Vec<(u64, u64)> = (0..2_000)
            .map(|at| {
                let left = 1.0 - (f64::from(at) + 0.5) / 2_000.0;
                ((-left.ln() * mean_us) as u64, 1)
            })
            .collect();
        Seen {
            offered: 2_000,
            offered_tps: rate,
            settled: 2_000,
            settled_tps: rate.min(capacity),
            p50_us: counts[1_000].0,
            p99_us: counts[1_980].0,
            counts,
            ..Seen::default()
        }
    }

    #[test]
    fn the_knee_of_a_queue_lies_where_its_delay_has_grown_by_the_factor() {
        for capacity in [700.0, 5_000.0, 40_000.0] {
            let curve = find(&RULE, &mut |offer| Ok(queue(capacity, offer.rate))).unwrap();
            // 1 / (capacity - knee) = 3 / (capacity - low).
            let exact = capacity - (capacity - RULE.low_rate) / RULE.times;
            let knee = curve.knee().unwrap().rate;
            assert!(knee <= exact && knee > exact / 1.09, "{knee} of {exact}");
            assert!(!curve.is_open_ended);
            // Kleinrock: the power of this queue is greatest at half of its capacity.
            let power = curve.most_power().unwrap().rate / capacity;
            assert!((0.35..0.65).contains(&power), "{power}");
        }
    }

    #[test]
    fn one_pause_of_the_host_neither_moves_the_bar_nor_the_knee() {
        for pause in 0..8 {
            let mut at = 0;
            let disturbed = find(&RULE, &mut |offer| {
                at += 1;
                let mut seen = queue(5_000.0, offer.rate);
                if at == pause {
                    seen.p99_us *= 50;
                    seen.counts
                        .iter_mut()
                        .for_each(|(latency, _)| *latency *= 50);
                }
                Ok(seen)
            });
            let quiet = find(&RULE, &mut |offer| Ok(queue(5_000.0, offer.rate))).unwrap();
            assert_eq!(
                disturbed.unwrap().knee().unwrap().rate,
                quiet.knee().unwrap().rate,
                "paused in step {pause}"
            );
        }
    }

    #[test]
    fn what_is_refused_or_lost_is_not_in_time() {
        let curve = find(&RULE, &mut |offer| {
            let mut seen = queue(1e9, offer.rate);
            if offer.rate > 1_000.0 {
                // Quick for those who are served: 2 % are not.
                seen.counts.truncate(1_960);
                seen.refused = 40;
            }
            Ok(seen)
        });
        let knee = curve.unwrap().knee().unwrap().rate;
        assert!((900.0..=1_000.0).contains(&knee), "{knee}");
    }

    #[test]
    fn a_rate_that_the_generator_cannot_offer_does_not_hold() {
        let curve = find(&RULE, &mut |offer| {
            let mut seen = queue(1e9, offer.rate);
            seen.was_limited = offer.rate > 2_000.0;
            Ok(seen)
        });
        assert!(curve.unwrap().knee().unwrap().rate <= 2_000.0);
    }

    #[test]
    fn a_committee_that_holds_everything_has_no_knee_up_to_there() {
        let rule = Rule {
            rate_max: 1_000.0,
            ..RULE
        };
        let curve = find(&rule, &mut |offer| Ok(queue(1e9, offer.rate))).unwrap();
        assert!(curve.is_open_ended);
        assert_eq!(curve.knee().unwrap().rate, 1_000.0);
        assert!(curve.to_string().contains("no knee up to 1000"), "{curve}");
    }

    #[test]
    fn a_plot_has_one_point_a_rate() {
        let curve = find(&RULE, &mut |offer| Ok(queue(5_000.0, offer.rate))).unwrap();
        let rates: Vec<f64> = curve.by_rate().iter().map(|step| step.rate).collect();
        assert!(rates.windows(2).all(|pair| pair[0] < pair[1]), "{rates:?}");
        assert!(rates.len() < curve.steps.len());
    }
}
