//! `fairlane-tuning plan`: the placement of this machine's authorities, and how to start them that way.

use std::fmt::Write as _;

use serde::Serialize;

use super::look::cpus_to_use;
use super::{Cpus, Unusable, parse_cpus, print, print_json};
use crate::cpu_list;
use crate::network::Interface;
use crate::placement::{Placed, Placement, Wish, place};
use crate::plan::Stage;
use crate::text;
use crate::topology::Topology;
use crate::tree::Tree;

/// The long help.
pub(super) const ABOUT: &str = "\
Say which processors to start the node with, why these, and which stage will run where.

A node runs three stages: io (sockets), core (admission, consensus, order, reveal) and journal (the disk). It plans \
them by itself from two things: the processors that it may run on (its affinity) and the setting authorities_here of \
its configuration. This command reads what the processors share (physical cores, caches, NUMA nodes, the network \
interface's node), chooses the best ones, prints the command line and the setting that make the node use them, and \
the plan that the node will then follow. Nothing is changed.";

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many authorities will run on this machine.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    authorities: u16,
    /// The processors to choose from, like 0-3,8 [default: those that this process may use, and isolated ones].
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    cores: Option<Cpus>,
    /// The index in the committee of the first of them; with two processors it decides which stage has which.
    #[arg(long, default_value_t = 0, value_name = "I", value_parser = clap::value_parser!(u16).range(0..=127))]
    index: u16,
    /// The network interface of the node's traffic [default: that of the default route].
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    topology: &'a Topology,
    interface: Option<&'a Interface>,
    placement: &'a Placement,
}

pub(super) fn run(tree: &Tree, arguments: &Arguments) -> Result<bool, Unusable> {
    let topology = Topology::read(tree)?;
    let interface = Interface::choose(tree, arguments.interface.as_deref()).map_err(Unusable)?;
    let cpus = cpus_to_use(tree, &topology, arguments.cores.as_ref())?;
    let placement = place(
        &topology,
        &Wish {
            cpus: &cpus,
            authorities: usize::from(arguments.authorities),
            first_index: usize::from(arguments.index),
            interface_node: interface.as_ref().and_then(|interface| interface.node),
        },
    );
    if arguments.json {
        print_json(&Report {
            topology: &topology,
            interface: interface.as_ref(),
            placement: &placement,
        })?;
    } else {
        print(&report(
            &topology,
            interface.as_ref(),
            &placement,
            text::columns(),
        ));
    }
    Ok(true)
}

fn report(
    topology: &Topology,
    interface: Option<&Interface>,
    placement: &Placement,
    columns: usize,
) -> String {
    let mut out = String::new();
    text::entry(&mut out, 0, "machine", 10, &topology.to_string(), columns);
    if let Some(interface) = interface {
        text::entry(&mut out, 0, "network", 10, &interface.to_string(), columns);
    }
    for placed in &placement.authorities {
        let _ = writeln!(out, "\nauthority {}", placed.index);
        for thread in &placed.plan.threads {
            let stages: Vec<String> = thread.stages.iter().map(Stage::to_string).collect();
            let _ = writeln!(out, "  core {:>3}  {}", thread.core, stages.join(" + "));
        }
        for (place, reason) in placed.reasons.iter().enumerate() {
            let label = if place == 0 { "because" } else { "" };
            text::entry(&mut out, 2, label, 12, reason, columns);
        }
        let _ = writeln!(out, "  start     {}", start(placed));
        let _ = writeln!(
            out,
            "  setting   authorities_here = {}",
            placed.authorities_here
        );
        let _ = writeln!(out, "            wait.mode = {:?}", placed.wait_mode);
    }
    if !placement.spare.is_empty() {
        let spare = cpu_list::format(&placement.spare);
        let use_of = format!(
            "{spare}: for the kernel, interrupts, the settlement worker and everything else; on a machine of its own, \
             where nothing else may disturb, isolate the others (fairlane-tuning check says how)"
        );
        out.push('\n');
        text::entry(&mut out, 0, "spare", 10, &use_of, columns);
    }
    out.push('\n');
    text::entry(
        &mut out,
        0,
        "note",
        10,
        "The node plans its threads itself, from its affinity and authorities_here in its configuration; there is no \
         setting that names cores. Threads that spin (wait.mode) answer sooner and take their cores whole. It prints the same plan when it starts.",
        columns,
    );
    out
}

/// The command that starts the authority on its processors.
fn start(placed: &Placed) -> String {
    format!(
        "taskset --cpu-list {} fairlane node --config node-{}.toml",
        cpu_list::format(&placed.cpus),
        placed.index
    )
}
