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

    /// Adds the chunk that begins at `chunk`, which the kernel sees after [`Self::publish`]; false when there is no room.
    ///
    /// There may be none for a moment though there are no more chunks than entries: the kernel shows a frame in the receive
    /// ring before it moves the counter of this ring on.
    pub(super) fn try_push(&mut self, chunk: u64) -> bool {
        if self.is_full() {
            self.consumer = self.shared.consumer().load(Ordering::Acquire);
            if self.is_full() {
                return false;
            }
        }
        let entry = self.shared.entry::<u64>(self.producer);
        // SAFETY: the entry is inside the mapping and aligned; by R1 it is ours, as the ring is not full.
        unsafe { entry.write(chunk) };
        self.producer = self.producer.wrapping_add(1);
        true
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    const OFFSETS: XdpRingOffset = XdpRingOffset {
        producer: 0,
        consumer: 64,
        flags: Some(128),
        desc: 192,
    };

    /// The kernel's side of a ring of four entries.
    struct Kernel {
        memory: File,
    }

    impl Kernel {
        fn new() -> Self {
            let memory = File::from(memfd_create("ring", MemfdFlags::CLOEXEC).unwrap());
            memory.set_len(4096).unwrap();
            Self { memory }
        }

        fn set(&self, at: u64, value: u32) {
            use std::os::unix::fs::FileExt;
            let bytes = value.to_ne_bytes();
            self.memory.write_all_at(&bytes, at).unwrap();
        }

        fn word(&self, at: u64) -> u64 {
            use std::os::unix::fs::FileExt;
            let mut bytes = [0; 8];
            self.memory.read_exact_at(&mut bytes, at).unwrap();
            u64::from_ne_bytes(bytes)
        }
    }

    #[test]
    fn a_full_fill_ring_takes_no_more_until_the_kernel_has_read_some() {
        let kernel = Kernel::new();
        let mut ring = FillRing::map(kernel.memory.as_fd(), 0, OFFSETS, 4).unwrap();
        assert!((0..4).all(|chunk| ring.try_push(chunk)));
        assert!(!ring.try_push(4) && !ring.try_push(4));
        assert_eq!(
            kernel.word(0) as u32,
            0,
            "nothing is seen before it is published"
        );
        ring.publish();
        assert_eq!(kernel.word(0) as u32, 4);
        kernel.set(64, 1);
        assert!(ring.try_push(40));
        assert!(!ring.try_push(50));
        ring.publish();
        assert_eq!(kernel.word(0) as u32, 5);
        assert_eq!(kernel.word(192), 40, "the first entry is used again");
        assert_eq!(kernel.word(200), 1);
        assert!(!ring.needs_wakeup());
        kernel.set(128, 1);
        assert!(ring.needs_wakeup());
    }

    #[test]
    fn received_frames_are_read_once_and_given_back() {
        let kernel = Kernel::new();
        let mut ring = ReceiveRing::map(kernel.memory.as_fd(), 0, OFFSETS, 4).unwrap();
        assert_eq!(ring.look(), 0);
        for turn in 0..10_u32 {
            let at = 192 + 16 * u64::from(turn % 4);
            kernel.set(at, 2048 * turn);
            kernel.set(at + 8, 60 + turn);
            kernel.set(0, turn + 1);
            assert_eq!(ring.look(), 1);
            let frame = ring.frame(0);
            assert_eq!((frame.addr, frame.len), (u64::from(2048 * turn), 60 + turn));
            ring.release(1);
            assert_eq!(kernel.word(64) as u32, turn + 1);
            assert_eq!(ring.look(), 0);
        }
    }

    #[test]
    fn offsets_that_lie_elsewhere_are_refused() {
        let kernel = Kernel::new();
        for offsets in [
            XdpRingOffset {
                producer: 200,
                ..OFFSETS
            },
            XdpRingOffset {
                consumer: 66,
                ..OFFSETS
            },
            XdpRingOffset {
                desc: 196,
                ..OFFSETS
            },
        ] {
            let mapped = FillRing::map(kernel.memory.as_fd(), 0, offsets, 4);
            assert_eq!(mapped.unwrap_err().kind(), io::ErrorKind::Unsupported);
        }
    }
}
