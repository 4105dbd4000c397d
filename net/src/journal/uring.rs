//! One write and the `fdatasync` behind it as one submission to an io_uring of the journal's own.
//!
//! The two are linked: the kernel begins the sync when the write has ended whole, and cancels it after a write that failed
//! or stopped short. Of a short write the rest goes out as a pair again.
//!
//! Invariant: U1. [`LinkedRing::write_synced`] returns when both completions were taken, so nothing that the kernel still
//! reads or writes is ever the caller's. Where the ring itself fails before that, the bytes are leaked and the ring is
//! never entered again.
//!
//! Not here: registered buffers and files, which save what is small beside a write of some kilobytes and its sync, and
//! direct writes, which would have to write the last block of a group again with the next one.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use io_uring::squeue::Flags;
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{Builder, IoUring, opcode};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::device::Unsynced;

/// A ring for one file at a time. It belongs to the thread that first writes through it.
pub(super) struct LinkedRing {
    ring: IoUring,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No thread has used it.
    New,
    Ready,
    /// It failed with something in flight.
    Broken,
}

impl LinkedRing {
    /// Tries the kernel's linked write and sync on a file in memory, then builds a ring for whichever thread uses it first.
    ///
    /// Errors: what the kernel says; `Unsupported` where the bytes do not arrive.
    pub(super) fn open() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("fairlane-journal-test", MemfdFlags::CLOEXEC)?;
        let mut bytes = TEST_BYTES.to_vec();
        let mut written = [0; TEST_BYTES.len()];
        Self::build()?
            .write_synced(file.as_fd(), &mut bytes, TEST_OFFSET)
            .map_err(|(Unsynced::Write(error) | Unsynced::Sync(error))| error)?;
        let len = rustix::io::pread(&file, &mut written, TEST_OFFSET)?;
        if (len, &written[..]) != (TEST_BYTES.len(), TEST_BYTES) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "its self-test wrote wrong bytes",
            ));
        }
        Self::build()
    }

    fn build() -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for flags in [deferred, plain] {
            let mut builder = IoUring::builder();
            // Begun by the thread that writes, which is another than the one that starts the journal.
            builder.setup_r_disabled();
            flags(&mut builder);
            match builder.build(ENTRIES) {
                Ok(ring) => {
                    return Ok(Self {
                        ring,
                        state: State::New,
                    });
                }
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    refused = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// Writes all of `bytes` at `at` of `file` and makes them durable, with all that was written there before.
    ///
    /// `bytes` is as it was afterwards, unless the ring itself fails: then it is empty.
    pub(super) fn write_synced(
        &mut self,
        file: BorrowedFd<'_>,
        bytes: &mut Vec<u8>,
        at: u64,
    ) -> Result<(), Unsynced> {
        self.enable().map_err(Unsynced::Sync)?;
        let mut done = 0;
        loop {
            let (write, sync) = self
                .submit_pair(file, bytes, done, at)
                .map_err(Unsynced::Sync)?;
            match usize::try_from(write) {
                Ok(0) if done < bytes.len() => {
                    return Err(Unsynced::Write(io::ErrorKind::WriteZero.into()));
                }
                Ok(len) => done += len,
                Err(_) if is(write, Errno::INTR) || is(write, Errno::AGAIN) => {}
                Err(_) => return Err(Unsynced::Write(io::Error::from_raw_os_error(-write))),
            }
            match sync {
                0.. if done == bytes.len() => return Ok(()),
                // It covered a part.
                0.. => {}
                // The write was short or failed, or the two were submitted apart: once more, with what is left, if anything.
                _ if is(sync, Errno::CANCELED) => {}
                _ => return Err(Unsynced::Sync(io::Error::from_raw_os_error(-sync))),
            }
        }
    }

    fn enable(&mut self) -> io::Result<()> {
        match self.state {
            State::New => {
                self.ring.submitter().register_enable_rings()?;
                self.state = State::Ready;
                Ok(())
            }
            State::Ready => Ok(()),
            State::Broken => Err(io::Error::other("the journal's io_uring failed before")),
        }
    }

    /// Submits the bytes from `done` on and their sync, and gives both results.
    fn submit_pair(
        &mut self,
        file: BorrowedFd<'_>,
        bytes: &mut Vec<u8>,
        done: usize,
        at: u64,
    ) -> io::Result<(i32, i32)> {
        let rest = &bytes[done..];
        // The kernel writes less than 2 GiB at a time, whatever is asked.
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let fd = Fd(file.as_raw_fd());
        let write = opcode::Write::new(fd, rest.as_ptr(), len)
            .offset(at + done as u64)
            .build()
            .user_data(WRITE)
            .flags(Flags::IO_LINK);
        let sync = opcode::Fsync::new(fd)
            .flags(FsyncFlags::DATASYNC)
            .build()
            .user_data(SYNC);
        // SAFETY: `bytes` and `file` are borrowed until both completions are taken, or `bytes` is leaked (U1).
        let pushed = unsafe { self.ring.submission().push_multiple(&[write, sync]) };
        pushed.map_err(io::Error::other)?;
        let (mut written, mut synced) = (None, None);
        let mut is_split = false;
        loop {
            let missing = usize::from(written.is_none()) + usize::from(synced.is_none());
            let entered = self.ring.submit_and_wait(missing);
            // A link does not reach from one submission into the next: the sync may have run before the write.
            is_split |= matches!(entered, Ok(1));
            for completion in self.ring.completion() {
                match completion.user_data() {
                    WRITE => written = Some(completion.result()),
                    _ => synced = Some(completion.result()),
                }
            }
            if let (Some(written), Some(synced)) = (written, synced) {
                let is_void = is_split && synced >= 0;
                let synced = match is_void {
                    true => -Errno::CANCELED.raw_os_error(),
                    false => synced,
                };
                return Ok((written, synced));
            }
            if let Err(error) = entered
                && !is_transient(&error)
            {
                self.state = State::Broken;
                std::mem::forget(std::mem::take(bytes));
                return Err(error);
            }
        }
    }
}

/// Linux 6.1: completions are worked on only when this thread asks.
fn deferred(builder: &mut Builder) {
    builder.setup_single_issuer();
    builder.setup_defer_taskrun();
}

fn plain(_: &mut Builder) {}

fn is(result: i32, errno: Errno) -> bool {
    result == -errno.raw_os_error()
}

fn is_transient(error: &io::Error) -> bool {
    [Errno::INTR, Errno::AGAIN, Errno::BUSY]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

const ENTRIES: u32 = 2;
const WRITE: u64 = 1;
const SYNC: u64 = 2;
const TEST_BYTES: &[u8] = b"fairlane";
const TEST_OFFSET: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use super::super::tests::has_uring;
    use super::*;
    use crate::disk_full_tests::SmallDisk;

    #[test]
    fn a_write_that_stops_short_on_a_full_disk_is_a_failed_write_and_whole_when_tried_again() {
        if !has_uring("a_write_that_stops_short") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let Some(disk) = SmallDisk::mount(&path, 1) else {
            return;
        };
        let file = File::create_new(path.join("file")).unwrap();
        file.write_all_at(&[1; 8192], 0).unwrap();
        disk.fill();
        // Its first page is there, the second has no room.
        let mut bytes = vec![2; 8192];
        let mut ring = LinkedRing::open().unwrap();
        for _ in 0..3 {
            let failure = ring.write_synced(file.as_fd(), &mut bytes, 4096);
            let Err(Unsynced::Write(error)) = failure else {
                panic!("{failure:?}")
            };
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(file.metadata().unwrap().len(), 8192, "it stopped short");
            assert_eq!(bytes, [2; 8192], "the bytes are the caller's again");
        }
        disk.free();
        ring.write_synced(file.as_fd(), &mut bytes, 4096).unwrap();
        let written = std::fs::read(path.join("file")).unwrap();
        assert_eq!(written, [[1; 4096], [2; 4096], [2; 4096]].concat());
    }

    #[test]
    fn a_sync_that_fails_is_told_from_a_write_that_does() {
        if !has_uring("a_sync_that_fails") {
            return;
        }
        let mut ring = LinkedRing::open().unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        let failure = ring.write_synced(writer.as_fd(), &mut vec![1; 10], 0);
        assert!(matches!(failure, Err(Unsynced::Sync(_))), "{failure:?}");
        let closed = File::open("/dev/null").unwrap();
        let failure = ring.write_synced(closed.as_fd(), &mut vec![1; 10], 0);
        assert!(matches!(failure, Err(Unsynced::Write(_))), "{failure:?}");
    }
}
