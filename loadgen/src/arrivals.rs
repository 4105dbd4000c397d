//! When things are due: a rate over time, and how arrivals are spread at that rate.
//!
//! The rate is a function r(t) in straight pieces. The n-th arrival is due when its integral reaches a target: n for an
//! even spread, the sum of n exponential variables of mean 1 for a Poisson process of that rate (the time change of Cinlar,
//! Introduction to Stochastic Processes, 1975), and k arrivals at every k-th for bursts. Everything follows from the seed.
//!
//! Cost: O(1) an arrival, and a square root.

use std::fmt;
use std::str::FromStr;

use crate::rng::Rng;
use crate::workload::{PACE_MAX, Pace, WorkloadError};

/// A rate over time, arrivals a second.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// The same all the time.
    Constant(f64),
    /// From one to another, evenly over the run.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// One after the other, each for the same part of the run.
    Steps(Vec<f64>),
}

impl Rate {
    /// The rates that it is made of. Errors: one that is no rate, or there is none.
    pub fn validate(&self) -> Result<(), WorkloadError> {
        let rates = match self {
            Self::Constant(rate) => vec![*rate],
            Self::Ramp { from, to } => vec![*from, *to],
            Self::Steps(rates) => rates.clone(),
        };
        if rates.is_empty() {
            return Err(WorkloadError::Pace(0.0));
        }
        let mut rates = rates.into_iter();
        rates.try_for_each(|rate| Pace::Rate(rate).validate().map(|_| ()))
    }

    fn pieces(&self, duration_us: u64) -> Vec<Piece> {
        let us = duration_us as f64;
        match self {
            Self::Constant(rate) => vec![Piece::new(0.0, us, *rate, *rate)],
            Self::Ramp { from, to } => vec![Piece::new(0.0, us, *from, *to)],
            Self::Steps(rates) => {
                let us = us / rates.len() as f64;
                let pieces = rates.iter().zip(0..);
                let pieces =
                    pieces.map(|(rate, at)| Piece::new(us * f64::from(at), us, *rate, *rate));
                pieces.collect()
            }
        }
    }
}

/// `500`, `100..2000` for a ramp, `100,200,400` for steps.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong_rate());
        let rate = if let Some((from, to)) = text.split_once("..") {
            Self::Ramp {
                from: number(from)?,
                to: number(to)?,
            }
        } else if text.contains(',') {
            Self::Steps(text.split(',').map(number).collect::<Result<_, _>>()?)
        } else {
            Self::Constant(number(text)?)
        };
        rate.validate().map_err(|_| wrong_rate())?;
        Ok(rate)
    }
}

fn wrong_rate() -> String {
    format!(
        "a rate is envelopes a second, above 0 and at most {PACE_MAX}: one number, FROM..TO for a ramp, or A,B,C for steps"
    )
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(rate) => write!(f, "{rate} a second"),
            Self::Ramp { from, to } => write!(f, "{from} to {to} a second"),
            Self::Steps(rates) => {
                let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
                write!(f, "{} a second, one after the other", rates.join(", "))
            }
        }
    }
}

/// How arrivals are spread at their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// As of many independent senders: exponential gaps.
    Poisson,
    /// At even distances.
    Even,
    /// So many at one instant, then none until the rate allows as many again.
    Bursts(u32),
}

/// `poisson`, `even`, `bursts:50`.
impl FromStr for Spread {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("arrivals are poisson, even or bursts:N, N from 2 to {BURST_MAX}");
        match (text, text.strip_prefix("bursts:")) {
            ("poisson", _) => Ok(Self::Poisson),
            ("even", _) => Ok(Self::Even),
            (_, Some(size)) => match size.parse() {
                Ok(size) if (2..=BURST_MAX).contains(&size) => Ok(Self::Bursts(size)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisson => f.write_str("poisson"),
            Self::Even => f.write_str("even"),
            Self::Bursts(size) => write!(f, "bursts of {size}"),
        }
    }
}

/// The due times of a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    rng: Rng,
    spread: Spread,
    pieces: Vec<Piece>,
    /// The piece that the next arrival is looked for in.
    piece: usize,
    /// The integral of the rate at that piece's start.
    reached: f64,
    /// What it must be at the next arrival.
    target: f64,
    /// Arrivals still due at the instant of the last one.
    left: u32,
    at_us: u64,
}

impl Schedule {
    /// For `duration_us`. Errors: a rate that is none.
    pub fn new(
        rate: &Rate,
        spread: Spread,
        duration_us: u64,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        rate.validate()?;
        let mut schedule = Self {
            rng: Rng::new(seed),
            spread,
            pieces: rate.pieces(duration_us),
            piece: 0,
            reached: 0.0,
            target: 0.0,
            left: 0,
            at_us: 0,
        };
        if spread == Spread::Poisson {
            schedule.target = schedule.exponential();
        }
        Ok(schedule)
    }

