//! Which processors the devices' interrupts go to.

use std::collections::BTreeMap;

use super::{Change, Context, Finding, Knob, Matters, Verdict};
use crate::cpu_list;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    findings.push(affinity(context));
    findings.push(balancer(context));
}

/// A device's interrupt that has fired.
#[derive(Debug)]
struct Interrupt {
    number: u32,
    name: String,
    cpus: Vec<usize>,
}

fn affinity(context: &Context<'_>) -> Finding {
    let home = home(context);
    let wanted = format!("on {}", cpu_list::format(&home));
    let knob = Knob {
        name: "irq-affinity",
        matters: Matters::Medium,
        wanted: &wanted,
        why: "An interrupt stops the stage whose core it lands on, and the kernel's network work behind it runs there, \
              too: up to milliseconds under load.",
    };
    if home.is_empty() {
        return Knob {
            wanted: "off the stages' processors",
            ..knob
        }
        .absent("no processor to spare for interrupts");
    }
    let interrupts = match read(context) {
        Ok(interrupts) => interrupts,
        Err(unread) => return knob.unread(&unread),
    };
    let mut by_cpu: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut changes = Vec::new();
    for interrupt in &interrupts {
        let on_stages: Vec<usize> = (interrupt.cpus.iter().copied())
            .filter(|cpu| context.stages.contains(cpu))
            .collect();
        if on_stages.is_empty() {
            continue;
        }
        for cpu in on_stages {
            by_cpu.entry(cpu).or_default().push(interrupt.name.clone());
        }
        let path = format!("/proc/irq/{}/smp_affinity_list", interrupt.number);
        changes.push(Change::new(path, cpu_list::format(&home)));
    }
    if interrupts.is_empty() {
        return knob.absent("no device has interrupted so far");
    }
    if changes.is_empty() {
        return knob.good("none on the stages' processors");
    }
    let shown: Vec<String> = (by_cpu.iter())
        .map(|(cpu, names)| format!("{} on {cpu}", names.join(", ")))
        .collect();
    knob.apply(shown.join("; "), changes)
}

fn balancer(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "irqbalance",
        matters: Matters::Medium,
        wanted: "not running, or kept off the stages' processors",
        why: "irqbalance moves interrupts back onto the stages' processors every ten seconds.",
    };
    if context.spare().is_empty() {
        return knob.absent("no processor to spare for interrupts");
    }
    if context.surroundings.container.is_some() {
        return knob.finding(Verdict::Unread, "cannot be seen from inside a container");
    }
    let is_running = (context.tree.numbered("/proc", ""))
        .iter()
        .any(|(_, path)| {
            context
                .tree
                .read(&format!("{path}/comm"))
                .is_ok_and(|name| name == "irqbalance")
        });
    if !is_running {
        return knob.good("not running");
    }
    let banned = ["/etc/default/irqbalance", "/etc/sysconfig/irqbalance"]
        .iter()
        .filter_map(|path| context.tree.read(path).ok())
        .find_map(|text| {
            let list = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("IRQBALANCE_BANNED_CPULIST="))?;
            cpu_list::parse(list.trim_matches('"')).ok()
        })
        .unwrap_or_default();
    if context.stages.iter().all(|cpu| banned.contains(cpu)) {
        return knob.good(format!("running, kept off {}", cpu_list::format(&banned)));
    }
    knob.hand(
        "running",
        format!(
            "systemctl disable --now irqbalance, or IRQBALANCE_BANNED_CPULIST={} in /etc/default/irqbalance and restart it",
            cpu_list::format(context.stages)
        ),
    )
}

/// Where interrupts should go: spare processors of the interface's node, not on a stage's physical core if others are.
fn home(context: &Context<'_>) -> Vec<usize> {
    let spare = context.spare();
    let keep = |ids: &[usize], is_fit: &dyn Fn(&crate::topology::Cpu) -> bool| -> Vec<usize> {
        let fit: Vec<usize> = (ids.iter().copied())
            .filter(|id| context.topology.cpu(*id).is_some_and(is_fit))
            .collect();
        if fit.is_empty() { ids.to_vec() } else { fit }
    };
    let apart = keep(&spare, &|cpu| {
        !cpu.siblings.iter().any(|id| context.stages.contains(id))
    });
    match context.interface.and_then(|interface| interface.node) {
        Some(node) => keep(&apart, &|cpu| cpu.node == node),
        None => apart,
    }
}

/// The numbered interrupts that have fired, from `/proc/interrupts`, and where they go.
fn read(context: &Context<'_>) -> Result<Vec<Interrupt>, crate::tree::Unread> {
    let table = context.tree.read("/proc/interrupts")?;
    let columns = (table.lines().next().unwrap_or_default())
        .split_whitespace()
        .filter(|word| word.starts_with("CPU"))
        .count();
    let mut interrupts = Vec::new();
    for line in table.lines().skip(1) {
        let Some((number, rest)) = line.split_once(':') else {
            continue;
        };
        let Ok(number) = number.trim().parse::<u32>() else {
            continue;
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let counts = words.get(..columns).unwrap_or_default();
        if counts.iter().all(|count| *count == "0") {
            continue;
        }
        let folder = format!("/proc/irq/{number}");
        let cpus = (context
            .tree
            .read_cpus(&format!("{folder}/effective_affinity_list")))
        .ok()
        .filter(|cpus| !cpus.is_empty())
        .map_or_else(
            || {
                context
                    .tree
                    .read_cpus(&format!("{folder}/smp_affinity_list"))
            },
            Ok,
        )?;
        interrupts.push(Interrupt {
            number,
            name: words.last().copied().unwrap_or_default().to_owned(),
            cpus,
        });
    }
    Ok(interrupts)
}
