//! The rings that a socket shares with the kernel, in memory that the kernel maps for us.
//!
//! Each has one writer and one reader, and two running counters, each written by one side only; their difference is what
//! the ring holds. An entry is written before the producer's counter is stored (Release) and read after it is loaded
//! (Acquire); it is read before the consumer's counter is stored (Release), which the producer loads (Acquire) before it
//! writes there again. The kernel orders its side likewise (Linux, net/xdp/xsk_queue.h).
//!
//! Invariants: R1. Entries between the counters belong to the reader, all others to the writer. R2. Our own counter is
//! kept here as well and never read back. R3. The memory is mapped as long as the ring lives.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::net::xdp::{XdpDesc, XdpRingOffset};

/// Received frames, written by the kernel.
#[derive(Debug)]
pub(super) struct ReceiveRing {
    shared: Shared,
    /// Read so far.
    consumer: u32,
    /// Written so far, as last seen.
    producer: u32,
}

impl ReceiveRing {
    /// Maps the ring of `socket`, which has `entries` entries.
    ///
    /// # Errors
    /// What mmap says.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        at: u64,
        offsets: XdpRingOffset,
        entries: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            shared: Shared::map(socket, at, offsets, entries, size_of::<XdpDesc>())?,
            consumer: 0,
            producer: 0,
        })
    }

    /// Looks how many frames wait.
    pub(super) fn look(&mut self) -> u32 {
        self.producer = self.shared.producer().load(Ordering::Acquire);
        let waiting = self.waiting();
        assert!(
            waiting <= self.shared.entries,
            "the kernel overruns nothing"
        );
        waiting
    }

    /// How many waited at the last look and were not given back.
    fn waiting(&self) -> u32 {
        self.producer.wrapping_sub(self.consumer)
    }

    /// The frame `index` places behind the first that waits.
    ///
    /// # Panics
    /// When the last look did not find so many.
    pub(super) fn frame(&self, index: u32) -> XdpDesc {
        assert!(index < self.waiting(), "only what waits is read");
        let entry = self
            .shared
            .entry::<XdpDesc>(self.consumer.wrapping_add(index));
        // SAFETY: the entry is inside the mapping and aligned, the kernel has written it and by R1 leaves it alone; any
        // bytes are a descriptor.
        unsafe { entry.read() }
    }

    /// Gives the first `count` entries back.
    pub(super) fn release(&mut self, count: u32) {
        assert!(count <= self.waiting(), "only what waits is given back");
        self.consumer = self.consumer.wrapping_add(count);
        let consumer = self.shared.consumer();
        consumer.store(self.consumer, Ordering::Release);
    }
}

/// Chunks for the kernel to write frames into.
#[derive(Debug)]
pub(super) struct FillRing {
    shared: Shared,
    /// Written so far, published or not.
    producer: u32,
    /// Read by the kernel so far, as last seen.
    consumer: u32,
}

impl FillRing {
    /// Maps the ring of `socket`, which has `entries` entries.
    ///
    /// # Errors
    /// What mmap says.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        at: u64,
        offsets: XdpRingOffset,
        entries: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            shared: Shared::map(socket, at, offsets, entries, size_of::<u64>())?,
            producer: 0,
            consumer: 0,
        })
    }

    /// Adds the chunk that begins at `chunk`; the kernel sees it after [`Self::publish`].
    ///
    /// # Panics
    /// When the ring is full: there are no more chunks than it has entries.
    pub(super) fn push(&mut self, chunk: u64) {
        if self.is_full() {
            self.consumer = self.shared.consumer().load(Ordering::Acquire);
            assert!(!self.is_full(), "a chunk is in one place only");
        }
        let entry = self.shared.entry::<u64>(self.producer);
        // SAFETY: the entry is inside the mapping and aligned; by R1 it is ours, as the ring is not full.
        unsafe { entry.write(chunk) };
        self.producer = self.producer.wrapping_add(1);
    }

    fn is_full(&self) -> bool {
        self.producer.wrapping_sub(self.consumer) >= self.shared.entries
    }

    /// Hands over what was pushed.
    pub(super) fn publish(&self) {
        let producer = self.shared.producer();
        producer.store(self.producer, Ordering::Release);
    }

    /// Whether the driver sleeps until somebody calls, as it has found the ring empty.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.shared
            .flags()
            .is_some_and(|flags| flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0)
    }
}

/// The mapping and where things lie in it.
#[derive(Debug)]
struct Shared {
    memory: MmapRaw,
    producer_at: usize,
    consumer_at: usize,
    flags_at: Option<usize>,
    entries_at: usize,
    /// A power of two.
    entries: u32,
}

impl Shared {
    fn map(
        socket: BorrowedFd<'_>,
        at: u64,
        offsets: XdpRingOffset,
        entries: u32,
        entry_len: usize,
    ) -> io::Result<Self> {
        assert!(entries.is_power_of_two(), "counters wrap round it");
        let entries_at = offsets.desc as usize;
        let memory = MmapOptions::new()
            .offset(at)
            .len(entries_at + entries as usize * entry_len)
            .populate()
            .map_raw(socket.as_raw_fd())?;
        let shared = Self {
            memory,
            producer_at: offsets.producer as usize,
            consumer_at: offsets.consumer as usize,
            flags_at: offsets.flags.map(|at| at as usize),
            entries_at,
            entries,
        };
        let words = [
            Some(shared.producer_at),
            Some(shared.consumer_at),
            shared.flags_at,
        ];
        let is_inside = |at: usize| at.is_multiple_of(4) && at + 4 <= entries_at;
        if !words.into_iter().flatten().all(is_inside) || !entries_at.is_multiple_of(8) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel lays its AF_XDP rings out in another way",
            ));
        }
        Ok(shared)
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.producer_at)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.consumer_at)
    }

    fn flags(&self) -> Option<&AtomicU32> {
        self.flags_at.map(|at| self.word(at))
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: `map` has checked that the word is inside the mapping.
        let word = unsafe { self.memory.as_mut_ptr().add(at) };
        // SAFETY: aligned, as the mapping starts at a page and `map` has checked the offset; inside the mapping for as long
        // as `self` lives (R3); both sides touch it by atomic operations only.
        unsafe { AtomicU32::from_ptr(word.cast()) }
    }

    /// The entry with this running number.
    fn entry<T>(&self, number: u32) -> *mut T {
        let index = (number & (self.entries - 1)) as usize;
        let at = self.entries_at + index * size_of::<T>();
        // SAFETY: `index` is below `entries`, so the entry ends inside the mapping, which was made for that many.
        unsafe { self.memory.as_mut_ptr().add(at) }.cast()
    }
}

/// XDP_RING_NEED_WAKEUP.
const NEED_WAKEUP: u32 = 1;
