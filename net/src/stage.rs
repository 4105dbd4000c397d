//! Stages and the one loop that runs them.
//!
//! A thread hosts some computing stages and one [`Waiter`]. It polls each stage, and when none has anything to do it
//! waits: in the network backend when the thread hosts the IO stage, parked otherwise. A wait ends by an event, by
//! [`WakeCell::wake`] from another thread, or at the earliest deadline that a stage has named. Nothing spins unless the
//! setting says so ([`waiting`]).

pub mod admission;
pub mod bucket;
mod catch_up_log;
pub mod certificate_port;
pub mod core;
pub mod followers;
pub mod io;
pub mod journal_port;
pub mod key_watch;
pub mod links;
pub mod messages;
pub mod outbox;
pub mod pressure;
pub mod rollup_quotas;
pub mod settle_port;
mod settled_words;
pub mod standings;
pub mod stats;
pub mod waiting;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fairlane_engine::types::TimestampUs;

use self::waiting::Wait;
use crate::backend::Waker;

/// What a stage says after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// It did something and may have more to do.
    Busy,
    /// Nothing to do until then, or until woken; what comes may be gathered for a moment.
    Idle(Option<TimestampUs>),
    /// As [`Self::Idle`], but something is waited for that is to be handled at once.
    Eager(Option<TimestampUs>),
}

/// A step of the pipeline that computes and never blocks.
pub trait Stage {
    /// Does what there is to do. Errors are local faults: the node stops.
    fn poll(&mut self, now: TimestampUs) -> Result<Polled, Fatal>;

    /// Called once when the node stops, after the last poll.
    fn finish(&mut self) -> Result<(), Fatal>;
}

/// Where a thread waits when its stages are idle.
pub trait Waiter {
    /// Waits at most `timeout`; zero only looks. Unless that is shorter, what comes is gathered for `gather`.
    ///
    /// Errors are local faults.
    fn wait(&mut self, timeout: Duration, gather: Duration) -> Result<(), Fatal>;
}

/// A local fault that stops the node, in one sentence.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// Parks the thread; [`Wake::Thread`] ends it.
#[derive(Debug)]
pub struct ParkWaiter;

impl Waiter for ParkWaiter {
    fn wait(&mut self, timeout: Duration, gather: Duration) -> Result<(), Fatal> {
        if timeout > gather && !gather.is_zero() {
            std::thread::sleep(gather);
            std::thread::park_timeout(timeout - gather);
        } else if !timeout.is_zero() {
            std::thread::park_timeout(timeout);
        }
        Ok(())
    }
}

/// How a thread is woken from its wait.
#[derive(Debug)]
pub enum Wake {
    /// It parks.
    Thread(Thread),
    /// It waits in its backend.
    Backend(Waker),
}

/// A thread's [`Wake`], shared before the thread runs. Waking a thread that has not started is not needed: it polls first.
#[derive(Clone, Debug, Default)]
pub struct WakeCell(Arc<OnceLock<Wake>>);

impl WakeCell {
    /// Names the wake of the thread; the first one counts.
    pub fn set(&self, wake: Wake) {
        // A thread names its wake once, at its start; a second name would be the same one.
        let _ = self.0.set(wake);
    }

    /// Ends the thread's wait. Costs one atomic exchange when it does not wait.
    pub fn wake(&self) {
        match self.0.get() {
            Some(Wake::Thread(thread)) => thread.unpark(),
            Some(Wake::Backend(waker)) => waker.wake(),
            None => {}
        }
    }
}

/// Longest wait of an idle thread: how late a missed wake-up could be noticed, and how often stop is looked at.
pub const WAIT_MAX: Duration = Duration::from_millis(500);

