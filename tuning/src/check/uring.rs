//! Whether io_uring works here, found out by setting a ring up.

use std::io;

use io_uring::{IoUring, Probe, opcode};
use serde::Serialize;

use super::{Change, Context, Finding, Knob, Matters};

/// What a ring of this kernel can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UringFacts {
    /// The kernel defers its work to the one thread that asks for it (`SINGLE_ISSUER`, `DEFER_TASKRUN`; Linux 6.1).
    pub has_deferred_work: bool,
    /// Operations that the kernel knows, of those that the node's backend uses, that are missing.
    pub missing: Vec<String>,
}

/// Sets a ring up and asks it; leaves nothing behind.
///
/// # Errors
/// What the kernel refused with, in a sentence.
pub fn probe() -> Result<UringFacts, String> {
    let ring: IoUring = IoUring::new(ENTRIES).map_err(|error| refusal(&error))?;
    let mut probe = Probe::new();
    (ring.submitter())
        .register_probe(&mut probe)
        .map_err(|error| {
            format!("a ring was set up, but it does not say what it can do: {error}")
        })?;
    let needed = [
        ("accept", opcode::Accept::CODE),
        ("recv", opcode::Recv::CODE),
        ("send", opcode::Send::CODE),
        ("connect", opcode::Connect::CODE),
        ("close", opcode::Close::CODE),
        ("cancel", opcode::AsyncCancel::CODE),
        ("timeout", opcode::Timeout::CODE),
    ];
    let missing = (needed.iter())
        .filter(|(_, code)| !probe.is_supported(*code))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    let deferred: io::Result<IoUring> = builder.build(ENTRIES);
    Ok(UringFacts {
        has_deferred_work: deferred.is_ok(),
        missing,
    })
}

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let knob = Knob {
        name: "io-uring",
        matters: Matters::Medium,
        wanted: "works, with deferred task work (Linux 6.1)",
        why: "The node sends and receives through io_uring where it can: fewer system calls under load. Without it, it uses \
              epoll, which is nearly as fast on one machine.",
    };
    let path = "/proc/sys/kernel/io_uring_disabled";
    let disabled = context.tree.read_number(path).unwrap_or(0);
    let who = match disabled {
        0 => "",
        1 => "; kernel.io_uring_disabled = 1: only for privileged processes",
        _ => "; kernel.io_uring_disabled = 2: for nobody",
    };
    findings.push(match &context.probed.uring {
        Ok(facts) if !facts.missing.is_empty() => knob.hand(
            format!("lacks {}", facts.missing.join(", ")),
            "use a kernel from 6.1 on",
        ),
        Ok(facts) if !facts.has_deferred_work => {
            knob.hand("works, without deferred task work", "use a kernel from 6.1 on")
        }
        Ok(_) if disabled != 0 => knob.apply(format!("works for this user{who}"), vec![Change::new(path, 0)]),
        Ok(_) => knob.good("works, with deferred task work"),
        Err(why) if disabled != 0 => knob.apply(format!("{why}{who}"), vec![Change::new(path, 0)]),
        Err(why) if context.probed.is_elsewhere() => knob.finding(super::Verdict::Unread, why),
        Err(why) if context.surroundings.container.is_some() => knob.host(
            why,
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile",
        ),
        Err(why) => knob.hand(why, "look for a seccomp filter or a kernel built without it"),
    });
}

fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        // EPERM, ENOSYS, ENOMEM.
        Some(1) => "refused: not permitted (io_uring_setup)".to_owned(),
        Some(38) => "this kernel has no io_uring".to_owned(),
        Some(12) => "refused: not enough locked memory (see memlock)".to_owned(),
        _ => format!("refused: {error}"),
    }
}

/// Enough to ask; small, as rings may be charged to locked memory.
const ENTRIES: u32 = 8;
