//! Arrival plans: when each envelope is due, and what it carries.
//!
//! Open loop: a plan knows nothing of answers. What it says is due is due, whether or not the committee keeps up.

pub mod gaming;
pub mod plain;
mod quantity;
pub mod replay;
pub mod synthetic;

use crate::content::Content;
use crate::races::RaceLeg;

/// One planned arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Microseconds after the start of the run; never below that of the arrival before.
    pub at_us: u64,
    /// What it carries.
    pub content: Content,
    /// If it is one of the two of a race.
    pub race: Option<RaceLeg>,
}

impl Arrival {
    /// An arrival that races nobody.
    pub const fn new(at_us: u64, content: Content) -> Self {
        Self {
            at_us,
            content,
            race: None,
        }
    }
}

/// A source of arrivals, in order of time; runs on the sealing thread.
pub trait Workload: Send {
    /// The next arrival; `None` when there is no more. Errors: the source cannot be read.
    fn next_arrival(&mut self) -> Result<Option<Arrival>, WorkloadError>;

    /// Whether it has races, so that takes need connections of their own.
    fn has_races(&self) -> bool {
        false
    }
}

/// When a source's events are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// At the source's own times, so many times faster.
    Speed(f64),
    /// At even distances, so many a second.
    Rate(f64),
}

impl Pace {
    /// Checks the number. Errors: not above zero, or above what microseconds can tell apart.
    pub fn validate(self) -> Result<Self, WorkloadError> {
        let (Self::Speed(value) | Self::Rate(value)) = self;
        if value.is_finite() && value > 0.0 && value <= PACE_MAX {
            Ok(self)
        } else {
            Err(WorkloadError::Pace(value))
        }
    }

    /// When the event is due that is number `sequence` and came `elapsed_ns` after the source's first, in
    /// microseconds after the start. Does not decrease in either.
    pub fn due_us(self, sequence: u64, elapsed_ns: u64) -> u64 {
        // An f64 counts microseconds exactly for 285 years, and casts saturate.
        match self {
            Self::Speed(speed) => (elapsed_ns as f64 / (1_000.0 * speed)) as u64,
            Self::Rate(rate) => (sequence as f64 * 1_000_000.0 / rate) as u64,
        }
    }
}

/// Fastest rate (per second) and speed.
pub const PACE_MAX: f64 = 1_000_000.0;

/// Why a workload cannot be, or cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkloadError {
    /// A rate or speed that is no pace.
    #[error("a rate or speed must be above 0 and at most {PACE_MAX}, not {0}")]
    Pace(f64),
    /// No such part of a load.
    #[error("the share of races is from 0 to 1, not {0}")]
    Races(f64),
    /// No such game.
    #[error(
        "a game has 1 to {} sessions at 1 to {} ticks a second, not {sessions} at {ticks}",
        gaming::SESSIONS_MAX,
        gaming::TICKS_MAX
    )]
    Sessions {
        /// How many sessions.
        sessions: u32,
        /// Ticks a second.
        ticks: u32,
    },
    /// The trace cannot be read.
    #[error("cannot read the trace {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the system or the decompressor says.
        reason: String,
    },
    /// The first line of the trace is not the header.
    #[error("{path} line 1: the header must be {}, not {found:?}", replay::HEADER)]
    Header {
        /// The file.
        path: String,
        /// The line that is there.
        found: String,
    },
    /// A line of the trace is malformed.
    #[error("{path} line {line}, column {column}: {reason}")]
    Line {
        /// The file.
        path: String,
        /// Number of the line, from 1.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A trace without a single event.
    #[error("{path} holds no events")]
    Empty {
        /// The file.
        path: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_spreads_or_squeezes_time() {
        assert_eq!(Pace::Speed(1.0).due_us(9, 5_000), 5);
        assert_eq!(Pace::Speed(20.0).due_us(9, 1_000_000), 50);
        assert_eq!(Pace::Speed(0.5).due_us(9, 1_000), 2);
        assert_eq!(Pace::Rate(500.0).due_us(3, 77), 6_000);
    }

    #[test]
    fn a_pace_that_is_none_is_refused() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1_000_001.0] {
            assert!(Pace::Rate(value).validate().is_err(), "{value}");
            assert!(Pace::Speed(value).validate().is_err(), "{value}");
        }
        assert!(Pace::Rate(0.5).validate().is_ok());
    }
}
