//! What a gate limits, and by how much it may grow.

use std::fmt;
use std::str::FromStr;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

/// A figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// So many per cent are at or below.
    Percentile(f64),
    /// The arithmetic mean.
    Mean,
    /// The geometric mean of the quantiles from 1 to 99 %.
    Shift,
}

impl Figure {
    /// What is shown also where it is not limited.
    pub const SHOWN: [Self; 8] = [
        Self::Shift,
        Self::Mean,
        Self::Percentile(50.0),
        Self::Percentile(75.0),
        Self::Percentile(90.0),
        Self::Percentile(95.0),
        Self::Percentile(99.0),
        Self::Percentile(99.9),
    ];

    /// The figure of `histogram`, in its unit; at least half of one, so that it has a logarithm.
    pub fn of(self, histogram: &Histogram<u64>) -> f64 {
        let percentile = |percent| histogram.value_at_percentile(percent) as f64;
        let figure = match self {
            Self::Percentile(percent) => percentile(percent),
            Self::Mean => histogram.mean(),
            Self::Shift => {
                let sum: f64 = (1..=99).map(|at| percentile(at.into()).max(0.5).ln()).sum();
                (sum / 99.0).exp()
            }
        };
        figure.max(0.5)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Percentile(percent) => format!("p{percent}"),
            Self::Mean => "mean".to_owned(),
            Self::Shift => "shift".to_owned(),
        };
        f.pad(&text)
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean" => return Ok(Self::Mean),
            "shift" => return Ok(Self::Shift),
            _ => {}
        }
        let percent = text.strip_prefix('p').and_then(|text| text.parse().ok());
        percent
            .filter(|percent| *percent > 0.0 && *percent < 100.0)
            .map(Self::Percentile)
            .ok_or_else(|| format!("{text:?} is no figure: give p50, p99.9, mean or shift"))
    }
}

/// A figure, and how large its ratio to the baseline's may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Which figure.
    pub figure: Figure,
    /// At most this; 1.1 for 10 %.
    pub ratio_max: f64,
}

impl FromStr for Limit {
    type Err = String;

    /// `p99=15%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (figure, allowed) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is no limit: give one like p99=15%"))?;
        let allowed = allowed
            .strip_suffix('%')
            .and_then(|text| text.parse::<f64>().ok());
        let percent = allowed
            .filter(|percent| *percent >= 0.0 && *percent <= PERCENT_MAX)
            .ok_or_else(|| {
                format!("{text:?} is no limit: the growth is in per cent, from 0% on")
            })?;
        Ok(Self {
            figure: figure.parse()?,
            ratio_max: 1.0 + percent / 100.0,
        })
    }
}

/// A growth by more is no limit.
const PERCENT_MAX: f64 = 10_000.0;
