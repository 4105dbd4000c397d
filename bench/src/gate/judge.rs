//! What the runs of two sides say about one figure.

use std::fmt;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::limit::Figure;
use super::runs::Run;

/// Whether a limit holds; see [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Beyond the limit.
    Worse,
    /// Within it.
    Holds,
    /// The runs cannot tell.
    Unclear,
}

/// One figure of both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// Which.
    pub figure: Figure,
    /// Geometric mean over the runs of the baseline, in the unit of the logs; and of the current ones.
    pub sides: [f64; 2],
    /// Geometric mean of the pairs' ratios, current to baseline.
    pub ratio: f64,
    /// The one-sided bounds of it, lower and upper.
    pub ratio_bounds: [f64; 2],
    /// What the ratio may be; none: the figure is only shown.
    pub ratio_max: Option<f64>,
    /// Where it is limited.
    pub verdict: Option<Verdict>,
}

/// Judges one figure from as many runs of each side, at least two.
///
/// Panics: with fewer, or with sides of unequal length.
pub fn judge(
    figure: Figure,
    ratio_max: Option<f64>,
    baseline: &[Run],
    current: &[Run],
    confidence: f64,
) -> Judgement {
    assert!(baseline.len() == current.len() && baseline.len() >= 2);
    let logs = |side: &[Run]| -> Vec<f64> {
        side.iter()
            .map(|run| figure.of(&run.histogram).ln())
            .collect()
    };
    let (before, after) = (logs(baseline), logs(current));
    let changes: Vec<f64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    let (mean, spread) = mean_and_spread(&changes, confidence);
    let ratio_bounds = [(mean - spread).exp(), (mean + spread).exp()];
    let verdict = ratio_max.map(|ratio_max| {
        if ratio_bounds[0] > ratio_max {
            Verdict::Worse
        } else if ratio_bounds[1] <= ratio_max {
            Verdict::Holds
        } else {
            Verdict::Unclear
        }
    });
    Judgement {
        figure,
        sides: [&before, &after].map(|side| mean_of(side).exp()),
        ratio: mean.exp(),
        ratio_bounds,
        ratio_max,
        verdict,
    }
}

/// The mean, and how far the bounds of its one-sided Student interval lie from it.
fn mean_and_spread(sample: &[f64], confidence: f64) -> (f64, f64) {
    let count = sample.len() as f64;
    let mean = mean_of(sample);
    let squares: f64 = sample.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0)).sqrt();
    let student = StudentsT::new(0.0, 1.0, count - 1.0).expect("at least one degree of freedom");
    (
        mean,
        student.inverse_cdf(confidence) * deviation / count.sqrt(),
    )
}

fn mean_of(sample: &[f64]) -> f64 {
    sample.iter().sum::<f64>() / sample.len() as f64
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = |ratio: f64| format!("{:+.1} %", 100.0 * (ratio - 1.0));
        let [low, high] = self.ratio_bounds.map(change);
        let (allowed, verdict) = match (self.ratio_max, self.verdict) {
            (Some(ratio_max), Some(verdict)) => (
                change(ratio_max),
                match verdict {
                    Verdict::Worse => "  WORSE",
                    Verdict::Holds => "  holds",
                    Verdict::Unclear => "  unclear",
                },
            ),
            _ => (String::new(), ""),
        };
        let [before, after] = self.sides.map(|us| format!("{:.2} ms", us / 1_000.0));
        let line = format!(
            "{:8} {before:>10} {after:>10} {:>9} {:>20} {allowed:>9}{verdict}",
            self.figure,
            change(self.ratio),
            format!("{low} .. {high}"),
        );
        f.write_str(line.trim_end())
    }
}
