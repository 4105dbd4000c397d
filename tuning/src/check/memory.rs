//! Pages: transparent and reserved huge ones, and the swap.

use super::{Change, Context, Finding, Knob, Matters, Verdict};

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    findings.push(transparent(
        context,
        "enabled",
        Knob {
            name: "thp",
            matters: Matters::Medium,
            wanted: "madvise or never",
            why: "With always, the kernel makes huge pages of any memory, by copying and zeroing 2 MiB at a time in the \
                  middle of the work.",
        },
    ));
    findings.push(transparent(
        context,
        "defrag",
        Knob {
            name: "thp-defrag",
            matters: Matters::Medium,
            wanted: "madvise, defer or never",
            why: "With always, a page fault waits until memory has been compacted for a huge page: milliseconds.",
        },
    ));
    findings.push(reserved(context));
    findings.push(swap(context));
}

fn transparent(context: &Context<'_>, name: &str, knob: Knob<'_>) -> Finding {
    let path = format!("/sys/kernel/mm/transparent_hugepage/{name}");
    match context.tree.read(&path) {
        Ok(text) => match selected(&text) {
            Some("always") => knob.apply("always", vec![Change::new(path, "madvise")]),
            Some(choice) => knob.good(choice),
            None => knob.finding(Verdict::Unread, format!("{path} selects nothing: {text}")),
        },
        Err(unread) if unread.is_absent => knob.absent("this kernel has no transparent huge pages"),
        Err(unread) => knob.unread(&unread),
    }
}

fn reserved(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "hugepages",
        matters: Matters::Low,
        wanted: "any: the node maps none",
        why: "Reserved huge pages are lost to everything else until something maps them.",
    };
    match context.tree.read_number("/proc/sys/vm/nr_hugepages") {
        Ok(count) => knob.absent(format!("{count} reserved")),
        Err(unread) if unread.is_absent => knob.absent("this kernel has none"),
        Err(unread) => knob.unread(&unread),
    }
}

fn swap(context: &Context<'_>) -> Finding {
    let knob = Knob {
        name: "swap",
        matters: Matters::Medium,
        wanted: "none, or vm.swappiness at most 10",
        why: "A page of the node that was swapped out comes back at the speed of a disk, when it is needed.",
    };
    let swaps = match context.tree.read("/proc/swaps") {
        Ok(swaps) => swaps,
        Err(unread) if unread.is_absent => return knob.absent("this kernel does not swap"),
        Err(unread) => return knob.unread(&unread),
    };
    let count = swaps.lines().skip(1).count();
    if count == 0 {
        return knob.good("none");
    }
    let path = "/proc/sys/vm/swappiness";
    match context.tree.read_number(path) {
        Ok(now) if now <= SWAPPINESS_GOOD => {
            knob.good(format!("{count} areas, vm.swappiness {now}"))
        }
        Ok(now) => knob.apply(
            format!("{count} areas, vm.swappiness {now}"),
            vec![Change::new(path, 1)],
        ),
        Err(unread) => knob.unread(&unread),
    }
}

/// The choice that stands in brackets: `always [madvise] never`.
pub(crate) fn selected(text: &str) -> Option<&str> {
    text.split_once('[')?
        .1
        .split_once(']')
        .map(|(choice, _)| choice)
}

const SWAPPINESS_GOOD: i64 = 10;
