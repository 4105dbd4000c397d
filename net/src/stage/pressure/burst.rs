//! How large a burst a node takes whole: [`BURST_MAX`], or less where the machine would not open it in [`BURST_MS`].
//!
//! How fast a committee opens shows when it does, which after a quiet hour is too late: the burst is taken by then. What shows
//! at once is how long proofs take to be checked, in the very batches of the burst and beside whoever else computes on the
//! same processors. A check is a small part of what is done for an envelope, so a node is trusted with as many a second as it
//! could check in an eighth of the time ([`CHECK_PART`]), and with as many as it has opened in some second lately. While
//! neither is known, as where envelopes are open, it is trusted with all.
//!
//! Five authorities on two processors of an AMD EPYC, 5,000 a second: of 8,192 taken whole some wait 3.9 s, of 3,072 1.6 s. With
//! 3,072 whatever was opened, a recorded market twenty times as fast, 3,428 in its busiest second, lost up to 1,752 of 21,313
//! to Busy; with what was opened in the bursts before counted in, none.

use fairlane_engine::types::TimestampUs;

use crate::stage::stats::Step;

/// Follows what shows how fast the machine is.
#[derive(Debug, Default)]
pub struct Burst {
    /// Proofs checked as of when their time was last looked at.
    checked: Step,
    /// Wall time of a check of late, nanoseconds.
    check_ns: Option<u64>,
    /// When the current second began, and what had been opened then.
    second: Option<(TimestampUs, u64)>,
    /// Opened a second, in the last seconds.
    opened: [u64; SECONDS],
    /// Which of these is next.
    next: usize,
}

impl Burst {
    /// All proofs that were checked so far.
    pub const fn look_at_checks(&mut self, checked: Step) {
        let items = checked.items - self.checked.items;
        if items >= CHECKS_LEAST {
            self.check_ns = Some((checked.ns - self.checked.ns) / items);
            self.checked = checked;
        }
    }

    /// How many were opened in all, as of now.
    pub fn look_at_opened(&mut self, now: TimestampUs, opened: u64) {
        let (began, before) = *self.second.get_or_insert((now, opened));
        let passed_us = now.since_us(began);
        if passed_us >= 1_000_000 {
            self.opened[self.next] =
                opened.saturating_sub(before).saturating_mul(1_000_000) / passed_us;
            self.next = (self.next + 1) % SECONDS;
            self.second = Some((now, opened));
        }
    }

    /// How many are taken whole.
    pub fn size(&self) -> u64 {
        let Some(check_ns) = self.check_ns else {
            return BURST_MAX;
        };
        let by_checks = 1_000_000_000 / (check_ns.max(1) * CHECK_PART);
        let opened = self.opened.into_iter().max().unwrap_or(0);
        (by_checks.max(opened) * BURST_MS / 1_000).clamp(BURST_LEAST, BURST_MAX)
    }
}

/// A burst of so many is taken whole by a machine that is fast enough, also by one that has opened nothing lately.
pub const BURST_MAX: u64 = 8_192;
/// One of so many by any machine, however slow.
const BURST_LEAST: u64 = 3_072;
/// In which a burst is to be opened.
const BURST_MS: u64 = 2_000;
/// A check is taken for this part of the work for an envelope. Measured: a quarter of core's, which is not all, and dearer
/// by as much as others work beside it.
const CHECK_PART: u64 = 8;
/// So many checks tell what one takes.
const CHECKS_LEAST: u64 = 256;
/// The seconds that are remembered.
const SECONDS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const fn checks(items: u64, us_each: u64) -> Step {
        Step {
            ns: items * us_each * 1_000,
            items,
        }
    }

    const fn at(ms: u64) -> TimestampUs {
        TimestampUs(1_000_000_000 + ms * 1_000)
    }

    #[test]
    fn who_has_shown_nothing_is_trusted_with_all() {
        let mut burst = Burst::default();
        assert_eq!(burst.size(), BURST_MAX);
        burst.look_at_checks(checks(CHECKS_LEAST - 1, 1_000));
        assert_eq!(burst.size(), BURST_MAX, "too few to tell");
    }

    #[test]
    fn slow_checks_make_it_smaller_and_fast_ones_larger_again() {
        let mut burst = Burst::default();
        for (us_each, size) in [(10, BURST_MAX), (50, 5_000), (200, BURST_LEAST)] {
            let before = burst.checked;
            let more = checks(CHECKS_LEAST, us_each);
            burst.look_at_checks(Step {
                ns: before.ns + more.ns,
                items: before.items + more.items,
            });
            assert_eq!(burst.size(), size, "{us_each} us");
        }
        let before = burst.checked;
        burst.look_at_checks(Step {
            items: before.items + CHECKS_LEAST,
            ..before
        });
        assert_eq!(burst.size(), BURST_MAX, "no time at all");
    }

    #[test]
    fn what_was_opened_lately_counts_for_some_seconds() {
        let mut burst = Burst::default();
        burst.look_at_checks(checks(CHECKS_LEAST, 200));
        burst.look_at_opened(at(0), 70_000);
        for ms in (500..=2_000).step_by(500) {
            // 2,300 a second, then nothing.
            burst.look_at_opened(at(ms), 70_000 + (ms * 2_300 / 1_000).min(2_300));
        }
        assert_eq!(burst.size(), 4_600);
        for second in 3..9 {
            burst.look_at_opened(at(second * 1_000), 72_300);
            assert_eq!(burst.size(), 4_600, "{second}");
        }
        burst.look_at_opened(at(9_000), 72_300);
        assert_eq!(burst.size(), BURST_LEAST);
    }
}
