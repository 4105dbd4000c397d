//! Settings of the network stack that the node's connections depend on.

use super::{Change, Context, Finding, Knob, Matters, Verdict};

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for (name, direction) in [("tcp_rmem", "receive"), ("tcp_wmem", "send")] {
        findings.push(tcp_buffers(context, name, direction));
    }
    findings.push(core_buffers(context));
    findings.push(
        Knob {
            name: "slow-start-after-idle",
            matters: Matters::Medium,
            wanted: "0",
            // Source: Linux, Documentation/networking/ip-sysctl.rst, tcp_slow_start_after_idle (RFC 2861).
            why: "A link between authorities that was idle for a moment starts again with a small window: a burst then takes \
                  round trips more, which shows between continents.",
        }
        .exactly(context.tree, "/proc/sys/net/ipv4/tcp_slow_start_after_idle", 0),
    );
    findings.push(
        Knob {
            name: "listen-backlog",
            matters: Matters::Low,
            wanted: "at least 4096",
            why: "The node asks for a queue of 4,096 connections that wait to be accepted; the kernel cuts it down to this.",
        }
        .at_least(context.tree, "/proc/sys/net/core/somaxconn", 4096),
    );
    findings.push(busy_poll(context));
}

/// Least, default and most bytes of a TCP buffer: only the last is looked at, the kernel grows buffers up to it.
fn tcp_buffers(context: &Context<'_>, name: &'static str, direction: &str) -> Finding {
    let why = format!(
        "The kernel grows a connection's {direction} buffer up to this. It bounds what is on its way: 4 MiB are 1 Gbit/s \
         over 32 ms."
    );
    let knob = Knob {
        name: if name == "tcp_rmem" {
            "tcp-rmem"
        } else {
            "tcp-wmem"
        },
        matters: Matters::Medium,
        wanted: "a maximum of 4 MiB or more",
        why: &why,
    };
    let path = format!("/proc/sys/net/ipv4/{name}");
    let text = match context.tree.read(&path) {
        Ok(text) => text,
        Err(unread) if unread.is_absent => return knob.absent("this kernel does not show it here"),
        Err(unread) => return knob.unread(&unread),
    };
    let values: Vec<u64> = text
        .split_whitespace()
        .filter_map(|value| value.parse().ok())
        .collect();
    match values[..] {
        [_, _, most] if most >= BUFFER_GOOD => knob.good(format!("{} KiB", most >> 10)),
        [least, default, most] => knob.apply(
            format!("{} KiB", most >> 10),
            vec![Change::new(
                path,
                format!("{least}\t{default}\t{BUFFER_GOOD}"),
            )],
        ),
        _ => knob.finding(
            Verdict::Unread,
            format!("{path} holds no three numbers: {text}"),
        ),
    }
}

fn core_buffers(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "socket-buffers",
        matters: Matters::Low,
        wanted: "rmem_max and wmem_max at least 4 MiB",
        why: "What a program may ask for. The node leaves its TCP buffers to the kernel; its clients and relays, and UDP, may \
              ask.",
    };
    let paths = ["/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max"];
    let mut shown = Vec::new();
    let mut changes = Vec::new();
    for path in paths {
        match context.tree.read_number(path) {
            Ok(now) => {
                shown.push(format!("{} KiB", now >> 10));
                if now < BUFFER_GOOD.cast_signed() {
                    changes.push(Change::new(path, BUFFER_GOOD));
                }
            }
            Err(unread) if unread.is_absent => {
                return knob.absent("not shown in this network namespace");
            }
            Err(unread) => return knob.unread(&unread),
        }
    }
    let now = shown.join(" and ");
    if changes.is_empty() {
        knob.good(now)
    } else {
        knob.apply(now, changes)
    }
}

fn busy_poll(context: &Context<'_>) -> Finding {
    let has_room = !context.spare().is_empty();
    let knob = Knob {
        name: "busy-poll",
        matters: Matters::Low,
        wanted: if has_room { "any" } else { "0" },
        why: "A socket that polls its device instead of sleeping burns its processor. The node sleeps between messages; \
              without a processor to spare, polling takes time from other stages.",
    };
    let paths = [
        "/proc/sys/net/core/busy_poll",
        "/proc/sys/net/core/busy_read",
    ];
    let mut shown = Vec::new();
    let mut changes = Vec::new();
    for path in paths {
        match context.tree.read_number(path) {
            Ok(now) => {
                shown.push(format!("{now} us"));
                if now != 0 && !has_room {
                    changes.push(Change::new(path, 0));
                }
            }
            Err(unread) if unread.is_absent => {
                return knob.absent("not shown in this network namespace");
            }
            Err(unread) => return knob.unread(&unread),
        }
    }
    let now = format!("poll {}, read {}", shown[0], shown[1]);
    if changes.is_empty() {
        knob.good(now)
    } else {
        knob.apply(now, changes)
    }
}

const BUFFER_GOOD: u64 = 4 << 20;
