//! The interleavings, and the reorderings that the memory model allows, of what is lock-free and our own.
//!
//! The source files themselves are compiled here, with loom's atomics for the standard library's: the park and wake word of
//! the backends, and what the two sides of the settlement ring do to their shared words. Queues between stages are
//! rtrb's and crossbeam's; figures are single relaxed words that nothing else hangs on.
//! `cargo test --release -p fairlane-net --test loom`.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

#[path = "../src/backend/park.rs"]
mod park;
#[path = "../src/ring/protocol.rs"]
mod protocol;

mod sync {
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
    }
}

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

use park::ParkState;

/// A poller that sleeps in `signal`, as in its eventfd.
struct Poller {
    state: ParkState,
    signal: Notify,
    published: AtomicU64,
}

impl Poller {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: ParkState::new(),
            signal: Notify::new(),
            published: AtomicU64::new(0),
        })
    }

    fn publish_and_wake(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
        if self.state.wake() {
            self.signal.notify();
        }
    }

    /// Polls until all is seen. A lost wake leaves it asleep, which loom reports as a deadlock.
    fn poll_until(&self, count: u64) {
        let mut seen = 0;
        while seen < count {
            if self.state.try_park() {
                self.signal.wait();
            }
            // Something else may have ended the sleep; then nobody has noted anything.
            self.state.unpark();
            seen = self.published.load(Ordering::Relaxed);
        }
    }
}

#[test]
fn no_wake_of_one_thread_is_lost_and_what_it_wrote_before_is_seen() {
    loom::model(|| {
        let poller = Poller::new();
        let waker = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || {
                poller.publish_and_wake();
                poller.publish_and_wake();
            })
        };
        poller.poll_until(2);
        waker.join().unwrap();
    });
}

#[test]
fn no_wake_of_two_threads_is_lost() {
    loom::model(|| {
        let poller = Poller::new();
        let wakers = [(); 2].map(|()| {
            let poller = Arc::clone(&poller);
            thread::spawn(move || poller.publish_and_wake())
        });
        poller.poll_until(2);
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// A ring with room for one record of one word, its positions and flags as in the two mappings.
struct Ring {
    slot: UnsafeCell<u64>,
    head: AtomicU64,
    tail: AtomicU64,
    reader_parked: AtomicU64,
    node_parked: AtomicU64,
    to_reader: Notify,
    to_node: Notify,
}

const CAPACITY: u64 = 1;

impl Ring {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            slot: UnsafeCell::new(0),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            reader_parked: AtomicU64::new(0),
            node_parked: AtomicU64::new(0),
            to_reader: Notify::new(),
            to_node: Notify::new(),
        })
    }

    /// As the node: waits for room, writes the record, publishes it, wakes a reader that sleeps.
    fn commit(&self, at: u64) {
        while at - protocol::load(&self.tail) >= CAPACITY {
            protocol::park(&self.node_parked, true);
            if at - protocol::load(&self.tail) >= CAPACITY {
                self.to_node.wait();
            }
            protocol::park(&self.node_parked, false);
        }
        // Loom reports it if the reader may still be reading.
        self.slot.with_mut(|slot| {
            // SAFETY: the slot is the node's: its last record was given back.
            unsafe { *slot = at + 100 };
        });
        if protocol::publish(&self.head, at + 1, &self.reader_parked) {
            self.to_reader.notify();
        }
    }

    /// As the worker: waits for the record, reads it in place, gives it back, wakes a node that sleeps.
    fn take(&self, at: u64) -> u64 {
        while protocol::load(&self.head) <= at {
            protocol::park(&self.reader_parked, true);
            if protocol::load(&self.head) <= at {
                self.to_reader.wait();
            }
            protocol::park(&self.reader_parked, false);
        }
        // Loom reports it if the node may still be writing.
        let value = self.slot.with(|slot| {
            // SAFETY: the record is published, and the node's again only when it is given back.
            unsafe { *slot }
        });
        if protocol::publish(&self.tail, at + 1, &self.node_parked) {
            self.to_node.notify();
        }
        value
    }
}

#[test]
fn records_are_read_whole_and_never_overwritten_and_neither_side_sleeps_for_ever() {
    let mut model = loom::model::Builder::new();
    // All interleavings with so many preemptions; without a bound there are too many to go through.
    model.preemption_bound = Some(3);
    model.check(|| {
        let ring = Ring::new();
        let node = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || (0..2).for_each(|at| ring.commit(at)))
        };
        for at in 0..2 {
            assert_eq!(ring.take(at), at + 100);
        }
        node.join().unwrap();
    });
}
