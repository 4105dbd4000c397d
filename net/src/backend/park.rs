//! One atomic word by which a poller says that it sleeps, and others that it must not.
//!
//! ```text
//! Idle --park--> Parked --unpark--> Idle          poller, alone
//! any --wake--> Notified --unpark--> Idle         any thread; it has to signal only if it found Parked
//! ```
//!
//! Invariants: W1. No wake is lost: `wake` swaps in `Notified` whatever it finds, `try_park` refuses to overwrite it, and
//! only `unpark` takes it out. W2. What a thread wrote before `wake` is visible after the `unpark` that saw it: both
//! are read-modify-writes of the one word, release and acquire. Modelled in `tests/loom.rs`.

use crate::sync::atomic::{AtomicU32, Ordering};

/// Whether a poller sleeps.
#[derive(Debug)]
pub(crate) struct ParkState(AtomicU32);

impl ParkState {
    /// It is awake.
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(IDLE))
    }

    /// Notes that the poller must look; true: it sleeps, and has to be signalled.
    pub(crate) fn wake(&self) -> bool {
        // Release: publishes what this thread did before. Acquire is for the order of several wakers.
        self.0.swap(NOTIFIED, Ordering::AcqRel) == PARKED
    }

    /// Declares that the poller will sleep; false: it was notified and must not.
    pub(crate) fn try_park(&self) -> bool {
        // Relaxed on failure: the notification stays in place and is read by `unpark`.
        self.0
            .compare_exchange(IDLE, PARKED, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The poller is awake; true if it was notified since the last call.
    pub(crate) fn unpark(&self) -> bool {
        self.0.swap(IDLE, Ordering::AcqRel) == NOTIFIED
    }
}

const IDLE: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;
