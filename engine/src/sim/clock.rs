//! Each node's clock: virtual time with a constant offset and a drift, both of the node's own.

use crate::types::TimestampUs;

/// Virtual time 0 on a clock that is right: also when the epoch starts.
pub(crate) const START: TimestampUs = TimestampUs(1_700_000_000_000_000);

/// One node's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// How far ahead it is at virtual time 0, microseconds.
    pub(crate) offset_us: i64,
    /// How much faster it runs, parts in a million.
    pub(crate) drift_ppm: i64,
}

impl Clock {
    /// What the clock says at virtual time `now_us`.
    pub(crate) const fn at(self, now_us: u64) -> TimestampUs {
        let drift = now_us as i64 * self.drift_ppm / MILLION;
        TimestampUs((START.0 as i64 + now_us as i64 + self.offset_us + drift) as u64)
    }

    /// The first virtual time from `now_us` on at which the clock says `local` or later.
    pub(crate) const fn reaches(self, local: TimestampUs, now_us: u64) -> u64 {
        let ahead = local.0 as i64 - self.at(now_us).0 as i64;
        if ahead <= 0 {
            return now_us;
        }
        let mut due = now_us + (ahead * MILLION / (MILLION + self.drift_ppm)) as u64;
        while self.at(due).0 < local.0 {
            due += 1;
        }
        due
    }
}

const MILLION: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_on_a_clock_is_reached_no_earlier_and_no_later() {
        for drift_ppm in [-200, -1, 0, 1, 200] {
            for offset_us in [-700_000, 0, 700_000] {
                let clock = Clock {
                    offset_us,
                    drift_ppm,
                };
                for ahead in [0, 1, 999, 1_000_000, 77_777_777] {
                    let now = 5_000_000;
                    let local = clock.at(now).plus_us(ahead);
                    let due = clock.reaches(local, now);
                    assert!(clock.at(due) >= local, "{clock:?} {ahead}");
                    assert!(due == now || clock.at(due - 1) < local, "{clock:?} {ahead}");
                }
            }
        }
    }
}
