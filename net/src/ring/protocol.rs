//! What the two sides of the ring do to the words they share: positions, and whether a side sleeps.
//!
//! P1 whoever loads a position sees everything that the other side did before it published that position: the record's
//!    bytes (head), or that they were read (tail). P2 a side that says that it sleeps and then sees nothing new is woken:
//!    each side stores its word, passes a full fence, and loads the other's (Dekker), so not both miss the other's store.
//!
//! Modelled in `tests/loom.rs`, which compiles this file with loom's atomics.

use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// Loads a word with Acquire strength.
///
/// A relaxed load and a fence, because only relaxed loads are defined on memory that is mapped read-only.
pub(crate) fn load(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// Stores a word with Release strength.
pub(crate) fn store(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Release);
}

/// Publishes a position; true when the other side sleeps and has to be woken.
pub(crate) fn publish(position: &AtomicU64, value: u64, other_parked: &AtomicU64) -> bool {
    store(position, value);
    // Pairs with the fence in `park`: one of the two sides sees the other's store.
    fence(Ordering::SeqCst);
    load(other_parked) != 0
}

/// Says that this side sleeps, or not; what is loaded afterwards is no older than what a [`publish`] that missed it stored.
pub(crate) fn park(own_parked: &AtomicU64, is_parked: bool) {
    store(own_parked, u64::from(is_parked));
    // Pairs with the fence in `publish`.
    fence(Ordering::SeqCst);
}
