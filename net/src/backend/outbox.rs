//! What waits to be written to one connection, bounded in bytes, and the pool that sent buffers go back to.
//!
//! Small buffers are merged into their predecessor: copying 40 bytes is cheaper than an iovec of their own, and the
//! queue's memory stays proportional to its bytes.
//!
//! Invariants: O1. `bytes` is the sum of the unsent parts. O2. No buffer is empty. O3. The first `locked` buffers are
//! being read by the kernel: they are neither grown, moved in memory nor dropped until [`Outbox::unlock`].

use std::collections::VecDeque;

/// A byte queue of whole buffers. Pushing and advancing are O(1) amortized.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first buffer that have left.
    head_sent: usize,
    bytes: usize,
    bytes_max: usize,
    locked: usize,
}

impl Outbox {
    /// An empty queue of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            head_sent: 0,
            bytes: 0,
            bytes_max,
            locked: 0,
        }
    }

    /// Bytes waiting.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues all of `bytes`, or none and gives false.
    pub(super) fn try_push(&mut self, bytes: Vec<u8>, pool: &mut Pool) -> bool {
        if bytes.len() > self.bytes_max - self.bytes {
            pool.give(bytes);
            return false;
        }
        if bytes.is_empty() {
            return true;
        }
        self.bytes += bytes.len();
        let growable = self.queue.len() > self.locked;
        match self.queue.back_mut() {
            Some(last)
                if growable
                    && bytes.len() <= MERGE_BYTES_MAX
                    && last.len() + bytes.len() <= MERGED_BYTES_MAX =>
            {
                last.extend_from_slice(&bytes);
                pool.give(bytes);
            }
            _ => self.queue.push_back(bytes),
        }
        true
    }

    /// The unsent parts in order, at most `slices_max` of them.
    pub(super) fn slices(&self, slices_max: usize) -> impl Iterator<Item = &[u8]> {
        let head_sent = self.head_sent;
        self.queue
            .iter()
            .take(slices_max)
            .enumerate()
            .map(move |(i, buffer)| &buffer[if i == 0 { head_sent } else { 0 }..])
    }

    /// Holds the first `count` buffers in place for the kernel (O3).
    pub(super) fn lock(&mut self, count: usize) {
        assert!(count <= self.queue.len(), "only queued buffers are locked");
        self.locked = count;
    }

    /// The kernel is done with the locked buffers.
    pub(super) fn unlock(&mut self) {
        self.locked = 0;
    }

    /// Takes `sent` bytes off the front; emptied buffers go to `pool`.
    pub(super) fn advance(&mut self, sent: usize, pool: &mut Pool) {
        assert!(sent <= self.bytes, "no more left than was queued");
        assert_eq!(self.locked, 0, "the kernel still reads these buffers");
        self.bytes -= sent;
        self.head_sent += sent;
        while let Some(front) = self.queue.front() {
            if front.len() > self.head_sent {
                break;
            }
            self.head_sent -= front.len();
            if let Some(done) = self.queue.pop_front() {
                pool.give(done);
            }
        }
    }
}

/// Buffers to use again: at most [`POOL_BUFFERS_MAX`] of at most [`POOL_BUFFER_BYTES_MAX`] bytes each.
#[derive(Debug, Default)]
pub(super) struct Pool {
    spare: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes back a buffer that is used no more.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let wanted = (1..=POOL_BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if wanted && self.spare.len() < POOL_BUFFERS_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// A buffer up to this size is copied behind its predecessor rather than queued on its own.
const MERGE_BYTES_MAX: usize = 4 << 10;
/// A buffer is not grown by merging beyond this size.
const MERGED_BYTES_MAX: usize = 16 << 10;
const POOL_BUFFERS_MAX: usize = 256;
const POOL_BUFFER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn content(outbox: &Outbox) -> Vec<u8> {
        outbox.slices(usize::MAX).flatten().copied().collect()
    }

    #[test]
    fn a_full_queue_takes_all_or_nothing() {
        let (mut outbox, mut pool) = (Outbox::new(10), Pool::default());
        assert!(outbox.try_push(vec![1; 6], &mut pool));
        assert!(!outbox.try_push(vec![2; 5], &mut pool));
        assert!(outbox.try_push(vec![3; 4], &mut pool));
        assert!(!outbox.try_push(vec![4; 1], &mut pool));
        assert_eq!(content(&outbox), [1, 1, 1, 1, 1, 1, 3, 3, 3, 3]);
    }

    #[test]
    fn small_buffers_merge_and_large_ones_stay_apart() {
        let (mut outbox, mut pool) = (Outbox::new(1 << 20), Pool::default());
        assert!(outbox.try_push(vec![1; 40], &mut pool));
        assert!(outbox.try_push(vec![2; 40], &mut pool));
        assert_eq!(outbox.slices(9).count(), 1);
        assert!(outbox.try_push(vec![3; MERGE_BYTES_MAX + 1], &mut pool));
        assert_eq!(outbox.slices(9).count(), 2);
    }

    #[test]
    fn a_locked_buffer_is_never_grown() {
        let (mut outbox, mut pool) = (Outbox::new(1 << 20), Pool::default());
        assert!(outbox.try_push(vec![1; 8], &mut pool));
        let before: Vec<*const u8> = outbox.slices(9).map(<[u8]>::as_ptr).collect();
        outbox.lock(1);
        for _ in 0..100 {
            assert!(outbox.try_push(vec![2; 8], &mut pool));
        }
        let after: Vec<*const u8> = outbox.slices(1).map(<[u8]>::as_ptr).collect();
        assert_eq!(before, after);
        assert_eq!(outbox.slices(1).next().map(<[u8]>::len), Some(8));
        outbox.unlock();
        assert_eq!(outbox.bytes(), 808);
    }

    #[test]
    fn advancing_crosses_buffers_and_returns_them_to_the_pool() {
        let (mut outbox, mut pool) = (Outbox::new(1 << 20), Pool::default());
        assert!(outbox.try_push(vec![1; 5000], &mut pool));
        assert!(outbox.try_push(vec![2; 5000], &mut pool));
        outbox.advance(6000, &mut pool);
        assert_eq!(content(&outbox), vec![2; 4000]);
        assert!(pool.take().capacity() >= 5000);
        outbox.advance(4000, &mut pool);
        assert!(outbox.is_empty());
        assert_eq!(outbox.slices(9).count(), 0);
    }
}
