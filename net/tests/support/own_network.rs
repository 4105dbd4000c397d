//! Network interfaces of a test's own, so that it disturbs nobody and nobody disturbs it.

use std::io::{self, Write};
use std::process::Command;

use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe};

/// Runs `test` on a thread in a network namespace of its own, `lo` up; processes that it starts are there, too.
///
/// Where this process may not do that, says so on stderr, past the capture of the test harness.
pub(crate) fn in_own_network(name: &str, test: impl FnOnce() + Send + 'static) {
    let held = capabilities(None).unwrap().effective;
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    if !held.contains(needed) {
        let why = "it needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW";
        let _ = writeln!(io::stderr(), "SKIPPED xdp::{name}: {why}");
        return;
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: only the network namespace of this thread changes; no descriptor or memory is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success(), "`ip` (iproute2) brings `lo` up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
