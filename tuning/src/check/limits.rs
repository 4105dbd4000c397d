//! Limits of this process, which the node inherits when it is started from here.

use super::{Context, Finding, Knob, Matters, Verdict};

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    findings.push(nofile(context));
    findings.push(memlock(context));
}

fn nofile(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "nofile",
        matters: Matters::Medium,
        wanted: "at least 16384 (soft)",
        why: "A node takes up to 8,192 clients and 256 authorities, a descriptor each, beside its files; when there are no \
              more, clients are turned away.",
    };
    match limit(context, "Max open files") {
        Ok(None) => knob.good("unlimited"),
        Ok(Some(now)) if now >= NOFILE_GOOD => knob.good(now.to_string()),
        Ok(Some(now)) => knob.hand(
            now.to_string(),
            "LimitNOFILE=65536 in the node's unit, or ulimit -n 65536 before it is started",
        ),
        Err(why) => knob.finding(Verdict::Unread, why),
    }
}

fn memlock(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "memlock",
        matters: Matters::Low,
        wanted: "at least 64 MiB, or CAP_IPC_LOCK",
        why: "Kernels before 5.12 charge io_uring's rings to it, and all of them registered buffers: with 8 MiB the ninth \
              ring of a user was refused.",
    };
    match limit(context, "Max locked memory") {
        Ok(None) => knob.good("unlimited"),
        Ok(Some(now)) if now >= MEMLOCK_GOOD => knob.good(format!("{} MiB", now >> 20)),
        Ok(Some(now)) if has_ipc_lock(context) => {
            knob.good(format!("{} KiB, and CAP_IPC_LOCK", now >> 10))
        }
        Ok(Some(now)) => knob.hand(
            format!("{} KiB", now >> 10),
            "LimitMEMLOCK=64M in the node's unit, or memlock in /etc/security/limits.conf",
        ),
        Err(why) => knob.finding(Verdict::Unread, why),
    }
}

/// A soft limit; none when it is unlimited.
fn limit(context: &Context<'_>, name: &str) -> Result<Option<u64>, String> {
    let path = "/proc/self/limits";
    let text = context
        .tree
        .read(path)
        .map_err(|unread| format!("cannot be read: {unread}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next());
    match value {
        Some("unlimited") => Ok(None),
        Some(value) => value
            .parse()
            .map(Some)
            .map_err(|_| format!("{path}: {value:?} is no limit")),
        None => Err(format!("{path} does not name it")),
    }
}

/// Source: linux/capability.h, CAP_IPC_LOCK is 14.
fn has_ipc_lock(context: &Context<'_>) -> bool {
    let status = context.tree.read("/proc/self/status").unwrap_or_default();
    (status.lines())
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << 14) != 0)
}

const NOFILE_GOOD: u64 = 16_384;
const MEMLOCK_GOOD: u64 = 64 << 20;
