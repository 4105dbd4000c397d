//! Envelopes of one size that mean nothing: the yardstick beside which the others are read.

use super::{Arrival, Workload, WorkloadError};
use crate::arrivals::Schedule;
use crate::content::Content;

/// The generator.
#[derive(Clone, Debug)]
pub struct Plain {
    schedule: Schedule,
    sequence: u64,
}

impl Plain {
    /// One envelope at each time of `schedule`.
    pub const fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            sequence: 0,
        }
    }
}

impl Workload for Plain {
    fn next_arrival(&mut self) -> Result<Option<Arrival>, WorkloadError> {
        let Some(at_us) = self.schedule.next_us() else {
            return Ok(None);
        };
        let content = Content::Plain {
            sequence: self.sequence,
        };
        self.sequence += 1;
        Ok(Some(Arrival::new(at_us, content)))
    }
}
