//! Has the system begin to write dirty pages, before a sync waits for them.

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Begins to write `len` bytes from `at` of `file`, and does not wait: the disk works while the next bytes are made.
///
/// Nothing is promised. A page that cannot be written fails the next sync of `file`, which also says whatever this has to say.
pub(super) fn begin(file: &File, at: u64, len: u64) {
    // To the kernel a length of 0 is all up to the end.
    if len == 0 {
        return;
    }
    let (Ok(at), Ok(len)) = (i64::try_from(at), i64::try_from(len)) else {
        return;
    };
    // SAFETY: no memory is passed, and `file` is open for the whole call.
    unsafe { libc::sync_file_range(file.as_raw_fd(), at, len, libc::SYNC_FILE_RANGE_WRITE) };
}
