//! The ring's memory: memfds, seals, mappings. All unsafe code of the ring is here.

use std::fs::File;
use std::os::fd::OwnedFd;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

use super::{RingError, protocol};
use crate::sync::atomic::AtomicU64;

/// A shared mapping of a memfd whose size is sealed.
#[derive(Debug)]
pub(super) struct Mapping {
    raw: MmapRaw,
}

impl Mapping {
    /// Maps `file` for reading and writing.
    pub(super) fn writable(file: &File) -> Result<Self, RingError> {
        let raw = MmapOptions::new()
            .map_raw(file)
            .map_err(RingError::os("mapping it"))?;
        Ok(Self { raw })
    }

    /// Maps `file` for reading.
    pub(super) fn read_only(file: &File) -> Result<Self, RingError> {
        let raw = MmapOptions::new()
            .map_raw_read_only(file)
            .map_err(RingError::os("mapping it"))?;
        Ok(Self { raw })
    }

    /// Bytes mapped.
    pub(super) fn len(&self) -> usize {
        self.raw.len()
    }

    /// Loads the word at `offset` with Acquire strength.
    pub(super) fn load(&self, offset: usize) -> u64 {
        protocol::load(self.word(offset))
    }

    /// Stores the word at `offset` with Release strength.
    ///
    /// # Safety
    /// The mapping is writable.
    pub(super) unsafe fn store(&self, offset: usize, value: u64) {
        protocol::store(self.word(offset), value);
    }

    /// Publishes the position at `offset`; true when the side whose word stands at `parked_at` of `other` sleeps.
    ///
    /// # Safety
    /// The mapping is writable.
    pub(super) unsafe fn publish(
        &self,
        offset: usize,
        value: u64,
        (other, parked_at): (&Self, usize),
    ) -> bool {
        protocol::publish(self.word(offset), value, other.word(parked_at))
    }

    /// Says at `offset` whether the own side sleeps.
    ///
    /// # Safety
    /// The mapping is writable.
    pub(super) unsafe fn park(&self, offset: usize, is_parked: bool) {
        protocol::park(self.word(offset), is_parked);
    }

    /// The bytes `at..at + len`, for reading.
    ///
    /// # Safety
    /// Nobody writes these bytes while the slice lives.
    pub(super) unsafe fn bytes(&self, at: usize, len: usize) -> &[u8] {
        self.assert_inside(at, len);
        // SAFETY: `at` is inside the mapping, checked above.
        let start = unsafe { self.raw.as_ptr().add(at) };
        // SAFETY: `len` bytes from there are inside the mapping, which lives as long as `self` and cannot be truncated
        // (its size is sealed); the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// The bytes `at..at + len`, for writing.
    ///
    /// # Safety
    /// The mapping is writable and nobody else reads or writes these bytes while the slice lives.
    pub(super) unsafe fn bytes_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        self.assert_inside(at, len);
        // SAFETY: `at` is inside the mapping, checked above.
        let start = unsafe { self.raw.as_mut_ptr().add(at) };
        // SAFETY: as in `bytes`; the caller keeps everybody else away and vouches for the mapping being writable.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        self.assert_inside(offset, size_of::<AtomicU64>());
        assert!(
            offset.is_multiple_of(align_of::<AtomicU64>()),
            "words are aligned"
        );
        // SAFETY: `offset` is inside the mapping, checked above.
        let word = unsafe { self.raw.as_mut_ptr().add(offset) };
        // SAFETY: aligned (a mapping starts at a page, the offset is a multiple of 8), inside the mapping for as long as
        // `self` lives, and touched by atomic operations only.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    fn assert_inside(&self, at: usize, len: usize) {
        let end = at
            .checked_add(len)
            .expect("offsets are below the mapping's length");
        assert!(end <= self.len(), "accesses stay inside the mapping");
    }
}

/// A memfd of `len` zero bytes whose size can never change.
pub(super) fn sized_memfd(name: &str, len: u64) -> Result<File, RingError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create(name, flags).map_err(os("making a memfd"))?;
    let file = File::from(fd);
    file.set_len(len).map_err(RingError::os("sizing a memfd"))?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)
        .map_err(os("sealing a memfd's size"))?;
    Ok(file)
}

/// Seals the memfd against writes other than through mappings that exist already, and against further seals.
pub(super) fn seal_writes(file: &File) -> Result<(), RingError> {
    fcntl_add_seals(file, SealFlags::FUTURE_WRITE | SealFlags::SEAL)
        .map_err(os("sealing the data against writes (needs Linux 5.1)"))
}

/// The memfd behind a received descriptor, refused if its size is not sealed.
pub(super) fn received_memfd(fd: OwnedFd) -> Result<File, RingError> {
    let seals = fcntl_get_seals(&fd).map_err(os("reading the seals"))?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(RingError::Layout("its size is not sealed"));
    }
    Ok(File::from(fd))
}

fn os(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> RingError {
    move |errno| RingError::os(what)(errno.into())
}
