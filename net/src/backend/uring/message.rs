//! The message header and iovecs of one write, kept in place while the kernel reads them.

use std::ptr;

use crate::backend::outbox::Outbox;

/// A `msghdr` that points at its own iovecs; boxed by its owner, so that its address stays.
pub(super) struct Message {
    header: libc::msghdr,
    iovecs: [libc::iovec; IOVECS_MAX],
}

impl Message {
    /// Points at the unsent parts of `outbox`; gives the header and how many buffers of the outbox it covers.
    ///
    /// The caller locks that many buffers, and keeps them and `self` in place until the write has completed.
    pub(super) fn point_at(&mut self, outbox: &Outbox) -> (*const libc::msghdr, usize) {
        let mut count = 0;
        for (iovec, slice) in self.iovecs.iter_mut().zip(outbox.slices(IOVECS_MAX)) {
            *iovec = libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            };
            count += 1;
        }
        self.header.msg_iov = self.iovecs.as_mut_ptr();
        self.header.msg_iovlen = count as _;
        (&raw const self.header, count)
    }
}

impl Default for Message {
    fn default() -> Self {
        let empty = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            // SAFETY: all zeroes is a valid msghdr: null pointers with zero lengths.
            header: unsafe { std::mem::zeroed() },
            iovecs: [empty; IOVECS_MAX],
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "message of {} iovecs", self.header.msg_iovlen)
    }
}

/// Buffers in one write; with merging, at least some 8 KiB in every two.
const IOVECS_MAX: usize = 64;
