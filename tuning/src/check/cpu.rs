//! Frequency, hardware threads, isolation, NUMA, the clock, and what others take of the processors.

use super::{Change, Context, Finding, Knob, Matters};
use crate::cpu_list;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    findings.push(governor(context));
    findings.push(smt(context));
    findings.push(isolation(context));
    findings.push(nohz(context));
    findings.push(numa(context));
    findings.push(numa_balancing(context));
    findings.push(clock(context));
    findings.push(steal(context));
    findings.push(pressure(context));
}

fn governor(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "governor",
        matters: Matters::High,
        wanted: "performance",
        why: "Other governors lower the frequency of a core that waits, and a node waits between messages: each burst \
              then starts on a slow core.",
    };
    let mut off = Vec::new();
    let mut seen = Vec::new();
    for cpu in context.stages {
        let path = format!("{CPU}/cpu{cpu}/cpufreq/scaling_governor");
        match context.tree.read(&path) {
            Ok(now) => {
                if now != "performance" {
                    off.push(Change::new(path, "performance"));
                }
                seen.push(now);
            }
            Err(unread) if unread.is_absent => {}
            Err(unread) => return knob.unread(&unread),
        }
    }
    seen.sort_unstable();
    seen.dedup();
    match (seen.is_empty(), off.is_empty()) {
        (true, _) if context.surroundings.hypervisor.is_some() => {
            knob.absent("no frequency driver in this virtual machine; its host decides")
        }
        (true, _) => {
            knob.absent("no frequency driver: the firmware decides, see its power profile")
        }
        (false, true) => knob.good("performance"),
        (false, false) => knob.apply(seen.join(", "), off),
    }
}

fn smt(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "smt",
        matters: Matters::Medium,
        wanted: "a physical core for each stage, its other threads idle",
        why: "Two hardware threads share one core's execution units: what runs on the other one slows the stage down.",
    };
    let stages: Vec<_> = (context.stages.iter())
        .filter_map(|id| context.topology.cpu(*id))
        .collect();
    let mut idle: Vec<usize> = Vec::new();
    let mut shared = false;
    for cpu in &stages {
        for sibling in cpu.siblings.iter().filter(|id| **id != cpu.id) {
            if context.stages.contains(sibling) {
                shared = true;
            } else if context.topology.cpu(*sibling).is_some() {
                idle.push(*sibling);
            }
        }
    }
    idle.sort_unstable();
    idle.dedup();
    match (shared, idle.is_empty()) {
        (true, _) => knob.hand(
            "two stages share a physical core",
            "give the node processors of different physical cores (fairlane-tuning plan), or more of them",
        ),
        (false, true) => knob.good("a physical core each; no other threads on them"),
        (false, false) => knob.good(format!(
            "a physical core each; keep {} idle",
            cpu_list::format(&idle)
        )),
    }
}

fn isolation(context: &Context<'_>) -> Finding {
    let list = cpu_list::format(context.stages);
    let wanted = format!("{list} isolated");
    let knob = Knob {
        name: "isolcpus",
        matters: Matters::Medium,
        wanted: &wanted,
        // Measured: beside a compilation on the same core, the 99th percentile of a round trip was 4 to 7 ms.
        why: "The scheduler puts other programs on a stage's core, which then waits for its turn: milliseconds, seldom.",
    };
    let isolated = &context.topology.isolated;
    let now = match isolated.as_slice() {
        [] => "none".to_owned(),
        cpus => cpu_list::format(cpus),
    };
    if context.spare().is_empty() {
        return knob.absent("no processor to spare for everything else");
    }
    if context.stages.iter().all(|cpu| isolated.contains(cpu)) {
        return knob.good(now);
    }
    knob.hand(
        now,
        format!(
            "add isolcpus=managed_irq,domain,{list} rcu_nocbs={list} to the kernel's command line, boot, and start the \
             node as fairlane-tuning plan says"
        ),
    )
}

fn nohz(context: &Context<'_>) -> Finding {
    let list = cpu_list::format(context.stages);
    let wanted = format!("{list} without tick");
    let knob = Knob {
        name: "nohz-full",
        matters: Matters::Low,
        wanted: &wanted,
        why: "The tick interrupts a busy core 100 to 1,000 times a second, some microseconds each. A stage that waits has \
              none anyway.",
    };
    let now = &context.topology.nohz_full;
    if context.spare().is_empty() {
        return knob.absent("no processor to spare that would keep the tick");
    }
    if context.stages.iter().all(|cpu| now.contains(cpu)) {
        return knob.good(cpu_list::format(now));
    }
    let shown = match now.as_slice() {
        [] => "none".to_owned(),
        cpus => cpu_list::format(cpus),
    };
    knob.hand(
        shown,
        format!("add nohz_full={list} to the kernel's command line and boot"),
    )
}

