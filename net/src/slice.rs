//! A short slice of the scheduler, for a thread that works little and often.
//!
//! Linux since 6.12 lets a thread of the ordinary class say how long it wants to run at a stretch. Who asks for little is put
//! on its processor sooner when it wakes, also while others compute there; it gets no larger part of the processor for
//! it (the kernel's documentation: EEVDF scheduler). No privilege is needed. Older kernels take no notice.

use std::io;
use std::time::Duration;

/// The shortest that the kernel knows.
const SLICE: Duration = Duration::from_micros(100);

/// Asks it for the calling thread, which keeps its class and niceness; one of a real-time class is left as it is.
///
/// Errors: what the kernel says, as a sandbox may forbid it, or that it gave none. The thread then waits like any other.
pub(crate) fn ask() -> io::Result<()> {
    let mut own = attributes()?;
    if own.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    let wanted = SLICE.as_nanos() as u64;
    own.sched_runtime = wanted;
    // SAFETY: the kernel reads the struct, which is whole and says its size.
    let written = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            0,
            &raw const own,
            0 as libc::c_uint,
        )
    };
    if written != 0 {
        return Err(io::Error::last_os_error());
    }
    match attributes()?.sched_runtime == wanted {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has none; Linux 6.12 does",
        )),
    }
}

/// Of the calling thread, as the kernel has them.
fn attributes() -> io::Result<libc::sched_attr> {
    // SAFETY: a struct of integers, of which all zeroes is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: the kernel writes at most `size` bytes of the struct; 0 is the calling thread.
    let read = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            0,
            &raw mut attributes,
            size,
            0 as libc::c_uint,
        )
    };
    attributes.size = size;
    match read {
        0 => Ok(attributes),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_ask_and_keeps_its_class_and_niceness() {
        std::thread::spawn(|| {
            // SAFETY: touches no memory.
            let niceness = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
            let lower = (niceness() + 1).min(19);
            // SAFETY: lowers this thread's own priority; touches no memory.
            let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, lower) };
            assert_eq!(lowered, 0);
            let before = attributes().unwrap();
            let asked = ask();
            let after = attributes().unwrap();
            match asked {
                Ok(()) => assert_eq!(after.sched_runtime, SLICE.as_nanos() as u64),
                // A kernel that knows no slices tells none; a sandbox may forbid the call.
                Err(error) => assert!(
                    before.sched_runtime == 0 || error.kind() == io::ErrorKind::PermissionDenied,
                    "{error}"
                ),
            }
            assert_eq!(niceness(), lower);
            assert_eq!(after.sched_policy, before.sched_policy);
        })
        .join()
        .unwrap();
    }
}
