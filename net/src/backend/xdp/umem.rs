//! The memory that the kernel writes frames into: chunks of 2 KiB in one mapping.
//!
//! Huge pages where the machine has some to spare, as then one address translation covers a thousand chunks.
//!
//! Ownership of a chunk: `fill ring` (the kernel's) -> `receive ring names it` (ours, until) -> `fill ring`, or `spare` while
//! the fill ring has no room. A chunk is in exactly one of these places.
//!
//! Invariant: M1. The bytes of a chunk are read only between the receive ring's naming it and its return to the fill ring.

use std::io;

use memmap2::{MmapOptions, MmapRaw};

/// Chunks for one socket.
#[derive(Debug)]
pub(super) struct Umem {
    memory: MmapRaw,
    is_huge: bool,
}

impl Umem {
    /// Maps [`CHUNKS`] chunks, in huge pages if there are enough.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn new() -> io::Result<Self> {
        // Populated at once: a huge page that is promised and not there would be a SIGBUS later.
        let map = |options: &mut MmapOptions| options.len(UMEM_LEN).populate().map_anon();
        let (memory, is_huge) = match map(MmapOptions::new().huge(None)) {
            Ok(memory) => (memory, true),
            Err(_) => (map(&mut MmapOptions::new())?, false),
        };
        Ok(Self {
            memory: MmapRaw::from(memory),
            is_huge,
        })
    }

    /// Whether it lies in huge pages.
    pub(super) const fn is_huge(&self) -> bool {
        self.is_huge
    }

    /// Where it begins.
    pub(super) fn address(&self) -> u64 {
        self.memory.as_mut_ptr().expose_provenance() as u64
    }

    /// The `len` bytes at `offset`.
    ///
    /// # Panics
    /// When they are not inside: the kernel names only what lies in the memory that it was given.
    ///
    /// # Safety
    /// The receive ring has named them, and their chunk is not back in the fill ring while the slice lives (M1).
    pub(super) unsafe fn bytes(&self, offset: u64, len: u32) -> &[u8] {
        let (offset, len) = (offset as usize, len as usize);
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= UMEM_LEN),
            "the kernel names bytes of our chunks"
        );
        // SAFETY: `offset` is inside the mapping, checked above.
        let start = unsafe { self.memory.as_ptr().add(offset) };
        // SAFETY: `len` bytes from there are inside the mapping and initialized (zeroes, or what the kernel wrote); by the
        // caller's word the kernel does not write them while the slice lives.
        unsafe { std::slice::from_raw_parts(start, len) }
    }
}

/// Where the chunk begins in which `offset` lies.
pub(super) const fn chunk_of(offset: u64) -> u64 {
    offset & !(CHUNK_LEN as u64 - 1)
}

/// Chunks of a socket: as many as its rings have entries.
pub(super) const CHUNKS: u32 = super::socket::RING_DEPTH;
/// Bytes of a chunk; the kernel takes 2,048 and 4,096.
pub(super) const CHUNK_LEN: u32 = 2048;
/// Bytes of all chunks.
pub(super) const UMEM_LEN: usize = CHUNKS as usize * CHUNK_LEN as usize;