fn numa(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "numa",
        matters: Matters::High,
        wanted: "all stages on the node of the network interface",
        // Firmware states distances of 20 to 21 between the sockets of a server, 10 within (node/node0/distance).
        why: "Memory and devices of another node are reached over the link between the sockets, at about twice the time.",
    };
    let all = context.topology.nodes();
    if all.len() == 1 {
        return knob.absent("one node");
    }
    let mut used: Vec<usize> = (context.stages.iter())
        .filter_map(|id| Some(context.topology.cpu(*id)?.node))
        .collect();
    used.sort_unstable();
    used.dedup();
    let interface = context.interface.and_then(|interface| interface.node);
    let now = format!(
        "stages on node {}, interface on {}",
        cpu_list::format(&used),
        interface.map_or_else(
            || "a node that is not said".to_owned(),
            |node| format!("node {node}")
        )
    );
    let is_near = interface.is_none_or(|node| used == [node]);
    if used.len() == 1 && is_near {
        knob.good(now)
    } else {
        knob.hand(
            now,
            "start the node on the processors that fairlane-tuning plan names",
        )
    }
}

fn numa_balancing(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "numa-balancing",
        matters: Matters::Medium,
        wanted: "0",
        why: "The kernel unmaps pages to see who uses them and moves them between nodes; each costs a fault in the middle \
              of the work. Pinned threads gain nothing from it.",
    };
    if context.topology.nodes().len() == 1 {
        return knob.absent("one node");
    }
    knob.exactly(context.tree, "/proc/sys/kernel/numa_balancing", 0)
}

fn clock(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "clock-source",
        matters: Matters::High,
        wanted: "tsc, or another that is read without a system call",
        why: "A node reads the clock for every message. The processor's counter takes tens of nanoseconds, a device \
              (hpet, acpi_pm) a system call and up to microseconds.",
    };
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let now = match context.tree.read(&format!("{folder}/current_clocksource")) {
        Ok(now) => now,
        Err(unread) => return knob.unread(&unread),
    };
    if CLOCKS_GOOD.contains(&now.as_str()) {
        return knob.good(now);
    }
    let available = context
        .tree
        .read(&format!("{folder}/available_clocksource"))
        .unwrap_or_default();
    let better = CLOCKS_GOOD
        .iter()
        .find(|good| available.split_whitespace().any(|clock| clock == **good));
    match better {
        Some(better) => knob.apply(now, vec![Change::new(format!("{folder}/current_clocksource"), better)]),
        None => knob.host(
            now,
            format!("none but {available} is on offer: the kernel distrusts the processor's counter, its log says why"),
        ),
    }
}

fn steal(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "steal",
        matters: Matters::High,
        wanted: "at most 1 % of the time",
        why: "While the host runs somebody else on this processor a node stands still and cannot know it.",
    };
    if context.surroundings.hypervisor.is_none() {
        return knob.absent("no sign of a hypervisor");
    }
    let stat = match context.tree.read("/proc/stat") {
        Ok(stat) => stat,
        Err(unread) => return knob.unread(&unread),
    };
    let first = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; what follows is part of user and nice.
    let [.., stolen] = times.get(..8).unwrap_or_default() else {
        return knob.finding(super::Verdict::Unread, "/proc/stat names no stolen time");
    };
    let total: u64 = times[..8].iter().sum();
    let per_mille = stolen.saturating_mul(1000) / total.max(1);
    let now = format!("{}.{} % since boot", per_mille / 10, per_mille % 10);
    if per_mille <= STEAL_PER_MILLE_GOOD {
        knob.good(now)
    } else {
        knob.host(
            now,
            "ask for processors of your own (dedicated, pinned), or move to another host",
        )
    }
}

fn pressure(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "cpu-pressure",
        matters: Matters::Medium,
        wanted: "threads wait for a processor at most 5 % of the time",
        why: "Other work competes for the processors, the node's own excepted when it is running now.",
    };
    let text = match context.tree.read("/proc/pressure/cpu") {
        Ok(text) => text,
        Err(unread) if unread.is_absent => {
            return knob.absent("this kernel does not account pressure");
        }
        Err(unread) => return knob.unread(&unread),
    };
    let average = (text.lines())
        .find(|line| line.starts_with("some"))
        .and_then(|line| {
            line.split_whitespace()
                .find_map(|field| field.strip_prefix("avg60="))
        })
        .and_then(|value| value.parse::<f64>().ok());
    match average {
        None => knob.finding(
            super::Verdict::Unread,
            "/proc/pressure/cpu names no average",
        ),
        Some(average) if average <= PRESSURE_PER_CENT_GOOD => {
            knob.good(format!("{average} % of the last minute"))
        }
        Some(average) => knob.hand(
            format!("{average} % of the last minute"),
            "see what runs (top), and move it elsewhere or keep it off the stages' processors",
        ),
    }
}

const CPU: &str = "/sys/devices/system/cpu";
/// Read in user space by the vDSO. Source: Linux, the architectures' `vdso/clocksource.h` and drivers/clocksource.
const CLOCKS_GOOD: [&str; 5] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "riscv_clocksource",
];
const STEAL_PER_MILLE_GOOD: u64 = 10;
const PRESSURE_PER_CENT_GOOD: f64 = 5.0;
