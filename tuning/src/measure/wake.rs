//! How late a sleeping thread wakes: from a timer, as cyclictest measures it, and from another thread's call.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{Timespec, clock_gettime};

use super::{Collected, Times, join, on, pin};

pub(super) fn timer(cpu: usize, time: Duration) -> Result<Times, String> {
    on(cpu, || {
        // The kernel may collect the timers of ordinary threads within 50 us; a node's waits are not that exact.
        set_current_timer_slack(NonZeroU64::new(1))
            .map_err(|errno| format!("timer slack: {errno}"))?;
        let mut times = Collected::new();
        let end = Instant::now() + time;
        let mut due = clock_gettime(ClockId::Monotonic);
        while Instant::now() < end {
            due = later(due, PERIOD);
            clock_nanosleep_absolute(ClockId::Monotonic, &due)
                .map_err(|errno| format!("sleeping: {errno}"))?;
            let now = clock_gettime(ClockId::Monotonic);
            times.record(between(due, now));
            // After a long delay the missed periods are left out: each would be counted as late as this one.
            if between(due, now) > PERIOD {
                due = now;
            }
        }
        times.finish()
    })
}

pub(super) fn thread(sleeper: usize, caller: usize, time: Duration) -> Result<Times, String> {
    let start = Instant::now();
    let called_ns = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (called_ns, is_over) = (&called_ns, &is_over);
        let sleeping = scope.spawn(move || {
            let pinned = pin(sleeper);
            let mut times = Collected::new();
            while !is_over.load(Ordering::Acquire) {
                std::thread::park_timeout(PATIENCE);
                let now = start.elapsed();
                // 0: nobody has called, the wait was over by itself.
                let called = called_ns.swap(0, Ordering::AcqRel);
                if called != 0 {
                    times.record(now.saturating_sub(Duration::from_nanos(called)));
                }
            }
            pinned.and_then(|()| times.finish())
        });
        let other = sleeping.thread().clone();
        let calling = scope.spawn(move || {
            let pinned = pin(caller);
            while pinned.is_ok() && start.elapsed() < time {
                std::thread::sleep(PERIOD);
                let now = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                called_ns.store(now, Ordering::Release);
                other.unpark();
            }
            is_over.store(true, Ordering::Release);
            other.unpark();
            pinned
        });
        join(calling)?;
        join(sleeping)
    })
}

fn later(time: Timespec, by: Duration) -> Timespec {
    let nanoseconds = time.tv_nsec + i64::from(by.subsec_nanos());
    Timespec {
        tv_sec: time.tv_sec + nanoseconds / 1_000_000_000,
        tv_nsec: nanoseconds % 1_000_000_000,
    }
}

/// Zero when `to` is before `from`.
fn between(from: Timespec, to: Timespec) -> Duration {
    let nanoseconds = (to.tv_sec - from.tv_sec) * 1_000_000_000 + to.tv_nsec - from.tv_nsec;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// As cyclictest's default.
const PERIOD: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_millis(100);
