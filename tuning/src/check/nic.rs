//! The network interface: queues, rings, coalescing, offloads, how its polling is put off.

use super::{Change, Context, Finding, Knob, Matters, Verdict};
use crate::ethtool::NicFacts;
use crate::network::Interface;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let interface = context.interface;
    findings.push(queues(interface));
    findings.push(napi(context, interface));
    let facts = match (interface, &context.probed.nic) {
        (None, _) => Err((Verdict::Absent, NO_INTERFACE.to_owned())),
        (Some(_), Err(why)) => Err((Verdict::Unread, why.clone())),
        (Some(interface), Ok(facts)) => Ok((interface, facts)),
    };
    let judges = [rings as Judge, coalescing, large_receive, generic_receive];
    findings.extend(judges.map(|judge| judge(&facts)));
}

type Facts<'a> = Result<(&'a Interface, &'a NicFacts), (Verdict, String)>;
type Judge = fn(&Facts<'_>) -> Finding;

fn queues(interface: Option<&Interface>) -> Finding {
    let knob = Knob {
        name: "nic-queues",
        matters: Matters::Low,
        wanted: "any: the node has one io thread",
        why: "With several queues the kernel spreads connections over the processors that the queues' interrupts go to (see \
              irq-affinity).",
    };
    match interface {
        None => knob.absent(NO_INTERFACE),
        Some(interface) => knob.good(format!(
            "{}: {} for receiving, {} for sending",
            interface.name, interface.rx_queues, interface.tx_queues
        )),
    }
}

fn napi(context: &Context<'_>, interface: Option<&Interface>) -> Finding {
    let knob = Knob {
        name: "napi",
        matters: Matters::Medium,
        wanted: "gro_flush_timeout at most 20000 ns",
        // Source: Linux, Documentation/networking/napi.rst, software IRQ coalescing.
        why: "It is how long the kernel may leave received packets lying while interrupts are put off \
              (napi_defer_hard_irqs): latency for fewer interrupts.",
    };
    let Some(interface) = interface else {
        return knob.absent(NO_INTERFACE);
    };
    let path = interface.path("gro_flush_timeout");
    let deferred = context.tree.read(&interface.path("napi_defer_hard_irqs"));
    match (context.tree.read_number(&path), deferred) {
        (Ok(now), deferred) => {
            let deferred = deferred.unwrap_or_else(|_| "an unknown number of".to_owned());
            let now_text = format!("{now} ns, {deferred} interrupts put off");
            if now <= FLUSH_TIMEOUT_NS_GOOD {
                knob.good(now_text)
            } else {
                knob.apply(now_text, vec![Change::new(path, 0)])
            }
        }
        (Err(unread), _) if unread.is_absent => knob.absent("this kernel does not show it"),
        (Err(unread), _) => knob.unread(&unread),
    }
}

fn rings(facts: &Facts<'_>) -> Finding {
    let knob = Knob {
        name: "nic-rings",
        matters: Matters::Low,
        wanted: "a receive ring of at least 512, or the device's most",
        why: "A burst that finds the ring full is dropped and sent again by TCP a round trip later, or 200 ms.",
    };
    judged(knob, facts, |interface, nic| {
        let rings = nic.rings.as_ref()?;
        let now = format!("{} for receiving, at most {}", rings.rx, rings.rx_most);
        let good = RING_GOOD.min(rings.rx_most);
        Some(if rings.rx >= good {
            knob.good(now)
        } else {
            knob.hand(
                now,
                format!(
                    "ethtool -G {} rx {good} (the link may go down for a moment)",
                    interface.name
                ),
            )
        })
    })
}

fn coalescing(facts: &Facts<'_>) -> Finding {
    let knob = Knob {
        name: "nic-coalescing",
        matters: Matters::Medium,
        wanted: "rx-usecs at most 10, not adaptive",
        why: "The device holds its interrupt back to collect packets: every message waits up to that long. Adaptive devices \
              wait longer the more there is.",
    };
    judged(knob, facts, |interface, nic| {
        let coalescing = nic.coalescing.as_ref()?;
        let is_adaptive = coalescing.is_rx_adaptive;
        let usecs = coalescing.rx_usecs.unwrap_or(0);
        let now = format!(
            "rx-usecs {usecs}, rx-frames {}{}",
            coalescing.rx_frames.unwrap_or(0),
            if is_adaptive { ", adaptive" } else { "" }
        );
        Some(if usecs <= RX_USECS_GOOD && !is_adaptive {
            knob.good(now)
        } else {
            knob.hand(
                now,
                format!(
                    "ethtool -C {} adaptive-rx off rx-usecs {}",
                    interface.name,
                    usecs.min(RX_USECS_GOOD)
                ),
            )
        })
    })
}

fn large_receive(facts: &Facts<'_>) -> Finding {
    let knob = Knob {
        name: "nic-lro",
        matters: Matters::Low,
        wanted: "off",
        why: "The device itself joins packets, and holds the first back for it. The kernel's own joining (GRO) does not wait.",
    };
    judged(knob, facts, |interface, nic| {
        let features = nic.features.as_ref()?;
        Some(if features.iter().any(|name| name == "rx-lro") {
            knob.hand("on", format!("ethtool -K {} lro off", interface.name))
        } else {
            knob.good("off")
        })
    })
}

fn generic_receive(facts: &Facts<'_>) -> Finding {
    let knob = Knob {
        name: "nic-gro",
        matters: Matters::Low,
        wanted: "on for TCP through the kernel; off for AF_XDP, which the node does not use yet",
        why: "Joined packets pass the kernel once; an AF_XDP program must see each one as it came.",
    };
    judged(knob, facts, |interface, nic| {
        let features = nic.features.as_ref()?;
        Some(if features.iter().any(|name| name == "rx-gro") {
            knob.good("on")
        } else {
            knob.hand("off", format!("ethtool -K {} gro on", interface.name))
        })
    })
}

/// Judges what the device says; a device that does not say it lacks it.
fn judged(
    knob: Knob<'_>,
    facts: &Facts<'_>,
    judge: impl Fn(&Interface, &NicFacts) -> Option<Finding>,
) -> Finding {
    match facts {
        Err((verdict, why)) => knob.finding(*verdict, why.clone()),
        Ok((interface, nic)) => judge(interface, nic)
            .unwrap_or_else(|| knob.absent(format!("{} does not have it", interface.name))),
    }
}

const NO_INTERFACE: &str = "no default route; name the interface with --interface";
const FLUSH_TIMEOUT_NS_GOOD: i64 = 20_000;
const RING_GOOD: u32 = 512;
const RX_USECS_GOOD: u32 = 10;
