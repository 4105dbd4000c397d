//! For tests: a network namespace of their own, so that they disturb nobody and nobody disturbs them.

use std::io::Write;

use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe};

use super::interface::set_up;

/// Runs `test` on a thread with network interfaces of its own: `lo`, up.
///
/// Where this process may not do that, or may not use AF_XDP, says so on stderr, past the capture of the test harness.
pub(super) fn in_own_network(name: &str, test: impl FnOnce() + Send + 'static) {
    let held = capabilities(None).unwrap().effective;
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    if !held.contains(needed) {
        skip(
            name,
            "it needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW",
        );
        return;
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: only the network namespace of this thread changes; no descriptor or memory is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        set_up("lo").unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn skip(name: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED xdp {name}: {why}");
}
