//! The provided buffer ring: receive buffers that the kernel picks from as bytes come.
//!
//! Ownership of one buffer: `ring entry published` (the kernel's) -> `completion names it` (ours, until) ->
//! `recycle` -> `ring entry published`. At most `count` entries are published at a time, so the ring of `count`
//! entries never overruns.
//!
//! Invariants: P1. We touch a buffer's bytes only between the completion that names it and its recycling. P2. The
//! memory outlives the registration: [`BufferRing::unregister`] or the end of the ring comes before the drop.
//!
//! Cost: recycling is four stores.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;

/// `count` buffers of `buffer_bytes` bytes each, registered with one io_uring.
#[derive(Debug)]
pub(super) struct BufferRing {
    /// The entries shared with the kernel; page aligned, as the kernel demands.
    ring: MmapMut,
    memory: MmapMut,
    group: u16,
    count: u16,
    buffer_bytes: u32,
    tail: u16,
}

impl BufferRing {
    /// Allocates and registers the buffers as `group`, which no other ring has. `count` is a power of two, at most 32,768.
    ///
    /// # Errors
    /// No memory, sizes that the kernel refuses, or a kernel without provided buffer rings (before 5.19).
    pub(super) fn register(
        submitter: &Submitter<'_>,
        group: u16,
        count: u16,
        buffer_bytes: u32,
    ) -> io::Result<Self> {
        if !count.is_power_of_two() || buffer_bytes == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let ring = MmapMut::map_anon(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = MmapMut::map_anon(usize::from(count) * buffer_bytes as usize)?;
        let mut buffers = Self {
            ring,
            memory,
            group,
            count,
            buffer_bytes,
            tail: 0,
        };
        let address = buffers.ring.as_mut_ptr() as u64;
        // SAFETY: `address` points to `count` zeroed entries that live as long as `buffers`, which by P2 is longer
        // than the registration. Should this call fail, nothing is registered.
        unsafe { submitter.register_buf_ring_with_flags(address, count, group, 0) }?;
        for id in 0..count {
            buffers.recycle(id);
        }
        Ok(buffers)
    }

    /// Gives the ring back; an error leaves that to the end of the io_uring itself.
    pub(super) fn unregister(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        submitter.unregister_buf_ring(self.group)
    }

    /// The first `len` bytes of buffer `id`, which a completion just named.
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(
            id < self.count,
            "the kernel names only buffers it was given"
        );
        assert!(
            len <= self.buffer_bytes as usize,
            "the kernel fills no more than a buffer"
        );
        let offset = usize::from(id) * self.buffer_bytes as usize;
        // SAFETY: the asserts keep the offset inside the mapping.
        let start = unsafe { self.memory.as_ptr().add(offset) };
        // SAFETY: `len` bytes from `start` lie in the mapping, are initialized, and by P1 the kernel does not write
        // them before `recycle`, which needs `&mut self` and so ends this borrow.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Hands buffer `id` back to the kernel.
    pub(super) fn recycle(&mut self, id: u16) {
        assert!(id < self.count, "only our own buffers are handed back");
        let offset = usize::from(id) * self.buffer_bytes as usize;
        let address = self.memory.as_mut_ptr().wrapping_add(offset) as u64;
        let base = self.ring.as_mut_ptr().cast::<BufRingEntry>();
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: `index` is below `count`, the length of the mapping in entries.
        let entry = unsafe { base.add(index) };
        // SAFETY: the entry is aligned and in the mapping; the kernel reads it only once the tail has passed it, and
        // entries in use are at most `count`, so this one is ours. The setters leave the tail field alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the registered ring's first entry, where the tail field lies.
        let tail = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the field is an aligned u16 in our mapping that the kernel only loads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel sees the entry before the tail that includes it.
        tail.store(self.tail, Ordering::Release);
    }
}

/// The buffer group of all connections; datagram sockets have one each, from the next number on.
pub(super) const GROUP: u16 = 0;