    /// When the next is due, microseconds after the start; `None` when the run is over. Never decreases.
    pub fn next_us(&mut self) -> Option<u64> {
        if self.left > 0 {
            self.left -= 1;
            return Some(self.at_us);
        }
        let piece = loop {
            let piece = *self.pieces.get(self.piece)?;
            if self.target - self.reached < piece.area() {
                break piece;
            }
            self.reached += piece.area();
            self.piece += 1;
        };
        let at_us = piece.start_us + piece.time_to(self.target - self.reached);
        self.at_us = self.at_us.max(at_us as u64);
        self.target += match self.spread {
            Spread::Poisson => self.exponential(),
            Spread::Even => 1.0,
            Spread::Bursts(size) => {
                self.left = size - 1;
                f64::from(size)
            }
        };
        Some(self.at_us)
    }

    fn exponential(&mut self) -> f64 {
        -self.rng.next_unit().ln()
    }
}

/// A time in which the rate changes evenly; rates in arrivals a microsecond.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start_us: f64,
    len_us: f64,
    from: f64,
    to: f64,
}

impl Piece {
    fn new(start_us: f64, len_us: f64, from: f64, to: f64) -> Self {
        Self {
            start_us,
            len_us,
            from: from / 1e6,
            to: to / 1e6,
        }
    }

    fn area(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.len_us
    }

    /// When the integral from the piece's start is `area`: the root of (slope / 2) x^2 + from x = area, in the form that
    /// loses nothing when the slope is near 0.
    fn time_to(&self, area: f64) -> f64 {
        let slope = (self.to - self.from) / self.len_us;
        let under = (self.from * self.from + 2.0 * slope * area).max(0.0);
        let below = self.from + under.sqrt();
        if below > 0.0 { 2.0 * area / below } else { 0.0 }
    }
}

/// Most arrivals at one instant.
const BURST_MAX: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rate: &str, spread: &str, seconds: u64) -> Vec<u64> {
        let (rate, spread) = (rate.parse().unwrap(), spread.parse().unwrap());
        let mut schedule = Schedule::new(&rate, spread, seconds * 1_000_000, 7).unwrap();
        let all: Vec<u64> = std::iter::from_fn(|| schedule.next_us()).collect();
        assert!(all.is_sorted());
        assert!(all.iter().all(|at| *at < seconds * 1_000_000));
        all
    }

    fn within(all: &[u64], from_s: u64, to_s: u64) -> usize {
        let range = from_s * 1_000_000..to_s * 1_000_000;
        all.iter().filter(|at| range.contains(at)).count()
    }

    #[test]
    fn even_arrivals_are_as_many_as_asked_for_at_one_distance() {
        let all = all("1000", "even", 3);
        assert_eq!(all.len(), 3_000);
        assert!(
            all.windows(2)
                .all(|pair| (999..=1_001).contains(&(pair[1] - pair[0])))
        );
    }

    #[test]
    fn a_ramp_grows_evenly() {
        for spread in ["even", "poisson"] {
            let all = all("100..2100", spread, 10);
            let expected = |second: f64| 100.0 + 200.0 * (second + 0.5);
            assert!((10_600..11_400).contains(&all.len()), "{}", all.len());
            for second in 0..10 {
                let count = within(&all, second, second + 1) as f64;
                let off = (count - expected(second as f64)).abs();
                // Five standard deviations of a Poisson count.
                assert!(
                    off < 5.0 * expected(second as f64).sqrt() + 1.0,
                    "{spread} {second}: {count}"
                );
            }
        }
        assert!(
            all("2100..100", "even", 10).len().abs_diff(11_000) <= 1,
            "and falls"
        );
    }

    #[test]
    fn steps_come_one_after_the_other() {
        let all = all("100,400,200", "even", 30);
        let counts = [0, 10, 20].map(|from| within(&all, from, from + 10));
        assert!(counts[0].abs_diff(1_000) <= 1, "{counts:?}");
        assert!(counts[1].abs_diff(4_000) <= 1, "{counts:?}");
        assert!(counts[2].abs_diff(2_000) <= 1, "{counts:?}");
    }

    #[test]
    fn bursts_come_at_one_instant_and_keep_the_rate() {
        let all = all("500", "bursts:50", 10);
        assert_eq!(all.len(), 5_000);
        for burst in all.chunks(50) {
            assert!(burst.iter().all(|at| *at == burst[0]));
        }
        assert_eq!(all[50] - all[0], 100_000);
    }

    #[test]
    fn poisson_counts_vary_as_much_as_their_mean() {
        let all = all("1000", "poisson", 20);
        let mut per_ms = vec![0.0f64; 20_000];
        for at in &all {
            per_ms[(at / 1_000) as usize] += 1.0;
        }
        let mean = all.len() as f64 / 20_000.0;
        let squares: f64 = per_ms.iter().map(|n| (n - mean).powi(2)).sum();
        let variance = squares / 20_000.0;
        assert!(
            (0.9..1.1).contains(&(variance / mean)),
            "{variance} / {mean}"
        );
    }

    #[test]
    fn what_is_no_rate_or_spread_is_refused_with_what_would_be() {
        for rate in [
            "", "0", "-1", "x", "1..", "0..5", "1,,2", "1000001", "inf", "NaN",
        ] {
            let error = rate.parse::<Rate>().unwrap_err();
            assert!(error.contains("ramp"), "{rate}: {error}");
        }
        for spread in [
            "",
            "often",
            "bursts",
            "bursts:1",
            "bursts:x",
            "bursts:100001",
        ] {
            assert!(spread.parse::<Spread>().is_err(), "{spread}");
        }
    }
}
