//! The two queues: submissions go out through a backlog of our own, completions are copied out before handling.
//!
//! The backlog takes what the submission queue cannot, so that submitting never fails and never waits. A completion
//! queue that overflows keeps its surplus in the kernel (NODROP), and every enter here asks for events, which moves
//! the surplus in.
//!
//! Invariant: R1. `outstanding` counts the submissions whose last completion has not been taken.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Submitter, cqueue};
use rustix::io::Errno;

use super::op::Op;
use super::setup;
use crate::backend::UringConfig;

/// An io_uring of one thread.
pub(super) struct Ring {
    ring: IoUring,
    backlog: VecDeque<Entry>,
    outstanding: u64,
    /// So many completions end a gathering wait before its time.
    gather_want: usize,
}

/// A completion queue entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    /// What completed; `None` for user data that is not ours.
    pub(super) op: Option<Op>,
    /// As the system call would return it: a count or descriptor, or a negative errno.
    pub(super) result: i32,
    /// The provided buffer that was used.
    pub(super) buffer: Option<u16>,
    /// More completions of the same submission will come.
    pub(super) more: bool,
}

impl Ring {
    /// Builds a ring for the calling thread.
    pub(super) fn new(config: &UringConfig) -> io::Result<Self> {
        Ok(Self {
            ring: setup::build(config)?,
            backlog: VecDeque::new(),
            outstanding: 0,
            gather_want: config.gather_want as usize,
        })
    }

    /// For registering resources.
    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Submissions without their last completion.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Whether the kernel can wait for a least time (Linux 6.12).
    pub(super) fn can_gather(&self) -> bool {
        self.ring.params().is_feature_min_timeout()
    }

    /// Submits `entry` with the next [`Self::enter`].
    ///
    /// # Safety
    /// All memory and descriptors that `entry` names stay valid until its last completion was taken, or for ever.
    pub(super) unsafe fn submit(&mut self, entry: Entry) {
        self.outstanding += 1;
        self.backlog.push_back(entry);
    }

    /// Submits what waits, then sleeps until a completion is there, at most `wait` (`None`: as long as it takes), and
    /// at least `gather` unless `wait` is shorter or `gather_want` are there.
    ///
    /// # Errors
    /// Of the ring itself; those that a later call mends (interruption, lack of memory) are not told.
    pub(super) fn enter(&mut self, wait: Option<Duration>, gather: Duration) -> io::Result<()> {
        while !self.fill() {
            let backlog_before = self.backlog.len();
            self.enter_without_waiting()?;
            self.fill();
            if self.backlog.len() == backlog_before {
                // The kernel takes nothing for now: handle its completions first.
                return Ok(());
            }
        }
        let submitter = self.ring.submitter();
        let entered = match wait {
            Some(Duration::ZERO) => return self.enter_without_waiting(),
            Some(wait) if gather.is_zero() => {
                let timespec = Timespec::from(wait);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
            Some(wait) if wait <= gather => {
                let timespec = Timespec::from(wait);
                let arguments = SubmitArgs::new().timespec(&timespec);
                submitter.submit_with_args(self.gather_want, &arguments)
            }
            Some(wait) => {
                let timespec = Timespec::from(wait);
                let gather_us = u32::try_from(gather.as_micros()).unwrap_or(u32::MAX);
                let arguments = SubmitArgs::new()
                    .timespec(&timespec)
                    .min_wait_usec(gather_us);
                submitter.submit_with_args(self.gather_want, &arguments)
            }
            None => submitter.submit_and_wait(1),
        };
        ignore_transient(entered)
    }

    /// Copies the completions that are there into `batch`.
    pub(super) fn take_completions(&mut self, batch: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            let flags = entry.flags();
            let more = cqueue::more(flags);
            if !more {
                self.outstanding -= 1;
            }
            batch.push(Completion {
                op: Op::from_bits(entry.user_data()),
                result: entry.result(),
                buffer: cqueue::buffer_select(flags),
                more,
            });
        }
    }

    /// Moves the backlog into the submission queue; false when some stays behind.
    fn fill(&mut self) -> bool {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever called `submit` keeps what the entry names until its completion.
            if unsafe { queue.push(entry) }.is_err() {
                return false;
            }
            self.backlog.pop_front();
        }
        true
    }

    /// Submits and lets the kernel post completions. The crate's `submit` would not run deferred work.
    fn enter_without_waiting(&mut self) -> io::Result<()> {
        let queued = self.ring.submission().len() as u32;
        let submitter = self.ring.submitter();
        // SAFETY: no argument is passed; the queued entries are covered by `submit`'s contract.
        let entered = unsafe { submitter.enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) };
        ignore_transient(entered)
    }
}

fn ignore_transient(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => {
            let is_transient = [Errno::TIME, Errno::INTR, Errno::BUSY, Errno::AGAIN]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
            if is_transient { Ok(()) } else { Err(error) }
        }
    }
}

/// IORING_ENTER_GETEVENTS.
const GETEVENTS: u32 = 1;
