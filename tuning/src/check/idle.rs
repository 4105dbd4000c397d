//! How a processor that has nothing to do waits, and how long it takes to come back.

use super::{Change, Context, Finding, Knob, Matters};

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    findings.push(c_states(context));
    findings.push(halt_poll(context));
}

fn c_states(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "c-states",
        matters: Matters::High,
        wanted: "no sleep that takes more than 10 us to leave, on the stages' processors",
        // Source: Linux, drivers/idle/intel_idle.c: 133 us for C6 of a server of 2017, more since.
        why: "A processor that waits falls into deeper sleep the longer it waits; leaving the deepest takes over 100 us, \
              which the first message after a pause pays.",
    };
    let mut deep = Vec::new();
    let mut names = Vec::new();
    let mut has_states = false;
    for cpu in context.stages {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle");
        for (_, state) in context.tree.numbered(&folder, "state") {
            has_states = true;
            let latency_us = match context.tree.read_number(&format!("{state}/latency")) {
                Ok(latency_us) => latency_us,
                Err(unread) => return knob.unread(&unread),
            };
            let is_disabled = context.tree.read_number(&format!("{state}/disable")) == Ok(1);
            if latency_us <= EXIT_LATENCY_US_GOOD || is_disabled {
                continue;
            }
            let name = context
                .tree
                .read(&format!("{state}/name"))
                .unwrap_or_default();
            names.push(format!("{name} ({latency_us} us)"));
            deep.push(Change::new(format!("{state}/disable"), 1));
        }
    }
    names.sort_unstable();
    names.dedup();
    match (has_states, deep.is_empty()) {
        (false, _) => knob
            .absent("no idle driver: the processor halts, its host or firmware decides the rest"),
        (true, true) => knob.good("no deep sleep"),
        (true, false) => knob.apply(names.join(", "), deep),
    }
}

fn halt_poll(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "halt-poll",
        matters: Matters::High,
        wanted: "200000 ns",
        // Measured on idle cores of a 2-processor virtual machine, Linux 6.18.
        why: "A virtual processor that halts leaves to its host and is slow to come back: waking an idle core took 40 us, \
              and 3 us when it polled for 200 us first. It costs idle time that the host could give to others.",
    };
    let idle = "/sys/devices/system/cpu/cpuidle/current_driver";
    let poll = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";
    let is_guest = context.surroundings.hypervisor.is_some();
    match context.tree.read(idle) {
        Ok(driver) if driver.starts_with("haltpoll") => {
            knob.at_least(context.tree, poll, HALT_POLL_NS_GOOD)
        }
        Ok(driver) => knob.absent(format!("the idle driver is {driver}")),
        Err(unread) if unread.is_absent && is_guest => {
            knob.absent("no haltpoll idle driver in this virtual machine (cpuidle_haltpoll)")
        }
        Err(unread) if unread.is_absent => knob.absent("no idle driver"),
        Err(unread) => knob.unread(&unread),
    }
}

const EXIT_LATENCY_US_GOOD: i64 = 10;
const HALT_POLL_NS_GOOD: i64 = 200_000;
