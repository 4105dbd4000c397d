//! Ending a poll from another thread: an eventfd that is written only when the poller is parked.
//!
//! The states and their invariants (W1, W2) stand in [`super::park`].
//!
//! Cost: `wake` is one atomic swap, plus a system call when the poller sleeps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use super::park::ParkState;

/// Ends the poll of the backend that it came from, or the next one if none is under way.
///
/// A clone wakes the same backend. Waking after the backend is gone does nothing.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: ParkState,
    fd: OwnedFd,
}

impl Waker {
    /// A waker whose eventfd is non-blocking (for epoll) or blocking (for io_uring, which polls it itself).
    pub(super) fn new(nonblocking: bool) -> io::Result<Self> {
        let mut flags = EventfdFlags::CLOEXEC;
        flags.set(EventfdFlags::NONBLOCK, nonblocking);
        let fd = eventfd(0, flags)?;
        let state = ParkState::new();
        Ok(Self(Arc::new(Inner { state, fd })))
    }

    /// Makes the poller return, now if it is parked, else from its next poll.
    pub fn wake(&self) {
        if self.0.state.wake() {
            // Fails only when the counter is at its end, 2^64 - 2 unread wakes; then the poller is awake anyway.
            let _ = rustix::io::write(&self.0.fd, &1u64.to_ne_bytes());
        }
    }

    /// Declares that the poller will sleep; false: it was notified and must not.
    pub(super) fn try_park(&self) -> bool {
        self.0.state.try_park()
    }

    /// The poller is awake; true if it was notified since the last call.
    pub(super) fn unpark(&self) -> bool {
        self.0.state.unpark()
    }

    /// Empties a non-blocking eventfd.
    pub(super) fn drain(&self) {
        let mut count = [0; 8];
        // An error says that it is empty already.
        let _ = rustix::io::read(&self.0.fd, &mut count);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn is_signalled(waker: &Waker) -> bool {
        rustix::io::read(waker, &mut [0; 8]).is_ok()
    }

    #[test]
    fn a_wake_between_polls_forbids_parking() {
        let waker = Waker::new(true).unwrap();
        waker.wake();
        assert!(!waker.try_park());
        assert!(waker.unpark());
        assert!(waker.try_park());
        assert!(!waker.unpark());
    }

    #[test]
    fn the_eventfd_is_written_once_and_only_when_parked() {
        let waker = Waker::new(true).unwrap();
        waker.wake();
        assert!(!is_signalled(&waker));
        assert!(waker.unpark());
        assert!(waker.try_park());
        waker.wake();
        waker.wake();
        assert!(is_signalled(&waker));
        assert!(!is_signalled(&waker));
        assert!(waker.unpark());
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        const WAKES: u64 = 20_000;
        let waker = Waker::new(false).unwrap();
        let published = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let thread = {
            let (waker, published) = (waker.clone(), Arc::clone(&published));
            std::thread::spawn(move || {
                for value in 1..=WAKES {
                    published.store(value, Ordering::Relaxed);
                    waker.wake();
                }
            })
        };
        // A lost wake leaves this loop asleep in the blocking read for ever.
        let mut seen = 0;
        while seen < WAKES {
            if waker.try_park() {
                rustix::io::read(&waker, &mut [0; 8]).unwrap();
            }
            assert!(waker.unpark());
            seen = published.load(Ordering::Relaxed);
        }
        thread.join().unwrap();
    }
}