/// Runs stages until `stop`, waiting as `how` says when all are idle; then polls each once more and finishes it.
pub fn run(
    stages: &mut [Box<dyn Stage>],
    waiter: &mut dyn Waiter,
    stop: &AtomicBool,
    how: Wait,
) -> Result<(), Fatal> {
    while !stop.load(Ordering::Acquire) {
        let now = clock();
        let (mut wait, mut gather) = (WAIT_MAX, how.gather());
        for stage in stages.iter_mut() {
            let until = match stage.poll(now)? {
                Polled::Busy => Some(now),
                Polled::Idle(until) => until,
                Polled::Eager(until) => {
                    gather = Duration::ZERO;
                    until
                }
            };
            if let Some(until) = until {
                wait = wait.min(Duration::from_micros(until.since_us(now)));
            }
        }
        if how.is_spin() {
            waiter.wait(Duration::ZERO, Duration::ZERO)?;
            std::hint::spin_loop();
        } else {
            waiter.wait(wait, gather)?;
        }
    }
    for stage in stages.iter_mut() {
        stage.poll(clock())?;
        stage.finish()?;
    }
    // Whatever the last poll left to send goes out, where io is on this thread; clients ask again for the rest.
    waiter.wait(Duration::ZERO, Duration::ZERO)
}

/// The wall clock in protocol time. The one place where the node asks for it on the data path.
pub fn clock() -> TimestampUs {
    // A clock before 1970 gives 0: envelopes then look far ahead and are refused, nothing panics.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    TimestampUs(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Countdown(u32, bool);

    impl Stage for Countdown {
        fn poll(&mut self, now: TimestampUs) -> Result<Polled, Fatal> {
            self.0 = self.0.saturating_sub(1);
            Ok(if self.0 > 0 {
                Polled::Busy
            } else {
                Polled::Idle(Some(now.plus_us(50)))
            })
        }

        fn finish(&mut self) -> Result<(), Fatal> {
            self.1 = true;
            if self.0 == 0 {
                Ok(())
            } else {
                Err(Fatal("unfinished".into()))
            }
        }
    }

    struct Waits(Vec<Duration>, Arc<AtomicBool>);

    impl Waiter for Waits {
        fn wait(&mut self, timeout: Duration, _: Duration) -> Result<(), Fatal> {
            self.0.push(timeout);
            if !timeout.is_zero() {
                self.1.store(true, Ordering::Release);
            }
            Ok(())
        }
    }

    #[test]
    fn a_thread_waits_only_when_every_stage_is_idle_and_no_longer_than_the_deadline() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut waits = Waits(Vec::new(), stop.clone());
        let mut stages: Vec<Box<dyn Stage>> = vec![Box::new(Countdown(3, false))];
        run(&mut stages, &mut waits, &stop, Wait::default()).unwrap();
        let micros: Vec<u128> = waits.0.iter().map(Duration::as_micros).collect();
        assert_eq!(micros, [0, 0, 50, 0]);
    }
    /// Counts waits, and notes the longest that it was asked for.
    struct Counted(Arc<std::sync::Mutex<(u64, Duration)>>);

    impl Waiter for Counted {
        fn wait(&mut self, timeout: Duration, _: Duration) -> Result<(), Fatal> {
            let mut seen = self.0.lock().unwrap();
            *seen = (seen.0 + 1, seen.1.max(timeout));
            Ok(())
        }
    }

    #[test]
    fn a_thread_that_spins_never_sleeps_and_still_stops() {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(std::sync::Mutex::new((0, Duration::ZERO)));
        let how = Wait {
            mode: waiting::WaitMode::Spin,
            ..Wait::default()
        };
        let (flag, mut waiter) = (stop.clone(), Counted(seen.clone()));
        let thread = std::thread::spawn(move || {
            let mut stages: Vec<Box<dyn Stage>> = vec![Box::new(Countdown(1, false))];
            run(&mut stages, &mut waiter, &flag, how)
        });
        while seen.lock().unwrap().0 < 100 {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Release);
        thread.join().unwrap().unwrap();
        assert_eq!(seen.lock().unwrap().1, Duration::ZERO);
    }
}
