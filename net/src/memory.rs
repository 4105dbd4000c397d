//! What the programs of this crate ask of memory.
//!
//! Their allocator is mimalloc: an envelope is taken in by one thread and let go of by another, a minute later, between which
//! the C library's walks its lists. (`fairlane-bench ingest`: a third more envelopes a second.) It asks for transparent huge
//! pages where the host leaves that to programs, and these are refused here: the kernel clears two megabytes in the midst of
//! whatever touches them first, which with 3,000 open envelopes a second on two cores made the p99 of settling twice as long,
//! and a node half as large again. Huge pages that an operator sets aside, as for AF_XDP, are not concerned.

/// Has the kernel give this process, and those it starts, small pages only. Errors: the kernel does not know how (before 3.15).
pub fn refuse_huge_pages() -> std::io::Result<()> {
    Ok(rustix::thread::disable_transparent_huge_pages(true)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_huge_pages_come_after_it() {
        super::refuse_huge_pages().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let said = status.lines().find(|line| line.starts_with("THP_enabled"));
        assert_eq!(said, Some("THP_enabled:\t0"));
    }
}
