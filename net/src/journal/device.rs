//! What the journal asks of files: to make one, to write at a place, to make it durable. Tests have one that loses power.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, fdatasync};

use super::JournalError;
use super::segment::sync_folder;
use super::uring::LinkedRing;
use super::writeback;

/// Where segments are kept.
pub(super) trait Device: Send + 'static {
    /// An open segment.
    type File: Send;
    /// Makes a file with room for `len` bytes, and makes its name durable. Where there is no room it leaves none.
    fn make(&mut self, path: &Path, len: u64) -> Result<Self::File, JournalError>;
    /// Writes all of `bytes` at `at`.
    fn write(&mut self, file: &Self::File, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Returns when all that was written to `file` is durable.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
    /// More will be written before the next sync: the disk may begin with what was written at `at`. Promises nothing.
    fn begin_writeback(&mut self, _file: &Self::File, _at: u64, _len: u64) {}
    /// Writes all of `bytes` at `at`, and returns when that and all that was written to `file` before is durable. On the
    /// writer's thread only.
    ///
    /// `bytes` is the caller's again afterwards, whole; after [`Unsynced::Sync`] it may be empty.
    fn write_synced(
        &mut self,
        file: &Self::File,
        bytes: &mut Vec<u8>,
        at: u64,
    ) -> Result<(), Unsynced> {
        self.write(file, bytes, at).map_err(Unsynced::Write)?;
        self.sync(file).map_err(Unsynced::Sync)
    }
}

/// What kept bytes from becoming durable.
#[derive(Debug)]
pub(super) enum Unsynced {
    /// They were not written, or in part: they may be written again.
    Write(io::Error),
    /// They were not synced, nor perhaps what was written before.
    Sync(io::Error),
}

/// The system's files, written by the plain calls or through a ring.
pub(super) struct Files {
    ring: Option<LinkedRing>,
}

impl Files {
    pub(super) const fn new(ring: Option<LinkedRing>) -> Self {
        Self { ring }
    }
}

impl Device for Files {
    type File = File;

    fn make(&mut self, path: &Path, len: u64) -> Result<File, JournalError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(JournalError::io("making", path))?;
        match fallocate(&file, FallocateFlags::empty(), 0, len) {
            Ok(()) => {}
            // The file system cannot reserve: the journal works, a full disk is then met later.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                file.set_len(len)
                    .map_err(JournalError::io("sizing", path))?;
            }
            Err(errno) => {
                // It may have got a part; what cannot be removed either is met again when it is made.
                let _ = std::fs::remove_file(path);
                return Err(JournalError::io("reserving space for", path)(errno));
            }
        }
        sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        Ok(file)
    }

    fn write(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        Ok(fdatasync(file)?)
    }

    fn begin_writeback(&mut self, file: &File, at: u64, len: u64) {
        writeback::begin(file, at, len);
    }

    fn write_synced(&mut self, file: &File, bytes: &mut Vec<u8>, at: u64) -> Result<(), Unsynced> {
        if let Some(ring) = &mut self.ring {
            return ring.write_synced(file.as_fd(), bytes, at);
        }
        self.write(file, bytes, at).map_err(Unsynced::Write)?;
        self.sync(file).map_err(Unsynced::Sync)
    }
}
