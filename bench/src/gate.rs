//! The gate: whether latencies got worse, judged from whole histograms of several runs of each side.
//!
//! One run says little on a shared machine: its speed drifts by more than what a gate should find. So each side is run
//! several times, best in turns (`fairlane-bench e2e --against` does), and run i of one side is held against run i of
//! the other. For each limited figure the logarithms of the pairs' ratios are a sample of what changed; its mean and a
//! one-sided Student interval at the given confidence decide:
//!
//! - *worse*: even the lower end of the interval is beyond the limit. Noise makes this of an unchanged program about as
//!   rarely as the confidence and the distance to the limit say, which is far less than 1 in 20.
//! - *holds*: the upper end is within the limit.
//! - *unclear*: the limit lies within the interval. The runs cannot tell; more or quieter ones can. Never silent: it is
//!   printed, and fails too when the caller is strict.
//!
//! *Injected*: the current latencies may be taken as if each had been so many per cent longer. Runs of one and the same
//! version, judged so, say whether a slowdown of that size would have been found among the noise of this very host;
//! `.ci/gate-proof` does that twenty times, and judges the same runs as they are, too: none of them may be called worse.
//!
//! Figures: quantiles, the mean, and the *shift*, the mean of the logarithm of the ratio of all quantiles from 1 to 99 %,
//! which sees a slowdown of the whole distribution that single quantiles may miss.
//!
//! Source of the interval: Student, Biometrika 1908; the ratio of two positive figures is compared on the logarithmic
//! scale so that halving and doubling weigh the same.

pub mod judge;
pub mod limit;
pub mod runs;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use judge::{Judgement, Verdict, judge};
use limit::{Figure, Limit};
use runs::{Run, read_side};

/// What is compared, and what is allowed.
#[derive(Clone, Debug)]
pub struct GatePlan {
    /// Logs of the runs that are the yardstick, or folders of logs, sorted by path within a folder.
    pub baseline: Vec<PathBuf>,
    /// As many of what is judged, in the same order.
    pub current: Vec<PathBuf>,
    /// Which lines of the logs.
    pub tag: String,
    /// What is allowed.
    pub limits: Vec<Limit>,
    /// Of the intervals, one-sided; between 0.5 and 1.
    pub confidence: f64,
    /// Each current latency is taken so many times as long; 1 as it was.
    pub injected: f64,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Gated {
    /// Which lines of the logs.
    pub tag: String,
    /// Runs of each side.
    pub pairs: usize,
    /// Latencies of the baseline's runs together, and of the current ones.
    pub counts: [u64; 2],
    /// Of the intervals.
    pub confidence: f64,
    /// Each current latency was taken so many times as long.
    pub injected: f64,
    /// The limited figures, in the order given.
    pub limited: Vec<Judgement>,
    /// Others, for those who want to know where a change sits.
    pub others: Vec<Judgement>,
}

/// Reads both sides and judges. Errors: unusable input, in a sentence.
pub fn run(plan: &GatePlan) -> anyhow::Result<Gated> {
    let baseline = read_side("--baseline", &plan.baseline, &plan.tag)?;
    let mut current = read_side("--current", &plan.current, &plan.tag)?;
    if plan.injected != 1.0 {
        for run in &mut current {
            *run = run.slower(plan.injected)?;
        }
    }
    anyhow::ensure!(
        baseline.len() == current.len(),
        "{} runs of the baseline and {} current ones: run i is held against run i, so give as many of each",
        baseline.len(),
        current.len()
    );
    anyhow::ensure!(
        baseline.len() >= PAIRS_MIN,
        "{} runs of each side cannot tell noise from change: give at least {PAIRS_MIN}",
        baseline.len()
    );
    let of = |figure, allowed| judge(figure, allowed, &baseline, &current, plan.confidence);
    let limited = plan.limits.iter();
    let limited = limited.map(|limit| of(limit.figure, Some(limit.ratio_max)));
    let is_limited = |figure: &Figure| plan.limits.iter().any(|limit| limit.figure == *figure);
    let others = Figure::SHOWN
        .into_iter()
        .filter(|figure| !is_limited(figure));
    let count = |side: &[Run]| side.iter().map(|run| run.histogram.len()).sum();
    Ok(Gated {
        tag: plan.tag.clone(),
        pairs: baseline.len(),
        counts: [count(&baseline), count(&current)],
        confidence: plan.confidence,
        injected: plan.injected,
        limited: limited.collect(),
        others: others.map(|figure| of(figure, None)).collect(),
    })
}

impl Gated {
    /// Whether a limited figure got worse.
    pub fn is_worse(&self) -> bool {
        self.is_any(Verdict::Worse)
    }

    /// Whether the runs cannot tell for a limited figure.
    pub fn is_unclear(&self) -> bool {
        self.is_any(Verdict::Unclear)
    }

    fn is_any(&self, verdict: Verdict) -> bool {
        let mut verdicts = self.limited.iter().map(|judgement| judgement.verdict);
        verdicts.any(|of| of == Some(verdict))
    }
}

impl fmt::Display for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.confidence;
        writeln!(
            f,
            "{}: {} runs of each side, {} and {} latencies, one-sided intervals at {percent} %",
            self.tag, self.pairs, self.counts[0], self.counts[1]
        )?;
        if self.injected != 1.0 {
            let percent = 100.0 * (self.injected - 1.0);
            writeln!(
                f,
                "INJECTED: each current latency is taken {percent:.1} % longer than it was"
            )?;
        }
        writeln!(f)?;
        let columns = ["baseline", "current", "change", "interval", "allowed"];
        let [baseline, current, change, interval, allowed] = columns;
        writeln!(
            f,
            "{:8} {baseline:>10} {current:>10} {change:>9} {interval:>20} {allowed:>9}",
            ""
        )?;
        for judgement in self.limited.iter().chain(&self.others) {
            writeln!(f, "{judgement}")?;
        }
        writeln!(f)?;
        let verdict = match (self.is_worse(), self.is_unclear()) {
            (true, _) => "WORSE than allowed",
            (false, true) => {
                "UNCLEAR: these runs cannot tell for every limit; give more of them, or quieter ones"
            }
            (false, false) => "holds: nothing is worse than allowed",
        };
        writeln!(f, "{verdict}")
    }
}

/// Below this a spread between pairs says nothing.
const PAIRS_MIN: usize = 3;

#[cfg(test)]
mod tests;
