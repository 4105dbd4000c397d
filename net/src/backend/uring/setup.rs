//! Building the ring with the best flags that this kernel takes.

use std::io;

use io_uring::{Builder, IoUring};
use rustix::io::Errno;

use crate::backend::UringConfig;

/// Builds a ring on the calling thread, which from then on is the only one that may submit to it.
///
/// # Errors
/// What the kernel says of the last attempt: EPERM (forbidden), ENOSYS (no io_uring), ENOMEM (locked-memory limit),
/// EINVAL (sizes); `Unsupported` when it lacks a feature that the backend is built on.
pub(super) fn build(config: &UringConfig) -> io::Result<IoUring> {
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for flags in [best, deferred, shared_taskrun, plain] {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(config.cq_entries);
        flags(&mut builder);
        match builder.build(config.sq_entries) {
            Ok(ring) => return require_features(ring),
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                refused = error;
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// Without these, completions could be lost or waits could not time out. Kernel 5.11 has both.
fn require_features(ring: IoUring) -> io::Result<IoUring> {
    let params = ring.params();
    if params.is_feature_nodrop() && params.is_feature_ext_arg() {
        return Ok(ring);
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "the kernel's io_uring lacks NODROP or EXT_ARG (Linux 5.11)",
    ))
}

/// Linux 6.6: completions are worked on only when this thread asks, and there is no index array to keep.
fn best(builder: &mut Builder) {
    deferred(builder);
    builder.setup_no_sqarray();
}

/// Linux 6.1.
fn deferred(builder: &mut Builder) {
    builder.setup_submit_all();
    builder.setup_coop_taskrun();
    builder.setup_single_issuer();
    builder.setup_defer_taskrun();
}

/// Linux 5.19: no interrupt of this thread for completions.
fn shared_taskrun(builder: &mut Builder) {
    builder.setup_submit_all();
    builder.setup_coop_taskrun();
}

fn plain(_: &mut Builder) {}
